#include "cpu/rows_product.h"

#include "cpu/ops.h"

#define LEAST_ROWS 3 // below, dot products are faster
#define MOST_ROWS 32
#define MOST_INNER 16384
#define COLS 96 // of the smallest piece
#define PIECES_PER_THREAD 4
#define PACK_STEPS 16 // of the smallest piece

bool lr_rows_product_suits(const lora_device *device, int64_t m, int64_t n, const lr_product_term *term)
{
    return (device->features & LORA_CPU_AMX_BF16) && m >= LEAST_ROWS && m <= MOST_ROWS && n >= LR_ROWS_LEAST_COLS &&
           term->b.type == LORA_TYPE_BF16 && term->b.transposed && !term->a.transposed && term->k % LR_ROWS_STEP == 0 &&
           term->k > 0 && term->k <= MOST_INNER;
}

#if defined(__x86_64__)

uint64_t lr_rows_product_workspace(const lora_device *device, int64_t max_inner)
{
    if (!(device->features & LORA_CPU_AMX_BF16)) return 0;
    return (uint64_t)lr_smaller(max_inner, MOST_INNER) * 3 * MOST_ROWS * sizeof(uint16_t);
}

typedef struct pieces_job {
    lr_rows_job rows;
    const lr_product_term *term;
    int64_t piece; // steps, then columns
} pieces_job;

static void pack_piece(int64_t index, void *argument)
{
    const pieces_job *job = argument;
    lr_amx_pack_rows(&job->rows, job->term, index * job->piece, lr_smaller((index + 1) * job->piece, job->rows.steps));
}

static void multiply_piece(int64_t index, void *argument)
{
    const pieces_job *job = argument;
    lr_amx_multiply_rows(&job->rows, index * job->piece, lr_smaller((index + 1) * job->piece, job->rows.n));
}

void lr_rows_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride)
{
    pieces_job job = {.rows = {.m = m,
                               .n = n,
                               .steps = term->k / LR_ROWS_STEP,
                               .parts = term->coarse & LORA_COARSE_BF16 ? 1 : 3,
                               .halves = m > LR_ROWS_TILE ? 2 : 1,
                               .weight = term->b.data,
                               .weight_stride = term->b.stride,
                               .packed = (uint16_t *)(void *)device->workspace,
                               .accumulate = accumulate,
                               .c = c,
                               .c_stride = c_stride},
                      .term = term};
    job.piece = lr_larger(PACK_STEPS, lr_pieces(job.rows.steps, device->threads));
    lr_cpu_parallel(device, lr_pieces(job.rows.steps, job.piece), pack_piece, &job);
    job.piece = lr_pieces(lr_pieces(n, (int64_t)device->threads * PIECES_PER_THREAD), COLS) * COLS;
    lr_cpu_parallel(device, lr_pieces(n, job.piece), multiply_piece, &job);
}

#else

uint64_t lr_rows_product_workspace(const lora_device *device, int64_t max_inner)
{
    (void)device, (void)max_inner;
    return 0;
}

void lr_rows_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride)
{
    (void)device, (void)m, (void)n, (void)term, (void)accumulate, (void)c, (void)c_stride;
}

#endif
