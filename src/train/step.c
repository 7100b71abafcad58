// One optimizer step:
//   loss = sum over all micro-batches of the losses / label tokens of the step
//   g    = its gradient; norm = |g|; g *= min(1, max_grad_norm / (norm + 1e-6))
//   AdamW on every tensor with learning_rate * schedule(step)
#include "lib/random.h"
#include "src/core/clock.h"
#include "src/train/trainer.h"

#include <inttypes.h>
#include <math.h>

// The random stream that dropout seeds are drawn from.
#define DROPOUT_STREAM 0xD309u

// Micro-batches [begin, end) of the epoch's plan are one step.
typedef struct step_window {
    int64_t begin, end;
    int64_t tokens, label_tokens;
} step_window;

static step_window find_window(const lora_trainer *trainer)
{
    const lr_batch_plan *plan = &trainer->feed.plan;
    step_window window = {.begin = trainer->progress.batch};
    window.end = window.begin + trainer->options.gradient_accumulation;
    if (window.end > (int64_t)plan->batch_count) window.end = (int64_t)plan->batch_count;
    for (uint32_t i = plan->batch_begin[window.begin]; i < plan->batch_begin[window.end]; i++) {
        const lr_row *row = &trainer->data->rows[plan->rows[i]];
        window.tokens += row->count;
        window.label_tokens += row->label_count;
    }
    return window;
}

// A seed for each part of a batch of each step.
static uint64_t dropout_seed(const lora_trainer *trainer, int64_t part)
{
    uint64_t counter = ((uint64_t)trainer->progress.step << 24) + (uint64_t)part;
    lr_random_block block = lr_random_draw(trainer->options.seed, DROPOUT_STREAM, counter);
    return (uint64_t)block.word[0] << 32 | block.word[1];
}

// Forward and backward over the window; *loss gets the sum of losses.
static lora_status run_window(lora_trainer *trainer, const step_window *window, double *loss)
{
    lr_feed *feed = &trainer->feed;
    float grad_scale = (float)(1.0 / (double)window->label_tokens);
    int64_t row_limit = feed->packing ? 0 : feed->micro_rows;
    int64_t token_limit = feed->packing ? feed->micro_rows * feed->pack_length : 0;
    int64_t part = 0;
    *loss = 0;
    for (int64_t b = window->begin; b < window->end; b++) {
        int64_t cursor = feed->plan.batch_begin[b], end = feed->plan.batch_begin[b + 1];
        for (; cursor < end; part++) {
            lr_batch batch;
            int64_t labels =
                lr_feed_next(feed, trainer->data, feed->plan.rows, &cursor, end, row_limit, token_limit, &batch);
            if (labels == 0) continue;
            LR_TRY(lr_pass_train(trainer->pass, trainer->binding, &batch, grad_scale, dropout_seed(trainer, part),
                                 trainer->losses));
            for (int64_t i = 0; i < batch.tokens; i++) *loss += trainer->losses[i];
        }
    }
    return lr_divergence_check(trainer, *loss / (double)window->label_tokens);
}

static lora_status square_sum(const lora_trainer *trainer, const lora_view *views, size_t count, double *sum)
{
    return trainer->context->backend->square_sum(trainer->context->device, views, (int64_t)count, sum);
}

static lora_status name_not_finite(const lora_trainer *trainer)
{
    for (size_t i = 0; i < trainer->adapter->tensor_count; i++) {
        double sum;
        LR_TRY(square_sum(trainer, &trainer->gradients.views[i], 1, &sum));
        if (!isfinite(sum))
            return lr_fail(
                LORA_ERROR_NOT_FINITE,
                "step %" PRId64 ": the gradient of '%s' is not finite: learning_rate (now %g) is too high, or "
                "rows are damaged; try a tenth of it with warmup_steps 0.1, and check the data",
                trainer->progress.step + 1, trainer->adapter->tensors[i].name, trainer->options.learning_rate);
    }
    return lr_fail(LORA_ERROR_NOT_FINITE, "step %" PRId64 ": the gradient's norm is not finite",
                   trainer->progress.step + 1);
}

// The first update: every B must have got a gradient (an A has none as long as its B is zero), and something at all.
static lora_status check_reached(const lora_trainer *trainer, double all)
{
    const lora_adapter *adapter = trainer->adapter;
    for (size_t i = 0; i < adapter->pair_count; i++) {
        double sum;
        LR_TRY(square_sum(trainer, &trainer->gradients.views[adapter->pairs[i].b], 1, &sum));
        if (sum == 0)
            return lr_fail(LORA_ERROR_NO_GRADIENT,
                           "'%s' got no gradient in the first step: it would learn nothing; leave its "
                           "module out of target_modules, or check the base model",
                           adapter->tensors[adapter->pairs[i].b].name);
    }
    if (all == 0)
        return lr_fail(LORA_ERROR_NO_GRADIENT,
                       "no trained tensor got a gradient in the first step: nothing would be learnt; "
                       "check the base model");
    return LORA_OK;
}

static lora_status check_gradients(const lora_trainer *trainer, double *norm)
{
    double sum;
    LR_TRY(square_sum(trainer, trainer->gradients.views, trainer->adapter->tensor_count, &sum));
    if (!isfinite(sum)) return name_not_finite(trainer);
    if (trainer->progress.updates == 0) LR_TRY(check_reached(trainer, sum));
    *norm = sqrt(sum);
    return LORA_OK;
}

static lora_status update(lora_trainer *trainer, double learning_rate, double norm)
{
    const lora_trainer_options *options = &trainer->options;
    const lora_adapter *adapter = trainer->adapter;
    double clip = 1;
    if (options->max_grad_norm > 0) clip = fmin(1, options->max_grad_norm / (norm + 1e-6));
    lora_adamw settings = {
        .beta1 = (float)options->beta1,
        .beta2 = (float)options->beta2,
        .epsilon = (float)options->epsilon,
        .step = trainer->progress.updates + 1,
        .gradient_scale = (float)clip,
        .zero_gradient = 1,
    };
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        trainer->parameters[i].learning_rate = (float)learning_rate;
        trainer->parameters[i].weight_decay = adapter->tensors[i].decay ? (float)options->weight_decay : 0;
    }
    return trainer->context->backend->adamw(trainer->context->device, trainer->parameters,
                                            (int64_t)adapter->tensor_count, &settings);
}

static lora_status learn(lora_trainer *trainer, const step_window *window, lora_step_info *info)
{
    double loss, norm = 0;
    lora_status status = run_window(trainer, window, &loss);
    if (status == LORA_OK) status = check_gradients(trainer, &norm);
    if (status != LORA_OK) {
        trainer->context->backend->fill(trainer->context->device, trainer->gradients.all, 0);
        return status;
    }
    LR_TRY(lr_divergence_keep(trainer, loss / (double)window->label_tokens));
    LR_TRY(update(trainer, info->learning_rate, norm));
    info->loss = loss / (double)window->label_tokens;
    info->gradient_norm = norm;
    trainer->progress.updates++;
    return LORA_OK;
}

lora_status lr_trainer_take_step(lora_trainer *trainer)
{
    lr_progress *progress = &trainer->progress;
    double start = lr_clock();
    LR_TRY(lr_feed_begin_epoch(&trainer->feed, progress->epoch));
    step_window window = find_window(trainer);
    lora_step_info info = {
        .struct_size = sizeof info,
        .step = progress->step + 1,
        .total_steps = trainer->total_steps,
        .tokens = window.tokens,
        .label_tokens = window.label_tokens,
        .eval_loss = NAN,
        .learning_rate =
            trainer->options.learning_rate *
            lr_schedule_factor(trainer->options.schedule, trainer->warmup_steps, trainer->total_steps, progress->step),
    };
    // Rows without a label (prompts only) teach nothing: the step counts, the tensors and moments stay.
    if (window.label_tokens > 0) LR_TRY(learn(trainer, &window, &info));
    info.epoch = (double)progress->epoch + (double)window.end / (double)trainer->feed.plan.batch_count;
    info.seconds = lr_clock() - start;
    progress->step++;
    progress->batch = window.end;
    if (window.end == (int64_t)trainer->feed.plan.batch_count) {
        progress->epoch++;
        progress->batch = 0;
    }
    progress->last = info;
    return LORA_OK;
}
