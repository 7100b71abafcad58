// Names in adapter_model.safetensors, both ways, and what else PEFT's directory holds.
#ifndef LR_ADAPTER_PEFT_FORMAT_H
#define LR_ADAPTER_PEFT_FORMAT_H

#include "adapter.h"

#define LR_PEFT_CONFIG "adapter_config.json"
#define LR_PEFT_WEIGHTS "adapter_model.safetensors"
#define LR_PEFT_PREFIX "base_model.model."
#define LR_PEFT_SAMPLES "liblora.base_samples" // metadata key, see samples.h

// NULL when there is no memory.
char *lr_peft_pair_name(const lora_allocator *allocator, const char *module, bool is_a);
char *lr_peft_bias_name(const lora_allocator *allocator, const char *module, bool adapted);
char *lr_peft_whole_name(const lora_allocator *allocator, const char *tensor,
                         bool full); // modules_to_save, full fine-tuning
// A name as found in a file in the form that the functions above give: with the prefix, without an adapter's name
// ("lora_A.default.weight").
char *lr_peft_normalise(const lora_allocator *allocator, const char *name, bool full);

// The name under which the tied head's copy of a replaced embedding is saved, or NULL when `tensor` is no such
// replacement.
char *lr_peft_tied_name(const lora_adapter *adapter, const lr_adapter_tensor *tensor, lora_status *status);

#endif
