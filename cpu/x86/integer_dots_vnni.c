// Dots of cpu/integer_kernels.h with AVX512-VNNI.
#include "cpu/x86/integer_dots_vnni.h"

#include <immintrin.h>
#include <string.h>

#define LR_WIDTH 16
#include "cpu/x86/integer_numbers.h"

#define DOT_ROWS 4     // of A at a time
#define AHEAD 1024 // bytes of B that are fetched before they are needed

static __mmask16 mask_of(int64_t count)
{
    return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

static void split_block(dots_block *block, const float *x, float alpha, int64_t depth, int32_t zero)
{
    __m512 v[4], greatest = _mm512_setzero_ps();
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask_of(depth - 16 * i), x + 16 * i), _mm512_set1_ps(alpha));
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(v[i]));
    }
    const float most = _mm512_reduce_max_ps(greatest);
    const __m512 inverse = _mm512_set1_ps(most > 0 ? 16256 / most : 0); // 127 * 128
    int32_t numbers[64];
    for (int i = 0; i < 4; i++) {
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], inverse));
        const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(64)), 7);
        _mm_storeu_si128((void *)(block->high + 16 * i), _mm512_cvtepi32_epi8(high));
        _mm_storeu_si128((void *)(block->low + 16 * i), _mm512_cvtepi32_epi8(_mm512_sub_epi32(q, _mm512_slli_epi32(high, 7))));
        _mm512_storeu_si512(numbers + 16 * i, q);
    }
    for (int lane = 0; lane < 16; lane++) {
        const int32_t *four = numbers + 4 * lane, sum = four[0] + four[1] + four[2] + four[3];
        block->start[lane] = -zero * sum;
        block->sum[lane] = (float)sum;
    }
    block->scale = most / 16256;
}

void lr_vnni_split(void *target, const lr_product_term *term, int64_t row)
{
    dots_block *blocks = target;
    const float *x = (const float *)term->a.data + row * term->a.stride;
    const float alpha = term->b.type == LORA_TYPE_INT8 ? term->alpha / 127 : term->alpha; // 127ths of their scale
    for (int64_t p = 0; p < term->k; p += 64) split_block(blocks++, x + p, alpha, term->k - p, zero_of(term->b.type));
}

// gcc copies the sums around its intrinsic.
LR_INLINE __m512i products(__m512i sum, __m512i bytes, __m512i with_sign)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(with_sign));
    return sum;
}

LR_INLINE void add_block(lora_type type, const int rows, integer_numbers n, const dots_block *blocks, int64_t a_row,
                         __m512 *sum)
{
    for (int r = 0; r < rows; r++) {
        const dots_block *x = blocks + r * a_row;
        const __m512i high = products(_mm512_setzero_si512(), n.bytes, _mm512_loadu_si512(x->high));
        const __m512i start = _mm512_add_epi32(_mm512_slli_epi32(high, 7), _mm512_loadu_si512(x->start));
        __m512 value = _mm512_cvtepi32_ps(products(start, n.bytes, _mm512_loadu_si512(x->low)));
        if (type != LORA_TYPE_INT8) value = _mm512_mul_ps(value, n.scale);
        if (has_offset(type)) value = _mm512_fmadd_ps(n.offset, _mm512_loadu_ps(x->sum), value);
        sum[r] = _mm512_fmadd_ps(value, _mm512_set1_ps(x->scale), sum[r]);
    }
}

LR_INLINE void dots_of(lora_type type, const int rows, const uint8_t *w, int64_t depth, const dots_block *blocks,
                       int64_t a_row, float *sums)
{
    __m512 sum[DOT_ROWS];
    for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
    for (; type >= LORA_TYPE_Q4_K && depth >= SUPER; depth -= SUPER, w += row_bytes(type, SUPER), blocks += SUPER / 64) {
        const k_scales scales = load_k_scales(type, w);
        for (int line = 0; line < row_bytes(type, SUPER); line += 64) __builtin_prefetch(w + AHEAD + line);
        add_block(type, rows, load_k(type, w, &scales, 0), blocks, a_row, sum);
        add_block(type, rows, load_k(type, w, &scales, 1), blocks + 1, a_row, sum);
        add_block(type, rows, load_k(type, w, &scales, 2), blocks + 2, a_row, sum);
        add_block(type, rows, load_k(type, w, &scales, 3), blocks + 3, a_row, sum);
    }
    for (; type < LORA_TYPE_Q4_K && depth >= 64; depth -= 64, w += row_bytes(type, 64), blocks++) {
        __builtin_prefetch(w + AHEAD);
        add_block(type, rows, load_integers(type, w, 0, 64), blocks, a_row, sum);
    }
    for (int64_t at = 0; at < depth; at += 64)
        add_block(type, rows, load_integers(type, w, at, depth - at), blocks++, a_row, sum);
    for (int r = 0; r < rows; r++) sums[r] = _mm512_reduce_add_ps(sum[r]);
}

#define BLOCKS (SUPER / 64)
#include "cpu/integer_dots_rows.h"

void lr_vnni_dots(int64_t m, int64_t count, const lr_product_term *term, const void *blocks, int64_t j, bool accumulate,
                  float *c, int64_t c_stride)
{
    dots(m, count, term, blocks, j, accumulate, c, c_stride);
}
