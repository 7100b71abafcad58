// A comparison of settings.
#include "../compare_grid.h"
#include "datasets.h"
#include "training.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    job_work *work;
    compare_settings settings;
    grid grid;
    json_t *texts;
    lora_model *model;
    lora_dataset *data, *validation;
    lora_comparison *comparison;
} run;

// EXIT_DONE, or EXIT_USAGE after complaining. Release with forget() in either case.
static int read_settings(const application *app, const option *options, const json_t *given, run *c)
{
    static const char *const others[] = {"dataset", "validation", NULL};
    c->settings = (compare_settings){.seeds = 1, .answers = 4, .max_new_tokens = 128};
    c->texts = json_array();
    train_settings_init(&c->settings.train);
    int status = set_options(app, options, &c->settings, given, others, c->texts);
    if (status == EXIT_DONE &&
        (c->settings.seeds < 1 || c->settings.seeds > 20 || c->settings.answers < 0 || c->settings.max_new_tokens < 1))
        status = complain(app, EXIT_USAGE, "%s",
                          say(app, "seeds: 1 to 20, answers: 0 or more, max-new-tokens: 1 or more",
                              "seeds：1 到 20；answers：不小于 0；max-new-tokens：不小于 1"));
    return status == EXIT_DONE ? make_grid(app, &c->settings, &c->grid) : status;
}

static void forget(run *c)
{
    lora_comparison_free(c->comparison);
    lora_dataset_free(c->validation);
    lora_dataset_free(c->data);
    lora_model_free(c->model);
    grid_free(&c->grid);
    json_decref(c->texts);
}

static bool check(request *r, const json_t *settings)
{
    char complaint[COMPLAINT_SIZE] = "";
    application app = r->words;
    run c = {0};
    app.complaint = complaint;
    if (!check_dataset(r, settings, "dataset") || !check_validation(r, settings)) return false;
    bool fine = read_settings(&app, r->server->compare_options, settings, &c) == EXIT_DONE;
    if (!fine) answer_error(r, 400, "invalid_value", NULL, "%s", complaint);
    forget(&c);
    return fine;
}

// ---- running -------------------------------------------------------------------------------------------------------

static int32_t tell(const lora_comparison_progress *p, void *user)
{
    run *c = user;
    char english[200], chinese[200];
    double part = p->total > 0 ? (double)p->done / (double)p->total : 0;
    bool base = !*p->name;
    if (p->phase == LORA_COMPARISON_TRAIN) {
        snprintf(english, sizeof english, "training %s (%" PRId64 " of %" PRId64 "), step %" PRId64 " of %" PRId64,
                 p->name, p->run, p->runs, p->done, p->total);
        snprintf(chinese, sizeof chinese,
                 "正在训练 %s（第 %" PRId64 " 个，共 %" PRId64 " 个），第 %" PRId64 " 步，共 %" PRId64 " 步", p->name,
                 p->run, p->runs, p->done, p->total);
    } else {
        snprintf(english, sizeof english, "measuring %s", base ? "the model alone" : p->name);
        snprintf(chinese, sizeof chinese, "正在测量 %s", base ? "未微调的模型" : p->name);
    }
    work_progress(c->work,
                  base ? 0
                       : ((double)(p->run - 1) + (p->phase == LORA_COMPARISON_TRAIN ? 0.9 * part : 0.9 + 0.1 * part)) /
                             (double)(p->runs ? p->runs : 1),
                  english, chinese);
    return work_stopping(c->work);
}

static lora_status load(run *c)
{
    job_work *w = c->work;
    lora_comparison_options options;
    if (read_settings(&w->app, w->server->compare_options, w->settings, c) != EXIT_DONE) return LORA_ERROR_ARGUMENT;
    const train_plan *plan = &c->grid.entries[0].plan;
    lora_status status = lora_model_load(w->context, w->server->model_path, &plan->model, &c->model);
    if (status == LORA_OK)
        status = training_data(w->server, w->context, c->model, w->settings, plan, 0.2, &c->data, &c->validation);
    if (status != LORA_OK) return status;
    char *output = work_path(w, "comparison");
    lora_comparison_options_init(&options);
    options.output = output;
    options.validation = c->validation;
    options.seeds = (int32_t)c->settings.seeds;
    options.answers = (int32_t)c->settings.answers;
    options.max_new_tokens = (int32_t)c->settings.max_new_tokens;
    status = output ? lora_comparison_create(c->model, c->data, &options, &c->comparison) : LORA_ERROR_MEMORY;
    for (size_t i = 0; i < c->grid.count && status == LORA_OK; i++) {
        const grid_entry *entry = &c->grid.entries[i];
        status = lora_comparison_add(c->comparison, entry->name, NULL, &entry->plan.adapter, &entry->plan.trainer);
    }
    free(output);
    return status;
}

// ---- the result ----------------------------------------------------------------------------------------------------

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *row_json(const lora_comparison_row *row, int64_t rank)
{
    return json_pack("{ss so sb so s[oo] so so so sI sf sI sI sf ss?}", "name", row->name, "rank",
                     row->full ? json_null() : json_integer(rank), "full", row->full, "eval_loss",
                     real_or_null(row->loss), "interval", real_or_null(row->loss_low), real_or_null(row->loss_high),
                     "bleu", real_or_null(row->bleu), "rougeL", real_or_null(row->rouge_l), "gain_share",
                     real_or_null(row->gain_share), "trainable_params", (json_int_t)row->trainable_parameters,
                     "trainable_share", row->parameter_share, "bytes", (json_int_t)row->file_bytes, "peak_memory_bytes",
                     (json_int_t)row->peak_memory_bytes, "seconds", row->seconds, "failure", row->failure);
}

// The comparison's document, with the rows of its table and the sentences in front for the page.
static lora_status write_result(run *c)
{
    const char *text;
    lora_comparison_verdict verdict = {.struct_size = sizeof verdict};
    lora_comparison_row row = {.struct_size = sizeof row};
    lora_status status = lora_comparison_json(c->comparison, &text);
    json_t *document = status == LORA_OK ? json_loads(text, 0, NULL) : NULL, *rows = json_array();
    for (size_t i = 0; i < lora_comparison_count(c->comparison); i++)
        if (lora_comparison_row_at(c->comparison, i, &row) == LORA_OK)
            json_array_append_new(rows, row_json(&row, c->grid.entries[i].train.rank));
    if (document && (status = lora_comparison_judge(c->comparison, &verdict)) == LORA_OK) {
        json_object_set(document, "rows", rows);
        json_object_set_new(document, "winner",
                            verdict.recommended >= 0 ? json_string(c->grid.entries[verdict.recommended].name)
                                                     : json_null());
        json_object_set_new(document, "sentence",
                            json_pack("{ss ss}", "en", verdict.sentence_en, "zh", verdict.sentence_zh));
        if (*verdict.claim_sentence_en)
            json_object_set_new(document, "claim",
                                json_pack("{ss ss}", "en", verdict.claim_sentence_en, "zh", verdict.claim_sentence_zh));
        work_result(c->work, json_incref(document));
    }
    json_decref(rows);
    json_decref(document);
    return status;
}

static void cancel(void *handle)
{
    lora_comparison_cancel(handle);
}

static lora_status run_comparison(job_work *w)
{
    run c = {.work = w};
    work_progress(w, 0, "reading the model and the data", "正在读取模型和数据");
    lora_status status = load(&c);
    if (status == LORA_OK) {
        work_cancel_with(w, cancel, c.comparison);
        do status = lora_comparison_run(c.comparison, tell, &c, NULL);
        while (status == LORA_OK);
        work_cancel_with(w, NULL, NULL);
        if (status == LORA_ERROR_STATE) status = write_result(&c);
    }
    forget(&c);
    return status;
}

const job_kind compare_job = {.name = "compare", .check = check, .run = run_comparison};
