// Dropout's kernel: Philox 4x32-10 of lib/random.h on LR_WIDTH blocks at once, which is four vectors of numbers.
// Included by the one file of each instruction set.
#ifndef LR_DROPOUT_KERNEL_H
#define LR_DROPOUT_KERNEL_H

#include "cpu/kernels.h"
#include "cpu/vector.h"
#include "lib/random.h"

#if LR_WIDTH == 16 && defined(__AVX512F__)
#define LANES(op, a, b) ((lr_vu)_mm512_##op((__m512i)(a), (__m512i)(b)))
#elif LR_WIDTH == 8 && defined(__AVX2__)
#define LANES(op, a, b) ((lr_vu)_mm256_##op((__m256i)(a), (__m256i)(b)))
#elif LR_WIDTH == 4 && defined(__SSE2__)
#define LANES(op, a, b) ((lr_vu)_mm_##op((__m128i)(a), (__m128i)(b)))
#endif

typedef uint64_t lr_vl __attribute__((vector_size(LR_WIDTH * 4)));

// The halves of the 64-bit products of 32-bit lanes.
LR_INLINE void multiply(lr_vu a, uint32_t factor, lr_vu *high, lr_vu *low)
{
#if defined(LANES)
    const lr_vu f = (lr_vu){0} + factor;
    const lr_vl even = (lr_vl)LANES(mul_epu32, a, f), odd = (lr_vl)LANES(mul_epu32, (lr_vl)a >> 32, f);
    *high = (lr_vu)(even >> 32 | (odd & 0xFFFFFFFF00000000u));
    *low = (lr_vu)((even & 0xFFFFFFFFu) | odd << 32);
#else
    for (int i = 0; i < LR_WIDTH; i++) {
        const uint64_t product = (uint64_t)a[i] * factor;
        (*high)[i] = (uint32_t)(product >> 32);
        (*low)[i] = (uint32_t)product;
    }
#endif
}

// words[i] of the run that begins with block `first`: 4 * LR_WIDTH of them. Block i is computed in the lane from which
// the transpose within groups of four lanes takes its words to their places.
LR_INLINE void draw_blocks(uint32_t words[4 * LR_WIDTH], const lora_dropout *dropout, uint64_t first)
{
    uint32_t block_of_lane[LR_WIDTH];
    for (int i = 0; i < LR_WIDTH; i++) block_of_lane[i] = (uint32_t)(i % 4 * (LR_WIDTH / 4) + i / 4);
    lr_vu c0, c1, c2 = (lr_vu){0} + dropout->stream, c3 = {0};
    memcpy(&c0, block_of_lane, sizeof c0);
    c0 += (uint32_t)first;
    c1 = (uint32_t)(first >> 32) - (lr_vu)(c0 < (uint32_t)first); // with the carry
    uint32_t k0 = (uint32_t)dropout->seed, k1 = (uint32_t)(dropout->seed >> 32);
    for (int round = 0; round < 10; round++) {
        lr_vu high0, low0, high2, low2;
        multiply(c0, 0xD2511F53u, &high0, &low0);
        multiply(c2, 0xCD9E8D57u, &high2, &low2);
        c0 = high2 ^ c1 ^ k0, c2 = high0 ^ c3 ^ k1, c1 = low2, c3 = low0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
#if defined(LANES)
    const lr_vu a = LANES(unpacklo_epi32, c0, c1), b = LANES(unpackhi_epi32, c0, c1);
    const lr_vu c = LANES(unpacklo_epi32, c2, c3), d = LANES(unpackhi_epi32, c2, c3);
    const lr_vu rows[4] = {LANES(unpacklo_epi64, a, c), LANES(unpackhi_epi64, a, c), LANES(unpacklo_epi64, b, d),
                           LANES(unpackhi_epi64, b, d)};
    memcpy(words, rows, sizeof rows);
#else
    for (int i = 0; i < LR_WIDTH; i++) {
        uint32_t *word = words + 4 * block_of_lane[i];
        word[0] = c0[i], word[1] = c1[i], word[2] = c2[i], word[3] = c3[i];
    }
#endif
}

// y = kept ? factor * x : 0 for single numbers: at the ends of a run, which need not begin or end with a block.
static void dropout_few(float *y, const float *x, const lora_dropout *dropout, float factor, uint64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] =
            lr_random_uniform(dropout->seed, dropout->stream, first + (uint64_t)i) >= dropout->p ? x[i] * factor : 0.0f;
}

static void dropout_row(float *y, const float *x, const lora_dropout *dropout, uint64_t first, int64_t n)
{
    const float factor = 1.0f / (1.0f - dropout->p), bound = dropout->p * 0x1p24f; // u >= p in steps of 2^-24
    int64_t i = (int64_t)(-first % 4);
    if (i > n) i = n;
    dropout_few(y, x, dropout, factor, first, i);
    for (; i + 4 * LR_WIDTH <= n; i += 4 * LR_WIDTH) {
        uint32_t words[4 * LR_WIDTH];
        draw_blocks(words, dropout, (first + (uint64_t)i) / 4);
        for (int v = 0; v < 4 * LR_WIDTH; v += LR_WIDTH) {
            lr_vi steps;
            memcpy(&steps, words + v, sizeof steps);
            lr_vf u = __builtin_convertvector((lr_vi)((lr_vu)steps >> 8), lr_vf);
            vf_store(y + i + v, (lr_vf)((u >= bound) & (lr_vi)(factor * vf_load(x + i + v))));
        }
    }
    dropout_few(y + i, x + i, dropout, factor, first + (uint64_t)i, n - i);
}

#endif
