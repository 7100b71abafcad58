// What the run of a job calls: telling how far it is, its log and result, stopping, and what its settings name.
#include "jobs.h"

#include "datasets.h"
#include "files.h"
#include "shelf.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void work_progress(job_work *w, double fraction, const char *english, const char *chinese)
{
    job_queue *q = w->server->jobs;
    pthread_mutex_lock(&q->lock);
    w->job->progress = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    job_say(w->job, english, chinese);
    job_changed(q, w->job);
    pthread_mutex_unlock(&q->lock);
}

char *work_path(const job_work *w, const char *name)
{
    return text_of("%s/%s", w->folder, name);
}

void work_step(job_work *w, json_t *step)
{
    char *path = work_path(w, "log.jsonl"), *text = json_dumps(step, JSON_COMPACT | JSON_REAL_PRECISION(15));
    FILE *log = path && text ? fopen(path, "ab") : NULL;
    if (log) {
        fprintf(log, "%s\n", text);
        fclose(log);
    }
    free(text);
    free(path);
    json_decref(step);
}

void work_cut_log(job_work *w, int64_t steps)
{
    char *path = work_path(w, "log.jsonl");
    size_t length = 0, kept = 0;
    char *text = path ? read_whole(path, (size_t)1 << 30, &length) : NULL;
    for (char *line = text, *end; line && (end = memchr(line, '\n', length - (size_t)(line - text))); line = end + 1) {
        json_t *step = json_loadb(line, (size_t)(end - line), 0, NULL);
        bool keep = step && json_integer_value(json_object_get(step, "step")) <= steps;
        json_decref(step);
        if (!keep) continue;
        memmove(text + kept, line, (size_t)(end + 1 - line));
        kept += (size_t)(end + 1 - line);
    }
    if (text) write_whole(path, text, kept);
    free(text);
    free(path);
}

void work_result(job_work *w, json_t *result)
{
    char *path = work_path(w, "result.json");
    if (!path || !write_json(path, result)) complain(&w->app, EXIT_WORK, "result.json: %s", strerror(errno));
    json_decref(result);
    free(path);
}

bool work_stopping(const job_work *w)
{
    pthread_mutex_lock(&w->server->jobs->lock);
    bool stopping = w->job->state == JOB_STOPPING;
    pthread_mutex_unlock(&w->server->jobs->lock);
    return stopping;
}

void work_cancel_with(job_work *w, void (*cancel)(void *handle), void *handle)
{
    job_queue *q = w->server->jobs;
    pthread_mutex_lock(&q->lock);
    w->job->cancel = cancel;
    w->job->handle = handle;
    if (cancel && w->job->state == JOB_STOPPING) cancel(handle);
    pthread_mutex_unlock(&q->lock);
}

lora_status work_adapters(job_work *w, const lora_model *model, const json_t *list, adapter_set *out)
{
    size_t index;
    json_t *entry;
    *out = (adapter_set){.count = 0};
    json_array_foreach(list, index, entry) {
        json_t *weight = json_object_get(entry, "weight");
        char *path = shelf_path(w->server->shelf, json_string_value(json_object_get(entry, "name")));
        lora_status status = path ? lora_adapter_load(model, path, 0, &out->handles[index]) : LORA_ERROR_NOT_FOUND;
        if (!path)
            complain(&w->app, EXIT_WORK, say(&w->app, "there is no adapter %s", "没有适配器 %s"),
                     json_string_value(json_object_get(entry, "name")));
        free(path);
        if (status != LORA_OK) {
            close_adapters(out);
            return status;
        }
        out->uses[out->count++] = (lora_adapter_use){.adapter = out->handles[index],
                                                     .weight = weight ? (float)json_number_value(weight) : 1};
    }
    return LORA_OK;
}

bool check_dataset(request *r, const json_t *settings, const char *name)
{
    const char *value = json_string_value(json_object_get(settings, name));
    if (value && is_name(value)) return dataset_is_there(r, value);
    answer_error(r, 400, "invalid_value", name,
                 say(&r->words, "%s: the name of a data set is expected", "%s：应为数据集名称"), name);
    return false;
}

bool check_adapters(request *r, const json_t *settings, const char *name)
{
    json_t *list = json_object_get(settings, name), *entry;
    size_t index;
    bool fine = json_is_array(list) && json_array_size(list) <= 8;
    json_array_foreach(list, index, entry) {
        const char *adapter = json_string_value(json_object_get(entry, "name"));
        json_t *weight = json_object_get(entry, "weight");
        fine &= adapter && (!weight || (json_is_number(weight) && fabs(json_number_value(weight)) <= 100));
        if (!fine) break;
        if (shelf_has(r->server->shelf, adapter)) continue;
        answer_error(r, 404, "not_found", name, say(&r->words, "there is no adapter %.100s", "没有适配器 %.100s"), adapter);
        return false;
    }
    if (!fine)
        answer_error(r, 400, "invalid_value", name,
                     say(&r->words, "%s: a list of at most 8 {\"name\", \"weight\"} is expected",
                         "%s：应为最多 8 个 {\"name\", \"weight\"} 的列表"),
                     name);
    return fine;
}
