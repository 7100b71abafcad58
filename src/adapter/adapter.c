// The adapter room: settings (config*.c), which modules they mean (match.c, regex.c), what a module gets (method.c,
// methods/) and how it starts (inits.c), the list of tensors (build.c), PEFT's files (peft_format.c, load.c, save.c,
// samples.c), and what a pass is given (binding.c). Merging is merge.c. This file is the handle.
#include "build.h"
#include "inits.h"

#include "src/core/validate.h"

#include <string.h>

lora_adapter *lr_adapter_retain(lora_adapter *adapter)
{
    atomic_fetch_add(&adapter->references, 1);
    return adapter;
}

void lr_adapter_release(lora_adapter *adapter)
{
    if (!adapter || atomic_fetch_sub(&adapter->references, 1) != 1) return;
    lora_model *model = adapter->model;
    const lora_allocator *allocator = &model->context->allocator;
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        lr_free_view(model->context, &adapter->tensors[i].value);
        lr_free(allocator, adapter->tensors[i].name);
    }
    lr_free(allocator, adapter->tensors);
    lr_free(allocator, adapter->pairs);
    lr_config_free(adapter->config);
    lr_free(allocator, adapter);
    lr_model_release(model);
}

bool lr_adapter_is_full(const lora_adapter *adapter)
{
    return adapter->config->full;
}

void lora_adapter_free(lora_adapter *adapter)
{
    lr_adapter_release(adapter);
}

void (lora_adapter_options_init)(lora_adapter_options *options, size_t struct_size)
{
    const lora_adapter_options defaults = {.r = 8, .lora_alpha = 8, .bias = LORA_BIAS_NONE,
                                           .init_lora_weights = "true"};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

lora_status lora_adapter_create(const lora_model *model, const lora_adapter_options *given, lora_adapter **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(out);
    lora_adapter_options options;
    lora_adapter_options_init(&options);
    LR_TRY(lr_take_options(&options, sizeof options, given, __func__));
    lr_adapter_config *config;
    LR_TRY(lr_config_from_options(&model->context->allocator, model->path ? model->path : "", &options, &config));
    lora_adapter *adapter = NULL;
    LR_TRY(lr_adapter_build(model, config, true, &adapter));
    lora_status status = adapter->pair_count ? lr_init_pairs(adapter, config->init, options.seed) : LORA_OK;
    if (status == LORA_OK) *out = adapter;
    else lr_adapter_release(adapter);
    return status;
}

static int64_t parameter_count(const lora_adapter *adapter)
{
    int64_t count = 0;
    for (size_t i = 0; i < adapter->tensor_count; i++)
        count += adapter->tensors[i].value.rows * adapter->tensors[i].value.cols;
    return count;
}

lora_status lora_adapter_get_info(const lora_adapter *adapter, lora_adapter_info *info)
{
    LR_CHECK_HANDLE(adapter);
    const lr_adapter_config *config = adapter->config;
    lora_adapter_info filled = {
        .struct_size = sizeof filled,
        .base_name = config->base_name,
        .r = config->full ? 0 : config->r,
        .lora_alpha = config->full ? 0 : config->alpha,
        .lora_dropout = config->dropout,
        .bias = config->bias,
        .use_rslora = config->use_rslora,
        .full = config->full,
        .modules = (int64_t)adapter->pair_count,
        .parameters = parameter_count(adapter),
    };
    return lr_give_info(info, &filled, sizeof filled, __func__);
}

// ---- tensors --------------------------------------------------------------------------------------------------------

size_t lora_adapter_tensor_count(const lora_adapter *adapter)
{
    return adapter ? adapter->tensor_count : 0;
}

const char *lora_adapter_tensor_name(const lora_adapter *adapter, size_t index)
{
    return adapter && index < adapter->tensor_count ? adapter->tensors[index].name : NULL;
}

static lora_status find_tensor(const lora_adapter *adapter, size_t index, const lr_adapter_tensor **out)
{
    LR_CHECK_HANDLE(adapter);
    LR_CHECK_ARGUMENT(index < adapter->tensor_count, "tensor %zu of an adapter that has %zu", index,
                      adapter->tensor_count);
    *out = &adapter->tensors[index];
    return LORA_OK;
}

static lora_status check_count(const lr_adapter_tensor *tensor, const void *values, size_t count)
{
    size_t needed = (size_t)(tensor->value.rows * tensor->value.cols);
    LR_CHECK_ARGUMENT(values != NULL, "%s: values is NULL", tensor->name);
    LR_CHECK_ARGUMENT(count == needed, "%s: %zu values were given room for, it has %zu", tensor->name, count, needed);
    return LORA_OK;
}

lora_status lora_adapter_tensor_shape(const lora_adapter *adapter, size_t index, int64_t *rows, int64_t *cols)
{
    const lr_adapter_tensor *tensor = NULL;
    LR_TRY(find_tensor(adapter, index, &tensor));
    LR_CHECK_ARGUMENT(rows && cols, "%s: rows or cols is NULL", __func__);
    *rows = tensor->value.rows;
    *cols = tensor->value.cols;
    return LORA_OK;
}

lora_status lora_adapter_tensor_read(const lora_adapter *adapter, size_t index, float *values, size_t count)
{
    const lr_adapter_tensor *tensor = NULL;
    LR_TRY(find_tensor(adapter, index, &tensor));
    LR_TRY(check_count(tensor, values, count));
    return lr_view_read(adapter->model->context, tensor->value, values);
}

lora_status lora_adapter_tensor_write(lora_adapter *adapter, size_t index, const float *values, size_t count)
{
    const lr_adapter_tensor *tensor = NULL;
    LR_TRY(find_tensor(adapter, index, &tensor));
    LR_TRY(check_count(tensor, values, count));
    if (atomic_load(&adapter->trainers))
        return lr_fail(LORA_ERROR_STATE, "%s: a trainer holds this adapter; free the trainer first", tensor->name);
    return lr_view_write(adapter->model->context, tensor->value, values);
}
