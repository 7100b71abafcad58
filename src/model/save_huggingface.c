// A Hugging Face directory: the shards, names and types that the model was loaded with, its config and its tokenizer's
// files.
#include "save.h"

#include <string.h>

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

static bool came_from_directory(const lora_model *model)
{
    return model->config_text != NULL;
}

static size_t shard_count(const lora_model *model)
{
    return came_from_directory(model) && model->shard_count ? model->shard_count : 1;
}

static const char *shard_name(const lora_model *model, size_t shard)
{
    return came_from_directory(model) && model->shard_count > 1 ? model->shards[shard] : SINGLE;
}

static bool in_shard(const lora_model *model, const lr_tensor *tensor, size_t shard)
{
    return shard_count(model) == 1 || (size_t)tensor->shard == shard;
}

static lora_status send(void *sink, const void *bytes, size_t size)
{
    return lr_safetensors_writer_write(sink, bytes, size);
}

// ---- a file's tensors: the model's own, or the parts that bitsandbytes makes of them --------------------------------

typedef struct lr_parts {
    const lora_allocator *allocator;
    lr_safetensors_tensor *items; // names are from the allocator
    size_t count;
} lr_parts;

static lora_status add_parts(const lr_saving *saving, size_t index, lr_parts *parts)
{
    const lr_tensor *tensor = &saving->model->tensors[index];
    const lora_view view = tensor->view;
    lr_safetensors_tensor *part = &parts->items[parts->count];
    if (lr_save_has_scales(saving->types[index])) return lr_bitsandbytes_describe(saving, index, part, &parts->count);
    *part = (lr_safetensors_tensor){.name = lr_duplicate(parts->allocator, tensor->name),
                                    .type = saving->types[index],
                                    .dimensions = tensor->dimensions};
    part->shape[0] = tensor->dimensions == 1 ? view.cols : view.rows;
    part->shape[1] = tensor->dimensions == 1 ? 0 : view.cols;
    parts->count++;
    return part->name ? LORA_OK : LORA_ERROR_MEMORY;
}

static void free_parts(lr_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) lr_free(parts->allocator, (char *)(uintptr_t)parts->items[i].name);
    lr_free(parts->allocator, parts->items);
}

static lora_status list_parts(const lr_saving *saving, size_t shard, lr_parts *parts)
{
    const lora_model *model = saving->model;
    *parts = (lr_parts){.allocator = &model->context->allocator};
    parts->items = lr_alloc_array(parts->allocator, model->tensor_count * LR_BITSANDBYTES_PARTS, sizeof *parts->items);
    if (!parts->items) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < model->tensor_count; i++)
        if (in_shard(model, &model->tensors[i], shard)) LR_TRY(add_parts(saving, i, parts));
    return LORA_OK;
}

static lora_status write_tensors(lr_saving *saving, size_t shard, lr_safetensors_writer *writer)
{
    const lora_model *model = saving->model;
    for (size_t i = 0; i < model->tensor_count; i++) {
        if (!in_shard(model, &model->tensors[i], shard)) continue;
        if (lr_save_has_scales(saving->types[i])) LR_TRY(lr_bitsandbytes_send(saving, i, send, writer));
        else LR_TRY(lr_save_tensor(saving, &model->tensors[i], saving->types[i], 0, NULL, send, writer));
    }
    return LORA_OK;
}

static lora_status write_shard(lr_saving *saving, const char *path, size_t shard)
{
    static const char *const metadata[] = {"format", "pt", NULL};
    lr_safetensors_writer *writer = NULL;
    lr_parts parts;
    lora_status status = list_parts(saving, shard, &parts);
    if (status == LORA_OK)
        status = lr_safetensors_writer_create(parts.allocator, path, true, parts.items, parts.count, metadata, &writer);
    if (status == LORA_OK) status = write_tensors(saving, shard, writer);
    if (status == LORA_OK) status = lr_safetensors_writer_commit(writer);
    else if (writer) lr_safetensors_writer_abandon(writer);
    free_parts(&parts);
    return status;
}

static lora_status index_shard(const lr_saving *saving, size_t shard, json_t *map, uint64_t *total)
{
    lr_parts parts;
    lora_status status = list_parts(saving, shard, &parts);
    for (size_t i = 0; status == LORA_OK && i < parts.count; i++) {
        uint64_t bytes = 0;
        status = lr_safetensors_tensor_bytes(&parts.items[i], &bytes);
        *total += bytes;
        if (json_object_set_new(map, parts.items[i].name, json_string(shard_name(saving->model, shard))) != 0)
            status = lr_fail_memory(4096);
    }
    free_parts(&parts);
    return status;
}

static lora_status write_index(const lr_saving *saving, const char *path)
{
    const lora_allocator *allocator = &saving->model->context->allocator;
    uint64_t total = 0;
    json_t *map = json_object(), *index = json_object();
    lora_status status = map && index ? LORA_OK : lr_fail_memory(4096);
    for (size_t shard = 0; status == LORA_OK && shard < shard_count(saving->model); shard++)
        status = index_shard(saving, shard, map, &total);
    int failed = status != LORA_OK;
    if (!failed) failed |= json_object_set_new(index, "metadata", json_pack("{s:I}", "total_size", (json_int_t)total));
    if (!failed) failed |= json_object_set(index, "weight_map", map);
    char *text = NULL;
    size_t length;
    if (status == LORA_OK)
        status = failed ? lr_fail_memory(4096) : lr_json_dump(allocator, index, 2, true, &text, &length);
    if (status == LORA_OK) status = lr_write_file(allocator, path, true, text, length);
    lr_free(allocator, text);
    json_decref(map);
    json_decref(index);
    return status;
}

static lora_status write_config(const lr_saving *saving, const char *path)
{
    const lora_allocator *allocator = &saving->model->context->allocator;
    char *text;
    size_t length;
    LR_TRY(lr_save_config(saving, &text, &length));
    lora_status status = lr_write_file(allocator, path, true, text, length);
    lr_free(allocator, text);
    return status;
}

static lora_status write_stamp(const lr_saving *saving, const char *path)
{
    return lr_write_file(&saving->model->context->allocator, path, true, saving->stamp, strlen(saving->stamp));
}

// The small files beside the weights that make the copy usable as the original is.
static const char *const companions[] = {
    "tokenizer.json",      "tokenizer_config.json",
    "tokenizer.model",     "special_tokens_map.json",
    "added_tokens.json",   "generation_config.json",
    "chat_template.jinja", "chat_template.json",
    "vocab.json",          "merges.txt",
};
#define COMPANIONS (sizeof companions / sizeof *companions)

static lora_status copy_companions(const lora_model *model, const char *directory)
{
    const lora_allocator *allocator = &model->context->allocator;
    const lora_file_access *files = &model->context->files;
    lora_status status = LORA_OK;
    for (size_t i = 0; i < COMPANIONS && status == LORA_OK; i++) {
        char *from = lr_path_join(allocator, model->path, companions[i]);
        char *to = lr_path_join(allocator, directory, companions[i]);
        bool found = false;
        status = from && to ? lr_file_find(files, from, &found) : LORA_ERROR_MEMORY;
        if (found) status = lr_copy_file(allocator, files, from, to);
        lr_free(allocator, from);
        lr_free(allocator, to);
    }
    return status;
}

static lora_status write_part(const lr_saving *saving, const char *directory, const char *name,
                              lora_status (*write)(const lr_saving *saving, const char *path))
{
    char *path = lr_path_join(&saving->model->context->allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = write(saving, path);
    lr_free(&saving->model->context->allocator, path);
    return status;
}

static lora_status write_directory(lr_saving *saving, const char *directory)
{
    const lora_model *model = saving->model;
    for (size_t shard = 0; shard < shard_count(model); shard++) {
        char *path = lr_path_join(&model->context->allocator, directory, shard_name(model, shard));
        if (!path) return LORA_ERROR_MEMORY;
        lora_status status = write_shard(saving, path, shard);
        lr_free(&model->context->allocator, path);
        LR_TRY(status);
    }
    if (shard_count(model) > 1) LR_TRY(write_part(saving, directory, INDEX, write_index));
    LR_TRY(write_part(saving, directory, "config.json", write_config));
    if (saving->stamp) LR_TRY(write_part(saving, directory, LR_SAVE_STAMP, write_stamp));
    return came_from_directory(model) ? copy_companions(model, directory) : LORA_OK;
}

// ---- replacing a model ----------------------------------------------------------------------------------------------

// Weights and tokenizer files under names that only the replaced model has: readers would take them for the new one's.
// They go last, so that a save that fails or is killed before has lost nothing.
#define SUPERSEDABLE (2 + COMPANIONS)

static const char *supersedable(size_t i)
{
    return i == 0 ? SINGLE : i == 1 ? INDEX : companions[i - 2];
}

static lora_status note_superseded(const lora_model *model, const char *stage, bool superseded[SUPERSEDABLE])
{
    const lora_allocator *allocator = &model->context->allocator;
    for (size_t i = 0; i < SUPERSEDABLE; i++) {
        char *staged = lr_path_join(allocator, stage, supersedable(i));
        if (!staged) return LORA_ERROR_MEMORY;
        superseded[i] = !lr_path_exists(staged);
        lr_free(allocator, staged);
    }
    return LORA_OK;
}

static lora_status remove_superseded(const lora_model *model, const char *directory,
                                     const bool superseded[SUPERSEDABLE])
{
    const lora_allocator *allocator = &model->context->allocator;
    lora_status status = LORA_OK;
    for (size_t i = 0; i < SUPERSEDABLE && status == LORA_OK; i++) {
        if (!superseded[i]) continue;
        char *old = lr_path_join(allocator, directory, supersedable(i));
        status = old ? lr_remove_tree(old) : LORA_ERROR_MEMORY;
        lr_free(allocator, old);
    }
    return status;
}

lora_status lr_save_huggingface(lr_saving *saving, const char *path, bool overwrite)
{
    const lora_model *model = saving->model;
    lr_stage *stage;
    bool superseded[SUPERSEDABLE];
    LR_TRY(lr_stage_create(&model->context->allocator, path, overwrite, &stage));
    lora_status status = write_directory(saving, lr_stage_path(stage));
    if (status == LORA_OK) status = note_superseded(model, lr_stage_path(stage), superseded);
    if (status == LORA_OK) status = lr_stage_commit(stage);
    else lr_stage_abandon(stage);
    return status == LORA_OK && overwrite ? remove_superseded(model, path, superseded) : status;
}
