// What an adapter with given options would train, without making it. The rules are those of src/adapter/build.c and
// binding.c; tests/train/test_plan.c holds the two against each other.
#include "src/adapter/config.h"
#include "src/adapter/match.h"
#include "src/adapter/method.h"
#include "src/train/trainer.h"

typedef struct outline {
    const lora_model *model;
    const lr_adapter_config *config;
    bool *counted; // [tensor_count]
    lr_plan_request *request;
} outline;

// Blocks below the first trained layer need no backward; the embedding is below them all.
static void reach(outline *o, const lr_module *module)
{
    int32_t layer = module->layer >= 0 ? module->layer : (int32_t)o->model->stack.layers;
    if (module->slot == LR_SLOT_EMBED) layer = -1;
    if (layer < o->request->pass.first_trained_layer) o->request->pass.first_trained_layer = layer;
}

static void add_whole(outline *o, const lr_module *module, int32_t tensor)
{
    reach(o, module);
    if (tensor == lr_model_module(o->model, -1, LR_SLOT_HEAD)->weight) o->request->pass.plain_head = false;
    if (tensor < 0 || o->counted[tensor]) return;
    o->counted[tensor] = true;
    o->request->numbers += lr_tensor_set_padded(&o->model->tensors[tensor].view);
    o->request->pass.trains_tensors = true;
}

static void add_pair(outline *o, const lr_module *module, int32_t rank)
{
    lr_shape a = o->config->method->shape_a(module, rank), b = o->config->method->shape_b(module, rank);
    reach(o, module);
    o->request->numbers += lr_tensor_set_padded(&(lora_view){.rows = a.rows, .cols = a.cols});
    o->request->numbers += lr_tensor_set_padded(&(lora_view){.rows = b.rows, .cols = b.cols});
    o->request->pass.trains_pairs = true;
    if (module->slot == LR_SLOT_HEAD) o->request->pass.plain_head = false;
    if (rank > o->request->pass.max_rank) o->request->pass.max_rank = rank;
}

static void add_module(outline *o, const lr_module *module, const lr_match *match)
{
    bool whole = o->config->full || match->saved;
    bool with_bias =
        whole || o->config->bias == LORA_BIAS_ALL || (o->config->bias == LORA_BIAS_LORA_ONLY && match->adapted);
    if (match->adapted) add_pair(o, module, match->rank);
    if (whole) add_whole(o, module, module->weight);
    if (with_bias && module->bias >= 0) add_whole(o, module, module->bias);
}

static lora_status walk(outline *o, lr_match *matches)
{
    if (!o->config->full) LR_TRY(lr_match_modules(o->model, o->config, true, matches));
    for (size_t m = 0; m < o->model->module_count; m++) add_module(o, &o->model->modules[m], &matches[m]);
    return LORA_OK;
}

lora_status lr_plan_outline(const lora_model *model, const lora_adapter_options *options, lr_plan_request *request)
{
    const lora_allocator *allocator = &model->context->allocator;
    request->pass.first_trained_layer = (int32_t)model->stack.layers;
    request->pass.plain_head = true;
    lr_adapter_config *config;
    LR_TRY(lr_config_from_options(allocator, model->path ? model->path : "", options, &config));
    lr_match *matches = lr_alloc_zeroed(allocator, model->module_count, sizeof *matches);
    outline o = {.model = model, .config = config, .request = request,
                 .counted = lr_alloc_zeroed(allocator, model->tensor_count, sizeof(bool))};
    lora_status status = matches && o.counted ? walk(&o, matches) : LORA_ERROR_MEMORY;
    lr_free(allocator, matches);
    lr_free(allocator, o.counted);
    lr_config_free(config);
    return status;
}
