// Kernels of cpu/rows_product.h with AVX512-BF16: how A is packed and C put back, with tiles too, and products by dot
// products of pairs, in which each lane of a sum is a row of A:
//     C^T[column][16 rows] f32 += A^T[16 rows][2] * B^T[column][2]
#include "cpu/rows_product.h"

#include "cpu/x86/transpose.h"

#include <string.h>

#define TILE LR_ROWS_TILE
#define NUMBERS LR_ROWS_NUMBERS

// The next bf16 number of each of 32; low and high become what is left.
static inline __m512i next_part(__m512 *low, __m512 *high)
{
    const __m512i part = (__m512i)_mm512_cvtne2ps_pbh(*high, *low);
    const __m512i l = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(part));
    const __m512i h = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(part, 1));
    *low = _mm512_sub_ps(*low, _mm512_castsi512_ps(_mm512_slli_epi32(l, 16)));
    *high = _mm512_sub_ps(*high, _mm512_castsi512_ps(_mm512_slli_epi32(h, 16)));
    return part;
}

void lr_rows_pack(const lr_rows_job *job, const lr_product_term *term, uint16_t *packed)
{
    const __m512 alpha = _mm512_set1_ps(term->alpha);
    for (int64_t s = 0; s < job->steps; s++) {
        for (int32_t half = 0; half < job->halves; half++) {
            __m512i part[3][TILE];
            for (int64_t i = 0; i < TILE; i++) {
                const int64_t row = half * TILE + i;
                const float *from = (const float *)term->a.data + row * term->a.stride + s * LR_ROWS_STEP;
                const bool present = row < job->m;
                __m512 low = present ? _mm512_mul_ps(alpha, _mm512_loadu_ps(from)) : _mm512_setzero_ps();
                __m512 high = present ? _mm512_mul_ps(alpha, _mm512_loadu_ps(from + 16)) : _mm512_setzero_ps();
                for (int32_t p = 0; p < job->parts; p++) part[p][i] = next_part(&low, &high);
            }
            for (int32_t p = 0; p < job->parts; p++)
                lr_transpose_dwords(packed + ((s * job->parts + p) * job->halves + half) * NUMBERS, 64, part[p], 64);
        }
    }
}

void lr_rows_put(const lr_rows_job *job, const float *sums, int64_t row, int64_t j, int64_t skip)
{
    const __mmask16 mask = (__mmask16)(0xFFFFu << skip);
    const int64_t rows = job->m - row < TILE ? job->m - row : TILE;
    __m512 turned[TILE];
    lr_transpose_dwords(turned, 64, sums, 64);
    for (int64_t i = 0; i < rows; i++) {
        float *c = job->c + (row + i) * job->c_stride + j;
        __m512 value = turned[i];
        if (job->accumulate) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, c));
        _mm512_mask_storeu_ps(c, mask, value);
    }
}

static inline __attribute__((always_inline)) __m512bh pair_at(const uint16_t *w)
{
    int32_t pair;
    memcpy(&pair, w, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

// 16 columns of C of 16 rows of A. A pair of a column is spread over a vector once for all parts.
static inline __attribute__((always_inline)) void run(const int parts, const lr_rows_job *job, const uint16_t *a,
                                                      const uint16_t *w, float *sums)
{
    const int64_t apart = job->halves * NUMBERS, stride = job->weight_stride;
    const char *ahead = (const char *)(w + TILE * stride);
    __m512 sum[TILE];
#pragma GCC unroll 16
    for (int j = 0; j < TILE; j++) sum[j] = _mm512_setzero_ps();
    for (int64_t s = 0; s < job->steps; s++, a += parts * apart, ahead += TILE * 64) {
        const uint16_t *base[4]; // five columns lie within what an address can express
        for (int b = 0; b < 4; b++) base[b] = w + 5 * b * stride + s * LR_ROWS_STEP;
        for (int line = 0; line < TILE; line++) _mm_prefetch(ahead + line * 64, _MM_HINT_T0);
        for (int q = 0; q < 16; q++) {
            __m512bh rows[2];
            for (int p = 0; p < parts; p++) rows[p] = (__m512bh)_mm512_loadu_si512(a + p * apart + q * 32);
#pragma GCC unroll 16
            for (int j = 0; j < TILE; j++) {
                const __m512bh pair = pair_at(base[j / 5] + j % 5 * stride + 2 * q);
                for (int p = 0; p < parts; p++) sum[j] = _mm512_dpbf16_ps(sum[j], rows[p], pair);
            }
        }
    }
#pragma GCC unroll 16
    for (int j = 0; j < TILE; j++) _mm512_store_ps(sums + j * TILE, sum[j]);
}

void lr_dots_multiply_rows(const lr_rows_job *job, const uint16_t *packed, int64_t j, int64_t end)
{
    _Alignas(64) float sums[TILE * TILE];
    while (j < end) { // the last columns with some before them, where they are fewer
        const int64_t at = j + TILE <= end ? j : end - TILE;
        for (int32_t half = 0; half < job->halves; half++) {
            const uint16_t *w = job->weight + at * job->weight_stride;
            if (job->parts == 1) run(1, job, packed + half * NUMBERS, w, sums);
            else run(2, job, packed + half * NUMBERS, w, sums);
            lr_rows_put(job, sums, half * TILE, at, j - at);
        }
        j = at + TILE;
    }
}
