// Dot products of few rows of A with rows of integer weights, read once where they lie: answers, token by token.
//
// 64 numbers of a row of A share a scale and are x = scale * (128 high + low), two bytes with a sign: |error| <=
// greatest / 32512, far below what the weights' own rounding is. Each row of A is worked on alone, so its results
// do not depend on how many others there are.
#ifndef LR_INTEGER_DOTS_H
#define LR_INTEGER_DOTS_H

#include "cpu/product.h"

// Whether this device has them and this is a product for them: few rows, B of an integer type lying as [n, k].
bool lr_integer_dots_suit(const lora_device *device, int64_t m, const lr_product_term *term);

// C[m, n] = the term, or C += with `accumulate`.
void lr_integer_dots(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride);

// Bytes of workspace that such products need; 0 on a device without them.
uint64_t lr_integer_dots_workspace(const lora_device *device, int64_t max_inner);

// ---- the kernels, compiled for AVX512-VNNI -------------------------------------------------------------------------

#define LR_DOTS_ROWS 16 // at most

// 64 numbers of a row of A. Lane i of 16 stands for numbers 4i to 4i + 3.
typedef struct lr_dots_block {
    int8_t high[64], low[64];
    int32_t start[16]; // -zero * the lane's sum of 128 high + low
    float sum[16];     // the lane's sum, of that and of the numbers; used with offsets
    float scale;
    float unused[15];
} lr_dots_block;

void lr_vnni_split(lr_dots_block *blocks, const lr_product_term *term, int64_t row);
// C[0 .. m, j .. j + count] (+)= A B; blocks [m][blocks_a_row].
void lr_vnni_dots(int64_t m, int64_t count, const lr_product_term *term, const lr_dots_block *blocks, int64_t j,
                  bool accumulate, float *c, int64_t c_stride);

#endif
