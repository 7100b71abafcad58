// Products with weights of 4 bits with AVX2: vpmaddubsw multiplies bytes without a sign (B, at most 15) by bytes with
// one (A) and adds up pairs in 16 bits, which hold a whole group's: 16 products of at most 15 * 127 for each.
#include "cpu/x86/integer_avx2.h"

typedef int8_t number;
#define STEP 4
#define ROWS 6
#include "cpu/integer_panels.h"

// What is computed before stays before, what comes behind the next one behind: else GCC multiplies all rows before it
// adds anything up, and runs out of registers.
#define SETTLE(v) __asm__ volatile("" : "+x"(v))

typedef struct b_group {
    lr_vi lanes[STEPS][2];
    lr_vf scale[2], offset[2];
} b_group;

LR_INLINE lr_vf group_bytes(lora_type type, const uint8_t *row, int g)
{
    const __m256i low = (__m256i)load_half_group(type, row, g, 0), high = (__m256i)load_half_group(type, row, g, 1);
    return (lr_vf)_mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xD8);
}

// Up to 256 numbers of LR_WIDTH columns.
LR_INLINE void pack_rows(lora_type type, b_group *group, int v, const uint8_t *rows, int64_t row_stride, int64_t there,
                         int64_t width)
{
    group_scales scales[LR_WIDTH] = {{{0}, {0}}};
    const int groups = there < SUPER ? (int)(there + BLOCK - 1) / BLOCK : SUPER_GROUPS;
    for (int64_t i = 0; i < width; i++) load_group_scales(type, rows + i * row_stride, groups, &scales[i]);
    for (int g = 0; g < groups; g++, group++) {
        lr_vf columns[LR_WIDTH] = {{0}};
        for (int64_t i = 0; i < width; i++) columns[i] = group_bytes(type, rows + i * row_stride, g);
        vf_transpose(columns);
        for (int s = 0; s < STEPS; s++) group->lanes[s][v] = (lr_vi)columns[s];
        for (int i = 0; i < LR_WIDTH; i++) {
            group->scale[v][i] = scales[i].scale[g];
            group->offset[v][i] = has_offset(type) ? scales[i].offset[g] : -zero_of(type) * scales[i].scale[g];
        }
    }
}

static void pack(void *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    b_group *group = target;
    const int64_t row_stride = row_bytes(b->type, b->stride);
    for (int64_t at = 0; at < depth; at += SUPER, group += SUPER_GROUPS)
        for (int v = 0; v < 2; v++) {
            const int64_t column = v * LR_WIDTH, left = width - column, some = left < LR_WIDTH ? left : LR_WIDTH;
            const uint8_t *rows = (const uint8_t *)b->data + row_bytes(b->type, (j + column) * b->stride + p + at);
            switch (b->type) {
            case LORA_TYPE_Q4_0: pack_rows(LORA_TYPE_Q4_0, group, v, rows, row_stride, depth - at, some); break;
            case LORA_TYPE_Q4_1: pack_rows(LORA_TYPE_Q4_1, group, v, rows, row_stride, depth - at, some); break;
            default: pack_rows(LORA_TYPE_Q4_K, group, v, rows, row_stride, depth - at, some); break;
            }
        }
}

LR_INLINE void add_groups(int64_t groups, const a_group *a, const b_group *b, lr_vf sum[ROWS][2])
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (; groups > 0; groups--, a++, b++) {
        __m256i dot[ROWS][2];
        UNROLL for (int r = 0; r < ROWS; r++) dot[r][0] = dot[r][1] = _mm256_setzero_si256();
        for (int s = 0; s < STEPS; s++) {
            const __m256i low = (__m256i)b->lanes[s][0], high = (__m256i)b->lanes[s][1];
            UNROLL for (int r = 0; r < ROWS; r++) {
                __m256i x = _mm256_set1_epi32(a->lanes[s][r]);
                SETTLE(x);
                dot[r][0] = _mm256_add_epi16(dot[r][0], _mm256_maddubs_epi16(low, x));
                dot[r][1] = _mm256_add_epi16(dot[r][1], _mm256_maddubs_epi16(high, x));
                SETTLE(dot[r][0]);
                SETTLE(dot[r][1]);
            }
        }
        UNROLL for (int r = 0; r < ROWS; r++)
            UNROLL for (int v = 0; v < 2; v++) {
                const lr_vf value = to_floats((lr_vi)_mm256_madd_epi16(dot[r][v], ones)) * b->scale[v];
                sum[r][v] += value * a->scale[r] + b->offset[v] * a->sum[r];
            }
    }
}

static void multiply(int64_t rows, int64_t width, int64_t blocks, const void *a, const void *packed,
                     const lr_operand *b, int64_t j, bool accumulate, float *c, int64_t c_stride)
{
    (void)b, (void)j;
    lr_vf sum[ROWS][2] = {{{0}}};
    add_groups(blocks, a, packed, sum);
    put_sums(rows, width, sum, NULL, accumulate, c, c_stride);
}

const lr_integer_kernels lr_integer_avx2_half_bytes = {
    .rows = ROWS,
    .cols = COLS,
    .block = BLOCK,
    .a_bytes = sizeof(a_group),
    .b_bytes = sizeof(b_group),
    .take = take,
    .pack = pack,
    .multiply = multiply,
};
