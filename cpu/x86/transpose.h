// 16 rows of 16 dwords, transposed: quarters of rows come together by loads, then 4 x 4 dwords turn within each quarter.
#ifndef LR_X86_TRANSPOSE_H
#define LR_X86_TRANSPOSE_H

#include <immintrin.h>
#include <stdint.h>

// Rows of the target are `target_bytes` apart, those of the source `bytes`.
static inline __attribute__((always_inline)) void lr_transpose_dwords(void *target, int64_t target_bytes,
                                                                      const void *source, int64_t bytes)
{
    const char *rows = source;
    char *to = target;
    for (int quarter = 0; quarter < 4; quarter++, rows += 16, to += 4 * target_bytes) {
        __m512i x[4];
        for (int g = 0; g < 4; g++) {
            const char *from = rows + g * bytes;
            __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)from));
            v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(from + 4 * bytes)), 1);
            v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(from + 8 * bytes)), 2);
            x[g] = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(from + 12 * bytes)), 3);
        }
        const __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpackhi_epi32(x[0], x[1]);
        const __m512i c = _mm512_unpacklo_epi32(x[2], x[3]), d = _mm512_unpackhi_epi32(x[2], x[3]);
        _mm512_storeu_si512(to, _mm512_unpacklo_epi64(a, c));
        _mm512_storeu_si512(to + target_bytes, _mm512_unpackhi_epi64(a, c));
        _mm512_storeu_si512(to + 2 * target_bytes, _mm512_unpacklo_epi64(b, d));
        _mm512_storeu_si512(to + 3 * target_bytes, _mm512_unpackhi_epi64(b, d));
    }
}

#endif
