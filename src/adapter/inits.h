// Starting values of pairs, by PEFT's names (init_lora_weights). B starts at zero, so that the model starts as its
// base.
#ifndef LR_ADAPTER_INITS_H
#define LR_ADAPTER_INITS_H

#include "adapter.h"

// Draws every A; the module's index is the stream.
lora_status lr_init_pairs(lora_adapter *adapter, const char *name, uint64_t seed);

#endif
