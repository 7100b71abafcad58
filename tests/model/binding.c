#include "binding.h"

#include <string.h>

static lora_status create_arrays(const lora_model *model, size_t pairs, test_binding *out)
{
    const lora_allocator *allocator = &model->context->allocator;
    lr_binding *binding = &out->binding;
    binding->values = lr_alloc_zeroed(allocator, model->tensor_count, sizeof *binding->values);
    binding->gradients = lr_alloc_zeroed(allocator, model->tensor_count, sizeof *binding->gradients);
    binding->pairs = lr_alloc_zeroed(allocator, pairs ? pairs : 1, sizeof *binding->pairs);
    binding->pair_begin = lr_alloc_zeroed(allocator, model->module_count + 1, sizeof *binding->pair_begin);
    return binding->values && binding->gradients && binding->pairs && binding->pair_begin ? LORA_OK : LORA_ERROR_MEMORY;
}

static lora_status add_pair(const lora_model *model, const test_pair *from, const lr_module *module, lora_pair *pair)
{
    lora_context *context = model->context;
    pair->scale = from->scale;
    pair->dropout = (lora_dropout){.p = from->dropout, .stream = (uint32_t)(module - model->modules)};
    LR_TRY(lr_create_view(context, from->rank, module->in_features, &pair->a));
    LR_TRY(lr_create_view(context, module->out_features, from->rank, &pair->b));
    LR_TRY(lr_create_view(context, from->rank, module->in_features, &pair->grad_a));
    LR_TRY(lr_create_view(context, module->out_features, from->rank, &pair->grad_b));
    LR_TRY(lr_view_write(context, pair->a, from->a));
    return lr_view_write(context, pair->b, from->b);
}

static lora_status add_pairs(const lora_model *model, const test_pair *pairs, size_t count, test_binding *out)
{
    lr_binding *binding = &out->binding;
    for (size_t m = 0; m < model->module_count; m++) {
        const lr_module *module = &model->modules[m];
        int64_t rank = 0;
        binding->pair_begin[m] = (int32_t)out->pair_count;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(pairs[i].module, module->name) != 0) continue;
            if (module->slot == LR_SLOT_HEAD) binding->plain_head = false;
            LR_TRY(add_pair(model, &pairs[i], module, &binding->pairs[out->pair_count++]));
            rank += pairs[i].rank;
            if (module->layer >= 0 && module->layer < binding->first_trained_layer)
                binding->first_trained_layer = module->layer;
        }
        if (rank > binding->max_rank) binding->max_rank = rank;
    }
    binding->pair_begin[model->module_count] = (int32_t)out->pair_count;
    return LORA_OK;
}

lora_status test_binding_create(const lora_model *model, const test_pair *pairs, size_t count, bool full,
                                test_binding *out)
{
    *out = (test_binding){.context = model->context, .tensor_count = model->tensor_count};
    lr_binding *binding = &out->binding;
    binding->model = model;
    binding->trains_pairs = count > 0;
    binding->trains_tensors = full;
    binding->plain_head = !full;
    binding->first_trained_layer = full ? -1 : (int32_t)model->stack.layers;
    LR_TRY(create_arrays(model, count, out));
    for (size_t i = 0; i < model->tensor_count; i++) {
        binding->values[i] = model->tensors[i].view;
        if (full)
            LR_TRY(lr_create_view(model->context, binding->values[i].rows, binding->values[i].cols,
                                  &binding->gradients[i]));
    }
    return add_pairs(model, pairs, count, out);
}

void test_binding_free(test_binding *out)
{
    const lora_allocator *allocator = &out->context->allocator;
    lr_binding *binding = &out->binding;
    for (size_t i = 0; binding->gradients && i < out->tensor_count; i++)
        lr_free_view(out->context, &binding->gradients[i]);
    for (size_t i = 0; binding->pairs && i < out->pair_count; i++) {
        lr_free_view(out->context, &binding->pairs[i].a);
        lr_free_view(out->context, &binding->pairs[i].b);
        lr_free_view(out->context, &binding->pairs[i].grad_a);
        lr_free_view(out->context, &binding->pairs[i].grad_b);
    }
    lr_free(allocator, binding->values);
    lr_free(allocator, binding->gradients);
    lr_free(allocator, binding->pairs);
    lr_free(allocator, binding->pair_begin);
}
