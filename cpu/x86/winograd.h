// Tiles by Winograd's inner product ("A New Algorithm for Inner Products", 1968), which trades one of the two
// multiplications of a pair of inner numbers for additions:
//     a1 b1 + a2 b2 = (a1 + b2)(a2 + b1) - a1 a2 - b1 b2
// The last two products depend on one side only, so they are added up once for each row of A and column of B. Where
// additions have units of their own beside FMA's, two of three inner numbers are taken this way and one by FMA, which
// keeps both kinds of units busy: 2 FMAs and 2 additions where plain tiles need 3 FMAs one after the other.
//
// Sums of numbers of A and B keep their bits only if both sides are of one size. So each row of A and column of B is
// balanced: scaled by a power of two, exactly, such that its norm lies in [1, 2); C is scaled back. The error of a
// number of C is then a few eps |row of A| |column of B|, where that of plain sums is a few eps sum |a b|.
#ifndef LR_WINOGRAD_H
#define LR_WINOGRAD_H

#define WINOGRAD_ROWS 12
#define GROUP 3 // inner numbers: a pair and a single one

// The power of two by which numbers with this sum of squares are multiplied: its exponent is half of the sum's.
LR_INLINE lr_vf scale_of(lr_vf squares)
{
    const lr_vi exponent = ((lr_vi)squares >> 23) - 127;
    return (lr_vf)((127 - (exponent >> 1)) << 23);
}

// And by which C is. Zeros give zeros, whatever rounding left, as do numbers whose squares are.
LR_INLINE lr_vf unscale_of(lr_vf scale, lr_vf squares)
{
    return vf_select(squares == 0, vf_set(0), 1 / scale);
}

// Sums of squares and of pairs over `vectors` vectors of a panel's rows.
LR_INLINE void add_up(const int vectors, const float *panel, int64_t width, int64_t depth, lr_vf *squares, lr_vf *pairs)
{
    int64_t p = 0;
    for (; p + GROUP <= depth; p += GROUP)
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *x = panel + p * width + v * LR_WIDTH;
            const lr_vf first = vf_load(x), second = vf_load(x + width), single = vf_load(x + 2 * width);
            squares[v] += first * first + (second * second + single * single);
            pairs[v] += first * second;
        }
    for (; p < depth; p++)
        UNROLL for (int v = 0; v < vectors; v++) {
            const lr_vf x = vf_load(panel + p * width + v * LR_WIDTH);
            squares[v] += x * x;
        }
}

// Rows of the panel are as wide as A's tiles or B's, so the factors of its numbers come again every three vectors, or
// every two.
#define PERIOD 6

static void scale_numbers(float *panel, int64_t width, int64_t count, const float *scale)
{
    float factors[PERIOD * LR_WIDTH];
    for (int64_t i = 0; i < PERIOD * LR_WIDTH; i++) factors[i] = scale[i % width];
    lr_vf factor[PERIOD];
    UNROLL for (int v = 0; v < PERIOD; v++) factor[v] = vf_load(factors + v * LR_WIDTH);
    int64_t i = 0;
    for (; i + PERIOD * LR_WIDTH <= count; i += PERIOD * LR_WIDTH)
        UNROLL for (int v = 0; v < PERIOD; v++) {
            float *x = panel + i + v * LR_WIDTH;
            vf_store(x, factor[v] * vf_load(x));
        }
    for (int64_t j = 0; i + j < count; j++) panel[i + j] *= factors[j];
}

// Each row of A, or column of B, has a lane. Behind the panel goes a row of its sums of a1 a2 and one of what C is
// multiplied by.
static void winograd_balance(float *panel, int64_t width, int64_t depth)
{
    float *extra = panel + depth * width, scale[TILE_COLS];
    lr_vf squares[2] = {{0}}, pairs[2] = {{0}};
    if (width == TILE_COLS) add_up(2, panel, TILE_COLS, depth, squares, pairs);
    else add_up(1, panel, WINOGRAD_ROWS, depth, squares, pairs);
    for (int64_t v = 0; v * LR_WIDTH < width; v++) {
        const int64_t lanes = width - v * LR_WIDTH < LR_WIDTH ? width - v * LR_WIDTH : LR_WIDTH;
        const lr_vf factor = scale_of(squares[v]);
        vf_store(scale + v * LR_WIDTH, factor);
        vf_store_part(extra + v * LR_WIDTH, pairs[v] * factor * factor, lanes);
        vf_store_part(extra + width + v * LR_WIDTH, unscale_of(factor, squares[v]), lanes);
    }
    scale_numbers(panel, width, depth * width, scale);
}

static void winograd_take(float *target, const lr_operand *a, float alpha, int64_t i_begin, int64_t rows,
                          int64_t p_begin, int64_t depth)
{
    take_of(WINOGRAD_ROWS, target, a, alpha, i_begin, rows, p_begin, depth);
}

// A's numbers are spread over a vector by the instructions that take them, which is free, but only if each takes its
// own: `again` is `a`, unknown to the compiler, which would load them once, with an instruction more.
LR_INLINE void winograd_tile_of(int rows, int64_t width, int64_t depth, const float *a, const float *b, bool accumulate,
                                float *c, int64_t c_stride)
{
    const float *again = a;
    __asm__("" : "+r"(again));
    const float *a_pairs = a + depth * WINOGRAD_ROWS, *b_pairs = b + depth * TILE_COLS;
    const float *a_unscale = a_pairs + WINOGRAD_ROWS, *b_unscale = b_pairs + TILE_COLS;
    lr_vf sum[WINOGRAD_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++) {
        sum[i][0] = -a_pairs[i] - vf_load(b_pairs);
        sum[i][1] = -a_pairs[i] - vf_load(b_pairs + LR_WIDTH);
        __builtin_prefetch(c + i * c_stride, 1);
        __builtin_prefetch(c + i * c_stride + (width - 1), 1);
    }
    for (int64_t p = 0; p < depth / GROUP; p++, b += GROUP * TILE_COLS) {
        const lr_vf low1 = vf_load(b), high1 = vf_load(b + LR_WIDTH), low2 = vf_load(b + TILE_COLS),
                    high2 = vf_load(b + TILE_COLS + LR_WIDTH), low3 = vf_load(b + 2 * TILE_COLS),
                    high3 = vf_load(b + 2 * TILE_COLS + LR_WIDTH);
        UNROLL for (int i = 0; i < rows; i++) {
            const float *x = a + i, *y = again + i;
            sum[i][0] += x[2 * WINOGRAD_ROWS] * low3;
            sum[i][1] += y[2 * WINOGRAD_ROWS] * high3;
            sum[i][0] += (x[0] + low2) * (x[WINOGRAD_ROWS] + low1);
            sum[i][1] += (y[0] + high2) * (y[WINOGRAD_ROWS] + high1);
        }
        a += GROUP * WINOGRAD_ROWS;
        again += GROUP * WINOGRAD_ROWS;
    }
    for (int64_t p = 0; p < depth % GROUP; p++, a += WINOGRAD_ROWS, b += TILE_COLS) {
        const lr_vf low = vf_load(b), high = vf_load(b + LR_WIDTH);
        UNROLL for (int i = 0; i < rows; i++) {
            sum[i][0] += a[i] * low;
            sum[i][1] += a[i] * high;
        }
    }
    const lr_vf low = vf_load(b_unscale), high = vf_load(b_unscale + LR_WIDTH);
    UNROLL for (int i = 0; i < rows; i++) {
        sum[i][0] *= a_unscale[i] * low;
        sum[i][1] *= a_unscale[i] * high;
    }
    put_tile(rows, width, sum, accumulate, c, c_stride);
}

#define WINOGRAD_CASE(ROWS)                                                                                            \
    case ROWS: winograd_tile_of(ROWS, width, depth, a, b, accumulate, c, c_stride); break;

static void winograd_tile(int64_t rows, int64_t width, int64_t depth, const float *a, const float *b, bool accumulate,
                          float *c, int64_t c_stride)
{
    switch (rows) {
        CASES_TO_6(WINOGRAD_CASE)
        CASES_TO_12(WINOGRAD_CASE)
    }
}

const lr_product_kernels lr_product_winograd = {
    WINOGRAD_ROWS, TILE_COLS, 48, pack, unpack, winograd_take, winograd_tile, dots, sweep,
    winograd_balance};

#endif
