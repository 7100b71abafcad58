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
    int64_t r = 0;
#if defined(__x86_64__)
    for (; r + 4 <= rows; r += 4) {
        int64_t c = 0;
        const float *from = source + r * source_stride;
        for (; c + 4 <= columns; c += 4) {
            __m128 v0 = _mm_loadu_ps(from + c), v1 = _mm_loadu_ps(from + source_stride + c);
            __m128 v2 = _mm_loadu_ps(from + 2 * source_stride + c), v3 = _mm_loadu_ps(from + 3 * source_stride + c);
            _MM_TRANSPOSE4_PS(v0, v1, v2, v3);
            float *to = target + c * target_stride + r;
            _mm_storeu_ps(to, v0);
            _mm_storeu_ps(to + target_stride, v1);
            _mm_storeu_ps(to + 2 * target_stride, v2);
            _mm_storeu_ps(to + 3 * target_stride, v3);
        }
        for (; c < columns; c++)
            for (int64_t i = 0; i < 4; i++) target[c * target_stride + r + i] = from[i * source_stride + c];
    }
#endif
    for (; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) target[c * target_stride + r] = source[r * source_stride + c];
}

#define DOT_ROWS 4 // of q at a time

LR_INLINE void dots_of_key(const int rows, int64_t dim, const float *q, int64_t q_stride, const float *k, float *out,
                           int64_t out_stride)
{
    lr_vf sum[DOT_ROWS];
    for (int i = 0; i < rows; i++) sum[i] = vf_set(0);
    int64_t d = 0;
    for (; d + LR_WIDTH <= dim; d += LR_WIDTH) {
        lr_vf key = vf_load(k + d);
        for (int i = 0; i < rows; i++) sum[i] += key * vf_load(q + i * q_stride + d);
    }
    if (d < dim) {
        lr_vf key = vf_load_part(k + d, dim - d);
        for (int i = 0; i < rows; i++) sum[i] += key * vf_load_part(q + i * q_stride + d, dim - d);
    }
    for (int i = 0; i < rows; i++) out[i * out_stride] = vf_sum(sum[i]);
}

static void tile_dots(int64_t m, int64_t n, int64_t dim, const float *q, int64_t q_stride, const float *k,
                      int64_t k_stride, float *out, int64_t out_stride)
{
    for (; m > 0; m -= DOT_ROWS, q += DOT_ROWS * q_stride, out += DOT_ROWS * out_stride)
        for (int64_t j = 0; j < n; j++) {
            const float *key = k + j * k_stride;
            if (m >= 4)
                dots_of_key(4, dim, q, q_stride, key, out + j, out_stride);
            else if (m == 3)
                dots_of_key(3, dim, q, q_stride, key, out + j, out_stride);
            else if (m == 2)
                dots_of_key(2, dim, q, q_stride, key, out + j, out_stride);
            else
                dots_of_key(1, dim, q, q_stride, key, out + j, out_stride);
        }
}

#endif
