// The kernels with AVX-512 F, BW, DQ and VL: vectors of sixteen floats.
#define LR_WIDTH 16
#include "cpu/fill_kernels.h"

void lr_kernels_avx512(lr_kernels *kernels)
{
    fill_kernels(kernels);
}
