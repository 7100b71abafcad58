// Reading a PEFT directory. Every tensor of the file is consumed exactly once and every tensor of the adapter is found,
// or the message says which base the file was made for and what this model is.
#include "build.h"
#include "config.h"
#include "match.h"
#include "peft_format.h"
#include "samples.h"

#include "lib/file.h"
#include "lib/safetensors.h"
#include "src/core/validate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_LIMIT ((size_t)16 << 20)

typedef struct lr_found {
    char *name; // normalised
    const lr_tensor_entry *entry;
    bool used;
} lr_found;

typedef struct lr_loader {
    const char *path; // the directory, for messages
    char *config_path, *weights_path;
    const lora_allocator *allocator;
    lora_context *context;
    const lora_model *model;
    lr_safetensors file;
    lr_found *found; // sorted by name
    lora_adapter *adapter;
} lr_loader;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const lr_found *)a)->name, ((const lr_found *)b)->name);
}

static lora_status open_loader(lr_loader *loader, const lora_model *model, const char *path)
{
    *loader =
        (lr_loader){.path = path, .allocator = &model->context->allocator, .context = model->context, .model = model};
    loader->config_path = lr_path_join(loader->allocator, path, LR_PEFT_CONFIG);
    loader->weights_path = lr_path_join(loader->allocator, path, LR_PEFT_WEIGHTS);
    return loader->config_path && loader->weights_path ? LORA_OK : LORA_ERROR_MEMORY;
}

static void close_loader(lr_loader *loader)
{
    for (size_t i = 0; loader->found && i < loader->file.count; i++) lr_free(loader->allocator, loader->found[i].name);
    lr_free(loader->allocator, loader->found);
    lr_safetensors_close(&loader->file);
    lr_free(loader->allocator, loader->config_path);
    lr_free(loader->allocator, loader->weights_path);
}

static lora_status read_config(lr_loader *loader, lr_adapter_config **config)
{
    const lora_file_access *files = &loader->context->files;
    char *text;
    size_t length;
    bool found;
    LR_TRY(lr_file_find(files, loader->config_path, &found));
    if (!found)
        return lr_fail(LORA_ERROR_NOT_FOUND,
                       "%s: there is no such file; an adapter is a directory with adapter_config.json and "
                       "adapter_model.safetensors",
                       loader->config_path);
    LR_TRY(lr_file_read_text(loader->allocator, files, loader->config_path, CONFIG_LIMIT, &text, &length));
    lora_status status = lr_config_parse(loader->allocator, loader->config_path, text, length, config);
    lr_free(loader->allocator, text);
    if (status == LORA_OK && (*config)->fan_in_fan_out)
        lr_log(loader->context, LORA_LOG_WARNING, "%s: fan_in_fan_out has no effect on linear layers and is ignored",
               loader->config_path);
    return status;
}

static lora_status refuse_pickle(const lr_loader *loader)
{
    char *old = lr_path_join(loader->allocator, loader->path, "adapter_model.bin");
    if (!old) return LORA_ERROR_MEMORY;
    bool pickled = false, safe = false;
    lora_status status = lr_file_find(&loader->context->files, loader->weights_path, &safe);
    if (status == LORA_OK && !safe) status = lr_file_find(&loader->context->files, old, &pickled);
    if (status == LORA_OK && pickled)
        status = lr_fail(LORA_ERROR_UNSUPPORTED,
                         "%s: pickled adapters are not read; load it in PEFT and save it again, which "
                         "writes " LR_PEFT_WEIGHTS,
                         old);
    lr_free(loader->allocator, old);
    return status;
}

static lora_status open_weights(lr_loader *loader, bool full)
{
    LR_TRY(refuse_pickle(loader));
    LR_TRY(lr_safetensors_open(loader->allocator, &loader->context->files, loader->weights_path, &loader->file));
    loader->found = lr_alloc_zeroed(loader->allocator, loader->file.count, sizeof *loader->found);
    if (!loader->found) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < loader->file.count; i++) {
        loader->found[i].entry = &loader->file.entries[i];
        loader->found[i].name = lr_peft_normalise(loader->allocator, loader->file.entries[i].name, full);
        if (!loader->found[i].name) return LORA_ERROR_MEMORY;
    }
    qsort(loader->found, loader->file.count, sizeof *loader->found, by_name);
    for (size_t i = 1; i < loader->file.count; i++)
        if (strcmp(loader->found[i - 1].name, loader->found[i].name) == 0)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensors '%s' and '%s' are the same one", loader->weights_path,
                           loader->found[i - 1].entry->name, loader->found[i].entry->name);
    return LORA_OK;
}

static lr_found *find(const lr_loader *loader, const char *name)
{
    lr_found key = {.name = (char *)name};
    if (!loader->file.count) return NULL;
    return bsearch(&key, loader->found, loader->file.count, sizeof key, by_name);
}

// ---- does it fit ----------------------------------------------------------------------------------------------------

static void shape_text(const lr_tensor_entry *entry, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = '\0';
    for (int32_t d = 0; d < entry->dimensions && used < capacity; d++) {
        int length = snprintf(text + used, capacity - used, "%s%lld", d ? " x " : "", (long long)entry->shape[d]);
        used += length > 0 ? (size_t)length : 0;
    }
}

static bool same_shape(const lr_adapter_tensor *tensor, const lr_tensor_entry *entry)
{
    if (entry->dimensions != tensor->dimensions) return false;
    if (entry->dimensions == 1) return entry->shape[0] == tensor->value.cols;
    return entry->shape[0] == tensor->value.rows && entry->shape[1] == tensor->value.cols;
}

// "name [found] instead of [expected]", at most three.
static void list_differences(const lr_loader *loader, char *text, size_t capacity)
{
    const lora_adapter *adapter = loader->adapter;
    size_t used = 0, listed = 0;
    text[0] = '\0';
    for (size_t i = 0; i < adapter->tensor_count && listed < 3; i++) {
        const lr_adapter_tensor *tensor = &adapter->tensors[i];
        const lr_found *found = find(loader, tensor->name);
        char shape[64];
        if (!found || same_shape(tensor, found->entry)) continue;
        shape_text(found->entry, shape, sizeof shape);
        int length = snprintf(text + used, capacity - used, "%s%s [%s], not [%lld x %lld]", listed++ ? "; " : "",
                              tensor->name, shape, (long long)tensor->value.rows, (long long)tensor->value.cols);
        used += length > 0 ? (size_t)length : 0;
        if (used >= capacity) return;
    }
}

static const char *base_or_unknown(const lr_loader *loader)
{
    return loader->adapter->config->base_name[0] ? loader->adapter->config->base_name : "an unnamed model";
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

// The first pair whose tensors have another shape than its module asks for: another rank, or another base.
static lora_status explain_pair(const lr_loader *loader, const lr_adapter_pair *pair, const char *differences)
{
    const lora_adapter *adapter = loader->adapter;
    const lr_module *module = &loader->model->modules[pair->module];
    const lr_found *a = find(loader, adapter->tensors[pair->a].name), *b = find(loader, adapter->tensors[pair->b].name);
    if (!a || !b || a->entry->dimensions != 2 || b->entry->dimensions != 2) return LORA_OK;
    int64_t inputs = a->entry->shape[1], outputs = b->entry->shape[0], rank = a->entry->shape[0];
    if (inputs != module->in_features || outputs != module->out_features)
        return lr_fail(
            LORA_ERROR_MISMATCH,
            "adapter %s was made for another base: it expects base '%s' with %s [%lld x %lld], r %lld; this model has "
            "[%lld x %lld]; first differing tensors: %s",
            loader->path, base_or_unknown(loader), last_part(module->name), (long long)outputs, (long long)inputs,
            (long long)rank, (long long)module->out_features, (long long)module->in_features, differences);
    if (rank != pair->rank)
        return lr_fail(LORA_ERROR_MISMATCH,
                       "adapter %s: " LR_PEFT_CONFIG " says r %d for %s, its tensors have r %lld; first "
                       "differing tensors: %s",
                       loader->path, pair->rank, module->name, (long long)rank, differences);
    return LORA_OK;
}

static lora_status check_shapes(const lr_loader *loader)
{
    const lora_adapter *adapter = loader->adapter;
    char differences[600];
    list_differences(loader, differences, sizeof differences);
    if (!differences[0]) return LORA_OK;
    for (size_t i = 0; i < adapter->pair_count; i++) LR_TRY(explain_pair(loader, &adapter->pairs[i], differences));
    return lr_fail(LORA_ERROR_MISMATCH, "adapter %s was made for another base ('%s'): differing tensors: %s",
                   loader->path, base_or_unknown(loader), differences);
}

static lora_status check_complete(const lr_loader *loader)
{
    const lora_adapter *adapter = loader->adapter;
    size_t missing = 0, extra = 0;
    const char *first_missing = NULL, *first_extra = NULL;
    for (size_t i = 0; i < adapter->tensor_count; i++)
        if (!find(loader, adapter->tensors[i].name) && missing++ == 0) first_missing = adapter->tensors[i].name;
    for (size_t i = 0; i < loader->file.count; i++)
        if (!loader->found[i].used && extra++ == 0) first_extra = loader->found[i].entry->name;
    if (!missing && !extra) return LORA_OK;
    char missing_text[300] = "", extra_text[300] = "";
    if (missing)
        snprintf(missing_text, sizeof missing_text, "; %zu it should have are missing, first '%s'", missing,
                 first_missing);
    if (extra) snprintf(extra_text, sizeof extra_text, "; %zu belong to nothing here, first '%s'", extra, first_extra);
    return lr_fail(LORA_ERROR_MISMATCH,
                   "adapter %s does not fit this model (%s): it was made for base '%s' and has %zu tensors%s%s",
                   loader->path, loader->model->stack.family, base_or_unknown(loader), loader->file.count, missing_text,
                   extra_text);
}

// ---- values ---------------------------------------------------------------------------------------------------------

// An entry of the file as f32 numbers in memory of the caller's.
static lora_status read_entry(const lr_loader *loader, const lr_tensor_entry *entry, int64_t rows, int64_t cols,
                              float **values)
{
    lora_context *context = loader->context;
    const lora_backend *backend = context->backend;
    if (entry->type != LORA_TYPE_F32 && entry->type != LORA_TYPE_F16 && entry->type != LORA_TYPE_BF16)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' has type %s; an adapter's tensors are F32, F16 or BF16",
                       loader->weights_path, entry->name, entry->type_name);
    lora_buffer *buffer;
    LR_TRY(backend->buffer_wrap(context->device, loader->file.file.bytes + entry->offset, entry->size, &buffer));
    lora_view source = {.buffer = buffer, .rows = rows, .cols = cols, .stride = cols, .type = entry->type};
    *values = lr_alloc_array(loader->allocator, (size_t)(rows * cols), sizeof **values);
    lora_status status = *values ? lr_view_read(context, source, *values) : LORA_ERROR_MEMORY;
    backend->buffer_free(context->device, buffer);
    if (status != LORA_OK) lr_free(loader->allocator, *values);
    return status;
}

static lora_status check_finite(const lr_loader *loader, const char *name, const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return lr_fail(LORA_ERROR_NOT_FINITE,
                           "%s: tensor '%s' holds a %s at element %lld; the training that made it broke down",
                           loader->weights_path, name, isnan(values[i]) ? "NaN" : "infinity", (long long)i);
    return LORA_OK;
}

static lora_status fill_tensor(lr_loader *loader, const lr_adapter_tensor *tensor)
{
    lr_found *found = find(loader, tensor->name);
    float *values;
    found->used = true;
    LR_TRY(read_entry(loader, found->entry, tensor->value.rows, tensor->value.cols, &values));
    lora_status status = check_finite(loader, found->entry->name, values, tensor->value.rows * tensor->value.cols);
    if (status == LORA_OK) status = lr_view_write(loader->context, tensor->value, values);
    lr_free(loader->allocator, values);
    return status;
}

// Marks `found` as used when it holds what `expected` does.
static lora_status consume_copy(lr_loader *loader, lr_found *found, lora_view expected, const char *what)
{
    const lr_tensor_entry *entry = found->entry;
    size_t count = (size_t)(expected.rows * expected.cols);
    float *theirs = NULL, *ours = NULL;
    bool equal = entry->dimensions == 2 && entry->shape[0] == expected.rows && entry->shape[1] == expected.cols;
    lora_status status = LORA_OK;
    found->used = true;
    if (equal) {
        LR_TRY(read_entry(loader, entry, expected.rows, expected.cols, &theirs));
        ours = lr_alloc_array(loader->allocator, count, sizeof *ours);
        status = ours ? lr_view_read(loader->context, expected, ours) : LORA_ERROR_MEMORY;
        equal = status == LORA_OK && memcmp(theirs, ours, count * sizeof *ours) == 0;
        lr_free(loader->allocator, theirs);
        lr_free(loader->allocator, ours);
    }
    if (status != LORA_OK || equal) return status;
    return lr_fail(LORA_ERROR_MISMATCH,
                   "%s: tensor '%s' differs from %s; the adapter was made for a base with another or a "
                   "resized embedding",
                   loader->weights_path, entry->name, what);
}

// Copies that PEFT writes beside what was trained: the base's own weight of a targeted head or embedding, and a tied
// head.
static lora_status consume_copies(lr_loader *loader)
{
    const lora_adapter *adapter = loader->adapter;
    const lora_model *model = loader->model;
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        lora_status status;
        char *alias = lr_peft_tied_name(adapter, &adapter->tensors[i], &status);
        lr_found *found = alias ? find(loader, alias) : NULL;
        lr_free(loader->allocator, alias);
        if (found) status = consume_copy(loader, found, adapter->tensors[i].value, "the embedding that it is tied to");
        LR_TRY(status);
    }
    static const lr_slot slots[] = {LR_SLOT_EMBED, LR_SLOT_HEAD};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        const lr_module *module = lr_model_module(model, -1, slots[i]);
        if (!module) continue;
        char *name = lr_format(loader->allocator, LR_PEFT_PREFIX "%s.base_layer.weight", module->name);
        if (!name) return LORA_ERROR_MEMORY;
        lr_found *found = find(loader, name);
        lr_free(loader->allocator, name);
        if (found) LR_TRY(consume_copy(loader, found, model->tensors[module->weight].view, "this model's"));
    }
    return LORA_OK;
}

static lora_status fill(lr_loader *loader)
{
    const lora_adapter *adapter = loader->adapter;
    LR_TRY(check_shapes(loader));
    for (size_t i = 0; i < adapter->tensor_count; i++)
        if (find(loader, adapter->tensors[i].name)) LR_TRY(fill_tensor(loader, &adapter->tensors[i]));
    LR_TRY(consume_copies(loader));
    return check_complete(loader);
}

// ---- does it do anything --------------------------------------------------------------------------------------------

static lora_status is_zero(lora_context *context, lora_view view, bool *zero)
{
    double sum = 0;
    LR_TRY(context->backend->square_sum(context->device, &view, 1, &sum));
    *zero = sum == 0;
    return LORA_OK;
}

static lora_status changes_tensor(const lora_adapter *adapter, const lr_adapter_tensor *tensor, bool *changes)
{
    lora_context *context = adapter->model->context;
    lora_view difference;
    bool zero = true;
    LR_TRY(lr_create_view(context, tensor->value.rows, tensor->value.cols, &difference));
    lora_status status =
        context->backend->convert(context->device, difference, adapter->model->tensors[tensor->tensor].view);
    if (status == LORA_OK) status = context->backend->add(context->device, difference, tensor->value, -1);
    if (status == LORA_OK) status = is_zero(context, difference, &zero);
    lr_free_view(context, &difference);
    *changes = !zero;
    return status;
}

static lora_status check_changes(const lr_loader *loader)
{
    const lora_adapter *adapter = loader->adapter;
    bool zero_a, zero_b, changes = false;
    for (size_t i = 0; !changes && i < adapter->pair_count; i++) {
        LR_TRY(is_zero(loader->context, adapter->tensors[adapter->pairs[i].b].value, &zero_b));
        if (zero_b) continue;
        LR_TRY(is_zero(loader->context, adapter->tensors[adapter->pairs[i].a].value, &zero_a));
        changes = !zero_a;
    }
    for (size_t i = 0; !changes && i < adapter->tensor_count; i++)
        if (adapter->tensors[i].tensor >= 0) LR_TRY(changes_tensor(adapter, &adapter->tensors[i], &changes));
    if (changes) return LORA_OK;
    return lr_fail(LORA_ERROR_MISMATCH,
                   "adapter %s changes nothing: every lora_B in it is zero; it was saved before its training "
                   "began, or its training did not reach it",
                   loader->path);
}

// ---- the two ways in ------------------------------------------------------------------------------------------------

// A target that matches nothing is said together with the base that the adapter names.
static lora_status explain_no_target(const lr_loader *loader, const char *base)
{
    char reason[700];
    snprintf(reason, sizeof reason, "%s", lr_error_text());
    return lr_fail(LORA_ERROR_MISMATCH, "adapter %s was made for another base ('%s'): %s", loader->path,
                   base[0] ? base : "an unnamed model", reason);
}

static lora_status load(lr_loader *loader, bool allow_unchanged)
{
    lr_adapter_config *config;
    LR_TRY(read_config(loader, &config));
    lora_status status = open_weights(loader, config->full);
    if (status != LORA_OK) {
        lr_config_free(config);
        return status;
    }
    char base[256];
    snprintf(base, sizeof base, "%s", config->base_name);
    status = lr_adapter_build(loader->model, config, false, &loader->adapter);
    if (status == LORA_ERROR_MISMATCH) return explain_no_target(loader, base);
    LR_TRY(status);
    LR_TRY(fill(loader));
    const char *samples = lr_safetensors_metadata(&loader->file, LR_PEFT_SAMPLES);
    if (samples) LR_TRY(lr_samples_compare(loader->adapter, loader->weights_path, samples));
    return allow_unchanged ? LORA_OK : check_changes(loader);
}

lora_status lora_adapter_load(const lora_model *model, const char *path, int32_t allow_unchanged, lora_adapter **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(out);
    LR_CHECK_ARGUMENT(path && path[0], "%s: path is empty", __func__);
    lr_loader loader;
    lora_status status = open_loader(&loader, model, path);
    if (status == LORA_OK) status = load(&loader, allow_unchanged != 0);
    if (status == LORA_OK) *out = loader.adapter;
    else lr_adapter_release(loader.adapter);
    close_loader(&loader);
    return status;
}

lora_status lr_adapter_read_values(lora_adapter *adapter, const char *directory)
{
    lr_loader loader;
    lora_status status = open_loader(&loader, adapter->model, directory);
    loader.adapter = adapter;
    if (status == LORA_OK) status = open_weights(&loader, adapter->config->full);
    if (status == LORA_OK) status = fill(&loader);
    close_loader(&loader);
    return status;
}
