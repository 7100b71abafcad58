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

// One of many small pairs, each for a few rows of its own: H = X A^T, Y += scale * H B^T.
typedef struct lr_small_pair {
    int64_t m, r;
    float scale;
    lr_matrix x, a, b, h, y;
} lr_small_pair;
#define LR_SMALL_ROWS 32 // at most
#define LR_SMALL_PAIRS 64

// Up to LR_SMALL_PAIRS of them, side by side: X and A have k columns, Y has n.
void lr_lowrank_small(lora_device *device, int32_t count, const lr_small_pair *pairs, int64_t k, int64_t n);

#endif
