// Builds the one flat list of trained tensors, module by module: A and B, then the module's whole weight and its bias
// where they are trained.
#include "build.h"

#include "match.h"
#include "method.h"
#include "peft_format.h"

#include <string.h>

typedef struct lr_builder {
    lora_adapter *adapter;
    const lora_model *model;
    const lora_allocator *allocator;
    lr_match *matches;  // [module_count]
    bool *replaced;     // [tensor_count]
} lr_builder;

static bool is_norm(const lr_module *module)
{
    return module->slot != LR_SLOT_EMBED && !lr_slot_is_linear(module->slot);
}

// Takes `name`.
static lora_status add_tensor(lr_builder *builder, char *name, lr_adapter_tensor tensor, int64_t rows, int64_t cols)
{
    if (!name) return LORA_ERROR_MEMORY;
    lora_adapter *adapter = builder->adapter;
    lr_adapter_tensor *added = &adapter->tensors[adapter->tensor_count];
    *added = tensor;
    added->name = name;
    adapter->tensor_count++; // from here on the adapter frees it
    return lr_create_view(builder->model->context, rows, cols, &added->value);
}

static lora_status add_pair(lr_builder *builder, int32_t module_index)
{
    lora_adapter *adapter = builder->adapter;
    const lr_adapter_config *config = adapter->config;
    const lr_module *module = &builder->model->modules[module_index];
    const lr_match *match = &builder->matches[module_index];
    lr_shape a = config->method->shape_a(module, match->rank), b = config->method->shape_b(module, match->rank);
    adapter->pairs[adapter->pair_count++] = (lr_adapter_pair){
        .module = module_index,
        .a = (int32_t)adapter->tensor_count,
        .b = (int32_t)adapter->tensor_count + 1,
        .rank = match->rank,
        .alpha = match->alpha,
        .scale = config->method->scale(config, match->rank, match->alpha),
    };
    lr_adapter_tensor tensor = {.dimensions = 2, .module = module_index, .tensor = -1, .is_a = true, .decay = true};
    LR_TRY(add_tensor(builder, lr_peft_pair_name(builder->allocator, module->name, true), tensor, a.rows, a.cols));
    tensor.is_a = false;
    return add_tensor(builder, lr_peft_pair_name(builder->allocator, module->name, false), tensor, b.rows, b.cols);
}

// A trained copy of one of the model's tensors. Takes `name`.
static lora_status add_replacement(lr_builder *builder, char *name, int32_t index, bool decay)
{
    const lr_tensor *source = &builder->model->tensors[index];
    lora_context *context = builder->model->context;
    lr_adapter_tensor tensor = {.dimensions = source->dimensions, .module = -1, .tensor = index, .decay = decay};
    builder->replaced[index] = true;
    LR_TRY(add_tensor(builder, name, tensor, source->view.rows, source->view.cols));
    LR_TRY(lr_model_check_finite(builder->model, (size_t)index));
    lora_view copy = builder->adapter->tensors[builder->adapter->tensor_count - 1].value;
    return context->backend->convert(context->device, copy, source->view);
}

static lora_status add_module(lr_builder *builder, int32_t index)
{
    const lr_adapter_config *config = builder->adapter->config;
    const lr_module *module = &builder->model->modules[index];
    const lr_match *match = &builder->matches[index];
    const lr_tensor *tensors = builder->model->tensors;
    bool whole = config->full || match->saved;
    bool with_bias = whole || config->bias == LORA_BIAS_ALL || (config->bias == LORA_BIAS_LORA_ONLY && match->adapted);
    if (match->adapted) LR_TRY(add_pair(builder, index));
    if (whole && !builder->replaced[module->weight]) {
        char *name = lr_peft_whole_name(builder->allocator, tensors[module->weight].name, config->full);
        LR_TRY(add_replacement(builder, name, module->weight, !is_norm(module)));
    }
    if (with_bias && module->bias >= 0 && !builder->replaced[module->bias]) {
        char *name = whole ? lr_peft_whole_name(builder->allocator, tensors[module->bias].name, config->full)
                           : lr_peft_bias_name(builder->allocator, module->name, match->adapted);
        LR_TRY(add_replacement(builder, name, module->bias, false));
    }
    return LORA_OK;
}

// In a model with a tied head, replacing the embedding replaces the head. PEFT says that with the embedding in
// modules_to_save and ensure_weight_tying.
static lora_status settle_tied_head(lr_builder *builder, bool strict)
{
    const lora_model *model = builder->model;
    lr_adapter_config *config = builder->adapter->config;
    if (config->full || !model->stack.tied) return LORA_OK;
    const lr_module *embedding = lr_model_module(model, -1, LR_SLOT_EMBED),
                    *head = lr_model_module(model, -1, LR_SLOT_HEAD);
    bool saved = (embedding && builder->matches[embedding - model->modules].saved) ||
                 (head && builder->matches[head - model->modules].saved);
    if (!saved || config->tie_weights) return LORA_OK;
    if (!strict)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "modules_to_save replaces the embedding or the head alone, but this base ties "
                       "them; train the adapter with ensure_weight_tying");
    config->tie_weights = true;
    const char **names = lr_alloc_array(builder->allocator, config->modules_to_save.count + 1, sizeof *names);
    if (!names) return LORA_ERROR_MEMORY;
    size_t count = 0;
    names[count++] = embedding->name;
    for (size_t i = 0; i < config->modules_to_save.count; i++) {
        const char *entry = config->modules_to_save.items[i];
        if (!lr_match_saves(embedding->name, entry) && !(head && lr_match_saves(head->name, entry)))
            names[count++] = entry;
    }
    lora_status status = lr_texts_set(builder->allocator, &config->modules_to_save, names, count);
    lr_free(builder->allocator, names);
    return status;
}

static lora_status build(lr_builder *builder, bool strict)
{
    lora_adapter *adapter = builder->adapter;
    const lora_model *model = builder->model;
    lr_adapter_config *config = adapter->config;
    builder->matches = lr_alloc_zeroed(builder->allocator, model->module_count, sizeof *builder->matches);
    builder->replaced = lr_alloc_zeroed(builder->allocator, model->tensor_count, sizeof *builder->replaced);
    adapter->pairs = lr_alloc_zeroed(builder->allocator, model->module_count, sizeof *adapter->pairs);
    adapter->tensors = lr_alloc_zeroed(builder->allocator, 2 * model->module_count + model->tensor_count,
                                       sizeof *adapter->tensors);
    if (!builder->matches || !builder->replaced || !adapter->pairs || !adapter->tensors) return LORA_ERROR_MEMORY;
    if (!config->full) {
        LR_TRY(lr_match_modules(model, config, strict, builder->matches));
        if (config->all_linear) LR_TRY(lr_match_name_targets(model, builder->matches, config));
        LR_TRY(settle_tied_head(builder, strict));
        adapter->dropout = config->dropout;
    }
    for (size_t m = 0; m < model->module_count; m++) LR_TRY(add_module(builder, (int32_t)m));
    return model->context->backend->synchronize(model->context->device);
}

lora_status lr_adapter_build(const lora_model *model, lr_adapter_config *config, bool strict, lora_adapter **out)
{
    const lora_allocator *allocator = &model->context->allocator;
    lora_adapter *adapter = lr_alloc_zeroed(allocator, 1, sizeof *adapter);
    if (!adapter) {
        lr_config_free(config);
        return LORA_ERROR_MEMORY;
    }
    adapter->references = 1;
    adapter->model = lr_model_retain((lora_model *)model);
    adapter->config = config;
    lr_builder builder = {.adapter = adapter, .model = model, .allocator = allocator};
    lora_status status = build(&builder, strict);
    lr_free(allocator, builder.matches);
    lr_free(allocator, builder.replaced);
    if (status == LORA_OK) *out = adapter;
    else lr_adapter_release(adapter);
    return status;
}
