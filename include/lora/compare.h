/** @file compare.h
 *  Comparing settings: one training run for each, from the same start on the same rows, and one table of what each
 *  learnt, how large it is, how much memory and time it took.
 *
 *      lora_comparison_create -> _add for each setting -> _run until LORA_ERROR_STATE -> _row, _verdict, _json, _free
 *
 *  Everything is kept under one directory, so that a comparison goes on where it was stopped, by a cancel call or by
 *  killing the process: the same calls with the same model, data and settings do not run again what is finished, and
 *  the run that was under way resumes from its checkpoint.
 *
 *      OUTPUT/comparison.json   the document of lora_comparison_json, written after every run
 *      OUTPUT/adapters/NAME     the adapter of a setting (with several seeds NAME-seed2, ... as well)
 *      OUTPUT/models/NAME       the model of a full fine-tuning
 *      OUTPUT/runs/NAME         checkpoints of the run under way; removed when it is finished, unless it failed
 *
 *  What is compared is the loss: the negative log-likelihood of the held-out answers, per label token. Its uncertainty
 *  is that of the choice of held-out rows: a paired bootstrap (Efron and Tibshirani 1993, chapter 13; Koehn 2004) draws
 *  them 2,000 times with replacement, takes the difference of two settings on each draw, and gives the middle 95 %.
 *  With several seeds a row's likelihood is the mean over them. The held-out rows also choose the best evaluation of
 *  each run (see lora_trainer_run), so all losses are a little too good, in the same way.
 */
#ifndef LORA_COMPARE_H
#define LORA_COMPARE_H

#include "adapter.h"
#include "dataset.h"
#include "trainer.h"

LORA_BEGIN_DECLS

typedef struct lora_comparison lora_comparison;

typedef struct lora_comparison_options {
    size_t struct_size;
    const char *output;          /**< the directory; required. Copied */
    const lora_dataset *validation; /**< held-out rows; required */
    const lora_dataset *general; /**< general rows, on which forgetting is measured; NULL: not measured */
    int32_t seeds;               /**< runs of each setting, with its seed, seed + 1, ...; default 1 */
    int32_t answers;             /**< held-out rows that are answered in writing, greedily, the first ones; default
                                      16 */
    int32_t max_new_tokens;      /**< of an answer; default 128 */
    int32_t overwrite;           /**< 1: what another comparison left in `output` is removed; 0 (default): EXISTS */
} lora_comparison_options;

LORA_API void lora_comparison_options_init(lora_comparison_options *options, size_t struct_size);
#define lora_comparison_options_init(options) lora_comparison_options_init(options, sizeof *(options))

/** A comparison of settings on `model` that learn `data`. Model and data sets stay alive with it and must not change.
 *  Errors: ARGUMENT, DATA (a data set without rows), MEMORY. Nothing is written yet. */
LORA_API lora_status lora_comparison_create(const lora_model *model, const lora_dataset *data,
                                            const lora_comparison_options *options, lora_comparison **out);
LORA_API void lora_comparison_free(lora_comparison *comparison);

/** Adds a setting called `name` (1 to 64 letters, digits, '-', '_', '.', not first; copied). `data` NULL: the
 *  comparison's; else what this setting learns instead (the same rows with general data mixed in, say). Of `trainer`
 *  the members validation, output and save_steps are the comparison's own. Structs are copied, the texts and lists that
 *  they point to are lent until the comparison is freed. Errors: ARGUMENT (a name twice), STATE (a run has begun),
 *  MEMORY. */
LORA_API lora_status lora_comparison_add(lora_comparison *comparison, const char *name, const lora_dataset *data,
                                         const lora_adapter_options *adapter, const lora_trainer_options *trainer);

#define LORA_COMPARISON_LOSS 0    /**< measuring losses */
#define LORA_COMPARISON_TRAIN 1   /**< training: `step` tells */
#define LORA_COMPARISON_ANSWER 2  /**< answering held-out rows */

/** Where a run stands; texts are lent for the call. */
typedef struct lora_comparison_progress {
    size_t struct_size;
    const char *name;             /**< of the setting; "" for the base */
    int64_t run;                  /**< 1 for the first */
    int64_t runs;                 /**< settings * seeds */
    int32_t phase;                /**< LORA_COMPARISON_ */
    int32_t reserved;
    int64_t done;                 /**< steps or answers; of `total` */
    int64_t total;
    const lora_step_info *step;   /**< of LORA_COMPARISON_TRAIN; else NULL */
} lora_comparison_progress;

/** Return other than 0 to stop, as lora_comparison_cancel does. */
typedef int32_t (*lora_comparison_fn)(const lora_comparison_progress *progress, void *user);

/** The next run that is not finished: the base is measured before the first, then setting after setting, seed after
 *  seed. *index is the setting's. A setting that cannot be trained (its loss is not finite, it does not fit its budget)
 *  is finished as failed, and its row says why. `callback` and `index` may be NULL. STATE: all are finished. CANCELLED:
 *  the run is in a checkpoint, and the next call goes on. Errors: EXISTS and MISMATCH (`output` holds another
 *  comparison), BUSY, IO, FORMAT (comparison.json is damaged), MEMORY, and what training can answer. */
LORA_API lora_status lora_comparison_run(lora_comparison *comparison, lora_comparison_fn callback, void *user,
                                         int64_t *index);
/** Makes the run under way, or the next, return CANCELLED soon. From any thread, and from a signal handler. */
LORA_API void lora_comparison_cancel(lora_comparison *comparison);

#define LORA_SETTING_WAITING 0
#define LORA_SETTING_DONE 1
#define LORA_SETTING_FAILED 2

#define LORA_PEAK_PLANNED 0  /**< the memory plan's figure: the system does not let it be measured for a run alone */
#define LORA_PEAK_MEASURED 1 /**< the process's high-water mark, set back before the run */

/** A setting and what came of it; set struct_size first. Texts are lent by the comparison until its next call. Numbers
 *  that are not known are NaN. */
typedef struct lora_comparison_row {
    size_t struct_size;
    const char *name;
    const char *path;          /**< of its adapter, or of its model when `full`; of the first seed */
    const char *failure;       /**< why it failed; NULL: it did not */
    int32_t state;             /**< LORA_SETTING_; DONE when all its seeds are */
    int32_t full;
    double loss;               /**< on the held-out rows, per label token */
    double loss_low, loss_high;/**< 95 % */
    double loss_spread;        /**< standard deviation over seeds */
    double general_loss;
    double bleu, rouge_l, chrf;/**< of the answers, 0 to 100; NaN where none were written */
    double gain_share;         /**< (base - loss) / (base - full's loss), the best full fine-tuning; NaN without one */
    double gain_share_low, gain_share_high; /**< 95 % */
    int64_t trainable_parameters;
    double parameter_share;    /**< of the base's parameters */
    int64_t file_bytes;        /**< of the saved tensors */
    int64_t peak_memory_bytes; /**< the largest of its runs */
    int32_t peak_source;       /**< LORA_PEAK_ */
    int32_t reserved;
    int64_t steps;             /**< of the first seed */
    double seconds;            /**< of training, with its evaluations and checkpoints; the mean over seeds */
    double tokens_per_second;  /**< trained tokens by those seconds */
} lora_comparison_row;

LORA_API size_t lora_comparison_count(const lora_comparison *comparison);
LORA_API lora_status lora_comparison_row_at(lora_comparison *comparison, size_t index, lora_comparison_row *row);
/** The base model in the same columns; name "base". STATE: not measured yet. */
LORA_API lora_status lora_comparison_base(lora_comparison *comparison, lora_comparison_row *row);

/** Who won; set struct_size first. Texts are lent by the comparison until its next call. */
typedef struct lora_comparison_verdict {
    size_t struct_size;
    int64_t best;             /**< index of the lowest loss; -1: nothing is finished */
    int64_t recommended;      /**< the smallest setting whose loss cannot be told from the best: often the same */
    int64_t runner_up;        /**< the second-lowest loss; -1: none */
    double margin;            /**< loss of the runner-up minus the best's */
    double margin_low, margin_high; /**< 95 % */
    int32_t clear;            /**< 1: the best differs from every other: each 95 % interval is above 0 */
    int32_t claim;            /**< "90 % of full fine-tuning with 0.1 to 1 % of its parameters": 1: holds, 0: does not,
                                   -1: cannot be told (no full fine-tuning, or the interval holds 90 %) */
    int64_t claim_setting;    /**< whose row answers the claim: the smallest adapter that surely reaches 90 %, else the
                                   one with the lowest loss; -1: no full fine-tuning or no adapter is finished */
    const char *sentence_en, *sentence_zh;             /**< the winner in one sentence */
    const char *claim_sentence_en, *claim_sentence_zh; /**< the claim's answer in one sentence; "" without a full
                                                            fine-tuning */
} lora_comparison_verdict;

LORA_API lora_status lora_comparison_judge(lora_comparison *comparison, lora_comparison_verdict *verdict);

/** Everything as one JSON document, lent until the comparison's next call: model, data, base, settings with their
 *  options, figures, curves, answers and per-row likelihoods, verdict. Errors: MEMORY. */
LORA_API lora_status lora_comparison_json(lora_comparison *comparison, const char **text);

LORA_END_DECLS
#endif
