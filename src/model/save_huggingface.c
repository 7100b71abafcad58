// A Hugging Face directory: the shards, names and types that the model was loaded with, its config and its tokenizer's
// files.
#include "save.h"

#include "lib/json.h"
#include "lib/safetensors.h"

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

static lr_safetensors_tensor describe(const lr_tensor *tensor)
{
    lora_view view = tensor->view;
    lr_safetensors_tensor described = {.name = tensor->name, .type = lr_save_plain_type(tensor)};
    described.dimensions = tensor->dimensions;
    described.shape[0] = tensor->dimensions == 1 ? view.cols : view.rows;
    described.shape[1] = tensor->dimensions == 1 ? 0 : view.cols;
    return described;
}

static lora_status send(void *sink, const void *bytes, size_t size)
{
    return lr_safetensors_writer_write(sink, bytes, size);
}

static lora_status write_tensors(const lora_model *model, size_t shard, lr_safetensors_writer *writer)
{
    for (size_t i = 0; i < model->tensor_count; i++) {
        const lr_tensor *tensor = &model->tensors[i];
        if (in_shard(model, tensor, shard))
            LR_TRY(lr_save_tensor(model, tensor, lr_save_plain_type(tensor), 0, send, writer));
    }
    return LORA_OK;
}

static lora_status write_shard(const lora_model *model, const char *path, size_t shard)
{
    static const char *const metadata[] = {"format", "pt", NULL};
    const lora_allocator *allocator = &model->context->allocator;
    lr_safetensors_writer *writer = NULL;
    size_t count = 0;
    lr_safetensors_tensor *tensors = lr_alloc_array(allocator, model->tensor_count, sizeof *tensors);
    if (!tensors) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < model->tensor_count; i++)
        if (in_shard(model, &model->tensors[i], shard)) tensors[count++] = describe(&model->tensors[i]);
    lora_status status = lr_safetensors_writer_create(allocator, path, true, tensors, count, metadata, &writer);
    if (status == LORA_OK) status = write_tensors(model, shard, writer);
    if (status == LORA_OK) status = lr_safetensors_writer_commit(writer);
    else if (writer) lr_safetensors_writer_abandon(writer);
    lr_free(allocator, tensors);
    return status;
}

static lora_status write_index(const lora_model *model, const char *path)
{
    const lora_allocator *allocator = &model->context->allocator;
    uint64_t total = 0;
    json_t *map = json_object(), *index = json_object();
    int failed = !map || !index;
    for (size_t i = 0; !failed && i < model->tensor_count; i++) {
        const lr_tensor *tensor = &model->tensors[i];
        uint64_t bytes = 0;
        lr_type_bytes(lr_save_plain_type(tensor), tensor->view.rows, tensor->view.cols, &bytes);
        total += bytes;
        failed |= json_object_set_new(map, tensor->name, json_string(model->shards[tensor->shard]));
    }
    if (!failed) failed |= json_object_set_new(index, "metadata", json_pack("{s:I}", "total_size", (json_int_t)total));
    if (!failed) failed |= json_object_set(index, "weight_map", map);
    char *text = NULL;
    size_t length;
    lora_status status = failed ? lr_fail_memory(4096) : lr_json_dump(allocator, index, 2, true, &text, &length);
    if (status == LORA_OK) status = lr_write_file(allocator, path, true, text, length);
    lr_free(allocator, text);
    json_decref(map);
    json_decref(index);
    return status;
}

static lora_status write_config(const lora_model *model, const char *path)
{
    char *text;
    size_t length;
    LR_TRY(lr_save_config(model, &text, &length));
    lora_status status = lr_write_file(&model->context->allocator, path, true, text, length);
    lr_free(&model->context->allocator, text);
    return status;
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

static lora_status write_part(const lora_model *model, const char *directory, const char *name,
                              lora_status (*write)(const lora_model *model, const char *path))
{
    char *path = lr_path_join(&model->context->allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = write(model, path);
    lr_free(&model->context->allocator, path);
    return status;
}

static lora_status write_directory(const lora_model *model, const char *directory)
{
    for (size_t shard = 0; shard < shard_count(model); shard++) {
        char *path = lr_path_join(&model->context->allocator, directory, shard_name(model, shard));
        if (!path) return LORA_ERROR_MEMORY;
        lora_status status = write_shard(model, path, shard);
        lr_free(&model->context->allocator, path);
        LR_TRY(status);
    }
    if (shard_count(model) > 1) LR_TRY(write_part(model, directory, INDEX, write_index));
    LR_TRY(write_part(model, directory, "config.json", write_config));
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

static lora_status remove_superseded(const lora_model *model, const char *directory, const bool superseded[SUPERSEDABLE])
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

lora_status lr_save_huggingface(const lora_model *model, const char *path, bool overwrite)
{
    lr_stage *stage;
    bool superseded[SUPERSEDABLE];
    LR_TRY(lr_stage_create(&model->context->allocator, path, overwrite, &stage));
    lora_status status = write_directory(model, lr_stage_path(stage));
    if (status == LORA_OK) status = note_superseded(model, lr_stage_path(stage), superseded);
    if (status == LORA_OK) status = lr_stage_commit(stage);
    else lr_stage_abandon(stage);
    return status == LORA_OK && overwrite ? remove_superseded(model, path, superseded) : status;
}
