// A job's report: one HTML file, made from what the job left whenever it is asked for, in the language of who asks.
#include "jobs.h"

#include "files.h"

#include <stdlib.h>
#include <string.h>

static char *file_of(const request *r, const char *name)
{
    return workspace_path(r->server, "jobs/%s/%s", r->names[0], name);
}

static json_t *read_document(const request *r, const char *name)
{
    char *path = file_of(r, name);
    json_t *document = path && path_exists(path) ? read_json(path) : NULL;
    free(path);
    return document;
}

static lora_status add_json(lora_report *report, const char *kind, const json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(15));
    lora_status status = text ? lora_report_add(report, kind, text, strlen(text)) : LORA_ERROR_MEMORY;
    free(text);
    return status;
}

// ---- parts ---------------------------------------------------------------------------------------------------------

static lora_status add_training(const request *r, lora_report *report, json_t *result, const json_t *settings)
{
    lora_model_info info = {.struct_size = sizeof info};
    size_t length;
    char *path = file_of(r, "log.jsonl"), *log = path ? read_whole(path, (size_t)1 << 30, &length) : NULL;
    lora_model_get_info(r->server->model, &info);
    json_object_set_new(result, "model",
                        json_pack("{ss ss sI}", "name", r->server->model_name, "family", info.family, "parameters",
                                  (json_int_t)info.parameters));
    json_object_set(result, "settings", (json_t *)(uintptr_t)settings);
    lora_status status = add_json(report, "train", result);
    if (status == LORA_OK && log) status = lora_report_add(report, "log", log, length);
    free(log);
    free(path);
    return status;
}

// What a person ticked goes where the evaluation's document has it.
static void fill_checklist(json_t *example, const json_t *ticks)
{
    static const struct {
        const char *kept, *question;
    } names[] = {{"follows", "follows_instruction"},
                 {"coherent", "coherent"},
                 {"domain", "domain_flavour"},
                 {"avoids", "avoids_base_mistakes"}};
    json_t *checklist = json_object_get(example, "checklist");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *question = json_object_get(checklist, names[i].question),
               *verdict = json_object_get(ticks, names[i].kept);
        if (!question || !verdict) continue;
        json_object_set(question, "verdict", verdict);
        if (i == 0 && json_object_get(ticks, "note")) json_object_set(question, "note", json_object_get(ticks, "note"));
    }
}

static lora_status add_evaluation(const request *r, lora_report *report, json_t *result)
{
    json_t *ticks = read_document(r, "checklist.json"), *example;
    size_t index;
    json_array_foreach(json_object_get(result, "examples"), index, example) {
        char row[24];
        snprintf(row, sizeof row, "%zu", index);
        if (json_object_get(ticks, row)) fill_checklist(example, json_object_get(ticks, row));
    }
    json_decref(ticks);
    return add_json(report, "evaluate", result);
}

static lora_status add_blind_test(const request *r, lora_report *report)
{
    lora_ab *ab = NULL;
    const char *text;
    char *path = file_of(r, "test.json");
    lora_status status = path ? lora_ab_load(r->server->app->context, path, &ab) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = lora_ab_json(ab, &text);
    if (status == LORA_OK) status = lora_report_add(report, "ab", text, strlen(text));
    lora_ab_free(ab);
    free(path);
    return status;
}

static lora_status add_parts(const request *r, lora_report *report, const job_kind *kind, json_t *result,
                             const json_t *settings)
{
    if (kind == &train_job) return add_training(r, report, result, settings);
    if (kind == &evaluate_job) return add_evaluation(r, report, result);
    return kind == &ab_job ? add_blind_test(r, report) : add_json(report, "compare", result);
}

// ---- the page ------------------------------------------------------------------------------------------------------

static void answer_report(request *r, const job_kind *kind, const char *name, const json_t *settings)
{
    lora_report *report = NULL;
    lora_report_options options;
    const char *html;
    size_t length = 0;
    json_t *result = read_document(r, "result.json");
    lora_report_options_init(&options);
    options.title = name;
    options.language = r->words.chinese ? "zh" : "en";
    lora_status status = result ? lora_report_create(r->server->app->context, &options, &report) : LORA_ERROR_NOT_FOUND;
    if (status == LORA_OK) status = add_parts(r, report, kind, result, settings);
    if (status == LORA_OK) status = lora_report_html(report, &html, &length);
    char *text = status == LORA_OK ? malloc(length) : NULL;
    if (text) {
        memcpy(text, html, length);
        answer_report_page(r, text, length);
    } else answer_failure(r, status == LORA_OK ? LORA_ERROR_MEMORY : status);
    lora_report_free(report);
    json_decref(result);
}

void job_report(request *r)
{
    job_queue *q = r->server->jobs;
    pthread_mutex_lock(&q->lock);
    job *j = jobs_find(q, r->names[0]);
    bool ready = j && job_has_report(j);
    const job_kind *kind = j ? j->kind : NULL;
    json_t *settings = ready ? json_incref(j->settings) : NULL;
    char *name = ready ? strdup(j->name) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (!j) answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no run %s", "没有任务 %s"), r->names[0]);
    else if (!ready)
        answer_error(r, 409, "wrong_state", NULL, "%s",
                     say(&r->words, "there is a report once the run is done", "任务完成后才有报告"));
    else answer_report(r, kind, name, settings);
    json_decref(settings);
    free(name);
}
