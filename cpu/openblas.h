// OpenBLAS for f32 products, on processors for which this library has no kernels of its own. It is looked for when a
// device opens, and nothing needs it to build or to run.
#ifndef LR_OPENBLAS_H
#define LR_OPENBLAS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lr_openblas {
    void *library; // NULL: not in use
    void (*sgemm)(int order, int a_transposed, int b_transposed, int m, int n, int k, float alpha, const float *a,
                  int a_stride, const float *b, int b_stride, float beta, float *c, int c_stride);
} lr_openblas;

// Fills in *blas where this build and this system have it, else zeros. One thread, unless the process had it loaded
// already: then its number of threads is the host's affair.
void lr_openblas_open(lr_openblas *blas);
void lr_openblas_close(lr_openblas *blas); // ends the threads that it started

// C[m, n] = alpha op(A) op(B), or C += with `accumulate`; all row-major, on the calling thread. Sizes fit an int.
void lr_openblas_product(const lr_openblas *blas, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                         int64_t a_stride, bool a_transposed, const float *b, int64_t b_stride, bool b_transposed,
                         bool accumulate, float *c, int64_t c_stride);

#endif
