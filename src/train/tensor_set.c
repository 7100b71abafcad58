#include "src/train/trainer.h"

// Each tensor starts on 64 bytes.
uint64_t lr_tensor_set_padded(const lora_view *value)
{
    return ((uint64_t)(value->rows * value->cols) + 15) / 16 * 16;
}

uint64_t lr_tensor_set_numbers(const lora_adapter *adapter)
{
    uint64_t numbers = 0;
    for (size_t i = 0; i < adapter->tensor_count; i++) numbers += lr_tensor_set_padded(&adapter->tensors[i].value);
    return numbers;
}

lora_status lr_tensor_set_create(const lora_adapter *adapter, lr_tensor_set *out)
{
    lora_context *context = adapter->model->context;
    uint64_t numbers = lr_tensor_set_numbers(adapter);
    lr_tensor_set set = {.views = lr_alloc_zeroed(&context->allocator, adapter->tensor_count, sizeof *set.views)};
    if (!set.views) return LORA_ERROR_MEMORY;
    lora_status status = context->backend->buffer_create(context->device, numbers * sizeof(float), &set.buffer);
    if (status != LORA_OK) {
        lr_free(&context->allocator, set.views);
        return status;
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        const lora_view *value = &adapter->tensors[i].value;
        set.views[i] = (lora_view){.buffer = set.buffer, .offset = offset, .rows = value->rows, .cols = value->cols,
                                   .stride = value->cols, .type = LORA_TYPE_F32};
        offset += lr_tensor_set_padded(value) * sizeof(float);
    }
    set.all = (lora_view){.buffer = set.buffer, .rows = 1, .cols = (int64_t)numbers, .stride = (int64_t)numbers,
                          .type = LORA_TYPE_F32};
    *out = set;
    return LORA_OK;
}

void lr_tensor_set_free(const lora_adapter *adapter, lr_tensor_set *set)
{
    lora_context *context = adapter->model->context;
    if (set->buffer) context->backend->buffer_free(context->device, set->buffer);
    lr_free(&context->allocator, set->views);
    *set = (lr_tensor_set){0};
}

static lora_status copy(const lora_adapter *adapter, const lr_tensor_set *set, bool to_adapter)
{
    lora_context *context = adapter->model->context;
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        lora_view value = adapter->tensors[i].value, own = set->views[i];
        LR_TRY(context->backend->convert(context->device, to_adapter ? value : own, to_adapter ? own : value));
    }
    return LORA_OK;
}

lora_status lr_tensor_set_store(const lora_adapter *adapter, const lr_tensor_set *set)
{
    return copy(adapter, set, false);
}

lora_status lr_tensor_set_load(const lora_adapter *adapter, const lr_tensor_set *set)
{
    return copy(adapter, set, true);
}
