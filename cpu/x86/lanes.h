// Parts of vectors of 16 lanes.
#ifndef LR_X86_LANES_H
#define LR_X86_LANES_H

#include <immintrin.h>
#include <stdint.h>

// The first `count` lanes: none below 0, all from 16 on.
static inline __mmask16 mask_of(int64_t count)
{
    return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

// The first `there` numbers of x times alpha, and times their factors if there are any.
static inline __m512 load_scaled(const float *x, const float *factors, float alpha, int64_t there)
{
    const __mmask16 mask = mask_of(there);
    const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x), _mm512_set1_ps(alpha));
    return factors ? _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, factors)) : v;
}

#endif
