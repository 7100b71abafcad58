// Running a stack over a batch: forward for inference, forward and backward for training. A pass owns the activations,
// laid out once for its largest batch; nothing is allocated while it runs.
#ifndef LR_PASS_H
#define LR_PASS_H

#include "src/model/model.h"

// Which weights and low-rank pairs a run uses: the model's own, or an adapter's in their place. Made by
// src/adapter/binding.c from a model and adapters; the pass only reads it.
typedef struct lr_binding {
    const lora_model *model;
    lora_view *values;    // [tensor_count] the tensor to use
    lora_view *gradients; // [tensor_count] absent: not trained
    lora_pair *pairs;     // of all modules, in module order; `hidden`, rows and dropout seed are filled in by the pass
    int32_t *pair_begin;  // [module_count + 1] pairs of module m: [pair_begin[m], pair_begin[m + 1])
    int64_t max_rank;     // largest sum of ranks on one module
    int64_t max_pairs;    // largest number of pairs on one module; 0: as max_rank
    bool trains_pairs, trains_tensors;
    bool plain_head; // no pairs lie on it, and its weight is not trained
    int32_t first_trained_layer; // blocks below it need no backward: -1 when the embedding is trained
} lr_binding;

// Keys and values of the tokens that a session has run, in pages of LORA_PAGE_KEYS tokens, each a buffer of a view
// [LORA_PAGE_KEYS, kv_heads * head_dim] for each block and kind. Caches that begin alike hold pages together, and what
// is held together is not written any more.
typedef struct lr_kv_page lr_kv_page;
typedef struct lr_kv_cache {
    lora_context *context;
    lora_view *keys, *values; // [layers] in any page
    lora_buffer **buffers;    // [page_count] of the pages
    lr_kv_page **pages;
    uint64_t page_bytes;
    int64_t layers, page_count, capacity, length;
} lr_kv_cache;

lora_status lr_kv_cache_create(const lora_model *model, lora_type type, int64_t capacity, lr_kv_cache **out);
// A cache that begins with the first `length` tokens of another: whole pages are shared, the rest of them is copied.
lora_status lr_kv_cache_fork(const lr_kv_cache *from, int64_t length, int64_t capacity, lr_kv_cache **out);
// Before the next `count` tokens are appended: copies of pages that others hold too, after a cache was cut back into
// them.
lora_status lr_kv_cache_make_writable(lr_kv_cache *cache, int64_t count);
uint64_t lr_kv_cache_bytes(const lora_model *model, lora_type type, int64_t capacity);
uint64_t lr_kv_cache_shared_bytes(const lr_kv_cache *cache); // in pages that other caches hold too
void lr_kv_cache_free(lr_kv_cache *cache);

// Of a row of logits: the first of the greatest, and log(sum(exp(logits))), NaN where a logit is.
typedef struct lr_logits_summary {
    int32_t best;
    float log_sum;
} lr_logits_summary;

// A run of consecutive tokens of one sequence.
typedef struct lr_span {
    int64_t begin, count;  // rows in the batch
    lr_kv_cache *cache;    // inference: earlier tokens; these are appended (length moves on success). NULL in training
    const lr_binding *binding; // inference: whose pairs apply to these rows, its values being those of the run's
                               // binding; NULL: the run's. Neighbours with one binding are one to the low-rank products
    float *logits;         // lr_pass_advance: [logit_rows, vocabulary] on the host, of the span's last rows
    lr_logits_summary *summaries; // [logit_rows]
    int64_t logit_rows;
} lr_span;

typedef struct lr_batch {
    int64_t tokens;
    const int32_t *ids;
    const int32_t *labels; // training and loss: label of the *next* position, already shifted: labels[i] is what row i
                           // has to predict, or -100; NULL in inference
    int64_t span_count;
    const lr_span *spans;  // positions start at 0 (or at the cache's length) in each
    bool is_prompt;        // inference: activations may be rounded to bf16 or, before integer weights, to 8 bits
    bool as_alone;         // inference, at most LORA_ALONE_ROWS tokens: the bits of one run for each of them
} lr_batch;

typedef struct lr_pass_options {
    int64_t max_tokens;
    int64_t max_spans;
    int64_t max_rank;      // of the binding; with bindings by span, of each
    int64_t max_pairs;     // on one module, all spans' together; 0: as many as max_rank
    bool training;         // a backward will be run
    int32_t recompute;     // LORA_RECOMPUTE_ (lora/trainer.h)
    lora_type activations; // kept for the backward: F32, BF16; KEEP: f32 where all weights are, else bf16
    bool trains_tensors;   // gradients of whole tensors are wanted
    bool trains_pairs;
    bool plain_head;       // of the binding
    int32_t first_trained_layer;
} lr_pass_options;

typedef struct lr_pass lr_pass;
lora_status lr_pass_create(const lora_model *model, const lr_pass_options *options, lr_pass **out);
void lr_pass_free(lr_pass *pass);
// Bytes that create would take for activations, and for the backend's workspace.
void lr_pass_bytes(const lora_model *model, const lr_pass_options *options, uint64_t *activations, uint64_t *workspace);
struct lora_memory_plan;
// Adds the base, the program and a pass to a plan (lora/trainer.h), and sums it up.
void lr_plan_run(const lora_model *model, const lr_pass_options *pass, struct lora_memory_plan *plan);

// Polled between layers from the running thread; set from any. NULL: never cancelled.
void lr_pass_set_cancel(lr_pass *pass, const atomic_int *flag);

// Forward and backward: adds grad_scale * d(sum of losses) to the binding's gradients. losses[tokens] on the host, 0
// where the label is -100. `dropout_seed` differs for each micro-batch of each step. On CANCELLED some gradients may
// have been added to.
lora_status lr_pass_train(lr_pass *pass, const lr_binding *binding, const lr_batch *batch, float grad_scale,
                          uint64_t dropout_seed, float *losses);
// Forward only: losses[tokens].
lora_status lr_pass_losses(lr_pass *pass, const lr_binding *binding, const lr_batch *batch, float *losses);
// Forward with caches: logits of the chosen rows, which rise, [row_count, vocabulary] on the host, and what is said of
// each (NULL: not wanted). row_count 0: fills the caches only.
lora_status lr_pass_logits(lr_pass *pass, const lr_binding *binding, const lr_batch *batch, const int64_t *rows,
                           int64_t row_count, float *logits, lr_logits_summary *summaries);
// Forward with caches: spans of any bindings, each with the logits it asks for.
lora_status lr_pass_advance(lr_pass *pass, const lr_binding *binding, const lr_batch *batch);

#endif
