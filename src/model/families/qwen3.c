// Qwen3: q and k of each head are normalised before they turn; the head dimension is its own number.
#include "family.h"

static lora_status read_config(const json_t *config, const char *file, const lora_allocator *allocator, lr_stack *stack)
{
    stack->head_dim = 128; // where the config has none
    LR_TRY(lr_json_bool(config, file, "attention_bias", false, &stack->qkv_bias));
    stack->output_bias = stack->qkv_bias;
    LR_TRY(lr_read_llama_config(config, file, stack));
    return lr_read_layer_windows(config, file, allocator, stack);
}

const lr_family lr_family_qwen3 = {
    .name = "qwen3",
    .architecture = "qwen3",
    .huggingface = &lr_llama_names,
    .gguf = &lr_llama_gguf_names,
    .read_config = read_config,
    .qk_norm = true,
};
