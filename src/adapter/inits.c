#include "inits.h"

#include "lib/random.h"

#include <string.h>

typedef struct lr_init {
    const char *name;
    // Element `index` of A [rank, inputs].
    float (*draw)(uint64_t seed, uint32_t stream, uint64_t index, int64_t rank, int64_t inputs);
} lr_init;

// U(-1/sqrt(in), 1/sqrt(in)): kaiming_uniform with a = sqrt(5).
static float draw_uniform(uint64_t seed, uint32_t stream, uint64_t index, int64_t rank, int64_t inputs)
{
    return (2 * lr_random_uniform(seed, stream, index) - 1) / sqrtf((float)inputs);
}

// N(0, 1/r^2).
static float draw_gaussian(uint64_t seed, uint32_t stream, uint64_t index, int64_t rank, int64_t inputs)
{
    return lr_random_normal(seed, stream, index) / (float)rank;
}

static const lr_init inits[] = {{"true", draw_uniform}, {"gaussian", draw_gaussian}};

static const lr_init *find(const char *name)
{
    for (size_t i = 0; i < sizeof inits / sizeof *inits; i++)
        if (strcmp(inits[i].name, name) == 0) return &inits[i];
    return NULL;
}

// UNSUPPORTED, listing the known names.
static lora_status check_name(const char *name)
{
    if (find(name)) return LORA_OK;
    return lr_fail(LORA_ERROR_UNSUPPORTED, "init_lora_weights is '%s'; known so far are 'true' and 'gaussian'", name);
}

lora_status lr_init_pairs(lora_adapter *adapter, const char *name, uint64_t seed)
{
    LR_TRY(check_name(name));
    const lr_init *init = find(name);
    lora_context *context = adapter->model->context;
    for (size_t i = 0; i < adapter->pair_count; i++) {
        const lr_adapter_pair *pair = &adapter->pairs[i];
        lora_view a = adapter->tensors[pair->a].value;
        uint64_t count = (uint64_t)a.rows * (uint64_t)a.cols;
        float *values = lr_alloc_array(&context->allocator, count, sizeof *values);
        if (!values) return LORA_ERROR_MEMORY;
        for (uint64_t k = 0; k < count; k++) values[k] = init->draw(seed, (uint32_t)pair->module, k, a.rows, a.cols);
        lora_status status = lr_view_write(context, a, values);
        lr_free(&context->allocator, values);
        LR_TRY(status);
    }
    return LORA_OK;
}
