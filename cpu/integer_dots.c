#include "cpu/integer_dots.h"

#include "cpu/cut.h"
#include "cpu/integer_kernels.h"
#include "cpu/ops.h"

#define COLUMNS 4 // added up together
#define MOST_INNER 65536

typedef struct dots_job {
    const lr_integer_kernels *kernels;
    const lr_product_term *term;
    int64_t m, n, piece, a_row; // columns of a piece; bytes of a row's blocks
    bool accumulate;
    float *c;
    int64_t c_stride;
    const lr_finish *finish;
} dots_job;

bool lr_integer_dots_suit(const lora_device *device, int64_t m, const lr_product_term *term)
{
    return lr_integer_kernels_for(device->features) && (term->coarse & (LORA_COARSE_INT8 | LORA_COARSE_INT15)) &&
           m <= LR_DOTS_ROWS && !term->a.transposed && term->b.transposed && term->k > 0 && term->k <= MOST_INNER &&
           term->b.type >= LORA_TYPE_INT8 && term->b.type != LORA_TYPE_NF4;
}

// Bytes of the blocks of a row of A.
static int64_t row_bytes(const lr_integer_kernels *kernels, int64_t inner)
{
    return lr_pieces(inner, LR_DOTS_BLOCK) * kernels->dots_bytes;
}

static uint64_t lane_bytes(const lr_integer_kernels *kernels, int64_t rows, int64_t inner)
{
    return lr_align64((uint64_t)(rows * row_bytes(kernels, inner)));
}

uint64_t lr_integer_dots_workspace(const lora_device *device, int64_t max_inner)
{
    const lr_integer_kernels *kernels = lr_integer_kernels_for(device->features);
    if (!kernels) return 0;
    return (uint64_t)device->threads * lane_bytes(kernels, LR_DOTS_ROWS, lr_smaller(max_inner, MOST_INNER));
}

static void begin_lane(const lr_lane *lane, void *argument)
{
    const dots_job *job = argument;
    for (int64_t row = 0; row < job->m; row++)
        job->kernels->split((uint8_t *)lane->room + row * job->a_row, job->term, row);
    if (job->finish) job->finish->begin(lane, job->finish->argument);
}

static void run_piece(int64_t index, void *blocks, void *argument)
{
    const dots_job *job = argument;
    const int64_t j = index * job->piece, width = lr_smaller(job->piece, job->n - j);
    job->kernels->dots(job->m, width, job->term, blocks, j, job->accumulate, job->c, job->c_stride);
    if (job->finish) job->finish->columns(j, j + width, job->finish->argument);
}

void lr_integer_dots(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride, const lr_finish *finish)
{
    const lr_integer_kernels *kernels = lr_integer_kernels_for(device->features);
    dots_job job = {.kernels = kernels, .term = term, .m = m, .n = n, .a_row = row_bytes(kernels, term->k),
                    .accumulate = accumulate, .c = c, .c_stride = c_stride, .finish = finish};
    job.piece = lr_cut_columns(device->threads, n, term->k, COLUMNS);
    lr_cpu_lanes(device, lr_pieces(n, job.piece), lane_bytes(kernels, m, term->k), begin_lane, run_piece, &job);
}
