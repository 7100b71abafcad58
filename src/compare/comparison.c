#include "src/compare/comparison.h"

#include "src/core/validate.h"

#include <string.h>

#define LONGEST_NAME 64

void(lora_comparison_options_init)(lora_comparison_options *options, size_t struct_size)
{
    const lora_comparison_options defaults = {.seeds = 1, .answers = 16, .max_new_tokens = 128};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

// ---- the handle ----------------------------------------------------------------------------------------------------

static lora_status check_options(const lora_comparison_options *o)
{
    LR_CHECK_ARGUMENT(o->output && *o->output, "output is missing: a comparison is kept in a directory");
    LR_CHECK_ARGUMENT(o->validation, "validation is missing: settings are compared on held-out rows");
    LR_CHECK_ARGUMENT(o->seeds >= 1 && o->seeds <= 1000, "seeds is %d; expected 1 to 1000", o->seeds);
    LR_CHECK_ARGUMENT(o->answers >= 0, "answers is %d; expected 0 or more", o->answers);
    LR_CHECK_ARGUMENT(o->max_new_tokens >= 1, "max_new_tokens is %d; expected 1 or more", o->max_new_tokens);
    return LORA_OK;
}

static lora_dataset *retain(const lora_dataset *data)
{
    return data ? lr_dataset_retain((lora_dataset *)(uintptr_t)data) : NULL; // only its reference count moves
}

lora_status lora_comparison_create(const lora_model *model, const lora_dataset *data,
                                   const lora_comparison_options *options, lora_comparison **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(data);
    LR_CHECK_HANDLE(out);
    lora_comparison_options o;
    lora_comparison_options_init(&o);
    LR_TRY(lr_take_options(&o, sizeof o, options, __func__));
    LR_TRY(check_options(&o));
    if (data->row_count == 0 || o.validation->row_count == 0 || (o.general && o.general->row_count == 0))
        return lr_fail(LORA_ERROR_DATA, "the %s data has no rows",
                       data->row_count == 0 ? "training" : o.validation->row_count == 0 ? "validation" : "general");

    const lora_allocator *allocator = &model->context->allocator;
    lora_comparison *c = lr_alloc_zeroed(allocator, 1, sizeof *c);
    if (!c) return LORA_ERROR_MEMORY;
    c->context = lr_context_retain(model->context);
    c->model = lr_model_retain((lora_model *)(uintptr_t)model);
    c->data = retain(data);
    c->validation = retain(o.validation);
    c->general = retain(o.general);
    c->output = lr_duplicate(allocator, o.output);
    c->seeds = o.seeds;
    c->answers = o.answers;
    c->max_new_tokens = o.max_new_tokens;
    c->overwrite = o.overwrite != 0;
    if (!c->output) {
        lora_comparison_free(c);
        return LORA_ERROR_MEMORY;
    }
    *out = c;
    return LORA_OK;
}

static void free_setting(const lora_allocator *allocator, lr_setting *setting)
{
    lr_free(allocator, setting->name);
    lr_dataset_release(setting->data);
    json_decref(setting->options);
    json_decref(setting->runs);
}

void lora_comparison_free(lora_comparison *c)
{
    if (!c) return;
    lora_context *context = c->context;
    const lora_allocator *allocator = &context->allocator;
    for (size_t i = 0; i < c->setting_count; i++) free_setting(allocator, &c->settings[i]);
    lr_free(allocator, c->settings);
    lr_resamples_free(allocator, &c->resamples);
    for (size_t i = 0; i < 4; i++) lr_free(allocator, c->texts[i]);
    lr_free(allocator, c->document);
    lr_free(allocator, c->row_path);
    json_decref(c->base);
    lr_lock_release(c->lock);
    lr_free(allocator, c->output);
    lr_dataset_release(c->data);
    lr_dataset_release(c->validation);
    lr_dataset_release(c->general);
    lr_model_release(c->model);
    lr_free(allocator, c);
    lr_context_release(context);
}

void lora_comparison_cancel(lora_comparison *comparison)
{
    if (comparison) atomic_store(&comparison->cancel, 1);
}

// ---- settings ------------------------------------------------------------------------------------------------------

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > LONGEST_NAME || strchr("-_.", name[0])) return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-_.", c)))
            return false;
    }
    return true;
}

static lora_status check_name(const lora_comparison *c, const char *name)
{
    LR_CHECK_ARGUMENT(name && is_name(name),
                      "'%.80s' is no name of a setting: 1 to %d letters, digits, '-', '_' and '.', "
                      "beginning with a letter or digit",
                      name ? name : "", LONGEST_NAME);
    for (size_t i = 0; i < c->setting_count; i++)
        LR_CHECK_ARGUMENT(strcmp(c->settings[i].name, name) != 0, "there are two settings called '%s'", name);
    return LORA_OK;
}

lora_status lora_comparison_add(lora_comparison *c, const char *name, const lora_dataset *data,
                                const lora_adapter_options *adapter, const lora_trainer_options *trainer)
{
    LR_CHECK_HANDLE(c);
    LR_TRY(check_name(c, name));
    if (c->opened) return lr_fail(LORA_ERROR_STATE, "settings are added before the first run");
    lr_setting setting = {.runnable = true};
    lora_adapter_options_init(&setting.adapter);
    lora_trainer_options_init(&setting.trainer);
    LR_TRY(lr_take_options(&setting.adapter, sizeof setting.adapter, adapter, __func__));
    LR_TRY(lr_take_options(&setting.trainer, sizeof setting.trainer, trainer, __func__));
    const lora_allocator *allocator = &c->context->allocator;
    LR_TRY(lr_grow(allocator, (void **)&c->settings, &c->setting_capacity, c->setting_count + 1, sizeof setting));
    setting.name = lr_duplicate(allocator, name);
    setting.data = retain(data ? data : c->data);
    setting.options = lr_setting_options(setting.data, &setting.adapter, &setting.trainer);
    setting.runs = json_array();
    if (!setting.name || !setting.options || !setting.runs) {
        free_setting(allocator, &setting);
        return lr_fail_memory(sizeof setting);
    }
    c->settings[c->setting_count++] = setting;
    return LORA_OK;
}

size_t lora_comparison_count(const lora_comparison *comparison)
{
    return comparison ? comparison->setting_count : 0;
}

// ---- runs ----------------------------------------------------------------------------------------------------------

lora_status lr_report_progress(lr_reporter *reporter, int32_t phase, int64_t done, int64_t total,
                               const lora_step_info *step)
{
    lora_comparison_progress progress = reporter->progress;
    progress.struct_size = sizeof progress;
    progress.phase = phase;
    progress.done = done;
    progress.total = total;
    progress.step = step;
    if (reporter->callback && reporter->callback(&progress, reporter->user))
        return lr_fail(LORA_ERROR_CANCELLED, "the callback asked to stop");
    if (atomic_load(&reporter->comparison->cancel)) return lr_fail(LORA_ERROR_CANCELLED, "the comparison was stopped");
    return LORA_OK;
}

// Seed after seed, so that the table is whole early. false: everything is finished.
static bool next_run(const lora_comparison *c, size_t *index, size_t *seed, int64_t *number)
{
    *number = 0;
    for (size_t s = 0; s < (size_t)c->seeds; s++)
        for (size_t i = 0; i < c->setting_count; i++) {
            if (!c->settings[i].runnable) continue;
            ++*number;
            if (json_array_size(c->settings[i].runs) > s) continue;
            *index = i, *seed = s;
            return true;
        }
    return false;
}

static size_t runnable_count(const lora_comparison *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->setting_count; i++) count += c->settings[i].runnable;
    return count;
}

lora_status lora_comparison_run(lora_comparison *c, lora_comparison_fn callback, void *user, int64_t *index)
{
    LR_CHECK_HANDLE(c);
    LR_TRY(lr_comparison_open(c));
    lr_reporter reporter = {.comparison = c, .callback = callback, .user = user};
    size_t setting, seed;
    if (!next_run(c, &setting, &seed, &reporter.progress.run))
        return lr_fail(LORA_ERROR_STATE, "every setting is finished");
    reporter.progress.runs = (int64_t)(runnable_count(c) * (size_t)c->seeds);
    reporter.progress.name = "";
    lora_status status = LORA_OK;
    if (!c->base) status = lr_comparison_run_base(&reporter);
    reporter.progress.name = c->settings[setting].name;
    if (status == LORA_OK) status = lr_comparison_run_setting(&reporter, &c->settings[setting], seed);
    if (status == LORA_ERROR_CANCELLED) atomic_store(&c->cancel, 0);
    if (status == LORA_OK && index) *index = (int64_t)setting;
    return status;
}

// ---- results -------------------------------------------------------------------------------------------------------

lora_status lora_comparison_row_at(lora_comparison *c, size_t index, lora_comparison_row *row)
{
    LR_CHECK_HANDLE(c);
    LR_CHECK_ARGUMENT(index < c->setting_count, "setting %zu of %zu", index, c->setting_count);
    lora_comparison_row found = {0};
    LR_TRY(lr_comparison_open(c));
    LR_TRY(lr_comparison_fill_row(c, index, &found));
    return lr_give_info(row, &found, sizeof found, __func__);
}

lora_status lora_comparison_base(lora_comparison *c, lora_comparison_row *row)
{
    LR_CHECK_HANDLE(c);
    lora_comparison_row found = {0};
    LR_TRY(lr_comparison_open(c));
    if (!c->base)
        return lr_fail(LORA_ERROR_STATE, "the base is measured before the first run: call lora_comparison_run");
    LR_TRY(lr_comparison_fill_base(c, &found));
    return lr_give_info(row, &found, sizeof found, __func__);
}

lora_status lora_comparison_judge(lora_comparison *c, lora_comparison_verdict *verdict)
{
    LR_CHECK_HANDLE(c);
    lora_comparison_verdict found = {0};
    LR_TRY(lr_comparison_open(c));
    LR_TRY(lr_comparison_fill_verdict(c, &found));
    return lr_give_info(verdict, &found, sizeof found, __func__);
}
