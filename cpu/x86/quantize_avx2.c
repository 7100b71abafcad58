// Quantisers with AVX2 and F16C: vectors of eight floats.
#define LR_WIDTH 8
#include "cpu/quantize_kernels.h"

void lr_quantizers_avx2(lr_kernels *kernels)
{
    fill_quantizers(kernels);
}
