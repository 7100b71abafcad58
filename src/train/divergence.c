// Losses beyond every sensible range: when a run is stopped, and what of it is kept.
//
// A model that knows nothing has a loss of ln(vocabulary). The larger of that and the first step's loss is the limit. A
// step is healthy up to 1.05 times the limit; the run has exploded at twice the limit, or at 1.2 times the limit in
// five steps one behind the other. With an output, the tensors of the last healthy step are kept in memory, because the
// update that follows such a step may be the one that ruins them.
#include "src/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define USUAL_LEARNING_RATE 2e-4
#define PATIENCE 5

static double limit_of(const lora_trainer *trainer)
{
    double ignorant = log((double)trainer->adapter->model->stack.vocabulary);
    return trainer->progress.first_loss > ignorant ? trainer->progress.first_loss : ignorant;
}

lora_status lr_divergence_check(const lora_trainer *trainer, double loss)
{
    const lr_progress *progress = &trainer->progress;
    bool is_first = progress->updates == 0;
    double limit = limit_of(trainer);
    bool lasts = loss >= 1.2 * limit && progress->unhealthy + 1 >= PATIENCE;
    if (isfinite(loss) && (is_first || (loss < 2 * limit && !lasts))) return LORA_OK;
    double rate = trainer->options.learning_rate, lower = fmin(rate / 10, USUAL_LEARNING_RATE);
    char began[48] = "", value[32] = "not a number";
    if (!isnan(loss)) snprintf(value, sizeof value, "%.4g", loss);
    if (!is_first) snprintf(began, sizeof began, " (it began at %.4g)", progress->first_loss);
    return lr_fail(isfinite(loss) ? LORA_ERROR_DIVERGED : LORA_ERROR_NOT_FINITE,
                   "step %" PRId64 ": the loss is %s%s: learning_rate (now %g) is too high, or rows are damaged; try "
                   "learning_rate %g with warmup_steps 0.1, and check the data",
                   progress->step + 1, value, began, rate, lower);
}

lora_status lr_divergence_keep(lora_trainer *trainer, double loss)
{
    lr_progress *progress = &trainer->progress;
    if (progress->updates == 0) progress->first_loss = loss;
    progress->unhealthy = loss >= 1.2 * limit_of(trainer) ? progress->unhealthy + 1 : 0;
    if (!trainer->good.buffer || loss > 1.05 * limit_of(trainer)) return LORA_OK;
    LR_TRY(lr_tensor_set_store(trainer->adapter, &trainer->good));
    trainer->good_progress = trainer->progress;
    trainer->has_good = true;
    return LORA_OK;
}

// Back to the last healthy step, for what a checkpoint says of it.
static lora_status go_back(lora_trainer *trainer)
{
    lr_history *history = &trainer->history;
    LR_TRY(lr_tensor_set_load(trainer->adapter, &trainer->good));
    trainer->progress = trainer->good_progress;
    while (history->count > 0 && history->entries[history->count - 1].step > trainer->progress.step) history->count--;
    return LORA_OK;
}

// The newest checkpoint that is not beyond the run's position; those beyond are removed, so that nothing goes on from
// them. *kept is -1 when there is none.
static lora_status keep_checkpoint(lora_trainer *trainer, int64_t *kept)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    int64_t *steps;
    size_t count;
    lora_status status = LORA_OK;
    *kept = -1;
    LR_TRY(lr_checkpoint_list(trainer, &steps, &count));
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        if (steps[i] <= trainer->progress.step) {
            *kept = steps[i];
            continue;
        }
        char *path = lr_checkpoint_path(trainer, steps[i]);
        status = path ? lr_remove_tree(path) : LORA_ERROR_MEMORY;
        lr_free(allocator, path);
    }
    lr_free(allocator, steps);
    return status;
}

lora_status lr_divergence_end(lora_trainer *trainer, lora_status reason)
{
    char text[640];
    int64_t kept;
    snprintf(text, sizeof text, "%s", lr_error_text());
    trainer->diverged = true;
    if (!trainer->output || !trainer->has_good) return reason;
    LR_TRY(go_back(trainer));
    LR_TRY(keep_checkpoint(trainer, &kept));
    if (kept < 0) {
        LR_TRY(lr_checkpoint_write(trainer));
        kept = trainer->progress.step;
    }
    return lr_fail(reason, "%s; the state after step %" PRId64 ", the last good one, is in %s/checkpoint-%" PRId64,
                   text, kept, trainer->output, kept);
}
