// C = sum of alpha op(A) op(B). The inner dimension is cut into stretches and B's columns into chunks, such that a chunk
// packed into panels fits the workspace; C's rows are then done in groups, each row panel of A being copied to the stack
// and multiplied with all panels of a part of the chunk that fits a core's L2 cache. Every number of C is one
// chain of additions in the order of k, whoever computes it. With few rows nothing is packed: W is read once, where it
// lies, in its own type.
#include "cpu/product.h"

#include "cpu/product_kernels.h"

#include <string.h>

#define STRETCH 2048              // inner numbers packed at once, at most
#define PACKED_BYTES (4 << 20)    // a chunk of packed B
#define NEAR_BYTES (640 << 10)
#define MOST_COLS 32              // widest panel of any instruction set
#define PIECES_PER_THREAD 4
#define FEW_ROWS 8 // up to here without packing

typedef struct product_job {
    const lr_product_kernels *kernels;
    const lr_product_term *terms;
    int32_t count;
    int64_t m, n;
    bool accumulate; // C holds something already: given, or from the stretches before
    float *c;
    int64_t c_stride;
    float *packed; // panels [depth][tile_cols]
    int64_t p_begin, depth;      // this stretch of the inner dimension
    int64_t j_begin, panels;     // this chunk of columns
    int64_t row_panels, row_groups, col_groups;
} product_job;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

// `total` in equal parts of at most `limit`, whole q8_0 blocks.
static int64_t equal_part(int64_t total, int64_t limit)
{
    return divide_up(divide_up(total, divide_up(total, limit)), 32) * 32;
}

const lr_product_kernels *lr_product_kernels_for(int32_t features)
{
#if defined(__x86_64__)
    if (features & LORA_CPU_AVX512) return &lr_product_avx512;
    if (features & LORA_CPU_AVX2) return &lr_product_avx2;
#endif
    return &lr_product_plain;
}

uint64_t lr_product_workspace(int32_t threads, int64_t max_rows, int64_t max_cols, int64_t max_inner)
{
    uint64_t cols = (uint64_t)divide_up(max_cols, MOST_COLS) * MOST_COLS;
    uint64_t inner = (uint64_t)smaller(divide_up(max_inner, 32) * 32, STRETCH), bytes;
    if (!lr_multiply(cols, inner * sizeof(float), &bytes) || bytes > PACKED_BYTES) return PACKED_BYTES;
    return bytes;
}

// ---- packed --------------------------------------------------------------------------------------------------------

static void pack_panel(int64_t index, void *argument)
{
    const product_job *job = argument;
    int64_t cols = job->kernels->tile_cols, j = job->j_begin + index * cols, begin = 0;
    float *target = job->packed + index * job->depth * cols;
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

// Rows of panel `row_panel` times panels [first, last) over `depth` inner numbers from `p` on.
static void multiply_panel(const product_job *job, int64_t row_panel, int64_t p, int64_t depth, int64_t first,
                           int64_t last)
{
    _Alignas(64) float a[LR_PRODUCT_COLUMN * LR_PRODUCT_ROW];
    const lr_product_kernels *kernels = job->kernels;
    int64_t i = row_panel * kernels->tile_rows, rows = smaller(kernels->tile_rows, job->m - i);
    int64_t cols = kernels->tile_cols, offset = p - job->p_begin;
    bool accumulate = job->accumulate || offset > 0;
    take_rows(job, a, i, rows, p, depth);
    for (int64_t panel = first; panel < last; panel++) {
        int64_t j = job->j_begin + panel * cols;
        kernels->tile(rows, smaller(cols, job->n - j), depth, a, job->terms[0].a.transposed,
                      job->packed + (panel * job->depth + offset) * cols, accumulate, job->c + i * job->c_stride + j,
                      job->c_stride);
    }
}

static void multiply_piece(int64_t index, void *argument)
{
    const product_job *job = argument;
    int64_t row_group = index / job->col_groups, col_group = index % job->col_groups;
    int64_t row_first = row_group * job->row_panels / job->row_groups;
    int64_t row_last = (row_group + 1) * job->row_panels / job->row_groups;
    int64_t col_first = col_group * job->panels / job->col_groups;
    int64_t col_last = (col_group + 1) * job->panels / job->col_groups;
    int64_t part = equal_part(job->depth, LR_PRODUCT_DEPTH), cols = col_last - col_first;
    int64_t near = NEAR_BYTES / (smaller(part, job->depth) * job->kernels->tile_cols * (int64_t)sizeof(float));
    near = divide_up(cols, divide_up(cols, near < 1 ? 1 : near));
    for (int64_t first = col_first; first < col_last; first += near)
        for (int64_t p = 0; p < job->depth; p += part)
            for (int64_t row_panel = row_first; row_panel < row_last; row_panel++)
                multiply_panel(job, row_panel, job->p_begin + p, smaller(part, job->depth - p), first,
                               smaller(first + near, col_last));
}

static void packed_product(lora_device *device, product_job *job, int64_t inner)
{
    const lr_product_kernels *kernels = job->kernels;
    int64_t stretch = equal_part(inner, STRETCH);
    int64_t chunk = PACKED_BYTES / (stretch * kernels->tile_cols * (int64_t)sizeof(float));
    int64_t panels = divide_up(job->n, kernels->tile_cols), pieces = (int64_t)device->threads * PIECES_PER_THREAD;
    chunk = divide_up(panels, divide_up(panels, chunk));
    job->packed = (float *)(void *)device->workspace;
    job->row_panels = divide_up(job->m, kernels->tile_rows);
    job->row_groups = smaller(job->row_panels, pieces);
    for (job->p_begin = 0; job->p_begin < inner; job->p_begin += stretch) {
        job->depth = smaller(stretch, inner - job->p_begin);
        for (int64_t first = 0; first < panels; first += chunk) {
            job->j_begin = first * kernels->tile_cols;
            job->panels = smaller(chunk, panels - first);
            job->col_groups = smaller(job->panels, divide_up(pieces, job->row_groups));
            lr_cpu_parallel(device, job->panels, pack_panel, job);
            lr_cpu_parallel(device, job->row_groups * job->col_groups, multiply_piece, job);
        }
        job->accumulate = true;
    }
}

// ---- few rows --------------------------------------------------------------------------------------------------

typedef struct few_rows_job {
    const lr_product_kernels *kernels;
    const lr_product_term *term;
    int64_t m, n, piece; // columns of C in a piece
    bool accumulate;
    float *c;
    int64_t c_stride;
} few_rows_job;

static void few_rows_piece(int64_t index, void *argument)
{
    const few_rows_job *job = argument;
    const lr_product_term *term = job->term;
    int64_t j = index * job->piece, width = smaller(job->piece, job->n - j);
    if (term->b.transposed) {
        job->kernels->dots(job->m, width, term->k, term->alpha, term->a.data, term->a.stride, &term->b, j,
                           job->accumulate, job->c + j, job->c_stride, 1);
        return;
    }
    int64_t a_row = term->a.transposed ? 1 : term->a.stride, a_col = term->a.transposed ? term->a.stride : 1;
    job->kernels->sweep(job->m, width, term->k, term->alpha, term->a.data, a_row, a_col, &term->b, j, job->accumulate,
                        job->c + j, job->c_stride, 1);
}

static void few_rows_product(lora_device *device, const product_job *job)
{
    int64_t piece = divide_up(divide_up(job->n, (int64_t)device->threads * PIECES_PER_THREAD), 64) * 64;
    for (int32_t t = 0; t < job->count; t++) {
        few_rows_job few = {job->kernels, &job->terms[t],  job->m, job->n,       piece,
                            job->accumulate || t > 0, job->c, job->c_stride};
        lr_cpu_parallel(device, divide_up(job->n, piece), few_rows_piece, &few);
    }
}

// ---- the choice ------------------------------------------------------------------------------------------------

static bool has_few_rows(const product_job *job)
{
    if (job->m > FEW_ROWS) return false;
    for (int32_t t = 0; t < job->count; t++)
        if (job->terms[t].a.transposed && job->terms[t].b.transposed) return false;
    return true;
}

void lr_product_sum(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                    bool accumulate, float *c, int64_t c_stride)
{
    product_job job = {.kernels = lr_product_kernels_for(device->features), .terms = terms, .count = count,
                       .m = m, .n = n, .accumulate = accumulate, .c = c, .c_stride = c_stride};
    int64_t inner = 0;
    for (int32_t t = 0; t < count; t++) inner += terms[t].k;
    if (m <= 0 || n <= 0) return;
    if (inner == 0) {
        for (int64_t i = 0; i < m && !accumulate; i++) memset(c + i * c_stride, 0, (size_t)n * sizeof *c);
    } else if (has_few_rows(&job)) {
        few_rows_product(device, &job);
    } else {
        packed_product(device, &job, inner);
    }
}

void lr_product(lora_device *device, int64_t m, int64_t n, int64_t k, float alpha, lr_operand a, lr_operand b,
                bool accumulate, float *c, int64_t c_stride)
{
    lr_product_term term = {a, b, k, alpha};
    lr_product_sum(device, m, n, 1, &term, accumulate, c, c_stride);
}
