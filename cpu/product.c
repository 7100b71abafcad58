// C = sum of alpha op(A) op(B).
//
// Packed: the inner dimension is cut into stretches. For each, A is packed once, into panels of a tile's rows. B's
// columns are cut into groups such that a group, packed into panels too, fits a core's L2 cache. Each thread has a
// lane: a buffer for one group. It packs a group and multiplies runs of A's panels with it; B's packed numbers never
// pass from one core to another. With few rows nothing is packed: B is read once, where it lies, in its own type.
//
// Every number of C is added up in an order that depends on the sizes alone, whoever computes it.
#include "cpu/product.h"

#include "cpu/bf16_product.h"
#include "cpu/cut.h"
#include "cpu/integer_dots.h"
#include "cpu/integer_product.h"
#include "cpu/ops.h"
#include "cpu/product_kernels.h"
#include "cpu/rows_product.h"

#include <string.h>

#define STRETCH 1024            // inner numbers packed at once, at most
#define LANE_BYTES (688 << 10)  // a packed group
#define MOST_DEPTH 608          // inner numbers that a tile takes at once, at most
#define NEAR_FLOATS 7424        // of A, that a tile reads from the L1 cache
#define MOST_EXTRA (2 * LR_PRODUCT_EXTRA) // rows behind the parts, two at most, of a panel
#define MOST_ROWS 2048          // of A, packed at once
#define THIN 128                // inner numbers: writing C is the work
#define MOST_COLS 32            // widest panel of any instruction set
#define MOST_TILE_ROWS 14       // and rows of a tile
#define LEAST_TILE_ROWS 6
#define FEW_ROWS 8              // up to here nothing is packed
#define FEW_DOT_ROWS 16         // the same where B lies transposed
#define SHORT_INNER 1024        // with rows of B so short that four stay in the L1 cache while A's pass by, more
#define STREAM_AHEAD 8192       // bytes, of weights that one row of A passes by

typedef struct product_job {
    const lr_product_kernels *kernels;
    const lr_product_term *terms;
    int32_t count;
    int64_t m, n;
    bool accumulate; // C holds something already: given, or from the stretches before
    float *c;
    int64_t c_stride;
    const lr_finish *finish; // with few rows
    int64_t p_begin, depth; // this stretch of the inner dimension
    int64_t part, extra;    // inner numbers that a tile takes at once, and rows behind so many
    int64_t a_floats, b_floats; // of a panel of A and B
    lr_cut cut;
    float *a; // [row_panels][a_floats]
} product_job;

// `total` in equal parts of at most `limit`, whole groups of 32 numbers.
static int64_t equal_part(int64_t total, int64_t limit)
{
    return lr_pieces(lr_pieces(total, lr_pieces(total, limit)), 32) * 32;
}

const lr_product_kernels *lr_product_kernels_for(int32_t features)
{
#if defined(__x86_64__)
    if (features & LORA_CPU_AVX512) return &lr_product_avx512;
    if (features & LORA_CPU_AVX2) return &lr_product_avx2;
#elif defined(__aarch64__)
    if (features & LORA_CPU_NEON) return &lr_product_neon;
#endif
    return &lr_product_plain;
}

// Winograd's where units for additions are idle beside those for FMA, and for numbers without scales, which may be of
// very different sizes.
static const lr_product_kernels *kernels_for_packed(const lora_device *device, const lr_product_term *terms,
                                                    int64_t inner)
{
#if defined(__x86_64__)
    const int32_t needed = LORA_CPU_AVX512 | LORA_CPU_ADD_UNITS;
    if ((device->features & needed) == needed && terms[0].b.type <= LORA_TYPE_BF16 && inner > THIN)
        return &lr_product_winograd;
#endif
    return lr_product_kernels_for(device->features);
}

static uint64_t lane_bytes(int64_t cols, int64_t inner)
{
    uint64_t bytes;
    uint64_t padded = (uint64_t)lr_pieces(cols, MOST_COLS) * MOST_COLS,
             depth = (uint64_t)lr_pieces(inner, 32) * 32 + MOST_EXTRA;
    return lr_multiply(padded, depth * sizeof(float), &bytes) && bytes < LANE_BYTES ? bytes : LANE_BYTES;
}

// Of A's panels, of at most MOST_ROWS rows.
static uint64_t a_bytes(int64_t rows, int64_t inner)
{
    const int64_t some = lr_smaller(rows, MOST_ROWS),
                  depth = lr_smaller(lr_pieces(inner, 32) * 32, STRETCH) + MOST_EXTRA;
    return (uint64_t)((some + MOST_TILE_ROWS) * depth + (some / LEAST_TILE_ROWS + 1) * LR_PRODUCT_SLACK) *
           sizeof(float);
}

uint64_t lr_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_cols, int64_t max_inner,
                              bool only_f32)
{
    uint64_t packed = (uint64_t)device->threads * lane_bytes(max_cols, max_inner) + a_bytes(max_rows, max_inner);
    if (only_f32) return packed;
    uint64_t tiles = lr_bf16_product_workspace(device, max_rows, max_inner);
    uint64_t integers = lr_integer_product_workspace(device, max_rows, max_inner);
    uint64_t dots = lr_integer_dots_workspace(device, max_inner);
    uint64_t rows = lr_rows_product_workspace(device, max_inner), most = packed > tiles ? packed : tiles;
    most = most > integers ? most : integers;
    most = most > dots ? most : dots;
    return most > rows ? most : rows;
}

// ---- packed --------------------------------------------------------------------------------------------------------

static int64_t panel_width(const product_job *job, bool of_a)
{
    return of_a ? job->kernels->tile_rows : job->kernels->tile_cols;
}

// Inner numbers [p, p + depth) of a panel of A or B, the terms below one another.
static void fill_part(const product_job *job, bool of_a, float *part, int64_t panel, int64_t p, int64_t depth)
{
    const lr_product_kernels *kernels = job->kernels;
    const int64_t width = panel_width(job, of_a), first = panel * width,
                  count = lr_smaller(width, (of_a ? job->m : job->n) - first);
    float *target = part;
    int64_t begin = 0;
    for (int32_t t = 0; t < job->count; begin += job->terms[t++].k) {
        const lr_product_term *term = &job->terms[t];
        const int64_t at = lr_larger(p, begin), some = lr_smaller(p + depth, begin + term->k) - at;
        if (some <= 0) continue;
        if (of_a) kernels->take(target, &term->a, term->alpha, first, count, at - begin, some);
        else kernels->pack(target, &term->b, at - begin, some, first, count);
        target += some * width;
    }
    if (kernels->balance) kernels->balance(part, width, depth);
}

static void fill_panel(const product_job *job, bool of_a, float *target, int64_t panel)
{
    const int64_t floats = (job->part + job->extra) * panel_width(job, of_a);
    for (int64_t p = 0; p < job->depth; p += job->part, target += floats)
        fill_part(job, of_a, target, panel, job->p_begin + p, lr_smaller(job->part, job->depth - p));
}

static void take_panel(int64_t panel, void *argument)
{
    const product_job *job = argument;
    fill_panel(job, true, job->a + panel * job->a_floats, panel);
}

static void run_piece(int64_t index, void *room, void *argument)
{
    const product_job *job = argument;
    const lr_product_kernels *kernels = job->kernels;
    const lr_piece piece = lr_cut_piece(&job->cut, index);
    const int64_t m = kernels->tile_rows, n = kernels->tile_cols, inner = job->part + job->extra;
    float *packed = room;
    for (int64_t q = piece.panel; q < piece.panel_end; q++)
        fill_panel(job, false, packed + (q - piece.panel) * job->b_floats, q);
    for (int64_t row = piece.row; row < piece.row_end; row++) {
        const float *a = job->a + row * job->a_floats, *b = packed;
        for (int64_t p = 0; p < job->depth; p += job->part, a += inner * m, b += inner * n)
            for (int64_t q = piece.panel; q < piece.panel_end; q++)
                kernels->tile(lr_smaller(m, job->m - row * m), lr_smaller(n, job->n - q * n),
                              lr_smaller(job->part, job->depth - p), a, b + (q - piece.panel) * job->b_floats,
                              job->accumulate || p > 0, job->c + row * m * job->c_stride + q * n, job->c_stride);
    }
}

// At most MOST_ROWS rows of C.
static void packed_rows(lora_device *device, product_job *job, int64_t inner)
{
    const lr_product_kernels *kernels = job->kernels;
    const int64_t stretch = equal_part(inner, STRETCH), b_bytes = (stretch + MOST_EXTRA) * kernels->tile_cols * 4;
    const uint64_t lane = lane_bytes(job->n, inner);
    job->a = (float *)(void *)(device->workspace + (uint64_t)device->threads * lane);
    job->extra = kernels->balance ? LR_PRODUCT_EXTRA : 0;
    job->cut = lr_cut_product(device->threads, job->m, kernels->tile_rows, job->n, kernels->tile_cols,
                              lr_larger(1, LANE_BYTES / b_bytes));
    for (job->p_begin = 0; job->p_begin < inner; job->p_begin += stretch) {
        job->depth = lr_smaller(stretch, inner - job->p_begin);
        job->part = equal_part(job->depth, lr_smaller(MOST_DEPTH, NEAR_FLOATS / kernels->tile_rows));
        const int64_t rows = job->depth + lr_pieces(job->depth, job->part) * job->extra;
        job->a_floats = rows * kernels->tile_rows + LR_PRODUCT_SLACK;
        job->b_floats = rows * kernels->tile_cols;
        lr_cpu_parallel(device, job->cut.row_panels, take_panel, job);
        lr_cpu_lanes(device, lr_cut_pieces(&job->cut), lane, NULL, run_piece, job);
        job->accumulate = true;
    }
}

static void packed_product(lora_device *device, const product_job *whole, int64_t inner)
{
    lr_product_term terms[LR_PRODUCT_TERMS];
    const int64_t blocks = lr_pieces(whole->m, MOST_ROWS), rows = lr_pieces(whole->m, blocks);
    for (int64_t i = 0; i < whole->m; i += rows) {
        product_job job = *whole;
        lr_terms_from_row(terms, whole->terms, job.count, i);
        job.terms = terms;
        job.m = lr_smaller(rows, whole->m - i);
        job.c += i * job.c_stride;
        packed_rows(device, &job, inner);
    }
}

// ---- OpenBLAS ------------------------------------------------------------------------------------------------------

typedef struct slice_job {
    const lr_openblas *blas;
    const product_job *product;
    int64_t slices;
} slice_job;

// Rows [i, end) of C, each term after the other.
static void slice_piece(int64_t index, void *argument)
{
    const slice_job *slice = argument;
    const product_job *job = slice->product;
    int64_t i = index * job->m / slice->slices, end = (index + 1) * job->m / slice->slices;
    for (int32_t t = 0; t < job->count; t++) {
        const lr_product_term *term = &job->terms[t];
        const float *a = (const float *)term->a.data + (term->a.transposed ? i : i * term->a.stride);
        lr_openblas_product(slice->blas, end - i, job->n, term->k, term->alpha, a, term->a.stride, term->a.transposed,
                            term->b.data, term->b.stride, term->b.transposed, job->accumulate || t > 0,
                            job->c + i * job->c_stride, job->c_stride);
    }
}

static bool suits_openblas(const product_job *job)
{
    int64_t most = lr_larger(lr_larger(job->m, job->n), job->c_stride);
    for (int32_t t = 0; t < job->count; t++) {
        const lr_product_term *term = &job->terms[t];
        if (term->b.type != LORA_TYPE_F32) return false;
        most = lr_larger(most, lr_larger(term->k, lr_larger(term->a.stride, term->b.stride)));
    }
    return most <= INT32_MAX;
}

static void sliced_product(lora_device *device, const product_job *job)
{
    slice_job slice = {&device->openblas, job, lr_smaller(device->threads, job->m)};
    lr_cpu_parallel(device, slice.slices, slice_piece, &slice);
}

// ---- few rows --------------------------------------------------------------------------------------------------

typedef struct few_rows_job {
    const product_job *product;
    int64_t piece; // columns of C in a piece
} few_rows_job;

static void begin_few_rows(const lr_lane *lane, void *argument)
{
    const lr_finish *finish = ((const few_rows_job *)argument)->product->finish;
    if (finish) finish->begin(lane, finish->argument);
}

static void few_rows_piece(int64_t index, void *room, void *argument)
{
    (void)room;
    const few_rows_job *few = argument;
    const product_job *job = few->product;
    int64_t j = index * few->piece, width = lr_smaller(few->piece, job->n - j);
    for (int32_t t = 0; t < job->count; t++) {
        const lr_product_term *term = &job->terms[t];
        bool accumulate = job->accumulate || t > 0;
        int64_t a_row = term->a.transposed ? 1 : term->a.stride, a_col = term->a.transposed ? term->a.stride : 1;
        if (term->b.transposed)
            job->kernels->dots(job->m, width, term->k, term->alpha, term->a.data, term->a.stride, &term->b, j,
                               accumulate, job->c + j, job->c_stride, 1);
        else
            job->kernels->sweep(job->m, width, term->k, term->alpha, term->a.data, a_row, a_col, &term->b, j,
                                accumulate, job->c + j, job->c_stride, 1);
    }
    if (job->finish) job->finish->columns(j, j + width, job->finish->argument);
}

static void few_rows_product(lora_device *device, const product_job *job)
{
    few_rows_job few = {job, lr_cut_columns(device->threads, job->n, job->terms[0].k, MOST_COLS)};
    lr_cpu_lanes(device, lr_pieces(job->n, few.piece), 0, begin_few_rows, few_rows_piece, &few);
}

// ---- what follows --------------------------------------------------------------------------------------------------

typedef struct finish_job {
    const lr_finish *finish;
    int64_t n, piece; // columns
} finish_job;

static void begin_finish(const lr_lane *lane, void *argument)
{
    const finish_job *job = argument;
    job->finish->begin(lane, job->finish->argument);
}

static void finish_piece(int64_t index, void *room, void *argument)
{
    (void)room;
    const finish_job *job = argument;
    const int64_t j = index * job->piece, end = lr_smaller(j + job->piece, job->n);
    job->finish->columns(j, end, job->finish->argument);
}

void lr_finish_columns(lora_device *device, int64_t m, int64_t n, const lr_finish *finish)
{
    finish_job job = {finish, n, lr_cut_columns(device->threads, n, m, MOST_COLS)};
    lr_cpu_lanes(device, lr_pieces(n, job.piece), 0, begin_finish, finish_piece, &job);
}

// ---- the choice ------------------------------------------------------------------------------------------------

static bool has_few_rows(const product_job *job, int64_t m, const lr_product_kernels *packed)
{
    for (int32_t t = 0; t < job->count; t++) {
        const lr_product_term *term = &job->terms[t];
        bool dots = term->b.transposed, plain = term->b.type <= LORA_TYPE_BF16;
        if (dots ? term->a.transposed : !plain) return false;
        int64_t most = !dots ? FEW_ROWS : term->k > SHORT_INNER || !plain ? FEW_DOT_ROWS : packed->few_rows;
        if (m > most) return false;
    }
    return true;
}

lr_operand lr_operand_of(const lora_view *view, int64_t row, bool transposed)
{
    return (lr_operand){.data = lr_typed_row(view, row), .scales = lr_row_scales(view, row), .stride = view->stride,
                        .type = view->type, .transposed = transposed};
}

void lr_terms_from_row(lr_product_term *target, const lr_product_term *terms, int32_t count, int64_t row)
{
    for (int32_t t = 0; t < count; t++) {
        const lr_operand *a = &terms[t].a;
        target[t] = terms[t];
        target[t].a.data = (const float *)a->data + row * (a->transposed ? 1 : a->stride);
    }
}

void lr_product_sum(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *given,
                    bool accumulate, float *c, int64_t c_stride, const lr_finish *finish)
{
    lr_product_term terms[LR_PRODUCT_TERMS];
    lr_terms_from_row(terms, given, count, 0);
    terms[0].b.ahead = device->features & LORA_CPU_FETCH_AHEAD ? STREAM_AHEAD : 0;
    product_job job = {.kernels = lr_product_kernels_for(device->features), .terms = terms, .count = count,
                       .m = m, .n = n, .accumulate = accumulate, .c = c, .c_stride = c_stride, .finish = finish};
    int64_t inner = 0, chosen = terms[0].as_alone ? 1 : m; // rows that say which way to go
    for (int32_t t = 0; t < count; t++) inner += terms[t].k;
    const lr_product_kernels *packed = kernels_for_packed(device, terms, inner);
    if (m <= 0 || n <= 0) return;
    const lr_finish *if_whole = count == 1 ? finish : NULL;
    bool only_first = false, by_columns = false;
    if (inner == 0) {
        for (int64_t i = 0; i < m && !accumulate; i++) memset(c + i * c_stride, 0, (size_t)n * sizeof *c);
    } else if (lr_rows_product_suits(device, chosen, n, terms)) {
        lr_rows_product(device, m, n, terms, accumulate, c, c_stride, if_whole);
        only_first = by_columns = true;
    } else if (lr_bf16_product_suits(device, chosen, count, terms)) {
        lr_bf16_product(device, m, n, count, terms, accumulate, c, c_stride);
    } else if (lr_integer_product_suits(device, chosen, terms)) {
        lr_integer_product(device, m, n, terms, accumulate, c, c_stride);
        only_first = true;
    } else if (lr_integer_dots_suit(device, m, terms)) {
        lr_integer_dots(device, m, n, terms, accumulate, c, c_stride, if_whole);
        only_first = by_columns = true;
    } else if (has_few_rows(&job, chosen, packed)) {
        few_rows_product(device, &job);
        by_columns = true;
    } else if (device->openblas.library && suits_openblas(&job)) {
        sliced_product(device, &job);
    } else {
        job.kernels = packed;
        packed_product(device, &job, inner);
    }
    if (only_first && count > 1) lr_product_sum(device, m, n, count - 1, terms + 1, true, c, c_stride, finish);
    else if (finish && !by_columns) lr_finish_columns(device, m, n, finish);
}

void lr_product(lora_device *device, int64_t m, int64_t n, int64_t k, float alpha, lr_operand a, lr_operand b,
                bool accumulate, float *c, int64_t c_stride)
{
    lr_product_term term = {a, b, k, alpha, 0, false};
    lr_product_sum(device, m, n, 1, &term, accumulate, c, c_stride, NULL);
}
