// Rotary position embedding: each head's pairs of columns turned by the angle of the row's position.
#include "cpu/ops.h"

typedef struct rotary_job {
    const lora_device *device;
    lora_view x;
    const lora_rotary *rotary;
    int64_t rows; // of a piece
} rotary_job;

static void rotate_interleaved(float *x, const float *c, const float *s, float sign, int64_t pairs)
{
    for (int64_t i = 0; i < pairs; i++) {
        const float u = x[2 * i], v = x[2 * i + 1], sine = sign * s[i];
        x[2 * i] = u * c[i] - v * sine;
        x[2 * i + 1] = v * c[i] + u * sine;
    }
}

static void rotate_rows(int64_t index, void *argument)
{
    const rotary_job *job = argument;
    const lora_rotary *rotary = job->rotary;
    const float sign = rotary->inverse ? -1.0f : 1.0f;
    const int64_t end = lr_smaller(job->x.rows, (index + 1) * job->rows), pairs = rotary->rotary_dim / 2;
    for (int64_t i = index * job->rows; i < end; i++) {
        float *x = lr_row(&job->x, i);
        const float *c = lr_row(&rotary->cosine, rotary->positions[i]);
        const float *s = lr_row(&rotary->sine, rotary->positions[i]);
        for (int64_t column = 0; column < job->x.cols; column += rotary->head_dim) {
            if (rotary->kind == LORA_ROTARY_HALF)
                job->device->kernels->rotate_half(x + column, c, s, sign, pairs);
            else
                rotate_interleaved(x + column, c, s, sign, pairs);
        }
    }
}

lora_status lr_rotary(lora_device *device, lora_view x, const lora_rotary *rotary)
{
    rotary_job job = {device, x, rotary, lr_piece_rows(x.cols)};
    lr_cpu_run(device, lr_pieces(x.rows, job.rows), rotate_rows, &job);
    return LORA_OK;
}
