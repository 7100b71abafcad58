// The text of the kernels in cpu/product_kernels.h. The file that includes this defines
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

// ---- types with scales beside the numbers --------------------------------------------------------------------------

// They are turned into f32 in the cache, a few rows of a few numbers at a time, and go on as f32.
#define UNPACK_DOTS 1024 // of a row of w, for dots
#define UNPACK_PACK 128  // numbers of each of a panel's rows

static bool is_plain(lora_type type)
{
    return type <= LORA_TYPE_BF16;
}

// Numbers [at, at + n) of a row, and up to LR_WIDTH - 1 more of what lies in their block, or zeros. Whole groups are
// unrolled, so that all but the numbers is worked out once.
#define UNPACK(NAME, TYPE)                                                                                             \
    static void NAME(float *restrict target, number_row row, int64_t at, int64_t n)                                    \
    {                                                                                                                  \
        const int64_t group = group_of(TYPE);                                                                          \
        int64_t i = 0;                                                                                                 \
        for (; i + LR_WIDTH <= n && (at + i) % group; i += LR_WIDTH)                                                   \
            vf_store(target + i, load_numbers(TYPE, row, at + i));                                                     \
        for (; i + group <= n; i += group) {                                                                           \
            const uint8_t *bytes = row.bytes + row_bytes(TYPE, at + i);                                                \
            const float scale = scale_of_group(TYPE, row, at + i);                                                     \
            UNROLL for (int v = 0; v < group; v += LR_WIDTH)                                                           \
                vf_store(target + i + v, load_of_group(TYPE, bytes, scale, v));                                        \
        }                                                                                                              \
        for (; i + LR_WIDTH <= n; i += LR_WIDTH) vf_store(target + i, load_numbers(TYPE, row, at + i));                \
        if (i < n) vf_store(target + i, load_some(TYPE, row, at + i, n - i));                                          \
    }

#define MOST_ALONE 16 // rows of x
#if LR_WIDTH == 16
#define ALONE_ROWS 4 // of them at once: 16 sums in registers
#else
#define ALONE_ROWS 2
#endif

#define AHEAD 4096 // bytes of w that are fetched before they are needed: rows follow one another
// Loaded once, not by each multiplication that takes it.
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v)
#endif

#define NEAR_BYTES 12288 // of rows of w that stay in the L1 cache while groups of rows of x pass by
#define MOST_NEAR 2048 // numbers of a row of x that stay in the L1 cache while rows of w pass by

// One row of x against one of w, without a way through memory; four sums hide the latency of an addition.
#define DOT(NAME, TYPE)                                                                                                \
    static float NAME(const float *x, number_row row, int64_t depth)                                                   \
    {                                                                                                                  \
        const int64_t group = group_of(TYPE);                                                                          \
        lr_vf sum[4] = {{0}};                                                                                          \
        int64_t i = 0;                                                                                                 \
        for (; i + group <= depth; i += group) {                                                                       \
            const uint8_t *bytes = row.bytes + row_bytes(TYPE, i);                                                     \
            const float scale = scale_of_group(TYPE, row, i);                                                          \
            __builtin_prefetch(bytes + AHEAD);                                                                         \
            UNROLL for (int v = 0; v < group; v += LR_WIDTH)                                                           \
                sum[v / LR_WIDTH % 4] += load_of_group(TYPE, bytes, scale, v) * vf_load(x + i + v);                    \
        }                                                                                                              \
        for (; i + LR_WIDTH <= depth; i += LR_WIDTH) sum[0] += load_numbers(TYPE, row, i) * vf_load(x + i);            \
        if (i < depth) sum[1] += load_some(TYPE, row, i, depth - i) * vf_load_part(x + i, depth - i);                  \
        return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));                                                          \
    }

UNPACK(unpack_int8, LORA_TYPE_INT8)
DOT(dot_int8, LORA_TYPE_INT8)
UNPACK(unpack_nf4, LORA_TYPE_NF4)
DOT(dot_nf4, LORA_TYPE_NF4)
UNPACK(unpack_q8_0, LORA_TYPE_Q8_0)
DOT(dot_q8_0, LORA_TYPE_Q8_0)
UNPACK(unpack_q4_0, LORA_TYPE_Q4_0)
DOT(dot_q4_0, LORA_TYPE_Q4_0)
UNPACK(unpack_q4_1, LORA_TYPE_Q4_1)
DOT(dot_q4_1, LORA_TYPE_Q4_1)
UNPACK(unpack_q5_0, LORA_TYPE_Q5_0)
DOT(dot_q5_0, LORA_TYPE_Q5_0)
UNPACK(unpack_q5_1, LORA_TYPE_Q5_1)
DOT(dot_q5_1, LORA_TYPE_Q5_1)
UNPACK(unpack_q4_k, LORA_TYPE_Q4_K)
DOT(dot_q4_k, LORA_TYPE_Q4_K)
UNPACK(unpack_q5_k, LORA_TYPE_Q5_K)
DOT(dot_q5_k, LORA_TYPE_Q5_K)
UNPACK(unpack_q6_k, LORA_TYPE_Q6_K)
DOT(dot_q6_k, LORA_TYPE_Q6_K)

static void (*const unpack[LORA_TYPE_COUNT])(float *target, number_row row, int64_t at, int64_t n) = {
    [LORA_TYPE_INT8] = unpack_int8, [LORA_TYPE_NF4] = unpack_nf4,   [LORA_TYPE_Q8_0] = unpack_q8_0,
    [LORA_TYPE_Q4_0] = unpack_q4_0, [LORA_TYPE_Q4_1] = unpack_q4_1, [LORA_TYPE_Q5_0] = unpack_q5_0,
    [LORA_TYPE_Q5_1] = unpack_q5_1, [LORA_TYPE_Q4_K] = unpack_q4_k, [LORA_TYPE_Q5_K] = unpack_q5_k,
    [LORA_TYPE_Q6_K] = unpack_q6_k,
};

static float (*const dot[LORA_TYPE_COUNT])(const float *x, number_row row, int64_t depth) = {
    [LORA_TYPE_INT8] = dot_int8, [LORA_TYPE_NF4] = dot_nf4,   [LORA_TYPE_Q8_0] = dot_q8_0, [LORA_TYPE_Q4_0] = dot_q4_0,
    [LORA_TYPE_Q4_1] = dot_q4_1, [LORA_TYPE_Q5_0] = dot_q5_0, [LORA_TYPE_Q5_1] = dot_q5_1, [LORA_TYPE_Q4_K] = dot_q4_k,
    [LORA_TYPE_Q5_K] = dot_q5_k, [LORA_TYPE_Q6_K] = dot_q6_k,
};

// ---- packing -----------------------------------------------------------------------------------------------------

// Numbers p.. of LR_WIDTH rows of B^T become rows of the panel.
LR_INLINE void pack_square(lora_type type, float *target, const lr_operand *b, int64_t j_begin, int64_t p,
                           int64_t depth, int64_t width)
{
    lr_vf v[LR_WIDTH];
    if (width >= LR_WIDTH && depth >= LR_WIDTH) {
        UNROLL for (int j = 0; j < LR_WIDTH; j++) v[j] = load_numbers(type, operand_row(type, b, j_begin + j), p);
    } else {
        for (int j = 0; j < LR_WIDTH; j++)
            v[j] = j < width ? load_some(type, operand_row(type, b, j_begin + j), p, depth) : vf_set(0);
    }
    vf_transpose(v);
    if (depth >= LR_WIDTH) {
        UNROLL for (int q = 0; q < LR_WIDTH; q++) vf_store(target + q * TILE_COLS, v[q]);
    } else {
        for (int64_t q = 0; q < depth; q++) vf_store(target + q * TILE_COLS, v[q]);
    }
}

LR_INLINE void pack_of(lora_type type, float *target, const lr_operand *b, int64_t p_begin, int64_t depth,
                       int64_t j_begin, int64_t width)
{
    if (b->transposed) {
        for (int64_t p = 0; p < depth; p += LR_WIDTH) {
            float *square = target + p * TILE_COLS;
            pack_square(type, square, b, j_begin, p_begin + p, depth - p, width);
            pack_square(type, square + LR_WIDTH, b, j_begin + LR_WIDTH, p_begin + p, depth - p, width - LR_WIDTH);
        }
        return;
    }
    for (int64_t p = 0; p < depth; p++, target += TILE_COLS) {
        number_row row = operand_row(type, b, p_begin + p);
        if (width == TILE_COLS) {
            vf_store(target, load_numbers(type, row, j_begin));
            vf_store(target + LR_WIDTH, load_numbers(type, row, j_begin + LR_WIDTH));
        } else {
            vf_store(target, load_some(type, row, j_begin, width));
            vf_store(target + LR_WIDTH, load_some(type, row, j_begin + LR_WIDTH, width - LR_WIDTH));
        }
    }
}

// Unpacked rows are packed like any f32 operand: each is a row of the panel, or, transposed, a column.
static void pack_unpacked(float *target, const lr_operand *b, int64_t p_begin, int64_t depth, int64_t j_begin,
                          int64_t width)
{
    _Alignas(64) float numbers[TILE_COLS * (UNPACK_PACK + LR_WIDTH)];
    if (!b->transposed) {
        for (int64_t p = 0; p < depth; p++, target += TILE_COLS) {
            unpack[b->type](target, operand_row(b->type, b, p_begin + p), j_begin, width);
            for (int64_t j = width; j < TILE_COLS; j++) target[j] = 0;
        }
        return;
    }
    const lr_operand rows = {
        .data = numbers, .stride = UNPACK_PACK + LR_WIDTH, .type = LORA_TYPE_F32, .transposed = true};
    for (int64_t p = 0; p < depth; p += UNPACK_PACK) {
        int64_t some = depth - p < UNPACK_PACK ? depth - p : UNPACK_PACK;
        for (int64_t j = 0; j < width; j++)
            unpack[b->type](numbers + j * rows.stride, operand_row(b->type, b, j_begin + j), p_begin + p, some);
        pack_of(LORA_TYPE_F32, target + p * TILE_COLS, &rows, 0, some, 0, width);
    }
}

static void pack(float *target, const lr_operand *b, int64_t p_begin, int64_t depth, int64_t j_begin, int64_t width)
{
    if (!is_plain(b->type)) {
        pack_unpacked(target, b, p_begin, depth, j_begin, width);
        return;
    }
    FOR_PLAIN_TYPE(b->type, pack_of, target, b, p_begin, depth, j_begin, width)
}

#define TAKE_VECTORS ((TILE_ROWS + LR_WIDTH - 1) / LR_WIDTH)

// `count` <= LR_WIDTH numbers of a tile's rows become rows of its panel. What a vector has beyond the tile's rows, the
// next row of the panel overwrites.
LR_INLINE void take_square(const int tile_rows, float *target, const float *from, int64_t stride, float alpha,
                           int64_t rows, int64_t count)
{
    lr_vf v[TAKE_VECTORS][LR_WIDTH];
    UNROLL for (int64_t block = 0; block < TAKE_VECTORS; block++) {
        UNROLL for (int64_t i = 0; i < LR_WIDTH; i++) {
            const int64_t row = block * LR_WIDTH + i;
            v[block][i] = row >= rows         ? vf_set(0)
                          : count == LR_WIDTH ? alpha * vf_load(from + row * stride)
                                              : alpha * vf_load_part(from + row * stride, count);
        }
        vf_transpose(v[block]);
    }
    for (int64_t p = 0; p < count; p++, target += tile_rows)
        for (int64_t block = 0; block < TAKE_VECTORS; block++) vf_store(target + block * LR_WIDTH, v[block][p]);
}

LR_INLINE void take_of(const int tile_rows, float *target, const lr_operand *a, float alpha, int64_t i_begin,
                       int64_t rows, int64_t p_begin, int64_t depth)
{
    const float *from = (const float *)a->data + (a->transposed ? p_begin * a->stride + i_begin
                                                                : i_begin * a->stride + p_begin);
    if (a->transposed) {
        for (int64_t p = 0; p < depth; p++, from += a->stride, target += tile_rows)
            for (int64_t i = 0; i < tile_rows; i++) target[i] = i < rows ? alpha * from[i] : 0;
        return;
    }
    for (; depth >= LR_WIDTH; depth -= LR_WIDTH, from += LR_WIDTH, target += LR_WIDTH * tile_rows) {
        if (rows == tile_rows) take_square(tile_rows, target, from, a->stride, alpha, tile_rows, LR_WIDTH);
        else take_square(tile_rows, target, from, a->stride, alpha, rows, LR_WIDTH);
    }
    if (depth > 0) take_square(tile_rows, target, from, a->stride, alpha, rows, depth);
}

static void take(float *target, const lr_operand *a, float alpha, int64_t i_begin, int64_t rows, int64_t p_begin,
                 int64_t depth)
{
    take_of(TILE_ROWS, target, a, alpha, i_begin, rows, p_begin, depth);
}

// ---- a tile of packed operands -----------------------------------------------------------------------------------

// The first `width` columns of a tile's rows.
static __attribute__((noinline)) void put_part(int64_t rows, int64_t width, const float *tile_rows, bool accumulate,
                                               float *c, int64_t c_stride)
{
    for (int64_t i = 0; i < rows; i++, tile_rows += TILE_COLS, c += c_stride)
        for (int64_t j = 0; j < width; j++) c[j] = tile_rows[j] + (accumulate ? c[j] : 0);
}

LR_INLINE void put_tile(int rows, int64_t width, lr_vf (*sum)[2], bool accumulate, float *c, int64_t c_stride)
{
    float part[TILE_ROWS * TILE_COLS];
    const bool whole = width == TILE_COLS;
    if (whole && accumulate) {
        UNROLL for (int i = 0; i < rows; i++) {
            sum[i][0] += vf_load(c + i * c_stride);
            sum[i][1] += vf_load(c + i * c_stride + LR_WIDTH);
        }
    }
    float *target = whole ? c : part;
    const int64_t stride = whole ? c_stride : TILE_COLS;
    UNROLL for (int i = 0; i < rows; i++) {
        vf_store(target + i * stride, sum[i][0]);
        vf_store(target + i * stride + LR_WIDTH, sum[i][1]);
    }
    if (!whole) put_part(rows, width, part, accumulate, c, c_stride);
}

LR_INLINE void tile_of(int rows, int64_t width, int64_t depth, const float *a, const float *b, bool accumulate,
                       float *c, int64_t c_stride)
{
    lr_vf sum[TILE_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = vf_set(0);
        __builtin_prefetch(c + i * c_stride, 1);
        __builtin_prefetch(c + i * c_stride + (width - 1), 1);
    }
    for (int64_t p = 0; p < depth; p++, a += TILE_ROWS, b += TILE_COLS) {
        lr_vf low = vf_load(b), high = vf_load(b + LR_WIDTH);
        UNROLL for (int i = 0; i < rows; i++) {
            sum[i][0] += a[i] * low;
            sum[i][1] += a[i] * high;
        }
    }
    put_tile(rows, width, sum, accumulate, c, c_stride);
}

#define CASES_TO_6(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define CASES_TO_12(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) // from 7 on
#define TILE_CASE(ROWS)                                                                                                \
    case ROWS: tile_of(ROWS, width, depth, a, b, accumulate, c, c_stride); break;

static void tile(int64_t rows, int64_t width, int64_t depth, const float *a, const float *b, bool accumulate, float *c,
                 int64_t c_stride)
{
    switch (rows) {
        CASES_TO_6(TILE_CASE)
#if TILE_ROWS > 6
        CASES_TO_12(TILE_CASE)
#endif
#if TILE_ROWS > 12
        TILE_CASE(13)
        TILE_CASE(14)
#endif
    }
}

// ---- dot products along rows of both operands --------------------------------------------------------------------

// Fetches `bytes` of the rows of w that come next, which lie behind one another, into the L2 cache: where several rows
// are read at once, the processor does not see beyond them. A single stream it fetches faster by itself.
LR_INLINE void fetch(const uint8_t *from, int64_t bytes)
{
    for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(from + line, 0, 2);
}

// What is left to add up of each row of x times each of w, the same for any number of rows: every other vector goes to
// one of two sums.
LR_INLINE void add_products(lora_type type, const int rows, const int cols, int64_t depth, const float *x,
                            int64_t x_stride, const lr_operand *w, int64_t first, lr_vf (*total)[ROW_COLS])
{
    number_row w_row[ROW_COLS];
    lr_vf sum[4][ROW_COLS][2], number[ROW_COLS];
    UNROLL for (int j = 0; j < cols; j++) w_row[j] = operand_row(type, w, first + j);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < cols; j++) sum[i][j][0] = sum[i][j][1] = vf_set(0);
    const int64_t ahead = cols * row_bytes(type, w->stride);
    int64_t p = 0;
    for (; p + BLOCK <= depth; p += BLOCK) {
        if (rows > 1) fetch(w_row[0].bytes + ahead + cols * row_bytes(type, p), cols * row_bytes(type, BLOCK));
        UNROLL for (int q = 0; q < BLOCK / LR_WIDTH; q++) {
            UNROLL for (int j = 0; j < cols; j++) number[j] = load_numbers(type, w_row[j], p + q * LR_WIDTH);
            UNROLL for (int i = 0; i < rows; i++) {
                lr_vf factor = vf_load(x + i * x_stride + p + q * LR_WIDTH);
                IN_REGISTER(factor);
                UNROLL for (int j = 0; j < cols; j++) sum[i][j][q % 2] += factor * number[j];
            }
        }
    }
    for (; p < depth; p += LR_WIDTH) {
        int64_t rest = depth - p;
        bool end = rest < LR_WIDTH;
        UNROLL for (int j = 0; j < cols; j++)
            number[j] = end ? load_end(type, w_row[j], p, rest) : load_numbers(type, w_row[j], p);
        UNROLL for (int i = 0; i < rows; i++) {
            number_row x_row = {(const uint8_t *)(x + i * x_stride), NULL};
            lr_vf factor = end ? load_end(LORA_TYPE_F32, x_row, p, rest) : load_numbers(LORA_TYPE_F32, x_row, p);
            UNROLL for (int j = 0; j < cols; j++) sum[i][j][0] += factor * number[j];
        }
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < cols; j++) total[i][j] = sum[i][j][0] + sum[i][j][1];
}

// The first `count` of four sums, `apart` from one another.
LR_INLINE void put_dots(int64_t count, float alpha, lr_vf a, lr_vf b, lr_vf c, lr_vf d, bool accumulate, float *out,
                        int64_t apart)
{
    put_quad(count, alpha * sum_of_each(fold(a), fold(b), fold(c), fold(d)), accumulate, out, apart);
}

// LR_WIDTH rows of w, no longer than a vector each, times one of x. `vectors`: how many hold them, behind one another.
LR_INLINE lr_vf short_dots(const int vectors, int64_t rows, int64_t depth, lr_vf factor, const float *w, int64_t stride)
{
    lr_vf product[LR_WIDTH];
    UNROLL for (int j = 0; j < vectors; j++, w += vectors < LR_WIDTH ? LR_WIDTH : stride) {
        const number_row row = {(const uint8_t *)w, NULL};
        if (vectors < LR_WIDTH) product[j] = factor * vf_load(w);
        else product[j] = j < rows ? factor * load_end(LORA_TYPE_F32, row, 0, depth) : vf_set(0);
    }
    UNROLL for (int left = vectors / 2; left > 0; left /= 2)
        UNROLL for (int j = 0; j < left; j++) product[j] = vf_add_neighbours(product[2 * j], product[2 * j + 1]);
    return product[0];
}

// The first `count` <= LR_WIDTH numbers, `apart` from one another.
LR_INLINE void put_some(int64_t count, lr_vf sums, bool accumulate, float *out, int64_t apart)
{
    if (apart == 1 && count == LR_WIDTH) {
        vf_store(out, accumulate ? sums + vf_load(out) : sums);
        return;
    }
    float numbers[LR_WIDTH];
    vf_store(numbers, sums);
    for (int64_t i = 0; i < count; i++, out += apart) *out = numbers[i] + (accumulate ? *out : 0);
}

// Rows no longer than a vector, as of low-rank pairs; f32.
static void dots_of_short_rows(int64_t rows, int64_t count, int64_t depth, float alpha, const float *x,
                               int64_t x_stride, const float *w, int64_t w_stride, bool accumulate, float *out,
                               int64_t out_row, int64_t out_col)
{
    const bool halves = depth == LR_WIDTH / 2 && w_stride == depth; // two rows of w fill a vector
    for (; rows > 0; rows--, x += x_stride, out += out_row) {
        const lr_vf factor = vf_load_part(x, depth), twice = vf_low_twice(factor);
        for (int64_t j = 0; j < count; j += LR_WIDTH) {
            const int64_t some = count - j < LR_WIDTH ? count - j : LR_WIDTH;
            const float *from = w + j * w_stride;
            const lr_vf sums = halves && some == LR_WIDTH
                                   ? short_dots(LR_WIDTH / 2, some, depth, twice, from, w_stride)
                                   : short_dots(LR_WIDTH, some, depth, factor, from, w_stride);
            put_some(some, alpha * sums, accumulate, out + j * out_col, out_col);
        }
    }
}

// One row of x, past which w streams; where the row fills the L1 cache, many rows of w at a time.
LR_INLINE void dots_of_row(lora_type type, int64_t count, int64_t depth, float alpha, const float *x,
                           const lr_operand *w, int64_t first, bool accumulate, float *out, int64_t out_col)
{
    lr_vf total[4][ROW_COLS];
    for (; depth > MOST_NEAR && count >= ROW_COLS; count -= ROW_COLS, first += ROW_COLS) {
        add_products(type, 1, ROW_COLS, depth, x, 0, w, first, total);
        UNROLL for (int j = 0; j < ROW_COLS; j += 4, out += 4 * out_col)
            put_dots(4, alpha, total[0][j], total[0][j + 1], total[0][j + 2], total[0][j + 3], accumulate, out,
                     out_col);
    }
    for (; count > 0; count -= 4, first += 4, out += 4 * out_col) {
        const int64_t some = count < 4 ? count : 4;
        for (int64_t j = 0; j < some; j++) add_products(type, 1, 1, depth, x, 0, w, first + j, &total[j]);
        for (int64_t j = some; j < 4; j++) total[j][0] = vf_set(0);
        put_dots(some, alpha, total[0][0], total[1][0], total[2][0], total[3][0], accumulate, out, out_col);
    }
}

LR_INLINE void dots_of_rows(lora_type type, const int rows, const int cols, int64_t depth, float alpha, const float *x,
                            int64_t x_stride, const lr_operand *w, int64_t first, bool accumulate, float *out,
                            int64_t out_row, int64_t out_col)
{
    lr_vf total[4][ROW_COLS];
    add_products(type, rows, cols, depth, x, x_stride, w, first, total);
    UNROLL for (int i = rows; i < 4; i++)
        UNROLL for (int j = 0; j < cols; j++) total[i][j] = vf_set(0);
    UNROLL for (int j = 0; j < cols; j++) put_dots(rows, alpha, total[0][j], total[1][j], total[2][j], total[3][j],
                                                   accumulate, out + j * out_col, out_row);
}

#define DOTS_CASE(ROWS)                                                                                                \
    case ROWS:                                                                                                         \
        for (int64_t k = j; k < end; k += DOT_COLS)                                                                    \
            dots_of_rows(type, ROWS, DOT_COLS, depth, alpha, x + i * x_stride, x_stride, w, j_begin + k, accumulate,   \
                         out + i * out_row + k * out_col, out_row, out_col);                                           \
        break;

LR_INLINE void dots_typed(lora_type type, int64_t rows, int64_t count, int64_t depth, float alpha, const float *x,
                          int64_t x_stride, const lr_operand *w, int64_t j_begin, bool accumulate, float *out,
                          int64_t out_row, int64_t out_col)
{
    const int64_t groups = (rows + DOT_ROWS - 1) / DOT_ROWS;
    const int64_t near = NEAR_BYTES / (DOT_COLS * row_bytes(type, depth) + 1) + 1;
    int64_t j = 0, end;
    for (; rows > 1 && j + DOT_COLS <= count; j = end) {
        end = j + (count - j) / DOT_COLS * DOT_COLS;
        if (end > j + near * DOT_COLS) end = j + near * DOT_COLS;
        for (int64_t g = 0; g < groups; g++) {
            const int64_t i = g * rows / groups;
            switch ((g + 1) * rows / groups - i) {
                DOTS_CASE(1)
                DOTS_CASE(2)
                DOTS_CASE(3)
#if DOT_ROWS > 3
                DOTS_CASE(4)
#endif
            }
        }
    }
    for (int64_t i = 0; i < rows; i++, x += x_stride, out += out_row) {
        dots_of_row(type, count - j, depth, alpha, x, w, j_begin + j, accumulate, out + j * out_col, out_col);
    }
}

// Rows of x against one unpacked row of w, each added up as DOT does: vector after vector of whole groups goes to one
// of `sums` sums in turn.
LR_INLINE void add_dots(const int rows, const int sums, int64_t whole, int64_t depth, const float *x, int64_t x_stride,
                        const float *numbers, lr_vf (*total)[4])
{
    lr_vf sum[ALONE_ROWS][4];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < 4; v++) sum[i][v] = total[i][v];
    int64_t p = 0;
    for (; p < whole; p += sums * LR_WIDTH)
        UNROLL for (int v = 0; v < sums; v++) {
            const lr_vf number = vf_load(numbers + p + v * LR_WIDTH);
            UNROLL for (int i = 0; i < rows; i++) sum[i][v] += number * vf_load(x + i * x_stride + p + v * LR_WIDTH);
        }
    for (; p + LR_WIDTH <= depth; p += LR_WIDTH)
        UNROLL for (int i = 0; i < rows; i++) sum[i][0] += vf_load(numbers + p) * vf_load(x + i * x_stride + p);
    if (p < depth)
        UNROLL for (int i = 0; i < rows; i++)
            sum[i][1] += vf_load_part(numbers + p, depth - p) * vf_load_part(x + i * x_stride + p, depth - p);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < 4; v++) total[i][v] = sum[i][v];
}

#define ADD_CASE(ROWS)                                                                                                 \
    case ROWS:                                                                                                         \
        if (sums == 4) add_dots(ROWS, 4, whole, depth, x, x_stride, numbers, total);                                   \
        else if (sums == 2) add_dots(ROWS, 2, whole, depth, x, x_stride, numbers, total);                              \
        else add_dots(ROWS, 1, whole, depth, x, x_stride, numbers, total);                                             \
        break;

static void add_some_dots(int64_t rows, int64_t group, int64_t depth, const float *x, int64_t x_stride,
                          const float *numbers, lr_vf (*total)[4])
{
    const int64_t sums = group / LR_WIDTH < 4 ? group / LR_WIDTH : 4, whole = depth / group * group;
    for (; rows > 0; rows -= ALONE_ROWS, x += ALONE_ROWS * x_stride, total += ALONE_ROWS) {
        switch (rows < ALONE_ROWS ? rows : ALONE_ROWS) {
            ADD_CASE(1)
            ADD_CASE(2)
#if ALONE_ROWS > 2
            ADD_CASE(3)
            ADD_CASE(4)
#endif
        }
    }
}

// Each row gets the bits that it would get alone.
static void dots_unpacked(int64_t rows, int64_t count, int64_t depth, float alpha, const float *x, int64_t x_stride,
                          const lr_operand *w, int64_t j_begin, bool accumulate, float *out, int64_t out_row,
                          int64_t out_col)
{
    _Alignas(64) float numbers[UNPACK_DOTS];
    for (; rows > MOST_ALONE; rows -= MOST_ALONE, x += MOST_ALONE * x_stride, out += MOST_ALONE * out_row)
        dots_unpacked(MOST_ALONE, count, depth, alpha, x, x_stride, w, j_begin, accumulate, out, out_row, out_col);
    for (int64_t j = 0; j < count; j++) {
        const number_row row = operand_row(w->type, w, j_begin + j);
        float *target = out + j * out_col;
        if (rows == 1) {
            *target = alpha * dot[w->type](x, row, depth) + (accumulate ? *target : 0);
            continue;
        }
        lr_vf total[MOST_ALONE][4] = {{{0}}};
        for (int64_t p = 0; p < depth; p += UNPACK_DOTS) {
            const int64_t run = depth - p < UNPACK_DOTS ? depth - p : UNPACK_DOTS;
            unpack[w->type](numbers, row, p, run);
            add_some_dots(rows, group_of(w->type), run, x + p, x_stride, numbers, total);
        }
        for (int64_t i = 0; i < rows; i++, target += out_row) {
            const float sum = vf_sum((total[i][0] + total[i][1]) + (total[i][2] + total[i][3]));
            *target = alpha * sum + (accumulate ? *target : 0);
        }
    }
}

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

const lr_product_kernels KERNELS = {TILE_ROWS, TILE_COLS, 96, pack, take, tile, dots, sweep, NULL};
