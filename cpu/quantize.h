// From f32 to the types whose numbers have scales beside them, one plain version for all processors: a model is
// quantised once. The roundings are those of bitsandbytes (INT8, NF4) and gguf-py (blocks of 32); quantize_k.c says
// what the k types do.
#ifndef LR_QUANTIZE_H
#define LR_QUANTIZE_H

#include "cpu/kernels.h"

void lr_fill_quantizers(lr_kernels *kernels);

// n numbers, whole blocks; see from_f32 in cpu/kernels.h.
void lr_quantize_q4_k(void *target, float *scales, const float *source, int64_t n);
void lr_quantize_q5_k(void *target, float *scales, const float *source, int64_t n);
void lr_quantize_q6_k(void *target, float *scales, const float *source, int64_t n);

float lr_greatest_magnitude(const float *x, int64_t n); // 0 for n = 0

#endif
