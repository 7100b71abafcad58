// Products of A, rounded to 8 bits, with weights that are stored as integers, by 8-bit dot products.
//
// Along the inner dimension numbers are in groups. A group of a row of A is x = scale * q with |q| <= 127; of a column of
// B, w = scale * (u - zero) + offset with u a byte. Then
//     sum x w = x.scale * (w.scale * (sum q u - zero * sum q) + w.offset * sum q)
// INT8 has one scale for each row of the weight. Where these rows are B's columns it is applied at the end; where they
// run along the inner dimension (the backward of a layer) A is multiplied by it before it is rounded. Other types have
// their scales along rows only: there B is rounded once more, to 8 bits in groups along the columns.
#ifndef LR_INTEGER_PRODUCT_H
#define LR_INTEGER_PRODUCT_H

#include "cpu/product.h"

// Whether this device has them and this is a product for them: many rows, no A transposed, B of an integer type.
bool lr_integer_product_suits(const lora_device *device, int64_t m, const lr_product_term *term);

// C[m, n] = the term, or C += with `accumulate`.
void lr_integer_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                        float *c, int64_t c_stride);

// Bytes of workspace that such products of at most these sizes need; 0 on a device without them.
uint64_t lr_integer_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner);

// ---- the kernels, compiled for AVX512-VNNI -------------------------------------------------------------------------

#define LR_INTEGER_ROWS 6   // of a panel of A and C
#define LR_INTEGER_COLS 32  // of a panel of B and C
#define LR_INTEGER_BLOCK 64 // inner numbers: panels hold whole blocks, of one or two groups

typedef struct lr_integer_kind {
    int32_t group;     // inner numbers that share a scale: 32 or 64
    int32_t zero;      // of B
    bool scaled;       // B's groups have scales
    bool has_offset;   // and offsets
    bool rounds_again; // B is rounded to 8 bits here
    bool folds_scales; // A is multiplied by INT8's scales
} lr_integer_kind;

lr_integer_kind lr_integer_kind_of(const lr_operand *b);

// A panel lies as numbers[block][16][row][4], then for each group and row scale, start (-zero * sum q) and sum
// (scale * sum q). A panel of B as numbers[block][16][column][4], then for each group and column scale and offset.
int64_t lr_integer_a_bytes(int64_t blocks);
int64_t lr_integer_b_bytes(int64_t blocks);

// Rows [i, i + rows) of A times alpha, inner numbers [p, p + depth), zeros beyond them.
void lr_vnni_take(void *target, const lr_integer_kind *kind, const lr_product_term *term, int64_t i, int64_t rows,
                  int64_t p, int64_t depth);
// Columns [j, j + width) of B, inner numbers [p, p + depth).
void lr_vnni_pack(void *target, const lr_integer_kind *kind, const lr_operand *b, int64_t p, int64_t depth, int64_t j,
                  int64_t width);
// C[rows, width] (+)= A B. factors: of the columns, or NULL.
void lr_vnni_multiply(int64_t rows, int64_t width, int64_t blocks, const lr_integer_kind *kind, const void *a,
                      const void *b, const float *factors, bool accumulate, float *c, int64_t c_stride);

#endif
