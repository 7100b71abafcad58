// The skeleton of an adapter: its tensors, pairs and names, from a model and settings.
#ifndef LR_ADAPTER_BUILD_H
#define LR_ADAPTER_BUILD_H

#include "adapter.h"
#include "config.h"

// Pairs are zero, replacements hold the base's values. Takes `config`, also on failure. `strict`: every entry of a list
// must match something.
lora_status lr_adapter_build(const lora_model *model, lr_adapter_config *config, bool strict, lora_adapter **out);

#endif
