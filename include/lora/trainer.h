/** @file trainer.h
 *  Training: AdamW on an adapter's tensors, one optimizer step a call, so that the host owns the loop.
 *
 *  Loss is the mean over the label tokens of a step, all its micro-batches together; labels are shifted by one; the
 *  gradient is clipped by its global norm; weight decay is decoupled (not applied to biases and norms). These are
 *  transformers'.
 */
#ifndef LORA_TRAINER_H
#define LORA_TRAINER_H

#include "adapter.h"
#include "dataset.h"
#include "diagnose.h"

LORA_BEGIN_DECLS

typedef struct lora_trainer lora_trainer;

#define LORA_SCHEDULE_CONSTANT 0
#define LORA_SCHEDULE_LINEAR 1
#define LORA_SCHEDULE_COSINE 2

/* What is computed again in the backward (gradient checkpointing), so that it need not be kept: */
#define LORA_RECOMPUTE_NONE 0
#define LORA_RECOMPUTE_ALL 1 /**< blocks as a whole, from their input */
#define LORA_RECOMPUTE_MLP 2 /**< the two widest products of each block, gate and up */

typedef struct lora_trainer_options {
    size_t struct_size;
    double epochs;            /**< default 3 */
    int64_t max_steps;        /**< > 0: instead of epochs */
    int32_t batch_size;       /**< rows in a micro-batch; default 4 */
    int32_t gradient_accumulation; /**< micro-batches in a step; default 1 */
    double learning_rate;     /**< default 2e-4 */
    int32_t schedule;         /**< LORA_SCHEDULE_LINEAR */
    double warmup_steps;      /**< >= 1: steps; < 1: share of all steps, rounded up */
    double weight_decay;      /**< default 0 */
    double max_grad_norm;     /**< default 1; 0: no clipping */
    double beta1, beta2, epsilon; /**< 0.9, 0.999, 1e-8 */
    int32_t shuffle;          /**< default 1: a new permutation each epoch, from seed and epoch */
    int32_t packing;          /**< 1: rows fill micro-batches of batch_size * pack_length tokens, each attending to
                                   itself alone */
    int32_t pack_length;      /**< 0: the longest row */
    int32_t recompute;        /**< LORA_RECOMPUTE_NONE. With activations kept as f32 gradients are the same to the bit
                                   whichever */
    uint64_t seed;            /**< order of rows, dropout; default 42 */
    uint64_t memory_budget;   /**< bytes; > 0: batch_size is split into smaller micro-batches and recompute is raised as
                                   needed to stay below; BUDGET when nothing fits */
    const lora_dataset *validation; /**< NULL: none */
    int64_t eval_steps;       /**< evaluate every so many steps; 0: at the end of each epoch */
    int32_t early_stopping;   /**< stop after so many evaluations without improvement; 0: never */
    const char *output;       /**< directory for checkpoints; NULL: none are written */
    int64_t save_steps;       /**< 0: at the end of each epoch */
    int32_t keep;             /**< newest checkpoints kept beside the best; default 2 */
    lora_type activations;    /**< as what the forward keeps them for the backward: F32 or BF16, which rounds gradients
                                   a little and no loss; LORA_TYPE_KEEP: f32 where all weights are, else bf16 */
} lora_trainer_options;

LORA_API void lora_trainer_options_init(lora_trainer_options *options, size_t struct_size);
#define lora_trainer_options_init(options) lora_trainer_options_init(options, sizeof *(options))

/** What a run needs, before it starts; set struct_size first. */
typedef struct lora_memory_plan {
    size_t struct_size;
    uint64_t weights;     /**< the base (mapped pages count) */
    uint64_t adapter;     /**< trained tensors */
    uint64_t gradients;
    uint64_t optimizer;
    uint64_t activations;
    uint64_t workspace;   /**< scratch memory of the backend and the loss */
    uint64_t kv_cache;    /**< inference */
    uint64_t other;       /**< tokenizer, data, program */
    uint64_t total;
    int32_t micro_batch;  /**< rows, as chosen under the budget */
    int32_t recompute;
} lora_memory_plan;

/** Plans training `adapter_options` on `model` with rows of `row_length` ids. Nothing is allocated.
 *  Errors: ARGUMENT, MISMATCH, BUDGET. */
LORA_API lora_status lora_plan_training(const lora_model *model, const lora_adapter_options *adapter_options,
                                        const lora_trainer_options *options, int64_t row_length,
                                        lora_memory_plan *plan);
/** Plans a session of `context_length` tokens with the other options' defaults. Errors: ARGUMENT. */
LORA_API lora_status lora_plan_inference(const lora_model *model, int64_t context_length, lora_memory_plan *plan);

/** A trainer for `adapter`, which it changes; adapter, its model and `data` stay alive with it, and must not change
 *  under it. The adapter must not be used by a session meanwhile. `output` is made when it is not there, and what a
 *  killed run left half written in it is removed. Errors: ARGUMENT, DATA (an id outside the vocabulary, a row longer
 *  than the model's context, no label token), NOT_FINITE (a weight of the base), BUSY (another process or trainer
 *  writes to `output`, or the adapter has a trainer), IO, BUDGET, MEMORY. */
LORA_API lora_status lora_trainer_create(lora_adapter *adapter, const lora_dataset *data,
                                         const lora_trainer_options *options, lora_trainer **out);
LORA_API void lora_trainer_free(lora_trainer *trainer);

/** Filled by a step; set struct_size first. */
typedef struct lora_step_info {
    size_t struct_size;
    int64_t step;         /**< 1 after the first */
    int64_t total_steps;
    double epoch;         /**< 1.5: half of the second is done */
    double loss;
    double learning_rate; /**< as used by this step */
    double gradient_norm; /**< before clipping */
    int64_t tokens;       /**< in this step, without padding */
    int64_t label_tokens;
    double seconds;
    double eval_loss;     /**< of the evaluation that followed this step; NaN when there was none */
    int32_t improved;     /**< 1: eval_loss is the best so far */
    int32_t done;         /**< 1: that was the last step, or early stopping ended the run */
} lora_step_info;

/** One optimizer step, with the evaluation and checkpoint that fall due after it. After the first step every trained B
 *  must have a finite, non-zero gradient (NO_GRADIENT names the first that has not). A loss or gradient that is not
 *  finite leaves the adapter as it was before the step (NOT_FINITE), and so does one that has exploded (DIVERGED): at
 *  least twice, or in five steps running 1.2 times, the larger of the first step's loss and ln(vocabulary), that of a
 *  model that knows nothing. After the last step: STATE. Cancelled: CANCELLED, the adapter and the position stay
 *  as before the step, and the next call does it again with the same bits; where it was the evaluation that was
 *  cancelled, the next call makes up for it and reports the step. A checkpoint that cannot be written (IO: a full disk)
 *  does not undo the step: `info` is filled and the next call goes on. The first step in an `output` that holds another
 *  run's checkpoints, without lora_trainer_resume: EXISTS. */
LORA_API lora_status lora_trainer_step(lora_trainer *trainer, lora_step_info *info);

/** Return other than 0 to stop after this step: a checkpoint is written when there is an output. */
typedef int32_t (*lora_step_fn)(const lora_step_info *info, void *user);
/** Steps until done. CANCELLED when the callback or lora_trainer_cancel stopped it: what was done is in a checkpoint
 *  when there is an output, and another call goes on. At the end, with validation data, the adapter holds the tensors
 *  of the best evaluation (a host that steps by itself may call this after the last step for that alone). A checkpoint
 *  that cannot be written is a warning in the log and ends nothing; when it was the last, its error is the answer.
 *  NOT_FINITE or DIVERGED end the run, and the message says the step, the loss, likely causes and what to change. With
 *  an output the adapter (full fine-tuning aside, which would need another copy of the model) then holds the tensors of
 *  the last step whose loss was at most 1.05 times that larger number; checkpoints from after it are removed, the
 *  newest from before it stays, and where there is none one is written. */
LORA_API lora_status lora_trainer_run(lora_trainer *trainer, lora_step_fn callback, void *user);

/** Makes the step or evaluation that runs, or else the next, return at its next layer. From any thread. */
LORA_API void lora_trainer_cancel(lora_trainer *trainer);

/** Mean loss per label token over `validation` now. Errors: STATE (no validation), CANCELLED. */
LORA_API lora_status lora_trainer_evaluate(lora_trainer *trainer, double *loss);

/** Writes OUTPUT/checkpoint-STEP: the adapter as a PEFT directory and everything needed to go on, with a checksum.
 *  Errors: STATE (no output; or the run is over and the adapter holds its best tensors), EXISTS (another run's), IO,
 *  MEMORY. */
LORA_API lora_status lora_trainer_save(lora_trainer *trainer);
/** Goes on from the newest intact checkpoint under `output`; *step is its step, or 0 when there is none. What the run
 *  ends with has the bits of one that never stopped. Before the first step only. A damaged checkpoint is passed over
 *  with a warning in the log. Errors: STATE, MISMATCH (data or settings differ: says which), IO, MEMORY. */
LORA_API lora_status lora_trainer_resume(lora_trainer *trainer, int64_t *step);

/** What the run's curves say so far: lora_diagnose on its steps, those before a resume included. The texts are
 *  static. */
LORA_API lora_status lora_trainer_diagnose(const lora_trainer *trainer, lora_diagnosis *diagnosis);

/** The plan that the trainer runs under. */
LORA_API lora_status lora_trainer_plan(const lora_trainer *trainer, lora_memory_plan *plan);

LORA_END_DECLS
#endif
