// lora plan: the memory that a run will take, by the library's own arithmetic, and its time, from trial steps on this
// machine.
#include "train_settings.h"

#include <inttypes.h>
#include <stdlib.h>

#define TRIAL_STEPS 3

static const verb_help help = {
    .usage = "lora plan MODEL [--data DATA | --max-length N] [train options]",
    .english = "Memory and time of a training run, before it starts.",
    .chinese = "在训练之前预估内存和时间。",
    .example =
        "lora plan examples/base --data examples/data/weekly_report.train.jsonl \\\n      --rank 8 --batch-size 4",
    .common = "data validation max-length rank target-modules full batch-size recompute memory-budget dtype quantize",
    .arguments = 1,
    .most_arguments = 1,
};

// 0: there is no data.
static int64_t longest_row(const lora_dataset *data)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    return data && lora_dataset_get_info(data, &info) == LORA_OK ? info.longest_row : 0;
}

// Rows of ids like those of a run, for trial steps where no data is given.
static lora_status make_rows(lora_context *context, int64_t rows, int64_t length, int64_t vocabulary,
                             lora_dataset **out)
{
    int32_t *ids = malloc((size_t)length * sizeof *ids);
    lora_status status = ids ? lora_dataset_create(context, out) : LORA_ERROR_MEMORY;
    for (int64_t r = 0; status == LORA_OK && r < rows; r++) {
        for (int64_t i = 0; i < length; i++) ids[i] = (int32_t)((r * 31 + i * 7) % vocabulary);
        status = lora_dataset_add(*out, ids, NULL, (size_t)length);
    }
    free(ids);
    return status;
}

// Median seconds of a step; 0 when it could not be measured.
static double time_step(const lora_model *model, train_plan *plan, const lora_dataset *data, int64_t *tokens,
                        int64_t *total_steps)
{
    lora_adapter *adapter = NULL;
    lora_trainer *trainer = NULL;
    double seconds = 0;
    plan->trainer.output = NULL;
    lora_step_info info = {.struct_size = sizeof info};
    lora_status status = lora_adapter_create(model, &plan->adapter, &adapter);
    if (status == LORA_OK) status = lora_trainer_create(adapter, data, &plan->trainer, &trainer);
    for (int i = 0; status == LORA_OK && i < TRIAL_STEPS && !info.done; i++) {
        status = lora_trainer_step(trainer, &info);
        if (status == LORA_OK && (seconds == 0 || info.seconds < seconds))
            seconds = info.seconds, *tokens = info.tokens;
    }
    *total_steps = info.total_steps;
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
    return seconds;
}

static int print_plan(const application *app, const lora_memory_plan *p, double step_seconds, double rate,
                      double run_seconds)
{
    if (app->json)
        return print_json(json_pack(
            "{sI sI sI sI sI sI sI sI si sb sf sf sf}", "weights", (json_int_t)p->weights, "adapter",
            (json_int_t)p->adapter, "gradients", (json_int_t)p->gradients, "optimizer", (json_int_t)p->optimizer,
            "activations", (json_int_t)p->activations, "workspace", (json_int_t)p->workspace, "other",
            (json_int_t)p->other, "total", (json_int_t)p->total, "micro_batch", p->micro_batch, "recompute",
            p->recompute, "step_seconds", step_seconds, "tokens_per_second", rate, "run_seconds", run_seconds));
    const struct { const char *name; uint64_t bytes;
    } rows[] = {{say(app, "base model", "底座模型"), p->weights},
                {say(app, "adapter", "适配器"), p->adapter},
                {say(app, "gradients", "梯度"), p->gradients},
                {say(app, "optimizer", "优化器"), p->optimizer},
                {say(app, "activations", "激活"), p->activations},
                {say(app, "workspace", "工作区"), p->workspace},
                {say(app, "other", "其他"), p->other},
                {say(app, "in all", "合计"), p->total}};
    char text[32];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("%10s  %s\n", as_size(rows[i].bytes, text), rows[i].name);
    printf(say(app, "micro-batch %d rows%s\n", "每批 %d 行%s\n"), p->micro_batch, recomputation(app, p));
    if (step_seconds > 0)
        printf(say(app, "%.2f s a step, %.0f tokens/s, the run about %s\n", "每步 %.2f 秒，%.0f 词元/秒，全程约 %s\n"),
               step_seconds, rate, as_time(run_seconds, text));
    else
        printf("%s\n", say(app, "this does not fit into the memory that is free now: the time was not measured",
                           "当前空闲内存不足，未测量时间"));
    return EXIT_DONE;
}

static int run(application *app, const train_settings *s, train_plan *plan)
{
    lora_model *model = NULL;
    lora_dataset *data = NULL, *validation = NULL;
    lora_model_info shape = {.struct_size = sizeof shape};
    lora_memory_plan memory = {.struct_size = sizeof memory};
    int64_t length = s->max_length, tokens = 0, total_steps = 0;
    plan->trainer.output = "."; // a run has an output, for which the trainer holds more
    lora_status status = open_model(app, app->arguments.items[0], &plan->model, &model);
    if (status == LORA_OK) status = lora_model_get_info(model, &shape);
    if (status == LORA_OK && s->data.count) {
        status = load_training_rows(app, s, plan, lora_model_tokenizer(model), &data, &validation);
        length = longest_row(data) > longest_row(validation) ? longest_row(data) : longest_row(validation);
    }
    if (length > shape.context_length) length = shape.context_length;
    if (status == LORA_OK && !data)
        status = make_rows(app->context, plan->trainer.batch_size * plan->trainer.gradient_accumulation * TRIAL_STEPS,
                           length, shape.vocabulary, &data);
    plan->trainer.validation = validation ? validation : s->validation.count ? data : NULL;
    if (status == LORA_OK) status = lora_plan_training(model, &plan->adapter, &plan->trainer, length, &memory);
    int64_t available = available_memory();
    double seconds = 0;
    if (status == LORA_OK && (available == 0 || memory.total < (uint64_t)available))
        seconds = time_step(model, plan, data, &tokens, &total_steps);
    double run_seconds = s->data.count || s->max_steps ? seconds * (double)total_steps : seconds;
    int result = status == LORA_OK
                   ? print_plan(app, &memory, seconds, seconds > 0 ? (double)tokens / seconds : 0, run_seconds)
                   : failed(app, status);
    lora_dataset_free(validation);
    lora_dataset_free(data);
    lora_model_free(model);
    return result;
}

int command_plan(application *app, int count, char **words)
{
    train_settings s;
    train_plan plan;
    train_settings_init(&s);
    int status = parse_options(app, &help, train_options, &s, count, words);
    if (status == EXIT_DONE) status = make_train_plan(app, &s, &plan);
    return status == EXIT_DONE ? run(app, &s, &plan) : status;
}
