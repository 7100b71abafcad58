// Quantisers in plain C: vectors of four floats.
#define LR_WIDTH 4
#include "cpu/quantize_kernels.h"

void lr_quantizers_plain(lr_kernels *kernels)
{
    fill_quantizers(kernels);
}
