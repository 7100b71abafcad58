// Cross-entropy of logit rows: loss = log(sum exp(x)) - x[label], computed around the row's maximum.
#include "cpu/ops.h"

#include <math.h>

#define LABEL_IGNORED (-100)

typedef struct loss_job {
    const lora_device *device;
    lora_view losses, logits;
    const int32_t *labels;
    float grad_scale, softcap;
} loss_job;

static void loss_of_row(int64_t i, void *argument)
{
    const loss_job *job = argument;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t n = job->logits.cols;
    const int32_t label = job->labels[i];
    float *x = lr_row(&job->logits, i), *loss = lr_row(&job->losses, i);
    if (label == LABEL_IGNORED) {
        *loss = 0;
        if (job->grad_scale != 0) kernels->fill(x, 0, n);
        return;
    }
    if (job->softcap != 0) kernels->softcap(x, job->softcap, n);
    const float shift = kernels->maximum(x, n);
    const float sum = kernels->exp_sum(x, shift, n);
    *loss = logf(sum) - (x[label] - shift);
    if (job->grad_scale == 0) return;
    const float capped = job->softcap != 0 ? x[label] / job->softcap : 0;
    kernels->softmax_gradient(x, shift, job->grad_scale / sum, job->softcap, n);
    x[label] -= job->grad_scale * (1 - capped * capped);
}

lora_status lr_cross_entropy(lora_device *device, lora_view losses, lora_view logits, const int32_t *labels,
                             float grad_scale, float softcap)
{
    loss_job job = {device, losses, logits, labels, grad_scale, softcap};
    lr_cpu_run(device, logits.rows, loss_of_row, &job);
    return LORA_OK;
}
