// What integer_vnni.c's table has from integer_dots_vnni.c.
//
// 64 numbers of a row of A share a scale and are x = scale * (128 high + low), two bytes with a sign.
#ifndef LR_X86_INTEGER_DOTS_VNNI_H
#define LR_X86_INTEGER_DOTS_VNNI_H

#include "cpu/integer_kernels.h"

// 64 numbers of a row of A. Lane i of 16 stands for numbers 4i to 4i + 3.
typedef struct dots_block {
    int8_t high[64], low[64];
    int32_t start[16]; // -zero * the lane's sum of 128 high + low
    float sum[16];     // the lane's sum, of that and of the numbers; used with offsets
    float scale;
    float unused[15];
} dots_block;

void lr_vnni_split(void *blocks, const lr_product_term *term, int64_t row);
void lr_vnni_dots(int64_t m, int64_t count, const lr_product_term *term, const void *blocks, int64_t j, bool accumulate,
                  float *c, int64_t c_stride);

#endif
