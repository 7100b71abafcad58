// config.json on the way out. A model that came with one keeps its text, unless its numbers' type or its tied head
// changed. For one that came from GGUF the description of the stack is spelt in Hugging Face's keys.
#include "save.h"

#include "lib/json.h"

#include <math.h>
#include <string.h>

const char *lr_save_dtype(const lora_model *model)
{
    const lr_module *down = lr_model_module(model, 0, LR_SLOT_DOWN);
    // A quantized layer's numbers are said to be what the norms beside it are.
    if (lr_save_has_scales(model->tensors[down->weight].stored))
        down = lr_model_module(model, -1, LR_SLOT_FINAL_NORM);
    switch (lr_save_plain_type(&model->tensors[down->weight])) {
    case LORA_TYPE_F32: return "float32";
    case LORA_TYPE_BF16: return "bfloat16";
    default: return "float16";
    }
}

static lora_status dump(const lora_model *model, json_t *object, bool sort, char **text, size_t *length)
{
    return lr_json_dump(&model->context->allocator, object, 2, sort, text, length);
}

// ---- keeping what was loaded ----------------------------------------------------------------------------------------

// true when the key was there or had to be set. Transformers 5 writes "dtype", earlier releases "torch_dtype".
static bool correct_dtype(json_t *config, const char *dtype)
{
    bool known = false, changed = false;
    static const char *const keys[] = {"dtype", "torch_dtype"};
    for (size_t i = 0; i < 2; i++) {
        const char *said = json_string_value(json_object_get(config, keys[i]));
        known |= said != NULL;
        if (said && strcmp(said, dtype) != 0) changed |= json_object_set_new(config, keys[i], json_string(dtype)) == 0;
    }
    if (!known) changed |= json_object_set_new(config, "torch_dtype", json_string(dtype)) == 0;
    return changed;
}

static bool correct_tying(json_t *config, bool tied)
{
    if (json_is_true(json_object_get(config, "tie_word_embeddings")) == tied) return false;
    return json_object_set_new(config, "tie_word_embeddings", json_boolean(tied)) == 0;
}

// What bitsandbytes is to do with the weights: set, or taken out where they are plain again.
static lora_status correct_quantization(json_t *config, const lr_saving *saving, bool *changed)
{
    static const char key[] = "quantization_config";
    if (!lr_save_has_scales(saving->wanted)) {
        *changed |= json_object_del(config, key) == 0;
        return LORA_OK;
    }
    *changed = true;
    return json_object_set_new(config, key, lr_bitsandbytes_config(saving)) == 0 ? LORA_OK : lr_fail_memory(4096);
}

static lora_status keep_config(const lr_saving *saving, char **text, size_t *length)
{
    const lora_model *model = saving->model;
    json_t *config = NULL;
    LR_TRY(lr_json_parse("config.json", model->config_text, strlen(model->config_text), &config));
    bool changed = correct_dtype(config, lr_save_dtype(model));
    changed |= correct_tying(config, model->stack.tied);
    lora_status status = correct_quantization(config, saving, &changed);
    if (changed && status == LORA_OK) {
        status = dump(model, config, false, text, length);
    } else if (status == LORA_OK) {
        *length = strlen(model->config_text);
        *text = lr_duplicate(&model->context->allocator, model->config_text);
        if (!*text) status = LORA_ERROR_MEMORY;
    }
    json_decref(config);
    return status;
}

// ---- making one -----------------------------------------------------------------------------------------------------

static json_t *scaling_object(const lr_rope *rope)
{
    switch (rope->scaling) {
    case LR_ROPE_LINEAR: return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", rope->factor);
    case LR_ROPE_LLAMA3:
        return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", rope->factor, "low_freq_factor",
                         rope->low_frequency_factor, "high_freq_factor", rope->high_frequency_factor,
                         "original_max_position_embeddings", (json_int_t)rope->original_context);
    default: return json_null();
    }
}

static float plain_frequency(const lr_rope *rope, int32_t pair)
{
    return (float)pow(rope->theta, -2.0 * pair / rope->dimensions);
}

// A GGUF file holds Llama 3's scaling as one number a frequency. The longest wavelength tells the factor; the rest is
// the same in all released models, and is checked against every frequency.
static lora_status recover_scaling(const lora_model *model, lr_rope *out)
{
    *out = model->stack.rope;
    int32_t pairs = out->dimensions / 2;
    float factor = 1;
    if (out->scaling != LR_ROPE_PLAIN) return LORA_OK;
    for (int32_t i = 0; i < pairs; i++) {
        float ratio = plain_frequency(out, i) / model->frequencies[i];
        factor = ratio > factor ? ratio : factor;
    }
    if (factor < 1.001f) return LORA_OK;
    *out = (lr_rope){.scaling = LR_ROPE_LLAMA3,
                     .theta = out->theta,
                     .factor = roundf(factor),
                     .low_frequency_factor = 1,
                     .high_frequency_factor = 4,
                     .original_context = 8192,
                     .dimensions = out->dimensions};
    for (int32_t i = 0; i < pairs; i++) {
        double frequency = plain_frequency(out, i), turns = 8192 * frequency / (2 * M_PI);
        double kept = turns < 1 ? 0 : turns > 4 ? 1 : (turns - 1) / 3;
        double expected = (1 - kept) * frequency / out->factor + kept * frequency;
        if (fabs(expected - (double)model->frequencies[i]) > 1e-3 * expected)
            return lr_fail(LORA_ERROR_UNSUPPORTED,
                           "%s: its rotary factors are not Llama 3's; save the model as GGUF instead", model->path);
    }
    return LORA_OK;
}

static json_t *end_tokens(const lr_stack *stack)
{
    if (stack->end_token_count == 0) return json_null();
    if (stack->end_token_count == 1) return json_integer(stack->end_tokens[0]);
    json_t *list = json_array();
    for (int32_t i = 0; i < stack->end_token_count; i++)
        json_array_append_new(list, json_integer(stack->end_tokens[i]));
    return list;
}

static int set_sizes(json_t *config, const lr_stack *stack)
{
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {
        {"vocab_size", stack->vocabulary},          {"hidden_size", stack->hidden},
        {"num_hidden_layers", stack->layers},       {"num_attention_heads", stack->heads},
        {"num_key_value_heads", stack->kv_heads},   {"head_dim", stack->head_dim},
        {"intermediate_size", stack->intermediate}, {"max_position_embeddings", stack->context_length},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        failed |= json_object_set_new(config, sizes[i].key, json_integer(sizes[i].value));
    return failed;
}

static int set_family(json_t *config, const lr_stack *stack)
{
    static const struct {
        const char *family, *class_name;
    } classes[] = {{"llama", "LlamaForCausalLM"}, {"mistral", "MistralForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"},
                   {"qwen3", "Qwen3ForCausalLM"}};
    int failed = json_object_set_new(config, "model_type", json_string(stack->family));
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i].family, stack->family) == 0)
            failed |= json_object_set_new(config, "architectures", json_pack("[s]", classes[i].class_name));
    return failed;
}

static int set_rest(json_t *config, const lora_model *model, const lr_rope *rope)
{
    const lr_stack *stack = &model->stack;
    static const char *const activations[] = {"silu", "gelu", "gelu_pytorch_tanh"};
    int failed = 0;
    failed |= json_object_set_new(config, "hidden_act", json_string(activations[stack->activation]));
    failed |= json_object_set_new(config, "rms_norm_eps", json_real((float)lround(stack->norm_epsilon * 1e9) / 1e9));
    failed |= json_object_set_new(config, "rope_theta", json_real(rope->theta));
    failed |= json_object_set_new(config, "rope_scaling", scaling_object(rope));
    failed |= json_object_set_new(config, "attention_bias", json_boolean(stack->output_bias));
    failed |= json_object_set_new(config, "mlp_bias", json_boolean(stack->mlp_bias));
    failed |= json_object_set_new(config, "tie_word_embeddings", json_boolean(stack->tied));
    failed |= json_object_set_new(config, "sliding_window", stack->window ? json_integer(stack->window) : json_null());
    failed |= json_object_set_new(config, "use_sliding_window", json_boolean(stack->window > 0));
    failed |= json_object_set_new(config, "initializer_range", json_real(stack->initializer_range));
    failed |= json_object_set_new(config, "bos_token_id",
                                  stack->begin_token >= 0 ? json_integer(stack->begin_token) : json_null());
    failed |= json_object_set_new(config, "eos_token_id", end_tokens(stack));
    failed |= json_object_set_new(config, "torch_dtype", json_string(lr_save_dtype(model)));
    return failed;
}

lora_status lr_save_config(const lr_saving *saving, char **text, size_t *length)
{
    const lora_model *model = saving->model;
    if (model->config_text) return keep_config(saving, text, length);
    lr_rope rope;
    LR_TRY(recover_scaling(model, &rope));
    json_t *config = json_object();
    int failed = config == NULL;
    if (!failed) {
        failed |= set_family(config, &model->stack);
        failed |= set_sizes(config, &model->stack);
        failed |= set_rest(config, model, &rope);
    }
    bool changed = false;
    lora_status status = failed ? lr_fail_memory(4096) : correct_quantization(config, saving, &changed);
    if (status == LORA_OK) status = dump(model, config, true, text, length);
    json_decref(config);
    return status;
}
