// A GGUF file: stack from its keys, tensors under llama.cpp's names, the tokenizer inside it.
#include "source.h"
#include "src/text/tokenizer.h"

#include <math.h>
#include <string.h>

static lora_status find_family(const lr_gguf *gguf, const char *path, const lr_family **out)
{
    lr_gguf_text architecture;
    char known[128];
    LR_TRY(lr_gguf_string(gguf, "general.architecture", &architecture));
    *out = lr_family_of_architecture(architecture.bytes, (size_t)architecture.length);
    lr_family_list(known, sizeof known);
    if (!*out)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: architecture '%.*s' is not supported; supported are %s", path,
                       (int)(architecture.length < 64 ? architecture.length : 64), architecture.bytes, known);
    return LORA_OK;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// ---- Llama 3's rotary factors ---------------------------------------------------------------------------------------

// The file holds only the quotients that Llama 3.1's scaling makes. Where they are those of the published settings (low
// 1, high 4, 8192 positions), the stack says so, and the model can be saved with the settings that made them.
static void recognise_llama3(lora_model *model, const float *factors)
{
    lr_rope *rope = &model->stack.rope;
    const int32_t pairs = rope->dimensions / 2;
    const double low = 8192.0 / 1.0, high = 8192.0 / 4.0, factor = factors[pairs - 1];
    rope->scaling = LR_ROPE_LONGROPE;
    for (int32_t i = 0; i < pairs; i++) {
        const double wavelength = 2.0 * M_PI * pow(rope->theta, 2.0 * i / rope->dimensions);
        double expected = 1;
        if (wavelength > low) expected = factor;
        if (wavelength <= low && wavelength >= high) {
            const double smooth = (8192.0 / wavelength - 1.0) / (4.0 - 1.0);
            expected = 1.0 / ((1.0 - smooth) / factor + smooth);
        }
        if (!(fabs(expected - factors[i]) <= 1e-3 * expected)) return;
    }
    rope->scaling = LR_ROPE_LLAMA3;
    rope->factor = factor;
    rope->low_frequency_factor = 1;
    rope->high_frequency_factor = 4;
    rope->original_context = 8192;
}

static lora_status compute_frequencies(lora_model *model, const lr_gguf *gguf)
{
    const int32_t pairs = model->stack.rope.dimensions / 2;
    const lr_tensor_entry *entry = lr_gguf_tensor(gguf, "rope_freqs.weight");
    if (!entry) return lr_model_compute_frequencies(model, NULL);
    if (entry->type != LORA_TYPE_F32 || entry->dimensions != 1 || entry->shape[0] != pairs)
        return lr_fail(LORA_ERROR_MISMATCH, "%s: tensor 'rope_freqs.weight' should be %d f32 numbers", model->path,
                       pairs);
    float *factors = lr_alloc_array(&model->context->allocator, (size_t)pairs, sizeof *factors);
    if (!factors) return LORA_ERROR_MEMORY;
    memcpy(factors, gguf->file.bytes + entry->offset, (size_t)entry->size);
    lora_status status = LORA_OK;
    for (int32_t i = 0; i < pairs && status == LORA_OK; i++)
        if (!(factors[i] > 0) || !isfinite(factors[i]))
            status = lr_fail(LORA_ERROR_NOT_FINITE, "%s: tensor 'rope_freqs.weight' holds %g", model->path,
                             (double)factors[i]);
    if (status == LORA_OK) {
        recognise_llama3(model, factors);
        status = lr_model_compute_frequencies(model, factors);
    }
    lr_free(&model->context->allocator, factors);
    return status;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static lora_status take_weights(lora_model *model, const lr_family *family, const lora_model_options *options)
{
    const lr_gguf *gguf = &model->source->gguf;
    lr_weights weights = {
        .allocator = &model->context->allocator, .names = family->gguf, .interleaved = family->gguf_interleaved};
    lora_status status = lr_model_add_shard(model, file_name(model->path));
    for (size_t i = 0; status == LORA_OK && i < gguf->count; i++)
        status = lr_weights_add(&weights, &gguf->entries[i], gguf->file.bytes + gguf->entries[i].offset, 0);
    if (status == LORA_OK) status = lr_weights_sort(&weights, model);
    if (status == LORA_OK) status = lr_model_take_weights(model, &weights, options);
    lr_weights_free(&weights);
    return status;
}

static lora_status check_rotary(const lora_model *model, const lr_family *family)
{
    const lr_stack *stack = &model->stack;
    if (!family->gguf_interleaved || stack->rope.dimensions == stack->head_dim) return LORA_OK;
    return lr_fail(LORA_ERROR_UNSUPPORTED,
                   "%s: rope.dimension_count is %d where a head has %lld; only whole heads that turn are "
                   "supported for %s",
                   model->path, stack->rope.dimensions, (long long)stack->head_dim, stack->family);
}

lora_status lr_model_load_gguf(lora_model *model, const lora_model_options *options)
{
    const lora_context *context = model->context;
    lr_gguf *gguf = &model->source->gguf;
    const lr_family *family;
    LR_TRY(lr_gguf_open(&context->allocator, &context->files, model->path, gguf));
    LR_TRY(find_family(gguf, model->path, &family));
    model->stack.family = family->name;
    model->stack.qk_norm = family->qk_norm;
    LR_TRY(family->read_gguf
               ? family->read_gguf(gguf, model->path, &context->allocator, &model->stack)
               : lr_read_llama_gguf(gguf, model->path, family->architecture, &model->stack));
    LR_TRY(check_rotary(model, family));
    LR_TRY(lr_model_build(model, family));
    LR_TRY(take_weights(model, family, options));
    LR_TRY(compute_frequencies(model, gguf));
    if (lr_gguf_find(gguf, "tokenizer.ggml.model"))
        LR_TRY(lr_tokenizer_load_gguf(model->context, gguf, model->path, &model->tokenizer));
    return lr_model_finish(model);
}
