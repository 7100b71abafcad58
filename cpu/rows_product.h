// Products of few rows with a B of bf16 numbers that lies transposed (a weight, [n, k]), on tile registers: the weight
// is the left operand, C^T = B^T A^T, so that it goes from memory into the registers as it lies, once. A's numbers are
// taken apart as in cpu/bf16_product.h. Every number of C is added up in the same order, however many rows there are.
#ifndef LR_ROWS_PRODUCT_H
#define LR_ROWS_PRODUCT_H

#include "cpu/product.h"

bool lr_rows_product_suits(const lora_device *device, int64_t m, int64_t n, const lr_product_term *term);
void lr_rows_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride);
// Bytes of workspace, with at most max_inner inner numbers; 0 on a device without tiles.
uint64_t lr_rows_product_workspace(const lora_device *device, int64_t max_inner);

// ---- the kernels, compiled for AMX ---------------------------------------------------------------------------------

#define LR_ROWS_STEP 32 // inner numbers of a step
#define LR_ROWS_TILE 16 // rows of A, columns of B
#define LR_ROWS_LEAST_COLS 16

typedef struct lr_rows_job {
    int64_t m, n, steps;
    int32_t parts, halves; // bf16 numbers for each number of A; tiles of 16 rows of A
    const uint16_t *weight;
    int64_t weight_stride;
    uint16_t *packed; // A: [steps][parts][halves][pair of inner numbers][row][2]
    bool accumulate;
    float *c;
    int64_t c_stride;
} lr_rows_job;

// Steps [first, last) of A times alpha.
void lr_amx_pack_rows(const lr_rows_job *job, const lr_product_term *term, int64_t first, int64_t last);
// Columns [j, end) of C.
void lr_amx_multiply_rows(const lr_rows_job *job, int64_t j, int64_t end);

#endif
