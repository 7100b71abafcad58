/** @file model.h
 *  A base model: frozen weights, mapped from their files, shared by any number of sessions, adapters and trainers.
 *
 *  A model never changes once loaded. Merging adapters gives another model that shares the untouched tensors with its
 *  base; undoing a merge is freeing it, and the base has kept its bits.
 */
#ifndef LORA_MODEL_H
#define LORA_MODEL_H

#include "context.h"
#include "tokenizer.h"
#include "types.h"

LORA_BEGIN_DECLS

typedef struct lora_model lora_model;
typedef struct lora_adapter lora_adapter;

/** fraction in [0, 1]; a return value other than 0 cancels. */
typedef int32_t (*lora_progress_fn)(double fraction, void *user);

typedef struct lora_model_options {
    size_t struct_size;
    lora_type type;      /**< LORA_TYPE_KEEP (default): weights are mapped as they are; else converted while loading.
                              Quantized types are for the linear layers before the head; embeddings, norms and head
                              stay as they are. Rows that are no whole number of blocks become the next larger type that
                              fits (q4_k: q5_0, q5_k: q5_1, q6_k: q8_0), or stay as they are */
    int32_t initialize;  /**< 1: the directory may hold config.json alone; weights are drawn from N(0,
                              initializer_range) */
    uint64_t seed;       /**< for `initialize` */
    int32_t check_finite;/**< 1 (default): a NaN or infinite weight is an error, found when its tensor is first used for
                              training or merging, or at load when `type` converts; 2: every tensor is read at load */
    int32_t cache_quantized; /**< 1: of a directory, with `type` INT8 or NF4: the quantized weights are kept in its
                                  folder quantized-TYPE.cache, which may be removed at any time, and mapped from
                                  there at later loads until the model's files change in size or time. What hinders
                                  it is a warning */
    lora_progress_fn progress;
    void *progress_user;
} lora_model_options;

LORA_API void lora_model_options_init(lora_model_options *options, size_t struct_size);
#define lora_model_options_init(options) lora_model_options_init(options, sizeof *(options))

/** Loads a Hugging Face directory (config.json, model.safetensors or its index and shards; f32, f16, bf16, and what
 *  bitsandbytes saves: nf4 with and without double quantization, int8), a .gguf file (every type of types.h), or
 *  llama2.c's .bin. Families: llama, mistral, qwen2, qwen3.
 *  Errors: NOT_FOUND, IO, FORMAT (names the file and tensor), UNSUPPORTED (names the family or type), MISMATCH (a
 *  tensor's shape is not what config.json says), NOT_FINITE, MEMORY, CANCELLED. */
LORA_API lora_status lora_model_load(lora_context *context, const char *path, const lora_model_options *options,
                                     lora_model **out);
LORA_API void lora_model_free(lora_model *model);

/** Filled by lora_model_get_info; set struct_size first. Texts are lent by the model. */
typedef struct lora_model_info {
    size_t struct_size;
    const char *family;
    const char *path;
    int64_t vocabulary, hidden, layers, heads, kv_heads, head_dim, intermediate, context_length;
    int64_t parameters; /**< each stored tensor once: a tied head is not counted twice */
    int64_t bytes;      /**< of all weights as stored */
    lora_type type;     /**< of the linear layers */
    int32_t tied;       /**< 1: the output head is the embedding */
    uint64_t fingerprint; /**< hash of the shape and of samples of every tensor */
} lora_model_info;
LORA_API lora_status lora_model_get_info(const lora_model *model, lora_model_info *info);

/** Linear layers, by the names that target_modules are matched against ("model.layers.0.self_attn.q_proj"); NULL and
 *  ARGUMENT beyond the last. Names are lent by the model. */
LORA_API size_t lora_model_module_count(const lora_model *model);
LORA_API const char *lora_model_module_name(const lora_model *model, size_t index);
LORA_API lora_status lora_model_module_shape(const lora_model *model, size_t index, int64_t *out_features,
                                             int64_t *in_features);

/** Tensors by their Hugging Face names ("model.norm.weight"), in the same way. Reading gives `count` = rows * cols f32,
 *  converted if need be. Errors: ARGUMENT, MEMORY. */
LORA_API size_t lora_model_tensor_count(const lora_model *model);
LORA_API const char *lora_model_tensor_name(const lora_model *model, size_t index);
LORA_API lora_status lora_model_tensor_shape(const lora_model *model, size_t index, int64_t *rows, int64_t *cols);
LORA_API lora_status lora_model_tensor_read(const lora_model *model, size_t index, float *values, size_t count);

/** The tokenizer found beside or inside the model; NULL when there is none. Lent. */
LORA_API const lora_tokenizer *lora_model_tokenizer(const lora_model *model);

/* ---- merging ------------------------------------------------------------------------------------------------ */

/** An adapter in use: its part of every layer is multiplied by `weight` (1 = as trained). */
typedef struct lora_adapter_use {
    const lora_adapter *adapter;
    float weight;
    int32_t reserved;
} lora_adapter_use;

/** What a merge did; set struct_size first. */
typedef struct lora_merge_report {
    size_t struct_size;
    int64_t merged_tensors;
    double max_rounding;    /**< largest |stored - exact| over all merged weights: what the storage type lost */
    double mean_rounding;   /**< its mean */
    double max_change;      /**< largest |W' - W| */
    double probe_max_difference;  /**< of next-token log-probabilities, adapter attached against merged, on a probe
                                       text */
    double probe_mean_divergence; /**< mean KL(attached || merged) on the probe */
} lora_merge_report;

/** A model with W + sum of weight_i * scale_i * B_i A_i in place of W, computed in f32 and rounded once to `type`
 *  (LORA_TYPE_KEEP: each tensor's own; block types become f16). Uses count adapters made for `base`.
 *  `report` may be NULL. Errors: MISMATCH, NOT_FINITE, MEMORY. */
LORA_API lora_status lora_model_merge(const lora_model *base, const lora_adapter_use *uses, size_t count,
                                      lora_type type, lora_merge_report *report, lora_model **out);

/** Writes a model: `path` ending in ".gguf" gives a GGUF file, anything else a Hugging Face directory with the same
 *  shards, names and tokenizer files as the one it was loaded from. Written beside, synced and renamed.
 *  Errors: EXISTS (without `overwrite`), BUSY, IO, UNSUPPORTED. */
LORA_API lora_status lora_model_save(const lora_model *model, const char *path, int32_t overwrite);

typedef struct lora_quantize_options {
    size_t struct_size;
    lora_type type;              /**< NF4 (default) or INT8: a directory that bitsandbytes loads; any type of GGUF: a
                                      file */
    int32_t double_quantization; /**< 1: the scales of NF4 are stored in 8 bits (0.37 bits a weight less) */
    int32_t overwrite;
    int32_t reserved;
    lora_progress_fn progress;
    void *progress_user;
} lora_quantize_options;

LORA_API void lora_quantize_options_init(lora_quantize_options *options, size_t struct_size);
#define lora_quantize_options_init(options) lora_quantize_options_init(options, sizeof *(options))

/** Set struct_size first. */
typedef struct lora_quantize_report {
    size_t struct_size;
    int64_t quantized_tensors;
    int64_t other_tensors; /**< of these, in another quantized type: tables, and rows that are no whole blocks */
    int64_t bytes;         /**< of all weights in the file */
    int64_t unquantized_tensors; /**< layers (in a GGUF file tables too) whose rows are no whole blocks: they stay as
                                      they are */
    int64_t unquantized_bytes;   /**< their part of `bytes` */
} lora_quantize_report;

/** Writes a model whose linear layers before the head are of a quantized type: as `lora_model_save`, tensor by tensor,
 *  so that a mapped model may be larger than memory. In a directory embeddings, norms and head stay as they are; in a
 *  GGUF file embeddings and head become q6_k (q8_0 where the rows are no whole number of blocks), norms f32. Rows of
 *  layers that are no whole blocks: see lora_model_options.type. `report` may be NULL.
 *  Errors: as lora_model_save; UNSUPPORTED also for a type that the kind of output has not; CANCELLED. */
LORA_API lora_status lora_model_quantize(const lora_model *model, const char *path,
                                         const lora_quantize_options *options, lora_quantize_report *report);

LORA_END_DECLS
#endif
