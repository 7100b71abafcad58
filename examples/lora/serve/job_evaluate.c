// An evaluation: answers of the model, with adapters or without, judged against a data set; and the checklist beside
// them.
#include "../eval_settings.h"
#include "datasets.h"
#include "files.h"
#include "jobs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    job_work *work;
    eval_settings settings;
    eval_plan plan;
    json_t *texts; // that the settings point to
    lora_model *model;
    lora_dataset *data;
    adapter_set adapters;
    lora_evaluation *evaluation;
    bool baseline;
} run;

static const option options[] = {EVAL_OPTIONS(run, settings), {0}};

json_t *evaluate_options(void)
{
    static const char *const basic[] = {"metrics", "max-new-tokens", NULL};
    run e;
    eval_settings_init(&e.settings);
    return options_json(options, &e, basic);
}

// ---- settings ------------------------------------------------------------------------------------------------------

// EXIT_DONE, or EXIT_USAGE after complaining. Release with forget() in either case.
static int create(const application *app, lora_context *context, const json_t *settings, run *e)
{
    static const char *const others[] = {"dataset", "adapters", "baseline", NULL};
    eval_settings_init(&e->settings);
    e->texts = json_array();
    int status = set_options(app, options, e, settings, others, e->texts);
    if (status == EXIT_DONE) status = make_eval_plan(app, &e->settings, &e->plan);
    if (status == EXIT_DONE && lora_evaluation_create(context, &e->plan.evaluation, &e->evaluation) != LORA_OK)
        status = complain(app, EXIT_USAGE, "%s", lora_error_message());
    return status;
}

static void forget(run *e)
{
    lora_evaluation_free(e->evaluation);
    close_adapters(&e->adapters);
    lora_dataset_free(e->data);
    lora_model_free(e->model);
    json_decref(e->texts);
}

static bool check(request *r, const json_t *settings)
{
    char complaint[COMPLAINT_SIZE] = "";
    application app = r->words;
    json_t *baseline = json_object_get(settings, "baseline");
    int64_t most = r->server->settings->max_tokens;
    run e = {0};
    app.complaint = complaint;
    if (!check_dataset(r, settings, "dataset")) return false;
    if (json_object_get(settings, "adapters") && !check_adapters(r, settings, "adapters")) return false;
    bool fine = create(&app, r->server->app->context, settings, &e) == EXIT_DONE;
    if (!fine)
        answer_error(r, 400, "invalid_value", NULL, "%s", complaint);
    else if (e.settings.max_new_tokens < 1 || e.settings.max_new_tokens > most)
        answer_error(r, 400, "invalid_value", "max_new_tokens",
                     say(&r->words, "max_new_tokens: a number from 1 to %lld is expected",
                         "max_new_tokens：应为 1 到 %lld 之间的整数"),
                     (long long)most);
    else if (baseline && !json_is_boolean(baseline))
        answer_error(r, 400, "invalid_value", "baseline", "%s",
                     say(&r->words, "baseline: true or false is expected", "baseline：应为 true 或 false"));
    forget(&e);
    return !r->answered;
}

// ---- running -------------------------------------------------------------------------------------------------------

static int32_t tell(const lora_evaluation_progress *p, void *user)
{
    run *e = user;
    char english[128], chinese[128];
    double part = p->rows > 0 ? (double)(p->row + 1) / (double)p->rows : 0;
    bool writes = p->phase == LORA_EVALUATION_ANSWER, base = p->system == LORA_SYSTEM_BASELINE;
    snprintf(english, sizeof english, "%s%s, row %" PRId64 " of %" PRId64, base ? "the model alone: " : "",
             writes ? "answering" : "measuring", p->row + 1, p->rows);
    snprintf(chinese, sizeof chinese, "%s%s：第 %" PRId64 " 行，共 %" PRId64 " 行", base ? "仅模型，" : "",
             writes ? "正在回答" : "正在测量", p->row + 1, p->rows);
    double within = writes ? 0.2 + 0.8 * part : 0.2 * part;
    work_progress(e->work, e->baseline ? (within + (base ? 1 : 0)) / 2 : within, english, chinese);
    return work_stopping(e->work);
}

static lora_status load(run *e)
{
    job_work *w = e->work;
    char *path = dataset_path(w->server, json_string_value(json_object_get(w->settings, "dataset")));
    const char *const paths[] = {path};
    lora_status status = path ? lora_model_load(w->context, w->server->model_path, NULL, &e->model) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = work_adapters(w, e->model, json_object_get(w->settings, "adapters"), &e->adapters);
    if (status == LORA_OK)
        status = lora_dataset_load(w->context, lora_model_tokenizer(e->model), paths, 1, &e->plan.dataset,
                                   &e->data);
    free(path);
    return status;
}

static void cancel(void *handle)
{
    lora_evaluation_cancel(handle);
}

static lora_status run_evaluation(job_work *w)
{
    run e = {.work = w, .baseline = json_is_true(json_object_get(w->settings, "baseline"))};
    const char *text;
    work_progress(w, 0, "reading the model and the data", "正在读取模型和数据");
    lora_status status = create(&w->app, w->context, w->settings, &e) == EXIT_DONE ? load(&e) : LORA_ERROR_ARGUMENT;
    if (status == LORA_OK) {
        work_cancel_with(w, cancel, e.evaluation);
        status = lora_evaluation_run(e.evaluation, LORA_SYSTEM, e.model, e.adapters.uses, e.adapters.count, e.data,
                                     tell, &e);
        if (status == LORA_OK && e.baseline)
            status = lora_evaluation_run(e.evaluation, LORA_SYSTEM_BASELINE, e.model, NULL, 0, e.data, tell, &e);
        work_cancel_with(w, NULL, NULL);
    }
    if (status == LORA_OK) status = lora_evaluation_json(e.evaluation, 1, &text);
    if (status == LORA_OK) work_result(w, json_loads(text, 0, NULL));
    forget(&e);
    return status;
}

const job_kind evaluate_job = {.name = "evaluate", .check = check, .run = run_evaluation};

// ---- the checklist -------------------------------------------------------------------------------------------------

static bool read_verdicts(request *r, json_t *entry)
{
    static const char *const questions[] = {"follows", "coherent", "domain", "avoids"};
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        json_t *value = json_object_get(r->body, questions[i]);
        if (value && !json_is_boolean(value) && !json_is_null(value)) {
            answer_error(r, 400, "invalid_value", questions[i],
                         say(&r->words, "%s: true, false or null is expected", "%s：应为 true、false 或 null"),
                         questions[i]);
            return false;
        }
        json_object_set(entry, questions[i], value ? value : json_null());
    }
    const char *note = "";
    if (!take_text(r, "note", &note)) return false;
    json_object_set_new(entry, "note", json_string(note));
    return true;
}

void job_checklist(request *r)
{
    job_queue *q = r->server->jobs;
    pthread_mutex_lock(&q->lock);
    job *j = jobs_find(q, r->names[0]);
    bool fits = j && j->kind == &evaluate_job && j->state == JOB_DONE;
    pthread_mutex_unlock(&q->lock);
    if (!j) {
        answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no run %s", "没有任务 %s"), r->names[0]);
        return;
    }
    if (!fits) {
        answer_error(r, 409, "wrong_state", NULL, "%s",
                     say(&r->words, "only an evaluation that is done has a checklist", "只有已完成的评测才有检查表"));
        return;
    }
    char row[24], *path = workspace_path(r->server, "jobs/%s/checklist.json", r->names[0]);
    snprintf(row, sizeof row, "%" PRId64, r->numbers[0]);
    pthread_mutex_lock(&r->server->files);
    json_t *list = path ? read_json(path) : NULL, *entry = json_object();
    if (!json_is_object(list)) {
        json_decref(list);
        list = json_object();
    }
    if (read_verdicts(r, entry)) {
        json_object_set(list, row, entry);
        if (write_json(path, list)) answer_json(r, 200, json_incref(entry));
        else answer_errno(r, "checklist.json");
    }
    pthread_mutex_unlock(&r->server->files);
    json_decref(entry);
    json_decref(list);
    free(path);
}
