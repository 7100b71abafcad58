// From f32 to the types whose numbers have scales beside them. The roundings are those of bitsandbytes (INT8, NF4) and
// gguf-py (blocks of 32), which multiply and add one after the other; quantize_k.h says what the k types do. Every
// instruction set makes the same bytes. Included by the one file of each.
#ifndef LR_QUANTIZE_KERNELS_H
#define LR_QUANTIZE_KERNELS_H

#include "cpu/block_numbers.h"
#include "cpu/half.h"
#include "cpu/kernels.h"
#include "cpu/quantize_k.h"

static float greatest_magnitude(const float *x, int64_t n)
{
    lr_vf greatest = vf_set(0);
    int64_t i = 0;
    for (; i + LR_WIDTH <= n; i += LR_WIDTH) greatest = vf_maximum(greatest, vf_absolute(vf_load(x + i)));
    if (i < n) greatest = vf_maximum(greatest, vf_absolute(vf_load_part(x + i, n - i)));
    return vf_greatest(greatest);
}

// Of whole numbers, or cut off towards zero.
LR_INLINE void put_bytes(uint8_t *to, lr_vf numbers)
{
    const lr_vi codes = __builtin_convertvector(numbers, lr_vi);
    for (int i = 0; i < LR_WIDTH; i++) to[i] = (uint8_t)codes[i];
}

// ---- bitsandbytes --------------------------------------------------------------------------------------------------

// *absmax is the whole row's.
static void quantize_int8(void *target, float *absmax, const float *source, int64_t n)
{
    int8_t *numbers = target;
    const float factor = *absmax > 0 ? 1.0f / *absmax * 127.0f : 0; // in torch's order
    for (int64_t i = 0; i < n; i++) // adding 1.5 * 2^23 rounds to whole numbers, halves to even
        numbers[i] = (int8_t)(int32_t)((source[i] * factor + 0x1.8p23f) - 0x1.8p23f);
}

// The values nearest to x: the numbers of midpoints below it.
LR_INLINE lr_vi nearest_nf4(lr_vf x)
{
    lr_vi code = {0};
    for (int i = 1; i < 16; i++) code -= (nf4_values[i - 1] + nf4_values[i]) / 2 < x;
    return code;
}

static void quantize_nf4(void *target, float *scales, const float *source, int64_t n)
{
    uint8_t *bytes = target;
    for (int64_t block = 0; block < n / 64; block++, source += 64, bytes += 32) {
        const float absmax = greatest_magnitude(source, 64), factor = 1.0f / (absmax > 1e-38f ? absmax : 1e-38f);
        scales[block] = absmax;
        for (int i = 0; i < 64; i += LR_WIDTH) {
            const lr_vi code = nearest_nf4(vf_load(source + i) * factor);
            for (int j = 0; j < LR_WIDTH; j += 2) bytes[(i + j) / 2] = (uint8_t)(code[j] << 4 | code[j + 1]);
        }
    }
}

// ---- blocks of 32 --------------------------------------------------------------------------------------------------

static float reciprocal(float scale)
{
    return scale == 0 ? 0 : 1 / scale;
}

static void quantize_q8_0(void *target, float *scales, const float *source, int64_t n)
{
    uint8_t *bytes = target;
    const float half = 0x1.fffffep-2f; // below 0.5: with it, what is below a half stays below one
    for (int64_t i = 0; i < n; i += BLOCK, source += BLOCK, bytes += 34) {
        const float scale = greatest_magnitude(source, BLOCK) / 127, factor = reciprocal(scale);
        store_u16(bytes, 0, half_of_float(scale));
        for (int j = 0; j < BLOCK; j += LR_WIDTH) {
            const lr_vf x = vf_load(source + j) * factor;
            put_bytes(bytes + 2 + j, x + vf_select(x < 0, vf_set(-half), vf_set(half)));
        }
    }
}

// How a block's numbers are laid out and what they mean: q from 0 to `most`, of value scale * (q - most / 2 - 1/2), or
// scale * q + minimum.
typedef struct block_kind {
    int most;
    bool has_minimum;
} block_kind;

// The number of greatest magnitude, with its sign, gets the lowest code.
static float signed_scale(const float *x, int most)
{
    float greatest = 0, value = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > greatest) greatest = fabsf(x[i]), value = x[i];
    return value / -(float)((most + 1) / 2);
}

static void put_block(uint8_t *bytes, block_kind kind, const uint8_t *q)
{
    if (kind.most > 15) {
        uint32_t high = 0;
        for (uint32_t i = 0; i < BLOCK; i++) high |= (uint32_t)(q[i] >> 4) << i;
        memcpy(bytes, &high, sizeof high);
        bytes += sizeof high;
    }
    for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

LR_INLINE void quantize_blocks(uint8_t *bytes, block_kind kind, const float *source, int64_t n)
{
    const int header = kind.has_minimum ? 4 : 2, size = header + (kind.most > 15 ? 20 : 16);
    for (int64_t i = 0; i < n; i += BLOCK, source += BLOCK, bytes += size) {
        lr_vf low = vf_load(source), high = low;
        for (int j = LR_WIDTH; j < BLOCK; j += LR_WIDTH) {
            low = vf_minimum(low, vf_load(source + j));
            high = vf_maximum(high, vf_load(source + j));
        }
        const float minimum = -vf_greatest(-low), maximum = vf_greatest(high);
        const float scale =
            kind.has_minimum ? (maximum - minimum) / (float)kind.most : signed_scale(source, kind.most);
        const float start = kind.has_minimum ? minimum : 0, factor = reciprocal(scale);
        const float half = kind.has_minimum ? 0.5f : (float)((kind.most + 1) / 2) + 0.5f;
        uint8_t q[BLOCK];
        for (int j = 0; j < BLOCK; j += LR_WIDTH)
            put_bytes(q + j, clamp((vf_load(source + j) - start) * factor + half, 0, (float)kind.most));
        store_u16(bytes, 0, half_of_float(scale));
        if (kind.has_minimum) store_u16(bytes, 1, half_of_float(minimum));
        put_block(bytes + header, kind, q);
    }
}

static void quantize_q4_0(void *target, float *scales, const float *source, int64_t n)
{
    quantize_blocks(target, (block_kind){15, false}, source, n);
}

static void quantize_q4_1(void *target, float *scales, const float *source, int64_t n)
{
    quantize_blocks(target, (block_kind){15, true}, source, n);
}

static void quantize_q5_0(void *target, float *scales, const float *source, int64_t n)
{
    quantize_blocks(target, (block_kind){31, false}, source, n);
}

static void quantize_q5_1(void *target, float *scales, const float *source, int64_t n)
{
    quantize_blocks(target, (block_kind){31, true}, source, n);
}

static inline void fill_quantizers(lr_kernels *kernels)
{
    kernels->greatest_magnitude = greatest_magnitude;
    kernels->from_f32[LORA_TYPE_INT8] = quantize_int8;
    kernels->from_f32[LORA_TYPE_NF4] = quantize_nf4;
    kernels->from_f32[LORA_TYPE_Q8_0] = quantize_q8_0;
    kernels->from_f32[LORA_TYPE_Q4_0] = quantize_q4_0;
    kernels->from_f32[LORA_TYPE_Q4_1] = quantize_q4_1;
    kernels->from_f32[LORA_TYPE_Q5_0] = quantize_q5_0;
    kernels->from_f32[LORA_TYPE_Q5_1] = quantize_q5_1;
    kernels->from_f32[LORA_TYPE_Q4_K] = quantize_q4_k;
    kernels->from_f32[LORA_TYPE_Q5_K] = quantize_q5_k;
    kernels->from_f32[LORA_TYPE_Q6_K] = quantize_q6_k;
}

#endif
