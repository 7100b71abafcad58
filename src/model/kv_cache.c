// Keys and values of the tokens that a session has run: one buffer, a view of [capacity, kv_heads * head_dim] for each
// block and kind.
#include "pass.h"

// Numbers in one view; false when the whole does not fit 64 bits.
static bool cache_size(const lora_model *model, int64_t capacity, uint64_t *view_bytes, uint64_t *bytes)
{
    const uint64_t row = (uint64_t)(model->stack.kv_heads * model->stack.head_dim) * sizeof(float);
    return capacity > 0 && lr_multiply((uint64_t)capacity, row, view_bytes) &&
           lr_multiply(*view_bytes, 2 * (uint64_t)model->stack.layers, bytes);
}

uint64_t lr_kv_cache_bytes(const lora_model *model, int64_t capacity)
{
    uint64_t view_bytes, bytes;
    return cache_size(model, capacity, &view_bytes, &bytes) ? bytes : 0;
}

static void place_views(lr_kv_cache *cache, const lora_model *model, lora_buffer *buffer, uint64_t view_bytes)
{
    const int64_t cols = model->stack.kv_heads * model->stack.head_dim;
    for (int64_t layer = 0; layer < cache->layers; layer++) {
        const lora_view view = {
            .buffer = buffer, .rows = cache->capacity, .cols = cols, .stride = cols, .type = LORA_TYPE_F32};
        cache->keys[layer] = cache->values[layer] = view;
        cache->keys[layer].offset = 2 * (uint64_t)layer * view_bytes;
        cache->values[layer].offset = (2 * (uint64_t)layer + 1) * view_bytes;
    }
}

lora_status lr_kv_cache_create(const lora_model *model, int64_t capacity, lr_kv_cache **out)
{
    lora_context *context = model->context;
    const lora_allocator *allocator = &context->allocator;
    const size_t layers = (size_t)model->stack.layers;
    uint64_t view_bytes, bytes;
    if (!cache_size(model, capacity, &view_bytes, &bytes))
        return lr_fail(LORA_ERROR_ARGUMENT, "a cache of %lld tokens is not possible", (long long)capacity);
    lr_kv_cache *cache = lr_alloc_zeroed(allocator, 1, sizeof *cache);
    if (!cache) return LORA_ERROR_MEMORY;
    cache->context = lr_context_retain(context);
    cache->layers = model->stack.layers;
    cache->capacity = capacity;
    cache->keys = lr_alloc_zeroed(allocator, layers, sizeof *cache->keys);
    cache->values = lr_alloc_zeroed(allocator, layers, sizeof *cache->values);
    lora_buffer *buffer = NULL;
    lora_status status = cache->keys && cache->values ? LORA_OK : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = context->backend->buffer_create(context->device, bytes, &buffer);
    if (status != LORA_OK) {
        lr_kv_cache_free(cache);
        return status;
    }
    place_views(cache, model, buffer, view_bytes);
    *out = cache;
    return LORA_OK;
}

void lr_kv_cache_free(lr_kv_cache *cache)
{
    if (!cache) return;
    lora_context *context = cache->context;
    if (cache->keys && lr_view_present(cache->keys[0]))
        context->backend->buffer_free(context->device, cache->keys[0].buffer);
    lr_free(&context->allocator, cache->keys);
    lr_free(&context->allocator, cache->values);
    lr_free(&context->allocator, cache);
    lr_context_release(context);
}
