// Mistral: Llama with a sliding window in every layer (releases since 0.2 have none). Its GGUF files call themselves
// llama.
#include "family.h"

static lora_status read_config(const json_t *config, const char *file, const lora_allocator *allocator, lr_stack *stack)
{
    (void)allocator;
    if (!json_is_null(json_object_get(config, "sliding_window")))
        LR_TRY(lr_json_int(config, file, "sliding_window", 4096, &stack->window));
    if (stack->window < 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: sliding_window is %lld; expected a positive number or null", file,
                       (long long)stack->window);
    return lr_read_llama_config(config, file, stack);
}

const lr_family lr_family_mistral = {
    .name = "mistral",
    .architecture = "llama",
    .huggingface = &lr_llama_names,
    .gguf = &lr_llama_gguf_names,
    .gguf_interleaved = true,
    .read_config = read_config,
};
