// Qwen2 and 2.5: biases on q, k and v alone, a sliding window in the upper layers where it is switched on.
#include "family.h"

static lora_status read_config(const json_t *config, const char *file, const lora_allocator *allocator, lr_stack *stack)
{
    stack->qkv_bias = true;
    LR_TRY(lr_read_llama_config(config, file, stack));
    return lr_read_layer_windows(config, file, allocator, stack);
}

const lr_family lr_family_qwen2 = {
    .name = "qwen2",
    .architecture = "qwen2",
    .huggingface = &lr_llama_names,
    .gguf = &lr_llama_gguf_names,
    .read_config = read_config,
};
