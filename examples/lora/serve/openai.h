// OpenAI's interface: chat and plain completions, models.
#ifndef SERVE_OPENAI_H
#define SERVE_OPENAI_H

#include "outbox.h"
#include "scheduler.h"

void chat_completions(request *r);
void completions(request *r);
void models_list(request *r);
void models_get(request *r);

// ---- between reading a request (openai.c) and writing its answer (completion.c) ------------------------------------

typedef struct completion {
    request *request;
    ticket *ticket;
    bool chat, stream, usage; // usage: with the stream's last event
    char id[40];
    char *model;
    double created;
    size_t count;
    int top; // -1: no log-probabilities
    int64_t prompt_tokens, cached_tokens, completion_tokens; // cached: the first answer's
    // each answer's
    struct written *written;
    // of a stream: what waits to be sent
    outbox box;
    double last_sign; // of life, in seconds
    bool over;
} completion;

// Takes the completion and answers with it, whole or as a stream.
void completion_answer(completion *c);
void completion_free(completion *c);

#endif
