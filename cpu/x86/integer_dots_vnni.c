// Dots of cpu/integer_kernels.h with AVX512-VNNI.
#include "cpu/x86/integer_dots_vnni.h"

#include <immintrin.h>
#include <string.h>

#define LR_WIDTH 16
#include "cpu/x86/integer_numbers.h"
#include "cpu/x86/lanes.h"

#define DOT_COLUMNS 2  // of B at a time, at most
#define DOT_ROWS 4     // of A
#define AHEAD 16384    // bytes of B that are fetched into the L2 cache before they are needed
#define MOST_NEAR 4096 // numbers of a row of A that stay in the L1 cache while B streams past them

// Two streams of K types, whose blocks take many small steps each.
LR_INLINE int columns_of(lora_type type)
{
    return type >= LORA_TYPE_Q4_K ? 2 : 1;
}

// The high halves of Q4_K's bytes stay where they are: 16 times their numbers.
LR_INLINE __m512i load_bytes(lora_type type, const uint8_t *w, int part, int64_t there)
{
    if (type != LORA_TYPE_Q4_K) return load_integers(type, w, part, there);
    return low_bits(_mm512_loadu_si512(w + 16 + part / 2 * 64), part % 2 ? (char)0xF0 : 15);
}

// The sums of four vectors.
static __m128i sums_of(const __m512i *v)
{
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// The numbers of parts that share a scale, `depth` of 256 there. scales, sums: of each 16 of 256.
static void split_parts(lora_type type, dots_block *block, int part, const float *x, float alpha, int64_t depth,
                        float *scales, int32_t *sums)
{
    const int count = 4 * parts_of_scales(type);
    __m512 v[8], greatest = _mm512_setzero_ps();
    for (int i = 0; i < count; i++) {
        const int at = 16 * sixteen_in(type, part + i / 4, i % 4);
        v[i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask_of(depth - at), x + at), _mm512_set1_ps(alpha));
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(v[i]));
    }
    const float most = _mm512_reduce_max_ps(greatest);
    const __m512 inverse = _mm512_set1_ps(most > 0 ? 32512 / most : 0); // 127 * 256
    for (int i = 0; i < count; i += 4) {
        __m512i q[4];
        for (int k = 0; k < 4; k++) {
            q[k] = _mm512_cvtps_epi32(_mm512_mul_ps(v[i + k], inverse));
            const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q[k], _mm512_set1_epi32(128)), 8);
            _mm_storeu_si128((void *)(block->high + 64 * part + 16 * (i + k)), _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((void *)(block->low + 64 * part + 16 * (i + k)), _mm512_cvtepi32_epi8(q[k]));
        }
        int32_t sum[4];
        _mm_storeu_si128((void *)sum, sums_of(q));
        for (int k = 0; k < 4; k++) {
            const int sixteen = sixteen_in(type, part + i / 4, k);
            sums[sixteen] = sum[k];
            scales[sixteen] = most / 32512;
        }
    }
}

static void split_block(lora_type type, dots_block *block, const float *x, float alpha, int64_t depth)
{
    float scales[16];
    int32_t sums[16];
    for (int part = 0; part < 4; part += parts_of_scales(type))
        split_parts(type, block, part, x, alpha, depth, scales, sums);
    __m512 scale = _mm512_loadu_ps(scales);
    __m512i sum = _mm512_loadu_si512(sums), factor = _mm512_set1_epi32(-zero_of(type));
    if (groups_of(type) == 8) { // and once more for the offsets
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
        const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
        scale = _mm512_permutexvar_ps(even, scale);
        sum = _mm512_add_epi32(_mm512_permutexvar_epi32(even, sum), _mm512_permutexvar_epi32(odd, sum));
        factor = _mm512_mask_mov_epi32(factor, 0xFF00, _mm512_set1_epi32(has_offset(type)));
    }
    const __mmask16 sixteenfold = type == LORA_TYPE_Q4_K ? 0x00AA : 0; // groups of high halves
    _mm512_storeu_ps(block->scale, _mm512_mask_mul_ps(scale, sixteenfold, scale, _mm512_set1_ps(1.0f / 16)));
    _mm512_storeu_ps(block->start, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_mullo_epi32(factor, sum))));
}

void lr_vnni_split(void *target, const lr_product_term *term, int64_t row)
{
    dots_block *blocks = target;
    const float *x = (const float *)term->a.data + row * term->a.stride;
    const float alpha = term->b.type == LORA_TYPE_INT8 ? term->alpha / 127 : term->alpha; // 127ths of their scale
    for (int64_t p = 0; p < term->k; p += SUPER) split_block(term->b.type, blocks++, x + p, alpha, term->k - p);
}

// gcc copies the sums around its intrinsic.
LR_INLINE __m512i products(__m512i sum, __m512i bytes, __m512i with_sign)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "vm"(with_sign));
    return sum;
}

// Of each column.
LR_INLINE void load_all_scales(lora_type type, const uint8_t *w, int64_t apart, int64_t there, __m512 *scales)
{
    for (int c = 0; c < columns_of(type); c++) scales[c] = load_scales(type, w + c * apart, there);
}

// Blocks of rows of A times the first `depth` > 0 of 256 numbers of rows of w, of which `there` may be read, with their
// scales.
LR_INLINE void add_blocks(lora_type type, const int rows, const uint8_t *w, int64_t apart, const __m512 *scales,
                          int64_t there, int64_t depth, const dots_block *blocks, int64_t a_row,
                          __m512 sum[DOT_COLUMNS][DOT_ROWS])
{
    const int columns = columns_of(type), count = parts_of_scales(type);
    const __mmask16 used = (__mmask16)(0x101 * ((1u << (depth + BLOCK - 1) / BLOCK) - 1)); // scales and offsets
    __m512 scale[DOT_COLUMNS][DOT_ROWS];
    for (int c = 0; c < columns; c++) {
        const __m512 some = depth < SUPER ? _mm512_maskz_mov_ps(used, scales[c]) : scales[c];
        for (int r = 0; r < rows; r++) {
            scale[c][r] = _mm512_mul_ps(some, _mm512_loadu_ps(blocks[r * a_row].scale));
            sum[c][r] = _mm512_fmadd_ps(some, _mm512_loadu_ps(blocks[r * a_row].start), sum[c][r]);
        }
    }
    for (int part = 0; part < 4 && 64 * part < depth; part += count) {
        __m512i bytes[DOT_COLUMNS][2];
        for (int c = 0; c < columns; c++)
            for (int i = 0; i < count; i++) bytes[c][i] = load_bytes(type, w + c * apart, part + i, there);
        for (int r = 0; r < rows; r++) {
            const int8_t *high = blocks[r * a_row].high + 64 * part, *low = blocks[r * a_row].low + 64 * part;
            for (int c = 0; c < columns; c++) {
                __m512i both = _mm512_setzero_si512();
                for (int i = 0; i < count; i++) both = products(both, bytes[c][i], _mm512_loadu_si512(high + 64 * i));
                both = _mm512_slli_epi32(both, 8);
                for (int i = 0; i < count; i++) both = products(both, bytes[c][i], _mm512_loadu_si512(low + 64 * i));
                const __m512 factor = spread_scales(type, scale[c][r], part);
                sum[c][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(both), factor, sum[c][r]);
            }
        }
    }
}

// Fewer than 256 numbers at the end of the last row, of types with small blocks; a function of its own and for one row
// of A, as its code is long.
static __attribute__((noinline)) __m512 add_end(lora_type type, const uint8_t *w, int64_t there,
                                                const dots_block *block, __m512 sum)
{
    const __m512 scales = load_scales(type, w, there);
    __m512 sums[DOT_COLUMNS][DOT_ROWS] = {{sum}};
    add_blocks(type, 1, w, 0, &scales, there, there, block, 0, sums);
    return sums[0][0];
}

LR_INLINE void dots_of(lora_type type, const int rows, const uint8_t *w, int64_t apart, const uint8_t *end,
                       const lr_product_term *term, const dots_block *blocks, int64_t a_row,
                       lr_vf sums[DOT_COLUMNS][DOT_ROWS])
{
    int64_t depth = term->k;
    const bool super = type >= LORA_TYPE_Q4_K; // blocks of 256 are always whole
    const int columns = columns_of(type);
    // Small loads of a single stream some processors follow by themselves.
    const bool fetches = rows > 1 || super || depth > MOST_NEAR || term->b.ahead;
    __m512 sum[DOT_COLUMNS][DOT_ROWS], scales[DOT_COLUMNS], next[DOT_COLUMNS];
    for (int c = 0; c < columns; c++)
        for (int r = 0; r < rows; r++) sum[c][r] = _mm512_setzero_ps();
    if (super) load_all_scales(type, w, apart, SUPER, scales);
    for (; depth >= (super ? 1 : SUPER); depth -= SUPER, w += row_bytes(type, SUPER), blocks++) {
        for (int c = 0; fetches && c < columns; c++)
            for (int line = 0; line < row_bytes(type, SUPER); line += 64)
                __builtin_prefetch(w + c * apart + AHEAD + line, 0, 2);
        if (super) // a block before they are needed: from their bits to the sums it is a long way
            load_all_scales(type, depth > SUPER ? w + row_bytes(type, SUPER) : w, apart, SUPER, next);
        else
            load_all_scales(type, w, apart, SUPER, scales);
        add_blocks(type, rows, w, apart, scales, SUPER, SUPER, blocks, a_row, sum);
        for (int c = 0; super && c < columns; c++) scales[c] = next[c];
    }
    // The beginning of the next row is read along: A has zeros there.
    if (rows == 1 && depth > 0 && end - w >= row_bytes(type, SUPER)) {
        load_all_scales(type, w, apart, SUPER, scales);
        add_blocks(type, 1, w, apart, scales, SUPER, depth, blocks, a_row, sum);
        depth = 0;
    }
    for (int r = 0; r < rows && depth > 0; r++) sum[0][r] = add_end(type, w, depth, blocks + r * a_row, sum[0][r]);
    for (int c = 0; c < columns; c++)
        for (int r = 0; r < rows; r++) sums[c][r] = (lr_vf)sum[c][r];
}

#include "cpu/integer_dots_rows.h"

void lr_vnni_dots(int64_t m, int64_t count, const lr_product_term *term, const void *blocks, int64_t j, bool accumulate,
                  float *c, int64_t c_stride)
{
    dots(m, count, term, blocks, j, accumulate, c, c_stride);
}
