// Kernel of cpu/bf16_product.h with the dot products of AVX512-BF16: each lane of a sum takes a pair of inner numbers,
//     C[row][16 columns] f32 += A[row][2] * B[16 columns][2]
#include "cpu/bf16_product.h"

#include <immintrin.h>
#include <string.h>

#define HALF (LR_BF16_NUMBERS / 2) // numbers of 16 columns of B
#define BLOCK 11                   // rows whose sums stay in registers

static inline __attribute__((always_inline)) __m512bh pair_of(const uint16_t *a)
{
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

// One step of `rows` rows; B is used for each part of A.
static inline __attribute__((always_inline)) void multiply_step(const int rows, int32_t parts, const uint16_t *a,
                                                                const uint16_t *b, __m512 sum[BLOCK][2])
{
    for (; parts > 0; parts--, a += LR_BF16_NUMBERS)
#pragma GCC unroll 2
        for (int q = 0; q < LR_BF16_STEP; q += 2) {
            const __m512bh low = (__m512bh)_mm512_loadu_si512(b + q * 16);
            const __m512bh high = (__m512bh)_mm512_loadu_si512(b + HALF + q * 16);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                const __m512bh pair = pair_of(a + i * LR_BF16_STEP + q);
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, low);
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, high);
            }
        }
}

static inline __attribute__((always_inline)) void multiply_block(const int rows, const lr_bf16_run *run, int64_t row,
                                                                 bool accumulate, float *c, int64_t c_stride)
{
    __m512 sum[BLOCK][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        _mm_prefetch(c + i * c_stride, _MM_HINT_T0);
        _mm_prefetch(c + i * c_stride + 16, _MM_HINT_T0);
    }
    const int64_t at = row * LR_BF16_STEP;
    for (int64_t s = 0; s < run->steps; s++) {
        lr_bf16_fetch(run->ahead, true);
        multiply_step(rows, run->parts, run->a + s * run->parts * LR_BF16_NUMBERS + at, run->b + s * LR_BF16_NUMBERS,
                      sum);
    }
    for (int64_t s = 0; s < run->pair_steps; s++)
        multiply_step(rows, 1, run->pair_a + s * LR_BF16_NUMBERS + at, run->pair_b + s * LR_BF16_NUMBERS, sum);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, c += c_stride) {
        if (accumulate) {
            sum[i][0] = _mm512_add_ps(sum[i][0], _mm512_loadu_ps(c));
            sum[i][1] = _mm512_add_ps(sum[i][1], _mm512_loadu_ps(c + 16));
        }
        _mm512_storeu_ps(c, sum[i][0]);
        _mm512_storeu_ps(c + 16, sum[i][1]);
    }
}

void lr_bf16_dots(const lr_bf16_run *run, bool accumulate, float *c, int64_t c_stride)
{
    multiply_block(BLOCK, run, 0, accumulate, c, c_stride);
    multiply_block(BLOCK, run, BLOCK, accumulate, c + BLOCK * c_stride, c_stride);
    multiply_block(LR_BF16_PANEL - 2 * BLOCK, run, 2 * BLOCK, accumulate, c + 2 * BLOCK * c_stride, c_stride);
}
