// The linear layer with its low-rank pairs.
//   h_p = dropout(x) A_p^T, y = x W^T + sum_p scale_p h_p B_p^T + bias
//   dh_p = scale_p gy B_p, gx = gy W + sum_p mask(dh_p A_p), gA_p += dh_p^T dropout(x), gB_p += scale_p gy^T h_p
// The product and the pairs that cover all rows and have no mask to apply make one sum, so y (gx) is passed over once;
// in answers, pairs of few rows and the bias follow in the columns of y that a thread has just computed.
// dropout(x) exists for DROPOUT_ROWS rows at a time.
#include "cpu/lowrank.h"
#include "cpu/ops.h"
#include "cpu/product.h"
#include "cpu/small_pairs.h"

#define DROPOUT_ROWS 256 // of x at a time
#define BIAS_COLUMNS 64  // of a piece of the bias gradient

// Where the parts of the workspace lie: the product's own, dropped rows, and what pairs share no other place for.
typedef struct linear_room {
    float *dropped; // [DROPOUT_ROWS, in]
    float *thin;    // [rows, sum of ranks], the pairs' one after another
    uint8_t *small; // hidden values of small pairs
} linear_room;

// Forward and backward multiply rows by the weight; the weight's gradient sums over rows.
static uint64_t product_bytes(const lora_device *device, int64_t rows, int64_t cols, int64_t inner, int64_t rank,
                              bool only_f32)
{
    const int64_t width = lr_larger(cols, inner);
    const uint64_t along = lr_product_workspace(device, rows, width, width + rank, only_f32);
    const uint64_t across = lr_product_workspace(device, rows, width, rows, true);
    return lr_align64(along > across ? along : across);
}

static uint64_t dropped_bytes(int64_t rows, int64_t inner)
{
    return lr_align64((uint64_t)(lr_smaller(rows, DROPOUT_ROWS) * inner) * sizeof(float));
}

static uint64_t thin_bytes(int64_t rows, int64_t rank)
{
    return lr_align64((uint64_t)(rows * rank) * sizeof(float));
}

// Of LR_SMALL_PAIRS at most: each fills whole lines.
static uint64_t small_bytes(int64_t rows, int64_t rank)
{
    return (uint64_t)LR_SMALL_PAIRS * lr_small_hidden_bytes(0) + thin_bytes(rows, rank);
}

uint64_t lr_linear_workspace(const lora_device *device, int64_t rows, int64_t cols, int64_t inner, int64_t rank,
                             bool only_f32)
{
    uint64_t bytes = product_bytes(device, rows, cols, inner, rank, only_f32);
    if (rank == 0) return bytes;
    return bytes + dropped_bytes(rows, inner) + thin_bytes(rows, rank) + small_bytes(rows, rank);
}

static lora_status take_room(lora_device *device, const lora_linear *linear, int64_t rows, int64_t out, int64_t in,
                             linear_room *room)
{
    int64_t numbers = 0; // of hidden values
    for (int32_t p = 0; p < linear->pair_count; p++) numbers += linear->pairs[p].a.rows * linear->pairs[p].row_count;
    const int64_t rank = lr_pieces(numbers, lr_larger(1, rows));
    const bool only_f32 = linear->weight.type == LORA_TYPE_F32;
    LR_TRY(lr_need_workspace(device, "linear layer", lr_linear_workspace(device, rows, out, in, rank, only_f32)));
    if (rank == 0) return LORA_OK;
    uint8_t *begin = device->workspace + product_bytes(device, rows, out, in, rank, only_f32);
    room->dropped = (float *)(void *)begin;
    room->thin = (float *)(void *)(begin + dropped_bytes(rows, in));
    room->small = (uint8_t *)room->thin + thin_bytes(rows, rank);
    return LORA_OK;
}

static lr_operand thin_operand(const float *data, int64_t stride)
{
    return (lr_operand){.data = data, .stride = stride, .type = LORA_TYPE_F32};
}

static lr_matrix matrix(const lora_view *view, int64_t row)
{
    return (lr_matrix){lr_row(view, row), view->stride};
}

static bool covers(const lora_pair *pair, int64_t rows)
{
    return pair->row_begin == 0 && pair->row_count == rows;
}

/* ---- dropout ---- */

typedef struct dropout_job {
    const lora_device *device;
    const lora_dropout *dropout;
    lora_view source; // x (to be dropped), or grad_x (to be added to)
    float *dropped;   // [count, cols]
    int64_t begin, count; // rows of source
    int64_t rows;         // of a piece
} dropout_job;

static void drop_rows(int64_t index, void *argument)
{
    const dropout_job *job = argument;
    const int64_t cols = job->source.cols, end = lr_smaller(job->count, (index + 1) * job->rows);
    for (int64_t i = index * job->rows; i < end; i++) {
        const int64_t row = job->begin + i;
        job->device->kernels->dropout(job->dropped + i * cols, lr_row(&job->source, row), job->dropout,
                                      (uint64_t)row * (uint64_t)cols, cols);
    }
}

static void add_masked_rows(int64_t index, void *argument)
{
    const dropout_job *job = argument;
    const int64_t cols = job->source.cols, end = lr_smaller(job->count, (index + 1) * job->rows);
    for (int64_t i = index * job->rows; i < end; i++) {
        const int64_t row = job->begin + i;
        float *part = job->dropped + i * cols;
        job->device->kernels->dropout(part, part, job->dropout, (uint64_t)row * (uint64_t)cols, cols);
        job->device->kernels->add(lr_row(&job->source, row), part, 1, cols);
    }
}

static void run_dropout(lora_device *device, const lora_pair *pair, const lora_view *source, float *dropped,
                        int64_t begin, int64_t count, void (*task)(int64_t index, void *argument))
{
    dropout_job job = {device, &pair->dropout, *source, dropped, begin, count, lr_piece_rows(4 * source->cols)};
    lr_cpu_parallel(device, lr_pieces(count, job.rows), task, &job);
}

/* ---- forward ---- */

// What follows the product in columns that are just computed: pairs of few rows, and the bias.
typedef struct finish_job {
    const lora_device *device;
    lora_view y, bias;
    lr_small_pairs *pairs;
} finish_job;

static void begin_lane(const lr_lane *lane, void *argument)
{
    lr_small_pairs_begin(((const finish_job *)argument)->pairs, lane);
}

static void finish_columns(int64_t j, int64_t end, void *argument)
{
    const finish_job *job = argument;
    lr_small_pairs_columns(job->pairs, j, end);
    if (!lr_present(&job->bias)) return;
    for (int64_t i = 0; i < job->y.rows; i++)
        job->device->kernels->add(lr_row(&job->y, i) + j, lr_row(&job->bias, 0) + j, 1, end - j);
}

static void hidden_forward(lora_device *device, const lora_pair *pair, const lora_view *x, float *dropped,
                           lr_matrix hidden)
{
    const int64_t in = x->cols, rank = pair->a.rows;
    if (pair->dropout.p == 0) {
        lr_lowrank_hidden(device, pair->row_count, in, rank, matrix(x, pair->row_begin), matrix(&pair->a, 0), hidden);
        return;
    }
    for (int64_t begin = 0; begin < pair->row_count; begin += DROPOUT_ROWS) {
        const int64_t count = lr_smaller(DROPOUT_ROWS, pair->row_count - begin);
        run_dropout(device, pair, x, dropped, pair->row_begin + begin, count, drop_rows);
        lr_lowrank_hidden(device, count, in, rank, (lr_matrix){dropped, in}, matrix(&pair->a, 0),
                          (lr_matrix){hidden.data + begin * hidden.stride, hidden.stride});
    }
}

// Where they are kept, or in `thin`.
static lr_matrix hidden_of(lora_device *device, const lora_pair *pair, const lora_view *x, float *dropped, float *thin)
{
    const bool kept = lr_present(&pair->hidden);
    const lr_matrix hidden = kept ? matrix(&pair->hidden, pair->row_begin) : (lr_matrix){thin, pair->a.rows};
    hidden_forward(device, pair, x, dropped, hidden);
    return hidden;
}

static bool is_small(const lora_pair *pair)
{
    return pair->dropout.p == 0 && !lr_present(&pair->hidden) && pair->row_count <= LR_SMALL_ROWS;
}

// Small pairs from *next on, as many as go at once.
static void take_small_pairs(lr_small_pairs *small, const lora_linear *linear, int32_t *next, const lora_view *y,
                             const lora_view *x, uint8_t *room)
{
    small->count = 0;
    for (; *next < linear->pair_count && small->count < LR_SMALL_PAIRS; (*next)++) {
        const lora_pair *pair = &linear->pairs[*next];
        if (!is_small(pair)) continue;
        room = lr_small_pairs_add(small,
                                  (lr_small_pair){.m = pair->row_count,
                                                  .r = pair->a.rows,
                                                  .scale = pair->scale,
                                                  .x = matrix(x, pair->row_begin),
                                                  .a = matrix(&pair->a, 0),
                                                  .b = matrix(&pair->b, 0),
                                                  .y = matrix(y, pair->row_begin)},
                                  room);
    }
}

lora_status lr_linear_forward(lora_device *device, lora_view y, lora_view x, const lora_linear *linear,
                              int32_t accumulate)
{
    linear_room room = {0};
    lr_cpu_lock(device);
    lora_status status = take_room(device, linear, x.rows, y.cols, x.cols, &room);
    if (status != LORA_OK) goto done;

    float *thin = room.thin;
    int32_t next = 0; // pair to look at, whether it is small
    lr_small_pairs small;
    lr_small_pairs_init(&small, device, x.cols);
    take_small_pairs(&small, linear, &next, &y, &x, room.small);
    finish_job job = {device, y, linear->bias, &small};
    const lr_finish finish = {begin_lane, finish_columns, &job};

    lr_product_term terms[LR_PRODUCT_TERMS] = {{lr_operand_of(&x, 0, false),
                                                lr_operand_of(&linear->weight, 0, !linear->transposed), x.cols, 1.0f,
                                                linear->coarse, linear->as_alone != 0}};
    int32_t count = 1, joined = 0; // terms; pairs before the first that cannot be one
    for (; joined < linear->pair_count && count < LR_PRODUCT_TERMS; joined++) {
        const lora_pair *pair = &linear->pairs[joined];
        if (is_small(pair)) continue;
        if (!covers(pair, x.rows)) break;
        const lr_matrix hidden = hidden_of(device, pair, &x, room.dropped, thin);
        terms[count++] = (lr_product_term){thin_operand(hidden.data, hidden.stride), lr_operand_of(&pair->b, 0, true),
                                           pair->a.rows, pair->scale, 0, false};
        thin += x.rows * pair->a.rows;
    }
    const bool has_finish = small.count > 0 || lr_present(&job.bias);
    lr_product_sum(device, y.rows, y.cols, count, terms, accumulate != 0, lr_row(&y, 0), y.stride,
                   has_finish ? &finish : NULL);
    for (int32_t p = joined; p < linear->pair_count; p++) {
        const lora_pair *pair = &linear->pairs[p];
        if (is_small(pair)) continue;
        const lr_matrix hidden = hidden_of(device, pair, &x, room.dropped, thin);
        lr_lowrank_output(device, pair->row_count, y.cols, pair->a.rows, pair->scale, hidden, matrix(&pair->b, 0),
                          matrix(&y, pair->row_begin));
    }
    job.bias = (lora_view){0};
    while (next < linear->pair_count) {
        take_small_pairs(&small, linear, &next, &y, &x, room.small);
        if (small.count) lr_finish_columns(device, y.rows, y.cols, &finish);
    }
done:
    lr_cpu_unlock(device);
    return status;
}

/* ---- backward ---- */

typedef struct bias_job {
    const lora_device *device;
    lora_view grad_y, grad_bias;
} bias_job;

static void add_bias_gradient(int64_t index, void *argument)
{
    const bias_job *job = argument;
    const int64_t begin = index * BIAS_COLUMNS, count = lr_smaller(BIAS_COLUMNS, job->grad_y.cols - begin);
    for (int64_t i = 0; i < job->grad_y.rows; i++)
        job->device->kernels->add(lr_row(&job->grad_bias, 0) + begin, lr_row(&job->grad_y, i) + begin, 1, count);
}

// gA += dh^T dropout(x) and gx += mask(dh A). `joined`: gx has the pair's part already.
static void pair_backward(lora_device *device, const lora_pair *pair, lora_view grad_x, lora_view x, float *dropped,
                          lr_matrix dh, bool joined)
{
    const int64_t rank = pair->a.rows, in = pair->a.cols, rows = pair->row_count, first = pair->row_begin;
    const bool wants_a = lr_present(&pair->grad_a), wants_x = lr_present(&grad_x) && !joined;
    if (pair->dropout.p == 0) {
        if (wants_a) lr_lowrank_grad_a(device, rows, in, rank, dh, matrix(&x, first), matrix(&pair->grad_a, 0));
        if (wants_x) lr_lowrank_grad_input(device, rows, in, rank, dh, matrix(&pair->a, 0), matrix(&grad_x, first));
        return;
    }
    for (int64_t begin = 0; begin < rows; begin += DROPOUT_ROWS) {
        const int64_t count = lr_smaller(DROPOUT_ROWS, rows - begin);
        const lr_matrix part = {dh.data + begin * dh.stride, dh.stride};
        if (wants_a) {
            run_dropout(device, pair, &x, dropped, first + begin, count, drop_rows);
            lr_lowrank_grad_a(device, count, in, rank, part, (lr_matrix){dropped, in}, matrix(&pair->grad_a, 0));
        }
        if (!wants_x) continue;
        lr_product(device, count, in, rank, 1, thin_operand(part.data, part.stride), lr_operand_of(&pair->a, 0, false),
                   false, dropped, in);
        run_dropout(device, pair, &grad_x, dropped, first + begin, count, add_masked_rows);
    }
}

static void weight_backward(lora_device *device, const lora_view *grad_y, const lora_view *x, const lora_linear *linear)
{
    const lora_view *left = linear->transposed ? x : grad_y, *right = linear->transposed ? grad_y : x;
    if (lr_present(&linear->grad_weight))
        lr_product(device, left->cols, right->cols, grad_y->rows, 1, lr_operand_of(left, 0, true),
                   lr_operand_of(right, 0, false), true, lr_row(&linear->grad_weight, 0), linear->grad_weight.stride);
    if (lr_present(&linear->grad_bias)) {
        bias_job job = {device, *grad_y, linear->grad_bias};
        lr_cpu_parallel(device, lr_pieces(grad_y->cols, BIAS_COLUMNS), add_bias_gradient, &job);
    }
}

lora_status lr_linear_backward(lora_device *device, lora_view grad_x, lora_view grad_y, lora_view x,
                               const lora_linear *linear, int32_t accumulate)
{
    const bool wants_x = lr_present(&grad_x);
    const int64_t rows = grad_y.rows, out = grad_y.cols;
    const int64_t in = linear->transposed ? linear->weight.rows : linear->weight.cols;
    linear_room room = {0};
    lr_cpu_lock(device);
    lora_status status = take_room(device, linear, rows, out, in, &room);
    if (status != LORA_OK) goto done;

    lr_product_term terms[LR_PRODUCT_TERMS] = {{lr_operand_of(&grad_y, 0, false),
                                                lr_operand_of(&linear->weight, 0, linear->transposed), out, 1.0f,
                                                linear->coarse, false}};
    int32_t count = 1, joined = 0;
    float *thin = room.thin;
    for (int32_t p = 0; p < linear->pair_count; p++) {
        const lora_pair *pair = &linear->pairs[p];
        const int64_t rank = pair->a.rows;
        const lr_matrix dh = {thin, rank};
        lr_lowrank_grad_hidden(device, pair->row_count, out, rank, pair->scale, matrix(&grad_y, pair->row_begin),
                               matrix(&pair->b, 0), dh);
        thin += pair->row_count * rank;
        if (joined < p || count == LR_PRODUCT_TERMS || pair->dropout.p != 0 || !covers(pair, rows)) continue;
        terms[count++] =
            (lr_product_term){thin_operand(dh.data, rank), lr_operand_of(&pair->a, 0, false), rank, 1.0f, 0, false};
        joined++;
    }
    if (wants_x) lr_product_sum(device, rows, in, count, terms, accumulate != 0, lr_row(&grad_x, 0), grad_x.stride,
                                NULL);
    thin = room.thin;
    for (int32_t p = 0; p < linear->pair_count; p++) {
        const lora_pair *pair = &linear->pairs[p];
        const int64_t rank = pair->a.rows;
        if (lr_present(&pair->grad_b))
            lr_lowrank_grad_b(device, pair->row_count, out, rank, pair->scale, matrix(&grad_y, pair->row_begin),
                              matrix(&pair->hidden, pair->row_begin), matrix(&pair->grad_b, 0));
        pair_backward(device, pair, grad_x, x, room.dropped, (lr_matrix){thin, rank}, p < joined);
        thin += pair->row_count * rank;
    }
    weight_backward(device, &grad_y, &x, linear);
done:
    lr_cpu_unlock(device);
    return status;
}
