// Comparing settings. What is known of a run is one JSON value, in memory as in OUTPUT/comparison.json, so that going
// on after a kill and going on after a call are the same thing.
//
//   comparison.c  the handle                        store.c     OUTPUT and comparison.json: read, checked, written
//   settings.c    options as JSON: what must agree  run.c       one run: train, measure, save
//   measure.c     losses, answers, sizes            resample.c  the bootstrap
//   figures.c     the rows of the table             judge.c     winner and claim, in figures and sentences
//   document.c    all of it as JSON
#ifndef LR_COMPARISON_H
#define LR_COMPARISON_H

#include "lib/file.h"
#include "lib/json.h"
#include "src/adapter/adapter.h"
#include "src/compare/resample.h"
#include "src/data/dataset.h"

#include <lora/compare.h>

#define LR_COMPARISON_FILE "comparison.json"
#define LR_COMPARISON_VERSION 1

typedef struct lr_setting {
    char *name;
    bool runnable;      // false: known from the file alone, complete
    lora_dataset *data; // the comparison's, or its own
    lora_adapter_options adapter;
    lora_trainer_options trainer;
    json_t *options;    // {"adapter", "trainer", "data"}: what must agree to go on
    json_t *runs;       // one object a finished seed, in order
} lr_setting;

struct lora_comparison {
    lora_context *context;
    lora_model *model;
    lora_dataset *data, *validation, *general;
    char *output;
    int32_t seeds, answers, max_new_tokens;
    bool overwrite, opened; // opened: `output` is ours and what it held has been read
    lr_lock *lock;
    lr_setting *settings;
    size_t setting_count, setting_capacity;
    json_t *base;           // like a run; NULL: not measured yet
    lr_resamples resamples; // of what is finished; made when asked for
    char *texts[4];         // lent sentences: winner en, zh, claim en, zh
    char *document;         // lent
    char *row_path;         // lent
    atomic_int cancel;
};

// ---- settings ------------------------------------------------------------------------------------------------------

// What a setting's result depends on, as JSON; NULL: no memory.
json_t *lr_setting_options(const lora_dataset *data, const lora_adapter_options *adapter,
                           const lora_trainer_options *trainer);
// The same of the whole comparison: model and data.
json_t *lr_comparison_about(const lora_comparison *comparison);

// ---- store ---------------------------------------------------------------------------------------------------------

// Locks OUTPUT and takes what an earlier call finished there.
lora_status lr_comparison_open(lora_comparison *comparison);
lora_status lr_comparison_write(lora_comparison *comparison);
// OUTPUT/folder/NAME, for a seed after the first NAME-seedN; from the context's allocator.
char *lr_comparison_path(const lora_comparison *comparison, const char *folder, const lr_setting *setting,
                         size_t seed);

// ---- runs ----------------------------------------------------------------------------------------------------------

typedef struct lr_reporter {
    lora_comparison *comparison;
    lora_comparison_fn callback;
    void *user;
    lora_comparison_progress progress;
} lr_reporter;

// CANCELLED when the callback or lora_comparison_cancel asked to stop.
lora_status lr_report_progress(lr_reporter *reporter, int32_t phase, int64_t done, int64_t total,
                               const lora_step_info *step);
lora_status lr_comparison_run_base(lr_reporter *reporter);
lora_status lr_comparison_run_setting(lr_reporter *reporter, lr_setting *setting, size_t seed);

// Adds to `run`: "nll", a number for each held-out row; "general_loss"; with `answers`, "answers" and "scores".
lora_status lr_comparison_measure(lr_reporter *reporter, const lora_adapter_use *uses, size_t count, bool answers,
                                  json_t *run);
// The bytes of the tensor files in a saved adapter or model.
lora_status lr_saved_bytes(const lora_context *context, const char *path, int64_t *bytes);

// ---- figures -------------------------------------------------------------------------------------------------------

// Columns of the bootstrap; setting i is LR_COLUMN_SETTINGS + i.
enum { LR_COLUMN_TOKENS, LR_COLUMN_BASE, LR_COLUMN_SETTINGS };

// Why it failed; NULL: it did not.
const char *lr_setting_failure(const lr_setting *setting);
lora_status lr_comparison_resample(lora_comparison *comparison);
// The finished full fine-tuning with the lowest loss; -1: none.
int64_t lr_comparison_full(const lora_comparison *comparison);
double lr_setting_loss(const lora_comparison *comparison, const lr_setting *setting);
int64_t lr_setting_parameters(const lr_setting *setting);
lora_status lr_comparison_fill_row(lora_comparison *comparison, size_t index, lora_comparison_row *row);
lora_status lr_comparison_fill_base(lora_comparison *comparison, lora_comparison_row *row);
lora_status lr_comparison_fill_verdict(lora_comparison *comparison, lora_comparison_verdict *verdict);

#endif
