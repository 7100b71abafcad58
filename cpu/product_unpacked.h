// Rows of stored numbers as f32, and products of types with scales beside the numbers, which go on as f32 a few numbers
// at a time. Included by cpu/product_vector.h.
#define UNPACKED 1024 // numbers of a row of w at once
#define AHEAD 4096    // bytes of w that are fetched before they are needed: rows follow one another

#define MOST_ALONE 16 // rows of x
#if LR_WIDTH == 16
#define ALONE_ROWS 4 // of them at once: 16 sums in registers
#else
#define ALONE_ROWS 2
#endif

// Numbers [at, at + n) of a row. Whole groups are unrolled, so that all but the numbers is worked out once.
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
        if (i < n) vf_store_part(target + i, load_some(TYPE, row, at + i, n - i), n - i);                              \
    }

#define UNPACK_PLAIN(NAME, TYPE)                                                                                       \
    static void NAME(float *restrict target, number_row row, int64_t at, int64_t n)                                    \
    {                                                                                                                  \
        int64_t i = 0;                                                                                                 \
        for (; i + LR_WIDTH <= n; i += LR_WIDTH) vf_store(target + i, load_numbers(TYPE, row, at + i));                \
        if (i < n) vf_store_part(target + i, load_some(TYPE, row, at + i, n - i), n - i);                              \
    }

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

UNPACK_PLAIN(unpack_f32, LORA_TYPE_F32)
UNPACK_PLAIN(unpack_f16, LORA_TYPE_F16)
UNPACK_PLAIN(unpack_bf16, LORA_TYPE_BF16)
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

static void (*const unpack_typed[LORA_TYPE_COUNT])(float *target, number_row row, int64_t at, int64_t n) = {
    [LORA_TYPE_F32] = unpack_f32,   [LORA_TYPE_F16] = unpack_f16,   [LORA_TYPE_BF16] = unpack_bf16,
    [LORA_TYPE_INT8] = unpack_int8, [LORA_TYPE_NF4] = unpack_nf4,   [LORA_TYPE_Q8_0] = unpack_q8_0,
    [LORA_TYPE_Q4_0] = unpack_q4_0, [LORA_TYPE_Q4_1] = unpack_q4_1, [LORA_TYPE_Q5_0] = unpack_q5_0,
    [LORA_TYPE_Q5_1] = unpack_q5_1, [LORA_TYPE_Q4_K] = unpack_q4_k, [LORA_TYPE_Q5_K] = unpack_q5_k,
    [LORA_TYPE_Q6_K] = unpack_q6_k,
};

static void unpack(float *target, const lr_operand *w, int64_t row, int64_t at, int64_t n)
{
    unpack_typed[w->type](target, operand_row(w->type, w, row), at, n);
}

static float (*const dot[LORA_TYPE_COUNT])(const float *x, number_row row, int64_t depth) = {
    [LORA_TYPE_INT8] = dot_int8, [LORA_TYPE_NF4] = dot_nf4,   [LORA_TYPE_Q8_0] = dot_q8_0, [LORA_TYPE_Q4_0] = dot_q4_0,
    [LORA_TYPE_Q4_1] = dot_q4_1, [LORA_TYPE_Q5_0] = dot_q5_0, [LORA_TYPE_Q5_1] = dot_q5_1, [LORA_TYPE_Q4_K] = dot_q4_k,
    [LORA_TYPE_Q5_K] = dot_q5_k, [LORA_TYPE_Q6_K] = dot_q6_k,
};

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
    _Alignas(64) float numbers[UNPACKED];
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
        for (int64_t p = 0; p < depth; p += UNPACKED) {
            const int64_t run = depth - p < UNPACKED ? depth - p : UNPACKED;
            unpack(numbers, w, j_begin + j, p, run);
            add_some_dots(rows, group_of(w->type), run, x + p, x_stride, numbers, total);
        }
        for (int64_t i = 0; i < rows; i++, target += out_row) {
            const float sum = vf_sum((total[i][0] + total[i][1]) + (total[i][2] + total[i][3]));
            *target = alpha * sum + (accumulate ? *target : 0);
        }
    }
}
