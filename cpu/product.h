// Matrix products for the CPU backend, in any orientation, with operands converted to f32 while they are packed.
#ifndef LR_PRODUCT_H
#define LR_PRODUCT_H

#include "cpu/ops.h"

// A matrix as it lies in memory: rows of `stride` numbers. The product sees it transposed when `transposed`.
// Block types and scales apart (`scales`: INT8, NF4) are for frozen weights.
typedef struct lr_operand {
    const void *data;
    const float *scales;
    int64_t stride;
    lora_type type;
    bool transposed;
    int32_t ahead; // set by lr_product_sum: bytes by which a stream of B is asked for early; 0: the processor does so
} lr_operand;

// A view from `row` on.
lr_operand lr_operand_of(const lora_view *view, int64_t row, bool transposed);

// alpha * op(A)[m, k] * op(B)[k, n]. A is f32; B is of any type but I32.
typedef struct lr_product_term {
    lr_operand a, b;
    int64_t k;
    float alpha;
    int32_t coarse; // of the first term: LORA_COARSE_ bits, how A and numbers of B that have scales may be rounded
    bool as_alone; // of the first term: each row of C gets the bits that a product of it alone would give
} lr_product_term;

#define LR_PRODUCT_TERMS 8

// The terms for C's rows from `row` on.
void lr_terms_from_row(lr_product_term *target, const lr_product_term *terms, int32_t count, int64_t row);

// What follows the product for all rows of columns [j, end). Where the product is cut by columns, a thread finishes
// those that it has just computed; where not, all are cut anew when it is done.
typedef struct lr_finish {
    lr_lane_begin begin; // a lane's share of what columns need, before the lane's product
    void (*columns)(int64_t j, int64_t end, void *argument);
    void *argument;
} lr_finish;

// C[m, n] = the sum of `count` <= LR_PRODUCT_TERMS terms, or C += with `accumulate`, in one pass over C: a linear
// layer and its low-rank pairs, say. All A are transposed or none is; block types are for the first term only. C is f32
// with rows of `c_stride` and overlaps no operand. Runs on all of the device's threads; the bits do not depend on which
// thread does what, nor (without OpenBLAS) on how many there are. `finish` may be NULL.
void lr_product_sum(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                    bool accumulate, float *c, int64_t c_stride, const lr_finish *finish);

// The same with one term.
void lr_product(lora_device *device, int64_t m, int64_t n, int64_t k, float alpha, lr_operand a, lr_operand b,
                bool accumulate, float *c, int64_t c_stride);

// `finish` for all columns of an [m, n] C.
void lr_finish_columns(lora_device *device, int64_t m, int64_t n, const lr_finish *finish);

// Workspace that products of at most these sizes need, in bytes (packed panels of all threads), at the start of
// device->workspace. `max_inner` is the sum over the terms; only_f32: every B is f32.
uint64_t lr_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_cols, int64_t max_inner,
                              bool only_f32);

#endif
