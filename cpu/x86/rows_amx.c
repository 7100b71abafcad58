// Kernels of cpu/rows_product.h with AMX-BF16, AVX-512 and AVX512-BF16.
#include "cpu/rows_product.h"
#include "cpu/bf16_product.h"

#include <immintrin.h>

#define TILE LR_ROWS_TILE
#define NUMBERS (LR_ROWS_STEP * TILE) // bf16 numbers of a tile

// ---- A -------------------------------------------------------------------------------------------------------------

// v[i][l] and v[l][i] change places: for each bit, the blocks off the diagonal do.
static inline void transpose(__m512i v[TILE])
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma GCC unroll 4
    for (int bit = 1; bit < TILE; bit *= 2) {
        const __mmask16 set = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(bit));
        const __m512i up = _mm512_add_epi32(lane, _mm512_set1_epi32(bit)),
                      down = _mm512_sub_epi32(lane, _mm512_set1_epi32(bit));
        const __m512i low = _mm512_mask_add_epi32(lane, set, down, _mm512_set1_epi32(TILE));
        const __m512i high = _mm512_mask_add_epi32(up, set, lane, _mm512_set1_epi32(TILE));
#pragma GCC unroll 16
        for (int i = 0; i < TILE; i++) {
            if (i & bit) continue;
            const __m512i a = v[i], b = v[i + bit];
            v[i] = _mm512_permutex2var_epi32(a, low, b);
            v[i + bit] = _mm512_permutex2var_epi32(a, high, b);
        }
    }
}

// The next bf16 number of each of 32; low and high become what is left.
static inline __m512i next_part(__m512 *low, __m512 *high)
{
    const __m512i part = (__m512i)_mm512_cvtne2ps_pbh(*high, *low);
    const __m512i l = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(part));
    const __m512i h = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(part, 1));
    *low = _mm512_sub_ps(*low, _mm512_castsi512_ps(_mm512_slli_epi32(l, 16)));
    *high = _mm512_sub_ps(*high, _mm512_castsi512_ps(_mm512_slli_epi32(h, 16)));
    return part;
}

void lr_amx_pack_rows(const lr_rows_job *job, const lr_product_term *term, int64_t first, int64_t last)
{
    const __m512 alpha = _mm512_set1_ps(term->alpha);
    for (int64_t s = first; s < last; s++) {
        for (int32_t half = 0; half < job->halves; half++) {
            __m512i part[3][TILE];
            for (int64_t i = 0; i < TILE; i++) {
                const int64_t row = half * TILE + i;
                const float *from = (const float *)term->a.data + row * term->a.stride + s * LR_ROWS_STEP;
                const bool present = row < job->m;
                __m512 low = present ? _mm512_mul_ps(alpha, _mm512_loadu_ps(from)) : _mm512_setzero_ps();
                __m512 high = present ? _mm512_mul_ps(alpha, _mm512_loadu_ps(from + 16)) : _mm512_setzero_ps();
                for (int32_t p = 0; p < job->parts; p++) part[p][i] = next_part(&low, &high);
            }
            for (int32_t p = 0; p < job->parts; p++) {
                uint16_t *target = job->packed + ((s * job->parts + p) * job->halves + half) * NUMBERS;
                transpose(part[p]);
                for (int i = 0; i < TILE; i++) _mm512_storeu_si512(target + i * 2 * TILE, part[p][i]);
            }
        }
    }
}

// ---- C -------------------------------------------------------------------------------------------------------------

// Asks for what comes after the columns in work: `lines` of 64 bytes a step.
static inline void prefetch(const char *ahead, int lines)
{
    for (int i = 0; i < lines; i++) _mm_prefetch(ahead + i * 64, _MM_HINT_T0);
}

// Tiles 0..2: C of 3 times 16 columns; 3..5: the weight; 6, 7: A.
static void run_three(const lr_rows_job *job, const uint16_t *w, float *sums)
{
    const int64_t bytes = job->weight_stride * (int64_t)sizeof(uint16_t);
    const char *ahead = (const char *)w + 3 * TILE * bytes;
    const uint16_t *a = job->packed;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    for (int64_t s = 0; s < job->steps; s++, w += LR_ROWS_STEP, ahead += 3 * TILE * 64) {
        _tile_loadd(3, w, bytes);
        _tile_loadd(4, w + TILE * job->weight_stride, bytes);
        _tile_loadd(5, w + 2 * TILE * job->weight_stride, bytes);
        prefetch(ahead, 3 * TILE);
        for (int32_t p = 0; p < job->parts; p++, a += NUMBERS) {
            _tile_loadd(6, a, 64);
            _tile_dpbf16ps(0, 3, 6);
            _tile_dpbf16ps(1, 4, 6);
            _tile_dpbf16ps(2, 5, 6);
        }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + TILE * TILE, 64);
    _tile_stored(2, sums + 2 * TILE * TILE, 64);
}

static void run_one(const lr_rows_job *job, const uint16_t *w, int32_t half, float *sums)
{
    const int64_t bytes = job->weight_stride * (int64_t)sizeof(uint16_t);
    const uint16_t *a = job->packed + half * NUMBERS;
    _tile_zero(0);
    for (int64_t s = 0; s < job->steps; s++, w += LR_ROWS_STEP) {
        _tile_loadd(3, w, bytes);
        for (int32_t p = 0; p < job->parts; p++, a += job->halves * NUMBERS) {
            _tile_loadd(6, a, 64);
            _tile_dpbf16ps(0, 3, 6);
        }
    }
    _tile_stored(0, sums, 64);
}

// Tiles 0..3: C of 2 times 16 columns, 32 rows of A; 4, 5: the weight; 6, 7: A.
static void run_two_of_two(const lr_rows_job *job, const uint16_t *w, float *sums)
{
    const int64_t bytes = job->weight_stride * (int64_t)sizeof(uint16_t);
    const char *ahead = (const char *)w + 2 * TILE * bytes;
    const uint16_t *a = job->packed;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < job->steps; s++, w += LR_ROWS_STEP, ahead += 2 * TILE * 64) {
        _tile_loadd(4, w, bytes);
        _tile_loadd(5, w + TILE * job->weight_stride, bytes);
        prefetch(ahead, 2 * TILE);
        for (int32_t p = 0; p < job->parts; p++, a += 2 * NUMBERS) {
            _tile_loadd(6, a, 64);
            _tile_loadd(7, a + NUMBERS, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 5, 6);
            _tile_dpbf16ps(2, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + TILE * TILE, 64);
    _tile_stored(2, sums + 2 * TILE * TILE, 64);
    _tile_stored(3, sums + 3 * TILE * TILE, 64);
}

// sums: [16 columns][16 rows of A from `row` on], of which columns from `skip` on go to C.
static void put(const lr_rows_job *job, const float *sums, int64_t row, int64_t j, int64_t skip)
{
    const __mmask16 mask = (__mmask16)(0xFFFFu << skip);
    const int64_t rows = job->m - row < TILE ? job->m - row : TILE;
    __m512i v[TILE];
    for (int i = 0; i < TILE; i++) v[i] = _mm512_loadu_si512(sums + i * TILE);
    transpose(v);
    for (int64_t i = 0; i < rows; i++) {
        float *c = job->c + (row + i) * job->c_stride + j;
        __m512 value = (__m512)v[i];
        if (job->accumulate) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, c));
        _mm512_mask_storeu_ps(c, mask, value);
    }
}

void lr_amx_multiply_rows(const lr_rows_job *job, int64_t j, int64_t end)
{
    _Alignas(64) float sums[4 * TILE * TILE];
    const int64_t width = (job->halves == 1 ? 3 : 2) * TILE;
    lr_amx_begin();
    for (; j + width <= end; j += width) {
        const uint16_t *w = job->weight + j * job->weight_stride;
        if (job->halves == 1) run_three(job, w, sums);
        else run_two_of_two(job, w, sums);
        for (int64_t i = 0; i * TILE < width; i++) {
            put(job, sums + i * TILE * TILE, 0, j + i * TILE, 0);
            if (job->halves == 2) put(job, sums + (2 + i) * TILE * TILE, TILE, j + i * TILE, 0);
        }
    }
    while (j < end) { // the last columns once more with those before them, where they are fewer than a tile's
        const int64_t at = j + TILE <= end ? j : end - TILE, skip = j - at;
        for (int32_t half = 0; half < job->halves; half++) {
            run_one(job, job->weight + at * job->weight_stride, half, sums);
            put(job, sums, half * TILE, at, skip);
        }
        j = at + TILE;
    }
    lr_amx_end();
}
