// Dot products of few rows of A with rows of integer weights, read once where they lie: answers, token by token.
//
// Groups of a row of A (32 to 128 numbers) share a scale and are rounded to 15 bits or more: |error| <= greatest /
// 32512, far below what the weights' own rounding is. Each row of A is worked on alone, so its results do not depend on
// how many others there are.
#ifndef LR_INTEGER_DOTS_H
#define LR_INTEGER_DOTS_H

#include "cpu/product.h"

// Whether this device has them and this is a product for them: few rows, B of an integer type lying as [n, k].
bool lr_integer_dots_suit(const lora_device *device, int64_t m, const lr_product_term *term);

// C[m, n] = the term, or C += with `accumulate`.
void lr_integer_dots(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride, const lr_finish *finish);

// Bytes of workspace that such products need; 0 on a device without them.
uint64_t lr_integer_dots_workspace(const lora_device *device, int64_t max_inner);

#endif
