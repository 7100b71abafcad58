// Packed operands, which cpu/product_vector.h includes: panels of A and B, and the product of two.
#define UNPACK_PACK 128 // numbers of each of a panel's rows that are turned into f32 at once

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
            unpack(target, b, p_begin + p, j_begin, width);
            for (int64_t j = width; j < TILE_COLS; j++) target[j] = 0;
        }
        return;
    }
    const lr_operand rows = {
        .data = numbers, .stride = UNPACK_PACK + LR_WIDTH, .type = LORA_TYPE_F32, .transposed = true};
    for (int64_t p = 0; p < depth; p += UNPACK_PACK) {
        int64_t some = depth - p < UNPACK_PACK ? depth - p : UNPACK_PACK;
        for (int64_t j = 0; j < width; j++)
            unpack(numbers + j * rows.stride, b, j_begin + j, p_begin + p, some);
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
