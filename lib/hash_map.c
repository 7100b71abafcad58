#include "hash_map.h"

#include <string.h>

// Four bytes at a time; a final mix spreads them over the low bits.
uint32_t lr_text_hash(const char *text, size_t length)
{
    uint64_t hash = 0x9E3779B97F4A7C15u ^ length;
    for (; length >= 4; text += 4, length -= 4) {
        uint32_t word;
        memcpy(&word, text, 4);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    for (; length > 0; text++, length--) hash = (hash ^ (uint8_t)*text) * 0x100000001B3u;
    hash ^= hash >> 29;
    hash *= 0xD6E8FEB86659FD93u;
    return (uint32_t)(hash ^ (hash >> 32));
}

// A power of two that `count` keys fill to at most two thirds; 0 when there is no such size.
static size_t table_size(size_t count)
{
    size_t size = 16;
    while (size / 3 * 2 < count) {
        if (size > SIZE_MAX / 4) return 0;
        size *= 2;
    }
    return size;
}

lora_status lr_text_map_init(lr_text_map *map, const lora_allocator *allocator, size_t count)
{
    size_t size = table_size(count);
    if (!size) return lr_fail_memory(SIZE_MAX);
    map->slots = lr_alloc_zeroed(allocator, size, sizeof *map->slots);
    if (!map->slots) return LORA_ERROR_MEMORY;
    map->mask = size - 1;
    return LORA_OK;
}

// The slot of a key, or the free one where it would go.
static lr_text_slot *find_text(const lr_text_map *map, const char *text, size_t length, uint32_t hash)
{
    for (size_t at = hash & map->mask;; at = (at + 1) & map->mask) {
        lr_text_slot *slot = &map->slots[at];
        if (!slot->text) return slot;
        if (slot->hash == hash && slot->length == length && memcmp(slot->text, text, length) == 0) return slot;
    }
}

void lr_text_map_put(lr_text_map *map, const char *text, size_t length, int32_t value)
{
    uint32_t hash = lr_text_hash(text, length);
    lr_text_slot *slot = find_text(map, text, length, hash);
    *slot = (lr_text_slot){text, (uint32_t)length, hash, value};
}

int32_t lr_text_map_get(const lr_text_map *map, const char *text, size_t length)
{
    if (!map->slots) return -1;
    const lr_text_slot *slot = find_text(map, text, length, lr_text_hash(text, length));
    return slot->text ? slot->value : -1;
}

void lr_text_map_free(lr_text_map *map, const lora_allocator *allocator)
{
    lr_free(allocator, map->slots);
    *map = (lr_text_map){0};
}

lora_status lr_pair_map_init(lr_pair_map *map, const lora_allocator *allocator, size_t count)
{
    size_t size = table_size(count);
    if (!size) return lr_fail_memory(SIZE_MAX);
    map->slots = lr_alloc_array(allocator, size, sizeof *map->slots);
    if (!map->slots) return LORA_ERROR_MEMORY;
    memset(map->slots, 0xFF, size * sizeof *map->slots);
    map->mask = size - 1;
    return LORA_OK;
}

void lr_pair_map_put(lr_pair_map *map, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t at = lr_pair_home(key, map->mask);
    while (map->slots[at].key != key && map->slots[at].key != UINT64_MAX) at = (at + 1) & map->mask;
    map->slots[at] = (lr_pair_slot){key, rank, id};
}

void lr_pair_map_free(lr_pair_map *map, const lora_allocator *allocator)
{
    lr_free(allocator, map->slots);
    *map = (lr_pair_map){0};
}
