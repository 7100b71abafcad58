// Matrix products that multiply bf16 numbers and add up in f32: on tile registers (AMX), or with dot products of pairs
// (AVX512-BF16), which are twice as fast as products of f32 numbers.
//
// Where A may be rounded to bf16 ("coarse") B may be of any type whose numbers have fewer bits than f16's. An f32
// number is the sum of three bf16 numbers, x = x1 + x2 + x3: with a B of bf16 numbers three products on tile registers
// are as exact as one in f32, and still faster.
#ifndef LR_BF16_PRODUCT_H
#define LR_BF16_PRODUCT_H

#include "cpu/product.h"

#define LR_BF16_LEAST_ROWS 16 // of A; fewer keep all their bits, for there reading B is the work

// What a device has.
static inline bool lr_bf16_has_tiles(const lora_device *device)
{
    return device->features & LORA_CPU_AMX_BF16;
}

static inline bool lr_bf16_has_dots(const lora_device *device)
{
    const int32_t needed = LORA_CPU_AVX512 | LORA_CPU_AVX512_BF16;
    return (device->features & needed) == needed;
}

// Whether this is a product for them: many rows, no A transposed, B of a type as above.
bool lr_bf16_product_suits(const lora_device *device, int64_t m, int32_t count, const lr_product_term *terms);

// lr_product_sum for what suits.
void lr_bf16_product(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                     bool accumulate, float *c, int64_t c_stride);

// Products of blocks whose numbers are rounded to bf16 and packed one by one, as in attention. A left block has `rows`
// by `depth` numbers, a right one `depth` by `cols`, each a room of LR_BF16_BLOCK(rows or cols, depth) numbers.
#define LR_BF16_BLOCK(count, depth) (((count) + 31) / 32 * 32 * (((depth) + 31) / 32 * 32))
bool lr_bf16_blocks_suit(const lora_device *device);
// x: f32, or bf16 already.
void lr_bf16_left(uint16_t *left, const lr_operand *x, int64_t rows, int64_t depth);
void lr_bf16_right(uint16_t *right, const lr_operand *x, int64_t depth, int64_t cols);
// C[rows, cols] (+)= left right, between lr_bf16_begin and lr_bf16_end on this thread.
void lr_bf16_blocks(const lora_device *device, int64_t rows, int64_t cols, int64_t depth, const uint16_t *left,
                    const uint16_t *right, bool accumulate, float *c, int64_t c_stride);
void lr_bf16_begin(const lora_device *device);
void lr_bf16_end(const lora_device *device);

// Bytes of workspace that such products of at most these sizes need; 0 on a device without them.
uint64_t lr_bf16_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner);

// ---- packing, compiled for AVX512-BF16 -----------------------------------------------------------------------------

#define LR_BF16_STEP 32                                // inner numbers of a step
#define LR_BF16_PANEL 32                               // rows of A and C, columns of B and C
#define LR_BF16_NUMBERS (LR_BF16_STEP * LR_BF16_PANEL) // bf16 numbers of a panel's step, of each part

// How many bf16 numbers stand for each number of A in the first term. The other terms, low-rank pairs with few inner
// numbers, are laid out for one plain product: each number takes the places of `pair` products x_i y_j, 3 or 6.
typedef struct lr_bf16_parts {
    int32_t a, pair;
} lr_bf16_parts;

int64_t lr_bf16_steps(const lr_product_term *term, const lr_bf16_parts *parts, bool is_pair);
// target[step][part][row][LR_BF16_STEP]: rows [i, i + rows) of A times alpha, zeros below them; of an A in bf16 as they
// are.
void lr_bf16_take(uint16_t *target, const lr_product_term *term, const lr_bf16_parts *parts, bool is_pair,
                  int64_t first, int64_t steps, int64_t i, int64_t rows);
// target[step][half of the columns][pair of inner numbers][column][2]: columns [j, j + width) of B in
// panels `apart` numbers apart, zeros beside them.
void lr_bf16_pack(uint16_t *target, int64_t apart, const lr_product_term *term, const lr_bf16_parts *parts,
                  bool is_pair, int64_t first, int64_t steps, int64_t j, int64_t width);

// ---- kernels -------------------------------------------------------------------------------------------------------

// What is needed next and brought nearer meanwhile, `pace` lines of 64 bytes in each step: rows of `lines` lines,
// `stride` bytes apart.
typedef struct lr_bf16_ahead {
    const char *row;
    int64_t stride, rows, lines, line, pace;
} lr_bf16_ahead;

// Into the L2 cache; `nearest`: into the L1 cache, from where lines fall back into L2 as used ones.
static inline void lr_bf16_fetch(lr_bf16_ahead *ahead, const bool nearest)
{
    for (int64_t i = 0; i < ahead->pace && ahead->rows > 0; i++) {
        const char *line = ahead->row + ahead->line * 64;
        if (nearest) __builtin_prefetch(line, 0, 3);
        else __builtin_prefetch(line, 0, 2);
        if (++ahead->line < ahead->lines) continue;
        ahead->line = 0;
        ahead->row += ahead->stride;
        ahead->rows--;
    }
}

typedef struct lr_bf16_run {
    int64_t steps, pair_steps;
    int32_t parts; // of A
    const uint16_t *a, *b, *pair_a, *pair_b;
    lr_bf16_ahead *ahead;
} lr_bf16_run;

// C[LR_BF16_PANEL, LR_BF16_PANEL] (+)= A B.
void lr_bf16_dots(const lr_bf16_run *run, bool accumulate, float *c, int64_t c_stride);
// Between lr_amx_begin and lr_amx_end on this thread.
void lr_amx_multiply(const lr_bf16_run *run, bool accumulate, float *c, int64_t c_stride);
void lr_amx_begin(void);
void lr_amx_end(void);

#endif
