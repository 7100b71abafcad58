#include "lib/jinja/arena.h"

#include <stdalign.h>
#include <string.h>

#define FIRST_BLOCK 16384

struct lr_arena_block {
    lr_arena_block *older;
    size_t capacity, used;
    alignas(max_align_t) char bytes[];
};

void lr_arena_init(lr_arena *arena, const lora_allocator *allocator, size_t limit)
{
    *arena = (lr_arena){.allocator = allocator, .limit = limit};
}

void lr_arena_free(lr_arena *arena)
{
    while (arena->newest) {
        lr_arena_block *older = arena->newest->older;
        lr_free(arena->allocator, arena->newest);
        arena->newest = older;
    }
    arena->total = 0;
}

static lora_status add_block(lr_arena *arena, size_t needed)
{
    size_t capacity = arena->newest ? arena->newest->capacity * 2 : FIRST_BLOCK;
    if (capacity > arena->limit / 8) capacity = arena->limit / 8;
    if (capacity < needed) capacity = needed;
    lr_arena_block *block = lr_alloc(arena->allocator, sizeof *block + capacity);
    if (!block) return LORA_ERROR_MEMORY;
    *block = (lr_arena_block){.older = arena->newest, .capacity = capacity};
    arena->newest = block;
    return LORA_OK;
}

lora_status lr_arena_take(lr_arena *arena, size_t count, size_t size, void **out)
{
    uint64_t bytes;
    if (!lr_multiply(count, size, &bytes) || bytes > arena->limit - arena->total)
        return lr_fail(LORA_ERROR_FORMAT, "a template was stopped: it needs more than %zu MiB", arena->limit >> 20);
    size_t needed = ((size_t)bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (!arena->newest || needed > arena->newest->capacity - arena->newest->used) LR_TRY(add_block(arena, needed));
    *out = memset(arena->newest->bytes + arena->newest->used, 0, needed);
    arena->newest->used += needed;
    arena->total += (size_t)bytes;
    return LORA_OK;
}
