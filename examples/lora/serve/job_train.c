// A training run: a data set of the workspace becomes an adapter of the workspace.
#include "datasets.h"
#include "files.h"
#include "shelf.h"
#include "training.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    job_work *work;
    training training;
    lora_model *model;
    lora_dataset *data, *validation;
    general_data general;
    lora_diagnosis diagnosis;
    lora_adapter *adapter;
    lora_trainer *trainer;
    char *checkpoints;
    int64_t tokens;
    double last_eval, begin, busy; // busy: seconds in steps
    lora_step_info last;
} run;

static bool check(request *r, const json_t *settings)
{
    const char *name = json_string_value(json_object_get(settings, "adapter"));
    if (!name || !is_name(name)) {
        answer_error(r, 400, "invalid_name", "adapter", "%s",
                     say(&r->words, "adapter: give what is learnt a name of letters, digits, '-', '_' or '.'",
                         "adapter：请用文字、数字、“-”、“_”、“.”命名"));
        return false;
    }
    if (shelf_has(r->server->shelf, name) || jobs_will_make(r->server->jobs, "train", name)) {
        answer_error(r, 409, "name_taken", "adapter",
                     say(&r->words, "there is an adapter %s already", "已有名为 %s 的适配器"), name);
        return false;
    }
    return check_training(r, settings);
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static int32_t take_step(const lora_step_info *info, void *user)
{
    run *t = user;
    char english[128], chinese[128];
    t->last = *info;
    t->tokens += info->tokens;
    t->busy += info->seconds;
    if (isfinite(info->eval_loss)) t->last_eval = info->eval_loss;
    work_step(t->work,
              json_pack("{sI sI sf so sf so so sI sf sf so sI}", "step", (json_int_t)info->step, "total_steps",
                        (json_int_t)info->total_steps, "epoch", info->epoch, "loss", real_or_null(info->loss),
                        "learning_rate", info->learning_rate, "gradient_norm", real_or_null(info->gradient_norm),
                        "grad_norm", real_or_null(info->gradient_norm), "tokens", (json_int_t)info->tokens,
                        "tokens_per_second", info->seconds > 0 ? (double)info->tokens / info->seconds : 0, "seconds",
                        now() - t->begin, "eval_loss", real_or_null(info->eval_loss), "memory",
                        (json_int_t)peak_memory()));
    snprintf(english, sizeof english, "step %" PRId64 " of %" PRId64, info->step, info->total_steps);
    snprintf(chinese, sizeof chinese, "第 %" PRId64 " 步，共 %" PRId64 " 步", info->step, info->total_steps);
    work_progress(t->work, (double)info->step / (double)(info->total_steps ? info->total_steps : 1), english, chinese);
    return work_stopping(t->work);
}

// The general data of the settings, mixed in, and its loss before the first step.
static lora_status mix(run *t)
{
    json_t *part;
    size_t index;
    t->general = (general_data){.before = NAN, .after = NAN};
    json_array_foreach(json_object_get(t->work->settings, "mix"), index, part) {
        char *path = dataset_path(t->work->server, json_string_value(json_object_get(part, "dataset")));
        if (!path) return LORA_ERROR_MEMORY;
        t->general.paths[t->general.count] = path;
        t->general.fractions[t->general.count++] = json_number_value(json_object_get(part, "fraction"));
    }
    if (t->general.count == 0) return LORA_OK;
    lora_status status = general_mix(&t->work->app, &t->general, lora_model_tokenizer(t->model),
                                     &t->training.plan.dataset, t->data);
    return status == LORA_OK ? general_measure(&t->general, t->model, NULL, 0, &t->general.before) : status;
}

static lora_status prepare(run *t)
{
    job_work *w = t->work;
    int64_t step = 0;
    if (training_read(&w->app, w->settings, &t->training) != EXIT_DONE) return LORA_ERROR_ARGUMENT;
    lora_status status = lora_model_load(w->context, w->server->model_path, &t->training.plan.model, &t->model);
    if (status == LORA_OK)
        status = training_data(w->server, w->context, t->model, w->settings, &t->training.plan, 0, &t->data,
                               &t->validation);
    if (status == LORA_OK) status = mix(t);
    if (status == LORA_OK) status = lora_adapter_create(t->model, &t->training.plan.adapter, &t->adapter);
    if (status != LORA_OK) return status;
    t->training.plan.trainer.validation = t->validation;
    t->training.plan.trainer.output = t->checkpoints = work_path(w, "checkpoints");
    status = lora_trainer_create(t->adapter, t->data, &t->training.plan.trainer, &t->trainer);
    if (status == LORA_OK) status = lora_trainer_resume(t->trainer, &step);
    if (status == LORA_OK) work_cut_log(w, step);
    return status;
}

static void cancel_trainer(void *handle)
{
    lora_trainer_cancel(handle);
}

static lora_status keep(run *t)
{
    job_work *w = t->work;
    lora_adapter_info adapter = {.struct_size = sizeof adapter};
    lora_model_info model = {.struct_size = sizeof model};
    const char *name = json_string_value(json_object_get(w->settings, "adapter"));
    char *path = workspace_path(w->server, "adapters/%s", name);
    lora_adapter_use use = {.adapter = t->adapter, .weight = 1};
    t->diagnosis.struct_size = sizeof t->diagnosis;
    lora_trainer_diagnose(t->trainer, &t->diagnosis);
    lora_trainer_free(t->trainer);
    t->trainer = NULL;
    if (t->general.count) general_measure(&t->general, t->model, &use, 1, &t->general.after);
    lora_status status = path ? lora_adapter_save(t->adapter, path, 0) : LORA_ERROR_MEMORY;
    free(path);
    if (status != LORA_OK) return status;
    lora_adapter_get_info(t->adapter, &adapter);
    lora_model_get_info(t->model, &model);
    json_t *result = json_pack(
        "{sI so so sI sf sf sI sI sI ss s{ss ss ss}}", "steps", (json_int_t)t->last.step, "loss",
        real_or_null(t->last.loss), "eval_loss", real_or_null(t->last_eval), "tokens", (json_int_t)t->tokens,
        "tokens_per_second", t->busy > 0 ? (double)t->tokens / t->busy : 0, "seconds", now() - t->begin,
        "peak_memory_bytes", (json_int_t)peak_memory(), "trainable_params", (json_int_t)adapter.parameters,
        "all_params", (json_int_t)(model.parameters + adapter.parameters), "output", name, "diagnosis", "fit",
        lora_fit_name(t->diagnosis.fit), "en", t->diagnosis.english, "zh", t->diagnosis.chinese);
    if (t->general.count)
        json_object_update_new(result,
                               json_pack("{so so s{so so}}", "general_loss_before", real_or_null(t->general.before),
                                         "general_loss_after", real_or_null(t->general.after), "general", "before",
                                         real_or_null(t->general.before), "after", real_or_null(t->general.after)));
    work_result(w, result);
    shelf_look_again(w->server->shelf);
    remove_tree(t->checkpoints);
    return LORA_OK;
}

static lora_status run_training(job_work *w)
{
    run t = {.work = w, .last_eval = NAN, .begin = now()};
    work_progress(w, 0, "reading the model and the data", "正在读取模型和数据");
    lora_status status = prepare(&t);
    if (status == LORA_OK) {
        work_cancel_with(w, cancel_trainer, t.trainer);
        status = lora_trainer_run(t.trainer, take_step, &t);
        work_cancel_with(w, NULL, NULL);
    }
    if (status == LORA_OK) status = keep(&t);
    lora_trainer_free(t.trainer);
    lora_adapter_free(t.adapter);
    lora_dataset_free(t.validation);
    lora_dataset_free(t.data);
    lora_model_free(t.model);
    general_free(&t.general);
    training_free(&t.training);
    free(t.checkpoints);
    return status;
}

const job_kind train_job = {.name = "train", .check = check, .run = run_training, .output = "adapter"};
