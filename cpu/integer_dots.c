#include "cpu/integer_dots.h"

#include "cpu/ops.h"

#define PIECES_PER_THREAD 4
#define LEAST_COLUMNS 16 // of a piece
#define MOST_INNER 65536

#if defined(__x86_64__)

typedef struct dots_job {
    const lr_product_term *term;
    lr_dots_block *blocks;
    int64_t m, n, piece, a_row; // columns of a piece; blocks of a row
    bool accumulate;
    float *c;
    int64_t c_stride;
} dots_job;

bool lr_integer_dots_suit(const lora_device *device, int64_t m, const lr_product_term *term)
{
    const int32_t needed = LORA_CPU_AVX512 | LORA_CPU_AVX512_VNNI;
    return (device->features & needed) == needed && (term->coarse & (LORA_COARSE_INT8 | LORA_COARSE_INT15)) &&
           m <= LR_DOTS_ROWS && !term->a.transposed && term->b.transposed && term->k > 0 && term->k <= MOST_INNER &&
           term->b.type >= LORA_TYPE_INT8 && term->b.type != LORA_TYPE_NF4;
}

uint64_t lr_integer_dots_workspace(const lora_device *device, int64_t max_inner)
{
    if (!(device->features & LORA_CPU_AVX512_VNNI)) return 0;
    return (uint64_t)(lr_pieces(lr_smaller(max_inner, MOST_INNER), 64) * LR_DOTS_ROWS) * sizeof(lr_dots_block);
}

static void split_row(int64_t row, void *argument)
{
    const dots_job *job = argument;
    lr_vnni_split(job->blocks + row * job->a_row, job->term, row);
}

static void dots_piece(int64_t index, void *argument)
{
    const dots_job *job = argument;
    const int64_t j = index * job->piece;
    lr_vnni_dots(job->m, lr_smaller(job->piece, job->n - j), job->term, job->blocks, j, job->accumulate, job->c,
                 job->c_stride);
}

void lr_integer_dots(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride)
{
    dots_job job = {.term = term, .blocks = (lr_dots_block *)(void *)device->workspace, .m = m, .n = n,
                    .a_row = lr_pieces(term->k, 64), .accumulate = accumulate, .c = c, .c_stride = c_stride};
    job.piece = lr_larger(LEAST_COLUMNS, lr_pieces(n, (int64_t)device->threads * PIECES_PER_THREAD));
    if (m == 1)
        split_row(0, &job);
    else
        lr_cpu_parallel(device, m, split_row, &job);
    lr_cpu_parallel(device, lr_pieces(n, job.piece), dots_piece, &job);
}

#else

bool lr_integer_dots_suit(const lora_device *device, int64_t m, const lr_product_term *term)
{
    (void)device, (void)m, (void)term;
    return false;
}

void lr_integer_dots(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride)
{
    (void)device, (void)m, (void)n, (void)term, (void)accumulate, (void)c, (void)c_stride;
}

uint64_t lr_integer_dots_workspace(const lora_device *device, int64_t max_inner)
{
    (void)device, (void)max_inner;
    return 0;
}

#endif
