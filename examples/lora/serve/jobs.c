#include "jobs.h"

#include "datasets.h"
#include "files.h"
#include "shelf.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const state_names[] = {"queued", "running", "stopping", "stopped", "done", "failed"};
static const job_kind *const kinds[] = {&train_job, &merge_job, &compare_job, &evaluate_job, &ab_job};

const job_kind *job_kind_named(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

static double clock_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + floor((double)time.tv_nsec * 1e-6) * 1e-3;
}

static char *job_path(const job_queue *q, const job *j, const char *name)
{
    return workspace_path(q->server, "jobs/%s%s%s", j->id, *name ? "/" : "", name);
}

// ---- one job -------------------------------------------------------------------------------------------------------

bool job_is_active(const job *j)
{
    return j->state == JOB_QUEUED || j->state == JOB_RUNNING || j->state == JOB_STOPPING;
}

bool job_has_report(const job *j)
{
    return j->state == JOB_DONE && j->kind != &merge_job;
}

static json_t *moment(double seconds)
{
    return seconds > 0 ? json_real(seconds) : json_null();
}

json_t *job_json(const job *j)
{
    return json_pack("{ss ss ss ss so so so sO sf sO ss? sb}", "id", j->id, "kind", j->kind->name, "name", j->name,
                     "state", state_names[j->state], "created", moment(j->created), "started", moment(j->started),
                     "finished", moment(j->finished), "settings", j->settings, "progress", j->progress, "message",
                     j->message, "error", j->error, "report", job_has_report(j));
}

bool job_save(job_queue *q, job *j)
{
    char *path = job_path(q, j, "job.json");
    json_t *object = job_json(j);
    bool done = path && object && write_json(path, object);
    json_decref(object);
    free(path);
    return done;
}

void job_changed(job_queue *q, job *j)
{
    j->version++;
    pthread_cond_broadcast(&q->changed);
}

void job_say(job *j, const char *english, const char *chinese)
{
    json_t *message = json_pack("{ss ss}", "en", english, "zh", chinese);
    if (!message) return;
    json_decref(j->message);
    j->message = message;
}

static void set_error(job *j, const char *text)
{
    free(j->error);
    j->error = text ? strdup(text) : NULL;
}

static void destroy(job *j)
{
    json_decref(j->settings);
    json_decref(j->message);
    free(j->error);
    free(j->name);
    free(j);
}

static void append(job_queue *q, job *j)
{
    job **end = &q->first;
    while (*end) end = &(*end)->next;
    *end = j;
}

// An id that sorts by time and is never given twice.
static void give_id(const job_queue *q, job *j)
{
    struct tm time;
    time_t seconds = (time_t)j->created;
    char day[20];
    gmtime_r(&seconds, &time);
    strftime(day, sizeof day, "%Y%m%d-%H%M%S", &time);
    for (int i = 0;; i++) {
        snprintf(j->id, sizeof j->id, "%s-%d", day, i);
        char *path = job_path(q, j, "");
        bool taken = path && path_exists(path);
        free(path);
        if (!taken) return;
    }
}

job *job_make(job_queue *q, const job_kind *kind, const char *name, const json_t *settings)
{
    job *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    j->kind = kind, j->name = strdup(name), j->settings = json_deep_copy(settings), j->created = clock_seconds();
    job_say(j, "waiting its turn", "排队中");
    give_id(q, j);
    char *folder = job_path(q, j, "");
    if (j->name && j->settings && folder && make_directory(folder) && job_save(q, j)) {
        append(q, j);
        job_changed(q, j);
    } else {
        if (folder) remove_tree(folder);
        destroy(j);
        j = NULL;
    }
    free(folder);
    return j;
}

job *jobs_find(job_queue *q, const char *id)
{
    job *j = q->first;
    while (j && strcmp(j->id, id) != 0) j = j->next;
    return j;
}

void job_drop(job_queue *q, job *j)
{
    job **link = &q->first;
    while (*link != j) link = &(*link)->next;
    *link = j->next;
    j->removed = true;
    job_changed(q, j);
    if (j->users == 0) destroy(j);
}

void job_let_go(job_queue *q, job *j)
{
    (void)q;
    if (--j->users == 0 && j->removed) destroy(j);
}

json_t *jobs_list(job_queue *q)
{
    json_t *list = json_array();
    pthread_mutex_lock(&q->lock);
    for (job *j = q->first; j; j = j->next) json_array_append_new(list, job_json(j));
    pthread_mutex_unlock(&q->lock);
    return list;
}

bool jobs_will_make(job_queue *q, const char *kind, const char *name)
{
    bool found = false;
    pthread_mutex_lock(&q->lock);
    for (job *j = q->first; j && !found; j = j->next) {
        const char *made = j->kind->output ? json_string_value(json_object_get(j->settings, j->kind->output)) : NULL;
        found = job_is_active(j) && made && strcmp(j->kind->name, kind) == 0 && strcmp(made, name) == 0;
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

double jobs_last_rate(job_queue *q)
{
    double rate = 0;
    pthread_mutex_lock(&q->lock);
    for (job *j = q->first; j; j = j->next) {
        if (j->kind != &train_job || j->state != JOB_DONE) continue;
        char *path = job_path(q, j, "result.json");
        json_t *result = path ? read_json(path) : NULL;
        double found = json_number_value(json_object_get(result, "tokens_per_second"));
        if (found > 0) rate = found;
        json_decref(result);
        free(path);
    }
    pthread_mutex_unlock(&q->lock);
    return rate;
}

// ---- the thread ----------------------------------------------------------------------------------------------------

// With the lock held: what became of the job.
static void conclude(job_queue *q, job *j, lora_status status, const char *complaint)
{
    j->cancel = NULL;
    j->finished = clock_seconds();
    if (status == LORA_OK) {
        j->state = JOB_DONE;
        j->progress = 1;
        job_say(j, "done", "已完成");
    } else if (status == LORA_ERROR_CANCELLED) {
        j->state = JOB_STOPPED;
        job_say(j, "stopped; it can go on", "已停止，可以继续");
    } else {
        j->state = JOB_FAILED;
        set_error(j, *complaint ? complaint : lora_error_message());
        if (j->error) hide_workspace(q->server, j->error);
        job_say(j, "it did not work", "未能完成");
    }
    job_save(q, j);
    job_changed(q, j);
}

static void work_on(job_queue *q, job *j)
{
    char *folder = job_path(q, j, "");
    job_work *w = calloc(1, sizeof *w);
    lora_status status = LORA_ERROR_MEMORY;
    if (w && folder) {
        *w = (job_work){
            .server = q->server, .job = j, .app = *q->server->app, .folder = folder, .settings = j->settings};
        w->app.complaint = w->complaint;
        w->app.context = NULL;
        w->app.quiet = true;
        status = open_context(&w->app);
        w->context = w->app.context;
        if (status == LORA_OK) status = j->kind->run(w);
        lora_context_free(w->context);
    }
    pthread_mutex_lock(&q->lock);
    conclude(q, j, status, w ? w->complaint : "");
    pthread_mutex_unlock(&q->lock);
    free(w);
    free(folder);
}

static job *next_job(job_queue *q)
{
    for (job *j = q->first; j; j = j->next)
        if (j->state == JOB_QUEUED) return j;
    return NULL;
}

static void *run(void *argument)
{
    job_queue *q = argument;
    pthread_mutex_lock(&q->lock);
    while (!q->ending) {
        job *j = next_job(q);
        if (!j) {
            pthread_cond_wait(&q->changed, &q->lock);
            continue;
        }
        j->state = JOB_RUNNING;
        j->started = clock_seconds();
        j->finished = 0;
        set_error(j, NULL);
        job_say(j, "beginning", "正在开始");
        job_save(q, j);
        job_changed(q, j);
        pthread_mutex_unlock(&q->lock);
        work_on(q, j);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

// ---- life ----------------------------------------------------------------------------------------------------------

static job_state state_named(const char *name)
{
    for (size_t i = 0; name && i < sizeof state_names / sizeof *state_names; i++)
        if (strcmp(state_names[i], name) == 0) return (job_state)i;
    return JOB_FAILED;
}

static void load_job(const char *id, void *user)
{
    job_queue *q = user;
    job *j = calloc(1, sizeof *j);
    if (!j) return;
    snprintf(j->id, sizeof j->id, "%s", id);
    char *path = job_path(q, j, "job.json");
    json_t *kept = path ? read_json(path) : NULL;
    const char *name = json_string_value(json_object_get(kept, "name")),
               *kind = json_string_value(json_object_get(kept, "kind"));
    j->kind = kind ? job_kind_named(kind) : NULL;
    free(path);
    if (!j->kind || !name || !json_is_object(json_object_get(kept, "settings"))) { // not ours, or half made
        json_decref(kept);
        free(j);
        return;
    }
    j->name = strdup(name);
    j->state = state_named(json_string_value(json_object_get(kept, "state")));
    j->created = json_number_value(json_object_get(kept, "created"));
    j->started = json_number_value(json_object_get(kept, "started"));
    j->finished = json_number_value(json_object_get(kept, "finished"));
    j->progress = json_number_value(json_object_get(kept, "progress"));
    j->settings = json_incref(json_object_get(kept, "settings"));
    j->message = json_incref(json_object_get(kept, "message"));
    set_error(j, json_string_value(json_object_get(kept, "error")));
    json_decref(kept);
    append(q, j);
    if (j->state != JOB_RUNNING && j->state != JOB_STOPPING) return;
    j->state = JOB_STOPPED; // the server ended under it
    job_say(j, "interrupted when the server ended; it can go on", "服务器退出时中断，可以继续");
    job_save(q, j);
}

job_queue *jobs_open(server *s)
{
    job_queue *q = calloc(1, sizeof *q);
    char *folder = workspace_path(s, "jobs");
    if (!q || !folder) return NULL;
    q->server = s;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    each_entry(folder, load_job, q);
    free(folder);
    s->jobs = q;
    if (pthread_create(&q->thread, NULL, run, q) == 0) return q;
    s->jobs = NULL;
    free(q);
    return NULL;
}

void jobs_stop(job_queue *q)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->ending = true;
    for (job *j = q->first; j; j = j->next) {
        if (j->state != JOB_RUNNING) continue;
        j->state = JOB_STOPPING;
        if (j->cancel) j->cancel(j->handle);
    }
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
}

void jobs_free(job_queue *q)
{
    if (!q) return;
    while (q->first) {
        job *j = q->first;
        q->first = j->next;
        destroy(j);
    }
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->changed);
    free(q);
}
