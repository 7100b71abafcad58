// The optimizer's update over many tensors, and the sum of squares that clipping needs.
#include "cpu/ops.h"

#include <math.h>

#define SUM_PIECES 64 // partial sums, added in order

typedef struct sum_job {
    const lora_device *device;
    const lora_view *tensors;
    int64_t count;
    double part[SUM_PIECES];
} sum_job;

// Piece p takes every SUM_PIECES-th run of LR_CPU_PIECE numbers, counted through all rows of all tensors.
static void sum_piece(int64_t piece, void *argument)
{
    sum_job *job = argument;
    int64_t run = 0;
    double sum = 0;
    for (int64_t t = 0; t < job->count; t++) {
        const lora_view *view = &job->tensors[t];
        const bool joined = view->stride == view->cols;
        const int64_t rows = joined ? 1 : view->rows, cols = joined ? view->rows * view->cols : view->cols;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t begin = 0; begin < cols; begin += LR_CPU_PIECE, run++)
                if (run % SUM_PIECES == piece)
                    sum += job->device->kernels->square_sum_exact(lr_row(view, i) + begin,
                                                                  lr_smaller(LR_CPU_PIECE, cols - begin));
    }
    job->part[piece] = sum;
}

lora_status lr_square_sum(lora_device *device, const lora_view *tensors, int64_t count, double *sum)
{
    sum_job job = {.device = device, .tensors = tensors, .count = count};
    lr_cpu_run(device, SUM_PIECES, sum_piece, &job);
    *sum = 0;
    for (int i = 0; i < SUM_PIECES; i++) *sum += job.part[i];
    return LORA_OK;
}

typedef struct adamw_job {
    const lora_device *device;
    const lora_parameter *parameter;
    lr_adamw_step step;
    int64_t rows, columns; // of a piece
    int64_t strips;        // pieces side by side
} adamw_job;

static void update_piece(int64_t index, void *argument)
{
    const adamw_job *job = argument;
    const lora_parameter *p = job->parameter;
    const int64_t begin = index / job->strips * job->rows, end = lr_smaller(p->value.rows, begin + job->rows);
    const int64_t column = index % job->strips * job->columns, n = lr_smaller(job->columns, p->value.cols - column);
    for (int64_t i = begin; i < end; i++)
        job->device->kernels->adamw(lr_row(&p->value, i) + column, lr_row(&p->gradient, i) + column,
                                    lr_row(&p->first_moment, i) + column, lr_row(&p->second_moment, i) + column,
                                    &job->step, n);
}

lora_status lr_adamw(lora_device *device, const lora_parameter *parameters, int64_t count, const lora_adamw *settings)
{
    const double correction1 = 1 - pow((double)settings->beta1, (double)settings->step);
    const double correction2 = 1 - pow((double)settings->beta2, (double)settings->step);
    lr_cpu_lock(device);
    for (int64_t t = 0; t < count; t++) {
        const lora_parameter *p = &parameters[t];
        adamw_job job = {.device = device, .parameter = p};
        job.step = (lr_adamw_step){
            .beta1 = settings->beta1,
            .beta2 = settings->beta2,
            .epsilon = settings->epsilon,
            .gradient_scale = settings->gradient_scale,
            .decay = (float)(1 - (double)p->learning_rate * (double)p->weight_decay),
            .step_size = (float)((double)p->learning_rate / correction1),
            .root_factor = (float)(1 / sqrt(correction2)),
            .zero_gradient = settings->zero_gradient != 0,
        };
        job.rows = lr_piece_rows(p->value.cols);
        job.columns = lr_smaller(p->value.cols, LR_CPU_PIECE);
        job.strips = job.columns ? lr_pieces(p->value.cols, job.columns) : 0;
        lr_cpu_parallel(device, lr_pieces(p->value.rows, job.rows) * job.strips, update_piece, &job);
    }
    lr_cpu_unlock(device);
    return LORA_OK;
}
