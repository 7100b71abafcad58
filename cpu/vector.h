// Vectors of LR_WIDTH floats in the compilers' own vector extension, so that one text serves every instruction set. The
// file that includes this says the width; its compile flags say the instructions. Everything here is static: each
// instruction set has its own copies.
#ifndef LR_VECTOR_H
#define LR_VECTOR_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LR_INLINE static inline __attribute__((always_inline, unused))

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

typedef float lr_vf __attribute__((vector_size(LR_WIDTH * 4)));
typedef int32_t lr_vi __attribute__((vector_size(LR_WIDTH * 4)));
typedef uint32_t lr_vu __attribute__((vector_size(LR_WIDTH * 4)));

LR_INLINE lr_vf vf_set(float value)
{
    return value - (lr_vf){0};
}

LR_INLINE lr_vf vf_load(const void *from)
{
    lr_vf v;
    memcpy(&v, from, sizeof v);
    return v;
}

LR_INLINE void vf_store(void *to, lr_vf v)
{
    memcpy(to, &v, sizeof v);
}

// The first n < LR_WIDTH floats; the rest are 0.
LR_INLINE lr_vf vf_load_part(const float *from, int64_t n)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from);
#else
    lr_vf v = {0};
    memcpy(&v, from, (size_t)n * sizeof(float));
    return v;
#endif
}

LR_INLINE void vf_store_part(float *to, lr_vf v, int64_t n)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    memcpy(to, &v, (size_t)n * sizeof(float));
#endif
}

LR_INLINE lr_vf vf_select(lr_vi mask, lr_vf yes, lr_vf no)
{
    return (lr_vf)((mask & (lr_vi)yes) | (~mask & (lr_vi)no));
}

// Where b is NaN, b.
LR_INLINE lr_vf vf_maximum(lr_vf a, lr_vf b)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif LR_WIDTH == 8 && defined(__AVX__)
    return (lr_vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_select(a > b, a, b);
#endif
}

LR_INLINE lr_vf vf_minimum(lr_vf a, lr_vf b)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif LR_WIDTH == 8 && defined(__AVX__)
    return (lr_vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vf_select(a < b, a, b);
#endif
}

LR_INLINE lr_vf vf_absolute(lr_vf x)
{
    return (lr_vf)((lr_vi)x & 0x7FFFFFFF);
}

LR_INLINE lr_vf vf_square_root(lr_vf x)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return (lr_vf)_mm512_sqrt_ps((__m512)x);
#elif LR_WIDTH == 8 && defined(__AVX__)
    return (lr_vf)_mm256_sqrt_ps((__m256)x);
#else
    for (int i = 0; i < LR_WIDTH; i++) x[i] = sqrtf(x[i]);
    return x;
#endif
}

typedef float lr_quad __attribute__((vector_size(16)));

// Four partial sums of a vector.
LR_INLINE lr_quad fold(lr_vf v)
{
#if LR_WIDTH == 16
    typedef float octet __attribute__((vector_size(32)));
    octet half = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
#elif LR_WIDTH == 8
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
    return v;
#endif
}

// The sums of four vectors.
LR_INLINE lr_quad sum_of_each(lr_quad a, lr_quad b, lr_quad c, lr_quad d)
{
    lr_quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7); // a b a b
    lr_quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

// The first `count` of four numbers, `apart` from one another.
LR_INLINE void put_quad(int64_t count, lr_quad all, bool accumulate, float *out, int64_t apart)
{
    if (count == 4 && apart == 1) {
        lr_quad before = {0};
        if (accumulate) memcpy(&before, out, sizeof before);
        all += before;
        memcpy(out, &all, sizeof all);
        return;
    }
    for (int64_t i = 0; i < count; i++, out += apart) *out = all[i] + (accumulate ? *out : 0);
}

LR_INLINE float vf_sum(lr_vf v)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#elif LR_WIDTH == 8 && defined(__AVX__)
    __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
#else
    float part[LR_WIDTH];
    vf_store(part, v);
    for (int width = LR_WIDTH / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
#endif
}

LR_INLINE float vf_greatest(lr_vf v)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#elif LR_WIDTH == 8 && defined(__AVX__)
    __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
#else
    float greatest = v[0];
    for (int i = 1; i < LR_WIDTH; i++) greatest = v[i] > greatest ? v[i] : greatest;
    return greatest;
#endif
}

#if LR_WIDTH == 16
#define LOW_TWICE 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define LOW_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LR_WIDTH == 8
#define LOW_TWICE 0, 1, 2, 3, 0, 1, 2, 3
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define LOW_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOW_TWICE 0, 1, 0, 1
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define LOW_HALVES 0, 4, 1, 5
#define HIGH_HALVES 2, 6, 3, 7
#endif

LR_INLINE lr_vf vf_low_twice(lr_vf v)
{
    return __builtin_shufflevector(v, v, LOW_TWICE);
}

// Sums of two neighbours each, a's before b's.
LR_INLINE lr_vf vf_add_neighbours(lr_vf a, lr_vf b)
{
    return __builtin_shufflevector(a, b, EVEN) + __builtin_shufflevector(a, b, ODD);
}

// Interleaving rows i and i + LR_WIDTH / 2 turns the index (row, column) by one bit; log2(LR_WIDTH) turns transpose.
LR_INLINE void vf_transpose(lr_vf v[LR_WIDTH])
{
    lr_vf other[LR_WIDTH];
    UNROLL for (int turn = 1; turn < LR_WIDTH; turn *= 2) {
        UNROLL for (int i = 0; i < LR_WIDTH / 2; i++) {
            other[2 * i] = __builtin_shufflevector(v[i], v[i + LR_WIDTH / 2], LOW_HALVES);
            other[2 * i + 1] = __builtin_shufflevector(v[i], v[i + LR_WIDTH / 2], HIGH_HALVES);
        }
        UNROLL for (int i = 0; i < LR_WIDTH; i++) v[i] = other[i];
    }
}

// e^r for |r| <= ln(2) / 2.
LR_INLINE lr_vf vf_exp_near(lr_vf r)
{
    lr_vf p = vf_set(1.395170228e-03f);
    p = p * r + 8.369592018e-03f;
    p = p * r + 4.166618735e-02f;
    p = p * r + 1.666651368e-01f;
    p = p * r + 5.000000000e-01f;
    return p * (r * r) + r + 1.0f;
}

// e^x = 2^n e^r to about 1 ulp: 0 far below, infinity above 88.72, NaN stays. ln 2 is subtracted in two parts.
LR_INLINE lr_vf vf_exp(lr_vf x)
{
#if LR_WIDTH == 16 && defined(__AVX512F__)
    lr_vf clamped = vf_minimum(vf_set(89.0f), vf_maximum(vf_set(-104.0f), x)); // scalef does the rest
    lr_vf n =
        (lr_vf)_mm512_roundscale_ps((__m512)(clamped * 1.44269504f), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return (lr_vf)_mm512_scalef_ps((__m512)vf_exp_near((clamped - n * 0.693145752f) - n * 1.42860677e-6f), (__m512)n);
#else
    const float lowest = -87.3f, highest = 88.7228f, round = 12582912.0f; // 1.5 * 2^23
    lr_vf clamped = vf_minimum(vf_set(highest), vf_maximum(vf_set(lowest), x));
    lr_vf shifted = clamped * 1.44269504f + round; // n in the low bits
    lr_vf n = shifted - round;
    lr_vf p = vf_exp_near((clamped - n * 0.693145752f) - n * 1.42860677e-6f);
    lr_vf y = (lr_vf)((lr_vi)p + (((lr_vi)shifted - (lr_vi)vf_set(round)) << 23));
    y = vf_select(x < lowest, vf_set(0), vf_select(x > highest, vf_set(INFINITY), y));
    return vf_select(x == x, y, x);
#endif
}

LR_INLINE lr_vf vf_sigmoid(lr_vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

LR_INLINE lr_vf vf_tanh(lr_vf x)
{
    lr_vf z = x * x; // near zero an odd polynomial, else from e^-2|x|
    lr_vf p = vf_set(-5.721630063e-03f);
    p = p * z + 2.065521851e-02f;
    p = p * z + -5.374514312e-02f;
    p = p * z + 1.333151460e-01f;
    p = p * z + -3.333328366e-01f;
    p = p * z * x + x;
    lr_vf e = vf_exp(-2.0f * vf_absolute(x));
    lr_vf t = (1.0f - e) / (1.0f + e);
    t = (lr_vf)((lr_vi)t | ((lr_vi)x & (lr_vi)vf_set(-0.0f)));
    return vf_select(vf_absolute(x) < 0.625f, p, t);
}

LR_INLINE lr_vf vf_erf(lr_vf x)
{
    lr_vf a = vf_absolute(x), z = x * x; // near zero an odd polynomial, else 1 - e^q(|x|), q = log erfc
    lr_vf p = vf_set(7.889119297e-05f);
    p = p * z + -8.020841051e-04f;
    p = p * z + 5.189535208e-03f;
    p = p * z + -2.685444430e-02f;
    p = p * z + 1.128360033e-01f;
    p = p * z + -3.761262596e-01f;
    p = p * z + 1.128379107e+00f;
    p = p * x;
    lr_vf d = vf_select(a > 4.0f, vf_set(3.0f), a - 1.0f);
    lr_vf q = vf_set(2.513266679e-07f);
    q = q * d + -2.330419557e-05f;
    q = q * d + 2.936215024e-04f;
    q = q * d + -2.017191146e-03f;
    q = q * d + 1.005003788e-02f;
    q = q * d + -4.156478494e-02f;
    q = q * d + -8.431068659e-01f;
    q = q * d + -2.638967514e+00f;
    q = q * d + -1.849605560e+00f;
    lr_vf far = vf_select(a > 4.0f, vf_set(1.0f), 1.0f - vf_exp(q));
    far = (lr_vf)((lr_vi)far | ((lr_vi)x & (lr_vi)vf_set(-0.0f)));
    lr_vf y = vf_select(a < 1.0f, p, far);
    return vf_select(x == x, y, x);
}

#endif
