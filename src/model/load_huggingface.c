// A Hugging Face directory: config.json, weights in model.safetensors or in the shards that its index names, and a
// tokenizer.
#include "source.h"
#include "src/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_LIMIT (16u << 20)
#define INDEX_LIMIT (64u << 20)
#define SINGLE "model.safetensors"
#define INDEX SINGLE ".index.json"

typedef struct loading {
    lora_context *context;
    const lora_allocator *allocator;
    const lora_model_options *options;
    const char *directory, *weights_at; // of the model, and of its weights: kept ones lie elsewhere
    char *config_path;
    json_t *config;
    const lr_family *family;
    lora_model *model;
    lr_weights weights;
} loading;

// ---- config.json ----------------------------------------------------------------------------------------------------

static lora_status read_config(loading *load)
{
    const lora_file_access *files = &load->context->files;
    char *text;
    size_t length;
    const char *type;
    char known[128];
    bool found;
    LR_TRY(lr_file_find(files, load->config_path, &found));
    if (!found)
        return lr_fail(
            LORA_ERROR_NOT_FOUND,
            "%s: there is no such file; a model is a directory with config.json and safetensors, a .gguf file "
            "or a llama2.c .bin file",
            load->config_path);
    LR_TRY(lr_file_read_text(load->allocator, files, load->config_path, CONFIG_LIMIT, &text, &length));
    load->model->config_text = text;
    LR_TRY(lr_json_parse(load->config_path, text, length, &load->config));
    if (!json_is_object(load->config))
        return lr_fail(LORA_ERROR_FORMAT, "%s: expected a JSON object", load->config_path);
    LR_TRY(lr_json_text(load->config, load->config_path, "model_type", "", &type));
    load->family = lr_family_find(type);
    lr_family_list(known, sizeof known);
    if (!load->family)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: model_type '%.64s' is not supported; supported are %s",
                       load->config_path, type, known);
    load->model->stack.family = load->family->name;
    load->model->stack.qk_norm = load->family->qk_norm;
    return load->family->read_config(load->config, load->config_path, load->allocator, &load->model->stack);
}

// Chat models name their end-of-turn tokens there rather than in config.json.
static lora_status read_generation_config(loading *load)
{
    bool found;
    json_t *config;
    LR_TRY(lr_find_in_directory(load->context, load->directory, "generation_config.json", &found));
    if (!found) return LORA_OK;
    char *path = lr_path_join(load->allocator, load->directory, "generation_config.json");
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_json_load(load->allocator, &load->context->files, path, CONFIG_LIMIT, &config);
    lr_free(load->allocator, path);
    if (status != LORA_OK) return status;
    lr_add_end_tokens(&load->model->stack, json_object_get(config, "eos_token_id"));
    json_decref(config);
    return LORA_OK;
}

// ---- weights --------------------------------------------------------------------------------------------------------

static lora_status open_shard(loading *load, const char *name)
{
    struct lr_source *source = load->model->source;
    const int32_t shard = (int32_t)load->model->shard_count;
    lr_safetensors *file = &source->shards[source->shard_count];
    char *path = lr_path_join(load->allocator, load->weights_at, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_safetensors_open(load->allocator, &load->context->files, path, file);
    lr_free(load->allocator, path);
    if (status != LORA_OK) return status;
    source->shard_count++;
    LR_TRY(lr_model_add_shard(load->model, name));
    for (size_t i = 0; i < file->count; i++)
        LR_TRY(lr_weights_add(&load->weights, &file->entries[i], file->file.bytes + file->entries[i].offset, shard));
    return LORA_OK;
}

static lora_status reserve_shards(loading *load, size_t count)
{
    load->model->source->shards = lr_alloc_zeroed(load->allocator, count, sizeof(lr_safetensors));
    return load->model->source->shards ? LORA_OK : LORA_ERROR_MEMORY;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The distinct file names of an index, sorted; `names` has room for one a tensor.
static lora_status list_shards(const json_t *map, const char *path, const char **names, size_t *count)
{
    const char *tensor;
    json_t *file;
    size_t all = 0, distinct = 0;
    json_object_foreach((json_t *)map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!name || !lr_path_is_safe(name))
            return lr_fail(LORA_ERROR_FORMAT,
                           "%s: weight_map gives '%.100s' for tensor '%.100s'; expected the name of a file inside "
                           "the directory",
                           path, name ? name : "no text", tensor);
        names[all++] = name;
    }
    if (all) qsort(names, all, sizeof *names, compare_texts);
    for (size_t i = 0; i < all; i++)
        if (!i || strcmp(names[i], names[i - 1]) != 0) names[distinct++] = names[i];
    *count = distinct;
    return distinct ? LORA_OK : lr_fail(LORA_ERROR_FORMAT, "%s: weight_map names no tensor", path);
}

// Every tensor lies in the shard that the index says.
static lora_status check_index(const loading *load, const json_t *map, const char *path)
{
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)map, tensor, file)
    {
        const lr_weight *weight = lr_weights_find(&load->weights, tensor);
        if (!weight || strcmp(load->model->shards[weight->shard], json_string_value(file)) != 0)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensor '%.100s' should be in %s, but is %s%s", path, tensor,
                           json_string_value(file), weight ? "in " : "missing",
                           weight ? load->model->shards[weight->shard] : "");
    }
    return LORA_OK;
}

static lora_status open_shards(loading *load, const json_t *map, const char *path)
{
    size_t count;
    const char **names = lr_alloc_array(load->allocator, json_object_size(map), sizeof *names);
    if (!names) return LORA_ERROR_MEMORY;
    lora_status status = list_shards(map, path, names, &count);
    if (status == LORA_OK) status = reserve_shards(load, count);
    for (size_t i = 0; status == LORA_OK && i < count; i++) status = open_shard(load, names[i]);
    lr_free(load->allocator, names);
    if (status == LORA_OK) status = lr_weights_sort(&load->weights, load->model);
    return status == LORA_OK ? check_index(load, map, path) : status;
}

static lora_status open_indexed(loading *load)
{
    json_t *index;
    char *path = lr_path_join(load->allocator, load->weights_at, INDEX);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_json_load(load->allocator, &load->context->files, path, INDEX_LIMIT, &index);
    if (status == LORA_OK) {
        const json_t *map = json_object_get(index, "weight_map");
        status = json_is_object(map) ? open_shards(load, map, path)
                                     : lr_fail(LORA_ERROR_FORMAT, "%s: there is no object 'weight_map'", path);
        json_decref(index);
    }
    lr_free(load->allocator, path);
    return status;
}

static lora_status open_single(loading *load)
{
    LR_TRY(reserve_shards(load, 1));
    LR_TRY(open_shard(load, SINGLE));
    return lr_weights_sort(&load->weights, load->model);
}

static lora_status open_weights(loading *load)
{
    bool indexed, single;
    load->weights.names = load->family->huggingface;
    LR_TRY(lr_find_in_directory(load->context, load->weights_at, INDEX, &indexed));
    if (indexed) return open_indexed(load);
    LR_TRY(lr_find_in_directory(load->context, load->weights_at, SINGLE, &single));
    if (single) return open_single(load);
    return lr_fail(LORA_ERROR_NOT_FOUND,
                   "%s: there is neither " SINGLE " nor " INDEX
                   "; weights in pytorch_model.bin must be saved as safetensors "
                   "first",
                   load->weights_at);
}

// A config that ties head and embedding, and a file that has both: they are one if they are equal, as in transformers.
static void resolve_tied_head(loading *load)
{
    if (!load->model->stack.tied) return;
    lr_weight *embedding = lr_weights_find(&load->weights, "model.embed_tokens.weight");
    lr_weight *head = lr_weights_find(&load->weights, "lm_head.weight");
    if (!embedding || !head) return;
    if (head->entry->size == embedding->entry->size && head->entry->type == embedding->entry->type &&
        memcmp(head->bytes, embedding->bytes, (size_t)head->entry->size) == 0) {
        head->taken = true;
        return;
    }
    load->model->stack.tied = false;
    lr_log(load->context, LORA_LOG_WARNING,
           "%s: tie_word_embeddings is true, but 'lm_head.weight' differs from the embedding: "
           "they are kept apart",
           load->config_path);
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static lora_status load_tokenizer(loading *load)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool found;
        LR_TRY(lr_find_in_directory(load->context, load->directory, names[i], &found));
        if (found) return lora_tokenizer_load(load->context, load->directory, &load->model->tokenizer);
    }
    return LORA_OK;
}

static lora_status load_parts(loading *load)
{
    LR_TRY(read_config(load));
    LR_TRY(read_generation_config(load));
    if (!load->options->initialize) {
        LR_TRY(open_weights(load));
        resolve_tied_head(load);
    }
    LR_TRY(lr_model_build(load->model, load->family));
    if (load->options->initialize)
        LR_TRY(lr_model_initialize(load->model, load->options->seed));
    else
        LR_TRY(lr_model_take_weights(load->model, &load->weights, load->options));
    LR_TRY(lr_model_compute_frequencies(load->model, NULL));
    LR_TRY(load_tokenizer(load));
    return lr_model_finish(load->model);
}

lora_status lr_model_load_directory(lora_model *model, const char *weights, const lora_model_options *options)
{
    lora_context *context = model->context;
    loading load = {.context = context,
                    .allocator = &context->allocator,
                    .options = options,
                    .directory = model->path,
                    .weights_at = weights,
                    .model = model,
                    .weights = {.allocator = &context->allocator}};
    load.config_path = lr_path_join(load.allocator, model->path, "config.json");
    lora_status status = load.config_path ? load_parts(&load) : LORA_ERROR_MEMORY;
    json_decref(load.config);
    lr_weights_free(&load.weights);
    lr_free(load.allocator, load.config_path);
    return status;
}

lora_status lr_model_load_huggingface(lora_model *model, const lora_model_options *options)
{
    return lr_model_load_directory(model, model->path, options);
}
