// What integer_vnni.c's table has from integer_dots_vnni.c.
//
// 64 or 128 numbers of a row of A share a scale and are x = scale * (256 high + low), two bytes with a sign.
#ifndef LR_X86_INTEGER_DOTS_VNNI_H
#define LR_X86_INTEGER_DOTS_VNNI_H

#include "cpu/integer_kernels.h"

// LR_DOTS_BLOCK numbers of a row of A, and for each scale of B's, as load_scales has them, what it is multiplied by.
typedef struct dots_block {
    int8_t high[LR_DOTS_BLOCK], low[LR_DOTS_BLOCK];
    float scale[16]; // of the numbers
    float start[16]; // of the sums: -zero * the sum of a group's numbers; for offsets that sum
} dots_block;

void lr_vnni_split(void *blocks, const lr_product_term *term, int64_t row);
void lr_vnni_dots(int64_t m, int64_t count, const lr_product_term *term, const void *blocks, int64_t j, bool accumulate,
                  float *c, int64_t c_stride);

#endif
