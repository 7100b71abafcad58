// Which modules an adapter works on, by PEFT's rules.
#ifndef LR_ADAPTER_MATCH_H
#define LR_ADAPTER_MATCH_H

#include "config.h"

#include "src/model/model.h"

// What happens to one module.
typedef struct lr_match {
    bool adapted; // gets a low-rank pair
    bool saved;   // is trained whole (modules_to_save)
    int32_t rank;
    float alpha;
} lr_match;

// Fills matches[module_count]. MISMATCH when nothing is adapted or, with `strict`, when an entry of a list matches
// nothing; UNSUPPORTED when a target is no linear layer.
lora_status lr_match_modules(const lora_model *model, const lr_adapter_config *config, bool strict, lr_match *matches);

// What "all-linear" came to, put into target_modules: whole names, or from 20 on the shortest endings that tell the
// adapted modules from the others.
lora_status lr_match_name_targets(const lora_model *model, const lr_match *matches, lr_adapter_config *config);

// Whether an entry of modules_to_save means this module or one that contains it.
bool lr_match_saves(const char *module, const char *entry);

#endif
