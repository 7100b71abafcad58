// The products of a low-rank pair, A [r, k] and B [n, r], for which r is 1..64: thin matrices against long ones,
// which are read once and never packed. All f32; each matrix lies in rows of its stride. Pairs that cover part of the
// rows pass pointers to their first row. Workspace: that of the product (cpu/product.h) with n or k columns and r
// inner.
#ifndef LR_LOWRANK_H
#define LR_LOWRANK_H

#include "cpu/cpu.h"

typedef struct lr_matrix {
    float *data;
    int64_t stride;
} lr_matrix;

// H[m, r] = X[m, k] A^T
void lr_lowrank_hidden(lora_device *device, int64_t m, int64_t k, int64_t r, lr_matrix x, lr_matrix a, lr_matrix h);
// Y[m, n] += scale * H[m, r] B^T. Where the base product runs too, a second term of lr_product_sum saves a pass over Y.
void lr_lowrank_output(lora_device *device, int64_t m, int64_t n, int64_t r, float scale, lr_matrix h, lr_matrix b,
                       lr_matrix y);

// dH[m, r] = scale * dY[m, n] B
void lr_lowrank_grad_hidden(lora_device *device, int64_t m, int64_t n, int64_t r, float scale, lr_matrix dy,
                            lr_matrix b, lr_matrix dh);
// dX[m, k] += dH[m, r] A
void lr_lowrank_grad_input(lora_device *device, int64_t m, int64_t k, int64_t r, lr_matrix dh, lr_matrix a,
                           lr_matrix dx);
// dA[r, k] += dH^T X
void lr_lowrank_grad_a(lora_device *device, int64_t m, int64_t k, int64_t r, lr_matrix dh, lr_matrix x, lr_matrix da);
// dB[n, r] += scale * dY^T H
void lr_lowrank_grad_b(lora_device *device, int64_t m, int64_t n, int64_t r, float scale, lr_matrix dy, lr_matrix h,
                       lr_matrix db);

#endif
