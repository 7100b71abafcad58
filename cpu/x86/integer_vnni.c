// Kernels of cpu/integer_kernels.h with AVX512-VNNI: vpdpbusd multiplies four bytes without a sign (B) by four with one
// (A) in each of 16 lanes, and adds up in 32 bits.
#include "cpu/product_kernels.h"
#include "cpu/x86/integer_dots_vnni.h"

#define LR_WIDTH 16
#include "cpu/x86/integer_numbers.h"
#include "cpu/x86/int8_columns.h"
#include "cpu/x86/lanes.h"
#include "cpu/x86/transpose.h"

#include <string.h>

#define ROWS 6   // of a panel of A and C
#define COLS 32  // of a panel of B and C
#define INNER 64 // numbers of a block
#define GROUPS (INNER / 32) // of a block, at most

typedef struct a_group {
    float scale[ROWS];
    int32_t start[ROWS];
    float sum[ROWS];
} a_group;

typedef struct b_group {
    float scale[COLS], offset[COLS];
} b_group;

#define B_BYTES (INNER * COLS + GROUPS * (int)sizeof(b_group)) // of a block

typedef struct integer_kind {
    int32_t group;     // inner numbers that share a scale: 32 or 64
    int32_t zero;      // of B
    bool scaled;       // B's groups have scales
    bool has_offset;   // and offsets
    bool rounds_again; // B is rounded to 8 bits here
    bool folds_scales; // A is multiplied by INT8's scales
} integer_kind;

static integer_kind kind_of(const lr_operand *b)
{
    if (b->type == LORA_TYPE_INT8) return (integer_kind){.group = 64, .zero = 128, .folds_scales = !b->transposed};
    if (!b->transposed || b->type == LORA_TYPE_Q6_K)
        return (integer_kind){.group = 32, .zero = 128, .scaled = true, .rounds_again = true};
    return (integer_kind){.group = 32, .zero = zero_of(b->type), .scaled = true, .has_offset = has_offset(b->type)};
}

// ---- A -------------------------------------------------------------------------------------------------------------

// One group of a row, `depth` numbers of it there; factors: one for each number, or NULL.
static void take_group(int8_t *numbers, a_group *group, int64_t row, const integer_kind *kind, const float *x,
                       const float *factors, float alpha, int64_t depth)
{
    __m512 v[INNER / 16], greatest = _mm512_setzero_ps();
    const int parts = kind->group / 16;
    for (int i = 0; i < parts; i++) {
        v[i] = load_scaled(x + 16 * i, factors ? factors + 16 * i : NULL, alpha, depth - 16 * i);
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(v[i]));
    }
    const float most = _mm512_reduce_max_ps(greatest), scale = most / 127;
    const __m512 inverse = _mm512_set1_ps(most > 0 ? 127 / most : 0);
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < parts; i++) {
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], inverse));
        sum = _mm512_add_epi32(sum, q);
        int8_t bytes[16];
        _mm_storeu_si128((void *)bytes, _mm512_cvtsepi32_epi8(q));
        for (int quad = 0; quad < 4; quad++) memcpy(numbers + (4 * i + quad) * ROWS * 4, bytes + 4 * quad, 4);
    }
    const int32_t total = _mm512_reduce_add_epi32(sum);
    group->scale[row] = scale;
    group->start[row] = -kind->zero * total;
    group->sum[row] = scale * (float)total;
}

static void take(void *target, const lr_product_term *term, int64_t i, int64_t rows, int64_t p, int64_t depth)
{
    const integer_kind kind = kind_of(&term->b);
    const int64_t blocks = (depth + INNER - 1) / INNER;
    const int64_t groups = blocks * (INNER / kind.group);
    int8_t *numbers = target;
    a_group *group = (a_group *)(void *)(numbers + blocks * INNER * ROWS);
    // INT8's numbers are 127ths of their scale.
    const float *factors = kind.folds_scales ? term->b.scales + p : NULL;
    const float alpha = term->b.type == LORA_TYPE_INT8 ? term->alpha / 127 : term->alpha;
    for (int64_t g = 0; g < groups; g++, numbers += kind.group * ROWS, group++) {
        const int64_t at = g * kind.group, rest = depth - at;
        for (int64_t row = 0; row < ROWS; row++) {
            const float *x = (const float *)term->a.data + (i + row) * term->a.stride + p + at;
            take_group(numbers + 4 * row, group, row, &kind, x, factors ? factors + at : NULL, alpha,
                       row < rows ? rest : 0);
        }
    }
}

// ---- B -------------------------------------------------------------------------------------------------------------

// INT8 as [n, k]: 64 bytes of up to 16 rows.
static void pack_int8_rows(uint8_t *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    const uint8_t *data = (const uint8_t *)b->data + j * b->stride + p;
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    uint8_t part[16 * INNER];
    for (; depth > 0; depth -= INNER, data += INNER, target += INNER * COLS) {
        const __mmask64 mask = depth >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << depth) - 1;
        for (int64_t half = 0; half < COLS; half += 16) {
            for (int64_t row = 0; row < 16; row++) {
                const __mmask64 there = half + row < width ? mask : 0;
                const __m512i v = _mm512_maskz_loadu_epi8(there, data + (half + row) * b->stride);
                _mm512_storeu_si512(part + row * INNER, _mm512_xor_si512(v, sign));
            }
            lr_transpose_dwords(target + half * 4, COLS * 4, part, INNER);
        }
    }
}

LR_INLINE void put_sixteen(uint8_t (*bytes)[16 * INNER], int64_t column, int sixteen, __m128i v)
{
    _mm_storeu_si128((void *)(bytes[sixteen / 4] + column % 16 * INNER + 16 * (sixteen % 4)), v);
}

// Blocks as [n, k], whose integers are taken as they are.
LR_INLINE void pack_blocks_of(lora_type type, uint8_t *target, b_group *groups, const lr_operand *b, int64_t p,
                              int64_t depth, int64_t j, int64_t width)
{
    uint8_t bytes[SUPER / INNER][16 * INNER] = {{0}};
    for (; depth > 0; p += SUPER, depth -= SUPER) {
        const int parts = depth < SUPER ? (int)((depth + INNER - 1) / INNER) : SUPER / INNER;
        const int least = type < LORA_TYPE_Q4_K ? parts_of_scales(type) : SUPER / INNER; // those of 256 are whole
        const int loaded = (parts + least - 1) / least * least;
        for (int64_t column = 0; column < COLS; column++) {
            float scales[16] = {0};
            if (column < width) {
                const uint8_t *row = (const uint8_t *)b->data + row_bytes(type, (j + column) * b->stride + p);
                _mm512_storeu_ps(scales, load_scales(type, row, depth));
                for (int part = 0; part < loaded; part++) {
                    const __m512i v = load_integers(type, row, part, depth);
                    put_sixteen(bytes, column, sixteen_in(type, part, 0), _mm512_castsi512_si128(v));
                    put_sixteen(bytes, column, sixteen_in(type, part, 1), _mm512_extracti32x4_epi32(v, 1));
                    put_sixteen(bytes, column, sixteen_in(type, part, 2), _mm512_extracti32x4_epi32(v, 2));
                    put_sixteen(bytes, column, sixteen_in(type, part, 3), _mm512_extracti32x4_epi32(v, 3));
                }
            }
            for (int g = 0; g < parts * GROUPS; g++) {
                groups[g].scale[column] = scales[g];
                groups[g].offset[column] = scales[g + 8];
            }
            for (int part = 0; part < parts && column % 16 == 15; part++)
                lr_transpose_dwords(target + part * INNER * COLS + (column - 15) * 4, COLS * 4, bytes[part], INNER);
        }
        target += parts * INNER * COLS;
        groups += parts * GROUPS;
    }
}

static void pack_blocks(uint8_t *target, b_group *groups, const lr_operand *b, int64_t p, int64_t depth, int64_t j,
                        int64_t width)
{
    switch (b->type) {
    case LORA_TYPE_Q8_0: pack_blocks_of(LORA_TYPE_Q8_0, target, groups, b, p, depth, j, width); break;
    case LORA_TYPE_Q4_0: pack_blocks_of(LORA_TYPE_Q4_0, target, groups, b, p, depth, j, width); break;
    case LORA_TYPE_Q4_1: pack_blocks_of(LORA_TYPE_Q4_1, target, groups, b, p, depth, j, width); break;
    case LORA_TYPE_Q5_0: pack_blocks_of(LORA_TYPE_Q5_0, target, groups, b, p, depth, j, width); break;
    case LORA_TYPE_Q5_1: pack_blocks_of(LORA_TYPE_Q5_1, target, groups, b, p, depth, j, width); break;
    case LORA_TYPE_Q4_K: pack_blocks_of(LORA_TYPE_Q4_K, target, groups, b, p, depth, j, width); break;
    default: pack_blocks_of(LORA_TYPE_Q5_K, target, groups, b, p, depth, j, width); break;
    }
}

// A group of 32 f32 numbers of 16 columns, `values` [32][COLS], rounded.
static void round_group(uint8_t *target, b_group *group, const float *values, int64_t half)
{
    __m512 greatest = _mm512_setzero_ps();
    for (int64_t r = 0; r < 32; r++)
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(_mm512_loadu_ps(values + r * COLS + half)));
    const __mmask16 some = _mm512_cmp_ps_mask(greatest, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 inverse = _mm512_maskz_div_ps(some, _mm512_set1_ps(127), greatest);
    _mm512_storeu_ps(group->scale + half, _mm512_div_ps(greatest, _mm512_set1_ps(127)));
    _mm512_storeu_ps(group->offset + half, _mm512_setzero_ps());
    for (int64_t r = 0; r < 32; r += 4) {
        __m512i quad = _mm512_setzero_si512();
        for (int i = 3; i >= 0; i--) {
            const __m512 v = _mm512_loadu_ps(values + (r + i) * COLS + half);
            const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
            quad = _mm512_or_si512(_mm512_slli_epi32(quad, 8), _mm512_and_si512(q, _mm512_set1_epi32(255)));
        }
        _mm512_storeu_si512(target + r * COLS + half * 4, _mm512_xor_si512(quad, _mm512_set1_epi8((char)0x80)));
    }
}

// Any type, by way of f32.
static void pack_rounded(uint8_t *target, b_group *groups, const lr_operand *b, int64_t p, int64_t depth, int64_t j,
                         int64_t width)
{
    _Alignas(64) float values[INNER * COLS];
    for (int64_t at = 0; at < depth; at += INNER, target += INNER * COLS, groups += GROUPS) {
        const int64_t some = depth - at < INNER ? depth - at : INNER;
        lr_product_avx512.pack(values, b, p + at, some, j, width);
        memset(values + some * COLS, 0, (size_t)(INNER - some) * COLS * sizeof *values);
        for (int64_t g = 0; g < GROUPS; g++)
            for (int64_t half = 0; half < COLS; half += 16)
                round_group(target + g * 32 * COLS, groups + g, values + g * 32 * COLS, half);
    }
}

static void pack_panel(uint8_t *target, int64_t blocks, const lr_operand *b, int64_t p, int64_t depth, int64_t j,
                       int64_t width)
{
    b_group *groups = (b_group *)(void *)(target + blocks * INNER * COLS);
    if (b->type == LORA_TYPE_INT8) pack_int8_rows(target, b, p, depth, j, width);
    else (kind_of(b).rounds_again ? pack_rounded : pack_blocks)(target, groups, b, p, depth, j, width);
}

static void pack(void *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    const int64_t blocks = (depth + INNER - 1) / INNER, apart = blocks * B_BYTES;
    if (b->type == LORA_TYPE_INT8 && !b->transposed) {
        lr_pack_int8_columns(target, COLS * 4, 64, 0x80, apart, b, p, depth, j, width);
        return;
    }
    uint8_t *panel = target;
    for (int64_t c = 0; c < width; c += COLS, panel += apart)
        pack_panel(panel, blocks, b, p, depth, j + c, width - c < COLS ? width - c : COLS);
}

// ---- C -------------------------------------------------------------------------------------------------------------

LR_INLINE __m512i spread(const int8_t *four)
{
    int32_t word;
    memcpy(&word, four, sizeof word);
    return _mm512_set1_epi32(word);
}

// sum += four products in each lane. gcc copies the sums around its intrinsic.
LR_INLINE void add_products(__m512i *sum, __m512i bytes, __m512i with_sign)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(bytes), "v"(with_sign));
}

LR_INLINE void multiply_groups(const int quads, const bool scaled, const bool has_offset, int64_t groups,
                               const int8_t *a, const a_group *ag, const uint8_t *b, const b_group *bg,
                               __m512 sum[ROWS][2])
{
    for (int64_t g = 0; g < groups; g++, ag++, bg++) {
        __m512i dot[ROWS][2];
        for (int r = 0; r < ROWS; r++) dot[r][0] = dot[r][1] = _mm512_set1_epi32(ag->start[r]);
        for (int q = 0; q < quads; q++, a += 4 * ROWS, b += 4 * COLS) {
            const __m512i low = _mm512_loadu_si512(b), high = _mm512_loadu_si512(b + 64);
            for (int r = 0; r < ROWS; r++) {
                const __m512i four = spread(a + 4 * r);
                add_products(&dot[r][0], low, four);
                add_products(&dot[r][1], high, four);
            }
        }
        for (int v = 0; v < 2; v++) {
            const __m512 scale = scaled ? _mm512_loadu_ps(bg->scale + 16 * v) : _mm512_setzero_ps();
            const __m512 offset = has_offset ? _mm512_loadu_ps(bg->offset + 16 * v) : _mm512_setzero_ps();
            for (int r = 0; r < ROWS; r++) {
                __m512 value = _mm512_cvtepi32_ps(dot[r][v]);
                if (scaled) value = _mm512_mul_ps(value, scale);
                sum[r][v] = _mm512_fmadd_ps(value, _mm512_set1_ps(ag->scale[r]), sum[r][v]);
                if (has_offset) sum[r][v] = _mm512_fmadd_ps(offset, _mm512_set1_ps(ag->sum[r]), sum[r][v]);
            }
        }
    }
}

static void multiply(int64_t rows, int64_t width, int64_t blocks, const void *a, const void *packed,
                     const lr_operand *b, int64_t j, bool accumulate, float *c, int64_t c_stride)
{
    const integer_kind kind = kind_of(b);
    const float *factors = b->type == LORA_TYPE_INT8 && b->transposed ? b->scales + j : NULL;
    const int8_t *numbers = a;
    const a_group *ag = (const a_group *)(const void *)(numbers + blocks * INNER * ROWS);
    const b_group *bg = (const b_group *)(const void *)((const uint8_t *)packed + blocks * INNER * COLS);
    __m512 sum[ROWS][2];
    for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    if (!kind.scaled)
        multiply_groups(16, false, false, blocks, numbers, ag, packed, bg, sum);
    else if (kind.has_offset)
        multiply_groups(8, true, true, blocks * GROUPS, numbers, ag, packed, bg, sum);
    else
        multiply_groups(8, true, false, blocks * GROUPS, numbers, ag, packed, bg, sum);
    for (int v = 0; v < 2; v++) {
        const __mmask16 mask = mask_of(width - 16 * v);
        const __m512 factor = factors ? _mm512_maskz_loadu_ps(mask, factors + 16 * v) : _mm512_set1_ps(1);
        for (int r = 0; r < rows; r++) {
            float *target = c + r * c_stride + 16 * v;
            const __m512 before = accumulate ? _mm512_maskz_loadu_ps(mask, target) : _mm512_setzero_ps();
            _mm512_mask_storeu_ps(target, mask, _mm512_fmadd_ps(sum[r][v], factor, before));
        }
    }
}

const lr_integer_kernels lr_integer_vnni = {
    .rows = ROWS,
    .cols = COLS,
    .block = INNER,
    .a_bytes = INNER * ROWS + GROUPS * sizeof(a_group),
    .b_bytes = B_BYTES,
    .dots_bytes = sizeof(dots_block),
    .take = take,
    .packs_many = true,
    .pack = pack,
    .multiply = multiply,
    .split = lr_vnni_split,
    .dots = lr_vnni_dots,
};
