// Matrix products for the CPU backend, in any orientation, with operands converted to f32 while they are packed.
#ifndef LR_PRODUCT_H
#define LR_PRODUCT_H

#include "cpu/cpu.h"

// A matrix as it lies in memory: rows of `stride` numbers. The product sees it transposed when `transposed`.
// Block types (Q8_0) and scales apart (`scales`) are for frozen weights.
typedef struct lr_operand {
    const void *data;
    const void *scales;
    int64_t stride;
    lora_type type;
    bool transposed;
} lr_operand;

// C[m, n] = alpha * op(A)[m, k] * op(B)[k, n], or C += with `accumulate`; C is f32 with rows of `c_stride`.
// Runs on all of the device's threads; the bits do not depend on which thread does what.
void lr_product(lora_device *device, int64_t m, int64_t n, int64_t k, float alpha, lr_operand a, lr_operand b,
                bool accumulate, float *c, int64_t c_stride);

// Workspace that products of at most these sizes need, in bytes (packed panels of all threads).
uint64_t lr_product_workspace(int32_t threads, int64_t max_rows, int64_t max_cols, int64_t max_inner);

#endif
