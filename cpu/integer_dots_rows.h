// The rest of the text of `dots` (cpu/integer_kernels.h), behind what an instruction set says of dots_block, which holds 256
// numbers, DOT_ROWS <= 4, and dots_of for that many rows of A.

LR_INLINE void dots_typed(lora_type type, int64_t m, int64_t count, const lr_product_term *term,
                          const dots_block *blocks, int64_t j, bool accumulate, float *c, int64_t c_stride)
{
    const int64_t a_row = (term->k + SUPER - 1) / SUPER;
    for (int64_t column = j; column < j + count; column++) {
        const number_row w = row_at(type, term->b.data, term->b.scales, term->b.stride, column);
        const float factor = type == LORA_TYPE_INT8 ? *w.scales : 1;
        for (int64_t i = 0; i < m; i += DOT_ROWS) {
            const dots_block *rows = blocks + i * a_row;
            const int64_t some = m - i < DOT_ROWS ? m - i : DOT_ROWS;
            float sums[DOT_ROWS];
            switch (some) {
            case 1: dots_of(type, 1, w.bytes, term->k, rows, a_row, sums); break;
            case 2: dots_of(type, 2, w.bytes, term->k, rows, a_row, sums); break;
            case 3: dots_of(type, 3, w.bytes, term->k, rows, a_row, sums); break;
            default: dots_of(type, 4, w.bytes, term->k, rows, a_row, sums); break;
            }
            for (int64_t r = 0; r < some; r++) {
                float *target = c + (i + r) * c_stride + column;
                *target = sums[r] * factor + (accumulate ? *target : 0);
            }
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
