// The settings of an adapter: what adapter_config.json says, in plain data. Read from a file of PEFT or made from
// options, and written with every key that PEFT writes.
#ifndef LR_ADAPTER_CONFIG_H
#define LR_ADAPTER_CONFIG_H

#include "lib/memory.h"

#include <lora/adapter.h>

typedef struct lr_method lr_method; // method.h

typedef struct lr_texts {
    char **items;
    size_t count;
} lr_texts;

typedef struct lr_pattern {
    char *pattern;
    double value;
} lr_pattern;

typedef struct lr_patterns {
    lr_pattern *items;
    size_t count;
} lr_patterns;

typedef struct lr_adapter_config {
    const lora_allocator *allocator;
    const lr_method *method; // NULL when full
    bool full;       // every tensor of the model is replaced; what follows but base_name is unused
    char *base_name; // base_model_name_or_path; never NULL
    int32_t r;
    float alpha;
    float dropout;
    int32_t bias; // LORA_BIAS_
    bool use_rslora;
    bool tie_weights; // ensure_weight_tying: a replaced embedding is the tied head's too
    bool all_linear;
    lr_texts target_modules;
    char *target_regex; // instead of the list
    lr_texts exclude_modules;
    char *exclude_regex;
    int32_t *layers; // layers_to_transform
    size_t layer_count;
    lr_texts layers_pattern;
    lr_texts modules_to_save;
    lr_patterns rank_pattern, alpha_pattern;
    char *init;        // init_lora_weights: "true", "gaussian", ...
    bool fan_in_fan_out; // as read; without effect on linear layers
    char *source;      // text of the file it was read from, whose further keys are kept; NULL: made here
    size_t source_length;
} lr_adapter_config;

lora_status lr_config_from_options(const lora_allocator *allocator, const char *base_name,
                                   const lora_adapter_options *options, lr_adapter_config **out);
// `name` is the file as messages call it. UNSUPPORTED names what this library does not do.
lora_status lr_config_parse(const lora_allocator *allocator, const char *name, const char *text, size_t length,
                            lr_adapter_config **out);
// adapter_config.json: keys sorted, two spaces.
lora_status lr_config_write(const lr_adapter_config *config, char **text, size_t *length);
void lr_config_free(lr_adapter_config *config); // NULL is accepted

// Replaces a list; on failure the list is as it was.
lora_status lr_texts_set(const lora_allocator *allocator, lr_texts *texts, const char *const *items, size_t count);
void lr_texts_free(const lora_allocator *allocator, lr_texts *texts);

#endif
