#include "cpu/openblas.h"

#include <string.h>

// cblas.h's numbers
#define ROW_MAJOR 101
#define NOT_TRANSPOSED 111
#define TRANSPOSED 112

#if LR_WITH_OPENBLAS

#include <dlfcn.h>

#if defined(__APPLE__)
#define LIBRARY "libopenblas.dylib"
#else
#define LIBRARY "libopenblas.so.0"
#endif

void lr_openblas_open(lr_openblas *blas)
{
    *blas = (lr_openblas){0};
    void *present = dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD);
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (present) dlclose(present);
    if (!library) return;
    void *sgemm = dlsym(library, "cblas_sgemm"), *threads = dlsym(library, "openblas_set_num_threads");
    if (!sgemm || !threads) {
        dlclose(library);
        return;
    }
    void (*set_threads)(int);
    memcpy(&set_threads, &threads, sizeof threads); // ISO C has no cast from an object to a function
    memcpy(&blas->sgemm, &sgemm, sizeof sgemm);
    if (!present) set_threads(1);
    blas->library = library;
}

void lr_openblas_close(lr_openblas *blas)
{
    if (blas->library) dlclose(blas->library);
    *blas = (lr_openblas){0};
}

#else

void lr_openblas_open(lr_openblas *blas)
{
    *blas = (lr_openblas){0};
}

void lr_openblas_close(lr_openblas *blas)
{
    *blas = (lr_openblas){0};
}

#endif

void lr_openblas_product(const lr_openblas *blas, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                         int64_t a_stride, bool a_transposed, const float *b, int64_t b_stride, bool b_transposed,
                         bool accumulate, float *c, int64_t c_stride)
{
    blas->sgemm(ROW_MAJOR, a_transposed ? TRANSPOSED : NOT_TRANSPOSED, b_transposed ? TRANSPOSED : NOT_TRANSPOSED,
                (int)m, (int)n, (int)k, alpha, a, (int)a_stride, b, (int)b_stride, accumulate ? 1.0f : 0.0f, c,
                (int)c_stride);
}
