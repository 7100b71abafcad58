// llama2.c's .bin, version 0: seven 32-bit integers, then f32 tensors in a fixed order, each kind for all layers
// together. q and k have their rows ordered for rotary pairs (2i, 2i + 1), as in GGUF.
#include "source.h"
#include "src/text/tokenizer.h"

#include <math.h>
#include <string.h>

#define HEADER_INTEGERS 7

// Cuts the file into entries.
typedef struct cutting {
    const lora_model *model;
    lr_weights weights;
    lr_tensor_entry *entries;
    size_t count;
    uint64_t offset;
} cutting;

static lora_status read_header(lora_model *model)
{
    const lr_file *file = &model->source->file;
    lr_stack *stack = &model->stack;
    int32_t header[HEADER_INTEGERS];
    if (file->size < sizeof header)
        return lr_fail(LORA_ERROR_FORMAT, "%s: %llu bytes are too few for a llama2.c file", model->path,
                       (unsigned long long)file->size);
    memcpy(header, file->bytes, sizeof header);
    if (header[0] == 0x616b3432)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: llama2.c files of version %d are not supported; expected version 0 (f32)", model->path,
                       header[1]);
    stack->family = "llama";
    stack->hidden = header[0];
    stack->intermediate = header[1];
    stack->layers = header[2];
    stack->heads = header[3];
    stack->kv_heads = header[4];
    stack->tied = header[5] > 0;
    stack->vocabulary = header[5] > 0 ? header[5] : -(int64_t)header[5];
    stack->context_length = header[6];
    stack->head_dim = stack->heads > 0 ? stack->hidden / stack->heads : 0;
    stack->rope = (lr_rope){
        .theta = 10000, .factor = 1, .original_context = stack->context_length, .dimensions = (int32_t)stack->head_dim};
    stack->norm_kind = LORA_NORM_RMS;
    stack->norm_epsilon = 1e-5f;
    stack->activation = LORA_ACTIVATION_SILU;
    stack->gated = true;
    stack->embedding_scale = 1;
    stack->initializer_range = 0.02;
    stack->begin_token = 1;
    lr_add_end_token(stack, 2);
    LR_TRY(lr_check_stack(stack, model->path));
    stack->attention_scale = 1.0f / sqrtf((float)stack->head_dim);
    return LORA_OK;
}

static lora_status cut_tensor(cutting *cut, int64_t layer, lr_slot slot)
{
    const lr_module *module = lr_model_module(cut->model, layer, slot);
    const lr_tensor *tensor = &cut->model->tensors[module->weight];
    const uint64_t size = (uint64_t)(tensor->view.rows * tensor->view.cols) * sizeof(float);
    const lr_file *file = &cut->model->source->file;
    if (size > file->size - cut->offset)
        return lr_fail(LORA_ERROR_FORMAT, "%s: the file ends inside tensor '%s'", cut->model->path, tensor->name);
    lr_tensor_entry *entry = &cut->entries[cut->count++];
    *entry = (lr_tensor_entry){
        .name = tensor->name,
        .type = LORA_TYPE_F32,
        .type_name = "f32",
        .dimensions = tensor->dimensions,
        .offset = cut->offset,
        .size = size,
    };
    entry->shape[0] = tensor->dimensions == 2 ? tensor->view.rows : tensor->view.cols;
    entry->shape[1] = tensor->view.cols;
    cut->offset += size;
    return lr_weights_add(&cut->weights, entry, file->bytes + entry->offset, 0);
}

static lora_status cut_file(cutting *cut)
{
    static const lr_slot order[] = {LR_SLOT_ATTENTION_NORM, LR_SLOT_Q,    LR_SLOT_K,    LR_SLOT_V, LR_SLOT_O,
                                    LR_SLOT_MLP_NORM,       LR_SLOT_GATE, LR_SLOT_DOWN, LR_SLOT_UP};
    const lr_stack *stack = &cut->model->stack;
    const lr_file *file = &cut->model->source->file;
    // Two tables of rotary angles that every reader computes anew.
    const uint64_t tables = (uint64_t)(stack->context_length * stack->head_dim) * sizeof(float);
    cut->offset = HEADER_INTEGERS * sizeof(int32_t);
    LR_TRY(cut_tensor(cut, -1, LR_SLOT_EMBED));
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        for (int64_t layer = 0; layer < stack->layers; layer++) LR_TRY(cut_tensor(cut, layer, order[i]));
    LR_TRY(cut_tensor(cut, -1, LR_SLOT_FINAL_NORM));
    if (tables > file->size - cut->offset)
        return lr_fail(LORA_ERROR_FORMAT, "%s: the file ends inside the rotary tables", cut->model->path);
    cut->offset += tables;
    if (!stack->tied) LR_TRY(cut_tensor(cut, -1, LR_SLOT_HEAD));
    if (cut->offset != file->size)
        return lr_fail(LORA_ERROR_FORMAT, "%s: the file has %llu bytes; its header calls for %llu", cut->model->path,
                       (unsigned long long)file->size, (unsigned long long)cut->offset);
    return lr_weights_sort(&cut->weights, cut->model);
}

static lora_status take_weights(lora_model *model, const lora_model_options *options)
{
    const lora_allocator *allocator = &model->context->allocator;
    cutting cut = {.model = model};
    cut.weights = (lr_weights){.allocator = allocator, .names = &lr_llama_names, .interleaved = true};
    cut.entries = lr_alloc_array(allocator, model->tensor_count, sizeof *cut.entries);
    lora_status status = cut.entries ? cut_file(&cut) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = lr_model_take_weights(model, &cut.weights, options);
    lr_weights_free(&cut.weights);
    lr_free(allocator, cut.entries);
    return status;
}

// tokenizer.bin beside the model, or tok<vocabulary>.bin.
static lora_status load_tokenizer(lora_model *model)
{
    const lora_allocator *allocator = &model->context->allocator;
    const char *slash = strrchr(model->path, '/');
    const int length = slash ? (int)(slash - model->path) + 1 : 0;
    char *paths[2] = {
        lr_format(allocator, "%.*stok%lld.bin", length, model->path, (long long)model->stack.vocabulary),
        lr_format(allocator, "%.*stokenizer.bin", length, model->path),
    };
    lora_status status = paths[0] && paths[1] ? LORA_OK : LORA_ERROR_MEMORY;
    for (int i = 0; i < 2 && status == LORA_OK && !model->tokenizer; i++) {
        bool found = false;
        status = lr_file_find(&model->context->files, paths[i], &found);
        if (found) status = lora_tokenizer_load(model->context, paths[i], &model->tokenizer);
    }
    lr_free(allocator, paths[0]);
    lr_free(allocator, paths[1]);
    return status;
}

lora_status lr_model_load_llama2c(lora_model *model, const lora_model_options *options)
{
    const lora_context *context = model->context;
    LR_TRY(lr_file_open(&context->allocator, &context->files, model->path, UINT64_MAX, &model->source->file));
    LR_TRY(read_header(model));
    LR_TRY(lr_model_add_shard(model, "model.safetensors"));
    LR_TRY(lr_model_build(model, lr_family_find(model->stack.family)));
    LR_TRY(take_weights(model, options));
    LR_TRY(lr_model_compute_frequencies(model, NULL));
    LR_TRY(load_tokenizer(model));
    return lr_model_finish(model);
}
