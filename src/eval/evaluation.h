// An evaluation: rows, what one or two systems answered, and the judgement worked out from them.
#ifndef LR_EVALUATION_H
#define LR_EVALUATION_H

#include "src/eval/metric.h"

#include "lib/json.h"

#include <lora/evaluate.h>
#include <stdatomic.h>

#define LR_SYSTEMS 2
#define LR_MOST_LABELS 256

typedef struct lr_example {
    char *prompt; // or NULL
    char **references;
    size_t reference_count; // 0: nothing is expected (running text)
} lr_example;

// What a system made of a row.
typedef struct lr_outcome {
    char *text; // or NULL
    double nll; // NaN: not measured
    int64_t tokens, label_tokens;
    int32_t finish; // LORA_FINISH_
    int32_t label;  // the likeliest label; -1: not measured
} lr_outcome;

struct lora_evaluation {
    lora_context *context;
    atomic_int cancelled;
    lora_evaluation_options options; // its lists: those below
    lora_generate_options generation;
    lora_resampling resampling;
    char **metrics, **labels, *bleu_tokenizer;
    size_t metric_count, label_count;
    lr_example *examples;
    size_t count, capacity;
    lr_outcome *outcomes[LR_SYSTEMS];
    size_t outcome_count[LR_SYSTEMS], outcome_capacity[LR_SYSTEMS];
    bool from_data;
    char *json;
};

bool lr_evaluation_wants(const lora_evaluation *e, const char *measure);
// Appends; takes no ownership of the texts.
lora_status lr_evaluation_add_example(lora_evaluation *e, const char *prompt, const char *const *references,
                                      size_t count);
lora_status lr_evaluation_add_outcome(lora_evaluation *e, int32_t system, const char *text, size_t length,
                                      lr_outcome **out);
// Forgets a system's outcomes, and with LORA_SYSTEM's the rows.
void lr_evaluation_clear(lora_evaluation *e, int32_t system);

// ---- labels ---------------------------------------------------------------------------------------------------------

// The classes: those given, else those of the expected answers; none where the rows are not to be classified.
typedef struct lr_labels {
    const char **names; // lent by the evaluation
    size_t count;
} lr_labels;
lora_status lr_labels_find(const lora_evaluation *e, lr_labels *out);
void lr_labels_free(const lora_evaluation *e, lr_labels *labels);
// The label that a text is; -1: none.
lora_status lr_labels_match(const lora_allocator *allocator, const lr_labels *labels, const char *text, int32_t *out);

// The likeliest label of each row of `data`, told to `found`.
typedef lora_status (*lr_label_fn)(size_t row, int32_t label, void *user);
lora_status lr_labels_by_likelihood(const lora_evaluation *e, const lora_model *model, const lora_adapter_use *uses,
                                    size_t count, const lora_dataset *data, const lr_labels *labels, lr_label_fn found,
                                    void *user);

// ---- judgement ------------------------------------------------------------------------------------------------------

// One score: of rows' statistics, or (metric NULL) a number without rows.
typedef struct lr_measure {
    const char *name;
    lora_metric *metric;
    double *statistics[LR_SYSTEMS]; // [rows, metric->statistics]; NULL: not measured
    double value[LR_SYSTEMS];       // NaN: not measured
    bool by_row;                    // a row by itself has this score
} lr_measure;

#define LR_MOST_MEASURES 24

typedef struct lr_judgement {
    lora_evaluation *e;
    int32_t systems; // 1 or 2
    const char *tokenizer;
    int32_t words;
    lr_labels labels;
    bool by_likelihood;
    int32_t *truth, *predicted[LR_SYSTEMS]; // [rows]; -1: none
    lr_measure measures[LR_MOST_MEASURES];
    size_t measure_count;
} lr_judgement;

lora_status lr_judge(lora_evaluation *e, lr_judgement *out);
void lr_judgement_free(lr_judgement *j);
// A row's own score; NaN where it has none.
double lr_measure_row(const lr_measure *measure, int32_t system, size_t row);
lora_status lr_judgement_json(lr_judgement *j, bool examples, json_t **out);

// ---- checklist ------------------------------------------------------------------------------------------------------

typedef struct lr_question {
    const char *id, *english, *chinese;
} lr_question;
extern const lr_question lr_questions[];
extern const size_t lr_question_count;

typedef struct lr_hint {
    const char *id;
    size_t question;
    const char *english, *chinese;
} lr_hint;
extern const lr_hint lr_hints[];
extern const size_t lr_hint_count;

typedef struct lr_hinter lr_hinter; // what hints need from row to row
lora_status lr_hinter_create(const lr_judgement *j, lr_hinter **out);
void lr_hinter_free(lr_hinter *hinter);
// A bit for each hint that fits the answer of LORA_SYSTEM to a row.
lora_status lr_hints_of(lr_hinter *hinter, size_t row, uint32_t *bits);

// Letters of a text: a to z, of scripts without spaces (weighted double, as they say more), and others.
typedef struct lr_letters {
    int64_t latin, cjk, other;
} lr_letters;
void lr_count_letters(const char *text, lr_letters *letters);
static inline bool lr_mostly_chinese(lr_letters l) { return l.cjk > 0 && l.cjk >= l.latin + l.other; }

#endif
