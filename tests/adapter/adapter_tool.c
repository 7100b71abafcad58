// Works on one model and its adapters for the live tests (test_peft.py, test_save.py): a list of operations in, a list
// of results out.
//
//   adapter_tool REQUEST.json
//
// Request: {"model": path, "initialize": bool, "type": "f32" | ..., "operations": [{"op": name, ...}, ...]}. Operations
// are those of the table at the end. Each result has "status" (a code's name or "LORA_OK") and "message".
#include "lib/json.h"
#include "lib/random.h"
#include "src/adapter/adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ADAPTERS 8
#define MAX_LIST 64

typedef struct workbench {
    lora_context *context;
    lora_model *model, *merged;
    lora_adapter *adapters[MAX_ADAPTERS];
    size_t adapter_count;
} workbench;

static const char *text_of(const json_t *request, const char *key)
{
    return json_string_value(json_object_get(request, key));
}

static double number_of(const json_t *request, const char *key, double fallback)
{
    const json_t *value = json_object_get(request, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static lora_type type_of(const json_t *request, const char *key)
{
    const char *name = text_of(request, key);
    for (lora_type type = 0; name && type < LORA_TYPE_COUNT; type++)
        if (strcmp(lora_type_name(type), name) == 0) return type;
    return LORA_TYPE_KEEP;
}

static size_t list_of(const json_t *request, const char *key, const char **items)
{
    const json_t *list = json_object_get(request, key);
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < MAX_LIST; i++) items[i] = json_string_value(json_array_get(list, i));
    return count;
}

static size_t patterns_of(const json_t *request, const char *key, lora_pattern *items)
{
    size_t count = 0;
    const char *pattern;
    json_t *value;
    json_object_foreach(json_object_get(request, key), pattern, value)
        items[count++] = (lora_pattern){pattern, json_number_value(value)};
    return count;
}

static lora_adapter **next_adapter(workbench *tool)
{
    return &tool->adapters[tool->adapter_count];
}

static lora_status keep_adapter(workbench *tool, lora_status status)
{
    tool->adapter_count += status == LORA_OK;
    return status;
}

static lora_adapter *adapter_of(const workbench *tool, const json_t *request)
{
    size_t index = (size_t)number_of(request, "adapter", (double)tool->adapter_count - 1);
    return index < tool->adapter_count ? tool->adapters[index] : NULL;
}

static lora_status op_create(workbench *tool, const json_t *request, json_t *result)
{
    const char *targets[MAX_LIST], *excluded[MAX_LIST], *saved[MAX_LIST];
    lora_pattern ranks[MAX_LIST], alphas[MAX_LIST];
    int32_t layers[MAX_LIST];
    const json_t *chosen = json_object_get(request, "layers_to_transform");
    const char *bias = text_of(request, "bias");
    lora_adapter_options options;
    lora_adapter_options_init(&options);
    options.r = (int32_t)number_of(request, "r", 8);
    options.lora_alpha = (float)number_of(request, "lora_alpha", 8);
    options.lora_dropout = (float)number_of(request, "lora_dropout", 0);
    options.use_rslora = json_is_true(json_object_get(request, "use_rslora"));
    options.full = json_is_true(json_object_get(request, "full"));
    options.seed = (uint64_t)number_of(request, "seed", 0);
    options.bias = !bias ? LORA_BIAS_NONE : strcmp(bias, "all") == 0 ? LORA_BIAS_ALL : LORA_BIAS_LORA_ONLY;
    options.target_regex = text_of(request, "target_regex");
    options.target_modules = targets;
    options.target_module_count = list_of(request, "target_modules", targets);
    options.exclude_modules = excluded;
    options.exclude_module_count = list_of(request, "exclude_modules", excluded);
    options.modules_to_save = saved;
    options.module_to_save_count = list_of(request, "modules_to_save", saved);
    options.rank_pattern = ranks;
    options.rank_pattern_count = patterns_of(request, "rank_pattern", ranks);
    options.alpha_pattern = alphas;
    options.alpha_pattern_count = patterns_of(request, "alpha_pattern", alphas);
    options.layers_to_transform = layers;
    options.layer_count = json_array_size(chosen);
    for (size_t i = 0; i < options.layer_count; i++)
        layers[i] = (int32_t)json_integer_value(json_array_get(chosen, i));
    if (text_of(request, "init_lora_weights")) options.init_lora_weights = text_of(request, "init_lora_weights");
    return keep_adapter(tool, lora_adapter_create(tool->model, &options, next_adapter(tool)));
}

static lora_status op_load(workbench *tool, const json_t *request, json_t *result)
{
    bool unchanged = json_is_true(json_object_get(request, "allow_unchanged"));
    return keep_adapter(tool, lora_adapter_load(tool->model, text_of(request, "path"), unchanged, next_adapter(tool)));
}

static lora_status op_save(workbench *tool, const json_t *request, json_t *result)
{
    return lora_adapter_save(adapter_of(tool, request), text_of(request, "path"),
                             json_is_true(json_object_get(request, "overwrite")));
}

// The files of a checkpoint, as the trainer writes and reads them.
static lora_status op_write(workbench *tool, const json_t *request, json_t *result)
{
    return lr_adapter_write(adapter_of(tool, request), text_of(request, "path"));
}

static lora_status op_read(workbench *tool, const json_t *request, json_t *result)
{
    return lr_adapter_read_values(adapter_of(tool, request), text_of(request, "path"));
}

// Adds noise to every tensor but A: as training would, only quicker.
static lora_status op_noise(workbench *tool, const json_t *request, json_t *result)
{
    lora_adapter *adapter = adapter_of(tool, request);
    float scale = (float)number_of(request, "scale", 0.1);
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        size_t count = (size_t)(adapter->tensors[i].value.rows * adapter->tensors[i].value.cols);
        float *values = malloc(count * sizeof *values);
        lora_status status = lora_adapter_tensor_read(adapter, i, values, count);
        for (size_t k = 0; k < count; k++) values[k] += scale * lr_random_normal(3, (uint32_t)i, k);
        if (status == LORA_OK && !adapter->tensors[i].is_a)
            status = lora_adapter_tensor_write(adapter, i, values, count);
        free(values);
        LR_TRY(status);
    }
    return LORA_OK;
}

static lora_status op_tensors(workbench *tool, const json_t *request, json_t *result)
{
    const lora_adapter *adapter = adapter_of(tool, request);
    json_t *list = json_array();
    for (size_t i = 0; i < lora_adapter_tensor_count(adapter); i++) {
        int64_t rows, cols;
        LR_TRY(lora_adapter_tensor_shape(adapter, i, &rows, &cols));
        json_array_append_new(list, json_pack("[s,I,I,b]", lora_adapter_tensor_name(adapter, i), (json_int_t)rows,
                                              (json_int_t)cols, adapter->tensors[i].decay));
    }
    json_object_set_new(result, "tensors", list);
    return LORA_OK;
}

static lora_status op_info(workbench *tool, const json_t *request, json_t *result)
{
    lora_adapter_info info = {.struct_size = sizeof info};
    LR_TRY(lora_adapter_get_info(adapter_of(tool, request), &info));
    json_object_set_new(result, "modules", json_integer(info.modules));
    json_object_set_new(result, "parameters", json_integer(info.parameters));
    json_object_set_new(result, "r", json_integer(info.r));
    json_object_set_new(result, "base_name", json_string(info.base_name));
    return LORA_OK;
}

static lora_status write_floats(const char *path, const float *values, size_t count)
{
    FILE *file = fopen(path, "wb");
    bool written = file && fwrite(values, sizeof *values, count, file) == count;
    if (file && fclose(file) != 0) written = false;
    return written ? LORA_OK : lr_fail(LORA_ERROR_IO, "%s: could not be written", path);
}

static lora_status read_tensor(const lora_model *model, const char *name, float **values, size_t *count)
{
    for (size_t i = 0; i < lora_model_tensor_count(model); i++) {
        int64_t rows, cols;
        if (strcmp(lora_model_tensor_name(model, i), name) != 0) continue;
        LR_TRY(lora_model_tensor_shape(model, i, &rows, &cols));
        *count = (size_t)(rows * cols);
        *values = malloc(*count * sizeof **values);
        return lora_model_tensor_read(model, i, *values, *count);
    }
    return lr_fail(LORA_ERROR_ARGUMENT, "there is no tensor %s", name);
}

static const lora_model *model_of(const workbench *tool, const json_t *request)
{
    return json_is_true(json_object_get(request, "merged")) ? tool->merged : tool->model;
}

static lora_status op_weight(workbench *tool, const json_t *request, json_t *result)
{
    float *values = NULL;
    size_t count = 0;
    lora_status status = read_tensor(model_of(tool, request), text_of(request, "tensor"), &values, &count);
    if (status == LORA_OK) status = write_floats(text_of(request, "file"), values, count);
    free(values);
    return status;
}

static size_t uses_of(const workbench *tool, const json_t *request, lora_adapter_use *uses)
{
    const json_t *weights = json_object_get(request, "weights");
    size_t count = json_array_size(weights);
    for (size_t i = 0; i < count; i++)
        uses[i] = (lora_adapter_use){tool->adapters[i], (float)json_number_value(json_array_get(weights, i)), 0};
    return count;
}

static lora_status run_logits(const lora_model *model, const lr_binding *binding, const int32_t *ids, int64_t count,
                              float *logits)
{
    int64_t rows[MAX_LIST];
    lr_pass_options options = {.max_tokens = count, .max_spans = 1, .max_rank = binding->max_rank};
    lr_pass *pass = NULL;
    lr_kv_cache *cache = NULL;
    lora_status status = lr_kv_cache_create(model, LORA_TYPE_F32, count, &cache);
    if (status == LORA_OK) status = lr_pass_create(model, &options, &pass);
    for (int64_t i = 0; i < count; i++) rows[i] = i;
    lr_span span = {.count = count, .cache = cache};
    lr_batch batch = {.tokens = count, .ids = ids, .span_count = 1, .spans = &span};
    if (status == LORA_OK) status = lr_pass_logits(pass, binding, &batch, rows, count, logits, NULL);
    lr_pass_free(pass);
    lr_kv_cache_free(cache);
    return status;
}

// Logits of all positions, with adapters i at weights[i].
static lora_status op_logits(workbench *tool, const json_t *request, json_t *result)
{
    const lora_model *model = model_of(tool, request);
    const json_t *list = json_object_get(request, "ids");
    lora_adapter_use uses[MAX_ADAPTERS];
    int32_t ids[MAX_LIST];
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    lr_binding *binding;
    LR_TRY(lr_binding_create(model, uses, uses_of(tool, request, uses), &binding));
    size_t numbers = count * (size_t)model->stack.vocabulary;
    float *logits = malloc(numbers * sizeof *logits);
    lora_status status = run_logits(model, binding, ids, (int64_t)count, logits);
    if (status == LORA_OK) status = write_floats(text_of(request, "file"), logits, numbers);
    free(logits);
    lr_binding_free(binding);
    return status;
}

static lora_status op_merge(workbench *tool, const json_t *request, json_t *result)
{
    lora_adapter_use uses[MAX_ADAPTERS];
    lora_merge_report report = {.struct_size = sizeof report};
    size_t count = uses_of(tool, request, uses);
    lora_model *merged;
    LR_TRY(lora_model_merge(tool->model, uses, count, type_of(request, "type"), &report, &merged));
    lora_model_free(tool->merged);
    tool->merged = merged;
    json_object_set_new(result, "report", json_pack("{s:I,s:f,s:f,s:f,s:f,s:f}", "merged_tensors",
        (json_int_t)report.merged_tensors, "max_rounding", report.max_rounding, "mean_rounding", report.mean_rounding,
        "max_change", report.max_change, "probe_max_difference", report.probe_max_difference, "probe_mean_divergence",
        report.probe_mean_divergence));
    return LORA_OK;
}

static lora_status op_unmerge(workbench *tool, const json_t *request, json_t *result)
{
    lora_model_free(tool->merged);
    tool->merged = NULL;
    return LORA_OK;
}

static lora_status op_save_model(workbench *tool, const json_t *request, json_t *result)
{
    return lora_model_save(model_of(tool, request), text_of(request, "path"),
                           json_is_true(json_object_get(request, "overwrite")));
}

// Ids of a text.
static lora_status op_encode(workbench *tool, const json_t *request, json_t *result)
{
    const char *text = text_of(request, "text");
    size_t count = 0, room = strlen(text) + 16;
    int32_t *ids = malloc(room * sizeof *ids);
    lora_status status =
        lora_tokenizer_encode(lora_model_tokenizer(tool->model), text, strlen(text), 1, ids, room, &count);
    json_t *list = json_array();
    for (size_t i = 0; status == LORA_OK && i < count; i++) json_array_append_new(list, json_integer(ids[i]));
    json_object_set_new(result, "ids", list);
    free(ids);
    return status;
}

static const struct {
    const char *name;
    lora_status (*run)(workbench *tool, const json_t *request, json_t *result);
} operations[] = {
    {"create", op_create}, {"load", op_load},     {"save", op_save},     {"write", op_write},     {"read", op_read},
    {"noise", op_noise},   {"info", op_info},     {"weight", op_weight}, {"tensors", op_tensors}, {"logits", op_logits},
    {"merge", op_merge},   {"unmerge", op_unmerge}, {"save_model", op_save_model}, {"encode", op_encode},
};

static json_t *run(workbench *tool, const json_t *request)
{
    json_t *result = json_object();
    const char *name = text_of(request, "op");
    lora_status status = lr_fail(LORA_ERROR_ARGUMENT, "no such operation: %s", name ? name : "none");
    for (size_t i = 0; name && i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, name) == 0) status = operations[i].run(tool, request, result);
    json_object_set_new(result, "status", json_string(status == LORA_OK ? "LORA_OK" : lora_status_name(status)));
    json_object_set_new(result, "message", json_string(status == LORA_OK ? "" : lora_error_message()));
    return result;
}

static void log_line(int32_t level, const char *line, void *user)
{
    fprintf(stderr, "%s\n", line);
}

static lora_status open_model(workbench *tool, const json_t *request)
{
    lora_context_options settings;
    lora_model_options options;
    lora_context_options_init(&settings);
    settings.log = log_line;
    lora_model_options_init(&options);
    options.type = type_of(request, "type");
    options.initialize = json_is_true(json_object_get(request, "initialize"));
    LR_TRY(lora_context_create(&tool->context, &settings));
    return lora_model_load(tool->context, text_of(request, "model"), &options, &tool->model);
}

int main(int argc, char **argv)
{
    json_error_t error;
    workbench tool = {0};
    json_t *request = argc == 2 ? json_load_file(argv[1], 0, &error) : NULL;
    if (!request) return 2;
    json_t *results = json_array();
    lora_status status = open_model(&tool, request);
    if (status != LORA_OK) fprintf(stderr, "%s\n", lora_error_message());
    const json_t *list = json_object_get(request, "operations");
    for (size_t i = 0; status == LORA_OK && i < json_array_size(list); i++)
        json_array_append_new(results, run(&tool, json_array_get(list, i)));
    json_dumpf(results, stdout, JSON_INDENT(1));
    json_decref(results);
    json_decref(request);
    for (size_t i = 0; i < tool.adapter_count; i++) lora_adapter_free(tool.adapters[i]);
    lora_model_free(tool.merged);
    lora_model_free(tool.model);
    lora_context_free(tool.context);
    return status == LORA_OK ? 0 : 1;
}
