#include "train_settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(train_settings, field)

const option train_options[] = {
    {"data", OPTION_TEXTS, AT(data), "FILE", "rows: json, jsonl, csv, tsv, txt, .gz, -",
     "训练数据：json、jsonl、csv、tsv、txt、.gz、-"},
    {"output", OPTION_TEXT, AT(output), "DIR", "where the adapter goes", "适配器的保存位置"},
    {"validation", OPTION_TEXTS, AT(validation), "FILE|FRACTION", "held-out rows, or a share of the data",
     "留出数据文件，或数据的一部分"},
    {"mix", OPTION_TEXTS, AT(mix), "FILE=10%", "general data, against forgetting", "按比例混入通用数据，减少遗忘"},
    {"rank", OPTION_INTEGER, AT(rank), "8", "size r of the adapter", "适配器的秩 r"},
    {"alpha", OPTION_REAL, AT(alpha), "32", "scale is alpha / r", "缩放为 alpha / r"},
    {"dropout", OPTION_REAL, AT(dropout), "0.1", "share of inputs dropped, against overfitting",
     "随机丢弃的比例，防止过拟合"},
    {"target-modules", OPTION_NAMES, AT(target_modules), "q_proj,v_proj", "layers to adapt, or all-linear",
     "要适配的层，或 all-linear"},
    {"target-regex", OPTION_TEXT, AT(target_regex), "REGEX", "instead: whole module names that match",
     "或：匹配整个模块名的正则"},
    {"exclude-modules", OPTION_NAMES, AT(exclude_modules), "NAMES", "layers left out", "排除的层"},
    {"modules-to-save", OPTION_NAMES, AT(modules_to_save), "NAMES", "trained whole: lm_head, embed_tokens, norm",
     "整体训练的模块"},
    {"bias", OPTION_TEXT, AT(bias), "none|all|lora_only", "biases to train", "训练哪些偏置"},
    {"use-rslora", OPTION_FLAG, AT(use_rslora), NULL, "scale is alpha / sqrt(r)", "缩放为 alpha / sqrt(r)"},
    {"rank-pattern", OPTION_NAMES, AT(rank_pattern), "NAME=R,...", "ranks of single layers", "单独设定某些层的秩"},
    {"alpha-pattern", OPTION_NAMES, AT(alpha_pattern), "NAME=A,...", "alphas of single layers",
     "单独设定某些层的 alpha"},
    {"init-lora-weights", OPTION_TEXT, AT(init_weights), "true|gaussian", "how A begins", "A 的初始化方式"},
    {"init-adapter", OPTION_TEXT, AT(init_adapter), "DIR", "go on from an adapter", "从已有适配器继续训练"},
    {"method", OPTION_TEXT, AT(method), "lora", "adapter method", "适配方法"},
    {"full", OPTION_FLAG, AT(full), NULL, "train every weight; saves a model", "训练全部权重，保存为模型"},
    {"initialize", OPTION_FLAG, AT(initialize), NULL, "MODEL is config.json alone: start at random",
     "MODEL 只有 config.json：随机初始化"},
    {"epochs", OPTION_REAL, AT(epochs), "3", "times over the data", "训练轮数"},
    {"max-steps", OPTION_INTEGER, AT(max_steps), "N", "instead of epochs", "训练步数（代替轮数）"},
    {"batch-size", OPTION_INTEGER, AT(batch_size), "4", "rows at once", "每批行数"},
    {"gradient-accumulation", OPTION_INTEGER, AT(accumulation), "1", "batches in a step", "梯度累积"},
    {"max-length", OPTION_INTEGER, AT(max_length), "512", "tokens of a row", "每行最多的词元数"},
    {"max-rows", OPTION_INTEGER, AT(max_rows), "N", "use the first N rows", "只用前 N 行"},
    {"learning-rate", OPTION_REAL, AT(learning_rate), "2e-4", "step size (5e-5 with --full)",
     "学习率（--full 时为 5e-5）"},
    {"lr-schedule", OPTION_TEXT, AT(schedule), "linear|cosine|constant", "how it falls", "学习率的变化方式"},
    {"warmup-steps", OPTION_REAL, AT(warmup), "0", "steps, or a share below 1", "预热步数，或小于 1 的比例"},
    {"weight-decay", OPTION_REAL, AT(weight_decay), "0", "decoupled weight decay", "权重衰减"},
    {"max-grad-norm", OPTION_REAL, AT(max_grad_norm), "1", "clip the gradient; 0: never", "梯度裁剪；0 为不裁剪"},
    {"beta1", OPTION_REAL, AT(beta1), "0.9", "AdamW", "AdamW"},
    {"beta2", OPTION_REAL, AT(beta2), "0.999", "AdamW", "AdamW"},
    {"epsilon", OPTION_REAL, AT(epsilon), "1e-8", "AdamW", "AdamW"},
    {"shuffle", OPTION_SWITCH, AT(shuffle), "true|false", "a new order each epoch", "每轮打乱顺序"},
    {"packing", OPTION_SWITCH, AT(packing), "true|false", "fill batches with several short rows",
     "把多条短数据装满一批"},
    {"pack-length", OPTION_INTEGER, AT(pack_length), "N", "tokens of a filled row", "装满后的长度"},
    {"train-on-prompt", OPTION_FLAG, AT(train_on_prompt), NULL, "learn the prompt too", "也学习提问部分"},
    {"template", OPTION_TEMPLATE, AT(template_source), "alpaca|chat|FILE", "how rows become text", "数据的文本模板"},
    {"recompute", OPTION_TEXT, AT(recompute), "none|mlp|all", "less memory: mlp 1/4, all 1/3 slower",
     "省内存：mlp 慢四分之一，all 慢三分之一"},
    {"activations", OPTION_TEXT, AT(activations), "keep|f32|bf16", "as what they wait for the backward",
     "反向传播前激活的保存类型"},
    {"gradient-checkpointing", OPTION_FLAG, AT(checkpointing), NULL, "the same as --recompute all",
     "等同于 --recompute all"},
    {"memory-budget", OPTION_SIZE, AT(memory_budget), "6GB", "choose settings that fit", "自动选择不超出内存的设置"},
    {"eval-steps", OPTION_INTEGER, AT(eval_steps), "N", "validate so often (default: each epoch)",
     "每隔多少步验证（默认每轮）"},
    {"early-stopping", OPTION_INTEGER, AT(early_stopping), "N", "stop after N validations without gain",
     "验证 N 次无改进就停止"},
    {"save-steps", OPTION_INTEGER, AT(save_steps), "N", "checkpoint so often (default: each epoch)",
     "每隔多少步存检查点（默认每轮）"},
    {"keep", OPTION_INTEGER, AT(keep), "2", "checkpoints kept beside the best", "保留的检查点数"},
    {"resume", OPTION_FLAG, AT(resume), NULL, "go on from the newest checkpoint", "从最新检查点继续"},
    {"log", OPTION_TEXT, AT(log), "FILE", "one JSON object a step", "每步写一行 JSON"},
    {"report", OPTION_TEXT, AT(report), "FILE.html", "curves and answers as a page", "把曲线和回答写成网页"},
    {"dtype", OPTION_TEXT, AT(dtype), "keep|f32|f16|bf16", "storage of the base while training",
     "训练时底座的存储类型"},
    {"save-dtype", OPTION_TEXT, AT(save_dtype), "keep|f32|f16|bf16", "storage of the model that --full saves",
     "--full 保存模型的存储类型"},
    {"quantize", OPTION_TEXT, AT(quantize), "none|int8|nf4|q8_0...", "the base in 8 or 4 bits: far less memory",
     "底座用 8 位或 4 位：内存少得多"},
    {"cache-quantized", OPTION_FLAG, AT(cache_quantized), NULL, "keep int8 or nf4 in MODEL's folder: starts faster",
     "把 int8 或 nf4 权重存入 MODEL 目录，下次启动更快"},
    {"use-dora", OPTION_REFUSED, 0, NULL, "DoRA is not in this release; train plain LoRA or --use-rslora",
     "本版本还不支持 DoRA；请用普通 LoRA 或 --use-rslora"},
    {0},
};

void train_settings_init(train_settings *settings)
{
    *settings = (train_settings){
        .bias = "none", .init_weights = "true", .method = "lora", .schedule = "linear", .recompute = "none",
        .activations = "keep", .dtype = "keep", .quantize = "none", .save_dtype = "keep",
        .rank = 8, .alpha = 32, .dropout = 0.1, .epochs = 3, .batch_size = 4, .accumulation = 1, .max_length = 512,
        .keep = 2, .learning_rate = NAN, .max_grad_norm = 1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
        .shuffle = true,
    };
}

static int read_patterns(const application *app, const char *option_name, const text_list *list, lora_pattern *patterns)
{
    for (size_t i = 0; i < list->count; i++) {
        char *equals = strrchr(list->items[i], '='), *end;
        double value = equals ? strtod(equals + 1, &end) : 0;
        if (!equals || end == equals + 1 || *end)
            return complain(app, EXIT_USAGE, say(app, "--%s %s: expected NAME=NUMBER",
                                                 "--%s %s：应为 名称=数值"), option_name, list->items[i]);
        *equals = '\0';
        patterns[i] = (lora_pattern){list->items[i], value};
    }
    return EXIT_DONE;
}

static int fill_adapter(const application *app, const train_settings *s, train_plan *plan)
{
    static const char *const biases[] = {"none", "all", "lora_only", NULL}, *const methods[] = {"lora", NULL};
    lora_adapter_options *a = &plan->adapter;
    int32_t method;
    lora_adapter_options_init(a);
    int status = choose(app, "bias", s->bias, biases, &a->bias);
    if (status == EXIT_DONE) status = choose(app, "method", s->method, methods, &method);
    if (status == EXIT_DONE) status = read_patterns(app, "rank-pattern", &s->rank_pattern, plan->ranks);
    if (status == EXIT_DONE) status = read_patterns(app, "alpha-pattern", &s->alpha_pattern, plan->alphas);
    a->r = (int32_t)s->rank;
    a->lora_alpha = (float)s->alpha;
    a->lora_dropout = (float)s->dropout;
    a->use_rslora = s->use_rslora;
    a->full = s->full;
    if (s->target_modules.count) {
        a->target_modules = s->target_modules.items;
        a->target_module_count = s->target_modules.count;
    }
    a->target_regex = s->target_regex;
    a->exclude_modules = s->exclude_modules.items;
    a->exclude_module_count = s->exclude_modules.count;
    a->modules_to_save = s->modules_to_save.items;
    a->module_to_save_count = s->modules_to_save.count;
    a->rank_pattern = plan->ranks;
    a->rank_pattern_count = s->rank_pattern.count;
    a->alpha_pattern = plan->alphas;
    a->alpha_pattern_count = s->alpha_pattern.count;
    a->init_lora_weights = s->init_weights;
    a->seed = (uint64_t)app->seed;
    return status;
}

double learning_rate_of(const train_settings *s)
{
    if (!isnan(s->learning_rate)) return s->learning_rate;
    return s->full ? 5e-5 : 2e-4;
}

static int fill_trainer(const application *app, const train_settings *s, train_plan *plan)
{
    static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
    static const char *const parts[] = {"none", "all", "mlp", NULL};
    lora_trainer_options *t = &plan->trainer;
    lora_trainer_options_init(t);
    t->epochs = s->epochs;
    t->max_steps = s->max_steps;
    t->batch_size = (int32_t)s->batch_size;
    t->gradient_accumulation = (int32_t)s->accumulation;
    t->learning_rate = learning_rate_of(s);
    t->warmup_steps = s->warmup;
    t->weight_decay = s->weight_decay;
    t->max_grad_norm = s->max_grad_norm;
    t->beta1 = s->beta1, t->beta2 = s->beta2, t->epsilon = s->epsilon;
    t->shuffle = s->shuffle;
    t->packing = s->packing;
    t->pack_length = (int32_t)s->pack_length;
    t->seed = (uint64_t)app->seed;
    t->memory_budget = s->memory_budget;
    t->eval_steps = s->eval_steps;
    t->early_stopping = (int32_t)s->early_stopping;
    t->save_steps = s->save_steps;
    t->keep = (int32_t)s->keep;
    t->output = s->output;
    int status = choose(app, "lr-schedule", s->schedule, schedules, &t->schedule);
    if (status == EXIT_DONE) status = choose(app, "recompute", s->recompute, parts, &t->recompute);
    if (status == EXIT_DONE) status = read_type(app, "activations", s->activations, &t->activations);
    if (s->checkpointing) t->recompute = LORA_RECOMPUTE_ALL;
    return status;
}

static int read_quantize(const application *app, const train_settings *s, lora_type *type)
{
    if (s->cache_quantized && strcmp(s->quantize, "int8") != 0 && strcmp(s->quantize, "nf4") != 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--cache-quantized is for --quantize int8 and nf4",
                            "--cache-quantized 只用于 --quantize int8 和 nf4"));
    if (strcmp(s->quantize, "none") == 0) return EXIT_DONE;
    if (*type != LORA_TYPE_KEEP)
        return complain(app, EXIT_USAGE,
                        say(app, "--dtype and --quantize exclude each other", "--dtype 与 --quantize 不能同时使用"));
    if (s->full)
        return complain(app, EXIT_USAGE,
                        say(app, "--full trains the weights themselves: they cannot be quantized",
                            "--full 训练权重本身，不能同时量化"));
    return read_quantized_type(app, "quantize", s->quantize, type);
}

static bool is_share(const text_list *validation, double *share)
{
    return validation->count == 1 && read_share(validation->items[0], share);
}

int make_train_plan(const application *app, train_settings *s, train_plan *plan)
{
    double share;
    if (is_share(&s->validation, &share) && !(share > 0 && share < 1))
        return complain(app, EXIT_USAGE,
                        say(app, "--validation %s: expected files, or a share of the data like 10%% or 0.1",
                            "--validation %s：应为文件，或数据的一部分，如 10%% 或 0.1"),
                        s->validation.items[0]);
    if (s->full && s->init_adapter)
        return complain(
            app, EXIT_USAGE,
            say(app, "--full and --init-adapter exclude each other", "--full 与 --init-adapter 不能同时使用"));
    if (s->initialize && !s->full)
        return complain(
            app, EXIT_USAGE,
            say(app, "--initialize needs --full: a random base has nothing to adapt", "--initialize 需要 --full"));
    lora_model_options_init(&plan->model);
    plan->model.initialize = s->initialize;
    plan->model.seed = (uint64_t)app->seed;
    plan->model.cache_quantized = s->cache_quantized;
    int status = read_type(app, "dtype", s->dtype, &plan->model.type);
    if (status == EXIT_DONE) status = read_quantize(app, s, &plan->model.type);
    if (status == EXIT_DONE) status = fill_adapter(app, s, plan);
    if (status == EXIT_DONE) status = fill_trainer(app, s, plan);
    lora_dataset_options_init(&plan->dataset);
    plan->dataset.max_length = (int32_t)s->max_length;
    plan->dataset.train_on_prompt = s->train_on_prompt;
    plan->dataset.max_rows = (int32_t)s->max_rows;
    plan->dataset.template_source = s->template_source;
    return status;
}

lora_status load_training_rows(const application *app, const train_settings *s, const train_plan *plan,
                               const lora_tokenizer *tokenizer, lora_dataset **data, lora_dataset **validation)
{
    const text_list *held = &s->validation;
    lora_status status = lora_dataset_load(app->context, tokenizer, s->data.items, s->data.count, &plan->dataset, data);
    if (status != LORA_OK || held->count == 0) return status;
    double fraction;
    if (is_share(held, &fraction)) return lora_dataset_split(*data, fraction, (uint64_t)app->seed, validation);
    return lora_dataset_load(app->context, tokenizer, held->items, held->count, &plan->dataset, validation);
}

const char *recomputation(const application *app, const lora_memory_plan *plan)
{
    switch (plan->recompute) {
    case LORA_RECOMPUTE_MLP: return say(app, "; gate and up are recomputed", "；重新计算 gate 和 up");
    case LORA_RECOMPUTE_ALL: return say(app, "; blocks are recomputed", "；使用重计算");
    default: return "";
    }
}

void note_memory_plan(const application *app, const lora_memory_plan *plan)
{
    char a[32], b[32], c[32], d[32];
    note(app, say(app, "memory plan: %s in all (base %s, activations %s, training state %s)%s",
                  "内存计划：共 %s（底座 %s，激活 %s，训练状态 %s）%s"),
         as_size(plan->total, a), as_size(plan->weights, b), as_size(plan->activations + plan->workspace, c),
         as_size(plan->adapter + plan->gradients + plan->optimizer, d),
         recomputation(app, plan));
}
