// Products of A, rounded to 8 bits, with weights that are stored as integers, by 8-bit dot products.
//
// Along the inner dimension numbers are in groups. A group of a row of A is x = scale * q with |q| <= 127; of a column
// of B, w = scale * (u - zero) + offset with u a byte. Then
//     sum x w = x.scale * (w.scale * (sum q u - zero * sum q) + w.offset * sum q)
// INT8 has one scale for each row of the weight. Where these rows are B's columns it is applied at the end; where they
// run along the inner dimension (the backward of a layer) A is multiplied by it before it is rounded. Other types have
// their scales along rows only: there B is rounded once more, to 8 bits in groups along the columns. Groups have 32
// numbers; those of A that meet INT8 have 64, and 128 on tile registers, which must be emptied after each.
#ifndef LR_INTEGER_PRODUCT_H
#define LR_INTEGER_PRODUCT_H

#include "cpu/product.h"

// Whether this device has them and this is a product for them: many rows, no A transposed, B of an integer type.
bool lr_integer_product_suits(const lora_device *device, int64_t m, const lr_product_term *term);

// Whether they are multiplied on tile registers, of which the others make no use.
bool lr_integer_has_tiles(const lora_device *device, const lr_product_term *term);

// C[m, n] = the term, or C += with `accumulate`.
void lr_integer_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                        float *c, int64_t c_stride);

// Bytes of workspace that such products of at most these sizes need; 0 on a device without them.
uint64_t lr_integer_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner);

#endif
