// Llama 1 to 3 and everything saved as it: biases by config, Llama 3.1's rotary scaling.
#include "family.h"

static lora_status read_config(const json_t *config, const char *file, const lora_allocator *allocator, lr_stack *stack)
{
    (void)allocator;
    LR_TRY(lr_json_bool(config, file, "attention_bias", false, &stack->qkv_bias));
    stack->output_bias = stack->qkv_bias;
    LR_TRY(lr_json_bool(config, file, "mlp_bias", false, &stack->mlp_bias));
    return lr_read_llama_config(config, file, stack);
}

const lr_family lr_family_llama = {
    .name = "llama",
    .architecture = "llama",
    .huggingface = &lr_llama_names,
    .gguf = &lr_llama_gguf_names,
    .gguf_interleaved = true,
    .read_config = read_config,
};
