#include "cpu/small_pairs.h"

#include <sched.h>

#define SPINS 1000

enum { UNTOUCHED, IN_MAKING, MADE };

void lr_small_pairs_init(lr_small_pairs *pairs, const lora_device *device, int64_t inner)
{
    pairs->kernels = lr_product_kernels_for(device->features);
    pairs->inner = inner;
    pairs->count = 0;
}

uint8_t *lr_small_pairs_add(lr_small_pairs *pairs, lr_small_pair pair, uint8_t *room)
{
    pair.h = (lr_small_hidden *)(void *)room;
    atomic_init(&pair.h->state, UNTOUCHED);
    pairs->pair[pairs->count++] = pair;
    return room + lr_small_hidden_bytes(pair.m * pair.r);
}

static lr_operand rows_of(lr_matrix matrix)
{
    return (lr_operand){.data = matrix.data, .stride = matrix.stride, .type = LORA_TYPE_F32, .transposed = true};
}

// Unless another thread has come to it.
static void make_hidden(const lr_small_pairs *pairs, const lr_small_pair *pair)
{
    int untouched = UNTOUCHED;
    if (!atomic_compare_exchange_strong(&pair->h->state, &untouched, IN_MAKING)) return;
    const lr_operand x = rows_of(pair->x);
    pairs->kernels->dots(pair->r, pair->m, pairs->inner, 1, pair->a.data, pair->a.stride, &x, 0, false,
                         pair->h->values, 1, pair->r);
    atomic_store_explicit(&pair->h->state, MADE, memory_order_release);
}

void lr_small_pairs_begin(lr_small_pairs *pairs, const lr_lane *lane)
{
    const int64_t count = pairs->count;
    for (int64_t p = lane->index * count / lane->count; p < (lane->index + 1) * count / lane->count; p++)
        make_hidden(pairs, &pairs->pair[p]);
}

static bool is_made(const lr_small_pair *pair)
{
    return atomic_load_explicit(&pair->h->state, memory_order_acquire) == MADE;
}

void lr_small_pairs_columns(lr_small_pairs *pairs, int64_t j, int64_t end)
{
    for (int32_t p = 0; p < pairs->count; p++) __builtin_prefetch(pairs->pair[p].h);
    for (int32_t p = 0; p < pairs->count; p++) {
        const lr_small_pair *pair = &pairs->pair[p];
        if (!is_made(pair)) make_hidden(pairs, pair);
        for (int i = 0; !is_made(pair); i++) // who makes it waits for nothing meanwhile
            if (i > SPINS) sched_yield();
        const lr_operand b = rows_of(pair->b);
        pairs->kernels->dots(pair->m, end - j, pair->r, pair->scale, pair->h->values, pair->r, &b, j, true,
                             pair->y.data + j, pair->y.stride, 1);
    }
}
