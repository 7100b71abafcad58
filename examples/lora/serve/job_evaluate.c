// An evaluation: answers of the model, with adapters or without, judged against a data set; and the checklist beside
// them.
#include "datasets.h"
#include "files.h"
#include "jobs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_METRICS 16

static bool check(request *r, const json_t *settings)
{
    json_t *metrics = json_object_get(settings, "metrics"), *most = json_object_get(settings, "max_new_tokens"),
           *baseline = json_object_get(settings, "baseline"), *metric;
    size_t index;
    bool fine = !metrics || json_is_null(metrics) ||
                (json_is_array(metrics) && json_array_size(metrics) <= MOST_METRICS);
    json_array_foreach(metrics, index, metric) fine &= json_is_string(metric);
    if (!check_dataset(r, settings, "dataset")) return false;
    if (json_object_get(settings, "adapters") && !check_adapters(r, settings, "adapters")) return false;
    if (!fine)
        answer_error(r, 400, "invalid_value", "metrics", "%s",
                     say(&r->words, "metrics: a list of names is expected", "metrics：应为名称列表"));
    else if (most && !(json_is_integer(most) && json_integer_value(most) > 0 &&
                       json_integer_value(most) <= r->server->settings->max_tokens))
        answer_error(r, 400, "invalid_value", "max_new_tokens",
                     say(&r->words, "max_new_tokens: a number from 1 to %lld is expected",
                         "max_new_tokens：应为 1 到 %lld 之间的整数"),
                     (long long)r->server->settings->max_tokens);
    else if (baseline && !json_is_boolean(baseline))
        answer_error(r, 400, "invalid_value", "baseline", "%s",
                     say(&r->words, "baseline: true or false is expected", "baseline：应为 true 或 false"));
    return !r->answered;
}

typedef struct run {
    job_work *work;
    lora_model *model;
    lora_dataset *data;
    adapter_set adapters;
    lora_evaluation *evaluation;
    bool baseline;
} run;

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
    lora_dataset_options options;
    lora_dataset_options_init(&options);
    char *path = dataset_path(w->server, json_string_value(json_object_get(w->settings, "dataset")));
    const char *const paths[] = {path};
    lora_status status = path ? lora_model_load(w->context, w->server->model_path, NULL, &e->model) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = work_adapters(w, e->model, json_object_get(w->settings, "adapters"), &e->adapters);
    if (status == LORA_OK)
        status = lora_dataset_load(w->context, lora_model_tokenizer(e->model), paths, 1, &options, &e->data);
    free(path);
    return status;
}

static lora_status create(run *e)
{
    const json_t *settings = e->work->settings;
    const char *metrics[MOST_METRICS];
    size_t index;
    json_t *metric;
    lora_generate_options generate;
    lora_evaluation_options options;
    lora_generate_options_init(&generate);
    lora_evaluation_options_init(&options);
    generate.temperature = 0;
    if (json_object_get(settings, "max_new_tokens"))
        generate.max_new_tokens = (int32_t)json_integer_value(json_object_get(settings, "max_new_tokens"));
    options.generation = &generate;
    options.metrics = metrics;
    json_array_foreach(json_object_get(settings, "metrics"), index, metric)
        metrics[options.metric_count++] = json_string_value(metric);
    return lora_evaluation_create(e->work->context, &options, &e->evaluation);
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
    lora_status status = load(&e);
    if (status == LORA_OK) status = create(&e);
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
    lora_evaluation_free(e.evaluation);
    close_adapters(&e.adapters);
    lora_dataset_free(e.data);
    lora_model_free(e.model);
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
