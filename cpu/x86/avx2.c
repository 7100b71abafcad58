// The kernels with AVX2, FMA and F16C: vectors of eight floats.
#define LR_WIDTH 8
#include "cpu/fill_kernels.h"

void lr_kernels_avx2(lr_kernels *kernels)
{
    fill_kernels(kernels);
}
