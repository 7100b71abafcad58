// lora merge: W + alpha / r * B A in place of W: an ordinary model again.
#include "options.h"

#include <inttypes.h>
#include <string.h>

static const verb_help help = {
    .usage = "lora merge MODEL --adapter ADAPTER[=WEIGHT]... --output DIR|FILE.gguf [options]",
    .english = "Adds adapters (several: their sum) to the weights; saves an ordinary model.",
    .chinese = "把适配器加进权重，保存为普通模型。多个适配器相加。",
    .example = "lora merge examples/base --adapter my-adapter --output my-model",
    .arguments = 1, .most_arguments = 1,
};

typedef struct settings {
    text_list adapters;
    const char *output, *dtype, *combination;
} settings;

static const option options[] = {
    {"adapter", OPTION_TEXTS, offsetof(settings, adapters), "DIR[=WEIGHT]", "adapters to merge", "要合并的适配器"},
    {"output", OPTION_TEXT, offsetof(settings, output), "DIR|FILE.gguf", "where the model goes", "模型的保存位置"},
    {"dtype", OPTION_TEXT, offsetof(settings, dtype), "keep|f32|f16|bf16", "storage of the merged weights",
     "合并后的存储类型"},
    {"combination", OPTION_TEXT, offsetof(settings, combination), "cat", "how several are joined: the exact sum",
     "多个适配器的合并方式：精确求和"},
    {"density", OPTION_REFUSED, 0, NULL, "it belongs to combinations that are not in this release",
     "本版本不支持相应的合并方式"},
    {0},
};

static int print_result(const application *app, const settings *s, const lora_merge_report *r)
{
    if (app->json)
        return print_json(json_pack("{ss sI sf sf sf sf sf}", "output", s->output, "merged_tensors",
                                    (json_int_t)r->merged_tensors, "max_change", r->max_change, "max_rounding",
                                    r->max_rounding, "mean_rounding", r->mean_rounding, "probe_max_difference",
                                    r->probe_max_difference, "probe_mean_divergence", r->probe_mean_divergence));
    printf(say(app, "%s: %" PRId64 " tensors changed, by at most %.3g\n",
               "%s：改变了 %" PRId64 " 个张量，最大变化 %.3g\n"), s->output, r->merged_tensors, r->max_change);
    printf(say(app,
               "rounding lost at most %.3g (mean %.3g); log-probabilities differ from the attached adapter's by at "
               "most %.3g\n",
               "舍入损失最大 %.3g（平均 %.3g）；与挂载适配器相比，对数概率最多相差 %.3g\n"),
           r->max_rounding, r->mean_rounding, r->probe_max_difference);
    return EXIT_DONE;
}

// A quantized base is unpacked and stays so: rounding it anew would undo part of what was learnt.
static void note_unpacked(const application *app, const lora_model *model)
{
    lora_model_info info = {.struct_size = sizeof info};
    if (lora_model_get_info(model, &info) != LORA_OK || info.type < LORA_TYPE_INT8) return;
    note(app,
         say(app,
             "the base is %s: its weights are unpacked, and the merged model is not quantized again "
             "(`lora quantize` does that)",
             "底座是 %s：合并时已还原权重，合并后的模型不会再次量化（可用 `lora quantize`）"),
         lora_type_name(info.type));
}

static int run(application *app, const settings *s, lora_type type)
{
    lora_model *model = NULL, *merged = NULL;
    adapter_set adapters = {.count = 0};
    lora_merge_report report = {.struct_size = sizeof report};
    lora_status status = open_model(app, app->arguments.items[0], NULL, &model);
    if (status == LORA_OK) status = open_adapters(model, &s->adapters, &adapters);
    if (status == LORA_OK) status = lora_model_merge(model, adapters.uses, adapters.count, type, &report, &merged);
    if (status == LORA_OK) status = lora_model_save(merged, s->output, app->force);
    if (status == LORA_OK) note_unpacked(app, model);
    int result = status == LORA_OK ? print_result(app, s, &report) : failed(app, status);
    lora_model_free(merged);
    close_adapters(&adapters);
    lora_model_free(model);
    return result;
}

int command_merge(application *app, int count, char **words)
{
    settings s = {.dtype = "keep", .combination = "cat"};
    lora_type type = LORA_TYPE_KEEP;
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    if (s.adapters.count == 0) return complain(app, EXIT_USAGE, say(app, "--adapter is missing: what to merge?",
                                                                    "缺少 --adapter：合并什么？"));
    if (!s.output) return complain(app, EXIT_USAGE, say(app, "--output is missing: where should the model go?",
                                                        "缺少 --output：模型保存到哪里？"));
    if (strcmp(s.combination, "cat") != 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--combination %s: this release adds the adapters' changes exactly (cat)",
                            "--combination %s：本版本只支持精确求和（cat）"),
                        s.combination);
    status = check_model_output(app, app->arguments.items[0], s.output);
    if (status == EXIT_DONE) status = read_type(app, "dtype", s.dtype, &type);
    return status == EXIT_DONE ? run(app, &s, type) : status;
}
