// The table of hot inner kernels. lr_kernels_init puts the plain C version into every slot, then each instruction set
// that the device may use overwrites what it does better, oldest first.
//
// All kernels work on runs of n floats that may have any alignment and may end at a page's end; nothing is read or
// written past them.
#ifndef LR_KERNELS_H
#define LR_KERNELS_H

#include "cpu/cpu.h"

// One AdamW step's constants; see lr_kernels.adamw.
typedef struct lr_adamw_step {
    float beta1, beta2, epsilon;
    float gradient_scale;
    float decay;       // 1 - learning_rate * weight_decay
    float step_size;   // learning_rate / (1 - beta1^t)
    float root_factor; // 1 / sqrt(1 - beta2^t)
    bool zero_gradient;
} lr_adamw_step;

// Row statistics of a norm: x^ = (x - mean) * inverse.
typedef struct lr_norm_row {
    float mean, inverse;
} lr_norm_row;

struct lr_kernels {
    // y += factor * x; y *= factor; target = value
    void (*add)(float *y, const float *x, float factor, int64_t n);
    void (*scale)(float *y, float factor, int64_t n);
    void (*fill)(float *target, float value, int64_t n);

    float (*dot)(const float *a, const float *b, int64_t n);
    float (*sum)(const float *x, int64_t n);
    float (*square_sum)(const float *x, float mean, int64_t n); // sum (x - mean)^2
    double (*square_sum_exact)(const float *x, int64_t n);      // sum x^2, added up in double
    float (*maximum)(const float *x, int64_t n);                // -inf for n = 0
    float (*greatest_magnitude)(const float *x, int64_t n);     // 0 for n = 0

    // Softmax: sum exp(x - shift); the same, leaving x = exp(x - shift);
    // x = factor * exp(x - shift) [* (1 - (x / cap)^2)] with cap != 0; x = cap * tanh(x / cap)
    float (*exp_sum)(const float *x, float shift, int64_t n);
    float (*exp_in_place)(float *x, float shift, int64_t n);
    void (*softmax_gradient)(float *x, float shift, float factor, float cap, int64_t n);
    void (*softcap)(float *x, float cap, int64_t n);

    // y = x^ * w + b (b may be NULL)
    void (*norm)(float *y, const float *x, lr_norm_row row, const float *w, const float *b, int64_t n);
    // sums[0] = sum w g, sums[1] = sum w g x^
    void (*norm_sums)(float sums[2], const float *g, const float *x, lr_norm_row row, const float *w, int64_t n);
    // gx (+)= inverse * (w g - means[0] - x^ means[1])
    void (*norm_gradient)(float *gx, const float *g, const float *x, lr_norm_row row, const float *w,
                          const float means[2], bool accumulate, int64_t n);
    // gw += g x^; gb += g; either may be NULL
    void (*norm_weight_gradient)(float *gw, float *gb, const float *g, const float *x, lr_norm_row row, int64_t n);

    // Pairs (x[i], x[i + half]) turned by the angle whose cosine is c[i] and sine is sign * s[i].
    void (*rotate_half)(float *x, const float *c, const float *s, float sign, int64_t half);

    // y = activation(gate) * up; up may be NULL.
    void (*gate)(float *y, const float *gate, const float *up, int32_t activation, int64_t n);
    // gg = gy * up * activation'(gate); gu = gy * activation(gate); up and gu may be NULL.
    void (*gate_gradient)(float *gg, float *gu, const float *gy, const float *gate, const float *up, int32_t activation,
                          int64_t n);

    // Attention, forward: a row's next scores, times scale, go into its running softmax. They become exp(scale * s -
    // greatest); *greatest and *sum are brought up to date. Returns the factor for what was added up before.
    float (*softmax_step)(float *s, float scale, float *greatest, float *sum, int64_t n);
    // Attention, backward: p = exp(scale * s - log_sum) into s, ds = p * (ds - delta) * factor [* (1 - (s / cap)^2),
    // for which scale is 1].
    void (*attention_gradient)(float *s, float *ds, float scale, float log_sum, float delta, float factor, float cap,
                               int64_t n);
    // out[i * out_stride + j] = q[i, :] . k[j, :] for i < m, j < n: few rows of q against keys where they lie.
    void (*dots)(int64_t m, int64_t n, int64_t dim, const float *q, int64_t q_stride, const float *k, int64_t k_stride,
                 float *out, int64_t out_stride);

    // C[m, n] = A B or += A B, all in f32: A's element (i, l) is a[i * a_row + l * a_column]; B [k, n] and C have rows.
    void (*tile_product)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_column,
                         const float *b, int64_t b_stride, float *c, int64_t c_stride, bool accumulate);
    // target[columns, rows] = source[rows, columns]
    void (*transpose)(float *target, int64_t target_stride, const float *source, int64_t source_stride, int64_t rows,
                      int64_t columns);

    // y = kept(first + i) ? factor * x : 0, see lora_dropout; y may be x.
    void (*dropout)(float *y, const float *x, const lora_dropout *dropout, uint64_t first, int64_t n);

    void (*adamw)(float *p, float *g, float *m, float *v, const lr_adamw_step *step, int64_t n);

    // To a storage type; NULL where that is not done. Block types: n is a whole number of blocks. `scales`: INT8: the
    // row's absmax, which is there; NF4: the absmax of each block, which is put there; else NULL. The way back is
    // `unpack` of cpu/product_kernels.h.
    void (*from_f32[LORA_TYPE_COUNT])(void *target, float *scales, const float *source, int64_t n);
};

void lr_kernels_init(lr_kernels *kernels, int32_t features);

// Each is compiled with its own instruction set and must not be called without it.
void lr_kernels_plain(lr_kernels *kernels);
void lr_kernels_avx2(lr_kernels *kernels);
void lr_kernels_avx512(lr_kernels *kernels);
void lr_quantizers_plain(lr_kernels *kernels);
void lr_quantizers_avx2(lr_kernels *kernels);
void lr_quantizers_avx512(lr_kernels *kernels);

#endif
