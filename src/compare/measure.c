#include "src/eval/answer.h"
#include "src/compare/comparison.h"

#include "src/core/validate.h"

#include <lora/evaluate.h>

typedef struct likelihoods {
    lr_reporter *reporter;
    json_t *nll; // NULL: only the mean is wanted
    bool failed;
    lora_status stopped;
} likelihoods;

static int32_t take_row(int64_t row, double nll, int64_t label_tokens, void *user)
{
    likelihoods *l = user;
    (void)row, (void)label_tokens;
    if (l->nll && json_array_append_new(l->nll, json_real(nll)) != 0) l->failed = true;
    l->stopped = lr_report_progress(l->reporter, LORA_COMPARISON_LOSS, 0, 0, NULL);
    return l->failed || l->stopped != LORA_OK;
}

static lora_status measure_loss(lr_reporter *reporter, const lora_adapter_use *uses, size_t count,
                                const lora_dataset *data, json_t *nll, double *mean)
{
    likelihoods l = {.reporter = reporter, .nll = nll};
    lora_loss loss = {.struct_size = sizeof loss};
    lora_status status = lora_evaluate_loss(reporter->comparison->model, uses, count, data, take_row, &l, &loss);
    if (l.failed) return lr_fail_memory(64);
    if (l.stopped != LORA_OK) return l.stopped;
    if (mean) *mean = loss.loss;
    return status;
}

// ---- answers -------------------------------------------------------------------------------------------------------

typedef struct writing {
    lr_reporter *reporter;
    json_t *list; // in the order of the rows
    int64_t done;
} writing;

static lora_status keep_answer(size_t row, const lr_bytes *text, int32_t finish, void *user)
{
    writing *w = user;
    const lora_comparison *c = w->reporter->comparison;
    (void)finish;
    json_t *answer = json_stringn(text->size ? text->data : "", text->size);
    if (json_array_set_new(w->list, lr_answer_place(c->validation, row), answer) != 0)
        return lr_fail_memory(text->size);
    return lr_report_progress(w->reporter, LORA_COMPARISON_ANSWER, ++w->done, c->answers, NULL);
}

static lora_status write_answers(writing *w, const lora_adapter_use *uses, size_t count)
{
    const lora_comparison *c = w->reporter->comparison;
    lora_generate_options options;
    lora_generate_options_init(&options);
    options.temperature = 0;
    options.max_new_tokens = c->max_new_tokens;
    lr_answering answering = {.model = c->model,
                              .uses = uses,
                              .count = count,
                              .options = &options,
                              .cancel = &c->cancel,
                              .most = (size_t)c->answers,
                              .answered = keep_answer,
                              .user = w};
    for (size_t row = 0; row < c->validation->row_count && json_array_size(w->list) < answering.most; row++)
        if (lr_answer_possible(c->validation, row) && json_array_append_new(w->list, json_null()) != 0)
            return lr_fail_memory(sizeof(json_t));
    LR_TRY(lr_report_progress(w->reporter, LORA_COMPARISON_ANSWER, 0, c->answers, NULL));
    return lr_answer_all(&answering, c->validation);
}

// BLEU, ROUGE-L and chrF as lora_evaluation gives them for the same answers.
static lora_status add_answers(const lora_comparison *c, lora_evaluation *evaluation, const json_t *answers)
{
    for (size_t row = 0, i = 0; i < json_array_size(answers) && row < c->validation->row_count; row++) {
        const char *reference = c->validation->rows[row].answer;
        if (!lr_answer_possible(c->validation, row)) continue;
        lora_evaluation_row pair = {.struct_size = sizeof pair,
                                    .prediction = json_string_value(json_array_get(answers, i++)),
                                    .references = &reference,
                                    .reference_count = 1};
        if (reference) LR_TRY(lora_evaluation_add(evaluation, LORA_SYSTEM, &pair));
    }
    return LORA_OK;
}

static lora_status score_answers(const lora_comparison *c, const json_t *answers, json_t *run)
{
    static const char *const metrics[] = {"bleu", "rougeL", "chrf"};
    lora_evaluation_options options;
    lora_evaluation_options_init(&options);
    options.metrics = metrics;
    options.metric_count = 3;
    options.classify = LORA_CLASSIFY_NONE;
    options.checklist = 0;
    lora_evaluation *evaluation;
    lora_scores scores = {.struct_size = sizeof scores};
    LR_TRY(lora_evaluation_create(c->context, &options, &evaluation));
    lora_status status = add_answers(c, evaluation, answers);
    if (status == LORA_OK && lora_evaluation_get_scores(evaluation, LORA_SYSTEM, &scores) == LORA_OK) {
        json_t *found =
            json_pack("{s:f, s:f, s:f}", "bleu", scores.bleu, "rougeL", scores.rouge_l, "chrf", scores.chrf);
        if (found) json_object_set_new(run, "scores", found); // no number for no answers
    }
    lora_evaluation_free(evaluation);
    return status;
}

static lora_status measure_answers(lr_reporter *reporter, const lora_adapter_use *uses, size_t count, json_t *run)
{
    writing w = {.reporter = reporter, .list = json_array()};
    lora_status status = w.list ? write_answers(&w, uses, count) : lr_fail_memory(64);
    if (status == LORA_OK && json_object_set(run, "answers", w.list) != 0) status = lr_fail_memory(64);
    if (status == LORA_OK) status = score_answers(reporter->comparison, w.list, run);
    json_decref(w.list);
    return status;
}

// ---- all -----------------------------------------------------------------------------------------------------------

lora_status lr_comparison_measure(lr_reporter *reporter, const lora_adapter_use *uses, size_t count, bool answers,
                                  json_t *run)
{
    const lora_comparison *c = reporter->comparison;
    json_t *nll = json_array();
    double general;
    LR_TRY(lr_report_progress(reporter, LORA_COMPARISON_LOSS, 0, 0, NULL));
    if (!nll || json_object_set_new(run, "nll", nll) != 0) return lr_fail_memory(64);
    LR_TRY(measure_loss(reporter, uses, count, c->validation, nll, NULL));
    if (c->general) {
        LR_TRY(measure_loss(reporter, uses, count, c->general, NULL, &general));
        if (json_object_set_new(run, "general_loss", json_real(general)) != 0) return lr_fail_memory(64);
    }
    return answers && c->answers > 0 ? measure_answers(reporter, uses, count, run) : LORA_OK;
}

lora_status lr_saved_bytes(const lora_context *context, const char *path, int64_t *bytes)
{
    const lora_allocator *allocator = &context->allocator;
    char **names;
    size_t count;
    lora_status status = lr_list_directory(allocator, path, &names, &count);
    *bytes = 0;
    if (status != LORA_OK) return status;
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        if (!lr_path_ends_with(names[i], ".safetensors")) continue;
        lr_file file = {0};
        char *name = lr_path_join(allocator, path, names[i]);
        status = name ? lr_file_open(allocator, &lr_system_files, name, UINT64_MAX, &file) : LORA_ERROR_MEMORY;
        *bytes += (int64_t)file.size;
        lr_file_close(&file);
        lr_free(allocator, name);
    }
    lr_free_names(allocator, names, count);
    return status;
}
