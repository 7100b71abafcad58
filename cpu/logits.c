// What choosing a token asks of rows of logits: the best token, and the logarithm of the softmax's denominator.
#include "cpu/ops.h"

#include <math.h>

#define RUN 1024 // numbers whose exponentials are added up in f32

typedef struct summary_job {
    const lora_device *device;
    lora_view best, log_sum, logits;
    float softcap;
} summary_job;

static void summarise_row(int64_t i, void *argument)
{
    const summary_job *job = argument;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t n = job->logits.cols;
    float *x = lr_row(&job->logits, i), greatest = -INFINITY;
    if (job->softcap != 0) kernels->softcap(x, job->softcap, n);
    int64_t best = 0; // where the run of the greatest begins, then where it is
    for (int64_t j = 0; j < n; j += RUN) {
        const float most = kernels->maximum(x + j, lr_smaller(RUN, n - j));
        if (most > greatest) greatest = most, best = j;
    }
    while (best < n - 1 && x[best] < greatest) best++;
    double sum = 0;
    for (int64_t j = 0; j < n; j += RUN) sum += (double)kernels->exp_sum(x + j, greatest, lr_smaller(RUN, n - j));
    *(int32_t *)lr_view_at(&job->best, i) = (int32_t)best;
    *lr_row(&job->log_sum, i) = (float)((double)greatest + log(sum));
}

lora_status lr_summarise_logits(lora_device *device, lora_view best, lora_view log_sum, lora_view logits, float softcap)
{
    summary_job job = {device, best, log_sum, logits, softcap};
    lr_cpu_run(device, logits.rows, summarise_row, &job);
    return LORA_OK;
}
