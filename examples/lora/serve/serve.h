// lora serve: what the parts of the server share.
//
// Threads: one for each connection (http.c), which runs the request's handler; one that decodes all answers
// (scheduler.c); one that works off jobs (jobs.c), with a context and model of its own, so that training does not hold
// up the chat.
#ifndef SERVE_H
#define SERVE_H

#include "../app.h"

#include <pthread.h>

typedef struct serve_settings {
    text_list adapters, hosts;
    const char *workspace, *host, *token, *name;
    int64_t port, clients, queue, max_tokens, idle_seconds;
    uint64_t cache_memory;
    const char *cache_type_name;
    lora_type cache_type;
} serve_settings;

typedef struct server {
    const application *app;
    const serve_settings *settings;
    const struct option *compare_options; // the table of `lora compare`
    const char *model_path;
    char *model_name;
    lora_model *model;
    const lora_tokenizer *tokenizer; // the model's; never NULL
    char token[128];                 // "": none is asked for
    bool network;                    // open to more than this computer
    int lock;                        // the workspace's lock file
    pthread_mutex_t files;           // held while data sets, conversations or exports change
    struct http_front *front;
    struct scheduler *scheduler;
    struct shelf *shelf;
    struct job_queue *jobs;
} server;

// A path in the workspace: workspace_path(s, "datasets/%s.jsonl", name). Free with free(); NULL: out of memory.
char *workspace_path(const server *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Takes the workspace's place out of a message: who asks over the network sees names of files alone.
void hide_workspace(const server *s, char *text);

#endif
