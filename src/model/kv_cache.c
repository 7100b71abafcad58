// Keys and values of the tokens that a session has run, in pages that caches hold together.
#include "pass.h"

#include "lib/tensor_file.h"

struct lr_kv_page {
    atomic_int references; // caches that hold it
    lora_buffer *buffer;
};

static int64_t pages_of(int64_t tokens)
{
    return tokens / LORA_PAGE_KEYS + (tokens % LORA_PAGE_KEYS > 0);
}

// False when the whole does not fit 64 bits.
static bool cache_size(const lora_model *model, lora_type type, int64_t capacity, uint64_t *page_bytes,
                       uint64_t *bytes)
{
    const uint64_t row =
        (uint64_t)(model->stack.kv_heads * model->stack.head_dim) * (uint64_t)lr_type_block_bytes(type);
    return capacity > 0 && lr_multiply(LORA_PAGE_KEYS * row, 2 * (uint64_t)model->stack.layers, page_bytes) &&
           lr_multiply((uint64_t)pages_of(capacity), *page_bytes, bytes);
}

uint64_t lr_kv_cache_bytes(const lora_model *model, lora_type type, int64_t capacity)
{
    uint64_t page_bytes, bytes;
    return cache_size(model, type, capacity, &page_bytes, &bytes) ? bytes : 0;
}

// ---- pages ---------------------------------------------------------------------------------------------------------

static void release_page(lora_context *context, lr_kv_page *page)
{
    if (!page || atomic_fetch_sub(&page->references, 1) != 1) return;
    context->backend->buffer_free(context->device, page->buffer);
    lr_free(&context->allocator, page);
}

static bool is_shared(const lr_kv_page *page)
{
    return page && atomic_load(&page->references) > 1;
}

static void place_page(lr_kv_cache *cache, int64_t index, lr_kv_page *page)
{
    release_page(cache->context, cache->pages[index]);
    cache->pages[index] = page;
    cache->buffers[index] = page->buffer;
}

static void share_page(lr_kv_cache *cache, int64_t index, lr_kv_page *page)
{
    atomic_fetch_add(&page->references, 1);
    place_page(cache, index, page);
}

// Rows [0, rows) of page `from`, for all blocks and kinds.
static lora_status copy_rows(const lr_kv_cache *cache, lora_buffer *to, lora_buffer *from, int64_t rows)
{
    lora_context *context = cache->context;
    for (int64_t i = 0; i < 2 * cache->layers; i++) {
        lora_view target = lr_view_rows(i % 2 ? cache->values[i / 2] : cache->keys[i / 2], 0, rows), source = target;
        target.buffer = to;
        source.buffer = from;
        LR_TRY(context->backend->convert(context->device, target, source));
    }
    return LORA_OK;
}

// A page of the cache's own, whose first rows are those of `from`.
static lora_status make_page(lr_kv_cache *cache, int64_t index, const lr_kv_page *from, int64_t rows)
{
    lora_context *context = cache->context;
    lr_kv_page *page = lr_alloc_zeroed(&context->allocator, 1, sizeof *page);
    if (!page) return LORA_ERROR_MEMORY;
    atomic_init(&page->references, 1);
    lora_status status = context->backend->buffer_create(context->device, cache->page_bytes, &page->buffer);
    if (status != LORA_OK) {
        lr_free(&context->allocator, page);
        return status;
    }
    if (rows > 0) status = copy_rows(cache, page->buffer, from->buffer, rows);
    if (status == LORA_OK) place_page(cache, index, page);
    else release_page(context, page);
    return status;
}

// ---- caches --------------------------------------------------------------------------------------------------------

static lora_status make_cache(lora_context *context, int64_t layers, int64_t capacity, uint64_t page_bytes,
                              lr_kv_cache **out)
{
    const lora_allocator *allocator = &context->allocator;
    lr_kv_cache *cache = lr_alloc_zeroed(allocator, 1, sizeof *cache);
    if (!cache) return LORA_ERROR_MEMORY;
    cache->context = lr_context_retain(context);
    cache->layers = layers;
    cache->capacity = capacity;
    cache->page_count = pages_of(capacity);
    cache->page_bytes = page_bytes;
    cache->keys = lr_alloc_zeroed(allocator, (size_t)layers, sizeof *cache->keys);
    cache->values = lr_alloc_zeroed(allocator, (size_t)layers, sizeof *cache->values);
    cache->buffers = lr_alloc_zeroed(allocator, (size_t)cache->page_count, sizeof(lora_buffer *));
    cache->pages = lr_alloc_zeroed(allocator, (size_t)cache->page_count, sizeof(lr_kv_page *));
    *out = cache;
    return cache->keys && cache->values && cache->buffers && cache->pages ? LORA_OK : LORA_ERROR_MEMORY;
}

static void place_views(lr_kv_cache *cache, lora_type type, int64_t cols)
{
    const uint64_t view_bytes = cache->page_bytes / (2 * (uint64_t)cache->layers);
    for (int64_t layer = 0; layer < cache->layers; layer++) {
        const lora_view view = {.rows = LORA_PAGE_KEYS, .cols = cols, .stride = cols, .type = type};
        cache->keys[layer] = cache->values[layer] = view;
        cache->keys[layer].offset = 2 * (uint64_t)layer * view_bytes;
        cache->values[layer].offset = (2 * (uint64_t)layer + 1) * view_bytes;
    }
}

static lora_status make_pages(lr_kv_cache *cache, int64_t first)
{
    for (int64_t i = first; i < cache->page_count; i++) LR_TRY(make_page(cache, i, NULL, 0));
    return LORA_OK;
}

lora_status lr_kv_cache_create(const lora_model *model, lora_type type, int64_t capacity, lr_kv_cache **out)
{
    uint64_t page_bytes, bytes;
    if (!cache_size(model, type, capacity, &page_bytes, &bytes))
        return lr_fail(LORA_ERROR_ARGUMENT, "a cache of %lld tokens is not possible", (long long)capacity);
    lr_kv_cache *cache = NULL;
    lora_status status = make_cache(model->context, model->stack.layers, capacity, page_bytes, &cache);
    if (status == LORA_OK) {
        place_views(cache, type, model->stack.kv_heads * model->stack.head_dim);
        status = make_pages(cache, 0);
    }
    if (status == LORA_OK) *out = cache;
    else lr_kv_cache_free(cache);
    return status;
}

static lora_status begin_alike(lr_kv_cache *cache, const lr_kv_cache *from, int64_t length)
{
    const int64_t whole = length / LORA_PAGE_KEYS, rest = length % LORA_PAGE_KEYS;
    for (int64_t i = 0; i < cache->layers; i++) cache->keys[i] = from->keys[i], cache->values[i] = from->values[i];
    for (int64_t i = 0; i < whole; i++) share_page(cache, i, from->pages[i]);
    if (rest) LR_TRY(make_page(cache, whole, from->pages[whole], rest));
    cache->length = length;
    return make_pages(cache, whole + (rest > 0));
}

lora_status lr_kv_cache_fork(const lr_kv_cache *from, int64_t length, int64_t capacity, lr_kv_cache **out)
{
    lr_kv_cache *cache = NULL;
    lora_status status = make_cache(from->context, from->layers, capacity, from->page_bytes, &cache);
    if (status == LORA_OK) status = begin_alike(cache, from, length);
    if (status == LORA_OK) *out = cache;
    else lr_kv_cache_free(cache);
    return status;
}

lora_status lr_kv_cache_make_writable(lr_kv_cache *cache, int64_t count)
{
    for (int64_t at = cache->length, end = at + count; at < end; at += LORA_PAGE_KEYS - at % LORA_PAGE_KEYS) {
        const int64_t index = at / LORA_PAGE_KEYS;
        if (is_shared(cache->pages[index]))
            LR_TRY(make_page(cache, index, cache->pages[index], at % LORA_PAGE_KEYS));
    }
    return LORA_OK;
}

uint64_t lr_kv_cache_shared_bytes(const lr_kv_cache *cache)
{
    uint64_t bytes = 0;
    for (int64_t i = 0; i < cache->page_count; i++) bytes += is_shared(cache->pages[i]) ? cache->page_bytes : 0;
    return bytes;
}

void lr_kv_cache_free(lr_kv_cache *cache)
{
    if (!cache) return;
    lora_context *context = cache->context;
    for (int64_t i = 0; cache->pages && i < cache->page_count; i++) release_page(context, cache->pages[i]);
    lr_free(&context->allocator, cache->keys);
    lr_free(&context->allocator, cache->values);
    lr_free(&context->allocator, cache->buffers);
    lr_free(&context->allocator, cache->pages);
    lr_free(&context->allocator, cache);
    lr_context_release(context);
}
