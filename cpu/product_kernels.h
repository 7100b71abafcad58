// The inner kernels of matrix products, written once over vectors (cpu/product_vector.h) and compiled for each
// instruction set.
#ifndef LR_PRODUCT_KERNELS_H
#define LR_PRODUCT_KERNELS_H

#include "cpu/product.h"

#define LR_PRODUCT_EXTRA 2   // rows behind a panel
#define LR_PRODUCT_SLACK 16  // floats behind a panel of A that `take` may write to

typedef struct lr_product_kernels {
    int32_t tile_rows, tile_cols;
    int32_t few_rows; // of A, up to which nothing is packed where rows of B are short and lie along the inner dimension

    // A panel of B: target[p * tile_cols + j] = op(B)[p_begin + p, j_begin + j] for p < depth, j < width, and 0 for
    // width <= j < tile_cols. Of block types, p_begin and j_begin are multiples
    // of 32 where they run along the rows.
    void (*pack)(float *target, const lr_operand *b, int64_t p_begin, int64_t depth, int64_t j_begin, int64_t width);

    // Numbers [at, at + n) of a stored row of w; of block types `at` is a multiple of 32.
    void (*unpack)(float *target, const lr_operand *w, int64_t row, int64_t at, int64_t n);

    // A panel of A: target[p * tile_rows + i] = alpha * op(A)[i_begin + i, p_begin + p] for p < depth, i < rows, and 0
    // for rows <= i < tile_rows.
    void (*take)(float *target, const lr_operand *a, float alpha, int64_t i_begin, int64_t rows, int64_t p_begin,
                 int64_t depth);

    // C[rows, width] (+)= A B, panels of both; rows <= tile_rows, width <= tile_cols.
    void (*tile)(int64_t rows, int64_t width, int64_t depth, const float *a, const float *b, bool accumulate, float *c,
                 int64_t c_stride);

    // out[i * out_row + j * out_col] (+)= alpha * sum_p x[i, p] w[j_begin + j, p] for i < rows, j < count.
    void (*dots)(int64_t rows, int64_t count, int64_t depth, float alpha, const float *x, int64_t x_stride,
                 const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row, int64_t out_col);

    // out[i * out_row + j * out_col] (+)= alpha * sum_p a[i * a_row + p * a_col] w[p, j_begin + j] for i < rows,
    // j < width. w is f32, f16 or bf16.
    void (*sweep)(int64_t rows, int64_t width, int64_t depth, float alpha, const float *a, int64_t a_row, int64_t a_col,
                  const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row, int64_t out_col);

    // What `tile` wants done to panels of A and B before; `width` is tile_rows or tile_cols. LR_PRODUCT_EXTRA rows
    // behind the panel are for what it finds out. NULL: nothing.
    void (*balance)(float *panel, int64_t width, int64_t depth);
} lr_product_kernels;

// Each must not be used without its instruction set.
extern const lr_product_kernels lr_product_plain;
extern const lr_product_kernels lr_product_avx2;
extern const lr_product_kernels lr_product_avx512;
extern const lr_product_kernels lr_product_winograd;
extern const lr_product_kernels lr_product_neon;

// The best for a device with these LORA_CPU_ bits.
const lr_product_kernels *lr_product_kernels_for(int32_t features);

#endif
