// What a pass is given: for every tensor the model's own view or a replacement, and for every module its low-rank
// pairs. The binding keeps its model and adapters alive.
#include "adapter.h"

#include <math.h>

typedef struct lr_owned_binding {
    lr_binding binding; // first: what the outside sees
    atomic_int references;
    lora_model *model;
    lora_adapter_use *uses; // their adapters retained
    size_t use_count;
    const lora_adapter *replacing; // the one that holds whole tensors, or NULL
} lr_owned_binding;

lr_binding *lr_binding_retain(lr_binding *binding)
{
    atomic_fetch_add(&((lr_owned_binding *)binding)->references, 1);
    return binding;
}

void lr_binding_free(lr_binding *binding)
{
    if (!binding) return;
    lr_owned_binding *owned = (lr_owned_binding *)binding;
    if (atomic_fetch_sub(&owned->references, 1) != 1) return;
    const lora_allocator *allocator = &owned->model->context->allocator;
    lora_model *model = owned->model;
    for (size_t i = 0; i < owned->use_count; i++) lr_adapter_release((lora_adapter *)owned->uses[i].adapter);
    lr_free(allocator, owned->uses);
    lr_free(allocator, binding->values);
    lr_free(allocator, binding->gradients);
    lr_free(allocator, binding->pairs);
    lr_free(allocator, binding->pair_begin);
    lr_free(allocator, owned);
    lr_model_release(model);
}

// A binding of the bare model with room for `pairs` pairs.
static lora_status create(const lora_model *model, const lora_adapter_use *uses, size_t count, lr_owned_binding **out)
{
    const lora_allocator *allocator = &model->context->allocator;
    size_t pairs = 0;
    for (size_t i = 0; i < count; i++) pairs += uses[i].adapter->pair_count;
    lr_owned_binding *owned = lr_alloc_zeroed(allocator, 1, sizeof *owned);
    if (!owned) return LORA_ERROR_MEMORY;
    lr_binding *binding = &owned->binding;
    atomic_init(&owned->references, 1);
    owned->model = lr_model_retain((lora_model *)model);
    binding->model = model;
    owned->uses = lr_alloc_zeroed(allocator, count, sizeof *owned->uses);
    binding->values = lr_alloc_zeroed(allocator, model->tensor_count, sizeof *binding->values);
    binding->gradients = lr_alloc_zeroed(allocator, model->tensor_count, sizeof *binding->gradients);
    binding->pairs = lr_alloc_zeroed(allocator, pairs, sizeof *binding->pairs);
    binding->pair_begin = lr_alloc_zeroed(allocator, model->module_count + 1, sizeof *binding->pair_begin);
    if (!owned->uses || !binding->values || !binding->gradients || !binding->pairs || !binding->pair_begin) {
        lr_binding_free(binding);
        return LORA_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        lr_adapter_retain((lora_adapter *)uses[i].adapter);
        owned->uses[i] = uses[i];
    }
    owned->use_count = count;
    for (size_t i = 0; i < model->tensor_count; i++) binding->values[i] = model->tensors[i].view;
    binding->first_trained_layer = (int32_t)model->stack.layers;
    *out = owned;
    return LORA_OK;
}

static void replace_values(lr_binding *binding, const lora_adapter *adapter)
{
    for (size_t i = 0; i < adapter->tensor_count; i++)
        if (adapter->tensors[i].tensor >= 0) binding->values[adapter->tensors[i].tensor] = adapter->tensors[i].value;
}

static lora_pair make_pair(const lora_adapter *adapter, const lr_adapter_pair *pair, float weight)
{
    return (lora_pair){
        .a = adapter->tensors[pair->a].value,
        .b = adapter->tensors[pair->b].value,
        .scale = pair->scale * weight,
        .dropout = {.p = adapter->dropout, .stream = (uint32_t)pair->module},
    };
}

// Pairs of all uses, module by module; within a module in the order of the uses.
static void place_pairs(lr_binding *binding, const lora_adapter_use *uses, size_t count)
{
    int32_t placed = 0;
    for (size_t m = 0; m < binding->model->module_count; m++) {
        int64_t ranks = 0;
        binding->pair_begin[m] = placed;
        for (size_t u = 0; u < count; u++) {
            const lora_adapter *adapter = uses[u].adapter;
            for (size_t i = 0; i < adapter->pair_count; i++) {
                if (adapter->pairs[i].module != (int32_t)m) continue;
                binding->pairs[placed++] = make_pair(adapter, &adapter->pairs[i], uses[u].weight);
                ranks += adapter->pairs[i].rank;
            }
        }
        const int32_t here = placed - binding->pair_begin[m];
        if (here > binding->max_pairs) binding->max_pairs = here;
        if (ranks > binding->max_rank) binding->max_rank = ranks;
    }
    binding->pair_begin[binding->model->module_count] = placed;
}

static bool has_replacements(const lora_adapter *adapter)
{
    for (size_t i = 0; i < adapter->tensor_count; i++)
        if (adapter->tensors[i].tensor >= 0) return true;
    return false;
}

static lora_status check_uses(const lora_model *model, const lora_adapter_use *uses, size_t count)
{
    const lora_adapter *replacing = NULL;
    for (size_t i = 0; i < count; i++) {
        const lora_adapter *adapter = uses[i].adapter;
        if (!adapter) return lr_fail(LORA_ERROR_ARGUMENT, "adapter %zu of %zu is NULL", i + 1, count);
        if (!isfinite(uses[i].weight))
            return lr_fail(LORA_ERROR_ARGUMENT, "adapter %zu of %zu has a weight that is not finite", i + 1, count);
        if (adapter->model != model)
            return lr_fail(LORA_ERROR_MISMATCH,
                           "adapter %zu of %zu was loaded for another model handle (%s); load it for this "
                           "model (%s)",
                           i + 1, count, adapter->model->path ? adapter->model->path : "no path",
                           model->path ? model->path : "no path");
        if (!has_replacements(adapter)) continue;
        if (uses[i].weight != 1)
            return lr_fail(LORA_ERROR_UNSUPPORTED,
                           "adapter %zu of %zu replaces whole tensors (biases or modules_to_save): it can "
                           "be used with weight 1 only, not %g",
                           i + 1, count, (double)uses[i].weight);
        if (replacing && replacing != adapter)
            return lr_fail(LORA_ERROR_UNSUPPORTED,
                           "two adapters replace whole tensors (biases or modules_to_save); use one of "
                           "them at a time");
        replacing = adapter;
    }
    return LORA_OK;
}

lora_status lr_binding_create(const lora_model *model, const lora_adapter_use *uses, size_t count, lr_binding **out)
{
    lr_owned_binding *owned;
    LR_TRY(check_uses(model, uses, count));
    LR_TRY(create(model, uses, count, &owned));
    for (size_t i = 0; i < count; i++) {
        replace_values(&owned->binding, uses[i].adapter);
        if (has_replacements(uses[i].adapter)) owned->replacing = uses[i].adapter;
    }
    place_pairs(&owned->binding, uses, count);
    *out = &owned->binding;
    return LORA_OK;
}

const lora_adapter *lr_binding_replacing(const lr_binding *binding)
{
    return ((const lr_owned_binding *)binding)->replacing;
}

bool lr_binding_is_same(const lr_binding *a, const lr_binding *b)
{
    const lr_owned_binding *x = (const lr_owned_binding *)a, *y = (const lr_owned_binding *)b;
    if (x->model != y->model || x->use_count != y->use_count) return false;
    for (size_t i = 0; i < x->use_count; i++)
        if (x->uses[i].adapter != y->uses[i].adapter || x->uses[i].weight != y->uses[i].weight) return false;
    return true;
}

// ---- training -------------------------------------------------------------------------------------------------------

// The layer below which nothing needs a backward when `module` is trained.
static int32_t layer_of(const lora_model *model, const lr_module *module)
{
    if (module->layer >= 0) return module->layer;
    return module->slot == LR_SLOT_EMBED ? -1 : (int32_t)model->stack.layers;
}

static void lower_first_layer(lr_binding *binding, const lr_module *module)
{
    int32_t layer = layer_of(binding->model, module);
    if (layer < binding->first_trained_layer) binding->first_trained_layer = layer;
}

// Trained pairs lie in the binding as in the adapter: both are in module order.
static void set_gradients(lr_binding *binding, const lora_adapter *adapter, const lora_view *gradients)
{
    const lora_model *model = binding->model;
    for (size_t i = 0; i < adapter->pair_count; i++) {
        binding->pairs[i].grad_a = gradients[adapter->pairs[i].a];
        binding->pairs[i].grad_b = gradients[adapter->pairs[i].b];
        lower_first_layer(binding, &model->modules[adapter->pairs[i].module]);
        binding->trains_pairs = true;
    }
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        int32_t tensor = adapter->tensors[i].tensor;
        if (tensor < 0) continue;
        binding->gradients[tensor] = gradients[i];
        binding->trains_tensors = true;
        for (size_t m = 0; m < model->module_count; m++)
            if (model->modules[m].weight == tensor || model->modules[m].bias == tensor)
                lower_first_layer(binding, &model->modules[m]);
    }
}

static bool has_plain_head(const lr_binding *binding)
{
    const lr_module *head = lr_model_module(binding->model, -1, LR_SLOT_HEAD);
    const int32_t *pairs = binding->pair_begin + (head - binding->model->modules);
    return pairs[0] == pairs[1] && !lr_view_present(binding->gradients[head->weight]);
}

lora_status lr_binding_create_training(lora_adapter *adapter, const lora_view *gradients, lr_binding **out)
{
    lr_owned_binding *owned;
    lora_adapter_use use = {.adapter = adapter, .weight = 1};
    LR_TRY(create(adapter->model, &use, 1, &owned));
    replace_values(&owned->binding, adapter);
    place_pairs(&owned->binding, &use, 1);
    if (gradients) set_gradients(&owned->binding, adapter, gradients);
    owned->binding.plain_head = has_plain_head(&owned->binding);
    *out = &owned->binding;
    return LORA_OK;
}
