// Panels of 32 columns of INT8 numbers that lie as [k, n].
#ifndef LR_X86_INT8_COLUMNS_H
#define LR_X86_INT8_COLUMNS_H

#include "cpu/product.h"

#include <immintrin.h>

#define LR_INT8_BLOCK 64 // rows
#define LR_INT8_PANEL 32 // columns
#define LR_INT8_AHEAD 32 // rows, asked for before they are packed: few lines of each are not foreseen

// Four rows, read along all panels, become the bytes of columns: those of 16 columns fill a line of the target, and
// `step` bytes behind it comes the next four's. The other 16 columns are `high` bytes behind the first, blocks of 64
// rows follow one another, panels are `apart` bytes apart. Each byte is changed by the bits of `flip`.
static inline __attribute__((always_inline)) void lr_pack_int8_columns(uint8_t *target, const int64_t step,
                                                                       const int64_t high, const uint8_t flip,
                                                                       int64_t apart, const lr_operand *b, int64_t p,
                                                                       int64_t depth, int64_t j, int64_t width)
{
    const __m256i flips = _mm256_set1_epi8((char)flip);
    const uint8_t *rows = (const uint8_t *)b->data + p * b->stride + j;
    const int64_t end = (depth + LR_INT8_BLOCK - 1) / LR_INT8_BLOCK * LR_INT8_BLOCK;
    for (int64_t q = 0; q < end; q += 4, rows += 4 * b->stride) {
        uint8_t *to = target + q / LR_INT8_BLOCK * LR_INT8_BLOCK * LR_INT8_PANEL + q % LR_INT8_BLOCK / 4 * step;
        for (int64_t c = 0; c < width; c += LR_INT8_PANEL, to += apart) {
            const __mmask32 there = width - c >= LR_INT8_PANEL ? ~0u : (1u << (width - c)) - 1;
            __m256i v[4];
#pragma GCC unroll 4
            for (int64_t i = 0; i < 4; i++) {
                _mm_prefetch(rows + c + (i + LR_INT8_AHEAD) * b->stride, _MM_HINT_T1);
                v[i] = _mm256_maskz_loadu_epi8(q + i < depth ? there : 0, rows + c + i * b->stride);
                v[i] = _mm256_xor_si256(v[i], flips);
            }
            const __m256i a = _mm256_unpacklo_epi8(v[0], v[1]), d = _mm256_unpacklo_epi8(v[2], v[3]);
            const __m256i e = _mm256_unpackhi_epi8(v[0], v[1]), f = _mm256_unpackhi_epi8(v[2], v[3]);
            const __m256i first = _mm256_unpacklo_epi16(a, d), second = _mm256_unpackhi_epi16(a, d);
            const __m256i third = _mm256_unpacklo_epi16(e, f), fourth = _mm256_unpackhi_epi16(e, f);
            _mm256_storeu_si256((void *)to, _mm256_permute2x128_si256(first, second, 0x20));
            _mm256_storeu_si256((void *)(to + 32), _mm256_permute2x128_si256(third, fourth, 0x20));
            _mm256_storeu_si256((void *)(to + high), _mm256_permute2x128_si256(first, second, 0x31));
            _mm256_storeu_si256((void *)(to + high + 32), _mm256_permute2x128_si256(third, fourth, 0x31));
        }
    }
}

#endif
