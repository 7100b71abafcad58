/** @file adapter.h
 *  A LoRA adapter: h = W x + b + scale * B A dropout(x) on chosen linear layers (Hu et al. 2021), scale = alpha / r, or
 *  alpha / sqrt(r) with rsLoRA (Kalajdzievski 2023). Names and defaults are PEFT's.
 *
 *  Besides its pairs an adapter can hold replacements of whole tensors: trained biases, modules_to_save, or, for full
 *  fine-tuning, every tensor of the model.
 */
#ifndef LORA_ADAPTER_H
#define LORA_ADAPTER_H

#include "model.h"

LORA_BEGIN_DECLS

#define LORA_BIAS_NONE 0
#define LORA_BIAS_ALL 1       /**< every bias of the model is trained */
#define LORA_BIAS_LORA_ONLY 2 /**< those of the adapted layers */

/** A per-module setting: `pattern` as PEFT's rank_pattern matches it (a suffix at a dot, or a regular expression). */
typedef struct lora_pattern {
    const char *pattern;
    double value;
} lora_pattern;

typedef struct lora_adapter_options {
    size_t struct_size;
    int32_t r;            /**< rank; default 8 */
    float lora_alpha;     /**< default 8, as in PEFT */
    float lora_dropout;   /**< default 0; on the input of A, in training only */
    int32_t bias;         /**< LORA_BIAS_NONE */
    int32_t use_rslora;   /**< 0 */
    int32_t full;         /**< 1: full fine-tuning; everything below but `seed` is ignored */
    /** Each entry names a module, whole or by its last parts ("q_proj"). One entry that is "all-linear" takes every
     *  linear layer but the head. Default: q_proj and v_proj. */
    const char *const *target_modules;
    size_t target_module_count;
    const char *target_regex;   /**< instead: matched against whole module names; NULL: not used */
    const char *const *exclude_modules;
    size_t exclude_module_count;
    const int32_t *layers_to_transform; /**< only these layers; count 0: all */
    size_t layer_count;
    const char *const *modules_to_save; /**< trained whole and saved with the adapter: "lm_head", "embed_tokens",
                                             "norm" */
    size_t module_to_save_count;
    const lora_pattern *rank_pattern;
    size_t rank_pattern_count;
    const lora_pattern *alpha_pattern;
    size_t alpha_pattern_count;
    const char *init_lora_weights; /**< "true": A ~ U(-1/sqrt(in), 1/sqrt(in)), B = 0; "gaussian": A ~ N(0, 1/r^2), B =
                                        0 */
    uint64_t seed;
} lora_adapter_options;

LORA_API void lora_adapter_options_init(lora_adapter_options *options, size_t struct_size);
#define lora_adapter_options_init(options) lora_adapter_options_init(options, sizeof *(options))

/** A new adapter for `model`. Errors: ARGUMENT, MISMATCH (an entry of a list or pattern matches no module: for targets
 *  the message lists what there is), UNSUPPORTED, MEMORY. */
LORA_API lora_status lora_adapter_create(const lora_model *model, const lora_adapter_options *options,
                                         lora_adapter **out);

/** Reads a PEFT directory. Every tensor of its file must be consumed exactly once and fit; an adapter that matches
 *  nothing or whose every B is zero is refused, unless `allow_unchanged` is 1 (resuming before the first step).
 *  Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED (DoRA, another method, ...), MISMATCH (rank, shape, base; names the first
 *  tensors that differ), NOT_FINITE, MEMORY. */
LORA_API lora_status lora_adapter_load(const lora_model *model, const char *path, int32_t allow_unchanged,
                                       lora_adapter **out);

/** Writes adapter_config.json, adapter_model.safetensors and README.md as PEFT does, into a directory that appears
 *  whole or not at all. Errors: EXISTS (without `overwrite`), BUSY, IO, MEMORY. */
LORA_API lora_status lora_adapter_save(const lora_adapter *adapter, const char *path, int32_t overwrite);
LORA_API void lora_adapter_free(lora_adapter *adapter);

/** Set struct_size first. Texts are lent by the adapter. */
typedef struct lora_adapter_info {
    size_t struct_size;
    const char *base_name; /**< base_model_name_or_path */
    int32_t r;
    float lora_alpha;
    float lora_dropout;
    int32_t bias;
    int32_t use_rslora;
    int32_t full;
    int64_t modules;    /**< adapted linear layers */
    int64_t parameters; /**< trainable numbers */
} lora_adapter_info;
LORA_API lora_status lora_adapter_get_info(const lora_adapter *adapter, lora_adapter_info *info);

/** Its tensors, by PEFT's keys ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"). f32 [rows, cols].
 *  Writing is for hosts that initialise or edit an adapter; not while a session or trainer runs with it. */
LORA_API size_t lora_adapter_tensor_count(const lora_adapter *adapter);
LORA_API const char *lora_adapter_tensor_name(const lora_adapter *adapter, size_t index);
LORA_API lora_status lora_adapter_tensor_shape(const lora_adapter *adapter, size_t index, int64_t *rows, int64_t *cols);
LORA_API lora_status lora_adapter_tensor_read(const lora_adapter *adapter, size_t index, float *values, size_t count);
LORA_API lora_status lora_adapter_tensor_write(lora_adapter *adapter, size_t index, const float *values, size_t count);

LORA_END_DECLS
#endif
