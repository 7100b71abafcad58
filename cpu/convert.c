// Filling, adding and converting between storage types.
#include "cpu/device.h"
#include "cpu/kernels.h"
#include "cpu/ops.h"
#include "lib/tensor_file.h"

#include <math.h>

typedef struct row_job {
    const lora_device *device;
    lora_view target, source;
    float factor;
    int64_t rows; // of a piece
} row_job;

static int64_t job_end(const row_job *job, int64_t index)
{
    return lr_smaller(job->target.rows, (index + 1) * job->rows);
}

static lora_status run_rows(lora_device *device, row_job *job, void (*task)(int64_t index, void *argument))
{
    job->device = device;
    job->rows = lr_piece_rows(job->target.cols);
    lr_cpu_run(device, lr_pieces(job->target.rows, job->rows), task, job);
    return LORA_OK;
}

static void fill_rows(int64_t index, void *argument)
{
    const row_job *job = argument;
    for (int64_t i = index * job->rows; i < job_end(job, index); i++)
        job->device->kernels->fill(lr_row(&job->target, i), job->factor, job->target.cols);
}

lora_status lr_fill(lora_device *device, lora_view target, float value)
{
    row_job job = {.target = target, .factor = value};
    return run_rows(device, &job, fill_rows);
}

static void add_rows(int64_t index, void *argument)
{
    const row_job *job = argument;
    for (int64_t i = index * job->rows; i < job_end(job, index); i++)
        job->device->kernels->add(lr_row(&job->target, i), lr_row(&job->source, i), job->factor, job->target.cols);
}

lora_status lr_add_scaled(lora_device *device, lora_view target, lora_view source, float factor)
{
    row_job job = {.target = target, .source = source, .factor = factor};
    return run_rows(device, &job, add_rows);
}

#define CONVERT_RUN 512 // numbers on the stack between two types; whole blocks

// INT8's one scale for a row.
static float row_absmax(const row_job *job, int64_t row)
{
    float room[CONVERT_RUN], greatest = 0;
    for (int64_t begin = 0; begin < job->source.cols; begin += CONVERT_RUN) {
        const int64_t count = lr_smaller(CONVERT_RUN, job->source.cols - begin);
        const float *numbers = lr_row_numbers(job->device, room, &job->source, row, begin, count);
        greatest = fmaxf(greatest, job->device->kernels->greatest_magnitude(numbers, count));
    }
    return greatest;
}

static void convert_rows(int64_t index, void *argument)
{
    const row_job *job = argument;
    const lora_type type = job->target.type;
    float room[CONVERT_RUN];
    for (int64_t i = index * job->rows; i < job_end(job, index); i++) {
        if (type == LORA_TYPE_F32) {
            lr_load_row(job->device, lr_row(&job->target, i), &job->source, i, 0, job->target.cols);
            continue;
        }
        uint8_t *target = (uint8_t *)(uintptr_t)lr_typed_row(&job->target, i);
        float *scales = lr_row_scales(&job->target, i);
        if (type == LORA_TYPE_INT8) *scales = row_absmax(job, i);
        for (int64_t begin = 0; begin < job->target.cols; begin += CONVERT_RUN) {
            const int64_t count = lr_smaller(CONVERT_RUN, job->target.cols - begin);
            const float *numbers = lr_row_numbers(job->device, room, &job->source, i, begin, count);
            float *of_these = type == LORA_TYPE_NF4 ? scales + begin / lr_type_block(type) : scales;
            job->device->kernels->from_f32[type](target + lr_row_bytes(type, begin), of_these, numbers, count);
        }
    }
}

lora_status lr_convert(lora_device *device, lora_view target, lora_view source)
{
    if (!lr_device_supports(device, LORA_OP_CONVERT, source.type) || !device->kernels->from_f32[target.type])
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "the CPU backend does not convert storage type %d to %d (numbers of lora/types.h)",
                       (int)source.type, (int)target.type);
    row_job job = {.target = target, .source = source};
    return run_rows(device, &job, convert_rows);
}
