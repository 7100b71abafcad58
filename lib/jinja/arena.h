// Memory that is given back all at once: blocks of growing size, with a limit on their sum.
#ifndef LR_ARENA_H
#define LR_ARENA_H

#include "lib/memory.h"

typedef struct lr_arena_block lr_arena_block;

typedef struct lr_arena {
    const lora_allocator *allocator;
    lr_arena_block *newest;
    size_t total, limit;
} lr_arena;

void lr_arena_init(lr_arena *arena, const lora_allocator *allocator, size_t limit);
void lr_arena_free(lr_arena *arena);
// Memory for count * size bytes, zeroed, aligned for any type. MEMORY, or FORMAT beyond the limit.
lora_status lr_arena_take(lr_arena *arena, size_t count, size_t size, void **out);

#endif
