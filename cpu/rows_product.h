// Products of few rows with a B of bf16 numbers that lies transposed (a weight, [n, k]): the weight is the left
// operand, C^T = B^T A^T, so that it is used as it lies, once. A's numbers are taken apart as in cpu/bf16_product.h. On
// tile registers three parts are as exact as f32; with dot products two are taken, where 16 bits of A's numbers do; one
// where many rows may be rounded. Every number of C is added up in the same order, however many rows there are.
#ifndef LR_ROWS_PRODUCT_H
#define LR_ROWS_PRODUCT_H

#include "cpu/product.h"

bool lr_rows_product_suits(const lora_device *device, int64_t m, int64_t n, const lr_product_term *term);
void lr_rows_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride, const lr_finish *finish);
// Bytes of workspace, with at most max_inner inner numbers; 0 on a device without bf16 products.
uint64_t lr_rows_product_workspace(const lora_device *device, int64_t max_inner);

// ---- the kernels, compiled for AVX512-BF16 and AMX -----------------------------------------------------------------

#define LR_ROWS_STEP 32 // inner numbers of a step
#define LR_ROWS_TILE 16 // rows of A, columns of B
#define LR_ROWS_NUMBERS (LR_ROWS_STEP * LR_ROWS_TILE)
#define LR_ROWS_LEAST_COLS 16

typedef struct lr_rows_job {
    int64_t m, n, steps;
    int32_t parts, halves; // bf16 numbers for each number of A; tiles of 16 rows of A
    const uint16_t *weight;
    int64_t weight_stride;
    bool accumulate;
    float *c;
    int64_t c_stride;
} lr_rows_job;

// packed: A times alpha, [steps][parts][halves][pair of inner numbers][row][2].
void lr_rows_pack(const lr_rows_job *job, const lr_product_term *term, uint16_t *packed);
// Columns [j, end) of C.
void lr_amx_multiply_rows(const lr_rows_job *job, const uint16_t *packed, int64_t j, int64_t end);
void lr_dots_multiply_rows(const lr_rows_job *job, const uint16_t *packed, int64_t j, int64_t end);
// sums: [16 columns][16 rows of A from `row` on], of which columns from `skip` on go to columns j + skip .. of C.
void lr_rows_put(const lr_rows_job *job, const float *sums, int64_t row, int64_t j, int64_t skip);

#endif
