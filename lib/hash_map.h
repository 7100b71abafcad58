// Two open-addressing tables: texts to int32, and pairs of ids to a rank and an id. Keys of the first are lent: the
// bytes stay where they are for as long as the map. Reading is safe from any number of threads.
#ifndef LR_HASH_MAP_H
#define LR_HASH_MAP_H

#include "memory.h"

typedef struct lr_text_slot {
    const char *text; // NULL: free
    uint32_t length;
    uint32_t hash;
    int32_t value;
} lr_text_slot;

typedef struct lr_text_map {
    lr_text_slot *slots;
    size_t mask; // slots - 1; 0 before init
} lr_text_map;

uint32_t lr_text_hash(const char *text, size_t length);

// Room for `count` keys; more must not be put. A zeroed map is empty and may be asked and freed.
lora_status lr_text_map_init(lr_text_map *map, const lora_allocator *allocator, size_t count);
void lr_text_map_put(lr_text_map *map, const char *text, size_t length, int32_t value); // replaces
int32_t lr_text_map_get(const lr_text_map *map, const char *text, size_t length);       // -1: none
void lr_text_map_free(lr_text_map *map, const lora_allocator *allocator);

typedef struct lr_pair_slot {
    uint64_t key; // left << 32 | right; UINT64_MAX: free
    uint32_t rank;
    int32_t id;
} lr_pair_slot;

typedef struct lr_pair_map {
    lr_pair_slot *slots;
    size_t mask;
} lr_pair_map;

lora_status lr_pair_map_init(lr_pair_map *map, const lora_allocator *allocator, size_t count);
void lr_pair_map_put(lr_pair_map *map, int32_t left, int32_t right, uint32_t rank, int32_t id); // replaces
void lr_pair_map_free(lr_pair_map *map, const lora_allocator *allocator);

static inline size_t lr_pair_home(uint64_t key, size_t mask)
{
    key *= 0x9E3779B97F4A7C15u;
    return (size_t)(key ^ (key >> 32)) & mask;
}

static inline const lr_pair_slot *lr_pair_map_get(const lr_pair_map *map, int32_t left, int32_t right) // NULL: none
{
    if (!map->slots) return NULL;
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t at = lr_pair_home(key, map->mask);; at = (at + 1) & map->mask) {
        if (map->slots[at].key == key) return &map->slots[at];
        if (map->slots[at].key == UINT64_MAX) return NULL;
    }
}

#endif
