// One run: a setting with one of its seeds, from the base to a saved adapter and its figures.
#include "lib/peak_memory.h"
#include "src/compare/comparison.h"
#include "src/core/clock.h"
#include "src/train/trainer.h"

#include <math.h>

#define PROGRESS_FILE "progress.json"
#define PROGRESS_LIMIT ((size_t)1 << 16)

typedef struct run {
    lr_reporter *reporter;
    lora_comparison *comparison;
    lr_setting *setting;
    size_t seed;
    char *checkpoints, *saved; // paths
    lora_adapter *adapter;
    lora_trainer *trainer;
    bool peak_measured;
    double begin; // of this part of the run
    double seconds_before; // of the parts before, up to the checkpoint
    int64_t tokens, tokens_before, peak_before;
    lora_status stopped;
    json_t *result;
} run;

// ---- what checkpoints do not keep: time, tokens, memory -------------------------------------------------------------

static char *progress_path(const run *r)
{
    return lr_path_join(&r->comparison->context->allocator, r->checkpoints, PROGRESS_FILE);
}

static int64_t peak(const run *r)
{
    int64_t now = r->peak_measured ? (int64_t)lr_peak_memory() : (int64_t)r->trainer->plan.total;
    return now > r->peak_before ? now : r->peak_before;
}

static double seconds(const run *r)
{
    return r->seconds_before + lr_clock() - r->begin;
}

static lora_status write_progress(const run *r, int64_t step)
{
    const lora_allocator *allocator = &r->comparison->context->allocator;
    char *path = progress_path(r), *text = NULL;
    size_t length;
    json_t *state = json_pack("{s:I, s:f, s:I, s:I}", "step", (json_int_t)step, "seconds", seconds(r), "tokens",
                              (json_int_t)(r->tokens_before + r->tokens), "peak_memory_bytes", (json_int_t)peak(r));
    lora_status status = path && state ? lr_json_dump(allocator, state, 0, false, &text, &length) : lr_fail_memory(256);
    if (status == LORA_OK) status = lr_write_file(allocator, path, true, text, length);
    json_decref(state);
    lr_free(allocator, text);
    lr_free(allocator, path);
    return status;
}

// Of the parts before, as far as the checkpoint at `step` goes.
static void read_progress(run *r, int64_t step)
{
    const lora_allocator *allocator = &r->comparison->context->allocator;
    char *path = progress_path(r);
    json_t *state = NULL;
    if (step > 0 && path && lr_path_exists(path) &&
        lr_json_load(allocator, &lr_system_files, path, PROGRESS_LIMIT, &state) == LORA_OK) {
        double written = json_number_value(json_object_get(state, "step"));
        double share = written > 0 ? (double)step / written : 0;
        r->seconds_before = share * json_number_value(json_object_get(state, "seconds"));
        r->tokens_before = (int64_t)(share * json_number_value(json_object_get(state, "tokens")));
        r->peak_before = (int64_t)json_integer_value(json_object_get(state, "peak_memory_bytes"));
        if (!isfinite(r->seconds_before)) r->seconds_before = 0;
    }
    json_decref(state);
    lr_free(allocator, path);
}

// ---- training ------------------------------------------------------------------------------------------------------

static int32_t after_step(const lora_step_info *info, void *user)
{
    run *r = user;
    r->tokens += info->tokens;
    if (r->trainer->saved_step == info->step) r->stopped = write_progress(r, info->step);
    if (r->stopped == LORA_OK)
        r->stopped = lr_report_progress(r->reporter, LORA_COMPARISON_TRAIN, info->step, info->total_steps, info);
    return r->stopped != LORA_OK;
}

static lora_status open_run(run *r)
{
    lora_comparison *c = r->comparison;
    lora_adapter_options adapter = r->setting->adapter;
    lora_trainer_options trainer = r->setting->trainer;
    adapter.seed += r->seed;
    trainer.seed += r->seed;
    trainer.validation = c->validation;
    trainer.output = r->checkpoints;
    trainer.keep = 1;
    LR_TRY(lora_adapter_create(c->model, &adapter, &r->adapter));
    LR_TRY(lora_trainer_create(r->adapter, r->setting->data, &trainer, &r->trainer));
    lr_pass_set_cancel(r->trainer->pass, &c->cancel); // so that no cancel call can come too late for a trainer
    int64_t step;
    LR_TRY(lora_trainer_resume(r->trainer, &step));
    read_progress(r, step);
    return LORA_OK;
}

static lora_status train(run *r)
{
    r->peak_measured = lr_peak_memory_reset();
    LR_TRY(open_run(r));
    r->begin = lr_clock();
    lora_status status = lora_trainer_run(r->trainer, after_step, r);
    return status == LORA_ERROR_CANCELLED && r->stopped != LORA_OK ? r->stopped : status;
}

// ---- the result ----------------------------------------------------------------------------------------------------

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *curve(const lr_history *history)
{
    json_t *list = json_array();
    for (size_t i = 0; i < history->count; i++) {
        const lr_history_entry *e = &history->entries[i];
        json_array_append_new(list, json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "step", (json_int_t)e->step, "epoch",
                                              real_or_null(e->epoch), "loss", real_or_null(e->loss), "learning_rate",
                                              real_or_null(e->learning_rate), "grad_norm",
                                              real_or_null(e->gradient_norm), "eval_loss", real_or_null(e->eval_loss)));
    }
    return list;
}

static lora_status note_training(run *r)
{
    const lr_progress *progress = &r->trainer->progress;
    lora_adapter_info info = {.struct_size = sizeof info};
    lora_adapter_get_info(r->adapter, &info);
    json_t *facts = json_pack("{s:I, s:I, s:I, s:f, s:I, s:s, s:I, s:o, s:o}", "seed",
                              (json_int_t)(r->setting->trainer.seed + r->seed), "steps", (json_int_t)progress->step,
                              "tokens", (json_int_t)(r->tokens_before + r->tokens), "seconds", seconds(r),
                              "peak_memory_bytes", (json_int_t)peak(r), "peak_memory_source",
                              r->peak_measured ? "measured" : "planned", "trainable_parameters",
                              (json_int_t)info.parameters, "train_loss", real_or_null(progress->last.loss), "curve",
                              curve(&r->trainer->history));
    lora_status status = facts && json_object_update(r->result, facts) == 0 ? LORA_OK : lr_fail_memory(1024);
    json_decref(facts);
    return status;
}

static lora_status save(run *r)
{
    lora_comparison *c = r->comparison;
    lora_adapter_use use = {.adapter = r->adapter, .weight = 1};
    if (!r->setting->adapter.full) return lora_adapter_save(r->adapter, r->saved, 1);
    lora_model *merged;
    LR_TRY(lora_model_merge(c->model, &use, 1, LORA_TYPE_KEEP, NULL, &merged));
    lora_status status = lora_model_save(merged, r->saved, 1);
    lora_model_free(merged);
    return status;
}

static lora_status finish(run *r)
{
    lora_comparison *c = r->comparison;
    lora_adapter_use use = {.adapter = r->adapter, .weight = 1};
    int64_t bytes;
    LR_TRY(note_training(r));
    lora_trainer_free(r->trainer); // gives back its memory and the lock of the checkpoints
    r->trainer = NULL;
    LR_TRY(lr_comparison_measure(r->reporter, &use, 1, r->seed == 0, r->result));
    LR_TRY(save(r));
    LR_TRY(lr_saved_bytes(c->context, r->saved, &bytes));
    return json_object_set_new(r->result, "file_bytes", json_integer(bytes)) == 0 ? LORA_OK : lr_fail_memory(64);
}

// What a setting does to itself, and no other one would hit.
static bool is_failure(lora_status status)
{
    return status == LORA_ERROR_NOT_FINITE || status == LORA_ERROR_DIVERGED || status == LORA_ERROR_NO_GRADIENT ||
           status == LORA_ERROR_BUDGET;
}

static lora_status keep_result(run *r, lora_status status)
{
    if (is_failure(status)) {
        json_object_clear(r->result);
        if (json_object_set_new(r->result, "failure", json_string(lora_error_message())) != 0)
            return lr_fail_memory(64);
    } else if (status != LORA_OK) {
        return status;
    }
    if (json_array_append(r->setting->runs, r->result) != 0) return lr_fail_memory(64);
    status = lr_comparison_write(r->comparison);
    if (status != LORA_OK) json_array_remove(r->setting->runs, json_array_size(r->setting->runs) - 1);
    return status;
}

lora_status lr_comparison_run_setting(lr_reporter *reporter, lr_setting *setting, size_t seed)
{
    lora_comparison *c = reporter->comparison;
    const lora_allocator *allocator = &c->context->allocator;
    run r = {.reporter = reporter, .comparison = c, .setting = setting, .seed = seed, .result = json_object()};
    r.checkpoints = lr_comparison_path(c, "runs", setting, seed);
    r.saved = lr_comparison_path(c, setting->adapter.full ? "models" : "adapters", setting, seed);
    lora_status status = r.checkpoints && r.saved && r.result ? LORA_OK : lr_fail_memory(256);
    if (status == LORA_OK) status = train(&r);
    if (status == LORA_OK) status = finish(&r);
    lora_trainer_free(r.trainer);
    if (r.result) status = keep_result(&r, status);
    if (status == LORA_OK && !lr_setting_failure(setting)) status = lr_remove_tree(r.checkpoints);
    lora_adapter_free(r.adapter);
    json_decref(r.result);
    lr_free(allocator, r.checkpoints);
    lr_free(allocator, r.saved);
    return status;
}

lora_status lr_comparison_run_base(lr_reporter *reporter)
{
    lora_comparison *c = reporter->comparison;
    json_t *base = json_object();
    lora_status status = base ? lr_comparison_measure(reporter, NULL, 0, true, base) : lr_fail_memory(64);
    if (status == LORA_OK) {
        c->base = json_incref(base);
        status = lr_comparison_write(c);
    }
    json_decref(base);
    return status;
}
