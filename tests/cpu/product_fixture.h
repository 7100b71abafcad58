// A device made by hand, random matrices in any storage type, and guarded results, for the tests of products.
#ifndef PRODUCT_FIXTURE_H
#define PRODUCT_FIXTURE_H

#include "cpu/product.h"

// features: masked by what this processor has; the workspace holds exactly what products of these sizes need.
void device_open(lora_device *device, int32_t threads, int32_t features, int64_t max_rows, int64_t max_cols,
                 int64_t max_inner);
void device_close(lora_device *device);

// The instruction sets that this processor has: their names and LORA_CPU_ bits, ended by a NULL name.
typedef struct instruction_set {
    const char *name;
    int32_t features;
} instruction_set;
const instruction_set *instruction_sets(void);

uint32_t draw(uint32_t bound); // from one fixed sequence
void draw_restart(uint32_t seed);

// A stored matrix of `rows` x `cols` numbers, at an odd address, with its values in double.
typedef struct stored_matrix {
    void *block;
    void *data;
    double *values; // [rows, cols]
    float *scales;  // of INT8 and NF4
    int64_t scales_a_row;
    int64_t rows, cols, stride;
    lora_type type;
} stored_matrix;

// The row length is rounded up to whole blocks; `padding` numbers (whole blocks) lie between rows.
stored_matrix matrix_random(lora_type type, int64_t rows, int64_t cols, int64_t padding);
void matrix_free(stored_matrix *matrix);
lr_operand matrix_operand(const stored_matrix *matrix, bool transposed);

// A result [rows, cols] of random numbers in rows of cols + 3, with guard values around it.
typedef struct result_matrix {
    float *block, *data;
    double *before; // [rows, cols]
    int64_t rows, cols, stride;
} result_matrix;

result_matrix result_random(int64_t rows, int64_t cols);
void result_check_guards(const result_matrix *result);
void result_free(result_matrix *result);

// |got - want| is within what a sum of `count` terms in f32 errs, whatever its order: `squares` adds up the squares
// of the terms, `partial` those of the partial sums in one order.
void check_sum(double got, double want, double before, double squares, double partial, int64_t count, const char *what);

#endif
