// The table's plain C column, and the choice between columns. Vectors of four floats: what the compiler's own vector
// extension turns into SSE2 on x86-64 and into NEON on arm64.
#include "cpu/kernels.h"

#define LR_WIDTH 4
#include "cpu/fill_kernels.h"

void lr_kernels_plain(lr_kernels *kernels)
{
    fill_kernels(kernels);
}

void lr_kernels_init(lr_kernels *kernels, int32_t features)
{
    memset(kernels, 0, sizeof *kernels);
    lr_kernels_plain(kernels);
    lr_quantizers_plain(kernels);
#if defined(__x86_64__)
    if (!(features & LORA_CPU_AVX2)) return;
    lr_kernels_avx2(kernels);
    lr_quantizers_avx2(kernels);
    if (!(features & LORA_CPU_AVX512)) return;
    lr_kernels_avx512(kernels);
    lr_quantizers_avx512(kernels);
#else
    (void)features;
#endif
}
