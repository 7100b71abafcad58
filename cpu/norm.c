// RMS norm and layer norm over whole rows, or over groups of columns (q/k norms):
// x^ = (x - mean) / deviation, y = x^ w + b.
#include "cpu/ops.h"

#include <math.h>

#define CHUNK 512 // numbers of x that are converted at once, where they are no f32

typedef struct norm_job {
    const lora_device *device;
    const lora_norm *norm;
    lora_view y, x, statistics;
    lora_view grad_x, grad_y;
    float *weight, *bias; // [group] f32; bias may be NULL
    int64_t group, groups; // columns of a group, groups of a row
    int64_t rows;          // of a piece
    bool accumulate;
} norm_job;

uint64_t lr_norm_workspace(int64_t cols)
{
    return 2 * lr_align64((uint64_t)cols * sizeof(float));
}

// Weight and bias as f32 in the workspace.
static lora_status take_weight(lora_device *device, norm_job *job, int64_t cols)
{
    const lora_norm *norm = job->norm;
    job->device = device;
    job->group = norm->group ? norm->group : cols;
    job->groups = cols / job->group;
    LR_TRY(lr_need_workspace(device, "norm", lr_norm_workspace(job->group)));
    job->weight = (float *)(void *)device->workspace;
    if (lr_present(&norm->weight)) {
        lr_load_row(device, job->weight, &norm->weight, 0, 0, job->group);
        for (int64_t j = 0; j < job->group; j++) job->weight[j] += norm->weight_offset;
    } else {
        device->kernels->fill(job->weight, 1, job->group);
    }
    if (!lr_present(&norm->bias)) return LORA_OK;
    job->bias = (float *)(void *)(device->workspace + lr_align64((uint64_t)job->group * sizeof(float)));
    lr_load_row(device, job->bias, &norm->bias, 0, 0, job->group);
    return LORA_OK;
}

// Numbers [begin, begin + *count) of group g of a row of x, as many as there are at once.
static const float *numbers_of(const norm_job *job, float room[CHUNK], int64_t row, int64_t g, int64_t begin,
                               int64_t *count)
{
    *count = job->group - begin;
    if (job->x.type != LORA_TYPE_F32) *count = lr_smaller(CHUNK, *count);
    return lr_row_numbers(job->device, room, &job->x, row, g * job->group + begin, *count);
}

static lr_norm_row row_statistics(const norm_job *job, int64_t row, int64_t g)
{
    const lr_kernels *kernels = job->device->kernels;
    float room[CHUNK], sum = 0, squares = 0;
    int64_t count;
    for (int64_t begin = 0; begin < job->group && job->norm->kind == LORA_NORM_LAYER; begin += count) {
        const float *x = numbers_of(job, room, row, g, begin, &count);
        sum += kernels->sum(x, count);
    }
    const float n = (float)job->group, mean = sum / n;
    for (int64_t begin = 0; begin < job->group; begin += count) {
        const float *x = numbers_of(job, room, row, g, begin, &count);
        squares += kernels->square_sum(x, mean, count);
    }
    return (lr_norm_row){mean, 1.0f / sqrtf(squares / n + job->norm->epsilon)};
}

static void forward_rows(int64_t index, void *argument)
{
    const norm_job *job = argument;
    const int64_t end = lr_smaller(job->x.rows, (index + 1) * job->rows);
    float room[CHUNK];
    int64_t count;
    for (int64_t i = index * job->rows; i < end; i++)
        for (int64_t g = 0; g < job->groups; g++) {
            const lr_norm_row row = row_statistics(job, i, g);
            float *y = lr_row(&job->y, i) + g * job->group;
            for (int64_t begin = 0; begin < job->group; begin += count) {
                const float *x = numbers_of(job, room, i, g, begin, &count);
                if (lr_present(&job->norm->copy))
                    lr_store_row(job->device, &job->norm->copy, i, g * job->group + begin, x, count);
                job->device->kernels->norm(y + begin, x, row, job->weight + begin, job->bias ? job->bias + begin : NULL,
                                           count);
            }
            if (!lr_present(&job->statistics)) continue;
            float *statistics = lr_row(&job->statistics, i * job->groups + g);
            statistics[0] = row.mean;
            statistics[1] = row.inverse;
        }
}

lora_status lr_norm_forward(lora_device *device, lora_view y, lora_view statistics, lora_view x, const lora_norm *norm)
{
    norm_job job = {.norm = norm, .y = y, .x = x, .statistics = statistics, .rows = lr_piece_rows(x.cols)};
    lr_cpu_lock(device);
    lora_status status = take_weight(device, &job, x.cols);
    if (status == LORA_OK) lr_cpu_parallel(device, lr_pieces(x.rows, job.rows), forward_rows, &job);
    lr_cpu_unlock(device);
    return status;
}

static lr_norm_row saved_statistics(const norm_job *job, int64_t row, int64_t group)
{
    const float *statistics = lr_row(&job->statistics, row * job->groups + group);
    return (lr_norm_row){statistics[0], statistics[1]};
}

// gx = inverse * (w g - mean(w g) - x^ mean(w g x^)); RMS norm has no mean to subtract.
static void backward_rows(int64_t index, void *argument)
{
    const norm_job *job = argument;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t end = lr_smaller(job->x.rows, (index + 1) * job->rows);
    float room[CHUNK];
    int64_t count;
    for (int64_t i = index * job->rows; i < end; i++)
        for (int64_t g = 0; g < job->groups; g++) {
            const float *gy = lr_row(&job->grad_y, i) + g * job->group;
            float *gx = lr_row(&job->grad_x, i) + g * job->group;
            const lr_norm_row row = saved_statistics(job, i, g);
            float means[2] = {0, 0}, sums[2];
            for (int64_t begin = 0; begin < job->group; begin += count) {
                const float *x = numbers_of(job, room, i, g, begin, &count);
                kernels->norm_sums(sums, gy + begin, x, row, job->weight + begin, count);
                if (job->norm->kind == LORA_NORM_LAYER) means[0] += sums[0] / (float)job->group;
                means[1] += sums[1] / (float)job->group;
            }
            for (int64_t begin = 0; begin < job->group; begin += count) {
                const float *x = numbers_of(job, room, i, g, begin, &count);
                kernels->norm_gradient(gx + begin, gy + begin, x, row, job->weight + begin, means, job->accumulate,
                                       count);
            }
        }
}

#define WEIGHT_COLUMNS 64 // of a piece

// A piece is a strip of columns: rows are added up in the order of the batch.
static void backward_columns(int64_t index, void *argument)
{
    const norm_job *job = argument;
    const int64_t begin = index * WEIGHT_COLUMNS, count = lr_smaller(WEIGHT_COLUMNS, job->group - begin);
    float *gw = lr_present(&job->norm->grad_weight) ? lr_row(&job->norm->grad_weight, 0) + begin : NULL;
    float *gb = lr_present(&job->norm->grad_bias) ? lr_row(&job->norm->grad_bias, 0) + begin : NULL;
    float room[WEIGHT_COLUMNS];
    for (int64_t i = 0; i < job->x.rows; i++)
        for (int64_t g = 0; g < job->groups; g++) {
            const int64_t column = g * job->group + begin;
            const float *x = lr_row_numbers(job->device, room, &job->x, i, column, count);
            job->device->kernels->norm_weight_gradient(gw, gb, lr_row(&job->grad_y, i) + column, x,
                                                       saved_statistics(job, i, g), count);
        }
}

lora_status lr_norm_backward(lora_device *device, lora_view grad_x, lora_view grad_y, lora_view x, lora_view statistics,
                             const lora_norm *norm, int32_t accumulate)
{
    norm_job job = {.norm = norm, .x = x, .statistics = statistics, .grad_x = grad_x, .grad_y = grad_y};
    job.accumulate = accumulate != 0;
    job.rows = lr_piece_rows(x.cols);
    lr_cpu_lock(device);
    lora_status status = take_weight(device, &job, x.cols);
    if (status == LORA_OK && (lr_present(&norm->grad_weight) || lr_present(&norm->grad_bias)))
        lr_cpu_parallel(device, lr_pieces(job.group, WEIGHT_COLUMNS), backward_columns, &job);
    if (status == LORA_OK && lr_present(&grad_x))
        lr_cpu_parallel(device, lr_pieces(x.rows, job.rows), backward_rows, &job);
    lr_cpu_unlock(device);
    return status;
}
