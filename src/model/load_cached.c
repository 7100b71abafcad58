// Weights quantized once and kept in a folder of the model: a directory as lora_model_quantize writes it, with a stamp
// of the files that it was made from. While the stamp fits, the weights are mapped from there; all else is read from
// the model itself. A folder that cannot be written or read costs time and nothing else.
#include "save.h"
#include "source.h"

#include <string.h>

#define QUANTIZER 1 // moves when it makes other bytes of the same numbers
#define STAMP_LIMIT (1u << 20)

typedef struct caching {
    lora_context *context;
    const lora_allocator *allocator;
    const char *path;
    const lora_model_options *options;
    char *directory;
    char *stamp; // of the model's files as they were before the load; NULL: they could not be listed
} caching;

// ---- the stamp ------------------------------------------------------------------------------------------------------

static bool is_source(const char *name)
{
    return strcmp(name, "config.json") == 0 || lr_path_ends_with(name, ".safetensors") ||
           lr_path_ends_with(name, ".safetensors.index.json");
}

static lora_status add_source(const caching *c, const char *name, json_t *sources)
{
    uint64_t size;
    int64_t modified;
    char *path = lr_path_join(c->allocator, c->path, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_path_version(path, &size, &modified);
    lr_free(c->allocator, path);
    LR_TRY(status);
    json_t *version = json_pack("{s:I, s:I}", "bytes", (json_int_t)size, "modified", (json_int_t)modified);
    return json_object_set_new(sources, name, version) == 0 ? LORA_OK : lr_fail_memory(64);
}

static lora_status list_sources(const caching *c, json_t *sources)
{
    char **names;
    size_t count;
    LR_TRY(lr_list_directory(c->allocator, c->path, &names, &count));
    lora_status status = sources ? LORA_OK : lr_fail_memory(64);
    for (size_t i = 0; i < count && status == LORA_OK; i++)
        if (is_source(names[i])) status = add_source(c, names[i], sources);
    lr_free_names(c->allocator, names, count);
    return status;
}

static lora_status make_stamp(caching *c)
{
    size_t length;
    json_t *sources = json_object();
    lora_status status = list_sources(c, sources);
    json_t *stamp = status == LORA_OK ? json_pack("{s:i, s:O}", "quantizer", QUANTIZER, "sources", sources) : NULL;
    if (status == LORA_OK)
        status = stamp ? lr_json_dump(c->allocator, stamp, 2, true, &c->stamp, &length) : lr_fail_memory(64);
    json_decref(stamp);
    json_decref(sources);
    return status;
}

static bool stamp_fits(const caching *c)
{
    char *path = lr_path_join(c->allocator, c->directory, LR_SAVE_STAMP), *text = NULL;
    size_t length;
    bool found = false;
    if (path) lr_file_find(&c->context->files, path, &found);
    if (found) lr_file_read_text(c->allocator, &c->context->files, path, STAMP_LIMIT, &text, &length);
    const bool fits = text && strcmp(text, c->stamp) == 0;
    lr_free(c->allocator, text);
    lr_free(c->allocator, path);
    return fits;
}

// ---- loading and keeping --------------------------------------------------------------------------------------------

static lora_status load_from(const caching *c, const char *weights, lora_model **out)
{
    lora_model *model;
    LR_TRY(lr_model_create(c->context, c->path, &model));
    lora_status status = lr_model_load_directory(model, weights, c->options);
    if (status == LORA_OK) *out = model;
    else lr_model_release(model);
    return status;
}

// A layer that stays in another quantized type, as some of a quantized model may, would be written as f16.
static lora_status check_types(const caching *c, const lora_model *model)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const lr_tensor *tensor = &model->tensors[i];
        if (tensor->stored > LORA_TYPE_I32 && tensor->stored != c->options->type)
            return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' stays %s", c->path, tensor->name,
                           lora_type_name(tensor->stored));
    }
    return LORA_OK;
}

static lora_status keep(const caching *c, const lora_model *model)
{
    lr_saving saving = {.model = model, .wanted = c->options->type, .stamp = c->stamp};
    if (!c->stamp) return lr_fail(LORA_ERROR_IO, "%s: the files in it cannot be listed", c->path);
    LR_TRY(check_types(c, model));
    LR_TRY(lr_remove_tree(c->directory));
    lora_status status = lr_save_model(&saving, c->directory, true);
    lr_free(c->allocator, saving.types);
    return status;
}

static lora_status load(caching *c, lora_model **out)
{
    if (make_stamp(c) == LORA_OK && stamp_fits(c)) {
        lora_status status = load_from(c, c->directory, out);
        if (status == LORA_OK || status == LORA_ERROR_MEMORY || status == LORA_ERROR_CANCELLED) return status;
        lr_log(c->context, LORA_LOG_WARNING, "the kept weights are damaged and made anew: %s", lr_error_text());
    }
    LR_TRY(load_from(c, c->path, out));
    if (keep(c, *out) != LORA_OK)
        lr_log(c->context, LORA_LOG_WARNING, "the quantized weights are not kept for the next load: %s",
               lr_error_text());
    return LORA_OK;
}

lora_status lr_model_load_cached(lora_context *context, const char *path, const lora_model_options *options,
                                 lora_model **out)
{
    caching c = {.context = context, .allocator = &context->allocator, .path = path, .options = options};
    char *name = lr_format(c.allocator, "quantized-%s.cache", lora_type_name(options->type));
    if (name) c.directory = lr_path_join(c.allocator, path, name);
    lora_status status = c.directory ? load(&c, out) : LORA_ERROR_MEMORY;
    lr_free(c.allocator, name);
    lr_free(c.allocator, c.directory);
    lr_free(c.allocator, c.stamp);
    return status;
}
