// C = sum of alpha op(A) op(B).
//
// Packed: the inner dimension is cut into stretches, and B's columns into groups, such that a group's stretch, packed
// into panels, fits a core's L2 cache. Each thread has a lane: a buffer for one group. It packs a group and
// multiplies runs of C's rows with it, each row panel of A being copied to the stack (L1) first. Packed numbers never
// pass from one core to another. With few rows nothing is packed: B is read once, where it lies, in its own type.
//
// Every number of C is added up in an order that depends on the sizes alone, whoever computes it.
#include "cpu/product.h"

#include "cpu/bf16_product.h"
#include "cpu/integer_dots.h"
#include "cpu/integer_product.h"
#include "cpu/ops.h"
#include "cpu/product_kernels.h"
#include "cpu/rows_product.h"

#include <stdatomic.h>
#include <string.h>

#define STRETCH 1024            // inner numbers packed at once, at most
#define GROUP_BYTES (688 << 10) // a packed group
#define LANE_BYTES (GROUP_BYTES + STRETCH * MOST_COLS * sizeof(float)) // and a panel that it shares
#define THIN 128                // inner numbers: writing C is the work
#define MOST_COLS 32            // widest panel of any instruction set
#define LEAST_PANELS 4          // in a group, unless there are fewer: a copied row panel of A should be used some times
#define GROUP_COLS 128          // fewer than a group has columns, where GROUP_BYTES limits it
#define ROW_GROUPS_PER_THREAD 16
#define PIECES_PER_THREAD 4     // with few rows
#define FEW_ROWS 8              // up to here nothing is packed
#define FEW_DOT_ROWS 16         // the same where B lies transposed
#define SHORT_INNER 1024        // with rows of B so short that four stay in the L1 cache while A's pass by:
#define FEW_SHORT_ROWS 96

typedef struct product_job {
    const lr_product_kernels *kernels;
    const lr_product_term *terms;
    int32_t count;
    int64_t m, n;
    bool accumulate; // C holds something already: given, or from the stretches before
    float *c;
    int64_t c_stride;
    int64_t p_begin, depth; // this stretch of the inner dimension
    int64_t lanes, panels, groups;
    int64_t row_panels, row_groups;
    bool apart;    // lanes begin with groups of their own; else they do the rows of each group together
    float *packed; // [lanes][lane_floats]
    uint64_t lane_floats;
    atomic_int *taken; // [groups] row groups given out in this stretch
} product_job;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// `total` in equal parts of at most `limit`, whole groups of 32 numbers.
static int64_t equal_part(int64_t total, int64_t limit)
{
    return divide_up(divide_up(total, divide_up(total, limit)), 32) * 32;
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

static uint64_t lane_bytes(int64_t cols, int64_t inner)
{
    uint64_t bytes;
    uint64_t padded = (uint64_t)divide_up(cols, MOST_COLS) * MOST_COLS, depth = (uint64_t)divide_up(inner, 32) * 32;
    return lr_multiply(padded, depth * sizeof(float), &bytes) && bytes < LANE_BYTES ? bytes : LANE_BYTES;
}

uint64_t lr_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_cols, int64_t max_inner,
                              bool only_f32)
{
    uint64_t groups = (uint64_t)(max_cols / GROUP_COLS + 1 + device->threads);
    uint64_t packed = (uint64_t)device->threads * lane_bytes(max_cols, max_inner) + groups * sizeof(atomic_int);
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

// Panel `panel` of B over the stretch, the terms below one another.
static void pack_panel(const product_job *job, int64_t panel, float *target)
{
    int64_t cols = job->kernels->tile_cols, j = panel * cols, begin = 0;
    for (int32_t t = 0; t < job->count; begin += job->terms[t++].k) {
        const lr_product_term *term = &job->terms[t];
        int64_t first = job->p_begin > begin ? job->p_begin : begin;
        int64_t depth = smaller(job->p_begin + job->depth, begin + term->k) - first;
        if (depth <= 0) continue;
        job->kernels->pack(target, &term->b, first - begin, depth, j, smaller(cols, job->n - j));
        target += depth * cols;
    }
}

// A's numbers [i, i + rows) x [p, p + depth), the terms side by side.
static void take_rows(const product_job *job, float *target, int64_t i, int64_t rows, int64_t p, int64_t depth)
{
    int64_t begin = 0;
    for (int32_t t = 0; t < job->count; begin += job->terms[t++].k) {
        const lr_product_term *term = &job->terms[t];
        int64_t first = p > begin ? p : begin, some = smaller(p + depth, begin + term->k) - first;
        if (some <= 0) continue;
        job->kernels->take(target, &term->a, term->alpha, i, rows, first - begin, some);
        target += term->a.transposed ? some * LR_PRODUCT_COLUMN : some;
    }
}

// The first panel of a group for some rows: where panels don't divide evenly, neighbours take turns with one.
static int64_t group_begin(const product_job *job, int64_t group, int64_t row_panel)
{
    return (group * job->panels + row_panel * job->groups / job->row_panels) / job->groups;
}

// Row panel `row_panel` of C times a group's panels; `packed` begins with panel `packed_first`.
static void multiply_panels(const product_job *job, int64_t row_panel, int64_t group, int64_t packed_first,
                            const float *packed)
{
    _Alignas(64) float a[LR_PRODUCT_COLUMN * LR_PRODUCT_ROW];
    const lr_product_kernels *kernels = job->kernels;
    int64_t i = row_panel * kernels->tile_rows, rows = smaller(kernels->tile_rows, job->m - i);
    int64_t cols = kernels->tile_cols, part = equal_part(job->depth, LR_PRODUCT_DEPTH);
    int64_t first = group_begin(job, group, row_panel), last = group_begin(job, group + 1, row_panel);
    for (int64_t p = 0; p < job->depth; p += part) {
        int64_t depth = smaller(part, job->depth - p);
        take_rows(job, a, i, rows, job->p_begin + p, depth);
        for (int64_t panel = first; panel < last; panel++) {
            int64_t j = panel * cols;
            kernels->tile(rows, smaller(cols, job->n - j), depth, a, job->terms[0].a.transposed,
                          packed + ((panel - packed_first) * job->depth + p) * cols, job->accumulate || p > 0,
                          job->c + i * job->c_stride + j, job->c_stride);
        }
    }
}

static void run_lane(int64_t lane, void *argument)
{
    const product_job *job = argument;
    float *packed = job->packed + (uint64_t)lane * job->lane_floats;
    for (int64_t turn = 0; turn < job->groups; turn++) {
        int64_t group = (turn + (job->apart ? lane * job->groups / job->lanes : 0)) % job->groups;
        int64_t first = group_begin(job, group, 0), last = group_begin(job, group + 1, job->row_panels - 1);
        bool is_packed = false;
        for (int64_t run; (run = atomic_fetch_add(&job->taken[group], 1)) < job->row_groups; is_packed = true) {
            for (int64_t panel = first; panel < last && !is_packed; panel++)
                pack_panel(job, panel, packed + (panel - first) * job->depth * job->kernels->tile_cols);
            int64_t end = (run + 1) * job->row_panels / job->row_groups;
            for (int64_t row_panel = run * job->row_panels / job->row_groups; row_panel < end; row_panel++)
                multiply_panels(job, row_panel, group, first, packed);
        }
    }
}

static void packed_product(lora_device *device, product_job *job, int64_t inner)
{
    const lr_product_kernels *kernels = job->kernels;
    int64_t stretch = equal_part(inner, STRETCH);
    int64_t most = GROUP_BYTES / (stretch * kernels->tile_cols * (int64_t)sizeof(float)); // panels in a group
    job->lanes = device->threads;
    job->panels = divide_up(job->n, kernels->tile_cols);
    job->groups = divide_up(job->panels, most);
    job->row_panels = divide_up(job->m, kernels->tile_rows);
    job->apart = stretch > THIN;
    if (job->apart) job->groups = larger(job->groups, smaller(job->lanes, divide_up(job->panels, LEAST_PANELS)));
    if (job->apart && job->groups > 1)
        job->groups = smaller(job->panels, divide_up(job->groups, job->lanes) * job->lanes);
    job->row_groups = job->lanes * ROW_GROUPS_PER_THREAD;
    if (job->apart) job->row_groups = divide_up(job->row_groups, job->groups);
    job->row_groups = smaller(job->row_groups, job->row_panels);
    job->packed = (float *)(void *)device->workspace;
    job->lane_floats = lane_bytes(job->n, inner) / sizeof(float);
    job->taken = (atomic_int *)(void *)(job->packed + (uint64_t)job->lanes * job->lane_floats);
    for (job->p_begin = 0; job->p_begin < inner; job->p_begin += stretch) {
        job->depth = smaller(stretch, inner - job->p_begin);
        for (int64_t group = 0; group < job->groups; group++) atomic_init(&job->taken[group], 0);
        lr_cpu_parallel(device, job->lanes, run_lane, job);
        job->accumulate = true;
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
    int64_t most = larger(larger(job->m, job->n), job->c_stride);
    for (int32_t t = 0; t < job->count; t++) {
        const lr_product_term *term = &job->terms[t];
        if (term->b.type != LORA_TYPE_F32) return false;
        most = larger(most, larger(term->k, larger(term->a.stride, term->b.stride)));
    }
    return most <= INT32_MAX;
}

static void sliced_product(lora_device *device, const product_job *job)
{
    slice_job slice = {&device->openblas, job, smaller(device->threads, job->m)};
    lr_cpu_parallel(device, slice.slices, slice_piece, &slice);
}

// ---- few rows --------------------------------------------------------------------------------------------------

typedef struct few_rows_job {
    const product_job *product;
    int64_t piece; // columns of C in a piece
} few_rows_job;

static void few_rows_piece(int64_t index, void *argument)
{
    const few_rows_job *few = argument;
    const product_job *job = few->product;
    int64_t j = index * few->piece, width = smaller(few->piece, job->n - j);
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
}

static void few_rows_product(lora_device *device, const product_job *job)
{
    int64_t piece = divide_up(divide_up(job->n, (int64_t)device->threads * PIECES_PER_THREAD), MOST_COLS) * MOST_COLS;
    few_rows_job few = {job, piece};
    lr_cpu_parallel(device, divide_up(job->n, piece), few_rows_piece, &few);
}

// ---- the choice ------------------------------------------------------------------------------------------------

static bool has_few_rows(const product_job *job, int64_t m)
{
    for (int32_t t = 0; t < job->count; t++) {
        const lr_product_term *term = &job->terms[t];
        bool dots = term->b.transposed, plain = term->b.type <= LORA_TYPE_BF16;
        if (dots ? term->a.transposed : !plain) return false;
        int64_t most = !dots ? FEW_ROWS : term->k > SHORT_INNER || !plain ? FEW_DOT_ROWS : FEW_SHORT_ROWS;
        if (m > most) return false;
    }
    return true;
}

lr_operand lr_operand_of(const lora_view *view, int64_t row, bool transposed)
{
    return (lr_operand){.data = lr_typed_row(view, row), .scales = lr_row_scales(view, row), .stride = view->stride,
                        .type = view->type, .transposed = transposed};
}

void lr_product_sum(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                    bool accumulate, float *c, int64_t c_stride)
{
    product_job job = {.kernels = lr_product_kernels_for(device->features), .terms = terms, .count = count,
                       .m = m, .n = n, .accumulate = accumulate, .c = c, .c_stride = c_stride};
    int64_t inner = 0, chosen = terms[0].as_alone ? 1 : m; // rows that say which way to go
    for (int32_t t = 0; t < count; t++) inner += terms[t].k;
    if (m <= 0 || n <= 0) return;
    if (inner == 0) {
        for (int64_t i = 0; i < m && !accumulate; i++) memset(c + i * c_stride, 0, (size_t)n * sizeof *c);
    } else if (lr_rows_product_suits(device, chosen, n, terms)) {
        lr_rows_product(device, m, n, terms, accumulate, c, c_stride);
        if (count > 1) lr_product_sum(device, m, n, count - 1, terms + 1, true, c, c_stride);
    } else if (lr_bf16_product_suits(device, chosen, count, terms)) {
        lr_bf16_product(device, m, n, count, terms, accumulate, c, c_stride);
    } else if (lr_integer_product_suits(device, chosen, terms)) {
        lr_integer_product(device, m, n, terms, accumulate, c, c_stride);
        if (count > 1) lr_product_sum(device, m, n, count - 1, terms + 1, true, c, c_stride);
    } else if (lr_integer_dots_suit(device, m, terms)) {
        lr_integer_dots(device, m, n, terms, accumulate, c, c_stride);
        if (count > 1) lr_product_sum(device, m, n, count - 1, terms + 1, true, c, c_stride);
    } else if (has_few_rows(&job, chosen)) {
        few_rows_product(device, &job);
    } else if (device->openblas.library && suits_openblas(&job)) {
        sliced_product(device, &job);
    } else {
        packed_product(device, &job, inner);
    }
}

void lr_product(lora_device *device, int64_t m, int64_t n, int64_t k, float alpha, lr_operand a, lr_operand b,
                bool accumulate, float *c, int64_t c_stride)
{
    lr_product_term term = {a, b, k, alpha, 0, false};
    lr_product_sum(device, m, n, 1, &term, accumulate, c, c_stride);
}
