// The inner kernels of products with integer weights (cpu/integer_product.h, cpu/integer_dots.h), for each instruction
// set.
#ifndef LR_INTEGER_KERNELS_H
#define LR_INTEGER_KERNELS_H

#include "cpu/product.h"

#define LR_DOTS_BLOCK 256 // numbers of a row for dots
#define LR_DOTS_ROWS 16   // at most

typedef struct lr_integer_kernels {
    int32_t rows, cols;       // of panels: of A and C, of B and C
    int32_t block;            // inner numbers: panels hold whole blocks
    int32_t a_bytes, b_bytes; // of a block of a panel
    int32_t dots_bytes;       // of LR_DOTS_BLOCK numbers of a row

    // Around `multiply` on each thread, or NULL.
    void (*begin)(void);
    void (*end)(void);

    // Rows [i, i + rows) of A times alpha, inner numbers [p, p + depth), zeros beyond them. p is a multiple of 256.
    void (*take)(void *target, const lr_product_term *term, int64_t i, int64_t rows, int64_t p, int64_t depth);
    // Columns [j, j + width) of B, inner numbers [p, p + depth): one panel, or, if packs_many, panels that follow one
    // another.
    bool packs_many;
    void (*pack)(void *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width);
    // C[rows, width] (+)= A B, of the columns of B from j on.
    void (*multiply)(int64_t rows, int64_t width, int64_t blocks, const void *a, const void *packed,
                     const lr_operand *b, int64_t j, bool accumulate, float *c, int64_t c_stride);

    // A row of A times alpha, in blocks.
    void (*split)(void *blocks, const lr_product_term *term, int64_t row);
    // C[0 .. m, j .. j + count] (+)= A B; the rows of A, in blocks, follow one another.
    void (*dots)(int64_t m, int64_t count, const lr_product_term *term, const void *blocks, int64_t j, bool accumulate,
                 float *c, int64_t c_stride);

    // Has faster take, pack and multiply for types of 4 bits that lie as [n, k], in no more room; or NULL.
    const struct lr_integer_kernels *half_bytes;
} lr_integer_kernels;

// Each must not be used without its instruction set.
extern const lr_integer_kernels lr_integer_vnni;
extern const lr_integer_kernels lr_integer_avx2;
extern const lr_integer_kernels lr_integer_avx2_half_bytes;
extern const lr_integer_kernels lr_integer_amx; // INT8 alone, and no dots
extern const lr_integer_kernels lr_integer_neon; // with its dot products

// The best for a device with these LORA_CPU_ bits, or NULL.
const lr_integer_kernels *lr_integer_kernels_for(int32_t features);

#endif
