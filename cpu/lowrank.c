// The thin products of a low-rank pair. What sums over features (H, dH) is dot products along rows; what sums over
// tokens (dA, dB) reads the tokens' rows in strips of columns, each strip by one piece, in the tokens' order, so that
// nothing is added up across threads; what writes activations (Y, dX) is a packed product with r inner numbers.
#include "cpu/lowrank.h"

#include "cpu/ops.h"
#include "cpu/product.h"
#include "cpu/product_kernels.h"

#define DOT_TOKENS 32     // tokens in a piece of H or dH
#define STRIP 32          // columns in a piece of dA or dB
#define TURNED_BYTES (512 << 10) // of B^T at a time
#define TURNED_ROWS 64    // rows of B in a piece of its transposition

typedef struct lowrank_job {
    const lr_product_kernels *kernels;
    int64_t m, n, r; // tokens, features, rank
    float scale;
    lr_matrix tall;  // [m, n]: activations or their gradient
    lr_matrix thin;  // [m, r]
    lr_matrix pair;  // dots: [r, n]
    bool accumulate;
    float *out;      // sums over tokens: [r, n] by these strides
    int64_t out_row, out_col;
} lowrank_job;

static lr_operand operand(lr_matrix matrix, bool transposed)
{
    return (lr_operand){.data = matrix.data, .stride = matrix.stride, .type = LORA_TYPE_F32, .transposed = transposed};
}

// thin[i, :] (+)= scale * tall[i, :] pair^T for one run of tokens.
static void dot_piece(int64_t index, void *argument)
{
    const lowrank_job *job = argument;
    int64_t i = index * DOT_TOKENS, tokens = lr_smaller(DOT_TOKENS, job->m - i);
    lr_operand rows = operand(job->tall, true);
    job->kernels->dots(job->r, tokens, job->n, job->scale, job->pair.data, job->pair.stride, &rows, i, job->accumulate,
                       job->thin.data + i * job->thin.stride, 1, job->thin.stride);
}

static void run_dots(lora_device *device, lowrank_job *job)
{
    lr_cpu_parallel(device, (job->m + DOT_TOKENS - 1) / DOT_TOKENS, dot_piece, job);
}

// out (+)= scale * thin^T tall for one strip of features.
static void strip_piece(int64_t index, void *argument)
{
    const lowrank_job *job = argument;
    int64_t j = index * STRIP, width = lr_smaller(STRIP, job->n - j);
    lr_operand rows = operand(job->tall, false);
    job->kernels->sweep(job->r, width, job->m, job->scale, job->thin.data, 1, job->thin.stride, &rows, j, true,
                        job->out + j * job->out_col, job->out_row, job->out_col);
}

static void run_strips(lora_device *device, lowrank_job *job)
{
    lr_cpu_parallel(device, (job->n + STRIP - 1) / STRIP, strip_piece, job);
}

void lr_lowrank_hidden(lora_device *device, int64_t m, int64_t k, int64_t r, lr_matrix x, lr_matrix a, lr_matrix h)
{
    lowrank_job job = {.kernels = lr_product_kernels_for(device->features), .m = m, .n = k, .r = r, .scale = 1,
                       .tall = x, .thin = h, .pair = a};
    run_dots(device, &job);
}

void lr_lowrank_output(lora_device *device, int64_t m, int64_t n, int64_t r, float scale, lr_matrix h, lr_matrix b,
                       lr_matrix y)
{
    lr_product(device, m, n, r, scale, operand(h, false), operand(b, true), true, y.data, y.stride);
}

typedef struct turn_job {
    lr_matrix from, to;
    int64_t rows, r;
} turn_job;

static void turn_piece(int64_t index, void *argument)
{
    const turn_job *job = argument;
    int64_t end = lr_smaller((index + 1) * TURNED_ROWS, job->rows);
    for (int64_t l = 0; l < job->r; l++)
        for (int64_t j = index * TURNED_ROWS; j < end; j++)
            job->to.data[l * job->to.stride + j] = job->from.data[j * job->from.stride + l];
}

void lr_lowrank_grad_hidden(lora_device *device, int64_t m, int64_t n, int64_t r, float scale, lr_matrix dy,
                            lr_matrix b, lr_matrix dh)
{
    int64_t part = TURNED_BYTES / (r * (int64_t)sizeof(float)) / TURNED_ROWS * TURNED_ROWS;
    for (int64_t j = 0; j < n; j += part) {
        int64_t rows = lr_smaller(part, n - j);
        turn_job turn = {{b.data + j * b.stride, b.stride}, {(float *)(void *)device->workspace, rows}, rows, r};
        lr_cpu_parallel(device, (rows + TURNED_ROWS - 1) / TURNED_ROWS, turn_piece, &turn);
        lowrank_job job = {.kernels = lr_product_kernels_for(device->features), .m = m, .n = rows, .r = r,
                           .scale = scale, .tall = {dy.data + j, dy.stride}, .thin = dh, .pair = turn.to,
                           .accumulate = j > 0};
        run_dots(device, &job);
    }
}

void lr_lowrank_grad_input(lora_device *device, int64_t m, int64_t k, int64_t r, lr_matrix dh, lr_matrix a,
                           lr_matrix dx)
{
    lr_product(device, m, k, r, 1, operand(dh, false), operand(a, false), true, dx.data, dx.stride);
}

void lr_lowrank_grad_a(lora_device *device, int64_t m, int64_t k, int64_t r, lr_matrix dh, lr_matrix x, lr_matrix da)
{
    lowrank_job job = {.kernels = lr_product_kernels_for(device->features), .m = m, .n = k, .r = r, .scale = 1,
                       .tall = x, .thin = dh, .out = da.data, .out_row = da.stride, .out_col = 1};
    run_strips(device, &job);
}

void lr_lowrank_grad_b(lora_device *device, int64_t m, int64_t n, int64_t r, float scale, lr_matrix dy, lr_matrix h,
                       lr_matrix db)
{
    lowrank_job job = {.kernels = lr_product_kernels_for(device->features), .m = m, .n = n, .r = r, .scale = scale,
                       .tall = dy, .thin = h, .out = db.data, .out_row = 1, .out_col = db.stride};
    run_strips(device, &job);
}
