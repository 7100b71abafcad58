// One answer being written, and a round of decoding over all of them: the only place that runs the model for the chat.
#ifndef SERVE_DECODE_H
#define SERVE_DECODE_H

#include "prefixes.h"
#include "scheduler.h"

#define PIECE_QUEUE 64   // pieces that wait for their reader
#define PROMPT_PIECE 128 // tokens of prompts that are read in a round

typedef struct answer answer;

struct answer {
    answer *next;
    struct ticket *ticket;
    // what was asked
    int32_t *ids; // the prompt's, then the answer's: [context_length]
    size_t id_count, token_count;
    lora_generate_options options;
    char *stop[16];
    lora_adapter_use uses[MOST_ADAPTERS];
    size_t use_count;
    int top;
    // the work
    lora_session *session;
    size_t cached_tokens;
    lora_session_options session_options;
    uint64_t cache_bytes;
    float *values; // [vocabulary], where alternatives are wanted
    size_t vocabulary;
    double full_since;
    // a round: `chosen` takes part
    bool chosen, has_piece, finished;
    lora_status status;
    char message[512];
    piece fresh;
    // what waits for the reader
    piece pieces[PIECE_QUEUE];
    size_t first, waiting;
    bool ended;
};

bool answer_fill(answer *a, const ticket_spec *spec, const answer_spec *own); // false: out of memory
// Makes a session, from one that begins alike if there is such; the prompt's tokens are run in the rounds.
lora_status answer_open(answer *a, const lora_model *model, prefixes *before);
void answer_keep(const answer *a, prefixes *before); // its tokens for later requests
void answer_close(answer *a);                        // lets the session go
void answer_clear(answer *a);

typedef struct decoder decoder;
decoder *decoder_create(const lora_model *model,
                        size_t most); // of so many answers at once; NULL: the thread's message says why
void decoder_free(decoder *decoder);
void decode_round(decoder *decoder, answer *first); // one token of each that is chosen, or a part of its prompt

#endif
