// A model on top of another: the same description, the same tensors until some are replaced.
#include "source.h"
#include "src/text/tokenizer.h"

#include <string.h>

static lora_status copy_array(const lora_allocator *allocator, const void *source, size_t count, size_t size,
                              void **out)
{
    if (!source) return LORA_OK;
    *out = lr_alloc_array(allocator, count, size);
    if (!*out) return LORA_ERROR_MEMORY;
    memcpy(*out, source, count * size);
    return LORA_OK;
}

static lora_status copy_names(lora_model *model, const lora_model *base)
{
    const lora_allocator *allocator = &model->context->allocator;
    for (size_t i = 0; i < base->module_count; i++) {
        model->modules[i] = base->modules[i];
        model->modules[i].name = lr_duplicate(allocator, base->modules[i].name);
        model->module_count = i + 1;
        if (!model->modules[i].name) return LORA_ERROR_MEMORY;
    }
    for (size_t i = 0; i < base->tensor_count; i++) {
        const lr_tensor *from = &base->tensors[i];
        lr_tensor *to = &model->tensors[i];
        to->name = lr_duplicate(allocator, from->name);
        if (!to->name) return LORA_ERROR_MEMORY;
        to->view = from->view;
        to->dimensions = from->dimensions;
        to->stored = from->stored;
        to->shard = from->shard;
        atomic_init(&to->finite, atomic_load(&from->finite));
        model->tensor_count = i + 1;
    }
    for (size_t i = 0; i < base->shard_count; i++) LR_TRY(lr_model_add_shard(model, base->shards[i]));
    return LORA_OK;
}

static lora_status copy_description(lora_model *model, const lora_model *base)
{
    const lora_allocator *allocator = &model->context->allocator;
    const size_t layers = (size_t)base->stack.layers;
    model->stack = base->stack;
    model->stack.layer_is_windowed = NULL;
    model->linear_count = base->linear_count;
    LR_TRY(copy_array(allocator, base->stack.layer_is_windowed, layers, sizeof(bool),
                      (void **)&model->stack.layer_is_windowed));
    LR_TRY(copy_array(allocator, base->slots, (layers + 1) * LR_SLOT_COUNT, sizeof(int32_t), (void **)&model->slots));
    LR_TRY(copy_array(allocator, base->linear, base->linear_count, sizeof(int32_t), (void **)&model->linear));
    LR_TRY(copy_array(allocator, base->frequencies, (size_t)base->stack.rope.dimensions / 2, sizeof(float),
                      (void **)&model->frequencies));
    if (base->config_text) {
        model->config_text = lr_duplicate(allocator, base->config_text);
        if (!model->config_text) return LORA_ERROR_MEMORY;
    }
    model->modules = lr_alloc_zeroed(allocator, base->module_count, sizeof *model->modules);
    model->tensors = lr_alloc_zeroed(allocator, base->tensor_count, sizeof *model->tensors);
    if (!model->modules || !model->tensors) return LORA_ERROR_MEMORY;
    return copy_names(model, base);
}

lora_status lr_model_derive(const lora_model *base, lora_model **out)
{
    lora_model *model;
    LR_TRY(lr_model_create(base->context, base->path, &model));
    model->base = lr_model_retain((lora_model *)base);
    if (base->tokenizer) model->tokenizer = lr_tokenizer_retain(base->tokenizer);
    model->fingerprint = base->fingerprint;
    lora_status status = copy_description(model, base);
    if (status != LORA_OK) {
        lr_model_release(model);
        return status;
    }
    *out = model;
    return LORA_OK;
}
