// Quantisers with AVX-512 F, BW, DQ and VL: vectors of sixteen floats.
#define LR_WIDTH 16
#include "cpu/quantize_kernels.h"

void lr_quantizers_avx512(lr_kernels *kernels)
{
    fill_quantizers(kernels);
}
