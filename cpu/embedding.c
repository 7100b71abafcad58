// Rows of a table picked by token id, and their gradient.
#include "cpu/ops.h"

typedef struct embed_job {
    const lora_device *device;
    lora_view rows, table; // the batch's rows and the table's
    const int32_t *ids;
    float scale;
    int64_t piece; // rows (forward) or columns (backward) of a piece
} embed_job;

static void forward_rows(int64_t index, void *argument)
{
    const embed_job *job = argument;
    const int64_t end = lr_smaller(job->rows.rows, (index + 1) * job->piece);
    for (int64_t i = index * job->piece; i < end; i++) {
        float *row = lr_row(&job->rows, i);
        lr_load_row(job->device, row, &job->table, job->ids[i], 0, job->rows.cols);
        if (job->scale != 1) job->device->kernels->scale(row, job->scale, job->rows.cols);
    }
}

lora_status lr_embed_forward(lora_device *device, lora_view target, lora_view table, const int32_t *ids, float scale)
{
    embed_job job = {device, target, table, ids, scale, lr_piece_rows(target.cols)};
    lr_cpu_run(device, lr_pieces(target.rows, job.piece), forward_rows, &job);
    return LORA_OK;
}

// A piece is a strip of columns, so that a token seen twice is added up in the order of the batch.
static void backward_columns(int64_t index, void *argument)
{
    const embed_job *job = argument;
    const int64_t begin = index * job->piece, count = lr_smaller(job->piece, job->rows.cols - begin);
    for (int64_t i = 0; i < job->rows.rows; i++)
        job->device->kernels->add(lr_row(&job->table, job->ids[i]) + begin, lr_row(&job->rows, i) + begin, job->scale,
                                  count);
}

lora_status lr_embed_backward(lora_device *device, lora_view grad_table, lora_view grad, const int32_t *ids,
                              float scale)
{
    embed_job job = {device, grad, grad_table, ids, scale, 128};
    lr_cpu_run(device, lr_pieces(grad.cols, job.piece), backward_columns, &job);
    return LORA_OK;
}
