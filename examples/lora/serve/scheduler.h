// All answers that are being written: one thread decodes them together, a token each in turn; prompts are read in
// pieces between, so that a long one does not stall the others. What is written waits in a short queue for its reader.
#ifndef SERVE_SCHEDULER_H
#define SERVE_SCHEDULER_H

#include "shelf.h"

#define MOST_ADAPTERS 8
#define MOST_ANSWERS 128 // of one request
#define MOST_TOP 20      // alternatives of a token

typedef struct scheduler scheduler;
typedef struct ticket ticket; // the answers of one request

typedef struct answer_spec {
    const int32_t *ids;
    size_t count;
    uint64_t seed;
} answer_spec;

typedef struct ticket_spec {
    const answer_spec *answers;
    size_t count;
    lora_generate_options options; // of all; the seed is each answer's
    held_adapter *adapters[MOST_ADAPTERS]; // given back by the ticket once it was made
    float weights[MOST_ADAPTERS];
    size_t adapter_count;
    int top; // alternatives wanted for each token; -1: none, nor log-probabilities
} ticket_spec;

typedef struct piece {
    char *text; // free with free()
    size_t length;
    int32_t id; // -1: no token
    int32_t finish;
    float log_probability;
    int32_t top_ids[MOST_TOP];
    float top_log_probabilities[MOST_TOP];
    int top_count;
    size_t cached_tokens; // of the prompt: those that were not run again
} piece;

scheduler *scheduler_start(server *s);
void scheduler_stop(scheduler *scheduler, double grace_seconds); // what runs may finish within the grace
void scheduler_free(scheduler *scheduler);

typedef enum ticket_result { TICKET_TAKEN, TICKET_FULL, TICKET_TOO_LARGE, TICKET_FAILED } ticket_result;
ticket_result ticket_make(scheduler *scheduler, const ticket_spec *spec, ticket **out);
// Ends what still runs, at once.
void ticket_free(ticket *ticket);

typedef enum ticket_state { PIECE_READY, PIECE_LATER, PIECE_FAILED, PIECE_NONE } ticket_state;
// The next piece of any answer, waiting at most `seconds`. PIECE_NONE: all have ended. PIECE_FAILED: `message` tells
// why.
ticket_state ticket_next(ticket *ticket, double seconds, size_t *answer, piece *out, const char **message);

json_t *scheduler_load(scheduler *scheduler); // {"active", "queued", "limit"}

#endif
