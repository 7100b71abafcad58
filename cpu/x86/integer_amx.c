// Kernels of cpu/integer_kernels.h for INT8 with AMX-INT8: four numbers of A by four of B, both with a sign, added up
// in 32 bits. A tile has 16 rows of 64 bytes:
//     C[16, 16] += A[16, 64] * B[16 fours of inner numbers][16 columns][4]
// What a group of A's numbers gives, 32 x 32 sums, is scaled and added up in f32 while the next group is multiplied.
#include "cpu/bf16_product.h"
#include "cpu/integer_kernels.h"
#include "cpu/x86/int8_columns.h"
#include "cpu/x86/lanes.h"
#include "cpu/x86/transpose.h"

#include <string.h>

#define TILE 16
#define PANEL (2 * TILE)     // rows of A and C, columns of B and C
#define INNER 64             // numbers of a block
#define HALF (TILE * INNER)  // bytes of a tile
#define GROUP_BLOCKS 2       // that share a scale of A
#define GROUP (GROUP_BLOCKS * INNER)
#define SUMS (PANEL * PANEL) // [half of the rows][half of the columns][16][16]
#define BLOCKS_AHEAD 8       // that are fetched before they are packed

// ---- A -------------------------------------------------------------------------------------------------------------

// A group of a row, of which `there` numbers exist; factors: one for each number, or NULL. Returns the scale.
static float take_group(int8_t *target, const float *x, const float *factors, float alpha, int64_t there)
{
    __m512 v[GROUP / 16], greatest = _mm512_setzero_ps();
    for (int i = 0; i < GROUP / 16; i++) {
        v[i] = load_scaled(x + 16 * i, factors ? factors + 16 * i : NULL, alpha, there - 16 * i);
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(v[i]));
    }
    const float most = _mm512_reduce_max_ps(greatest);
    const __m512 inverse = _mm512_set1_ps(most > 0 ? 127 / most : 0);
    const int blocks = there >= GROUP ? GROUP_BLOCKS : (int)((there + INNER - 1) / INNER);
    for (int b = 0; b < blocks; b++, target += 2 * HALF)
        for (int i = 0; i < INNER / 16; i++) {
            const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v[b * (INNER / 16) + i], inverse));
            _mm_storeu_si128((void *)(target + 16 * i), _mm512_cvtsepi32_epi8(q));
        }
    return most / 127;
}

// target: [block][half][row][INNER], then the scales, [group][row]. INT8's numbers are 127ths of their scale.
static void take(void *target, const lr_product_term *term, int64_t i, int64_t rows, int64_t p, int64_t depth)
{
    const int64_t blocks = (depth + INNER - 1) / INNER;
    float *scales = (float *)(void *)((int8_t *)target + blocks * 2 * HALF);
    const float *factors = term->b.transposed ? NULL : term->b.scales + p;
    if (rows < PANEL) memset(target, 0, (size_t)(blocks * (2 * HALF + PANEL * (int64_t)sizeof *scales)));
    for (int64_t at = 0; at < depth; at += GROUP, scales += PANEL)
        for (int64_t row = 0; row < rows; row++) {
            const float *x = (const float *)term->a.data + (i + row) * term->a.stride + p + at;
            int8_t *numbers = (int8_t *)target + at * PANEL + row * INNER;
            scales[row] = take_group(numbers, x, factors ? factors + at : NULL, term->alpha / 127, depth - at);
        }
}

// ---- B -------------------------------------------------------------------------------------------------------------

// As [n, k].
static void pack_rows(int8_t *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    const int8_t *data = (const int8_t *)b->data + j * b->stride + p;
    int8_t part[HALF];
    for (; depth > 0; depth -= INNER, data += INNER)
        for (int64_t first = 0; first < PANEL; first += TILE, target += HALF) {
            const int8_t *rows = data + first * b->stride;
            if (depth >= INNER && first + TILE <= width) {
                for (int64_t row = 0; row < TILE; row++)
                    _mm_prefetch(rows + row * b->stride + BLOCKS_AHEAD * INNER, _MM_HINT_T1);
                lr_transpose_dwords(target, INNER, rows, b->stride);
                continue;
            }
            memset(part, 0, sizeof part);
            for (int64_t row = 0; row < TILE && first + row < width; row++)
                memcpy(part + row * INNER, rows + row * b->stride, (size_t)(depth < INNER ? depth : INNER));
            lr_transpose_dwords(target, INNER, part, INNER);
        }
}

static void pack(void *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    const int64_t apart = (depth + INNER - 1) / INNER * 2 * HALF;
    if (!b->transposed) {
        lr_pack_int8_columns(target, INNER, HALF, 0, apart, b, p, depth, j, width);
        return;
    }
    int8_t *panel = target;
    for (int64_t c = 0; c < width; c += PANEL, panel += apart)
        pack_rows(panel, b, p, depth, j + c, width - c < PANEL ? width - c : PANEL);
}

// ---- C -------------------------------------------------------------------------------------------------------------

static inline void zero_tiles(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

static inline void store_tiles(int32_t *dots)
{
    _tile_stored(0, dots, INNER);
    _tile_stored(1, dots + TILE * TILE, INNER);
    _tile_stored(2, dots + 2 * TILE * TILE, INNER);
    _tile_stored(3, dots + 3 * TILE * TILE, INNER);
}

static inline __attribute__((always_inline)) void multiply_block(const int8_t *a, const int8_t *b)
{
    _tile_loadd(6, b, INNER);
    _tile_loadd(7, b + HALF, INNER);
    _tile_loadd(4, a, INNER);
    _tile_loadd(5, a + HALF, INNER);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
}

// sums += dots * the scales of their rows, for rows [from, to).
static inline __attribute__((always_inline)) void add_dots(float *sums, const int32_t *dots, const float *scales,
                                                           int64_t from, int64_t to)
{
    for (int64_t r = from; r < to; r++) {
        const __m512 scale = _mm512_set1_ps(scales[r]);
        const int64_t at = r / TILE * 2 * TILE * TILE + r % TILE * TILE;
        for (int64_t v = at; v < at + 2 * TILE * TILE; v += TILE * TILE) {
            const __m512 value = _mm512_cvtepi32_ps(_mm512_load_si512(dots + v));
            _mm512_store_ps(sums + v, _mm512_fmadd_ps(value, scale, _mm512_load_ps(sums + v)));
        }
    }
}

static void put_sums(int64_t rows, int64_t width, const float *sums, const float *factors, bool accumulate, float *c,
                     int64_t c_stride)
{
    for (int64_t v = 0; v < 2; v++) {
        const __mmask16 mask = mask_of(width - TILE * v);
        const __m512 factor = factors ? _mm512_maskz_loadu_ps(mask, factors + TILE * v) : _mm512_set1_ps(1);
        for (int64_t r = 0; r < rows; r++) {
            float *target = c + r * c_stride + TILE * v;
            const __m512 before = accumulate ? _mm512_maskz_loadu_ps(mask, target) : _mm512_setzero_ps();
            const __m512 sum = _mm512_load_ps(sums + (r / TILE * 2 + v) * TILE * TILE + r % TILE * TILE);
            _mm512_mask_storeu_ps(target, mask, _mm512_fmadd_ps(sum, factor, before));
        }
    }
}

static void multiply(int64_t rows, int64_t width, int64_t blocks, const void *a, const void *packed,
                     const lr_operand *b, int64_t j, bool accumulate, float *c, int64_t c_stride)
{
    _Alignas(64) int32_t dots[2][SUMS];
    _Alignas(64) float sums[SUMS] = {0};
    const int8_t *left = a, *right = packed;
    const float *scales = (const float *)(const void *)(left + blocks * 2 * HALF);
    const int64_t groups = (blocks + GROUP_BLOCKS - 1) / GROUP_BLOCKS, piece = PANEL / GROUP_BLOCKS;
    __asm__ volatile("" : : : "memory"); // what the tiles load is in memory
    for (int64_t g = 0; g < groups; g++) {
        zero_tiles();
        for (int64_t s = 0; s < GROUP_BLOCKS; s++, left += 2 * HALF, right += 2 * HALF) {
            if (g * GROUP_BLOCKS + s < blocks) multiply_block(left, right);
            if (g > 0) add_dots(sums, dots[(g - 1) % 2], scales + (g - 1) * PANEL, s * piece, (s + 1) * piece);
        }
        store_tiles(dots[g % 2]);
    }
    add_dots(sums, dots[(groups - 1) % 2], scales + (groups - 1) * PANEL, 0, PANEL);
    put_sums(rows, width, sums, b->transposed ? b->scales + j : NULL, accumulate, c, c_stride);
}

const lr_integer_kernels lr_integer_amx = {
    .rows = PANEL,
    .cols = PANEL,
    .block = INNER,
    .a_bytes = PANEL * INNER + PANEL * (int)sizeof(float),
    .b_bytes = PANEL * INNER,
    .begin = lr_amx_begin,
    .end = lr_amx_end,
    .take = take,
    .packs_many = true,
    .pack = pack,
    .multiply = multiply,
};
