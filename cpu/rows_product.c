#include "cpu/rows_product.h"

#include "cpu/bf16_product.h"
#include "cpu/cut.h"
#include "cpu/ops.h"

#define LEAST_ROWS 3 // below, dot products are faster
#define MOST_ROWS 32
#define MOST_PARTS 3
#define MOST_MISSING 3 // rows of a tile with dots
#define MOST_DOTS_INNER 4096
#define UNEVEN_STRIDE 1024
#define MOST_INNER 16384
#define COLS 96 // of the smallest piece

// Dots take 16 rows, or twice 16, in the time of fewer. Columns of B whose distance is a large power of two would share
// few places of the L1 cache; long ones are fast anyway (cpu/product_dots.h).
static bool suits_dots(const lora_device *device, int64_t m, const lr_product_term *term)
{
    const int64_t missing = (LR_ROWS_TILE - m % LR_ROWS_TILE) % LR_ROWS_TILE;
    return lr_bf16_has_dots(device) && (term->coarse & LORA_COARSE_BF16_TWICE) && missing <= MOST_MISSING &&
           term->k <= MOST_DOTS_INNER && term->b.stride % UNEVEN_STRIDE != 0;
}

bool lr_rows_product_suits(const lora_device *device, int64_t m, int64_t n, const lr_product_term *term)
{
    return (lr_bf16_has_tiles(device) || suits_dots(device, m, term)) && m >= LEAST_ROWS && m <= MOST_ROWS &&
           n >= LR_ROWS_LEAST_COLS && term->b.type == LORA_TYPE_BF16 && term->b.transposed && !term->a.transposed &&
           term->k % LR_ROWS_STEP == 0 && term->k > 0 && term->k <= MOST_INNER;
}

#if defined(__x86_64__)

static uint64_t lane_bytes(int64_t parts, int64_t halves, int64_t inner)
{
    return lr_align64((uint64_t)(inner * parts * halves * LR_ROWS_TILE) * sizeof(uint16_t));
}

uint64_t lr_rows_product_workspace(const lora_device *device, int64_t max_inner)
{
    if (!lr_bf16_blocks_suit(device)) return 0;
    return (uint64_t)device->threads *
           lane_bytes(MOST_PARTS, MOST_ROWS / LR_ROWS_TILE, lr_smaller(max_inner, MOST_INNER));
}

typedef struct pieces_job {
    lr_rows_job rows;
    void (*multiply)(const lr_rows_job *rows, const uint16_t *packed, int64_t j, int64_t end);
    const lr_product_term *term;
    const lr_finish *finish;
    int64_t piece; // columns
} pieces_job;

static void begin_lane(const lr_lane *lane, void *argument)
{
    const pieces_job *job = argument;
    lr_rows_pack(&job->rows, job->term, lane->room);
    if (job->finish) job->finish->begin(lane, job->finish->argument);
}

static void multiply_piece(int64_t index, void *packed, void *argument)
{
    const pieces_job *job = argument;
    const int64_t j = index * job->piece, end = lr_smaller(j + job->piece, job->rows.n);
    job->multiply(&job->rows, packed, j, end);
    if (job->finish) job->finish->columns(j, end, job->finish->argument);
}

void lr_rows_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride, const lr_finish *finish)
{
    const bool tiles = lr_bf16_has_tiles(device);
    const bool rounds = (term->coarse & LORA_COARSE_BF16) && m >= LR_BF16_LEAST_ROWS;
    pieces_job job = {.rows = {.m = m,
                               .n = n,
                               .steps = term->k / LR_ROWS_STEP,
                               .parts = rounds ? 1 : tiles ? MOST_PARTS : 2,
                               .halves = m > LR_ROWS_TILE ? 2 : 1,
                               .weight = term->b.data,
                               .weight_stride = term->b.stride,
                               .accumulate = accumulate,
                               .c = c,
                               .c_stride = c_stride},
                      .multiply = tiles ? lr_amx_multiply_rows : lr_dots_multiply_rows,
                      .term = term,
                      .finish = finish,
                      .piece = lr_cut_columns(device->threads, n, term->k, COLS)};
    lr_cpu_lanes(device, lr_pieces(n, job.piece), lane_bytes(job.rows.parts, job.rows.halves, term->k), begin_lane,
                 multiply_piece, &job);
}

#else

uint64_t lr_rows_product_workspace(const lora_device *device, int64_t max_inner)
{
    (void)device, (void)max_inner;
    return 0;
}

void lr_rows_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate, float *c,
                     int64_t c_stride, const lr_finish *finish)
{
    (void)device, (void)m, (void)n, (void)term, (void)accumulate, (void)c, (void)c_stride,
        (void)finish;
}

#endif
