// y = activation(gate) * up.
#include "cpu/ops.h"

typedef struct gate_job {
    const lora_device *device;
    lora_view y, gate, up;               // y: forward
    lora_view grad_y, grad_gate, grad_up; // backward
    int32_t activation;
    int64_t rows; // of a piece
} gate_job;

static float *optional_row(const lora_view *view, int64_t row)
{
    return lr_present(view) ? lr_row(view, row) : NULL;
}

static void forward_rows(int64_t index, void *argument)
{
    const gate_job *job = argument;
    const int64_t end = lr_smaller(job->gate.rows, (index + 1) * job->rows);
    for (int64_t i = index * job->rows; i < end; i++)
        job->device->kernels->gate(lr_row(&job->y, i), lr_row(&job->gate, i), optional_row(&job->up, i),
                                   job->activation, job->gate.cols);
}

lora_status lr_gate_forward(lora_device *device, lora_view y, lora_view gate, lora_view up, int32_t activation)
{
    gate_job job = {.device = device, .y = y, .gate = gate, .up = up, .activation = activation};
    job.rows = lr_piece_rows(gate.cols);
    lr_cpu_run(device, lr_pieces(gate.rows, job.rows), forward_rows, &job);
    return LORA_OK;
}

static void backward_rows(int64_t index, void *argument)
{
    const gate_job *job = argument;
    const int64_t end = lr_smaller(job->gate.rows, (index + 1) * job->rows);
    for (int64_t i = index * job->rows; i < end; i++)
        job->device->kernels->gate_gradient(optional_row(&job->grad_gate, i), optional_row(&job->grad_up, i),
                                            lr_row(&job->grad_y, i), lr_row(&job->gate, i), optional_row(&job->up, i),
                                            job->activation, job->gate.cols);
}

lora_status lr_gate_backward(lora_device *device, lora_view grad_gate, lora_view grad_up, lora_view grad_y,
                             lora_view gate, lora_view up, int32_t activation)
{
    gate_job job = {.device = device, .gate = gate, .up = up, .activation = activation};
    job.grad_y = grad_y, job.grad_gate = grad_gate, job.grad_up = grad_up;
    job.rows = lr_piece_rows(gate.cols);
    lr_cpu_run(device, lr_pieces(gate.rows, job.rows), backward_rows, &job);
    return LORA_OK;
}
