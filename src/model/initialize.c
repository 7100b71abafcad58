// A model without weights of its own yet: matrices from N(0, initializer_range^2), norms one, biases zero.
#include "source.h"

#include "lib/random.h"

#define PIECE 65536

static lora_status fill_normal(const lora_model *model, const lr_tensor *tensor, uint64_t seed, uint32_t stream,
                               float *values)
{
    const lora_context *context = model->context;
    const float deviation = (float)model->stack.initializer_range;
    const uint64_t count = (uint64_t)(tensor->view.rows * tensor->view.cols);
    for (uint64_t begin = 0; begin < count; begin += PIECE) {
        const uint64_t length = count - begin < PIECE ? count - begin : PIECE;
        for (uint64_t i = 0; i < length; i++) values[i] = deviation * lr_random_normal(seed, stream, begin + i);
        LR_TRY(context->backend->buffer_write(context->device, tensor->view.buffer, begin * sizeof(float), values,
                                              length * sizeof(float)));
    }
    return LORA_OK;
}

static lora_status fill_tensors(lora_model *model, uint64_t seed, float *values)
{
    const lora_context *context = model->context;
    for (size_t i = 0; i < model->tensor_count; i++) {
        lr_tensor *tensor = &model->tensors[i];
        LR_TRY(lr_tensor_create(model, tensor, LORA_TYPE_F32, tensor->view.rows, tensor->view.cols));
        atomic_store(&tensor->finite, 1);
        if (tensor->dimensions == 2) LR_TRY(fill_normal(model, tensor, seed, (uint32_t)i, values));
    }
    for (size_t i = 0; i < model->module_count; i++) {
        const lr_tensor *weight = &model->tensors[model->modules[i].weight];
        const float one = 1.0f - model->stack.norm_weight_offset;
        if (weight->dimensions == 1) LR_TRY(context->backend->fill(context->device, weight->view, one));
    }
    return context->backend->synchronize(context->device);
}

lora_status lr_model_initialize(lora_model *model, uint64_t seed)
{
    const lora_allocator *allocator = &model->context->allocator;
    float *values = lr_alloc_array(allocator, PIECE, sizeof *values);
    if (!values) return LORA_ERROR_MEMORY;
    lora_status status = lr_model_add_shard(model, "model.safetensors");
    if (status == LORA_OK) status = fill_tensors(model, seed, values);
    lr_free(allocator, values);
    return status;
}
