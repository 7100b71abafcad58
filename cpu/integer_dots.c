#include "cpu/integer_dots.h"

#include "cpu/integer_kernels.h"
#include "cpu/ops.h"

#include <stdatomic.h>

#define PIECES_PER_LANE 4
#define LEAST_COLUMNS 16 // of a piece
#define MOST_INNER 65536

// Each thread's: bytes that another core has read lately are slow to write, so each splits A for itself.
typedef struct dots_lane {
    _Alignas(64) atomic_int taken; // of its pieces, which others help with
    uint8_t *blocks;
} dots_lane;

typedef struct dots_job {
    const lr_integer_kernels *kernels;
    const lr_product_term *term;
    dots_lane *lanes;
    int64_t m, n, lane_count, piece, a_row; // columns of a piece; bytes of a row's blocks
    bool accumulate;
    float *c;
    int64_t c_stride;
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

uint64_t lr_integer_dots_workspace(const lora_device *device, int64_t max_inner)
{
    const lr_integer_kernels *kernels = lr_integer_kernels_for(device->features);
    if (!kernels) return 0;
    const uint64_t rows = (uint64_t)(LR_DOTS_ROWS * row_bytes(kernels, lr_smaller(max_inner, MOST_INNER)));
    return (uint64_t)device->threads * (sizeof(dots_lane) + rows);
}

static void run_lane(int64_t index, void *argument)
{
    const dots_job *job = argument;
    uint8_t *blocks = job->lanes[index].blocks;
    for (int64_t row = 0; row < job->m; row++) job->kernels->split(blocks + row * job->a_row, job->term, row);
    for (int64_t turn = 0; turn < job->lane_count; turn++) {
        const int64_t at = (index + turn) % job->lane_count;
        for (int64_t piece; (piece = atomic_fetch_add(&job->lanes[at].taken, 1)) < PIECES_PER_LANE;) {
            const int64_t j = (at * PIECES_PER_LANE + piece) * job->piece;
            if (j >= job->n) break;
            job->kernels->dots(job->m, lr_smaller(job->piece, job->n - j), job->term, blocks, j, job->accumulate,
                               job->c, job->c_stride);
        }
    }
}

void lr_integer_dots(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride)
{
    const lr_integer_kernels *kernels = lr_integer_kernels_for(device->features);
    dots_job job = {.kernels = kernels, .term = term, .lanes = (dots_lane *)(void *)device->workspace, .m = m, .n = n,
                    .a_row = row_bytes(kernels, term->k), .accumulate = accumulate, .c = c, .c_stride = c_stride};
    job.piece = lr_larger(LEAST_COLUMNS, lr_pieces(lr_pieces(n, (int64_t)device->threads * PIECES_PER_LANE), 4) * 4);
    job.lane_count = lr_pieces(n, job.piece * PIECES_PER_LANE);
    uint8_t *blocks = (uint8_t *)(job.lanes + device->threads);
    for (int64_t i = 0; i < job.lane_count; i++) {
        atomic_init(&job.lanes[i].taken, 0);
        job.lanes[i].blocks = blocks + i * m * job.a_row;
    }
    lr_cpu_parallel(device, job.lane_count, run_lane, &job);
}
