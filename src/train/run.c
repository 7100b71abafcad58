// What surrounds the steps: evaluation, the best tensors, early stopping, save points, and the loop that a host need
// not write.
#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <inttypes.h>
#include <math.h>

bool lr_trainer_done(const lora_trainer *trainer)
{
    const lr_progress *progress = &trainer->progress;
    return !progress->evaluation_due && (progress->stopped || progress->step >= trainer->total_steps);
}

// At multiples of `every`, or 0: at the end of an epoch; and after the last step.
static bool falls_due(const lora_trainer *trainer, int64_t every)
{
    const lr_progress *progress = &trainer->progress;
    if (progress->step >= trainer->total_steps) return true;
    return every > 0 ? progress->step % every == 0 : progress->batch == 0;
}

// ---- evaluation ----------------------------------------------------------------------------------------------------

static lora_status evaluate(lora_trainer *trainer, double *loss)
{
    double sum = 0;
    int64_t labels = 0, cursor = 0, end = (int64_t)trainer->validation->row_count;
    while (cursor < end) {
        lr_batch batch;
        int64_t in_batch = lr_feed_next(&trainer->feed, trainer->validation, NULL, &cursor, end, 0, 0, &batch);
        if (in_batch == 0) continue;
        LR_TRY(lr_pass_losses(trainer->pass, trainer->binding, &batch, trainer->losses));
        for (int64_t i = 0; i < batch.tokens; i++) sum += trainer->losses[i];
        labels += in_batch;
    }
    *loss = sum / (double)labels;
    return LORA_OK;
}

// The evaluation after a step, and what follows from it. A loss that is not finite is no improvement.
static lora_status judge(lora_trainer *trainer)
{
    lr_progress *progress = &trainer->progress;
    double loss;
    LR_TRY(evaluate(trainer, &loss));
    bool improved = isfinite(loss) && (progress->best_step == 0 || loss < progress->best_loss);
    if (improved) {
        LR_TRY(lr_tensor_set_store(trainer->adapter, &trainer->best));
        progress->best_step = progress->step;
        progress->best_loss = loss;
    }
    progress->without_improvement = improved ? 0 : progress->without_improvement + 1;
    progress->stopped =
        trainer->options.early_stopping > 0 && progress->without_improvement >= trainer->options.early_stopping;
    progress->last.eval_loss = isnan(loss) ? INFINITY : loss;
    progress->last.improved = improved;
    progress->evaluation_due = false;
    return LORA_OK;
}

// ---- steps ---------------------------------------------------------------------------------------------------------

static lora_status check_ready(lora_trainer *trainer)
{
    if (trainer->diverged) return lr_fail(LORA_ERROR_STATE, "the run is over: its loss exploded");
    if (lr_trainer_done(trainer))
        return lr_fail(LORA_ERROR_STATE, "the run is over: all %" PRId64 " steps are done%s", trainer->progress.step,
                       trainer->progress.stopped ? " (early stopping)" : "");
    if (trainer->data->fingerprint != trainer->data_fingerprint ||
        (trainer->validation && trainer->validation->fingerprint != trainer->validation_fingerprint))
        return lr_fail(LORA_ERROR_STATE, "the data was changed after the trainer was made: make a new trainer");
    return trainer->output ? lr_checkpoint_claim(trainer) : LORA_OK;
}

static void log_step(lora_trainer *trainer)
{
    const lora_step_info *last = &trainer->progress.last;
    lr_history_add(&trainer->history, &(lr_history_entry){.step = last->step,
                                                          .epoch = last->epoch,
                                                          .loss = last->loss,
                                                          .learning_rate = last->learning_rate,
                                                          .gradient_norm = last->gradient_norm,
                                                          .eval_loss = last->eval_loss});
}

// A step counts as done as soon as the tensors are updated. When the evaluation after it is cancelled or fails, it
// stays due, and the next call makes up for it before anything else: the order of things is that of a run that was
// never cancelled. *saved: the status of the checkpoint; one that could not be written does not undo the step.
static lora_status advance_run(lora_trainer *trainer, lora_status *saved)
{
    lr_progress *progress = &trainer->progress;
    *saved = LORA_OK;
    LR_TRY(check_ready(trainer));
    if (!progress->evaluation_due) {
        LR_TRY(lr_trainer_take_step(trainer));
        progress->evaluation_due = trainer->validation && falls_due(trainer, trainer->options.eval_steps);
    }
    if (progress->evaluation_due) LR_TRY(judge(trainer));
    progress->last.done = lr_trainer_done(trainer);
    log_step(trainer);
    if (trainer->output && (progress->stopped || falls_due(trainer, trainer->options.save_steps)))
        *saved = lr_checkpoint_write(trainer);
    return LORA_OK;
}

// A cancel call holds for one step: the one that runs, or the next.
static lora_status advance(lora_trainer *trainer, lora_status *saved)
{
    lora_status status = advance_run(trainer, saved);
    if (status == LORA_ERROR_CANCELLED) atomic_store(&trainer->cancel, 0);
    return status;
}

lora_status lora_trainer_step(lora_trainer *trainer, lora_step_info *info)
{
    LR_CHECK_HANDLE(trainer);
    lora_step_info probe = {.struct_size = sizeof probe};
    LR_TRY(lr_give_info(info, &probe, sizeof probe, __func__));
    lora_status saved;
    LR_TRY(advance(trainer, &saved));
    LR_TRY(lr_give_info(info, &trainer->progress.last, sizeof trainer->progress.last, __func__));
    return saved;
}

// Keeps what has been done so far. The stop itself is what the caller hears of, unless nothing could be kept.
static lora_status stop(lora_trainer *trainer)
{
    if (trainer->output && trainer->progress.step > 0 && trainer->saved_step != trainer->progress.step)
        LR_TRY(lr_checkpoint_write(trainer));
    return lr_fail(LORA_ERROR_CANCELLED, "training was stopped after step %" PRId64 " of %" PRId64,
                   trainer->progress.step, trainer->total_steps);
}

// At the end the adapter holds the best tensors.
static lora_status finish(lora_trainer *trainer)
{
    if (trainer->progress.best_step > 0 && !trainer->restored) {
        LR_TRY(lr_tensor_set_load(trainer->adapter, &trainer->best));
        trainer->restored = true;
    }
    return LORA_OK;
}

lora_status lora_trainer_run(lora_trainer *trainer, lora_step_fn callback, void *user)
{
    LR_CHECK_HANDLE(trainer);
    lora_status saved = LORA_OK;
    if (trainer->diverged)
        return lr_fail(LORA_ERROR_STATE, "the run is over: its loss exploded; make a new trainer with other settings");
    while (!lr_trainer_done(trainer)) {
        lora_status status = advance(trainer, &saved);
        if (status == LORA_ERROR_CANCELLED) return stop(trainer);
        if (status == LORA_ERROR_NOT_FINITE || status == LORA_ERROR_DIVERGED) return lr_divergence_end(trainer, status);
        if (status != LORA_OK) return status;
        // The trained tensors are in memory, so a full disk ends nothing: later checkpoints, or the host's own save,
        // may do.
        if (saved != LORA_OK)
            lr_log(trainer->context, LORA_LOG_WARNING, "the checkpoint after step %" PRId64 " was not written: %s",
                   trainer->progress.step, lr_error_text());
        lora_step_info info = trainer->progress.last;
        if (callback && callback(&info, user) != 0 && !lr_trainer_done(trainer)) return stop(trainer);
    }
    LR_TRY(finish(trainer));
    return saved;
}

lora_status lora_trainer_evaluate(lora_trainer *trainer, double *loss)
{
    LR_CHECK_HANDLE(trainer);
    LR_CHECK_ARGUMENT(loss, "%s: loss is NULL", __func__);
    if (!trainer->validation) return lr_fail(LORA_ERROR_STATE, "the trainer was made without validation data");
    lora_status status = evaluate(trainer, loss);
    if (status == LORA_ERROR_CANCELLED) atomic_store(&trainer->cancel, 0);
    return status;
}
