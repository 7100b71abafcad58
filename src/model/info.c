// What the public header tells about a model.
#include "model.h"

#include "lib/tensor_file.h"
#include "src/core/validate.h"

void lora_model_free(lora_model *model)
{
    lr_model_release(model);
}

lora_status lora_model_get_info(const lora_model *model, lora_model_info *info)
{
    LR_CHECK_HANDLE(model);
    const lr_stack *stack = &model->stack;
    const lr_module *down = lr_model_module(model, 0, LR_SLOT_DOWN);
    lora_model_info known = {
        .family = stack->family,
        .path = model->path,
        .vocabulary = stack->vocabulary,
        .hidden = stack->hidden,
        .layers = stack->layers,
        .heads = stack->heads,
        .kv_heads = stack->kv_heads,
        .head_dim = stack->head_dim,
        .intermediate = stack->intermediate,
        .context_length = stack->context_length,
        .type = model->tensors[down->weight].view.type,
        .tied = stack->tied,
        .fingerprint = model->fingerprint,
    };
    for (size_t i = 0; i < model->tensor_count; i++) {
        const lora_view *view = &model->tensors[i].view;
        uint64_t bytes;
        known.parameters += view->rows * view->cols;
        if (lr_type_bytes(view->type, view->rows, view->cols, &bytes)) known.bytes += (int64_t)bytes;
        known.bytes += lr_type_scales(view->type, view->rows, view->cols) * (int64_t)sizeof(float);
    }
    return lr_give_info(info, &known, sizeof known, __func__);
}

size_t lora_model_module_count(const lora_model *model)
{
    return model ? model->linear_count : 0;
}

const char *lora_model_module_name(const lora_model *model, size_t index)
{
    return model && index < model->linear_count ? model->modules[model->linear[index]].name : NULL;
}

lora_status lora_model_module_shape(const lora_model *model, size_t index, int64_t *out_features, int64_t *in_features)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(out_features && in_features, "%s: an output is NULL", __func__);
    LR_CHECK_ARGUMENT(index < model->linear_count, "%s: index %zu; the model has %zu linear layers", __func__, index,
                      model->linear_count);
    const lr_module *module = &model->modules[model->linear[index]];
    *out_features = module->out_features;
    *in_features = module->in_features;
    return LORA_OK;
}

size_t lora_model_tensor_count(const lora_model *model)
{
    return model ? model->tensor_count : 0;
}

const char *lora_model_tensor_name(const lora_model *model, size_t index)
{
    return model && index < model->tensor_count ? model->tensors[index].name : NULL;
}

static lora_status check_tensor(const lora_model *model, size_t index, const char *function)
{
    LR_CHECK_ARGUMENT(model, "%s: model is NULL", function);
    LR_CHECK_ARGUMENT(index < model->tensor_count, "%s: index %zu; the model has %zu tensors", function, index,
                      model->tensor_count);
    return LORA_OK;
}

lora_status lora_model_tensor_shape(const lora_model *model, size_t index, int64_t *rows, int64_t *cols)
{
    LR_TRY(check_tensor(model, index, __func__));
    LR_CHECK_ARGUMENT(rows && cols, "%s: an output is NULL", __func__);
    *rows = model->tensors[index].view.rows;
    *cols = model->tensors[index].view.cols;
    return LORA_OK;
}

lora_status lora_model_tensor_read(const lora_model *model, size_t index, float *values, size_t count)
{
    LR_TRY(check_tensor(model, index, __func__));
    const lora_view view = model->tensors[index].view;
    LR_CHECK_ARGUMENT(values, "%s: values is NULL", __func__);
    LR_CHECK_ARGUMENT(count == (size_t)(view.rows * view.cols), "%s: tensor '%s' has %lld x %lld numbers; count is %zu",
                      __func__, model->tensors[index].name, (long long)view.rows, (long long)view.cols, count);
    return lr_view_read(model->context, view, values);
}

const lora_tokenizer *lora_model_tokenizer(const lora_model *model)
{
    return model ? model->tokenizer : NULL;
}
