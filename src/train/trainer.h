// The trainer: AdamW on the tensors of one adapter, one optimizer step a call.
//
//   options.c    defaults and checks            feed.c        which rows a step sees, as batches
//   schedule.c   learning rate over steps       tensor_set.c  gradients, moments, best tensors: one buffer each
//   trainer.c    the handle                     step.c        one optimizer step
//   run.c        evaluation, early stopping, the loop
//   divergence.c losses that explode
//   diagnose.c   what the curves say
//   checkpoint.c writes OUTPUT/checkpoint-N     resume.c      reads one back
//   state.c      what a checkpoint says in JSON history.c     the log of steps in it
//   plan.c       memory before anything is allocated, and the split that fits a budget; outline.c: of adapter options
#ifndef LR_TRAINER_H
#define LR_TRAINER_H

#include "lib/file.h"
#include "lib/json.h"
#include "src/adapter/adapter.h"
#include "src/data/dataset.h"
#include "src/train/feed.h"

#include <lora/trainer.h>

// ---- schedule ------------------------------------------------------------------------------------------------------

// Steps of warm-up: >= 1 is a number of steps, < 1 a share of all steps, rounded up.
int64_t lr_warmup_steps(double warmup, int64_t total_steps);
// The factor on the learning rate for the update with `step` updates before it.
double lr_schedule_factor(int32_t schedule, int64_t warmup, int64_t total_steps, int64_t step);

// ---- tensor sets ---------------------------------------------------------------------------------------------------

// One f32 tensor for each tensor of an adapter, in one buffer.
typedef struct lr_tensor_set {
    lora_buffer *buffer; // NULL: absent
    lora_view all;       // [1, every number]
    lora_view *views;    // [tensor_count]
} lr_tensor_set;

lora_status lr_tensor_set_create(const lora_adapter *adapter, lr_tensor_set *out); // zeroed
// Between the adapter's tensors and a set.
lora_status lr_tensor_set_store(const lora_adapter *adapter, const lr_tensor_set *set); // adapter -> set
lora_status lr_tensor_set_load(const lora_adapter *adapter, const lr_tensor_set *set);  // set -> adapter
void lr_tensor_set_free(const lora_adapter *adapter, lr_tensor_set *set);
// Numbers in a set, the padding between tensors included; and of one tensor.
uint64_t lr_tensor_set_numbers(const lora_adapter *adapter);
uint64_t lr_tensor_set_padded(const lora_view *value);

// ---- history -------------------------------------------------------------------------------------------------------

#define LR_HISTORY_CAPACITY 2048

typedef struct lr_history_entry {
    int64_t step;
    double epoch, loss, learning_rate, gradient_norm;
    double eval_loss; // NaN: no evaluation followed
} lr_history_entry;

// Loss and norm over the run, at most LR_HISTORY_CAPACITY entries: when it is full, only every second, fourth, ... step
// stays.
typedef struct lr_history {
    lr_history_entry *entries;
    size_t count;
    int64_t stride;
} lr_history;

lora_status lr_history_create(const lora_allocator *allocator, lr_history *out);
void lr_history_add(lr_history *history, const lr_history_entry *entry);

// ---- the handle ----------------------------------------------------------------------------------------------------

// Where a run stands: what a checkpoint keeps beside tensors.
typedef struct lr_progress {
    int64_t step;    // optimizer steps done
    int64_t updates; // those of them that had label tokens, so that something was learnt
    int64_t epoch;   // of the next micro-batch
    int64_t batch;   // its number in that epoch
    double first_loss; // of the first update
    int32_t unhealthy; // steps one behind the other with a loss beyond 1.2 times the limit; not kept in checkpoints
    int64_t best_step; // 0: no evaluation so far
    double best_loss;
    int32_t without_improvement; // evaluations since then
    bool stopped;        // by early stopping
    bool evaluation_due; // step `step` is done, but the evaluation after it is not
    lora_step_info last; // of step `step`
} lr_progress;

struct lora_trainer {
    lora_context *context; // the model's
    lora_adapter *adapter;
    lora_dataset *data;
    lora_dataset *validation; // or NULL
    uint64_t data_fingerprint, validation_fingerprint; // as at create: data must not change under a run
    lora_trainer_options options;
    char *output; // or NULL
    lr_lock *lock;

    lr_tensor_set gradients, first_moment, second_moment;
    lr_tensor_set best; // only with validation
    lr_tensor_set good; // of the last healthy step; only with output and not for full fine-tuning
    lr_progress good_progress; // before that step's update
    bool has_good;
    bool diverged; // the run is over
    lora_parameter *parameters;
    lr_binding *binding;
    lr_pass *pass;
    lr_feed feed;
    float *losses; // [feed.max_tokens]
    lora_memory_plan plan;

    int64_t total_steps, warmup_steps;
    lr_progress progress;
    lr_history history;
    bool claimed;        // checkpoints under `output` are this run's
    bool restored;       // the run is over and the adapter holds the best tensors
    int64_t saved_step;  // of the last checkpoint written or read; -1: none
    atomic_int cancel;
};

lora_status lr_trainer_check_options(const lora_trainer_options *options);
bool lr_trainer_done(const lora_trainer *trainer);

// Gradients, clipping and update of the next step. On failure adapter, moments and position are as before and the
// gradients are zero.
lora_status lr_trainer_take_step(lora_trainer *trainer);

// ---- divergence ----------------------------------------------------------------------------------------------------

// NOT_FINITE or DIVERGED when a step's loss is beyond every sensible range.
lora_status lr_divergence_check(const lora_trainer *trainer, double loss);
// Before a step's update: remembers the first loss, and the tensors where the loss is healthy.
lora_status lr_divergence_keep(lora_trainer *trainer, double loss);
// Ends a run that failed with `reason`: the adapter goes back to the last healthy step, and a checkpoint of it or from
// before it stays. Returns `reason` with a message that says where.
lora_status lr_divergence_end(lora_trainer *trainer, lora_status reason);

// ---- checkpoints ---------------------------------------------------------------------------------------------------

#define LR_CHECKPOINT_STATE "trainer_state.json"
#define LR_CHECKPOINT_OPTIMIZER "optimizer.safetensors"
#define LR_CHECKPOINT_BEST "best_model.safetensors"
#define LR_CHECKPOINT_SUMS "checksums.json"
#define LR_CHECKPOINT_FORMAT 1

// Before the first step or checkpoint: EXISTS when `output` holds checkpoints of another run.
lora_status lr_checkpoint_claim(lora_trainer *trainer);
lora_status lr_checkpoint_write(lora_trainer *trainer);
// Steps of the checkpoints under `output`, ascending; from the context's allocator.
lora_status lr_checkpoint_list(const lora_trainer *trainer, int64_t **steps, size_t *count);
char *lr_checkpoint_path(const lora_trainer *trainer, int64_t step);
// Removes what a killed process left under `output`.
void lr_checkpoint_sweep(const lora_trainer *trainer);

// trainer_state.json as a value, and back. The reader checks the settings first: MISMATCH says which differs.
lora_status lr_state_make(const lora_trainer *trainer, char **text, size_t *length);
lora_status lr_state_take(const lora_trainer *trainer, const json_t *state, const char *name, lr_progress *progress,
                          lr_history *history);

// ---- plan ----------------------------------------------------------------------------------------------------------

// What decides the memory of a run, but for the split into micro-batches.
typedef struct lr_plan_request {
    const lora_model *model;
    uint64_t numbers;     // of all trained tensors
    lr_pass_options pass; // but max_tokens, max_spans and recompute
    uint64_t data_bytes;
    uint64_t copies; // of the tensors, beside those that are trained: the best, the last healthy
} lr_plan_request;

// A way to split the rows of a batch.
typedef struct lr_plan_split {
    int32_t micro_rows;
    int64_t max_tokens, max_spans;
} lr_plan_split;

// Fills numbers and pass for an adapter that is not made yet.
lora_status lr_plan_outline(const lora_model *model, const lora_adapter_options *options, lr_plan_request *request);
// The first split that fits `budget` bytes (0: the first), with as little recomputation from `recompute` on as can be:
// `splits` go from large to small. BUDGET: none does; the message says what the smallest takes.
lora_status lr_plan_fit(const lr_plan_request *request, const lr_plan_split *splits, size_t count, int32_t recompute,
                        uint64_t budget, size_t *chosen, lora_memory_plan *plan);

#endif
