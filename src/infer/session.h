// What a session holds, for those that run several together.
#ifndef LR_SESSION_H
#define LR_SESSION_H

#include "answer_text.h"
#include "sampler.h"
#include "src/adapter/adapter.h"
#include "src/model/pass.h"

#include <lora/session.h>

#define LR_LOGITS_NONE (-1)

struct lora_session {
    lora_model *model;
    lr_kv_cache *cache;
    lr_pass *pass;
    lr_binding *binding;
    lora_adapter_use *uses; // the binding's
    size_t use_count;
    bool joins; // may run beside sessions with other adapters
    int32_t prefill_batch;
    int32_t *history; // [cache->capacity]
    int64_t length;   // of history; the cache holds the first cache->length of them
    float *logits;    // [vocabulary] of the token after history, valid when logits_at == length
    int64_t logits_at;
    lr_sampler sampler;
    lr_sampling sampling;
    lr_answer_text text;
    int32_t *end_tokens; // the options' own
    size_t end_token_count;
    bool ignore_end;
    bool answering;
    int64_t prompt_tokens, generated_tokens, max_new_tokens;
    double prefill_seconds, decode_seconds;
    atomic_int cancel;
};

// Tokens that have to be run before the next one can be chosen; the last is run again when only its logits are missing.
int64_t lr_session_pending(lora_session *session);
// Runs at most `most` of them.
lora_status lr_session_run(lora_session *session, int64_t most);

#endif
