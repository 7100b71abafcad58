// A model measured on the rows of a data set: loss, answers, labels, each one phase over all rows.
#include "src/eval/answer.h"
#include "src/eval/evaluation.h"

#include "src/core/validate.h"

typedef struct job {
    lora_evaluation *e;
    int32_t system;
    const lora_model *model;
    const lora_adapter_use *uses;
    size_t count;
    const lora_dataset *data;
    lora_evaluation_fn callback;
    void *user;
} job;

static bool wants_any(const lora_evaluation *e, const char *const *names)
{
    for (; *names; names++)
        if (lr_evaluation_wants(e, *names)) return true;
    return false;
}

static bool wants_loss(const lora_evaluation *e)
{
    return wants_any(e, (const char *const[]){"loss", "perplexity", NULL});
}

static bool wants_answers(const lora_evaluation *e)
{
    static const char *const of_text[] = {"bleu",       "bleu4",      "chrf",      "chrf++",      "rouge1",
                                          "rouge2",     "rougeL",     "rougeLsum", "exact_match", "distinct_1",
                                          "distinct_2", "repetition", NULL};
    static const char *const of_classes[] = {"accuracy", "f1_macro", "f1_micro", "f1_weighted", NULL};
    if (wants_any(e, of_text)) return true;
    return wants_any(e, of_classes) && e->options.classify != LORA_CLASSIFY_BY_LIKELIHOOD &&
           e->options.classify != LORA_CLASSIFY_NONE;
}

static lora_status report(const job *b, int32_t phase, size_t row, const char *prediction)
{
    if (atomic_load(&b->e->cancelled)) return lr_fail(LORA_ERROR_CANCELLED, "the evaluation was stopped");
    if (!b->callback) return LORA_OK;
    const lr_example *x = &b->e->examples[row];
    lora_evaluation_progress p = {
        .struct_size = sizeof p,
        .system = b->system,
        .phase = phase,
        .row = (int64_t)row,
        .rows = (int64_t)b->data->row_count,
        .prompt = prediction ? x->prompt : NULL,
        .prediction = prediction,
        .reference = prediction && x->reference_count ? x->references[0] : NULL,
    };
    return b->callback(&p, b->user) ? lr_fail(LORA_ERROR_CANCELLED, "the callback asked to stop") : LORA_OK;
}

// ---- rows -----------------------------------------------------------------------------------------------------------

static lora_status add_rows(const job *b)
{
    for (size_t row = 0; row < b->data->row_count; row++) {
        const char *answer = b->data->rows[row].answer;
        bool expected = answer && lr_answer_possible(b->data, row);
        LR_TRY(lr_evaluation_add_example(b->e, b->data->rows[row].prompt, &answer, expected ? 1 : 0));
    }
    b->e->from_data = true;
    return LORA_OK;
}

static lora_status check_rows(const job *b)
{
    if (b->data->row_count != b->e->count)
        return lr_fail(LORA_ERROR_MISMATCH, "the baseline was given %zu rows, the system %zu: both need the same",
                       b->data->row_count, b->e->count);
    for (size_t row = 0; row < b->e->count; row++) {
        const lr_example *x = &b->e->examples[row];
        const char *answer = b->data->rows[row].answer;
        if (x->reference_count == 1 && (!answer || strcmp(answer, x->references[0]) != 0))
            return lr_fail(
                LORA_ERROR_MISMATCH,
                "row %zu of the baseline's data has another answer than the system's: both need the same rows",
                row + 1);
    }
    return LORA_OK;
}

// ---- phases ---------------------------------------------------------------------------------------------------------

typedef struct losses {
    const job *b;
    lora_status status;
} losses;

static int32_t keep_loss(int64_t row, double nll, int64_t label_tokens, void *user)
{
    losses *l = user;
    lr_outcome *o = &l->b->e->outcomes[l->b->system][row];
    o->nll = nll;
    o->label_tokens = label_tokens;
    o->tokens = l->b->data->rows[row].count;
    l->status = report(l->b, LORA_EVALUATION_LOSS, (size_t)row, NULL);
    return l->status != LORA_OK;
}

static lora_status measure_loss(const job *b)
{
    losses l = {b, LORA_OK};
    lora_loss loss = {.struct_size = sizeof loss};
    lora_status status = lora_evaluate_loss(b->model, b->uses, b->count, b->data, keep_loss, &l, &loss);
    return l.status != LORA_OK ? l.status : status;
}

typedef struct answers {
    const job *b;
    size_t reported; // rows before this one have been told to the callback
} answers;

// Answers finish in any order and are reported in that of the rows.
static lora_status keep_answer(size_t row, const lr_bytes *text, int32_t finish, void *user)
{
    answers *a = user;
    lr_outcome *outcomes = a->b->e->outcomes[a->b->system];
    outcomes[row].text = lr_duplicate_range(&a->b->e->context->allocator, text->size ? text->data : "", text->size);
    outcomes[row].finish = finish;
    if (!outcomes[row].text) return LORA_ERROR_MEMORY;
    for (; a->reported < a->b->data->row_count; a->reported++) {
        if (!lr_answer_possible(a->b->data, a->reported)) continue;
        if (!outcomes[a->reported].text) break;
        LR_TRY(report(a->b, LORA_EVALUATION_ANSWER, a->reported, outcomes[a->reported].text));
    }
    return LORA_OK;
}

static lora_status write_answers(const job *b)
{
    answers a = {.b = b};
    lr_answering answering = {.model = b->model,
                              .uses = b->uses,
                              .count = b->count,
                              .options = &b->e->generation,
                              .cancel = &b->e->cancelled,
                              .answered = keep_answer,
                              .user = &a};
    return lr_answer_all(&answering, b->data);
}

static lora_status keep_label(size_t row, int32_t label, void *user)
{
    const job *b = user;
    b->e->outcomes[b->system][row].label = label;
    return report(b, LORA_EVALUATION_LABEL, row, NULL);
}

static lora_status choose_labels(job *b)
{
    lr_labels labels;
    lora_status status = lr_labels_find(b->e, &labels);
    if (status == LORA_OK && labels.count)
        status = lr_labels_by_likelihood(b->e, b->model, b->uses, b->count, b->data, &labels, keep_label, b);
    lr_labels_free(b->e, &labels);
    return status;
}

static lora_status run_phases(job *b)
{
    LR_TRY(b->system == LORA_SYSTEM ? add_rows(b) : check_rows(b));
    for (size_t row = 0; row < b->data->row_count; row++)
        LR_TRY(lr_evaluation_add_outcome(b->e, b->system, NULL, 0, NULL));
    if (wants_loss(b->e)) LR_TRY(measure_loss(b));
    if (wants_answers(b->e)) LR_TRY(write_answers(b));
    return b->e->options.classify == LORA_CLASSIFY_BY_LIKELIHOOD ? choose_labels(b) : LORA_OK;
}

lora_status lora_evaluation_run(lora_evaluation *e, int32_t system, const lora_model *model,
                                const lora_adapter_use *uses, size_t count, const lora_dataset *data,
                                lora_evaluation_fn callback, void *user)
{
    LR_CHECK_HANDLE(e);
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(data);
    LR_CHECK_ARGUMENT(system == LORA_SYSTEM || system == LORA_SYSTEM_BASELINE,
                      "system is %d; it must be LORA_SYSTEM or LORA_SYSTEM_BASELINE", system);
    LR_CHECK_ARGUMENT(uses || count == 0, "uses is NULL");
    if (e->outcome_count[system] > 0) return lr_fail(LORA_ERROR_STATE, "this system has rows already");
    if (system == LORA_SYSTEM_BASELINE && e->count == 0)
        return lr_fail(LORA_ERROR_STATE, "the system comes before its baseline");
    atomic_store(&e->cancelled, 0);
    job b = {e, system, model, uses, count, data, callback, user};
    lora_status status = run_phases(&b);
    if (status != LORA_OK) lr_evaluation_clear(e, system);
    return status;
}
