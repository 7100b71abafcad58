// Asking about jobs, and listening to them.
#include "jobs.h"

#include "files.h"
#include "outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_JOBS 1000 // kept
#define SIGN_SECONDS 15

static void answer_missing(request *r)
{
    answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no run %s", "没有任务 %s"), r->names[0]);
}

// ---- one at a time -------------------------------------------------------------------------------------------------

void jobs_post(request *r)
{
    const char *kind_name, *name = NULL;
    json_t *settings = json_object_get(r->body, "settings");
    if (!need_text(r, "kind", &kind_name) || !take_name(r, "name", &name)) return;
    const job_kind *kind = job_kind_named(kind_name);
    if (!kind) {
        answer_error(r, 400, "invalid_value", "kind",
                     say(&r->words, "there is no kind of run %.40s", "没有任务类型 %.40s"), kind_name);
        return;
    }
    if (!json_is_object(settings)) {
        answer_error(r, 400, "invalid_value", "settings", "%s",
                     say(&r->words, "settings: an object is expected", "settings：应为对象"));
        return;
    }
    if (!kind->check(r, settings)) return;
    job_queue *q = r->server->jobs;
    size_t count = 0;
    pthread_mutex_lock(&q->lock);
    for (job *j = q->first; j; j = j->next) count++;
    job *j = count < MOST_JOBS ? job_make(q, kind, name, settings) : NULL;
    json_t *made = j ? job_json(j) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (made) answer_json(r, 202, made);
    else if (count >= MOST_JOBS)
        answer_error(r, 409, "too_many", NULL, "%s",
                     say(&r->words, "there are too many runs; delete some", "任务太多，请删除一些"));
    else answer_errno(r, name);
}

void job_get(request *r)
{
    job_queue *q = r->server->jobs;
    pthread_mutex_lock(&q->lock);
    job *j = jobs_find(q, r->names[0]);
    json_t *object = j ? job_json(j) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (!object) {
        answer_missing(r);
        return;
    }
    char *path = workspace_path(r->server, "jobs/%s/result.json", r->names[0]);
    json_t *result = path ? read_json(path) : NULL;
    free(path);
    json_object_set_new(object, "result", result ? result : json_null());
    path = workspace_path(r->server, "jobs/%s/checklist.json", r->names[0]);
    json_t *checklist = path && path_exists(path) ? read_json(path) : NULL;
    free(path);
    if (checklist) json_object_set_new(object, "checklist", checklist);
    answer_json(r, 200, object);
}

void job_stop(request *r)
{
    job_queue *q = r->server->jobs;
    pthread_mutex_lock(&q->lock);
    job *j = jobs_find(q, r->names[0]);
    if (j && j->state == JOB_QUEUED) j->state = JOB_STOPPED;
    else if (j && j->state == JOB_RUNNING) {
        j->state = JOB_STOPPING;
        if (j->cancel) j->cancel(j->handle);
    }
    if (j) {
        job_save(q, j);
        job_changed(q, j);
    }
    json_t *object = j ? job_json(j) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (object) answer_json(r, 200, object);
    else answer_missing(r);
}

void job_resume(request *r)
{
    job_queue *q = r->server->jobs;
    pthread_mutex_lock(&q->lock);
    job *j = jobs_find(q, r->names[0]);
    bool rests = j && (j->state == JOB_STOPPED || j->state == JOB_FAILED);
    json_t *object = j ? json_incref(j->settings) : NULL;
    const job_kind *kind = j ? j->kind : NULL;
    pthread_mutex_unlock(&q->lock);
    if (!j) {
        answer_missing(r);
    } else if (!rests) {
        answer_error(
            r, 409, "wrong_state", NULL, "%s",
            say(&r->words, "only a run that was stopped or failed can go on", "只有已停止或失败的任务可以继续"));
    } else if (kind->check(r, object)) {
        json_t *changed = NULL;
        pthread_mutex_lock(&q->lock);
        j = jobs_find(q, r->names[0]);
        if (j && (j->state == JOB_STOPPED || j->state == JOB_FAILED)) {
            j->state = JOB_QUEUED;
            job_save(q, j);
            job_changed(q, j);
        }
        changed = j ? job_json(j) : NULL;
        pthread_mutex_unlock(&q->lock);
        if (changed) answer_json(r, 202, changed);
        else answer_missing(r);
    }
    json_decref(object);
}

void job_delete(request *r)
{
    job_queue *q = r->server->jobs;
    char *path = workspace_path(r->server, "jobs/%s", r->names[0]);
    pthread_mutex_lock(&q->lock);
    job *j = jobs_find(q, r->names[0]);
    bool active = j && job_is_active(j), done = j && !active && path && remove_tree(path);
    int error = errno;
    if (done) job_drop(q, j);
    pthread_mutex_unlock(&q->lock);
    errno = error;
    free(path);
    if (done) answer_json(r, 200, json_object());
    else if (!j) answer_missing(r);
    else if (active) answer_error(r, 409, "wrong_state", NULL, "%s", say(&r->words, "stop the run first", "请先停止任务"));
    else answer_errno(r, r->names[0]);
}

void job_log(request *r)
{
    job_queue *q = r->server->jobs;
    pthread_mutex_lock(&q->lock);
    bool found = jobs_find(q, r->names[0]) != NULL;
    pthread_mutex_unlock(&q->lock);
    char *path = workspace_path(r->server, "jobs/%s/log.jsonl", r->names[0]),
         *name = text_of("%s.log.jsonl", r->names[0]);
    int file = found && path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (file >= 0) answer_file(r, file, "application/jsonl", name);
    else if (found) answer_text(r, "application/jsonl", strdup(""), 0);
    else answer_missing(r);
    free(path);
    free(name);
}

// ---- listening -----------------------------------------------------------------------------------------------------

typedef struct listener {
    request *request;
    job_queue *queue;
    job *job;
    char *log;
    off_t at; // of the log
    uint64_t version;
    int state; // as last told; -1: not yet
    double last_sign;
    outbox box;
    bool over;
} listener;

// Whole lines that the log got since the last look.
static void tell_steps(listener *l)
{
    char buffer[8192];
    int file = open(l->log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = file >= 0 ? pread(file, buffer, sizeof buffer, l->at) : 0;
    if (file >= 0) close(file);
    char *line = buffer, *end;
    while (got > 0 && (end = memchr(line, '\n', (size_t)(buffer + got - line)))) {
        outbox_add(&l->box, "event: step\ndata: ", 18);
        outbox_add(&l->box, line, (size_t)(end - line));
        outbox_add(&l->box, "\n\n", 2);
        line = end + 1;
    }
    l->at += line - buffer;
}

// What changed since `version`; the lock is held. Steps come before the state that follows them.
static void tell(listener *l)
{
    job *j = l->job;
    if (j->removed) {
        l->over = true;
    } else if ((int)j->state != l->state) {
        l->state = (int)j->state;
        outbox_event(&l->box, "state", job_json(j));
        l->over = !job_is_active(j);
    } else if (l->version != j->version) {
        outbox_event(&l->box, "progress", json_pack("{sf sO}", "progress", j->progress, "message", j->message));
    }
    l->version = j->version;
}

static void wait_for_change(listener *l)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 250000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    if (l->version == l->job->version && (int)l->job->state == l->state)
        pthread_cond_timedwait(&l->queue->changed, &l->queue->lock, &until);
}

static ssize_t next_events(void *state, char *buffer, size_t capacity)
{
    listener *l = state;
    while (outbox_waiting(&l->box) == 0 && !l->over) {
        pthread_mutex_lock(&l->queue->lock);
        wait_for_change(l);
        bool ending = l->queue->ending;
        tell_steps(l); // with the lock held: what was logged before the state changed is told before it
        if (outbox_waiting(&l->box) == 0) tell(l);
        pthread_mutex_unlock(&l->queue->lock);
        if (outbox_waiting(&l->box) == 0 && (ending || client_is_gone(l->request))) return 0;
        if (now() - l->last_sign > SIGN_SECONDS) outbox_add(&l->box, ": still here\n\n", 14);
        if (l->box.failed) return 0;
    }
    l->last_sign = now();
    return (ssize_t)outbox_take(&l->box, buffer, capacity);
}

static void finish_events(void *state)
{
    listener *l = state;
    pthread_mutex_lock(&l->queue->lock);
    job_let_go(l->queue, l->job);
    pthread_mutex_unlock(&l->queue->lock);
    outbox_free(&l->box);
    free(l->log);
    free(l);
}

void job_events(request *r)
{
    job_queue *q = r->server->jobs;
    listener *l = calloc(1, sizeof *l);
    char *log = workspace_path(r->server, "jobs/%s/log.jsonl", r->names[0]);
    pthread_mutex_lock(&q->lock);
    job *j = l && log ? jobs_find(q, r->names[0]) : NULL;
    if (j) j->users++;
    pthread_mutex_unlock(&q->lock);
    if (!j) {
        free(l);
        free(log);
        answer_missing(r);
        return;
    }
    *l = (listener){.request = r, .queue = q, .job = j, .log = log, .state = -1, .last_sign = now()};
    answer_events(r, &(event_stream){.next = next_events, .finish = finish_events, .state = l});
}
