/** @file evaluate.h
 *  Measuring a model, with or without adapters, on data.
 */
#ifndef LORA_EVALUATE_H
#define LORA_EVALUATE_H

#include "adapter.h"
#include "dataset.h"
#include "metrics.h"
#include "session.h"

LORA_BEGIN_DECLS

/** Set struct_size first. */
typedef struct lora_loss {
    size_t struct_size;
    double loss;       /**< mean negative log-likelihood per label token, natural logarithm */
    double perplexity; /**< exp(loss) */
    int64_t rows;
    int64_t tokens;
    int64_t label_tokens;
} lora_loss;

/** One row's negative log-likelihood, summed over its label tokens. Return other than 0 to stop. */
typedef int32_t (*lora_row_loss_fn)(int64_t row, double nll, int64_t label_tokens, void *user);

/** Loss of `data`. `callback` may be NULL. Errors: MISMATCH, DATA, NOT_FINITE, MEMORY, CANCELLED. */
LORA_API lora_status lora_evaluate_loss(const lora_model *model, const lora_adapter_use *uses, size_t count,
                                        const lora_dataset *data, lora_row_loss_fn callback, void *user,
                                        lora_loss *loss);

/** Next-token log-probabilities at every position of one sequence: values[i * vocabulary + t] = log p(t | ids[0..i]).
 *  `value_count` must be id_count * vocabulary. */
LORA_API lora_status lora_evaluate_log_probabilities(const lora_model *model, const lora_adapter_use *uses,
                                                     size_t count, const int32_t *ids, size_t id_count, float *values,
                                                     size_t value_count);

/* ---- answers, judged ----------------------------------------------------------------------------------------- */

/** A judgement of one system's answers to rows with known answers, beside a second system's where there is one: scores
 *  with intervals, rows, classes, and a checklist for a person's own judgement with hints on where to look.
 *
 *      lora_evaluation_create -> _run (a model answers the rows of a data set) or _add (answers from elsewhere)
 *                             -> _run or _add for LORA_SYSTEM_BASELINE, if any -> _get_scores, _json, _free */
typedef struct lora_evaluation lora_evaluation;

#define LORA_SYSTEM 0
#define LORA_SYSTEM_BASELINE 1 /**< what LORA_SYSTEM is compared with: the base model, say */

#define LORA_CLASSIFY_AUTO 0       /**< BY_ANSWER where labels are given, or the expected answers look like labels: 2 to
                                        50 different ones, short, and on average at least four rows each */
#define LORA_CLASSIFY_NONE 1
#define LORA_CLASSIFY_BY_ANSWER 2  /**< the class is the label that the answer is, but for letter case and marks or
                                        space around it */
#define LORA_CLASSIFY_BY_LIKELIHOOD 3 /**< the class is the label that the model finds likeliest as the answer, its end
                                           included */

typedef struct lora_evaluation_options {
    size_t struct_size;
    /** What to measure: the names of lora_evaluation_json, or what several of them begin with ("rouge", "f1", "bleu").
     *  None: all that the rows allow. */
    const char *const *metrics;
    size_t metric_count;
    const char *bleu_tokenizer; /**< NULL: "zh" where a fifth or more of the expected answers is Chinese, else "13a" */
    int32_t words;              /**< LORA_WORDS_ for ROUGE, distinct-n and repetition; -1 (default): LATIN where all but
                                     a few of the expected answers' letters are a to z, else CHARACTERS */
    int32_t stem;               /**< ROUGE, as in lora_metric_options. Default 0 */
    int32_t classify;           /**< LORA_CLASSIFY_AUTO */
    int32_t checklist;          /**< 1 (default): with a checklist */
    const char *const *labels;  /**< the classes, at most 256; none: those of the expected answers */
    size_t label_count;
    const lora_generate_options *generation; /**< NULL: greedy, 256 tokens. Its end_tokens and stop are lent until the
                                                  evaluation is freed */
    const lora_resampling *resampling;       /**< NULL: defaults */
} lora_evaluation_options;

LORA_API void lora_evaluation_options_init(lora_evaluation_options *options, size_t struct_size);
#define lora_evaluation_options_init(options) lora_evaluation_options_init(options, sizeof *(options))

/** An empty evaluation. Options are copied. Errors: ARGUMENT (a name, tokenizer or number that there is not),
 *  MEMORY. */
LORA_API lora_status lora_evaluation_create(lora_context *context, const lora_evaluation_options *options,
                                            lora_evaluation **out);
LORA_API void lora_evaluation_free(lora_evaluation *evaluation);

/** An answer from elsewhere. Set struct_size first; texts are copied. */
typedef struct lora_evaluation_row {
    size_t struct_size;
    const char *prompt;     /**< or NULL */
    const char *prediction; /**< the answer */
    const char *const *references; /**< the expected answers */
    size_t reference_count;
} lora_evaluation_row;

/** The next row of a system. For LORA_SYSTEM_BASELINE only `prediction` is read, the rows are those of LORA_SYSTEM in
 *  its order. Errors: ARGUMENT (no prediction, no reference), STATE (the baseline has as many rows already; or rows of
 *  a data set are there), MEMORY. */
LORA_API lora_status lora_evaluation_add(lora_evaluation *evaluation, int32_t system, const lora_evaluation_row *row);

#define LORA_EVALUATION_LOSS 0
#define LORA_EVALUATION_ANSWER 1
#define LORA_EVALUATION_LABEL 2

/** Where a run stands; texts are lent for the call. */
typedef struct lora_evaluation_progress {
    size_t struct_size;
    int32_t system;
    int32_t phase;    /**< LORA_EVALUATION_ */
    int64_t row;      /**< the row that is done, 0 for the first */
    int64_t rows;
    const char *prompt, *prediction, *reference; /**< LORA_EVALUATION_ANSWER; else NULL */
} lora_evaluation_progress;

/** Return other than 0 to stop. */
typedef int32_t (*lora_evaluation_fn)(const lora_evaluation_progress *progress, void *user);

/** Measures `model` on the rows of `data` as far as the metrics asked for need it: loss, a written answer to each
 *  prompt, the likelihood of each label. Rows without a prompt and an answer (running text, ids) have a loss alone. For
 *  LORA_SYSTEM_BASELINE `data` holds the same rows. `callback` may be NULL. A run that fails or is stopped (CANCELLED)
 *  leaves no rows. Errors: STATE (this system has rows), MISMATCH (other rows; the data was tokenised for another
 *  model), DATA, OVERFLOW, NOT_FINITE, MEMORY. */
LORA_API lora_status lora_evaluation_run(lora_evaluation *evaluation, int32_t system, const lora_model *model,
                                         const lora_adapter_use *uses, size_t count, const lora_dataset *data,
                                         lora_evaluation_fn callback, void *user);
/** Makes the run under way return CANCELLED soon. From any thread, and from a signal handler. */
LORA_API void lora_evaluation_cancel(lora_evaluation *evaluation);

/** Set struct_size first. Numbers that were not measured are NaN. Scale and meaning are those of
 *  lora_evaluation_json. */
typedef struct lora_scores {
    size_t struct_size;
    int64_t rows;
    double loss, perplexity;
    double bleu, bleu4, chrf, chrf_plus_plus, rouge1, rouge2, rouge_l, rouge_lsum, exact_match;
    double accuracy, f1_macro, f1_micro, f1_weighted;
    double distinct1, distinct2, repetition;
} lora_scores;

/** Errors: STATE (no rows of this system, or fewer than of LORA_SYSTEM), MEMORY. */
LORA_API lora_status lora_evaluation_get_scores(lora_evaluation *evaluation, int32_t system, lora_scores *scores);

/** Everything as one JSON object; lent until the next call on the evaluation.
 *
 *    loss, perplexity             per label token, natural logarithm
 *    bleu, bleu4, chrf, chrf++, rouge1, rouge2, rougeL, rougeLsum, exact_match     0 to 100, see metrics.h
 *    accuracy, f1_macro, f1_micro, f1_weighted                                     0 to 1
 *    distinct_1, distinct_2, repetition   0 to 100: distinct-n, and the mean share of 4-grams that stand in the same
 *      answer before
 *    intervals   {name: [low, high]} of those that rows can be drawn for; `confidence`
 *    rows, tokens, label_tokens
 *    settings    tokenizer, words, signatures, seed, ...
 *    classes     labels, how (by "answer" or "likelihood"), unknown, scores of each, confusion [truth][prediction]
 *    baseline    {scores: {name: number}, comparison: {name: {difference, low, high, p_bootstrap, p_randomisation}}}
 *    checklist   {questions: [{id, en, zh}], hints: {id: rows that have it}}
 *    examples    of each row: row, prompt, prediction, reference (or references), nll, tokens, its scores (bleu with
 *                effective order), label and predicted_label, baseline (its answer), checklist: {question: {verdict:
 *                null, note: "", hints: [{id, en, zh}]}} for a person to fill in; left out when `examples` is 0
 *  Names that were not measured are left out. Errors: STATE, MEMORY. */
LORA_API lora_status lora_evaluation_json(lora_evaluation *evaluation, int32_t examples, const char **text);

LORA_END_DECLS
#endif
