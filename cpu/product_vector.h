// The text of the kernels in cpu/product_kernels.h: what all share, the choice by type, sums of rows; dot products and
// tiles are files of their own. The file that includes this defines
//   LR_WIDTH    floats in a vector,
//   TILE_ROWS   rows of a packed tile of 2 vectors: 2 * TILE_ROWS sums stay in registers,
//   DOT_ROWS    rows of x that `dots` takes at once, 4 at most,
//   DOT_COLS    with so many rows of w,
//   ROW_COLS    rows of w that `dots` takes at once with one long row of x, a multiple of 4,
//   SWEEP_ROWS  rows of a that `sweep` takes at once, with 2 vectors of w,
//   KERNELS     the name of the table.
#include "cpu/product_kernels.h"
#include "cpu/product_numbers.h"

#define TILE_COLS (2 * LR_WIDTH)

// Calls KERNEL with the type as a constant.
#define TYPE_CASE(TYPE, KERNEL, ...)                                                                                   \
    case TYPE: KERNEL(TYPE, __VA_ARGS__); break;
#define FOR_PLAIN_TYPE(type, KERNEL, ...)                                                                              \
    switch (type) {                                                                                                    \
        TYPE_CASE(LORA_TYPE_F16, KERNEL, __VA_ARGS__)                                                                  \
        TYPE_CASE(LORA_TYPE_BF16, KERNEL, __VA_ARGS__)                                                                 \
    default: KERNEL(LORA_TYPE_F32, __VA_ARGS__); break;                                                                \
    }

LR_INLINE number_row operand_row(lora_type type, const lr_operand *o, int64_t index)
{
    return row_at(type, o->data, o->scales, o->stride, index);
}

static bool is_plain(lora_type type)
{
    return type <= LORA_TYPE_BF16;
}

#include "cpu/product_dots.h"
#include "cpu/product_unpacked.h"
#include "cpu/product_tiles.h"

static void dots(int64_t rows, int64_t count, int64_t depth, float alpha, const float *x, int64_t x_stride,
                 const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row, int64_t out_col)
{
    if (!is_plain(w->type)) {
        dots_unpacked(rows, count, depth, alpha, x, x_stride, w, j_begin, accumulate, out, out_row, out_col);
        return;
    }
    if (w->type == LORA_TYPE_F32 && depth <= LR_WIDTH) {
        const float *first = (const float *)w->data + j_begin * w->stride;
        dots_of_short_rows(rows, count, depth, alpha, x, x_stride, first, w->stride, accumulate, out, out_row, out_col);
        return;
    }
    FOR_PLAIN_TYPE(w->type, dots_typed, rows, count, depth, alpha, x, x_stride, w, j_begin, accumulate, out, out_row,
                   out_col)
}

// ---- sums of rows ------------------------------------------------------------------------------------------------

LR_INLINE void put_sums(int rows, int64_t width, float alpha, const float *sums, bool accumulate, float *out,
                        int64_t out_row, int64_t out_col)
{
    for (int i = 0; i < rows; i++, sums += TILE_COLS, out += out_row) {
        if (accumulate) {
            for (int64_t j = 0; j < width; j++) out[j * out_col] += alpha * sums[j];
        } else {
            for (int64_t j = 0; j < width; j++) out[j * out_col] = alpha * sums[j];
        }
    }
}

LR_INLINE void sweep_of(lora_type type, int rows, int64_t depth, const float *a, int64_t a_row, int64_t a_col,
                        const lr_operand *w, int64_t at, float *sums)
{
    lr_vf sum[SWEEP_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vf_set(0);
    for (int64_t p = 0; p < depth; p++, a += a_col) {
        number_row row = operand_row(type, w, p);
        lr_vf low = load_numbers(type, row, at), high = load_numbers(type, row, at + LR_WIDTH);
        UNROLL for (int i = 0; i < rows; i++) {
            sum[i][0] += a[i * a_row] * low;
            sum[i][1] += a[i * a_row] * high;
        }
    }
    UNROLL for (int i = 0; i < rows; i++) {
        vf_store(sums + i * TILE_COLS, sum[i][0]);
        vf_store(sums + i * TILE_COLS + LR_WIDTH, sum[i][1]);
    }
}

// The last columns, fewer than TILE_COLS.
static __attribute__((noinline)) void sweep_end(lora_type type, int64_t rows, int64_t width, int64_t depth,
                                                const float *a, int64_t a_row, int64_t a_col, const lr_operand *w,
                                                int64_t at, float *sums)
{
    memset(sums, 0, sizeof(float) * (size_t)(rows * TILE_COLS));
    for (int64_t p = 0; p < depth; p++, a += a_col) {
        number_row row = operand_row(type, w, p);
        lr_vf low = load_some(type, row, at, width), high = load_some(type, row, at + LR_WIDTH, width - LR_WIDTH);
        for (int64_t i = 0; i < rows; i++) {
            float *sum = sums + i * TILE_COLS;
            vf_store(sum, vf_load(sum) + a[i * a_row] * low);
            vf_store(sum + LR_WIDTH, vf_load(sum + LR_WIDTH) + a[i * a_row] * high);
        }
    }
}

#define SWEEP_CASE(ROWS)                                                                                               \
    case ROWS: sweep_of(type, ROWS, depth, a_rows, a_row, a_col, w, j_begin + j, sums); break;

LR_INLINE void sweep_typed(lora_type type, int64_t rows, int64_t width, int64_t depth, float alpha, const float *a,
                           int64_t a_row, int64_t a_col, const lr_operand *w, int64_t j_begin, bool accumulate,
                           float *out, int64_t out_row, int64_t out_col)
{
    int64_t groups = (rows + SWEEP_ROWS - 1) / SWEEP_ROWS;
    float sums[SWEEP_ROWS * TILE_COLS];
    for (int64_t j = 0; j < width; j += TILE_COLS) {
        int64_t cols = width - j < TILE_COLS ? width - j : TILE_COLS;
        for (int64_t g = 0; g < groups; g++) {
            int64_t i = g * rows / groups, some = (g + 1) * rows / groups - i;
            const float *a_rows = a + i * a_row;
            if (cols < TILE_COLS) {
                sweep_end(type, some, cols, depth, a_rows, a_row, a_col, w, j_begin + j, sums);
            } else {
                switch (some) {
                    SWEEP_CASE(1)
                    SWEEP_CASE(2)
                    SWEEP_CASE(3)
                    SWEEP_CASE(4)
#if SWEEP_ROWS > 4
                    SWEEP_CASE(5)
                    SWEEP_CASE(6)
                    SWEEP_CASE(7)
                    SWEEP_CASE(8)
#endif
                }
            }
            put_sums((int)some, cols, alpha, sums, accumulate, out + i * out_row + j * out_col, out_row, out_col);
        }
    }
}

static void sweep(int64_t rows, int64_t width, int64_t depth, float alpha, const float *a, int64_t a_row, int64_t a_col,
                  const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row, int64_t out_col)
{
    FOR_PLAIN_TYPE(w->type, sweep_typed, rows, width, depth, alpha, a, a_row, a_col, w, j_begin, accumulate, out,
                   out_row, out_col)
}

const lr_product_kernels KERNELS = {TILE_ROWS, TILE_COLS, 96, pack, unpack, take, tile, dots, sweep, NULL};
