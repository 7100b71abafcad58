// From a list of tensors in files to the tensors of a model: names, shapes, storage types, order of rows. What needs no
// change is wrapped where it lies in the mapped file; the rest is copied into a buffer of the model's own.
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lr_source_forget(const lora_model *model, const uint8_t *bytes, uint64_t size)
{
    const struct lr_source *source = model->source;
    if (!source) return;
    for (size_t i = 0; i < source->shard_count; i++) lr_file_forget(&source->shards[i].file, bytes, size);
    lr_file_forget(&source->gguf.file, bytes, size);
    lr_file_forget(&source->file, bytes, size);
}

void lr_source_free(const lora_allocator *allocator, struct lr_source *source)
{
    if (!source) return;
    for (size_t i = 0; i < source->shard_count; i++) lr_safetensors_close(&source->shards[i]);
    lr_free(allocator, source->shards);
    lr_gguf_close(&source->gguf);
    lr_file_close(&source->file);
    lr_free(allocator, source);
}

lora_status lr_find_in_directory(const lora_context *context, const char *directory, const char *name, bool *found)
{
    char *path = lr_path_join(&context->allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    const lora_status status = lr_file_find(&context->files, path, found);
    lr_free(&context->allocator, path);
    return status;
}

// ---- the list ------------------------------------------------------------------------------------------------------

lora_status lr_weights_add(lr_weights *weights, const lr_tensor_entry *entry, const uint8_t *bytes, int32_t shard)
{
    LR_TRY(lr_grow(weights->allocator, (void **)&weights->items, &weights->capacity, weights->count + 1,
                   sizeof(lr_weight)));
    weights->items[weights->count++] = (lr_weight){.name = entry->name, .entry = entry, .bytes = bytes, .shard = shard};
    return LORA_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const lr_weight *)a)->name, ((const lr_weight *)b)->name);
}

lora_status lr_weights_sort(lr_weights *weights, const lora_model *model)
{
    if (weights->count) qsort(weights->items, weights->count, sizeof(lr_weight), compare_names);
    for (size_t i = 1; i < weights->count; i++) {
        const lr_weight *a = &weights->items[i - 1], *b = &weights->items[i];
        if (strcmp(a->name, b->name) == 0)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensor '%s' occurs twice, in %s and in %s", model->path, a->name,
                           model->shards[a->shard], model->shards[b->shard]);
    }
    return LORA_OK;
}

lr_weight *lr_weights_find(const lr_weights *weights, const char *name)
{
    const lr_weight key = {.name = name};
    return weights->count ? bsearch(&key, weights->items, weights->count, sizeof(lr_weight), compare_names) : NULL;
}

void lr_weights_free(lr_weights *weights)
{
    lr_free(weights->allocator, weights->items);
    *weights = (lr_weights){0};
}

// ---- one tensor ----------------------------------------------------------------------------------------------------

// A tensor that is being taken: which of the model's, and where it comes from.
typedef struct taking {
    lora_model *model;
    const lr_weights *weights;
    const lora_model_options *options;
    const lr_module *module;
    lr_tensor *tensor;
    const lr_weight *weight;
    lr_stored stored;
    bool is_bias;
} taking;

static const char *file_of(const taking *take)
{
    return take->model->shards[take->weight->shard];
}

static void describe(const lr_weight *weight, lr_stored *stored)
{
    const lr_tensor_entry *entry = weight->entry;
    *stored = (lr_stored){.type = entry->type, .dimensions = entry->dimensions, .bytes = weight->bytes,
                          .size = entry->size};
    stored->rows = entry->dimensions == 2 ? entry->shape[0] : 1;
    stored->cols = entry->dimensions == 2 ? entry->shape[1] : entry->dimensions == 1 ? entry->shape[0] : -1;
}

static lora_status check_shape(const taking *take)
{
    const lr_tensor_entry *entry = take->weight->entry;
    const lr_stored *stored = &take->stored;
    const lr_tensor *tensor = take->tensor;
    if (stored->dimensions == tensor->dimensions && stored->rows == tensor->view.rows &&
        stored->cols == tensor->view.cols)
        return LORA_OK;

    char found[96] = "";
    int length = 0;
    for (int32_t i = 0; i < entry->dimensions; i++)
        length += snprintf(found + length, sizeof found - (size_t)length, "%s%lld", i ? ", " : "",
                           (long long)entry->shape[i]);
    if (stored->bytes && stored->scales) // the shape that was quantized
        snprintf(found, sizeof found, "%lld, %lld", (long long)stored->rows, (long long)stored->cols);
    if (tensor->dimensions == 1)
        return lr_fail(LORA_ERROR_MISMATCH, "%s: tensor '%s' is [%s]; the model's settings call for [%lld]",
                       file_of(take), entry->name, found, (long long)tensor->view.cols);
    return lr_fail(LORA_ERROR_MISMATCH, "%s: tensor '%s' is [%s]; the model's settings call for [%lld, %lld]",
                   file_of(take), entry->name, found, (long long)tensor->view.rows, (long long)tensor->view.cols);
}

static bool is_norm(const lr_module *module)
{
    return module->slot != LR_SLOT_EMBED && !lr_slot_is_linear(module->slot);
}

static bool fits(lora_type type, int64_t cols)
{
    return cols % lr_type_block(type) == 0;
}

lora_type lr_storage_type(const lr_module *module, lora_type stored, lora_type wanted, int64_t cols)
{
    static const lora_type larger[LORA_TYPE_COUNT] = {
        [LORA_TYPE_Q4_K] = LORA_TYPE_Q5_0, [LORA_TYPE_Q5_K] = LORA_TYPE_Q5_1, [LORA_TYPE_Q6_K] = LORA_TYPE_Q8_0};
    if (wanted == LORA_TYPE_KEEP) return stored;
    if (wanted <= LORA_TYPE_BF16) return wanted;
    if (!lr_slot_is_linear(module->slot) || module->slot == LR_SLOT_HEAD) return stored;
    if (!fits(wanted, cols) && larger[wanted]) wanted = larger[wanted];
    return fits(wanted, cols) ? wanted : stored;
}

// The type that the model will hold the tensor in: biases f32, norms plain, matrices as the options say.
static lora_type wanted_type(const taking *take)
{
    lora_type type = take->stored.type, wanted = take->options->type;
    if (take->is_bias) return LORA_TYPE_F32;
    if (is_norm(take->module)) return wanted == LORA_TYPE_F32 || type > LORA_TYPE_BF16 ? LORA_TYPE_F32 : type;
    return lr_storage_type(take->module, type, wanted, take->stored.cols);
}

static lora_status check_type(const taking *take, lora_type wanted)
{
    const lora_context *context = take->model->context;
    const lr_tensor_entry *entry = take->weight->entry;
    const lora_type stored = take->stored.type;
    if (stored < 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: tensor '%s' is stored as %s, which is not supported; expected f32, f16, bf16, "
                       "bitsandbytes' nf4 or int8, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k or q6_k",
                       file_of(take), entry->name, entry->type_name);
    if (wanted != stored && !context->backend->supports(context->device, LORA_OP_CONVERT, stored))
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' is stored as %s, which the %s backend cannot convert",
                       file_of(take), entry->name, lora_type_name(stored), context->backend->name);
    bool usable = true;
    if (take->module->slot == LR_SLOT_EMBED && !take->is_bias)
        usable = context->backend->supports(context->device, LORA_OP_EMBED, wanted);
    if (usable &&
        (lr_slot_is_linear(take->module->slot) || (take->module->slot == LR_SLOT_EMBED && take->model->stack.tied)))
        usable = context->backend->supports(context->device, LORA_OP_LINEAR, wanted);
    if (!usable)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: tensor '%s' as %s is not supported by the %s backend; load the model with "
                       "another type",
                       file_of(take), entry->name, lora_type_name(wanted), context->backend->name);
    return LORA_OK;
}

// Whether the file has the rows of this tensor in the order of neighbouring rotary pairs.
static bool is_interleaved(const taking *take)
{
    return take->weights->interleaved && (take->module->slot == LR_SLOT_Q || take->module->slot == LR_SLOT_K);
}

// Row (of a bias: number) 2i + half of each head in the file is row half * dim / 2 + i here.
static uint8_t *separate_halves(const taking *take)
{
    const lr_stored *stored = &take->stored;
    const int64_t rows = stored->dimensions == 1 ? stored->cols : stored->rows, dim = take->model->stack.head_dim;
    const size_t row_bytes = (size_t)(stored->size / (uint64_t)rows);
    uint8_t *copy = lr_alloc(take->weights->allocator, (size_t)stored->size);
    if (!copy) return NULL;
    for (int64_t row = 0; row < rows; row++) {
        int64_t head = row / dim, half = row % dim / (dim / 2), i = row % (dim / 2);
        memcpy(copy + (size_t)row * row_bytes, stored->bytes + (size_t)(head * dim + 2 * i + half) * row_bytes,
               row_bytes);
    }
    return copy;
}

lora_status lr_tensor_create(lora_model *model, lr_tensor *tensor, lora_type type, int64_t rows, int64_t cols)
{
    const lora_context *context = model->context;
    uint64_t size;
    if (!lr_type_bytes(type, rows, cols, &size))
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor '%s' of %lld columns cannot be held as %s", model->path,
                       tensor->name, (long long)cols, lora_type_name(type));
    lora_view view = {.rows = rows, .cols = cols, .stride = cols, .type = type};
    const uint64_t scales = (uint64_t)lr_type_scales(type, rows, cols) * sizeof(float);
    LR_TRY(context->backend->buffer_create(context->device, size, &view.buffer));
    lora_status status =
        scales ? context->backend->buffer_create(context->device, scales, &view.scale_buffer) : LORA_OK;
    if (status != LORA_OK) {
        context->backend->buffer_free(context->device, view.buffer);
        return status;
    }
    tensor->view = view;
    tensor->owned = true;
    return LORA_OK;
}

// The file's bytes as a view of the file's own type.
static lora_status wrap(const taking *take, const uint8_t *bytes, lora_view *out)
{
    const lora_context *context = take->model->context;
    const lr_stored *stored = &take->stored;
    lora_view view = take->tensor->view;
    view.stride = view.cols;
    view.type = stored->type;
    LR_TRY(context->backend->buffer_wrap(context->device, bytes, stored->size, &view.buffer));
    const uint64_t scales = (uint64_t)lr_type_scales(view.type, view.rows, view.cols) * sizeof(float);
    lora_status status = LORA_OK;
    if (scales) status = context->backend->buffer_wrap(context->device, stored->scales, scales, &view.scale_buffer);
    if (status == LORA_OK) *out = view;
    else context->backend->buffer_free(context->device, view.buffer);
    return status;
}

static lora_status convert(const taking *take, const uint8_t *bytes, lora_type type)
{
    const lora_context *context = take->model->context;
    lora_view source;
    LR_TRY(wrap(take, bytes, &source));
    lora_status status = lr_tensor_create(take->model, take->tensor, type, source.rows, source.cols);
    if (status == LORA_OK) status = context->backend->convert(context->device, take->tensor->view, source);
    if (status == LORA_OK) status = context->backend->synchronize(context->device);
    context->backend->buffer_free(context->device, source.buffer);
    context->backend->buffer_free(context->device, source.scale_buffer);
    return status;
}

static lora_status copy(const taking *take, const uint8_t *bytes)
{
    const lora_context *context = take->model->context;
    lr_tensor *tensor = take->tensor;
    const lr_stored *stored = &take->stored;
    LR_TRY(lr_tensor_create(take->model, tensor, stored->type, tensor->view.rows, tensor->view.cols));
    const uint64_t scales = (uint64_t)lr_type_scales(stored->type, stored->rows, stored->cols) * sizeof(float);
    if (scales)
        LR_TRY(context->backend->buffer_write(context->device, tensor->view.scale_buffer, 0, stored->scales, scales));
    return context->backend->buffer_write(context->device, tensor->view.buffer, 0, bytes, stored->size);
}

// Scales that were made for this model go into a buffer of its own beside the numbers, which stay in the file.
static lora_status keep(const taking *take, const uint8_t *bytes)
{
    const lora_context *context = take->model->context;
    const lr_stored *stored = &take->stored;
    lora_view *view = &take->tensor->view;
    LR_TRY(wrap(take, bytes, view));
    take->tensor->owned = true;
    if (!stored->made) return LORA_OK;
    const uint64_t scales = (uint64_t)lr_type_scales(view->type, view->rows, view->cols) * sizeof(float);
    context->backend->buffer_free(context->device, view->scale_buffer);
    view->scale_buffer = NULL;
    LR_TRY(context->backend->buffer_create(context->device, scales, &view->scale_buffer));
    return context->backend->buffer_write(context->device, view->scale_buffer, 0, stored->made, scales);
}

static bool is_aligned(const uint8_t *bytes, lora_type type)
{
    return type > LORA_TYPE_I32 || (uintptr_t)bytes % (uintptr_t)lr_type_block_bytes(type) == 0;
}

static lora_status take_tensor(const taking *take)
{
    const lora_type type = take->stored.type, wanted = wanted_type(take);
    LR_TRY(check_shape(take));
    LR_TRY(check_type(take, wanted));
    const bool asks_plain = take->options->type != LORA_TYPE_KEEP && take->options->type <= LORA_TYPE_BF16;
    take->tensor->stored = !take->is_bias ? wanted : asks_plain ? take->options->type : type;
    take->tensor->shard = take->weight->shard;

    const uint8_t *bytes = take->stored.bytes;
    uint8_t *reordered = NULL;
    if (is_interleaved(take)) {
        reordered = separate_halves(take);
        if (!reordered) return LORA_ERROR_MEMORY;
        bytes = reordered;
    }
    lora_status status;
    const bool stays = wanted == type && !reordered && is_aligned(bytes, type);
    if (stays) status = keep(take, bytes);
    else if (wanted == type) status = copy(take, bytes);
    else status = convert(take, bytes, wanted);
    if (!stays) lr_source_forget(take->model, take->stored.bytes, take->stored.size);
    lr_free(take->weights->allocator, reordered);
    return status;
}

// ---- all tensors ---------------------------------------------------------------------------------------------------

static lora_status find_weight(const lora_model *model, lr_weights *weights, const lr_module *module, const char *kind,
                               lr_weight **out)
{
    char *name = lr_module_name(weights->allocator, weights->names, module->layer, module->slot);
    char *full = name ? lr_format(weights->allocator, "%s.%s", name, kind) : NULL;
    lora_status status = full ? LORA_OK : LORA_ERROR_MEMORY;
    *out = full ? lr_weights_find(weights, full) : NULL;
    if (full && !*out) status = lr_fail(LORA_ERROR_FORMAT, "%s: tensor '%s' is missing", model->path, full);
    lr_free(weights->allocator, full);
    lr_free(weights->allocator, name);
    return status;
}

static lora_status take_one(lora_model *model, lr_weights *weights, const lora_model_options *options,
                            const lr_module *module, int32_t index, bool is_bias)
{
    lr_weight *weight;
    LR_TRY(find_weight(model, weights, module, is_bias ? "bias" : "weight", &weight));
    taking take = {.model = model, .weights = weights, .options = options, .module = module,
                   .tensor = &model->tensors[index], .weight = weight, .is_bias = is_bias};
    describe(weight, &take.stored);
    lora_status status = LORA_OK;
    if (lr_slot_is_linear(module->slot) && !is_bias)
        status = lr_bitsandbytes_read(weights, weight, file_of(&take), &take.stored);
    if (status == LORA_OK) status = take_tensor(&take);
    lr_free(weights->allocator, take.stored.made);
    if (status != LORA_OK) return status;
    weight->taken = true;
    bool converted = model->tensors[index].view.type != take.stored.type;
    atomic_store(&model->tensors[index].finite, options->check_finite == 0);
    if (options->check_finite == 2 || (options->check_finite == 1 && converted && options->type != LORA_TYPE_KEEP))
        return lr_model_check_finite(model, (size_t)index);
    return LORA_OK;
}

// Tables that some files carry along and every reader computes anew.
static bool is_ignored(const char *name)
{
    return lr_path_ends_with(name, "rotary_emb.inv_freq") || strcmp(name, "rope_freqs.weight") == 0;
}

static lora_status check_all_taken(const lora_model *model, const lr_weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        const lr_weight *weight = &weights->items[i];
        if (!weight->taken && !is_ignored(weight->name))
            return lr_fail(
                LORA_ERROR_MISMATCH, "%s: tensor '%s' has no place in a %s model of these settings (%lld layers)",
                model->shards[weight->shard], weight->name, model->stack.family, (long long)model->stack.layers);
    }
    return LORA_OK;
}

static lora_status report_progress(const lora_model_options *options, size_t done, size_t total)
{
    if (options->progress && options->progress((double)done / (double)total, options->progress_user) != 0)
        return lr_fail(LORA_ERROR_CANCELLED, "loading was cancelled");
    return LORA_OK;
}

lora_status lr_model_take_weights(lora_model *model, lr_weights *weights, const lora_model_options *options)
{
    for (size_t i = 0; i < model->module_count; i++) {
        const lr_module *module = &model->modules[i];
        bool shares = module->slot == LR_SLOT_HEAD && model->stack.tied;
        if (!shares) LR_TRY(take_one(model, weights, options, module, module->weight, false));
        if (module->bias >= 0) LR_TRY(take_one(model, weights, options, module, module->bias, true));
        LR_TRY(report_progress(options, i + 1, model->module_count));
    }
    return check_all_taken(model, weights);
}
