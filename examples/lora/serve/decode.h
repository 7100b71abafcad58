// One answer being written, and a round of decoding over all of them: the only place that runs the model for the chat.
#ifndef SERVE_DECODE_H
#define SERVE_DECODE_H

#include "scheduler.h"

#define PIECE_QUEUE 64   // pieces that wait for their reader
#define PROMPT_PIECE 128 // tokens of prompts that are read in a round

typedef struct answer answer;

struct answer {
    answer *next;
    struct ticket *ticket;
    // what was asked
    int32_t *ids;
    size_t id_count;
    lora_generate_options options;
    char *stop[16];
    lora_adapter_use uses[MOST_ADAPTERS];
    size_t use_count;
    int top;
    // the work
    lora_session *session;
    int64_t capacity; // tokens
    uint64_t cache_bytes;
    size_t read; // ids that the session has run
    float *values; // [vocabulary], where alternatives are wanted
    size_t vocabulary;
    double full_since;
    // a round: `chosen` takes part; `share` ids of its prompt are read
    bool chosen, has_piece, finished;
    int64_t share;
    lora_status status;
    char message[512];
    piece fresh;
    // what waits for the reader
    piece pieces[PIECE_QUEUE];
    size_t first, waiting;
    bool ended;
};

bool answer_fill(answer *a, const ticket_spec *spec, const answer_spec *own); // false: out of memory
lora_status answer_open(answer *a, const lora_model *model);
void answer_close(answer *a); // lets the session go
void answer_clear(answer *a);
void decode_round(answer *first);

#endif
