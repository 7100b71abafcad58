// weight += scale * B A, in f32.
#include "cpu/ops.h"

#define MERGE_ROWS 32 // of the weight, to a piece
#define MERGE_RANK 64 // inner numbers at a time

typedef struct merge_job {
    const lora_device *device;
    lora_view weight, a, b;
    float scale;
} merge_job;

// weight[rows, in] += (scale * b[rows, r]) a[r, in]
static void merge_rows(int64_t index, void *argument)
{
    const merge_job *job = argument;
    const int64_t begin = index * MERGE_ROWS, rows = lr_smaller(MERGE_ROWS, job->weight.rows - begin);
    float scaled[MERGE_ROWS * MERGE_RANK];
    for (int64_t l = 0; l < job->a.rows; l += MERGE_RANK) {
        const int64_t rank = lr_smaller(MERGE_RANK, job->a.rows - l);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < rank; j++)
                scaled[i * MERGE_RANK + j] = job->scale * lr_row(&job->b, begin + i)[l + j];
        job->device->kernels->tile_product(rows, job->weight.cols, rank, scaled, MERGE_RANK, 1, lr_row(&job->a, l),
                                           job->a.stride, lr_row(&job->weight, begin), job->weight.stride, true);
    }
}

// weight[in, out] += scale * a^T b^T: each number is a sum over r.
static void merge_rows_transposed(int64_t index, void *argument)
{
    const merge_job *job = argument;
    const int64_t begin = index * MERGE_ROWS, end = lr_smaller(begin + MERGE_ROWS, job->weight.rows);
    for (int64_t i = begin; i < end; i++) {
        float *weight = lr_row(&job->weight, i);
        for (int64_t o = 0; o < job->weight.cols; o++) {
            const float *b = lr_row(&job->b, o);
            float sum = 0;
            for (int64_t l = 0; l < job->a.rows; l++) sum += lr_row(&job->a, l)[i] * b[l];
            weight[o] += job->scale * sum;
        }
    }
}

lora_status lr_merge(lora_device *device, lora_view weight, lora_view a, lora_view b, float scale, int32_t transposed)
{
    merge_job job = {device, weight, a, b, scale};
    lr_cpu_run(device, lr_pieces(weight.rows, MERGE_ROWS), transposed ? merge_rows_transposed : merge_rows, &job);
    return LORA_OK;
}
