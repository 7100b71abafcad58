// The inner kernels of matrix products, written once over vectors (cpu/product_vector.h) and compiled for each
// instruction set.
#ifndef LR_PRODUCT_KERNELS_H
#define LR_PRODUCT_KERNELS_H

#include "cpu/product.h"

#define LR_PRODUCT_DEPTH 512 // inner numbers that a tile takes at once, at most: a tile's A lies in the L1 cache
#define LR_PRODUCT_ROW (LR_PRODUCT_DEPTH + 16) // floats from row to row of a tile's A; 16 more spread rows over sets
#define LR_PRODUCT_COLUMN 16                   // floats from column to column of an A that came transposed

typedef struct lr_product_kernels {
    int32_t tile_rows; // <= LR_PRODUCT_COLUMN
    int32_t tile_cols;

    // A panel of B: target[p * tile_cols + j] = op(B)[p_begin + p, j_begin + j] for p < depth, j < width, and 0 for
    // width <= j < tile_cols. Of block types, p_begin and j_begin are multiples
    // of 32 where they run along the rows.
    void (*pack)(float *target, const lr_operand *b, int64_t p_begin, int64_t depth, int64_t j_begin, int64_t width);

    // A tile's rows of A times alpha: target[i * LR_PRODUCT_ROW + p], or target[p * LR_PRODUCT_COLUMN + i] if
    // transposed.
    void (*take)(float *target, const lr_operand *a, float alpha, int64_t i_begin, int64_t rows, int64_t p_begin,
                 int64_t depth);

    // C[rows, width] (+)= A B, A as `take` left it and B as `pack` did; rows <= tile_rows, width <= tile_cols.
    void (*tile)(int64_t rows, int64_t width, int64_t depth, const float *a, bool by_column, const float *b,
                 bool accumulate, float *c, int64_t c_stride);

    // out[i * out_row + j * out_col] (+)= alpha * sum_p x[i, p] w[j_begin + j, p] for i < rows, j < count.
    void (*dots)(int64_t rows, int64_t count, int64_t depth, float alpha, const float *x, int64_t x_stride,
                 const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row, int64_t out_col);

    // out[i * out_row + j * out_col] (+)= alpha * sum_p a[i * a_row + p * a_col] w[p, j_begin + j] for i < rows,
    // j < width. w is f32, f16 or bf16.
    void (*sweep)(int64_t rows, int64_t width, int64_t depth, float alpha, const float *a, int64_t a_row, int64_t a_col,
                  const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row, int64_t out_col);
} lr_product_kernels;

// Each must not be used without its instruction set.
extern const lr_product_kernels lr_product_plain;
extern const lr_product_kernels lr_product_avx2;
extern const lr_product_kernels lr_product_avx512;
extern const lr_product_kernels lr_product_neon;

// The best for a device with these LORA_CPU_ bits.
const lr_product_kernels *lr_product_kernels_for(int32_t features);

#endif
