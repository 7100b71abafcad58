// Dot products along rows of both operands, where they lie, which cpu/product_vector.h includes; f32, f16 and bf16.
#define NEAR_BYTES 12288 // of rows of w that stay in the L1 cache while groups of rows of x pass by
#define MOST_NEAR 2048   // numbers of a row of x that stay in the L1 cache while rows of w pass by

// Loaded once, not by each multiplication that takes it.
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v)
#endif

// Fetches `bytes` of the rows of w that come next, which lie behind one another, into the L2 cache: where several rows
// are read at once, the processor does not see beyond them. A single stream some fetch faster by themselves (w->ahead).
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
    const int64_t group = cols * row_bytes(type, w->stride), ahead = group > w->ahead ? group : w->ahead;
    int64_t p = 0;
    for (; p + BLOCK <= depth; p += BLOCK) {
        if (rows > 1 || w->ahead)
            fetch(w_row[0].bytes + ahead + cols * row_bytes(type, p), cols * row_bytes(type, BLOCK));
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
