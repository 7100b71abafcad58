// trainer_state.json: where a run stands, the settings it stands under, and its log.
#include "src/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- what must agree -----------------------------------------------------------------------------------------------

// Names and shapes of the trained tensors, scales and dropout: tensors of another adapter do not fit.
static uint64_t adapter_fingerprint(const lora_adapter *adapter)
{
    uint64_t hash = lr_hash64(0, &adapter->dropout, sizeof adapter->dropout);
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        const lr_adapter_tensor *tensor = &adapter->tensors[i];
        int64_t shape[2] = {tensor->value.rows, tensor->value.cols};
        hash = lr_hash64(hash, tensor->name, strlen(tensor->name));
        hash = lr_hash64(hash, shape, sizeof shape);
    }
    for (size_t i = 0; i < adapter->pair_count; i++)
        hash = lr_hash64(hash, &adapter->pairs[i].scale, sizeof adapter->pairs[i].scale);
    return hash;
}

static int set_hash(json_t *object, const char *key, uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_object_set_new(object, key, json_string(text));
}

// Everything that the bits of a run depend on. Recomputation is not in it: it gives the same bits.
static json_t *make_settings(const lora_trainer *trainer)
{
    const lora_trainer_options *o = &trainer->options;
    json_t *settings = json_pack(
        "{s:I, s:i, s:i, s:f, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:b, s:I, s:I, s:i, s:i}", "total_steps",
        (json_int_t)trainer->total_steps, "batch_size", o->batch_size, "gradient_accumulation",
        o->gradient_accumulation, "learning_rate", o->learning_rate, "schedule", o->schedule, "warmup_steps",
        o->warmup_steps, "weight_decay", o->weight_decay, "max_grad_norm", o->max_grad_norm, "beta1", o->beta1, "beta2",
        o->beta2, "epsilon", o->epsilon, "shuffle", o->shuffle != 0, "packing", o->packing != 0, "pack_length",
        (json_int_t)(o->packing ? trainer->feed.pack_length : 0), "eval_steps", (json_int_t)o->eval_steps,
        "early_stopping", o->early_stopping, "micro_batch", trainer->feed.micro_rows);
    if (!settings) return NULL;
    int failed = set_hash(settings, "seed", o->seed);
    failed |= set_hash(settings, "model", trainer->adapter->model->fingerprint);
    failed |= set_hash(settings, "adapter", adapter_fingerprint(trainer->adapter));
    failed |= set_hash(settings, "data", trainer->data_fingerprint);
    failed |= set_hash(settings, "validation", trainer->validation ? trainer->validation_fingerprint : 0);
    if (!failed) return settings;
    json_decref(settings);
    return NULL;
}

// One value as text for a message; `text` is cut when it is longer.
static void show(const json_t *value, char *text, size_t size)
{
    if (json_is_string(value)) snprintf(text, size, "%s", json_string_value(value));
    else if (json_is_number(value)) snprintf(text, size, "%.9g", json_number_value(value));
    else if (json_is_boolean(value)) snprintf(text, size, "%s", json_is_true(value) ? "true" : "false");
    else snprintf(text, size, "missing");
}

static lora_status compare_settings(const lora_trainer *trainer, const json_t *stored, const char *name)
{
    json_t *current = make_settings(trainer);
    if (!current) return lr_fail_memory(4096);
    lora_status status = LORA_OK;
    const char *key;
    json_t *value;
    json_object_foreach(current, key, value) {
        json_t *before = json_object_get(stored, key);
        if (before && json_equal(before, value)) continue;
        char was[64], is[64];
        show(before, was, sizeof was);
        show(value, is, sizeof is);
        status = lr_fail(LORA_ERROR_MISMATCH,
                         "%s: '%s' was %s when the run began and is %s now; resume with the same settings "
                         "and data, or start anew in another directory",
                         name, key, was, is);
        break;
    }
    json_decref(current);
    return status;
}

// ---- writing -------------------------------------------------------------------------------------------------------

// A key whose number is not finite is left out: JSON has no NaN.
static int set_real(json_t *object, const char *key, double value)
{
    return isfinite(value) ? json_object_set_new(object, key, json_real(value)) : 0;
}

static json_t *make_entry(const lr_history_entry *entry)
{
    json_t *object = json_pack("{s:I}", "step", (json_int_t)entry->step);
    if (!object) return NULL;
    int failed = set_real(object, "epoch", entry->epoch);
    failed |= set_real(object, "loss", entry->loss);
    failed |= set_real(object, "learning_rate", entry->learning_rate);
    failed |= set_real(object, "grad_norm", entry->gradient_norm);
    failed |= set_real(object, "eval_loss", entry->eval_loss);
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static json_t *make_history(const lr_history *history)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < history->count; i++) {
        if (json_array_append_new(array, make_entry(&history->entries[i])) == 0) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

lora_status lr_state_make(const lora_trainer *trainer, char **text, size_t *length)
{
    const lr_progress *p = &trainer->progress;
    json_t *state =
        json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:b, s:b, s:I, s:o*, s:o*, s:o*}", "format",
                  LR_CHECKPOINT_FORMAT, "global_step", (json_int_t)p->step, "updates", (json_int_t)p->updates,
                  "epoch_index", (json_int_t)p->epoch, "epoch_batch", (json_int_t)p->batch, "best_global_step",
                  (json_int_t)p->best_step, "evaluations_without_improvement", p->without_improvement, "stopped",
                  p->stopped, "evaluation_due", p->evaluation_due, "log_stride", (json_int_t)trainer->history.stride,
                  "settings", make_settings(trainer), "log_history", make_history(&trainer->history), "last",
                  json_pack("{s:f, s:f, s:f, s:f, s:I, s:I}", "epoch", p->last.epoch, "loss", p->last.loss,
                            "learning_rate", p->last.learning_rate, "grad_norm", p->last.gradient_norm, "tokens",
                            (json_int_t)p->last.tokens, "label_tokens", (json_int_t)p->last.label_tokens));
    bool whole = state && json_object_get(state, "settings") && json_object_get(state, "log_history") &&
                 json_object_get(state, "last") &&
                 (p->best_step == 0 || set_real(state, "best_metric", p->best_loss) == 0) &&
                 set_real(state, "first_loss", p->first_loss) == 0;
    lora_status status =
        whole ? lr_json_dump(&trainer->context->allocator, state, 2, true, text, length) : lr_fail_memory(4096);
    json_decref(state);
    return status;
}

// ---- reading -------------------------------------------------------------------------------------------------------

static lora_status take_entry(const json_t *value, const char *name, lr_history *history)
{
    lr_history_entry *entry = &history->entries[history->count++];
    LR_TRY(lr_json_int(value, name, "step", 0, &entry->step));
    LR_TRY(lr_json_real(value, name, "epoch", 0, &entry->epoch));
    LR_TRY(lr_json_real(value, name, "loss", 0, &entry->loss));
    LR_TRY(lr_json_real(value, name, "learning_rate", 0, &entry->learning_rate));
    LR_TRY(lr_json_real(value, name, "grad_norm", 0, &entry->gradient_norm));
    return lr_json_real(value, name, "eval_loss", NAN, &entry->eval_loss);
}

static lora_status take_history(const json_t *state, const char *name, lr_history *history)
{
    const json_t *array = json_object_get(state, "log_history");
    size_t count = json_array_size(array);
    LR_TRY(lr_json_int(state, name, "log_stride", 1, &history->stride));
    history->count = 0;
    if (count > LR_HISTORY_CAPACITY || history->stride < 1)
        return lr_fail(LORA_ERROR_FORMAT, "%s: 'log_history' has %zu entries: expected at most %d", name, count,
                       LR_HISTORY_CAPACITY);
    for (size_t i = 0; i < count; i++) LR_TRY(take_entry(json_array_get(array, i), name, history));
    return LORA_OK;
}

static lora_status take_last(const lora_trainer *trainer, const json_t *state, const char *name, lr_progress *progress)
{
    const json_t *last = json_object_get(state, "last");
    lora_step_info info = {.struct_size = sizeof info, .step = progress->step, .total_steps = trainer->total_steps,
                           .eval_loss = NAN};
    LR_TRY(lr_json_real(last, name, "epoch", 0, &info.epoch));
    LR_TRY(lr_json_real(last, name, "loss", 0, &info.loss));
    LR_TRY(lr_json_real(last, name, "learning_rate", 0, &info.learning_rate));
    LR_TRY(lr_json_real(last, name, "grad_norm", 0, &info.gradient_norm));
    LR_TRY(lr_json_int(last, name, "tokens", 0, &info.tokens));
    LR_TRY(lr_json_int(last, name, "label_tokens", 0, &info.label_tokens));
    progress->last = info;
    return LORA_OK;
}

static lora_status take_progress(const json_t *state, const char *name, lr_progress *p)
{
    int64_t without = 0;
    LR_TRY(lr_json_int(state, name, "global_step", -1, &p->step));
    LR_TRY(lr_json_int(state, name, "updates", -1, &p->updates));
    LR_TRY(lr_json_int(state, name, "epoch_index", -1, &p->epoch));
    LR_TRY(lr_json_int(state, name, "epoch_batch", -1, &p->batch));
    LR_TRY(lr_json_int(state, name, "best_global_step", 0, &p->best_step));
    LR_TRY(lr_json_real(state, name, "best_metric", 0, &p->best_loss));
    LR_TRY(lr_json_real(state, name, "first_loss", 0, &p->first_loss));
    LR_TRY(lr_json_int(state, name, "evaluations_without_improvement", 0, &without));
    LR_TRY(lr_json_bool(state, name, "stopped", false, &p->stopped));
    LR_TRY(lr_json_bool(state, name, "evaluation_due", false, &p->evaluation_due));
    p->without_improvement = (int32_t)without;
    return LORA_OK;
}

lora_status lr_state_take(const lora_trainer *trainer, const json_t *state, const char *name, lr_progress *progress,
                          lr_history *history)
{
    int64_t format;
    LR_TRY(lr_json_int(state, name, "format", 0, &format));
    if (format != LR_CHECKPOINT_FORMAT)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: the checkpoint has format %" PRId64 ": this release reads %d", name,
                       format, LR_CHECKPOINT_FORMAT);
    LR_TRY(compare_settings(trainer, json_object_get(state, "settings"), name));
    lr_progress p = {0};
    LR_TRY(take_progress(state, name, &p));
    if (p.step < 0 || p.step > trainer->total_steps || p.updates < 0 || p.updates > p.step || p.epoch < 0 ||
        p.batch < 0 || p.batch >= (int64_t)trainer->data->row_count || p.best_step < 0 || p.best_step > p.step ||
        p.without_improvement < 0 || (p.best_step > 0 && !trainer->validation) ||
        (p.evaluation_due && !trainer->validation))
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: step %" PRId64 ", epoch %" PRId64 ", micro-batch %" PRId64 " is no position of this "
                       "run of %" PRId64 " steps",
                       name, p.step, p.epoch, p.batch, trainer->total_steps);
    LR_TRY(take_last(trainer, state, name, &p));
    LR_TRY(take_history(state, name, history));
    *progress = p;
    return LORA_OK;
}
