// 16 rows of 16 dwords, transposed in registers: each row is loaded once, for rows whose distance is a power of two
// share few places of the L1 cache.
#ifndef LR_X86_TRANSPOSE_H
#define LR_X86_TRANSPOSE_H

#include <immintrin.h>
#include <stdint.h>

// Rows of the target are `target_bytes` apart, those of the source `bytes`. The first `cut` rows of the target count
// from `early` on.
static inline __attribute__((always_inline)) void lr_transpose_cut_dwords(void *early, void *target, int cut,
                                                                          int64_t target_bytes, const void *source,
                                                                          int64_t bytes)
{
    __m512i x[16];
#pragma GCC unroll 4
    for (int g = 0; g < 16; g += 4) { // 4 x 4 dwords turn within each quarter of four rows
        const char *rows = (const char *)source + g * bytes;
        const __m512i r0 = _mm512_loadu_si512(rows), r1 = _mm512_loadu_si512(rows + bytes);
        const __m512i r2 = _mm512_loadu_si512(rows + 2 * bytes), r3 = _mm512_loadu_si512(rows + 3 * bytes);
        const __m512i a = _mm512_unpacklo_epi32(r0, r1), b = _mm512_unpackhi_epi32(r0, r1);
        const __m512i c = _mm512_unpacklo_epi32(r2, r3), d = _mm512_unpackhi_epi32(r2, r3);
        x[g] = _mm512_unpacklo_epi64(a, c);
        x[g + 1] = _mm512_unpackhi_epi64(a, c);
        x[g + 2] = _mm512_unpacklo_epi64(b, d);
        x[g + 3] = _mm512_unpackhi_epi64(b, d);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { // quarters of four such groups come together
        const __m512i a = _mm512_shuffle_i32x4(x[i], x[4 + i], 0x44), b = _mm512_shuffle_i32x4(x[i], x[4 + i], 0xEE);
        const __m512i c = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0x44);
        const __m512i d = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0xEE);
        const __m512i row[4] = {_mm512_shuffle_i32x4(a, c, 0x88), _mm512_shuffle_i32x4(a, c, 0xDD),
                                _mm512_shuffle_i32x4(b, d, 0x88), _mm512_shuffle_i32x4(b, d, 0xDD)};
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++)
            _mm512_storeu_si512((char *)(4 * q + i < cut ? early : target) + (4 * q + i) * target_bytes, row[q]);
    }
}

static inline __attribute__((always_inline)) void lr_transpose_dwords(void *target, int64_t target_bytes,
                                                                      const void *source, int64_t bytes)
{
    lr_transpose_cut_dwords(target, target, 0, target_bytes, source, bytes);
}

#endif
