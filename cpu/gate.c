// y = activation(gate) * up.
#include "cpu/ops.h"

typedef struct gate_job {
    const lora_device *device;
    lora_view gate, up;
    lora_view y, gate_copy, up_copy;     // forward
    lora_view grad_y, grad_gate, grad_up; // backward
    int32_t activation;
    int64_t rows; // of a piece
} gate_job;

#define CHUNK 512 // numbers of a row that are converted at once

// Gate and up from number `begin` of a row on; converted where they are no f32.
typedef struct inputs {
    const float *gate, *up;
    float gate_room[CHUNK], up_room[CHUNK];
} inputs;

static void take_inputs(const gate_job *job, int64_t row, int64_t begin, int64_t count, inputs *in)
{
    in->gate = lr_row_numbers(job->device, in->gate_room, &job->gate, row, begin, count);
    in->up = lr_present(&job->up) ? lr_row_numbers(job->device, in->up_room, &job->up, row, begin, count) : NULL;
}

static float *optional(const lora_view *view, int64_t row, int64_t begin)
{
    return lr_present(view) ? lr_row(view, row) + begin : NULL;
}

static void forward_rows(int64_t index, void *argument)
{
    const gate_job *job = argument;
    const int64_t end = lr_smaller(job->gate.rows, (index + 1) * job->rows), cols = job->gate.cols;
    inputs in;
    for (int64_t i = index * job->rows; i < end; i++)
        for (int64_t begin = 0; begin < cols; begin += CHUNK) {
            const int64_t count = lr_smaller(CHUNK, cols - begin);
            take_inputs(job, i, begin, count, &in);
            if (lr_present(&job->gate_copy)) lr_store_row(job->device, &job->gate_copy, i, begin, in.gate, count);
            if (lr_present(&job->up_copy)) lr_store_row(job->device, &job->up_copy, i, begin, in.up, count);
            job->device->kernels->gate(lr_row(&job->y, i) + begin, in.gate, in.up, job->activation, count);
        }
}

lora_status lr_gate_forward(lora_device *device, lora_view y, lora_view gate, lora_view up, lora_view gate_copy,
                            lora_view up_copy, int32_t activation)
{
    gate_job job = {.device = device, .y = y, .gate = gate, .up = up, .activation = activation};
    job.gate_copy = gate_copy, job.up_copy = up_copy;
    job.rows = lr_piece_rows(gate.cols);
    lr_cpu_run(device, lr_pieces(gate.rows, job.rows), forward_rows, &job);
    return LORA_OK;
}

static void backward_rows(int64_t index, void *argument)
{
    const gate_job *job = argument;
    const int64_t end = lr_smaller(job->gate.rows, (index + 1) * job->rows), cols = job->gate.cols;
    inputs in;
    for (int64_t i = index * job->rows; i < end; i++)
        for (int64_t begin = 0; begin < cols; begin += CHUNK) {
            const int64_t count = lr_smaller(CHUNK, cols - begin);
            take_inputs(job, i, begin, count, &in);
            job->device->kernels->gate_gradient(optional(&job->grad_gate, i, begin), optional(&job->grad_up, i, begin),
                                                lr_row(&job->grad_y, i) + begin, in.gate, in.up, job->activation,
                                                count);
        }
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
