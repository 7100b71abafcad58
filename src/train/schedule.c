// The learning rate over the steps of a run, as transformers' schedulers give it.
#include "src/train/trainer.h"

#include <math.h>

int64_t lr_warmup_steps(double warmup, int64_t total_steps)
{
    return (int64_t)(warmup >= 1 ? warmup : ceil((double)total_steps * warmup));
}

double lr_schedule_factor(int32_t schedule, int64_t warmup, int64_t total_steps, int64_t step)
{
    if (step < warmup) return (double)step / (double)(warmup > 1 ? warmup : 1);
    if (schedule == LORA_SCHEDULE_CONSTANT) return 1;
    double span = total_steps - warmup > 1 ? (double)(total_steps - warmup) : 1;
    if (schedule == LORA_SCHEDULE_LINEAR) return fmax(0, (double)(total_steps - step) / span);
    return fmax(0, 0.5 * (1 + cos(3.14159265358979323846 * ((double)(step - warmup) / span))));
}
