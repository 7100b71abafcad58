// Trains from the command line over the public calls alone: for tests, and for a base model of one's own.
//
//   train_tool MODEL DATA.jsonl OUTPUT [name=value ...]
//
// OUTPUT is the merged model with full=1, else the adapter. Other names: see `read_option`.
#include <lora/lora.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tool {
    lora_model_options model;
    lora_adapter_options adapter;
    lora_trainer_options trainer;
    lora_dataset_options data;
    const char *validation_path;
    double validation;
    int threads, resume, quiet;
    const char *targets[1];
} tool;

static lora_trainer *running; // for the signal handler

static void interrupt(int number)
{
    (void)number;
    lora_trainer_cancel(running);
}

static int is(const char *option, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(option, name, length) != 0 || option[length] != '=') return 0;
    *value = option + length + 1;
    return 1;
}

static int read_run_option(tool *t, const char *option)
{
    const char *v;
    if (is(option, "steps", &v)) t->trainer.max_steps = atoll(v);
    else if (is(option, "epochs", &v)) t->trainer.epochs = atof(v);
    else if (is(option, "batch", &v)) t->trainer.batch_size = atoi(v);
    else if (is(option, "accumulation", &v)) t->trainer.gradient_accumulation = atoi(v);
    else if (is(option, "lr", &v)) t->trainer.learning_rate = atof(v);
    else if (is(option, "schedule", &v)) t->trainer.schedule = atoi(v);
    else if (is(option, "warmup", &v)) t->trainer.warmup_steps = atof(v);
    else if (is(option, "decay", &v)) t->trainer.weight_decay = atof(v);
    else if (is(option, "clip", &v)) t->trainer.max_grad_norm = atof(v);
    else if (is(option, "beta2", &v)) t->trainer.beta2 = atof(v);
    else if (is(option, "packing", &v)) t->trainer.packing = atoi(v);
    else if (is(option, "shuffle", &v)) t->trainer.shuffle = atoi(v);
    else if (is(option, "recompute", &v)) t->trainer.recompute = atoi(v);
    else if (is(option, "budget", &v)) t->trainer.memory_budget = (uint64_t)atoll(v);
    else if (is(option, "eval", &v)) t->trainer.eval_steps = atoll(v);
    else if (is(option, "patience", &v)) t->trainer.early_stopping = atoi(v);
    else if (is(option, "checkpoints", &v)) t->trainer.output = v;
    else if (is(option, "save", &v)) t->trainer.save_steps = atoll(v);
    else if (is(option, "keep", &v)) t->trainer.keep = atoi(v);
    else return 0;
    return 1;
}

static int read_option(tool *t, const char *option)
{
    const char *v;
    if (is(option, "full", &v)) t->adapter.full = atoi(v);
    else if (is(option, "init", &v)) t->model.initialize = atoi(v);
    else if (is(option, "r", &v)) t->adapter.r = atoi(v);
    else if (is(option, "alpha", &v)) t->adapter.lora_alpha = (float)atof(v);
    else if (is(option, "dropout", &v)) t->adapter.lora_dropout = (float)atof(v);
    else if (is(option, "targets", &v)) t->targets[0] = v, t->adapter.target_module_count = 1;
    else if (is(option, "length", &v)) t->data.max_length = atoi(v);
    else if (is(option, "validation", &v)) t->validation = atof(v), t->validation_path = v;
    else if (is(option, "seed", &v)) t->trainer.seed = t->adapter.seed = t->model.seed = (uint64_t)atoll(v);
    else if (is(option, "threads", &v)) t->threads = atoi(v);
    else if (is(option, "resume", &v)) t->resume = atoi(v);
    else if (is(option, "quiet", &v)) t->quiet = atoi(v);
    else return read_run_option(t, option);
    return 1;
}

static int32_t print_step(const lora_step_info *info, void *user)
{
    const tool *t = user;
    if (t->quiet && info->step % t->quiet != 0 && !info->done && info->eval_loss != info->eval_loss) return 0;
    printf("step %lld/%lld epoch %.3f loss %.6f lr %.4g norm %.4f tokens/s %.0f", (long long)info->step,
           (long long)info->total_steps, info->epoch, info->loss, info->learning_rate, info->gradient_norm,
           (double)info->tokens / info->seconds);
    if (info->eval_loss == info->eval_loss) printf(" eval_loss %.6f%s", info->eval_loss, info->improved ? " best" : "");
    putchar('\n');
    fflush(stdout);
    return 0;
}

static void print_line(int32_t level, const char *line, void *user)
{
    (void)level, (void)user;
    fprintf(stderr, "%s\n", line);
}

static void print_plan(const lora_trainer *trainer)
{
    lora_memory_plan plan = {.struct_size = sizeof plan};
    if (lora_trainer_plan(trainer, &plan) != LORA_OK) return;
    printf(
        "plan MiB: weights %.1f adapter %.1f gradients %.1f optimizer %.1f activations %.1f workspace %.1f other %.1f "
        "total %.1f micro_batch %d recompute %d\n",
        (double)plan.weights / 0x1p20, (double)plan.adapter / 0x1p20, (double)plan.gradients / 0x1p20,
        (double)plan.optimizer / 0x1p20, (double)plan.activations / 0x1p20, (double)plan.workspace / 0x1p20,
        (double)plan.other / 0x1p20, (double)plan.total / 0x1p20, plan.micro_batch, plan.recompute);
}

typedef struct handles {
    lora_context *context;
    lora_model *model, *merged;
    lora_dataset *data, *validation;
    lora_adapter *adapter;
    lora_trainer *trainer;
} handles;

static lora_status load_data(tool *t, handles *h, const char *path)
{
    const lora_tokenizer *tokenizer = lora_model_tokenizer(h->model);
    lora_status status = lora_dataset_load(h->context, tokenizer, &path, 1, &t->data, &h->data);
    if (status != LORA_OK || !t->validation_path) return status;
    if (t->validation > 0) status = lora_dataset_split(h->data, t->validation, t->trainer.seed, &h->validation);
    else status = lora_dataset_load(h->context, tokenizer, &t->validation_path, 1, &t->data, &h->validation);
    t->trainer.validation = h->validation;
    return status;
}

static lora_status train(tool *t, handles *h)
{
    lora_status status = lora_trainer_create(h->adapter, h->data, &t->trainer, &h->trainer);
    if (status != LORA_OK) return status;
    print_plan(h->trainer);
    running = h->trainer;
    signal(SIGINT, interrupt);
    int64_t step = 0;
    if (t->resume) status = lora_trainer_resume(h->trainer, &step);
    if (step > 0) printf("resumed at step %lld\n", (long long)step);
    return status == LORA_OK ? lora_trainer_run(h->trainer, print_step, t) : status;
}

static lora_status save(const tool *t, handles *h, const char *output)
{
    lora_trainer_free(h->trainer);
    h->trainer = running = NULL;
    if (!t->adapter.full) return lora_adapter_save(h->adapter, output, 1);
    lora_adapter_use use = {.adapter = h->adapter, .weight = 1};
    lora_status status = lora_model_merge(h->model, &use, 1, LORA_TYPE_KEEP, NULL, &h->merged);
    return status == LORA_OK ? lora_model_save(h->merged, output, 1) : status;
}

static lora_status work(tool *t, handles *h, char **arguments)
{
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = t->threads;
    options.log = print_line;
    lora_status status = lora_context_create(&h->context, &options);
    if (status == LORA_OK) status = lora_model_load(h->context, arguments[1], &t->model, &h->model);
    if (status == LORA_OK) status = load_data(t, h, arguments[2]);
    if (status == LORA_OK) status = lora_adapter_create(h->model, &t->adapter, &h->adapter);
    if (status == LORA_OK) status = train(t, h);
    if (status == LORA_OK) status = save(t, h, arguments[3]);
    return status;
}

int main(int count, char **arguments)
{
    static tool t;
    handles h = {0};
    lora_model_options_init(&t.model);
    lora_adapter_options_init(&t.adapter);
    t.adapter.target_modules = t.targets;
    lora_trainer_options_init(&t.trainer);
    lora_dataset_options_init(&t.data);
    if (count < 4) return fprintf(stderr, "usage: train_tool MODEL DATA OUTPUT [name=value ...]\n"), 2;
    for (int i = 4; i < count; i++)
        if (!read_option(&t, arguments[i])) return fprintf(stderr, "unknown option %s\n", arguments[i]), 2;
    lora_status status = work(&t, &h, arguments);
    if (status != LORA_OK) fprintf(stderr, "%s: %s\n", lora_status_name(status), lora_error_message());
    lora_trainer_free(h.trainer);
    lora_adapter_free(h.adapter);
    lora_dataset_free(h.data);
    lora_dataset_free(h.validation);
    lora_model_free(h.merged);
    lora_model_free(h.model);
    lora_context_free(h.context);
    return status == LORA_OK ? 0 : 1;
}
