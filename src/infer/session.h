// The inside of a session: its tokens, the cache of their keys and values, a binding of the adapters in use, and the
// logits of the tokens that come next. Tokens are run late: a prompt that was put off, a token that was chosen, or a
// history whose cache was emptied by other adapters, is run when the next token is needed, alone (session_run.c) or
// together with other sessions (batch.c).
#ifndef LR_SESSION_H
#define LR_SESSION_H

#include "answer_text.h"
#include "sampler.h"
#include "src/adapter/adapter.h"
#include "src/model/pass.h"

#include <lora/session.h>

struct lora_session {
    lora_model *model;
    lr_kv_cache *cache;
    lr_pass *pass; // for runs alone, made when the first one comes
    lr_binding *binding;
    int32_t prefill_batch;
    int32_t *history; // [cache->capacity]
    int64_t length;   // of history; the cache holds the first cache->length of them, and with proposals some after it
    float *logits;    // [logit_rows, vocabulary]: row i is of the token after the first logits_from + i
    lr_logits_summary *summaries; // [logit_rows]
    int64_t logit_rows, logits_from, logits_count;
    lr_sampler sampler;
    lr_sampling sampling;
    lr_answer_text text;
    int32_t *end_tokens; // the options' own
    size_t end_token_count;
    bool ignore_end;
    int32_t lookahead; // proposals at a time, at most; logit_rows is more
    bool answering;
    bool prompting; // the prompt has not been run to its end
    int64_t prompt_tokens, generated_tokens, max_new_tokens;
    double prefill_seconds, decode_seconds;
    atomic_int cancel;
};

// ---- running (session_run.c) ----------------------------------------------------------------------------------------

// What a run takes: tokens [cache->length, cache->length + count) of the history; the last `rows` of them give logits.
typedef struct lr_session_run {
    int64_t count, rows;
} lr_session_run;

// The logits of the token after the whole history.
typedef struct lr_next_logits {
    const float *values; // NULL: it has to be run
    const lr_logits_summary *summary;
} lr_next_logits;

lr_next_logits lr_session_logits(const lora_session *session);
// Tokens of the history that have to be run before the logits are there.
int64_t lr_session_pending(const lora_session *session);
// What is left to run, at most `limit` tokens of it; the last token is run again when only its logits are missing.
lr_session_run lr_session_plan(lora_session *session, int64_t limit);
// The run as a span of a batch from row `begin` on.
lr_span lr_session_span(lora_session *session, lr_session_run run, int64_t begin);
void lr_session_ran(lora_session *session, lr_session_run run); // the pass was made
// Writes proposals for the next tokens after the history; how many.
int64_t lr_session_propose(lora_session *session);
// Forgets proposals that were run.
void lr_session_drop_proposals(lora_session *session);
// Runs alone until the logits are there.
lora_status lr_session_run_pending(lora_session *session);

// STATE or CANCELLED: no answer can go on.
lora_status lr_session_check_answering(const lora_session *session);
// Time spent on a run, to the prompt's or the answer's account.
void lr_session_add_time(lora_session *session, double seconds);

#endif
