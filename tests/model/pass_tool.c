// Runs a model for the live tests (test_parity.py): a JSON request in, float32 files out.
//
//   pass_tool REQUEST.json OUTPUT_DIRECTORY
//
// Request: {"model": path, "initialize": bool, "command": "logits" | "losses" | "train" | "cached" | "generate" |
// "tensors",
//           "type": "f32", "spans": [[id, ...], ...], "labels": [[label of the next position or -100, ...], ...],
//           "pairs": [{"module", "rank", "scale", "dropout", "a": file, "b": file}], "full": bool, "recompute": number,
//           "bf16": kept so, "grad_scale": number, "seed": number, "chunks": [tokens, ...], "count": tokens,
//           "last": rows of a run whose logits are wanted, else all}
#include "binding.h"

#include "lib/file.h"
#include "lib/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct pass_run {
    json_t *request;
    const char *output;
    lora_context *context;
    lora_model *model;
    test_pair *pairs;
    size_t pair_count;
    test_binding binding;
    int32_t *ids, *labels;
    lr_span *spans;
    int64_t tokens, span_count;
    lr_pass *pass;
} pass_run;

static lora_status write_floats(const pass_run *tool, const char *name, const float *values, size_t count)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.f32", tool->output, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(values, sizeof *values, count, file) != count)
        return lr_fail(LORA_ERROR_IO, "%s: could not be written", path);
    return fclose(file) == 0 ? LORA_OK : lr_fail(LORA_ERROR_IO, "%s: could not be written", path);
}

static lora_status write_view(const pass_run *tool, const char *name, const char *suffix, lora_view view)
{
    char full[512];
    const size_t count = (size_t)(view.rows * view.cols);
    float *values = malloc(count * sizeof *values);
    lora_status status = values ? lr_view_read(tool->context, view, values) : LORA_ERROR_MEMORY;
    snprintf(full, sizeof full, "%s%s", name, suffix);
    if (status == LORA_OK) status = write_floats(tool, full, values, count);
    free(values);
    return status;
}

static float *read_floats(const char *path, size_t count)
{
    FILE *file = fopen(path, "rb");
    float *values = malloc(count * sizeof *values);
    if (!file || !values || fread(values, sizeof *values, count, file) != count) {
        free(values);
        values = NULL;
    }
    if (file) fclose(file);
    return values;
}

static const char *text_of(const pass_run *tool, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(tool->request, key));
    return text ? text : fallback;
}

static int64_t int_of(const pass_run *tool, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(tool->request, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

static bool is_set(const pass_run *tool, const char *key)
{
    return json_is_true(json_object_get(tool->request, key));
}

static lora_status load_model(pass_run *tool)
{
    lora_model_options options;
    lora_context_options context;
    lora_model_options_init(&options);
    lora_context_options_init(&context);
    context.threads = 2;
    options.initialize = is_set(tool, "initialize");
    options.seed = (uint64_t)int_of(tool, "seed", 0);
    options.check_finite = (int32_t)int_of(tool, "check_finite", options.check_finite);
    for (lora_type type = 0; type < LORA_TYPE_COUNT; type++)
        if (strcmp(text_of(tool, "type", ""), lora_type_name(type)) == 0) options.type = type;
    LR_TRY(lora_context_create(&tool->context, &context));
    return lora_model_load(tool->context, text_of(tool, "model", ""), &options, &tool->model);
}

static lora_status read_pairs(pass_run *tool)
{
    const json_t *list = json_object_get(tool->request, "pairs");
    tool->pairs = calloc(json_array_size(list) + 1, sizeof *tool->pairs);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        test_pair *pair = &tool->pairs[tool->pair_count++];
        pair->module = json_string_value(json_object_get(item, "module"));
        const lr_module *module = lr_model_find_module(tool->model, pair->module);
        if (!module) return lr_fail(LORA_ERROR_ARGUMENT, "no module %s", pair->module);
        pair->rank = json_integer_value(json_object_get(item, "rank"));
        pair->scale = (float)json_number_value(json_object_get(item, "scale"));
        pair->dropout = (float)json_number_value(json_object_get(item, "dropout"));
        pair->a =
            read_floats(json_string_value(json_object_get(item, "a")), (size_t)(pair->rank * module->in_features));
        pair->b =
            read_floats(json_string_value(json_object_get(item, "b")), (size_t)(pair->rank * module->out_features));
        if (!pair->a || !pair->b) return lr_fail(LORA_ERROR_IO, "values of %s cannot be read", pair->module);
    }
    return test_binding_create(tool->model, tool->pairs, tool->pair_count, is_set(tool, "full"), &tool->binding);
}

static void read_spans(pass_run *tool)
{
    const json_t *spans = json_object_get(tool->request, "spans"), *labels = json_object_get(tool->request, "labels");
    tool->span_count = (int64_t)json_array_size(spans);
    tool->spans = calloc((size_t)tool->span_count + 1, sizeof *tool->spans);
    for (int64_t i = 0; i < tool->span_count; i++) {
        const int64_t count = (int64_t)json_array_size(json_array_get(spans, (size_t)i));
        tool->spans[i] = (lr_span){.begin = tool->tokens, .count = count};
        tool->tokens += count;
    }
    tool->ids = calloc((size_t)tool->tokens + 1, sizeof *tool->ids);
    tool->labels = calloc((size_t)tool->tokens + 1, sizeof *tool->labels);
    for (int64_t i = 0; i < tool->span_count; i++) {
        const json_t *span = json_array_get(spans, (size_t)i), *targets = json_array_get(labels, (size_t)i);
        for (int64_t j = 0; j < tool->spans[i].count; j++) {
            tool->ids[tool->spans[i].begin + j] = (int32_t)json_integer_value(json_array_get(span, (size_t)j));
            tool->labels[tool->spans[i].begin + j] = (int32_t)json_integer_value(json_array_get(targets, (size_t)j));
        }
    }
}

static lora_status create_pass(pass_run *tool, bool training, int64_t tokens)
{
    const lr_binding *binding = &tool->binding.binding;
    const lr_pass_options options = {
        .max_tokens = tokens,
        .max_spans = tool->span_count ? tool->span_count : 1,
        .max_rank = binding->max_rank,
        .training = training,
        .recompute = (int32_t)json_integer_value(json_object_get(tool->request, "recompute")),
        .activations = is_set(tool, "bf16") ? LORA_TYPE_BF16 : LORA_TYPE_F32,
        .trains_tensors = binding->trains_tensors,
        .trains_pairs = binding->trains_pairs,
        .plain_head = binding->plain_head,
        .first_trained_layer = binding->first_trained_layer,
    };
    return lr_pass_create(tool->model, &options, &tool->pass);
}

static lr_batch batch_of(const pass_run *tool)
{
    return (lr_batch){.tokens = tool->tokens,
                      .ids = tool->ids,
                      .labels = tool->labels,
                      .span_count = tool->span_count,
                      .spans = tool->spans};
}

// ---- commands -------------------------------------------------------------------------------------------------------

// Logits of a batch, zeros for rows that are not wanted.
static lora_status logits_of(const pass_run *tool, const lr_batch *batch, float *logits)
{
    const int64_t wanted = int_of(tool, "last", batch->tokens), vocabulary = tool->model->stack.vocabulary;
    const int64_t count = wanted < batch->tokens ? wanted : batch->tokens, first = batch->tokens - count;
    int64_t *rows = malloc((size_t)count * sizeof *rows);
    memset(logits, 0, (size_t)(first * vocabulary) * sizeof *logits);
    for (int64_t i = 0; i < count; i++) rows[i] = first + i;
    const lora_status status =
        lr_pass_logits(tool->pass, &tool->binding.binding, batch, rows, count, logits + first * vocabulary, NULL);
    free(rows);
    return status;
}

static lora_status run_logits(pass_run *tool)
{
    const int64_t vocabulary = tool->model->stack.vocabulary;
    float *logits = malloc((size_t)(tool->tokens * vocabulary) * sizeof *logits);
    const lr_batch batch = batch_of(tool);
    lora_status status = create_pass(tool, false, tool->tokens);
    if (status == LORA_OK) status = logits_of(tool, &batch, logits);
    if (status == LORA_OK) status = write_floats(tool, "logits", logits, (size_t)(tool->tokens * vocabulary));
    free(logits);
    return status;
}

static lora_status run_losses(pass_run *tool)
{
    float *losses = malloc((size_t)tool->tokens * sizeof *losses);
    const lr_batch batch = batch_of(tool);
    lora_status status = create_pass(tool, is_set(tool, "training_pass"), tool->tokens);
    if (status == LORA_OK) status = lr_pass_losses(tool->pass, &tool->binding.binding, &batch, losses);
    if (status == LORA_OK) status = write_floats(tool, "losses", losses, (size_t)tool->tokens);
    free(losses);
    return status;
}

static lora_status write_gradients(const pass_run *tool)
{
    const lora_model *model = tool->model;
    const lr_binding *binding = &tool->binding.binding;
    for (size_t i = 0; i < model->tensor_count; i++)
        if (lr_view_present(binding->gradients[i]))
            LR_TRY(write_view(tool, model->tensors[i].name, ".grad", binding->gradients[i]));
    for (size_t m = 0; m < model->module_count; m++) {
        for (int32_t i = binding->pair_begin[m]; i < binding->pair_begin[m + 1]; i++) {
            LR_TRY(write_view(tool, model->modules[m].name, ".lora_A.grad", binding->pairs[i].grad_a));
            LR_TRY(write_view(tool, model->modules[m].name, ".lora_B.grad", binding->pairs[i].grad_b));
        }
    }
    return LORA_OK;
}

static lora_status run_train(pass_run *tool)
{
    const json_t *scale = json_object_get(tool->request, "grad_scale");
    float *losses = malloc((size_t)tool->tokens * sizeof *losses);
    const lr_batch batch = batch_of(tool);
    lora_status status = create_pass(tool, true, tool->tokens);
    if (status == LORA_OK)
        status =
            lr_pass_train(tool->pass, &tool->binding.binding, &batch, scale ? (float)json_number_value(scale) : 1.0f,
                          (uint64_t)int_of(tool, "seed", 0), losses);
    if (status == LORA_OK) status = write_floats(tool, "losses", losses, (size_t)tool->tokens);
    if (status == LORA_OK) status = write_gradients(tool);
    free(losses);
    return status;
}

// Span 0 through a cache, "chunks" tokens at a time, logits of every row.
static lora_status run_cached(pass_run *tool)
{
    const json_t *chunks = json_object_get(tool->request, "chunks");
    const int64_t vocabulary = tool->model->stack.vocabulary, total = tool->spans[0].count;
    float *logits = malloc((size_t)(total * vocabulary) * sizeof *logits);
    lr_kv_cache *cache = NULL;
    lora_status status = create_pass(tool, false, total);
    if (status == LORA_OK) status = lr_kv_cache_create(tool->model, LORA_TYPE_F32, total, &cache);
    int64_t done = 0;
    for (size_t i = 0; status == LORA_OK && i < json_array_size(chunks); i++) {
        const lr_span span = {.count = json_integer_value(json_array_get(chunks, i)), .cache = cache};
        const lr_batch batch = {.tokens = span.count, .ids = tool->ids + done, .span_count = 1, .spans = &span};
        status = logits_of(tool, &batch, logits + done * vocabulary);
        done += span.count;
    }
    if (status == LORA_OK) status = write_floats(tool, "logits", logits, (size_t)(done * vocabulary));
    lr_kv_cache_free(cache);
    free(logits);
    return status;
}

static int32_t best_of(const float *logits, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static lora_status write_ids(const pass_run *tool, const int32_t *ids, size_t count)
{
    char path[1024], text[16384];
    size_t length = 0;
    const lora_tokenizer *tokenizer = lora_model_tokenizer(tool->model);
    if (tokenizer) LR_TRY(lora_tokenizer_decode(tokenizer, ids, count, 1, text, sizeof text, &length));
    snprintf(path, sizeof path, "%s/text", tool->output);
    FILE *file = fopen(path, "wb");
    if (!file) return lr_fail(LORA_ERROR_IO, "%s: could not be written", path);
    fwrite(text, 1, length, file);
    return fclose(file) == 0 ? LORA_OK : lr_fail(LORA_ERROR_IO, "%s: could not be written", path);
}

// Greedy: "count" tokens after span 0.
static lora_status run_generate(pass_run *tool)
{
    const int64_t prompt = tool->spans[0].count, count = int_of(tool, "count", 1),
                  vocabulary = tool->model->stack.vocabulary;
    int32_t *ids = malloc((size_t)(prompt + count) * sizeof *ids);
    float *logits = malloc((size_t)vocabulary * sizeof *logits), *written = malloc((size_t)count * sizeof *written);
    lr_kv_cache *cache = NULL;
    memcpy(ids, tool->ids, (size_t)prompt * sizeof *ids);
    lora_status status = create_pass(tool, false, prompt);
    if (status == LORA_OK) status = lr_kv_cache_create(tool->model, LORA_TYPE_F32, prompt + count, &cache);
    for (int64_t i = 0; status == LORA_OK && i < count; i++) {
        const lr_span span = {.count = i ? 1 : prompt, .cache = cache};
        const lr_batch batch = {.tokens = span.count, .ids = ids + cache->length, .span_count = 1, .spans = &span};
        const int64_t last = span.count - 1;
        status = lr_pass_logits(tool->pass, &tool->binding.binding, &batch, &last, 1, logits, NULL);
        ids[prompt + i] = best_of(logits, vocabulary);
        written[i] = (float)ids[prompt + i];
    }
    if (status == LORA_OK) status = write_floats(tool, "ids", written, (size_t)count);
    if (status == LORA_OK) status = write_ids(tool, ids + prompt, (size_t)count);
    lr_kv_cache_free(cache);
    free(ids);
    free(logits);
    free(written);
    return status;
}

// What the model says of itself, then every tensor.
static lora_status run_tensors(pass_run *tool)
{
    const lora_model *model = tool->model;
    lora_model_info info = {.struct_size = sizeof info};
    LR_TRY(lora_model_get_info(model, &info));
    json_t *modules = json_array(), *ends = json_array();
    for (size_t i = 0; i < lora_model_module_count(model); i++)
        json_array_append_new(modules, json_string(lora_model_module_name(model, i)));
    for (int32_t i = 0; i < model->stack.end_token_count; i++)
        json_array_append_new(ends, json_integer(model->stack.end_tokens[i]));
    json_t *summary = json_pack("{s:s, s:I, s:I, s:s, s:b, s:s, s:o, s:o, s:i}", "family", info.family, "parameters",
                                (json_int_t)info.parameters, "bytes", (json_int_t)info.bytes, "type",
                                lora_type_name(info.type), "tied", info.tied, "fingerprint", "", "modules", modules,
                                "end_tokens", ends, "rope", (int)model->stack.rope.scaling);
    char hexadecimal[32], path[1024];
    snprintf(hexadecimal, sizeof hexadecimal, "%016llx", (unsigned long long)info.fingerprint);
    json_object_set_new(summary, "fingerprint", json_string(hexadecimal));
    snprintf(path, sizeof path, "%s/info.json", tool->output);
    const int failed = json_dump_file(summary, path, 0);
    json_decref(summary);
    if (failed) return lr_fail(LORA_ERROR_IO, "%s: could not be written", path);
    for (size_t i = 0; i < tool->model->tensor_count; i++)
        LR_TRY(write_view(tool, tool->model->tensors[i].name, "", tool->model->tensors[i].view));
    return LORA_OK;
}

static lora_status run(pass_run *tool)
{
    static const struct {
        const char *name;
        lora_status (*run)(pass_run *tool);
    } commands[] = {{"logits", run_logits}, {"losses", run_losses},     {"train", run_train},
                    {"cached", run_cached}, {"generate", run_generate}, {"tensors", run_tensors}};
    LR_TRY(load_model(tool));
    LR_TRY(read_pairs(tool));
    read_spans(tool);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, text_of(tool, "command", "")) == 0) return commands[i].run(tool);
    return lr_fail(LORA_ERROR_ARGUMENT, "unknown command");
}

static void free_tool(pass_run *tool)
{
    lr_pass_free(tool->pass);
    if (tool->binding.context) test_binding_free(&tool->binding);
    for (size_t i = 0; i < tool->pair_count; i++) {
        free((void *)tool->pairs[i].a);
        free((void *)tool->pairs[i].b);
    }
    free(tool->pairs);
    free(tool->ids);
    free(tool->labels);
    free(tool->spans);
    lora_model_free(tool->model);
    lora_context_free(tool->context);
    json_decref(tool->request);
}

int main(int count, char **arguments)
{
    pass_run tool = {.output = count == 3 ? arguments[2] : ""};
    lora_status status =
        count == 3 ? lr_json_load(&lr_system_allocator, &lr_system_files, arguments[1], 1 << 26, &tool.request)
                   : lr_fail(LORA_ERROR_ARGUMENT, "usage: pass_tool REQUEST.json OUTPUT");
    if (status == LORA_OK) status = run(&tool);
    if (status != LORA_OK) fprintf(stderr, "%s: %s\n", lora_status_name(status), lora_error_message());
    free_tool(&tool);
    return status == LORA_OK ? 0 : 1;
}
