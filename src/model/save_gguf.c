// A GGUF file in the names, keys and row order that llama.cpp uses: matrices as they are stored, vectors in f32.
#include "save.h"

#include "save_gguf_tokenizer.h"
#include "src/model/families/family.h"
#include "src/model/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct lr_exporter {
    lr_saving *saving;
    const lora_model *model;
    const lora_allocator *allocator;
    const lr_family *family;
    lr_gguf_writer *writer;
    float *rope_factors; // [pairs], NULL: none are needed
} lr_exporter;

// ---- keys -----------------------------------------------------------------------------------------------------------

typedef struct lr_key {
    char text[128];
} lr_key;

static lr_key architecture_key(const lr_exporter *exporter, const char *name)
{
    lr_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", exporter->family->architecture, name);
    return key;
}

static lora_status put_count(const lr_exporter *exporter, const char *name, int64_t value)
{
    return lr_gguf_writer_u32(exporter->writer, architecture_key(exporter, name).text, (uint32_t)value);
}

static lora_status put_real(const lr_exporter *exporter, const char *name, double value)
{
    return lr_gguf_writer_f32(exporter->writer, architecture_key(exporter, name).text, (float)value);
}

// general.file_type: what most matrices are.
static uint32_t file_type(const lr_exporter *exporter)
{
    static const uint32_t codes[LORA_TYPE_COUNT] = {
        [LORA_TYPE_F32] = 0,  [LORA_TYPE_F16] = 1,  [LORA_TYPE_BF16] = 32, [LORA_TYPE_Q8_0] = 7,  [LORA_TYPE_Q4_0] = 2,
        [LORA_TYPE_Q4_1] = 3, [LORA_TYPE_Q5_0] = 8, [LORA_TYPE_Q5_1] = 9,  [LORA_TYPE_Q4_K] = 15, [LORA_TYPE_Q5_K] = 17,
        [LORA_TYPE_Q6_K] = 18,
    };
    return codes[exporter->saving->types[lr_model_module(exporter->model, 0, LR_SLOT_DOWN)->weight]];
}

static lora_status put_name(const lr_exporter *exporter)
{
    const char *path = exporter->model->path;
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return lr_gguf_writer_string(exporter->writer, "general.name", path + begin, end - begin);
}

static lora_status put_general(const lr_exporter *exporter)
{
    const char *architecture = exporter->family->architecture;
    LR_TRY(lr_gguf_writer_string(exporter->writer, "general.architecture", architecture, strlen(architecture)));
    LR_TRY(lr_gguf_writer_string(exporter->writer, "general.type", "model", 5));
    LR_TRY(put_name(exporter));
    LR_TRY(lr_gguf_writer_u32(exporter->writer, "general.file_type", file_type(exporter)));
    return lr_gguf_writer_u32(exporter->writer, "general.quantization_version", 2);
}

static lora_status put_stack(const lr_exporter *exporter)
{
    const lr_stack *stack = &exporter->model->stack;
    LR_TRY(put_count(exporter, "vocab_size", stack->vocabulary));
    LR_TRY(put_count(exporter, "context_length", stack->context_length));
    LR_TRY(put_count(exporter, "embedding_length", stack->hidden));
    LR_TRY(put_count(exporter, "block_count", stack->layers));
    LR_TRY(put_count(exporter, "feed_forward_length", stack->intermediate));
    LR_TRY(put_count(exporter, "attention.head_count", stack->heads));
    LR_TRY(put_count(exporter, "attention.head_count_kv", stack->kv_heads));
    LR_TRY(put_count(exporter, "attention.key_length", stack->head_dim));
    LR_TRY(put_count(exporter, "attention.value_length", stack->head_dim));
    if (stack->window) LR_TRY(put_count(exporter, "attention.sliding_window", stack->window));
    LR_TRY(put_real(exporter, "attention.layer_norm_rms_epsilon", stack->norm_epsilon));
    LR_TRY(put_count(exporter, "rope.dimension_count", stack->rope.dimensions));
    LR_TRY(put_real(exporter, "rope.freq_base", stack->rope.theta));
    if (stack->rope.scaling != LR_ROPE_LINEAR) return LORA_OK;
    LR_TRY(lr_gguf_writer_string(exporter->writer, architecture_key(exporter, "rope.scaling.type").text, "linear", 6));
    return put_real(exporter, "rope.scaling.factor", stack->rope.factor);
}

// ---- tensors --------------------------------------------------------------------------------------------------------

// Scaling that is no single factor goes into the file as a divisor for each frequency.
static lora_status make_rope_factors(lr_exporter *exporter)
{
    const lora_model *model = exporter->model;
    const lr_rope *rope = &model->stack.rope;
    if (rope->scaling == LR_ROPE_LINEAR) return LORA_OK;
    bool any = false;
    float *factors = lr_alloc_array(exporter->allocator, (size_t)rope->dimensions / 2, sizeof *factors);
    if (!factors) return LORA_ERROR_MEMORY;
    for (int32_t i = 0; i < rope->dimensions / 2; i++) {
        float plain = 1.0f / (float)pow(rope->theta, (double)((float)(2 * i) / (float)rope->dimensions));
        factors[i] = plain / model->frequencies[i];
        any |= fabsf(factors[i] - 1) > 1e-5f;
    }
    if (any) exporter->rope_factors = factors;
    else lr_free(exporter->allocator, factors);
    return LORA_OK;
}

// The tensor's module and whether it is the module's weight; a tied head is skipped.
static bool owns(const lora_model *model, const lr_module *module)
{
    return !(module->slot == LR_SLOT_HEAD && model->stack.tied);
}

static lora_status describe(const lr_exporter *exporter, const lr_module *module, int32_t index, const char *kind)
{
    const lr_tensor *tensor = &exporter->model->tensors[index];
    lora_view view = tensor->view;
    char *name = lr_module_name(exporter->allocator, exporter->family->gguf, module->layer, module->slot);
    char *full = name ? lr_format(exporter->allocator, "%s.%s", name, kind) : NULL;
    lora_status status = full ? LORA_OK : LORA_ERROR_MEMORY;
    if (full) {
        lr_tensor_entry entry = {
            .name = full, .type = exporter->saving->types[index], .dimensions = tensor->dimensions};
        entry.shape[0] = tensor->dimensions == 1 ? view.cols : view.rows;
        entry.shape[1] = tensor->dimensions == 1 ? 0 : view.cols;
        lr_type_bytes(entry.type, view.rows, view.cols, &entry.size);
        status = lr_gguf_writer_tensor(exporter->writer, &entry);
    }
    lr_free(exporter->allocator, full);
    lr_free(exporter->allocator, name);
    return status;
}

static lora_status describe_all(const lr_exporter *exporter)
{
    const lora_model *model = exporter->model;
    if (exporter->rope_factors) {
        int64_t pairs = model->stack.rope.dimensions / 2;
        lr_tensor_entry entry = {.name = "rope_freqs.weight", .type = LORA_TYPE_F32, .dimensions = 1, .shape = {pairs},
                                 .size = (uint64_t)pairs * sizeof(float)};
        LR_TRY(lr_gguf_writer_tensor(exporter->writer, &entry));
    }
    for (size_t m = 0; m < model->module_count; m++) {
        const lr_module *module = &model->modules[m];
        if (owns(model, module)) LR_TRY(describe(exporter, module, module->weight, "weight"));
        if (module->bias >= 0) LR_TRY(describe(exporter, module, module->bias, "bias"));
    }
    return LORA_OK;
}

static lora_status send(void *sink, const void *bytes, size_t size)
{
    return lr_gguf_writer_data(sink, bytes, size);
}

// A reordered bias is sent as a column, one number a row.
static lr_tensor as_column(const lr_tensor *tensor)
{
    lr_tensor column = {.name = tensor->name, .view = tensor->view, .dimensions = 1, .stored = tensor->stored};
    column.view.rows = tensor->view.cols;
    column.view.cols = column.view.stride = 1;
    return column;
}

static lora_status send_tensor(const lr_exporter *exporter, const lr_module *module, int32_t index)
{
    const lora_model *model = exporter->model;
    const lr_tensor *tensor = &model->tensors[index];
    lora_type type = exporter->saving->types[index];
    bool reorder = exporter->family->gguf_interleaved && (module->slot == LR_SLOT_Q || module->slot == LR_SLOT_K);
    if (!reorder) return lr_save_tensor(exporter->saving, tensor, type, 0, NULL, send, exporter->writer);
    if (tensor->dimensions == 2)
        return lr_save_tensor(exporter->saving, tensor, type, model->stack.head_dim, NULL, send, exporter->writer);
    lr_tensor column = as_column(tensor);
    return lr_save_tensor(exporter->saving, &column, type, model->stack.head_dim, NULL, send, exporter->writer);
}

static lora_status send_all(const lr_exporter *exporter)
{
    const lora_model *model = exporter->model;
    if (exporter->rope_factors)
        LR_TRY(lr_gguf_writer_data(exporter->writer, exporter->rope_factors,
                                   (size_t)model->stack.rope.dimensions / 2 * sizeof(float)));
    for (size_t m = 0; m < model->module_count; m++) {
        const lr_module *module = &model->modules[m];
        if (owns(model, module)) LR_TRY(send_tensor(exporter, module, module->weight));
        if (module->bias >= 0) LR_TRY(send_tensor(exporter, module, module->bias));
    }
    return LORA_OK;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static lora_status write_all(lr_exporter *exporter)
{
    LR_TRY(make_rope_factors(exporter));
    LR_TRY(put_general(exporter));
    LR_TRY(put_stack(exporter));
    LR_TRY(lr_save_gguf_tokenizer(exporter->model, exporter->writer));
    LR_TRY(describe_all(exporter));
    return send_all(exporter);
}

lora_status lr_save_gguf(lr_saving *saving, const char *path, bool overwrite)
{
    const lora_model *model = saving->model;
    lr_exporter exporter = {.saving = saving, .model = model, .allocator = &model->context->allocator};
    exporter.family = lr_family_find(model->stack.family);
    if (!exporter.family || !exporter.family->gguf)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: models of family %s are not written as GGUF yet; save a Hugging Face "
                       "directory",
                       path, model->stack.family);
    LR_TRY(lr_gguf_writer_create(exporter.allocator, path, overwrite, &exporter.writer));
    lora_status status = write_all(&exporter);
    if (status == LORA_OK) status = lr_gguf_writer_commit(exporter.writer);
    else lr_gguf_writer_abandon(exporter.writer);
    lr_free(exporter.allocator, exporter.rope_factors);
    return status;
}
