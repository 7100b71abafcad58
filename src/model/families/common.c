// What the Llama-like families share: tensor names, and the keys of config.json and GGUF that they all have.
#include "family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const lr_names lr_llama_names = {
    .block = "model.layers.",
    .slot =
        {
            [LR_SLOT_EMBED] = "model.embed_tokens",
            [LR_SLOT_ATTENTION_NORM] = "input_layernorm",
            [LR_SLOT_Q] = "self_attn.q_proj",
            [LR_SLOT_K] = "self_attn.k_proj",
            [LR_SLOT_V] = "self_attn.v_proj",
            [LR_SLOT_O] = "self_attn.o_proj",
            [LR_SLOT_Q_NORM] = "self_attn.q_norm",
            [LR_SLOT_K_NORM] = "self_attn.k_norm",
            [LR_SLOT_MLP_NORM] = "post_attention_layernorm",
            [LR_SLOT_GATE] = "mlp.gate_proj",
            [LR_SLOT_UP] = "mlp.up_proj",
            [LR_SLOT_DOWN] = "mlp.down_proj",
            [LR_SLOT_FINAL_NORM] = "model.norm",
            [LR_SLOT_HEAD] = "lm_head",
        },
};

const lr_names lr_llama_gguf_names = {
    .block = "blk.",
    .slot =
        {
            [LR_SLOT_EMBED] = "token_embd",
            [LR_SLOT_ATTENTION_NORM] = "attn_norm",
            [LR_SLOT_Q] = "attn_q",
            [LR_SLOT_K] = "attn_k",
            [LR_SLOT_V] = "attn_v",
            [LR_SLOT_O] = "attn_output",
            [LR_SLOT_Q_NORM] = "attn_q_norm",
            [LR_SLOT_K_NORM] = "attn_k_norm",
            [LR_SLOT_MLP_NORM] = "ffn_norm",
            [LR_SLOT_GATE] = "ffn_gate",
            [LR_SLOT_UP] = "ffn_up",
            [LR_SLOT_DOWN] = "ffn_down",
            [LR_SLOT_FINAL_NORM] = "output_norm",
            [LR_SLOT_HEAD] = "output",
        },
};

void lr_add_end_token(lr_stack *stack, int64_t id)
{
    const int32_t room = sizeof stack->end_tokens / sizeof stack->end_tokens[0];
    if (id < 0 || id >= stack->vocabulary || stack->end_token_count == room) return;
    for (int32_t i = 0; i < stack->end_token_count; i++)
        if (stack->end_tokens[i] == id) return;
    stack->end_tokens[stack->end_token_count++] = (int32_t)id;
}

void lr_add_end_tokens(lr_stack *stack, const json_t *value)
{
    if (json_is_integer(value)) lr_add_end_token(stack, json_integer_value(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        if (json_is_integer(json_array_get(value, i)))
            lr_add_end_token(stack, json_integer_value(json_array_get(value, i)));
}

lora_status lr_check_stack(const lr_stack *stack, const char *file)
{
    const struct {
        const char *name;
        int64_t value, limit;
    } sizes[] = {
        {"the vocabulary", stack->vocabulary, INT32_MAX},
        {"the hidden size", stack->hidden, 1 << 20},
        {"the number of layers", stack->layers, LR_MAX_LAYERS},
        {"the number of heads", stack->heads, 1 << 16},
        {"the number of key/value heads", stack->kv_heads, 1 << 16},
        {"the head dimension", stack->head_dim, 1 << 14},
        {"the intermediate size", stack->intermediate, 1 << 22},
        {"the context length", stack->context_length, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].limit)
            return lr_fail(LORA_ERROR_FORMAT, "%s: %s is %lld; expected 1 to %lld", file, sizes[i].name,
                           (long long)sizes[i].value, (long long)sizes[i].limit);
    if (stack->heads % stack->kv_heads != 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: %lld heads are no multiple of %lld key/value heads", file,
                       (long long)stack->heads, (long long)stack->kv_heads);
    if (stack->rope.dimensions < 2 || stack->rope.dimensions % 2 != 0 || stack->rope.dimensions > stack->head_dim)
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: the rotary dimension is %d; expected an even number up to the head dimension %lld", file,
                       stack->rope.dimensions, (long long)stack->head_dim);
    if (!(stack->rope.theta > 0) || !isfinite(stack->rope.theta))
        return lr_fail(LORA_ERROR_FORMAT, "%s: rope_theta is %g; expected a positive number", file, stack->rope.theta);
    if (!(stack->norm_epsilon >= 0) || !(stack->norm_epsilon < 1))
        return lr_fail(LORA_ERROR_FORMAT, "%s: the norm's epsilon is %g; expected 0 to 1", file,
                       (double)stack->norm_epsilon);
    return LORA_OK;
}

// ---- config.json ---------------------------------------------------------------------------------------------------

static lora_status read_activation(const json_t *config, const char *file, lr_stack *stack)
{
    static const struct {
        const char *name;
        int32_t activation;
    } known[] = {{"silu", LORA_ACTIVATION_SILU},
                 {"swish", LORA_ACTIVATION_SILU},
                 {"gelu", LORA_ACTIVATION_GELU},
                 {"gelu_new", LORA_ACTIVATION_GELU_TANH},
                 {"gelu_pytorch_tanh", LORA_ACTIVATION_GELU_TANH}};
    const char *name;
    LR_TRY(lr_json_text(config, file, "hidden_act", "silu", &name));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0) {
            stack->activation = known[i].activation;
            return LORA_OK;
        }
    return lr_fail(LORA_ERROR_UNSUPPORTED,
                   "%s: hidden_act '%s' is not supported; expected silu, gelu or gelu_pytorch_tanh", file, name);
}

static lora_status read_llama3_scaling(const json_t *rope, const char *file, lr_rope *out)
{
    out->scaling = LR_ROPE_LLAMA3;
    LR_TRY(lr_json_real(rope, file, "low_freq_factor", 0, &out->low_frequency_factor));
    LR_TRY(lr_json_real(rope, file, "high_freq_factor", 0, &out->high_frequency_factor));
    LR_TRY(lr_json_int(rope, file, "original_max_position_embeddings", out->original_context, &out->original_context));
    if (!(out->low_frequency_factor > 0) || !(out->high_frequency_factor > out->low_frequency_factor) ||
        out->original_context < 1)
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: llama3 rope scaling needs 0 < low_freq_factor < high_freq_factor and "
                       "original_max_position_embeddings; found %g, %g and %lld",
                       file, out->low_frequency_factor, out->high_frequency_factor, (long long)out->original_context);
    return LORA_OK;
}

// Both generations: rope_theta and rope_scaling, or rope_parameters with both in one.
static lora_status read_rope(const json_t *config, const char *file, lr_stack *stack)
{
    const json_t *rope = json_object_get(config, "rope_parameters");
    if (!json_is_object(rope)) rope = json_object_get(config, "rope_scaling");
    lr_rope *out = &stack->rope;
    LR_TRY(lr_json_real(config, file, "rope_theta", 10000.0, &out->theta));
    out->factor = 1;
    out->original_context = stack->context_length;
    if (!json_is_object(rope)) return LORA_OK;

    const char *type;
    double partial;
    LR_TRY(lr_json_real(rope, file, "rope_theta", out->theta, &out->theta));
    LR_TRY(lr_json_text(rope, file, "type", "default", &type));
    LR_TRY(lr_json_text(rope, file, "rope_type", type, &type));
    LR_TRY(lr_json_real(rope, file, "partial_rotary_factor", 1.0, &partial));
    if (partial != 1.0)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: partial_rotary_factor %g is not supported for %s", file, partial,
                       stack->family);
    if (strcmp(type, "default") == 0) return LORA_OK;
    LR_TRY(lr_json_real(rope, file, "factor", 0, &out->factor));
    if (!(out->factor >= 1) || !isfinite(out->factor))
        return lr_fail(LORA_ERROR_FORMAT, "%s: rope scaling '%s' needs a factor of at least 1; found %g", file, type,
                       out->factor);
    if (strcmp(type, "linear") == 0) {
        out->scaling = LR_ROPE_LINEAR;
        return LORA_OK;
    }
    if (strcmp(type, "llama3") == 0) return read_llama3_scaling(rope, file, out);
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: rope scaling '%s' is not supported; expected default, linear or llama3",
                   file, type);
}

static lora_status read_sizes(const json_t *config, const char *file, lr_stack *stack)
{
    LR_TRY(lr_json_int(config, file, "vocab_size", 0, &stack->vocabulary));
    LR_TRY(lr_json_int(config, file, "hidden_size", 0, &stack->hidden));
    LR_TRY(lr_json_int(config, file, "num_hidden_layers", 0, &stack->layers));
    LR_TRY(lr_json_int(config, file, "num_attention_heads", 0, &stack->heads));
    LR_TRY(lr_json_int(config, file, "num_key_value_heads", stack->heads, &stack->kv_heads));
    LR_TRY(lr_json_int(config, file, "intermediate_size", 0, &stack->intermediate));
    LR_TRY(lr_json_int(config, file, "max_position_embeddings", 2048, &stack->context_length));
    if (!stack->head_dim && stack->heads > 0) stack->head_dim = stack->hidden / stack->heads;
    LR_TRY(lr_json_int(config, file, "head_dim", stack->head_dim, &stack->head_dim));
    stack->rope.dimensions = stack->head_dim > 0 && stack->head_dim <= INT32_MAX ? (int32_t)stack->head_dim : 0;
    return LORA_OK;
}

static lora_status refuse_quantized(const json_t *config, const char *file)
{
    const json_t *quantization = json_object_get(config, "quantization_config");
    if (!json_is_object(quantization)) return LORA_OK;
    const char *method;
    LR_TRY(lr_json_text(quantization, file, "quant_method", "unknown", &method));
    if (strcmp(method, "bitsandbytes") == 0) return LORA_OK; // its tensors say what they are
    return lr_fail(LORA_ERROR_UNSUPPORTED,
                   "%s: weights quantized by '%s' are not supported; use the model's f32, f16 or bf16 "
                   "weights, bitsandbytes' nf4 or int8, or a GGUF file",
                   file, method);
}

lora_status lr_read_llama_config(const json_t *config, const char *file, lr_stack *stack)
{
    double epsilon;
    int64_t begin;
    LR_TRY(refuse_quantized(config, file));
    LR_TRY(read_sizes(config, file, stack));
    LR_TRY(read_activation(config, file, stack));
    LR_TRY(read_rope(config, file, stack));
    LR_TRY(lr_json_real(config, file, "rms_norm_eps", 1e-6, &epsilon));
    LR_TRY(lr_json_bool(config, file, "tie_word_embeddings", false, &stack->tied));
    LR_TRY(lr_json_real(config, file, "initializer_range", 0.02, &stack->initializer_range));
    LR_TRY(lr_json_int(config, file, "bos_token_id", -1, &begin));
    stack->norm_kind = LORA_NORM_RMS;
    stack->norm_epsilon = (float)epsilon;
    stack->gated = true;
    stack->embedding_scale = 1;
    stack->begin_token = begin >= 0 && begin < stack->vocabulary ? (int32_t)begin : -1;
    lr_add_end_tokens(stack, json_object_get(config, "eos_token_id"));
    LR_TRY(lr_check_stack(stack, file));
    stack->attention_scale = 1.0f / sqrtf((float)stack->head_dim);
    return LORA_OK;
}

lora_status lr_read_layer_windows(const json_t *config, const char *file, const lora_allocator *allocator,
                                  lr_stack *stack)
{
    bool used;
    int64_t first;
    LR_TRY(lr_json_bool(config, file, "use_sliding_window", false, &used));
    LR_TRY(lr_json_int(config, file, "sliding_window", 4096, &stack->window));
    LR_TRY(lr_json_int(config, file, "max_window_layers", 28, &first));
    if (!used) {
        stack->window = 0;
        return LORA_OK;
    }
    if (stack->window < 1)
        return lr_fail(LORA_ERROR_FORMAT, "%s: sliding_window is %lld; expected a positive number", file,
                       (long long)stack->window);
    const json_t *types = json_object_get(config, "layer_types");
    if (json_is_array(types) && json_array_size(types) != (size_t)stack->layers)
        return lr_fail(LORA_ERROR_FORMAT, "%s: layer_types has %zu entries for %lld layers", file,
                       json_array_size(types), (long long)stack->layers);
    stack->layer_is_windowed = lr_alloc_zeroed(allocator, (size_t)stack->layers, sizeof(bool));
    if (!stack->layer_is_windowed) return LORA_ERROR_MEMORY;
    for (int64_t i = 0; i < stack->layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        stack->layer_is_windowed[i] = type ? strcmp(type, "sliding_attention") == 0 : i >= first;
    }
    return LORA_OK;
}

// ---- GGUF ----------------------------------------------------------------------------------------------------------

// "<architecture>.<key>"
typedef struct key_name {
    char text[128];
} key_name;

static key_name architecture_key(const char *architecture, const char *key)
{
    key_name name;
    snprintf(name.text, sizeof name.text, "%s.%s", architecture, key);
    return name;
}

static lora_status read_int(const lr_gguf *gguf, const char *architecture, const char *key, int64_t fallback,
                            int64_t *out)
{
    return lr_gguf_int(gguf, architecture_key(architecture, key).text, fallback, out);
}

static lora_status read_real(const lr_gguf *gguf, const char *architecture, const char *key, double fallback,
                             double *out)
{
    return lr_gguf_real(gguf, architecture_key(architecture, key).text, fallback, out);
}

static bool text_is(lr_gguf_text text, const char *expected)
{
    return text.length == strlen(expected) && memcmp(text.bytes, expected, text.length) == 0;
}

static lora_status read_gguf_rope(const lr_gguf *gguf, const char *file, const char *architecture, lr_stack *stack)
{
    lr_gguf_text type;
    lr_rope *rope = &stack->rope;
    int64_t dimensions;
    LR_TRY(read_int(gguf, architecture, "rope.dimension_count", stack->head_dim, &dimensions));
    LR_TRY(read_real(gguf, architecture, "rope.freq_base", 10000.0, &rope->theta));
    LR_TRY(read_real(gguf, architecture, "rope.scaling.factor", 1.0, &rope->factor));
    LR_TRY(lr_gguf_string(gguf, architecture_key(architecture, "rope.scaling.type").text, &type));
    rope->dimensions = dimensions > 0 && dimensions <= INT32_MAX ? (int32_t)dimensions : 0;
    rope->original_context = stack->context_length;
    if (type.length == 0 || text_is(type, "none")) return LORA_OK;
    if (!text_is(type, "linear"))
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: rope scaling '%.*s' is not supported; expected none or linear",
                       file, (int)(type.length < 32 ? type.length : 32), type.bytes);
    if (!(rope->factor >= 1) || !isfinite(rope->factor))
        return lr_fail(LORA_ERROR_FORMAT, "%s: rope.scaling.factor is %g; expected at least 1", file, rope->factor);
    rope->scaling = LR_ROPE_LINEAR;
    return LORA_OK;
}

lora_status lr_read_llama_gguf(const lr_gguf *gguf, const char *file, const char *architecture, lr_stack *stack)
{
    double epsilon;
    int64_t begin, end;
    const lr_tensor_entry *embedding = lr_gguf_tensor(gguf, "token_embd.weight");
    if (!embedding || embedding->dimensions != 2)
        return lr_fail(LORA_ERROR_FORMAT, "%s: there is no two-dimensional tensor 'token_embd.weight'", file);
    stack->vocabulary = embedding->shape[0];
    LR_TRY(read_int(gguf, architecture, "embedding_length", 0, &stack->hidden));
    LR_TRY(read_int(gguf, architecture, "block_count", 0, &stack->layers));
    LR_TRY(read_int(gguf, architecture, "attention.head_count", 0, &stack->heads));
    LR_TRY(read_int(gguf, architecture, "attention.head_count_kv", stack->heads, &stack->kv_heads));
    LR_TRY(read_int(gguf, architecture, "feed_forward_length", 0, &stack->intermediate));
    LR_TRY(read_int(gguf, architecture, "context_length", 2048, &stack->context_length));
    LR_TRY(read_int(gguf, architecture, "attention.key_length", stack->heads > 0 ? stack->hidden / stack->heads : 0,
                    &stack->head_dim));
    LR_TRY(read_real(gguf, architecture, "attention.layer_norm_rms_epsilon", 1e-5, &epsilon));
    LR_TRY(read_gguf_rope(gguf, file, architecture, stack));
    stack->norm_kind = LORA_NORM_RMS;
    stack->norm_epsilon = (float)epsilon;
    stack->activation = LORA_ACTIVATION_SILU;
    stack->gated = true;
    stack->embedding_scale = 1;
    stack->initializer_range = 0.02;
    stack->tied = lr_gguf_tensor(gguf, "output.weight") == NULL;
    stack->qkv_bias = lr_gguf_tensor(gguf, "blk.0.attn_q.bias") != NULL;
    stack->output_bias = lr_gguf_tensor(gguf, "blk.0.attn_output.bias") != NULL;
    stack->mlp_bias = lr_gguf_tensor(gguf, "blk.0.ffn_gate.bias") != NULL;
    LR_TRY(lr_gguf_int(gguf, "tokenizer.ggml.bos_token_id", -1, &begin));
    stack->begin_token = begin >= 0 && begin < stack->vocabulary ? (int32_t)begin : -1;
    LR_TRY(lr_gguf_int(gguf, "tokenizer.ggml.eos_token_id", -1, &end));
    lr_add_end_token(stack, end);
    LR_TRY(lr_gguf_int(gguf, "tokenizer.ggml.eot_token_id", -1, &end));
    lr_add_end_token(stack, end);
    LR_TRY(lr_check_stack(stack, file));
    stack->attention_scale = 1.0f / sqrtf((float)stack->head_dim);
    return LORA_OK;
}
