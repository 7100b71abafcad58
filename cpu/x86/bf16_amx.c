// Kernels of cpu/bf16_product.h with AMX-BF16. A tile has 16 rows of 64 bytes:
//     C[16, 16] f32 += A[16, 32] bf16 * B[16 pairs of inner numbers][16 columns][2] bf16
#include "cpu/bf16_product.h"

#include <immintrin.h>
#include <string.h>

#define TILE 16
#define HALF (LR_BF16_NUMBERS / 2) // numbers of a tile of B, or of 16 rows of A

// ---- registers -----------------------------------------------------------------------------------------------------

void lr_amx_begin(void)
{
    _Alignas(64) struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape;
    memset(&shape, 0, sizeof shape);
    shape.palette = 1;
    for (int i = 0; i < 8; i++) shape.row_bytes[i] = 64, shape.rows[i] = TILE;
    __asm__ volatile("" : : "r"(&shape) : "memory"); // gcc's intrinsic names 8 of the 64 bytes
    _tile_loadconfig(&shape);
}

void lr_amx_end(void)
{
    _tile_release();
}

// ---- C -------------------------------------------------------------------------------------------------------------

// One step, with each part of A. B passes by the L1 cache.
static inline void multiply_step(int32_t parts, const uint16_t *a, const uint16_t *b)
{
    _tile_stream_loadd(6, b, 64);
    _tile_stream_loadd(7, b + HALF, 64);
    for (; parts > 0; parts--, a += LR_BF16_NUMBERS) {
        _tile_loadd(4, a, 64);
        _tile_loadd(5, a + HALF, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

// C in four tiles.
void lr_amx_multiply(const lr_bf16_run *run, bool accumulate, float *c, int64_t c_stride)
{
    const int64_t bytes = c_stride * (int64_t)sizeof *c;
    char *top = (char *)c, *bottom = top + TILE * bytes;
    __asm__ volatile("" : : "r"(c) : "memory"); // what the tiles load is in memory
    if (accumulate) {
        _tile_loadd(0, top, bytes);
        _tile_loadd(1, top + 64, bytes);
        _tile_loadd(2, bottom, bytes);
        _tile_loadd(3, bottom + 64, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t i = 0; i < LR_BF16_PANEL; i++) {
            __builtin_prefetch(top + i * bytes, 1);
            __builtin_prefetch(top + i * bytes + 64, 1);
        }
    }
    for (int64_t s = 0; s < run->steps; s++) {
        lr_bf16_fetch(run->ahead, false);
        multiply_step(run->parts, run->a + s * run->parts * LR_BF16_NUMBERS, run->b + s * LR_BF16_NUMBERS);
    }
    for (int64_t s = 0; s < run->pair_steps; s++)
        multiply_step(1, run->pair_a + s * LR_BF16_NUMBERS, run->pair_b + s * LR_BF16_NUMBERS);
    _tile_stored(0, top, bytes);
    _tile_stored(1, top + 64, bytes);
    _tile_stored(2, bottom, bytes);
    _tile_stored(3, bottom + 64, bytes);
}
