#include "training.h"

#include "datasets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int training_read(const application *app, const json_t *settings, training *t)
{
    static const char *const others[] = {"dataset", "validation", "adapter", "seed", "mix", NULL};
    application own = *app;
    json_t *seed = json_object_get(settings, "seed");
    *t = (training){.texts = json_array()};
    train_settings_init(&t->settings);
    if (json_is_integer(seed)) own.seed = json_integer_value(seed);
    int status = set_options(app, train_options, &t->settings, settings, others, t->texts);
    if (status == EXIT_DONE && (t->settings.full || t->settings.initialize))
        status = complain(
            app, EXIT_USAGE, "%s",
            say(app,
                "full, initialize: a run makes an adapter here; a comparison trains every weight too, and "
                "lora train --full saves such a model",
                "full、initialize：这里的训练只产生适配器；“对比”可以训练全部权重，lora train --full 可保存这样的模型"));
    return status == EXIT_DONE ? make_train_plan(&own, &t->settings, &t->plan) : status;
}

void training_free(training *t)
{
    json_decref(t->texts);
}

static lora_status load(const server *s, lora_context *context, const lora_model *model, const char *name,
                        const train_plan *plan, lora_dataset **out)
{
    char *path = dataset_path(s, name);
    const char *const paths[] = {path};
    lora_status status = path ? lora_dataset_load(context, lora_model_tokenizer(model), paths, 1, &plan->dataset, out)
                              : LORA_ERROR_MEMORY;
    free(path);
    return status;
}

lora_status training_data(const server *s, lora_context *context, const lora_model *model, const json_t *settings,
                          const train_plan *plan, double share, lora_dataset **data, lora_dataset **validation)
{
    json_t *held_out = json_object_get(settings, "validation");
    *data = *validation = NULL;
    lora_status status = load(s, context, model, json_string_value(json_object_get(settings, "dataset")), plan, data);
    if (json_is_number(held_out)) share = json_number_value(held_out);
    if (status == LORA_OK && json_is_string(held_out))
        status = load(s, context, model, json_string_value(held_out), plan, validation);
    else if (status == LORA_OK && share > 0) status = lora_dataset_split(*data, share, plan->trainer.seed, validation);
    if (status == LORA_OK) return status;
    lora_dataset_free(*data);
    lora_dataset_free(*validation);
    *data = *validation = NULL;
    return status;
}

bool check_validation(request *r, const json_t *settings)
{
    json_t *held_out = json_object_get(settings, "validation");
    double share = json_number_value(held_out);
    if (json_is_string(held_out)) return check_dataset(r, settings, "validation");
    if (!held_out || json_is_null(held_out) || (json_is_number(held_out) && share > 0 && share < 1)) return true;
    answer_error(r, 400, "invalid_value", "validation", "%s",
                 say(&r->words, "validation: a data set, or a share between 0 and 1, is expected",
                     "validation：应为数据集名称，或 0 到 1 之间的比例"));
    return false;
}

static bool check_mix(request *r, const json_t *settings)
{
    json_t *list = json_object_get(settings, "mix"), *part;
    size_t index;
    double sum = 0;
    bool fine = !list || json_is_null(list) || (json_is_array(list) && json_array_size(list) <= GENERAL_PARTS);
    json_array_foreach(list, index, part) {
        json_t *fraction = json_object_get(part, "fraction");
        double share = json_number_value(fraction);
        if (!check_dataset(r, part, "dataset")) return false;
        fine &= json_is_number(fraction) && share > 0 && share < 1;
        sum += share;
    }
    if (fine && sum < 1) return true;
    answer_error(
        r, 400, "invalid_value", "mix", "%s",
        say(&r->words,
            "mix: a list of {\"dataset\", \"fraction\"} is expected; the fractions leave room for your own data",
            "mix：应为 {\"dataset\", \"fraction\"} 的列表，比例之和须小于 1"));
    return false;
}

bool check_training(request *r, const json_t *settings)
{
    char complaint[COMPLAINT_SIZE] = "";
    application app = r->words;
    training t;
    app.complaint = complaint;
    if (!check_dataset(r, settings, "dataset") || !check_validation(r, settings) || !check_mix(r, settings))
        return false;
    bool fine = training_read(&app, settings, &t) == EXIT_DONE;
    if (!fine) answer_error(r, 400, "invalid_value", NULL, "%s", complaint);
    training_free(&t);
    return fine;
}

// ---- the plan ------------------------------------------------------------------------------------------------------

// Steps of a run without packing; with it there are fewer.
static int64_t count_steps(const training *t, int64_t rows)
{
    const lora_trainer_options *o = &t->plan.trainer;
    if (o->max_steps > 0) return o->max_steps;
    int64_t batches = (rows + o->batch_size - 1) / o->batch_size,
            steps = (batches + o->gradient_accumulation - 1) / o->gradient_accumulation;
    return (int64_t)ceil(o->epochs * (double)steps);
}

static lora_status make_plan(request *r, const training *t, const lora_model *model, json_t **out)
{
    lora_dataset *data, *validation;
    lora_adapter *adapter = NULL;
    lora_dataset_info rows = {.struct_size = sizeof rows}, held_out = {.struct_size = sizeof held_out};
    lora_adapter_info learnt = {.struct_size = sizeof learnt};
    lora_memory_plan plan = {.struct_size = sizeof plan};
    lora_status status = training_data(r->server, r->server->app->context, model, r->body, &t->plan, 0, &data,
                                       &validation);
    if (status != LORA_OK) return status;
    lora_dataset_get_info(data, &rows);
    if (validation) lora_dataset_get_info(validation, &held_out);
    int64_t longest = rows.longest_row > held_out.longest_row ? rows.longest_row : held_out.longest_row,
            available = available_memory();
    status = lora_plan_training(model, &t->plan.adapter, &t->plan.trainer, longest, &plan);
    if (status == LORA_OK) status = lora_adapter_create(model, &t->plan.adapter, &adapter);
    if (status == LORA_OK) status = lora_adapter_get_info(adapter, &learnt);
    if (status == LORA_OK) {
        int64_t steps = count_steps(t, rows.rows),
                per_step = (int64_t)t->plan.trainer.batch_size * t->plan.trainer.gradient_accumulation;
        double rate = jobs_last_rate(r->server->jobs),
               tokens = rows.rows ? (double)steps * (double)per_step * (double)rows.tokens / (double)rows.rows : 0;
        *out = json_pack("{sI sI sI sI sI sI sI sI sI sb so sI sI}", "weights", (json_int_t)plan.weights, "adapter",
                         (json_int_t)plan.adapter, "gradients", (json_int_t)plan.gradients, "optimizer",
                         (json_int_t)plan.optimizer, "activations", (json_int_t)plan.activations, "workspace",
                         (json_int_t)plan.workspace, "other", (json_int_t)plan.other, "total", (json_int_t)plan.total,
                         "available", (json_int_t)available, "fits", available == 0 || plan.total < (uint64_t)available,
                         "seconds", rate > 0 ? json_real(tokens / rate) : json_null(), "trainable_params",
                         (json_int_t)learnt.parameters, "steps", (json_int_t)steps);
    }
    lora_adapter_free(adapter);
    lora_dataset_free(data);
    lora_dataset_free(validation);
    return status;
}

void plan_post(request *r)
{
    training t;
    json_t *plan = NULL;
    if (!check_training(r, r->body)) return;
    char complaint[COMPLAINT_SIZE] = "";
    application app = r->words;
    app.complaint = complaint;
    lora_status status = training_read(&app, r->body, &t) == EXIT_DONE ? make_plan(r, &t, r->server->model, &plan)
                                                                       : LORA_ERROR_ARGUMENT;
    if (status == LORA_OK) answer_json(r, 200, plan);
    else answer_failure(r, status);
    training_free(&t);
}
