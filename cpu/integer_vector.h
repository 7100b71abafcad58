// The text of the kernels in cpu/integer_kernels.h for vectors of LR_WIDTH lanes. A lane holds STEP numbers: 16 numbers
// are a vector. The file that includes this defines
//   LR_WIDTH, number     the type of numbers in a lane,
//   ROWS                 of a panel of A and C: 2 * ROWS sums stay in registers,
//   PRODUCT              the f32 kernels of the same instruction set, whose panels of B are as wide,
//   KERNELS              the name of the table,
//   HALF_BYTES           its kernels for types of 4 bits, if it has them,
//   fine                 sixteen numbers of 15 bits,
// and the functions add_products, put_fine, fine_products, after cpu/integer_groups.h.
#define STEP (16 / LR_WIDTH)
#include "cpu/integer_panels.h"

// ---- B -------------------------------------------------------------------------------------------------------------

// A group of a panel: lanes [step][column].
typedef struct b_group {
    int32_t lanes[STEPS][COLS];
    float scale[COLS], offset[COLS];
} b_group;

static bool rounds_again(const lr_operand *b)
{
    return b->type != LORA_TYPE_INT8 && (!b->transposed || b->type == LORA_TYPE_Q6_K);
}

// Half `h` of a group of LR_WIDTH columns, beside one another.
LR_INLINE void put_columns(b_group *group, int h, int64_t column, const lr_vf *columns)
{
    lr_vf v[LR_WIDTH];
    UNROLL for (int i = 0; i < LR_WIDTH; i++) v[i] = columns[i];
    vf_transpose(v);
    UNROLL for (int i = 0; i < LR_WIDTH; i++) vf_store(&group->lanes[h * LR_WIDTH + i][column], v[i]);
}

// B as [n, k], whose integers are taken as they are: up to 256 numbers of LR_WIDTH columns from `column` on.
LR_INLINE void pack_rows(lora_type type, b_group *group, const uint8_t *rows, int64_t row_stride, int64_t there,
                         int64_t column, int64_t width)
{
    group_scales scales[LR_WIDTH] = {{{0}, {0}}};
    const int groups = there < SUPER ? (int)(there + BLOCK - 1) / BLOCK : SUPER_GROUPS;
    for (int64_t i = 0; i < width; i++) load_group_scales(type, rows + i * row_stride, groups, &scales[i]);
    for (int g = 0; g < groups; g++, group++) {
        lr_vf numbers[2][LR_WIDTH] = {{{0}}};
        for (int64_t i = 0; i < LR_WIDTH; i++) {
            group->scale[column + i] = scales[i].scale[g];
            group->offset[column + i] = scales[i].offset[g];
        }
        for (int64_t i = 0; i < width; i++) {
            const uint8_t *row = rows + i * row_stride;
            uint8_t end[SUPER] = {0};
            if (type == LORA_TYPE_INT8 && there < SUPER) row = memcpy(end, row, (size_t)there);
            numbers[0][i] = (lr_vf)(load_half_group(type, row, g, 0) - zero_of(type));
            numbers[1][i] = (lr_vf)(load_half_group(type, row, g, 1) - zero_of(type));
        }
        put_columns(group, 0, column, numbers[0]);
        put_columns(group, 1, column, numbers[1]);
    }
}

#define PACK_CASE(TYPE)                                                                                                \
    case TYPE: pack_rows(TYPE, group, rows, row_stride, there, column, width); break;

static void pack_some_rows(b_group *group, const lr_operand *b, int64_t p, int64_t there, int64_t j, int64_t column,
                           int64_t width)
{
    const uint8_t *rows = (const uint8_t *)b->data + row_bytes(b->type, (j + column) * b->stride + p);
    const int64_t row_stride = row_bytes(b->type, b->stride);
    switch (b->type) {
        PACK_CASE(LORA_TYPE_INT8)
        PACK_CASE(LORA_TYPE_Q8_0)
        PACK_CASE(LORA_TYPE_Q5_0)
        PACK_CASE(LORA_TYPE_Q5_1)
#ifndef HALF_BYTES
        PACK_CASE(LORA_TYPE_Q4_0)
        PACK_CASE(LORA_TYPE_Q4_1)
        PACK_CASE(LORA_TYPE_Q4_K)
#endif
    default: pack_rows(LORA_TYPE_Q5_K, group, rows, row_stride, there, column, width); break;
    }
}

// INT8 as [k, n].
static void pack_columns(b_group *group, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    for (int64_t at = 0; at < depth; at += BLOCK, group++)
        for (int64_t s = 0; s < STEPS; s++) {
            number lanes[COLS][STEP] = {{0}};
            for (int64_t i = 0; i < STEP && at + s * STEP + i < depth; i++) {
                const int8_t *row = (const int8_t *)b->data + (p + at + s * STEP + i) * b->stride + j;
                for (int64_t column = 0; column < width; column++) lanes[column][i] = row[column];
            }
            memcpy(group->lanes[s], lanes, sizeof lanes);
        }
}

// LR_WIDTH columns of a group of f32 numbers, rounded to 8 bits.
LR_INLINE void round_columns(b_group *group, const float *values, int64_t column)
{
    lr_vf greatest = vf_set(0);
    for (int q = 0; q < BLOCK; q++) greatest = vf_maximum(greatest, vf_absolute(vf_load(values + q * COLS)));
    const lr_vf inverse = vf_select(greatest > 0, 127 / greatest, vf_set(0));
    vf_store(group->scale + column, greatest / 127);
    vf_store(group->offset + column, vf_set(0));
    for (int s = 0; s < STEPS; s++) {
        const int bits = 32 / STEP;
        lr_vu lane = {0};
        UNROLL for (int i = STEP - 1; i >= 0; i--) {
            const lr_vi q = to_integers(vf_load(values + (s * STEP + i) * COLS) * inverse);
            lane = lane << bits | ((lr_vu)q & ((1u << bits) - 1));
        }
        memcpy(group->lanes[s] + column, &lane, sizeof lane);
    }
}

// Any type, by way of f32.
static void pack_rounded(b_group *group, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    _Alignas(64) float values[BLOCK * COLS];
    for (int64_t at = 0; at < depth; at += BLOCK, group++) {
        const int64_t some = depth - at < BLOCK ? depth - at : BLOCK;
        PRODUCT.pack(values, b, p + at, some, j, width);
        memset(values + some * COLS, 0, (size_t)(BLOCK - some) * COLS * sizeof *values);
        round_columns(group, values, 0);
        round_columns(group, values + LR_WIDTH, LR_WIDTH);
    }
}

static void pack(void *target, const lr_operand *b, int64_t p, int64_t depth, int64_t j, int64_t width)
{
    b_group *group = target;
    if (rounds_again(b)) {
        pack_rounded(group, b, p, depth, j, width);
    } else if (!b->transposed) {
        pack_columns(group, b, p, depth, j, width);
    } else {
        for (int64_t at = 0; at < depth; at += SUPER, group += SUPER_GROUPS)
            for (int64_t column = 0; column < COLS; column += LR_WIDTH) {
                const int64_t some = width - column < LR_WIDTH ? width - column : LR_WIDTH;
                pack_some_rows(group, b, p + at, depth - at, j, column, some);
            }
    }
}

// ---- C -------------------------------------------------------------------------------------------------------------

LR_INLINE lr_vi spread(int32_t lane)
{
    return lane - (lr_vi){0};
}

LR_INLINE void multiply_groups(const bool scaled, const bool with_offset, int64_t groups, const a_group *a,
                               const b_group *b, lr_vf sum[ROWS][2])
{
    for (; groups > 0; groups--, a++, b++) {
        lr_vi dot[ROWS][2] = {{{0}}};
        for (int s = 0; s < STEPS; s++) {
            const lr_vi low = vi_load(b->lanes[s]), high = vi_load(b->lanes[s] + LR_WIDTH);
            UNROLL for (int r = 0; r < ROWS; r++) {
                const lr_vi x = spread(a->lanes[s][r]);
                dot[r][0] = add_products(dot[r][0], low, x);
                dot[r][1] = add_products(dot[r][1], high, x);
            }
        }
        UNROLL for (int v = 0; v < 2; v++) {
            const lr_vf scale = vf_load(b->scale + v * LR_WIDTH), offset = vf_load(b->offset + v * LR_WIDTH);
            UNROLL for (int r = 0; r < ROWS; r++) {
                lr_vf value = to_floats(dot[r][v]);
                if (scaled) value *= scale;
                sum[r][v] += value * a->scale[r];
                if (with_offset) sum[r][v] += offset * a->sum[r];
            }
        }
    }
}

static void multiply(int64_t rows, int64_t width, int64_t blocks, const void *a, const void *packed,
                     const lr_operand *b, int64_t j, bool accumulate, float *c, int64_t c_stride)
{
    const float *factors = b->type == LORA_TYPE_INT8 && b->transposed ? b->scales + j : NULL;
    lr_vf sum[ROWS][2] = {{{0}}};
    if (b->type == LORA_TYPE_INT8)
        multiply_groups(false, false, blocks, a, packed, sum);
    else if (has_offset(b->type) && !rounds_again(b))
        multiply_groups(true, true, blocks, a, packed, sum);
    else
        multiply_groups(true, false, blocks, a, packed, sum);
    put_sums(rows, width, sum, factors, accumulate, c, c_stride);
}

// ---- dots ----------------------------------------------------------------------------------------------------------

#define DOT_COLUMNS 1 // of B at a time
#define DOT_ROWS 4    // of A
#define AHEAD 1024    // bytes of B that are fetched before they are needed

// 256 numbers of a row of A, in groups of 32.
typedef struct dots_block {
    fine numbers[2 * SUPER_GROUPS];
    float scale[SUPER_GROUPS];
    float sum[SUPER_GROUPS]; // scale * the sum of the numbers
    float halved_scale[2 * SUPER_GROUPS]; // of half groups, as Q6_K wants them
} dots_block;

static void split(void *blocks, const lr_product_term *term, int64_t row)
{
    const float *x = (const float *)term->a.data + row * term->a.stride;
    const float alpha = term->b.type == LORA_TYPE_INT8 ? term->alpha / 127 : term->alpha; // 127ths of their scale
    dots_block *block = blocks;
    for (int64_t p = 0; p < term->k; p += SUPER, block++)
        for (int g = 0; g < SUPER_GROUPS; g++) {
            const int64_t at = p + g * BLOCK;
            int32_t q[BLOCK];
            block->scale[g] = round_row(q, 16256, x + at, NULL, alpha, term->k - at); // 127 * 128
            block->sum[g] = block->scale[g] * (float)sum_of(q);
            block->halved_scale[2 * g] = block->halved_scale[2 * g + 1] = block->scale[g];
            put_fine(&block->numbers[2 * g], q);
            put_fine(&block->numbers[2 * g + 1], q + 16);
        }
}

LR_INLINE int columns_of(lora_type type)
{
    return 1;
}

// A's scales times B's, of a group or, of Q6_K, of half a group.
LR_INLINE void multiply_scales(lora_type type, const group_scales *b, const dots_block *a, float *scale)
{
    const bool halved = type == LORA_TYPE_Q6_K;
    for (int v = 0; v < (halved ? 2 : 1) * SUPER_GROUPS; v += LR_WIDTH) {
        const lr_vf of_a = vf_load((halved ? a->halved_scale : a->scale) + v);
        vf_store(scale + v, type == LORA_TYPE_INT8 ? of_a : of_a * vf_load(b->scale + v));
    }
}

// Whether numbers are multiplied before zero_of(type) is subtracted: what is too much is known for a whole group.
LR_INLINE bool subtracts_late(lora_type type)
{
    return zero_of(type) && type != LORA_TYPE_Q6_K;
}

LR_INLINE void add_group(lora_type type, const int rows, int g, const uint8_t *w, const dots_block *x, int64_t a_row,
                         float scale[DOT_ROWS][2 * SUPER_GROUPS], lr_vf sum[DOT_ROWS][2])
{
    const uint8_t zero = subtracts_late(type) ? 0 : zero_of(type);
    const lr_vi low = (lr_vi)(load_half_group(type, w, g, 0) - zero);
    const lr_vi high = (lr_vi)(load_half_group(type, w, g, 1) - zero);
    UNROLL for (int r = 0; r < rows; r++) {
        const dots_block *block = x + r * a_row;
        const lr_vi first = fine_products(low, &block->numbers[2 * g]);
        const lr_vi second = fine_products(high, &block->numbers[2 * g + 1]);
        if (type == LORA_TYPE_Q6_K) {
            sum[r][0] += to_floats(first) * scale[r][2 * g];
            sum[r][1] += to_floats(second) * scale[r][2 * g + 1];
        } else {
            sum[r][g % 2] += to_floats(first + second) * scale[r][g];
        }
    }
}

// What the scales and offsets of 256 numbers give, before these.
LR_INLINE void begin_groups(lora_type type, const int rows, const uint8_t *w, const dots_block *x, int64_t a_row,
                            float scale[DOT_ROWS][2 * SUPER_GROUPS], lr_vf sum[DOT_ROWS][2])
{
    group_scales s;
    load_group_scales(type, w, SUPER_GROUPS, &s);
    UNROLL for (int r = 0; r < rows; r++) multiply_scales(type, &s, x + r * a_row, scale[r]);
    if (!has_offset(type) && !subtracts_late(type)) return;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < SUPER_GROUPS; v += LR_WIDTH) {
            const lr_vf late = -(float)zero_of(type) * vf_load(s.scale + v);
            sum[r][0] += (has_offset(type) ? vf_load(s.offset + v) : late) * vf_load(x[r * a_row].sum + v);
        }
}

// The last ones of a row of small blocks.
LR_INLINE void add_last_groups(lora_type type, const int rows, int64_t groups, const uint8_t *w, const dots_block *x,
                               int64_t a_row, lr_vf sum[DOT_ROWS][2])
{
    float scale[DOT_ROWS][2 * SUPER_GROUPS];
    for (int g = 0; g < groups; g++) {
        const uint8_t *block = w + g * row_bytes(type, BLOCK);
        const float of_b = type == LORA_TYPE_INT8 ? 1 : half_at(block);
        const float offset = has_offset(type) ? half_at(block + 2) : -(float)zero_of(type) * of_b;
        UNROLL for (int r = 0; r < rows; r++) {
            const dots_block *a = x + r * a_row;
            scale[r][g] = a->scale[g] * of_b;
            if (has_offset(type) || subtracts_late(type)) sum[r][0] += (lr_vf){offset * a->sum[g]};
        }
        add_group(type, rows, g, w, x, a_row, scale, sum);
    }
}

// Groups of 256 numbers follow one another in the code, and the scales of the next ones are on their way meanwhile.
LR_INLINE void dots_of(lora_type type, const int rows, const uint8_t *w, int64_t apart, const uint8_t *end,
                       const lr_product_term *term, const dots_block *x, int64_t a_row,
                       lr_vf sums[DOT_COLUMNS][DOT_ROWS])
{
    const int64_t ahead = AHEAD + term->b.ahead;
    int64_t depth = term->k;
    float scale[2][DOT_ROWS][2 * SUPER_GROUPS];
    lr_vf sum[DOT_ROWS][2];
    UNROLL for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = vf_set(0);
    const int64_t whole = type < LORA_TYPE_Q4_K ? SUPER : 1; // a row of blocks of 256 ends with a whole one
    if (depth >= whole) begin_groups(type, rows, w, x, a_row, scale[0], sum);
    for (int turn = 0; depth >= whole; depth -= SUPER, w += row_bytes(type, SUPER), x++, turn = !turn) {
        for (int line = 0; line < row_bytes(type, SUPER); line += 64) __builtin_prefetch(w + ahead + line);
        if (depth - SUPER >= whole)
            begin_groups(type, rows, w + row_bytes(type, SUPER), x + 1, a_row, scale[!turn], sum);
        UNROLL for (int g = 0; g < SUPER_GROUPS; g++) add_group(type, rows, g, w, x, a_row, scale[turn], sum);
    }
    if (depth > 0 && type < LORA_TYPE_Q4_K) {
        uint8_t whole_block[SUPER] = {0};
        if (type == LORA_TYPE_INT8) w = memcpy(whole_block, w, (size_t)depth);
        add_last_groups(type, rows, (depth + BLOCK - 1) / BLOCK, w, x, a_row, sum);
    }
    UNROLL for (int r = 0; r < rows; r++) sums[0][r] = sum[r][0] + sum[r][1];
}

#include "cpu/integer_dots_rows.h"

const lr_integer_kernels KERNELS = {
    .rows = ROWS,
    .cols = COLS,
    .block = BLOCK,
    .a_bytes = sizeof(a_group),
    .b_bytes = sizeof(b_group),
    .dots_bytes = sizeof(dots_block),
    .take = take,
    .pack = pack,
    .multiply = multiply,
    .split = split,
    .dots = dots,
#ifdef HALF_BYTES
    .half_bytes = HALF_BYTES,
#endif
};
