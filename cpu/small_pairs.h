// Low-rank pairs of few rows each, as in answers: Y += scale * X A^T B^T beside the product that computes Y. A thread
// adds them to the columns of Y that it has just finished (lr_finish in cpu/product.h). H = X A^T is made once, by the
// lane that has the pair in its share or by whoever needs it before: no step of its own in which threads wait for one
// another.
#ifndef LR_SMALL_PAIRS_H
#define LR_SMALL_PAIRS_H

#include "cpu/lowrank.h"
#include "cpu/product_kernels.h"

#include <stdatomic.h>

#define LR_SMALL_ROWS 32  // of a pair, at most
#define LR_SMALL_PAIRS 64 // at once, at most

// H, at the start of a line of the cache: who waits for it has it then.
typedef struct lr_small_hidden {
    atomic_int state;
    float values[]; // [m, r]
} lr_small_hidden;

static inline uint64_t lr_small_hidden_bytes(int64_t numbers)
{
    return lr_align64(sizeof(lr_small_hidden) + (uint64_t)numbers * sizeof(float));
}

typedef struct lr_small_pair {
    int64_t m, r;
    float scale;
    lr_matrix x, a, b, y; // [m, inner], [r, inner], [n, r], [m, n]
    lr_small_hidden *h;
} lr_small_pair;

typedef struct lr_small_pairs {
    const lr_product_kernels *kernels;
    int64_t inner;
    int32_t count;
    lr_small_pair pair[LR_SMALL_PAIRS];
} lr_small_pairs;

// None yet, for an X with rows of `inner` numbers.
void lr_small_pairs_init(lr_small_pairs *pairs, const lora_device *device, int64_t inner);
// `pair` with its h at `room`; what lies behind that.
uint8_t *lr_small_pairs_add(lr_small_pairs *pairs, lr_small_pair pair, uint8_t *room);
// The lane's share of the hidden values.
void lr_small_pairs_begin(lr_small_pairs *pairs, const lr_lane *lane);
// Adds all pairs to columns [j, end) of their rows of Y.
void lr_small_pairs_columns(lr_small_pairs *pairs, int64_t j, int64_t end);

#endif
