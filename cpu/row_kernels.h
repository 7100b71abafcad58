// The kernels of cpu/kernels.h on rows of numbers, written once over cpu/vector.h. Included by the one file of each
// instruction set.
#ifndef LR_ROW_KERNELS_H
#define LR_ROW_KERNELS_H

#include "cpu/kernels.h"
#include "cpu/vector.h"

// The body once for each whole vector and once for the rest: i is the index of its first float, count their number.
#define FOR_VECTORS(n, ...)                                                                                            \
    do {                                                                                                               \
        int64_t i = 0;                                                                                                 \
        for (; i + LR_WIDTH <= (n); i += LR_WIDTH) {                                                                   \
            const int64_t count = LR_WIDTH;                                                                            \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const int64_t count = (n) - i;                                                                             \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    } while (0)

LR_INLINE lr_vf load(const float *from, int64_t count)
{
    return count == LR_WIDTH ? vf_load(from) : vf_load_part(from, count);
}

LR_INLINE void store(float *to, lr_vf v, int64_t count)
{
    if (count == LR_WIDTH)
        vf_store(to, v);
    else
        vf_store_part(to, v, count);
}

LR_INLINE lr_vf load_or(const float *from, int64_t count, float otherwise)
{
    if (count == LR_WIDTH) return vf_load(from);
    lr_vf v = vf_set(otherwise);
    memcpy(&v, from, (size_t)count * sizeof(float));
    return v;
}

static void row_add(float *y, const float *x, float factor, int64_t n)
{
    FOR_VECTORS(n, store(y + i, load(y + i, count) + factor * load(x + i, count), count););
}

static void row_scale(float *y, float factor, int64_t n)
{
    FOR_VECTORS(n, store(y + i, factor * load(y + i, count), count););
}

static void row_fill(float *target, float value, int64_t n)
{
    FOR_VECTORS(n, store(target + i, vf_set(value), count););
}

static float row_dot(const float *a, const float *b, int64_t n)
{
    lr_vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    const int64_t whole = n - n % (4 * LR_WIDTH);
    for (int64_t j = 0; j < whole; j += 4 * LR_WIDTH) {
        s0 += vf_load(a + j) * vf_load(b + j);
        s1 += vf_load(a + j + LR_WIDTH) * vf_load(b + j + LR_WIDTH);
        s2 += vf_load(a + j + 2 * LR_WIDTH) * vf_load(b + j + 2 * LR_WIDTH);
        s3 += vf_load(a + j + 3 * LR_WIDTH) * vf_load(b + j + 3 * LR_WIDTH);
    }
    a += whole, b += whole;
    FOR_VECTORS(n - whole, s0 += load(a + i, count) * load(b + i, count););
    return vf_sum((s0 + s1) + (s2 + s3));
}

static float row_sum(const float *x, int64_t n)
{
    lr_vf sum = {0};
    FOR_VECTORS(n, sum += load(x + i, count););
    return vf_sum(sum);
}

static float row_square_sum(const float *x, float mean, int64_t n)
{
    lr_vf s0 = {0}, s1 = {0};
    const int64_t whole = n - n % (2 * LR_WIDTH);
    for (int64_t j = 0; j < whole; j += 2 * LR_WIDTH) {
        lr_vf d0 = vf_load(x + j) - mean, d1 = vf_load(x + j + LR_WIDTH) - mean;
        s0 += d0 * d0;
        s1 += d1 * d1;
    }
    x += whole;
    FOR_VECTORS(n - whole, lr_vf d = load_or(x + i, count, mean) - mean; s0 += d * d;);
    return vf_sum(s0 + s1);
}

static double row_square_sum_exact(const float *x, int64_t n)
{
    double part[LR_WIDTH] = {0}, sum = 0;
    FOR_VECTORS(n, lr_vf v = load(x + i, count);
                for (int j = 0; j < LR_WIDTH; j++) part[j] += (double)v[j] * (double)v[j];);
    for (int j = 0; j < LR_WIDTH; j++) sum += part[j];
    return sum;
}

static float row_maximum(const float *x, int64_t n)
{
    lr_vf greatest = vf_set(-INFINITY);
    FOR_VECTORS(n, greatest = vf_maximum(greatest, load_or(x + i, count, -INFINITY)););
    return vf_greatest(greatest);
}

static float row_exp_sum(const float *x, float shift, int64_t n)
{
    lr_vf sum = {0};
    FOR_VECTORS(n, sum += vf_exp(load_or(x + i, count, -INFINITY) - shift););
    return vf_sum(sum);
}

static float row_exp_in_place(float *x, float shift, int64_t n)
{
    lr_vf sum = {0};
    FOR_VECTORS(n, lr_vf e = vf_exp(load_or(x + i, count, -INFINITY) - shift); sum += e; store(x + i, e, count););
    return vf_sum(sum);
}

static void row_softmax_gradient(float *x, float shift, float factor, float cap, int64_t n)
{
    if (cap == 0) {
        FOR_VECTORS(n, store(x + i, factor * vf_exp(load(x + i, count) - shift), count););
        return;
    }
    FOR_VECTORS(n, lr_vf v = load(x + i, count); lr_vf t = v * (1.0f / cap);
                store(x + i, factor * vf_exp(v - shift) * (1.0f - t * t), count););
}

static void row_softcap(float *x, float cap, int64_t n)
{
    const float inverse = 1.0f / cap;
    FOR_VECTORS(n, store(x + i, cap * vf_tanh(load(x + i, count) * inverse), count););
}

static void row_norm(float *y, const float *x, lr_norm_row row, const float *w, const float *b, int64_t n)
{
    if (b)
        FOR_VECTORS(n, lr_vf v = (load(x + i, count) - row.mean) * row.inverse;
                    store(y + i, v * load(w + i, count) + load(b + i, count), count););
    else
        FOR_VECTORS(n, lr_vf v = (load(x + i, count) - row.mean) * row.inverse;
                    store(y + i, v * load(w + i, count), count););
}

static void row_norm_sums(float sums[2], const float *g, const float *x, lr_norm_row row, const float *w, int64_t n)
{
    lr_vf plain = {0}, weighted = {0};
    FOR_VECTORS(n, lr_vf t = load(w + i, count) * load(g + i, count); plain += t;
                weighted += t * (load(x + i, count) - row.mean) * row.inverse;);
    sums[0] = vf_sum(plain);
    sums[1] = vf_sum(weighted);
}

static void row_norm_gradient(float *gx, const float *g, const float *x, lr_norm_row row, const float *w,
                              const float means[2], bool accumulate, int64_t n)
{
    FOR_VECTORS(n, lr_vf normalised = (load(x + i, count) - row.mean) * row.inverse;
                lr_vf v = row.inverse * (load(w + i, count) * load(g + i, count) - means[0] - normalised * means[1]);
                store(gx + i, accumulate ? v + load(gx + i, count) : v, count););
}

static void row_norm_weight_gradient(float *gw, float *gb, const float *g, const float *x, lr_norm_row row, int64_t n)
{
    if (gw)
        FOR_VECTORS(n, lr_vf normalised = (load(x + i, count) - row.mean) * row.inverse;
                    store(gw + i, load(gw + i, count) + load(g + i, count) * normalised, count););
    if (gb) row_add(gb, g, 1.0f, n);
}

static void row_rotate_half(float *x, const float *c, const float *s, float sign, int64_t half)
{
    float *second = x + half;
    FOR_VECTORS(half, lr_vf u = load(x + i, count); lr_vf v = load(second + i, count);
                lr_vf cosine = load(c + i, count); lr_vf sine = sign * load(s + i, count);
                store(x + i, u * cosine - v * sine, count); store(second + i, v * cosine + u * sine, count););
}

// The tanh form of GELU is x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3); this is e^-2u.
LR_INLINE lr_vf gelu_tanh_exponential(lr_vf x)
{
    lr_vf exponent = -1.595769122f * (x + 0.044715f * x * x * x);
    return vf_exp(vf_select(exponent > 80.0f, vf_set(80.0f), exponent));
}

LR_INLINE lr_vf activate(lr_vf x, int32_t activation)
{
    if (activation == LORA_ACTIVATION_SILU) return x * vf_sigmoid(x);
    if (activation == LORA_ACTIVATION_GELU) return 0.5f * x * (1.0f + vf_erf(x * 0.707106781f));
    return x / (1.0f + gelu_tanh_exponential(x));
}

LR_INLINE lr_vf activation_slope(lr_vf x, int32_t activation)
{
    if (activation == LORA_ACTIVATION_SILU) {
        lr_vf s = vf_sigmoid(x);
        return s * (1.0f + x * (1.0f - s));
    }
    if (activation == LORA_ACTIVATION_GELU)
        return 0.5f * (1.0f + vf_erf(x * 0.707106781f)) + x * 0.398942280f * vf_exp(-0.5f * x * x); // 1 / sqrt(2 pi)
    lr_vf e = gelu_tanh_exponential(x), s = 1.0f / (1.0f + e); // 1 - s = e s
    return s + x * s * (e * s) * 1.595769122f * (1.0f + 0.134145f * x * x);
}

LR_INLINE void gate_row(float *y, const float *gate, const float *up, int32_t activation, int64_t n)
{
    if (up)
        FOR_VECTORS(n, store(y + i, activate(load(gate + i, count), activation) * load(up + i, count), count););
    else
        FOR_VECTORS(n, store(y + i, activate(load(gate + i, count), activation), count););
}

static void row_gate(float *y, const float *gate, const float *up, int32_t activation, int64_t n)
{
    if (activation == LORA_ACTIVATION_SILU)
        gate_row(y, gate, up, LORA_ACTIVATION_SILU, n);
    else if (activation == LORA_ACTIVATION_GELU)
        gate_row(y, gate, up, LORA_ACTIVATION_GELU, n);
    else
        gate_row(y, gate, up, LORA_ACTIVATION_GELU_TANH, n);
}

// gg may be gate and gu may be up: both are read before either is written.
LR_INLINE void gate_gradient_row(float *gg, float *gu, const float *gy, const float *gate, const float *up,
                                 int32_t activation, int64_t n)
{
    FOR_VECTORS(n, lr_vf x = load(gate + i, count); lr_vf g = load(gy + i, count);
                lr_vf slope = g * activation_slope(x, activation);
                if (up) {
                    lr_vf u = load(up + i, count);
                    if (gu) store(gu + i, g * activate(x, activation), count);
                    slope *= u;
                } if (gg) store(gg + i, slope, count););
}

static void row_gate_gradient(float *gg, float *gu, const float *gy, const float *gate, const float *up,
                              int32_t activation, int64_t n)
{
    if (activation == LORA_ACTIVATION_SILU)
        gate_gradient_row(gg, gu, gy, gate, up, LORA_ACTIVATION_SILU, n);
    else if (activation == LORA_ACTIVATION_GELU)
        gate_gradient_row(gg, gu, gy, gate, up, LORA_ACTIVATION_GELU, n);
    else
        gate_gradient_row(gg, gu, gy, gate, up, LORA_ACTIVATION_GELU_TANH, n);
}

// No score yet: greatest is -inf and sum is 0.
static float row_softmax_step(float *s, float scale, float *greatest, float *sum, int64_t n)
{
    lr_vf highest = vf_set(-INFINITY), added = {0};
    FOR_VECTORS(n, highest = vf_maximum(highest, load_or(s + i, count, -INFINITY)););
    const float before = *greatest, here = scale * vf_greatest(highest);
    const float now = here > before ? here : before, shift = now == -INFINITY ? 0 : now;
    FOR_VECTORS(n, lr_vf e = vf_exp(scale * load_or(s + i, count, -INFINITY) - shift); added += e;
                store(s + i, e, count););
    const float factor = now == before ? 1 : expf(before - now);
    *greatest = now;
    *sum = *sum * factor + vf_sum(added);
    return factor;
}

// A masked score is -inf, its probability 0.
static void row_attention_gradient(float *s, float *ds, float scale, float log_sum, float delta, float factor,
                                   float cap, int64_t n)
{
    if (cap == 0) {
        FOR_VECTORS(n, lr_vf p = vf_exp(scale * load_or(s + i, count, -INFINITY) - log_sum);
                    lr_vf d = p * (load(ds + i, count) - delta) * factor; store(s + i, p, count);
                    store(ds + i, d, count););
        return;
    }
    const float inverse = 1.0f / cap;
    FOR_VECTORS(n, lr_vf score = load_or(s + i, count, -INFINITY); lr_vf p = vf_exp(score - log_sum);
                lr_vf t = score * inverse; lr_vf d = p * (load(ds + i, count) - delta) * factor * (1.0f - t * t);
                store(s + i, p, count); store(ds + i, vf_select(p == 0.0f, vf_set(0), d), count););
}

static void row_adamw(float *p, float *g, float *m, float *v, const lr_adamw_step *step, int64_t n)
{
    const lr_adamw_step s = *step;
    FOR_VECTORS(n, lr_vf gradient = s.gradient_scale * load(g + i, count); lr_vf first = load(m + i, count);
                first = first + (gradient - first) * (1.0f - s.beta1);
                lr_vf second = s.beta2 * load(v + i, count) + (1.0f - s.beta2) * gradient * gradient;
                lr_vf root = vf_square_root(second) * s.root_factor + s.epsilon;
                store(p + i, s.decay * load(p + i, count) - s.step_size * first / root, count);
                store(m + i, first, count); store(v + i, second, count);
                if (s.zero_gradient) store(g + i, vf_set(0), count););
}

#endif
