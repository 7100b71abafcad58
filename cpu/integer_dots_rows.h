// The rest of the text of `dots` (cpu/integer_kernels.h), behind what an instruction set says of dots_block, which
// holds 256 numbers, DOT_ROWS = 4, columns_of(type) <= DOT_COLUMNS <= 2, and dots_of for that many rows of A: what is
// left to add up of each with that many rows of w, `apart` bytes from one another. Bytes up to `end`, behind the last
// row of w, may be read.

// The first `count` of four columns: factors times the sums of four vectors.
LR_INLINE void put_four(int64_t count, lr_quad factors, lr_vf a, lr_vf b, lr_vf c, lr_vf d, bool accumulate,
                        float *target)
{
    put_quad(count, factors * sum_of_each(fold(a), fold(b), fold(c), fold(d)), accumulate, target, 1);
}

LR_INLINE void dots_typed(lora_type type, int64_t m, int64_t count, const lr_product_term *term,
                          const dots_block *blocks, int64_t j, bool accumulate, float *c, int64_t c_stride)
{
    const int64_t a_row = (term->k + SUPER - 1) / SUPER, last = j + count;
    const uint8_t *end = row_at(type, term->b.data, NULL, term->b.stride, last - 1).bytes + row_bytes(type, term->k);
    for (int64_t column = j; column < last; column += 4) {
        const int64_t columns = last - column < 4 ? last - column : 4;
        for (int64_t i = 0, some; i < m; i += some) {
            const dots_block *rows = blocks + i * a_row;
            some = m - i >= 4 ? 4 : m - i >= 2 ? 2 : 1;
            lr_vf sums[4][DOT_ROWS];
            lr_quad factors = {1, 1, 1, 1};
            for (int64_t q = 0; q < columns; q++)
                if (type == LORA_TYPE_INT8) factors[q] = term->b.scales[column + q];
            for (int64_t q = columns; q < 4; q++)
                for (int64_t r = 0; r < some; r++) sums[q][r] = vf_set(0);
            for (int64_t q = 0; q < columns; q += columns_of(type)) {
                const uint8_t *w = row_at(type, term->b.data, NULL, term->b.stride, column + q).bytes;
                const int64_t apart = columns - q < columns_of(type) ? 0 : row_bytes(type, term->b.stride);
                switch (some) {
                case 1: dots_of(type, 1, w, apart, end, term, rows, a_row, sums + q); break;
                case 2: dots_of(type, 2, w, apart, end, term, rows, a_row, sums + q); break;
                default: dots_of(type, 4, w, apart, end, term, rows, a_row, sums + q); break;
                }
            }
            for (int64_t r = 0; r < some; r++)
                put_four(columns, factors, sums[0][r], sums[1][r], sums[2][r], sums[3][r], accumulate,
                         c + (i + r) * c_stride + column);
        }
    }
}

#define DOTS_CASE(TYPE)                                                                                                \
    case TYPE: dots_typed(TYPE, m, count, term, blocks, j, accumulate, c, c_stride); break;

static void dots(int64_t m, int64_t count, const lr_product_term *term, const void *blocks, int64_t j, bool accumulate,
                 float *c, int64_t c_stride)
{
    switch (term->b.type) {
        DOTS_CASE(LORA_TYPE_INT8)
        DOTS_CASE(LORA_TYPE_Q8_0)
        DOTS_CASE(LORA_TYPE_Q4_0)
        DOTS_CASE(LORA_TYPE_Q4_1)
        DOTS_CASE(LORA_TYPE_Q5_0)
        DOTS_CASE(LORA_TYPE_Q5_1)
        DOTS_CASE(LORA_TYPE_Q4_K)
        DOTS_CASE(LORA_TYPE_Q5_K)
    default: dots_typed(LORA_TYPE_Q6_K, m, count, term, blocks, j, accumulate, c, c_stride); break;
    }
}
