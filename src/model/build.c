// The modules and tensors that a stack calls for, in the order of its slots, with names and shapes but no numbers yet.
#include "source.h"

static bool has_bias(const lr_stack *stack, lr_slot slot)
{
    switch (slot) {
    case LR_SLOT_Q:
    case LR_SLOT_K:
    case LR_SLOT_V: return stack->qkv_bias;
    case LR_SLOT_O: return stack->output_bias;
    case LR_SLOT_GATE:
    case LR_SLOT_UP:
    case LR_SLOT_DOWN: return stack->mlp_bias;
    case LR_SLOT_ATTENTION_NORM:
    case LR_SLOT_MLP_NORM:
    case LR_SLOT_FINAL_NORM: return stack->norm_kind == LORA_NORM_LAYER;
    default: return false;
    }
}

static bool has_slot(const lr_stack *stack, int64_t layer, lr_slot slot)
{
    bool outside = slot == LR_SLOT_EMBED || slot == LR_SLOT_FINAL_NORM || slot == LR_SLOT_HEAD;
    if (outside != (layer < 0)) return false;
    if (slot == LR_SLOT_Q_NORM || slot == LR_SLOT_K_NORM) return stack->qk_norm;
    return slot != LR_SLOT_GATE || stack->gated;
}

// [out, in] of a linear layer or embedding; a norm's weight is [1, out].
static void slot_shape(const lr_stack *stack, lr_slot slot, int64_t *out, int64_t *in)
{
    const int64_t q = stack->heads * stack->head_dim, kv = stack->kv_heads * stack->head_dim;
    switch (slot) {
    case LR_SLOT_EMBED:
    case LR_SLOT_HEAD: *out = stack->vocabulary, *in = stack->hidden; break;
    case LR_SLOT_Q: *out = q, *in = stack->hidden; break;
    case LR_SLOT_K:
    case LR_SLOT_V: *out = kv, *in = stack->hidden; break;
    case LR_SLOT_O: *out = stack->hidden, *in = q; break;
    case LR_SLOT_Q_NORM:
    case LR_SLOT_K_NORM: *out = stack->head_dim, *in = 1; break;
    case LR_SLOT_GATE:
    case LR_SLOT_UP: *out = stack->intermediate, *in = stack->hidden; break;
    case LR_SLOT_DOWN: *out = stack->hidden, *in = stack->intermediate; break;
    default: *out = stack->hidden, *in = 1; break;
    }
}

static lora_status add_tensor(lora_model *model, const lr_module *module, const char *kind, int32_t dimensions,
                              int64_t rows, int64_t cols, int32_t *index)
{
    lr_tensor *tensor = &model->tensors[model->tensor_count];
    tensor->name = lr_format(&model->context->allocator, "%s.%s", module->name, kind);
    if (!tensor->name) return LORA_ERROR_MEMORY;
    tensor->dimensions = dimensions;
    tensor->view = (lora_view){.rows = rows, .cols = cols, .stride = cols};
    *index = (int32_t)model->tensor_count++;
    return LORA_OK;
}

static lora_status add_module(lora_model *model, const lr_family *family, int64_t layer, lr_slot slot)
{
    const lr_stack *stack = &model->stack;
    lr_module *module = &model->modules[model->module_count];
    *module = (lr_module){.layer = (int32_t)layer, .slot = slot, .bias = -1};
    module->name = lr_module_name(&model->context->allocator, family->huggingface, layer, slot);
    if (!module->name) return LORA_ERROR_MEMORY;
    const int32_t number = (int32_t)model->module_count++;
    model->slots[(layer < 0 ? stack->layers : layer) * LR_SLOT_COUNT + slot] = number;

    slot_shape(stack, slot, &module->out_features, &module->in_features);
    const bool matrix = slot == LR_SLOT_EMBED || lr_slot_is_linear(slot);
    const int64_t rows = matrix ? module->out_features : 1, cols = matrix ? module->in_features : module->out_features;
    if (lr_slot_is_linear(slot)) model->linear[model->linear_count++] = number;
    if (slot == LR_SLOT_HEAD && stack->tied)
        module->weight = lr_model_module(model, -1, LR_SLOT_EMBED)->weight;
    else
        LR_TRY(add_tensor(model, module, "weight", matrix ? 2 : 1, rows, cols, &module->weight));
    if (has_bias(stack, slot)) LR_TRY(add_tensor(model, module, "bias", 1, 1, module->out_features, &module->bias));
    return LORA_OK;
}

lora_status lr_model_build(lora_model *model, const lr_family *family)
{
    const lora_allocator *allocator = &model->context->allocator;
    const int64_t layers = model->stack.layers;
    const size_t most = (size_t)(layers + 1) * LR_SLOT_COUNT;
    model->modules = lr_alloc_zeroed(allocator, most, sizeof *model->modules);
    model->tensors = lr_alloc_zeroed(allocator, 2 * most, sizeof *model->tensors);
    model->slots = lr_alloc_array(allocator, most, sizeof *model->slots);
    model->linear = lr_alloc_array(allocator, most, sizeof *model->linear);
    if (!model->modules || !model->tensors || !model->slots || !model->linear) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < most; i++) model->slots[i] = -1;

    LR_TRY(add_module(model, family, -1, LR_SLOT_EMBED));
    for (int64_t layer = 0; layer < layers; layer++)
        for (lr_slot slot = 0; slot < LR_SLOT_COUNT; slot++)
            if (has_slot(&model->stack, layer, slot)) LR_TRY(add_module(model, family, layer, slot));
    LR_TRY(add_module(model, family, -1, LR_SLOT_FINAL_NORM));
    return add_module(model, family, -1, LR_SLOT_HEAD);
}
