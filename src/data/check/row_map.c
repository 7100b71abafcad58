#include "src/data/check/check.h"


void lr_row_map_free(const lora_allocator *allocator, lr_row_map *map)
{
    lr_free(allocator, map->hashes);
    lr_free(allocator, map->heads);
    lr_free(allocator, map->next);
    *map = (lr_row_map){0};
}

lora_status lr_row_map_init(const lora_allocator *allocator, size_t rows, lr_row_map *map)
{
    size_t slots = 16;
    while (slots < 2 * rows) slots *= 2;
    *map = (lr_row_map){.mask = slots - 1};
    map->hashes = lr_alloc_array(allocator, slots, sizeof *map->hashes);
    map->heads = lr_alloc_zeroed(allocator, slots, sizeof *map->heads);
    map->next = lr_alloc_array(allocator, rows, sizeof *map->next);
    if (map->hashes && map->heads && map->next) return LORA_OK;
    lr_row_map_free(allocator, map);
    return LORA_ERROR_MEMORY;
}

static size_t slot_of(const lr_row_map *map, uint64_t hash)
{
    size_t at = (size_t)(hash * 0x9E3779B97F4A7C15u >> 17) & map->mask;
    while (map->heads[at] && map->hashes[at] != hash) at = (at + 1) & map->mask;
    return at;
}

void lr_row_map_put(lr_row_map *map, uint64_t hash, size_t row)
{
    size_t at = slot_of(map, hash);
    map->hashes[at] = hash;
    map->next[row] = map->heads[at];
    map->heads[at] = (uint32_t)row + 1;
}

uint32_t lr_row_map_first(const lr_row_map *map, uint64_t hash) { return map->heads[slot_of(map, hash)]; }
