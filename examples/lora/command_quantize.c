// lora quantize: a smaller base, written tensor by tensor.
#include "options.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const verb_help help = {
    .usage = "lora quantize MODEL --type TYPE --output DIR|FILE.gguf [options]",
    .english = "A smaller copy of a model, to train adapters on or to run: nf4 and int8 are\n"
               "directories (bitsandbytes, transformers), the others GGUF files (llama.cpp).",
    .chinese = "生成更小的模型，可用来训练适配器或直接运行：nf4 和 int8 保存为目录\n（bitsandbytes、transformers），\n"
               "其他类型保存为 GGUF 文件（llama.cpp）。",
    .example = "lora quantize examples/base --type nf4 --output base-nf4",
    .arguments = 1, .most_arguments = 1,
};

typedef struct settings {
    const char *type, *output;
    bool double_quantization;
} settings;

static const option options[] = {
    {"type", OPTION_TEXT, offsetof(settings, type), "nf4|int8|q4_k|...", "storage of the layers: also q8_0, q6_k, q4_0",
     "存储类型：还有 q8_0、q6_k、q5_k、q4_0 等"},
    {"output", OPTION_TEXT, offsetof(settings, output), "DIR|FILE.gguf", "where the model goes", "模型的保存位置"},
    {"double-quant", OPTION_FLAG, offsetof(settings, double_quantization), NULL, "nf4: its scales in 8 bits too",
     "nf4：缩放系数也用 8 位，每个权重再省 0.4 位"},
    {0},
};

static int32_t show(double fraction, void *user)
{
    const application *app = user;
    if (!app->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%3.0f%%%s", 100 * fraction, fraction < 1 ? "" : "\r    \r");
    return interrupted();
}

static void cancel(void *handle) // the next call of show() does
{
}

static int print_result(const application *app, const settings *s, int64_t before, const lora_quantize_report *r)
{
    char from[32], to[32];
    if (app->json)
        return print_json(json_pack(
            "{ss ss sI sI sI sI sI sI sI}", "output", s->output, "type", s->type, "quantized_tensors",
            (json_int_t)r->quantized_tensors, "other_tensors", (json_int_t)r->other_tensors, "unquantized_tensors",
            (json_int_t)r->unquantized_tensors, "unquantized_bytes", (json_int_t)r->unquantized_bytes, "bytes",
            (json_int_t)r->bytes, "bytes_before", (json_int_t)before, "peak_memory_bytes", (json_int_t)peak_memory()));
    printf(say(app, "%s: %" PRId64 " tensors quantized, %s became %s\n", "%s：量化了 %" PRId64 " 个张量，%s 变为 %s\n"),
           s->output, r->quantized_tensors, as_size((uint64_t)before, from), as_size((uint64_t)r->bytes, to));
    if (r->other_tensors)
        printf(say(app,
                   "%" PRId64
                   " of them are in another type: embeddings, head, and rows that are no whole blocks of %s\n",
                   "其中 %" PRId64 " 个用了别的类型：嵌入、输出层，以及行长不是 %s 整块的张量\n"),
               r->other_tensors, s->type);
    if (r->unquantized_tensors)
        printf(say(app, "%" PRId64 " more (%s) stay as they are: their rows are no whole blocks of %s\n",
                   "另有 %" PRId64 " 个张量（%s）保持原样：行长不是 %s 的整块\n"), r->unquantized_tensors,
               as_size((uint64_t)r->unquantized_bytes, to), s->type);
    return EXIT_DONE;
}

static int run(application *app, const settings *s, lora_type type)
{
    lora_model *model = NULL;
    lora_model_info info = {.struct_size = sizeof info};
    lora_quantize_report report = {.struct_size = sizeof report};
    lora_quantize_options o;
    lora_quantize_options_init(&o);
    o.type = type;
    o.double_quantization = s->double_quantization;
    o.overwrite = app->force;
    o.progress = show;
    o.progress_user = app;
    lora_status status = open_model(app, app->arguments.items[0], NULL, &model);
    if (status == LORA_OK) status = lora_model_get_info(model, &info);
    on_interrupt(cancel, NULL);
    if (status == LORA_OK) status = lora_model_quantize(model, s->output, &o, &report);
    on_interrupt(NULL, NULL);
    int result = status == LORA_OK ? print_result(app, s, info.bytes, &report) : failed(app, status);
    lora_model_free(model);
    return result;
}

int command_quantize(application *app, int count, char **words)
{
    settings s = {.type = NULL};
    lora_type type = LORA_TYPE_KEEP;
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    if (!s.type)
        return complain(app, EXIT_USAGE,
                        say(app, "--type is missing: nf4, int8, q8_0, q4_0, q4_k or q6_k?",
                            "缺少 --type：nf4、int8、q8_0、q4_0、q4_k 还是 q6_k？"));
    if (!s.output)
        return complain(app, EXIT_USAGE,
                        say(app, "--output is missing: where should the model go?", "缺少 --output：模型保存到哪里？"));
    status = read_quantized_type(app, "type", s.type, &type);
    if (status != EXIT_DONE) return status;
    if (s.double_quantization && type != LORA_TYPE_NF4)
        return complain(app, EXIT_USAGE, say(app, "--double-quant is for --type nf4", "--double-quant 只用于 --type nf4"));
    status = check_model_output(app, app->arguments.items[0], s.output);
    return status == EXIT_DONE ? run(app, &s, type) : status;
}
