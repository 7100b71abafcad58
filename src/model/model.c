// The model handle. How it comes about: a loader (load.c and load_*.c) reads the stack through a family, build.c names
// the modules and tensors that the stack calls for, weights.c gives them views. derive.c makes a model on top of
// another; info.c answers the public header.
#include "source.h"
#include "src/text/tokenizer.h"

#include <string.h>

lora_status lr_model_create(lora_context *context, const char *path, lora_model **out)
{
    lora_model *model = lr_alloc_zeroed(&context->allocator, 1, sizeof *model);
    if (!model) return LORA_ERROR_MEMORY;
    atomic_init(&model->references, 1);
    model->context = lr_context_retain(context);
    model->path = lr_duplicate(&context->allocator, path);
    model->source = lr_alloc_zeroed(&context->allocator, 1, sizeof *model->source);
    if (!model->path || !model->source) {
        lr_model_release(model);
        return LORA_ERROR_MEMORY;
    }
    *out = model;
    return LORA_OK;
}

lora_model *lr_model_retain(lora_model *model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

static void free_tensors(lora_model *model)
{
    const lora_context *context = model->context;
    for (size_t i = 0; i < model->tensor_count; i++) {
        lr_tensor *tensor = &model->tensors[i];
        if (tensor->owned) {
            context->backend->buffer_free(context->device, tensor->view.buffer);
            context->backend->buffer_free(context->device, tensor->view.scale_buffer);
        }
        lr_free(&context->allocator, tensor->name);
    }
    lr_free(&context->allocator, model->tensors);
}

void lr_model_release(lora_model *model)
{
    if (!model || atomic_fetch_sub(&model->references, 1) != 1) return;
    lora_context *context = model->context;
    const lora_allocator *allocator = &context->allocator;
    free_tensors(model);
    for (size_t i = 0; i < model->module_count; i++) lr_free(allocator, model->modules[i].name);
    lr_free(allocator, model->modules);
    for (size_t i = 0; i < model->shard_count; i++) lr_free(allocator, model->shards[i]);
    lr_free(allocator, model->shards);
    lr_free(allocator, model->slots);
    lr_free(allocator, model->linear);
    lr_free(allocator, model->frequencies);
    lr_free(allocator, model->stack.layer_is_windowed);
    lr_free(allocator, model->config_text);
    lr_free(allocator, model->path);
    lr_tokenizer_release(model->tokenizer);
    lr_source_free(allocator, model->source);
    lr_model_release(model->base);
    lr_free(allocator, model);
    lr_context_release(context);
}

lora_status lr_model_add_shard(lora_model *model, const char *name)
{
    const lora_allocator *allocator = &model->context->allocator;
    char **shards = lr_realloc_array(allocator, model->shards, model->shard_count + 1, sizeof *shards);
    if (!shards) return LORA_ERROR_MEMORY;
    model->shards = shards;
    shards[model->shard_count] = lr_duplicate(allocator, name);
    if (!shards[model->shard_count]) return LORA_ERROR_MEMORY;
    model->shard_count++;
    return LORA_OK;
}

const lr_module *lr_model_module(const lora_model *model, int64_t layer, lr_slot slot)
{
    int32_t index = model->slots[(layer < 0 ? model->stack.layers : layer) * LR_SLOT_COUNT + slot];
    return index < 0 ? NULL : &model->modules[index];
}

const lr_module *lr_model_find_module(const lora_model *model, const char *name)
{
    for (size_t i = 0; i < model->module_count; i++)
        if (strcmp(model->modules[i].name, name) == 0) return &model->modules[i];
    return NULL;
}

// ---- fingerprint ----------------------------------------------------------------------------------------------------

#define SAMPLES 16
#define SAMPLE_BYTES 64

// Shape, type and evenly spaced samples of a tensor; reads at most 16 places of it. Looking at a page maps its
// neighbours too, which is let go again: a model is in memory when it is used.
static lora_status hash_tensor(const lora_model *model, const lr_tensor *tensor, uint64_t *hash)
{
    const lora_context *context = model->context;
    const int64_t shape[3] = {tensor->view.rows, tensor->view.cols, tensor->view.type};
    uint64_t size;
    if (!lr_type_bytes(tensor->view.type, tensor->view.rows, tensor->view.cols, &size))
        return lr_fail(LORA_ERROR_INTERNAL, "tensor '%s' has no size", tensor->name);
    *hash = lr_hash64(*hash, tensor->name, strlen(tensor->name));
    *hash = lr_hash64(*hash, shape, sizeof shape);
    const uint64_t length = size < SAMPLE_BYTES ? size : SAMPLE_BYTES;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        uint8_t sample[SAMPLE_BYTES];
        uint64_t offset = tensor->view.offset + (size - length) / (SAMPLES - 1) * i;
        LR_TRY(context->backend->buffer_read(context->device, tensor->view.buffer, offset, sample, length));
        *hash = lr_hash64(*hash, sample, (size_t)length);
    }
    lr_model_forget(model, tensor);
    return LORA_OK;
}

void lr_model_forget(const lora_model *model, const lr_tensor *tensor)
{
    const uint8_t *bytes = model->context->backend->buffer_host(tensor->view.buffer);
    uint64_t size;
    if (bytes && lr_type_bytes(tensor->view.type, tensor->view.rows, tensor->view.cols, &size))
        lr_source_forget(model, bytes + tensor->view.offset, size);
}

lora_status lr_model_finish(lora_model *model)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < model->tensor_count; i++) LR_TRY(hash_tensor(model, &model->tensors[i], &hash));
    model->fingerprint = hash;
    return LORA_OK;
}
