// Small matrix products for attention and merging, written once over cpu/vector.h: a tile of C stays in registers while
// one number of A after another is spread over a row of B. Included by the one file of each instruction set.
#ifndef LR_TILE_KERNELS_H
#define LR_TILE_KERNELS_H

#include "cpu/kernels.h"
#include "cpu/vector.h"

#if LR_WIDTH == 4
#define TILE_ROWS 4
#define TILE_VECTORS 2
#elif LR_WIDTH == 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#else
#define TILE_ROWS 6
#define TILE_VECTORS 4
#endif

typedef struct tile_task {
    int64_t k;
    const float *a;
    int64_t a_row, a_column;
    const float *b;
    int64_t b_stride;
    float *c;
    int64_t c_stride;
    bool accumulate;
} tile_task;

// rows x (vectors * LR_WIDTH) of C. With one vector, only its first `part` columns.
LR_INLINE void tile(const tile_task *t, const int rows, const int vectors, const int64_t part)
{
    lr_vf sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = vf_set(0);
    const float *a = t->a, *b = t->b;
    for (int64_t l = 0; l < t->k; l++, a += t->a_column, b += t->b_stride) {
        lr_vf row[TILE_VECTORS];
        for (int v = 0; v < vectors; v++)
            row[v] = part == LR_WIDTH ? vf_load(b + v * LR_WIDTH) : vf_load_part(b, part);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] += a[r * t->a_row] * row[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            float *c = t->c + r * t->c_stride + v * LR_WIDTH;
            if (part == LR_WIDTH)
                vf_store(c, t->accumulate ? vf_load(c) + sum[r][v] : sum[r][v]);
            else
                vf_store_part(c, t->accumulate ? vf_load_part(c, part) + sum[r][v] : sum[r][v], part);
        }
}

LR_INLINE void tile_columns(tile_task t, const int rows, int64_t n)
{
    const int64_t wide = TILE_VECTORS * LR_WIDTH;
    for (; n >= wide; n -= wide, t.b += wide, t.c += wide) tile(&t, rows, TILE_VECTORS, LR_WIDTH);
    for (; n >= LR_WIDTH; n -= LR_WIDTH, t.b += LR_WIDTH, t.c += LR_WIDTH) tile(&t, rows, 1, LR_WIDTH);
    if (n > 0) tile(&t, rows, 1, n);
}

static void tile_product(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_column,
                         const float *b, int64_t b_stride, float *c, int64_t c_stride, bool accumulate)
{
    tile_task t = {k, a, a_row, a_column, b, b_stride, c, c_stride, accumulate};
    for (; m >= TILE_ROWS; m -= TILE_ROWS, t.a += TILE_ROWS * a_row, t.c += TILE_ROWS * c_stride)
        tile_columns(t, TILE_ROWS, n);
    for (; m >= 2; m -= 2, t.a += 2 * a_row, t.c += 2 * c_stride) tile_columns(t, 2, n);
    if (m) tile_columns(t, 1, n);
}

static void tile_transpose(float *target, int64_t target_stride, const float *source, int64_t source_stride,
                           int64_t rows, int64_t columns)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++) target[c * target_stride + r] = source[r * source_stride + c];
}

#endif
