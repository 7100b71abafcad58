// Kernel of cpu/rows_product.h with AMX-BF16.
#include "cpu/rows_product.h"
#include "cpu/bf16_product.h"

#include <immintrin.h>

#define TILE LR_ROWS_TILE
#define NUMBERS LR_ROWS_NUMBERS

// Asks for what comes after the columns in work: `lines` of 64 bytes a step.
static inline void prefetch(const char *ahead, int lines)
{
    for (int i = 0; i < lines; i++) _mm_prefetch(ahead + i * 64, _MM_HINT_T0);
}

// Tiles 0..2: C of 3 times 16 columns; 3..5: the weight; 6, 7: A.
static void run_three(const lr_rows_job *job, const uint16_t *a, const uint16_t *w, float *sums)
{
    const int64_t bytes = job->weight_stride * (int64_t)sizeof(uint16_t);
    const char *ahead = (const char *)w + 3 * TILE * bytes;
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

static void run_one(const lr_rows_job *job, const uint16_t *a, const uint16_t *w, float *sums)
{
    const int64_t bytes = job->weight_stride * (int64_t)sizeof(uint16_t);
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
static void run_two_of_two(const lr_rows_job *job, const uint16_t *a, const uint16_t *w, float *sums)
{
    const int64_t bytes = job->weight_stride * (int64_t)sizeof(uint16_t);
    const char *ahead = (const char *)w + 2 * TILE * bytes;
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

void lr_amx_multiply_rows(const lr_rows_job *job, const uint16_t *packed, int64_t j, int64_t end)
{
    _Alignas(64) float sums[4 * TILE * TILE];
    const int64_t width = (job->halves == 1 ? 3 : 2) * TILE;
    lr_amx_begin();
    for (; j + width <= end; j += width) {
        const uint16_t *w = job->weight + j * job->weight_stride;
        if (job->halves == 1) run_three(job, packed, w, sums);
        else run_two_of_two(job, packed, w, sums);
        for (int64_t i = 0; i * TILE < width; i++) {
            lr_rows_put(job, sums + i * TILE * TILE, 0, j + i * TILE, 0);
            if (job->halves == 2) lr_rows_put(job, sums + (2 + i) * TILE * TILE, TILE, j + i * TILE, 0);
        }
    }
    while (j < end) { // the last columns once more with those before them, where they are fewer than a tile's
        const int64_t at = j + TILE <= end ? j : end - TILE, skip = j - at;
        for (int32_t half = 0; half < job->halves; half++) {
            run_one(job, packed + half * NUMBERS, job->weight + at * job->weight_stride, sums);
            lr_rows_put(job, sums, half * TILE, at, skip);
        }
        j = at + TILE;
    }
    lr_amx_end();
}
