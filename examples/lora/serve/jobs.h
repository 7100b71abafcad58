// Jobs: work of minutes or hours, one after another on a thread of its own. What a job is, its log and its result are
// files, so that a server that starts again has them all; one that was cut off is then "stopped" and can go on.
//
//     jobs/ID/job.json     the job as /api/jobs/ID tells it
//     jobs/ID/log.jsonl    an object for each step of training
//     jobs/ID/result.json  what came of it
#ifndef SERVE_JOBS_H
#define SERVE_JOBS_H

#include "http.h"

typedef struct job job;
typedef struct job_queue job_queue;

// What the run of a job works with.
typedef struct job_work {
    server *server;
    job *job;
    application app; // complain() goes into the job's error
    char complaint[COMPLAINT_SIZE];
    const char *folder;     // "WORKSPACE/jobs/ID"
    const json_t *settings;
    lora_context *context;  // its own, with its own threads
} job_work;

typedef struct job_kind {
    const char *name;
    // Looks at the settings of a job to be: answers and returns false when they make no sense.
    bool (*check)(request *r, const json_t *settings);
    // LORA_OK: done. CANCELLED: stopped. Anything else failed, with complain()'s text or else the library's.
    lora_status (*run)(job_work *work);
    const char *output; // the setting that names what it makes, or NULL: no two jobs at work make the same
} job_kind;

extern const job_kind train_job, merge_job, compare_job, evaluate_job, ab_job;

job_queue *jobs_open(server *s);
void jobs_stop(job_queue *queue); // the one at work stops at a checkpoint
void jobs_free(job_queue *queue);
json_t *jobs_list(job_queue *queue);
double jobs_last_rate(job_queue *queue); // tokens a second of the newest training; 0: not known
// A job at work or waiting makes something of this name.
bool jobs_will_make(job_queue *queue, const char *kind, const char *name);

// ---- for runs ------------------------------------------------------------------------------------------------------

void work_progress(job_work *work, double fraction, const char *english, const char *chinese);
void work_step(job_work *work, json_t *step); // into the log; takes the reference
void work_cut_log(job_work *work, int64_t steps); // forgets what the log says behind this step
void work_result(job_work *work, json_t *result); // takes the reference
bool work_stopping(const job_work *work);
// While the job is at work, stopping it calls cancel(handle), from any thread; NULL, NULL at the end.
void work_cancel_with(job_work *work, void (*cancel)(void *handle), void *handle);
char *work_path(const job_work *work, const char *name); // in the job's folder; free with free()

// Adapters that the settings name: [{"name", "weight"}], loaded on the job's model.
lora_status work_adapters(job_work *work, const lora_model *model, const json_t *list, adapter_set *out);
// For checks: the setting `name` is a data set that is there; `list` names adapters that are there.
bool check_dataset(request *r, const json_t *settings, const char *name);
bool check_adapters(request *r, const json_t *settings, const char *name);

json_t *evaluate_options(void); // an evaluation's settings, for /api/options; job_evaluate.c

// ---- requests ------------------------------------------------------------------------------------------------------

void jobs_post(request *r);
void job_get(request *r);
void job_delete(request *r);
void job_stop(request *r);
void job_resume(request *r);
void job_log(request *r);
void job_checklist(request *r); // job_evaluate.c
void job_report(request *r);    // job_report.c
void job_events(request *r);

// ---- between jobs.c and job_requests.c -----------------------------------------------------------------------------

typedef enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_STOPPING, JOB_STOPPED, JOB_DONE, JOB_FAILED } job_state;

struct job {
    job *next;
    char id[40];
    char *name;
    const job_kind *kind;
    job_state state;
    double created, started, finished; // seconds since 1970; 0: not yet
    json_t *settings, *message;
    double progress;
    char *error;
    void (*cancel)(void *handle);
    void *handle;
    uint64_t version; // moves with everything that a listener is told
    int users;        // listeners; with the queue's lock held
    bool removed;
};

struct job_queue {
    server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    job *first; // in the order of their making
    bool ending;
};

job *jobs_find(job_queue *queue, const char *id); // with the lock held
json_t *job_json(const job *j);
bool job_is_active(const job *j);
void job_say(job *j, const char *english, const char *chinese);
bool job_has_report(const job *j);
bool job_save(job_queue *queue, job *j);
void job_changed(job_queue *queue, job *j);
job *job_make(job_queue *queue, const job_kind *kind, const char *name, const json_t *settings);
void job_drop(job_queue *queue, job *j); // takes it from the list; its files are gone already
void job_let_go(job_queue *queue, job *j); // a listener ends
const job_kind *job_kind_named(const char *name);

#endif
