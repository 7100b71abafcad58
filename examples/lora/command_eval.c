// lora eval: loss and perplexity of a model, with or without adapters, on data.
#include "options.h"

#include <inttypes.h>
#include <string.h>

static const verb_help help = {
    .usage = "lora eval MODEL [--adapter ADAPTER[=WEIGHT]]... --data DATA [options]",
    .english = "Loss (per label token) and perplexity of MODEL on DATA.",
    .chinese = "计算 MODEL 在 DATA 上的损失（每个标签词元）和困惑度。",
    .example = "lora eval examples/base --adapter my-adapter \\\n      --data examples/data/weekly_report.heldout.jsonl",
    .arguments = 1, .most_arguments = 1,
};

typedef struct settings {
    text_list adapters, data, metrics;
    const char *per_example, *template_source;
    int64_t max_length, max_rows;
    bool train_on_prompt;
} settings;

static const option options[] = {
    {"adapter", OPTION_TEXTS, offsetof(settings, adapters), "DIR[=WEIGHT]", "adapters in use", "使用的适配器"},
    {"data", OPTION_TEXTS, offsetof(settings, data), "FILE", "rows to measure on", "用于评估的数据"},
    {"metrics", OPTION_NAMES, offsetof(settings, metrics), "loss,perplexity", "what to report", "评估指标"},
    {"per-example", OPTION_TEXT, offsetof(settings, per_example), "FILE", "one JSON object a row: nll, tokens",
     "每行写一个 JSON：nll、tokens"},
    {"max-length", OPTION_INTEGER, offsetof(settings, max_length), "512", "tokens of a row", "每行最多的词元数"},
    {"max-rows", OPTION_INTEGER, offsetof(settings, max_rows), "N", "use the first N rows", "只用前 N 行"},
    {"train-on-prompt", OPTION_FLAG, offsetof(settings, train_on_prompt), NULL, "measure the prompt too",
     "也评估提问部分"},
    {"template", OPTION_TEXT, offsetof(settings, template_source), "alpaca|chat", "how rows become text",
     "数据的文本模板"},
    {0},
};

static int32_t write_row(int64_t row, double nll, int64_t label_tokens, void *user)
{
    FILE *file = user;
    return file && fprintf(file, "{\"row\": %" PRId64 ", \"nll\": %.17g, \"tokens\": %" PRId64 "}\n", row, nll, label_tokens) < 0;
}

static int print_result(const application *app, const settings *s, const lora_loss *loss)
{
    if (app->json)
        return print_json(json_pack("{sf sf sI sI sI}", "loss", loss->loss, "perplexity", loss->perplexity, "rows", (json_int_t)loss->rows,
                                    "tokens", (json_int_t)loss->tokens, "label_tokens", (json_int_t)loss->label_tokens));
    printf(say(app, "loss %.4f  perplexity %.3f  (%" PRId64 " rows, %" PRId64 " label tokens)\n",
               "损失 %.4f  困惑度 %.3f  （%" PRId64 " 行，%" PRId64 " 个标签词元）\n"),
           loss->loss, loss->perplexity, loss->rows, loss->label_tokens);
    if (s->per_example) printf("%s\n", s->per_example);
    return EXIT_DONE;
}

static int run(application *app, const settings *s)
{
    lora_model *model = NULL;
    lora_dataset *data = NULL;
    adapter_set adapters = {.count = 0};
    lora_dataset_options o;
    lora_dataset_options_init(&o);
    o.max_length = (int32_t)s->max_length;
    o.max_rows = (int32_t)s->max_rows;
    o.train_on_prompt = s->train_on_prompt;
    o.template_source = s->template_source;
    FILE *rows = s->per_example ? fopen(s->per_example, "w") : NULL;
    if (s->per_example && !rows) return complain(app, EXIT_WORK, say(app, "%s: could not be opened for writing",
                                                                     "%s：无法写入"), s->per_example);
    lora_loss loss = {.struct_size = sizeof loss};
    lora_status status = open_model(app, app->arguments.items[0], NULL, &model);
    if (status == LORA_OK) status = lora_dataset_load(app->context, lora_model_tokenizer(model), s->data.items, s->data.count, &o, &data);
    if (status == LORA_OK) status = open_adapters(model, &s->adapters, &adapters);
    if (status == LORA_OK) status = lora_evaluate_loss(model, adapters.uses, adapters.count, data, write_row, rows, &loss);
    int result = status == LORA_OK ? print_result(app, s, &loss) : failed(app, status);
    if (rows && fclose(rows) != 0) result = complain(app, EXIT_WORK, say(app, "%s: could not be written",
                                                                         "%s：写入失败"), s->per_example);
    close_adapters(&adapters);
    lora_dataset_free(data);
    lora_model_free(model);
    return result;
}

int command_eval(application *app, int count, char **words)
{
    settings s = {.max_length = 512};
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    if (s.data.count == 0) return complain(app, EXIT_USAGE, say(app, "--data is missing: what to measure on?",
                                                                "缺少 --data：用什么数据评估？"));
    for (size_t i = 0; i < s.metrics.count; i++)
        if (strcmp(s.metrics.items[i], "loss") != 0 && strcmp(s.metrics.items[i], "perplexity") != 0)
            return complain(app, EXIT_USAGE, say(app, "--metrics %s: this release measures loss and perplexity",
                                                 "--metrics %s：本版本支持 loss 和 perplexity"), s.metrics.items[i]);
    if (s.per_example && path_exists(s.per_example) && !app->force)
        return complain(app, EXIT_WORK, say(app, "%s is there already; --force overwrites it",
                                            "%s 已存在；--force 可覆盖"), s.per_example);
    return run(app, &s);
}
