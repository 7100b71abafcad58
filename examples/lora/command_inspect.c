// lora inspect: what a model, adapter, checkpoint or data file holds.
#include "options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const verb_help help = {
    .usage = "lora inspect PATH",
    .english = "Says what PATH holds: a model, an adapter, a checkpoint or a data file.",
    .chinese = "说明 PATH 是什么：模型、适配器、检查点或数据文件。",
    .example = "lora inspect my-adapter",
    .arguments = 1, .most_arguments = 1,
};

static const option options[] = {{0}};

static json_t *read_json(const char *directory, const char *name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return json_load_file(path, 0, NULL);
}

// The header of a safetensors file: 8 bytes of length, then JSON.
static json_t *read_header(const char *directory)
{
    char path[4200];
    unsigned char size[8];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", directory);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    json_t *header = NULL;
    uint64_t length = 0;
    if (fread(size, 1, 8, file) == 8)
        for (int i = 7; i >= 0; i--) length = length << 8 | size[i];
    char *text = length > 0 && length < (100u << 20) ? malloc((size_t)length) : NULL;
    if (text && fread(text, 1, (size_t)length, file) == length) header = json_loadb(text, (size_t)length, 0, NULL);
    free(text);
    fclose(file);
    return header;
}

static int64_t count_numbers(const json_t *header, int64_t *tensors)
{
    const char *name;
    json_t *entry;
    int64_t sum = 0;
    *tensors = 0;
    json_object_foreach((json_t *)header, name, entry) {
        int64_t numbers = 1;
        size_t index;
        json_t *size;
        if (strcmp(name, "__metadata__") == 0) continue;
        json_array_foreach(json_object_get(entry, "shape"), index, size) numbers *= json_integer_value(size);
        sum += numbers;
        ++*tensors;
    }
    return sum;
}

static void print_fields(const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        printf("%-24s %s\n", key, text ? text : "");
        free(text);
    }
}

static int show(const application *app, json_t *object)
{
    if (app->json) return print_json(object);
    print_fields(object);
    json_decref(object);
    return EXIT_DONE;
}

static void copy_keys(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++) {
        json_t *value = json_object_get(from, *keys);
        bool empty = !value || json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0);
        if (!empty) json_object_set(to, *keys, value);
    }
}

static int inspect_adapter(const application *app, const char *path, json_t *config)
{
    static const char *const keys[] = {"peft_type", "base_model_name_or_path", "r", "lora_alpha", "lora_dropout",
                                       "target_modules", "bias", "use_rslora", "use_dora", "modules_to_save",
                                       "rank_pattern", "alpha_pattern", "task_type", NULL};
    int64_t tensors = 0;
    json_t *header = read_header(path), *state = read_json(path, "trainer_state.json");
    json_t *result = json_pack("{ss}", "kind", state ? "checkpoint" : "adapter");
    copy_keys(result, config, keys);
    if (header) {
        json_object_set_new(result, "parameters", json_integer(count_numbers(header, &tensors)));
        json_object_set_new(result, "tensors", json_integer(tensors));
    }
    if (state) json_object_set(result, "step", json_object_get(state, "step"));
    json_decref(header);
    json_decref(state);
    json_decref(config);
    return show(app, result);
}

static int inspect_model(application *app, const char *path)
{
    lora_model *model;
    lora_status status = open_model(app, path, NULL, &model);
    if (status != LORA_OK) return failed(app, status);
    lora_model_info i = {.struct_size = sizeof i};
    lora_model_get_info(model, &i);
    const lora_tokenizer *tokenizer = lora_model_tokenizer(model);
    char fingerprint[20];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, i.fingerprint);
    json_t *result =
        json_pack("{ss ss sI sI ss sI sI sI sI sI sI sI sI sb sb sb ss}", "kind", "model", "family", i.family,
                  "parameters", (json_int_t)i.parameters, "bytes", (json_int_t)i.bytes, "type", lora_type_name(i.type),
                  "layers", (json_int_t)i.layers, "hidden", (json_int_t)i.hidden, "heads", (json_int_t)i.heads,
                  "kv_heads", (json_int_t)i.kv_heads, "head_dim", (json_int_t)i.head_dim, "intermediate",
                  (json_int_t)i.intermediate, "vocabulary", (json_int_t)i.vocabulary, "context_length",
                  (json_int_t)i.context_length, "tied", i.tied, "tokenizer", tokenizer != NULL, "chat_template",
                  tokenizer && lora_tokenizer_chat_template(tokenizer), "fingerprint", fingerprint);
    lora_model_free(model);
    return show(app, result);
}

static json_t *keys_of(const json_t *row)
{
    const char *key;
    json_t *value, *keys = json_array();
    json_object_foreach((json_t *)row, key, value) json_array_append_new(keys, json_string(key));
    return keys;
}

typedef struct data_summary {
    int64_t rows;
    json_t *keys; // of the first row
} data_summary;

static int32_t count_row(const char *json, size_t length, int64_t number, void *user)
{
    data_summary *found = user;
    (void)number;
    if (found->rows++ == 0) {
        json_t *row = json_loadb(json, length, JSON_DECODE_ANY, NULL);
        found->keys = keys_of(row);
        json_decref(row);
    }
    return 0;
}

static int inspect_data(application *app, const char *path)
{
    data_summary found = {0};
    lora_status status = open_context(app);
    if (status == LORA_OK) status = lora_dataset_read_rows(app->context, path, count_row, &found);
    if (status == LORA_OK)
        return show(app, json_pack("{ss sI so}", "kind", "data", "rows", (json_int_t)found.rows, "keys",
                                   found.keys ? found.keys : json_array()));
    json_decref(found.keys);
    return failed(app, status);
}

int command_inspect(application *app, int count, char **words)
{
    int status = parse_options(app, &help, options, NULL, count, words);
    if (status != EXIT_DONE) return status;
    const char *path = app->arguments.items[0];
    struct stat found;
    if (stat(path, &found) != 0) return complain(app, EXIT_WORK, say(app, "%s: no such file or directory",
                                                                     "%s：没有这个文件或目录"), path);
    if (S_ISDIR(found.st_mode)) {
        json_t *config = read_json(path, "adapter_config.json");
        return config ? inspect_adapter(app, path, config) : inspect_model(app, path);
    }
    bool model = path_ends_with(path, ".gguf") || path_ends_with(path, ".bin");
    return model ? inspect_model(app, path) : inspect_data(app, path);
}
