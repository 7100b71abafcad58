#include "decode.h"

#include <stdlib.h>
#include <string.h>

bool answer_fill(answer *a, const ticket_spec *spec, const answer_spec *own)
{
    a->options = spec->options;
    a->options.seed = own->seed;
    a->top = spec->top;
    a->ids = malloc((size_t)a->session_options.context_length * sizeof *a->ids);
    if (!a->ids) return false;
    memcpy(a->ids, own->ids, own->count * sizeof *a->ids);
    a->id_count = a->token_count = own->count;
    a->options.stop_count = 0;
    for (size_t i = 0; i < spec->options.stop_count; i++, a->options.stop_count++)
        if (!(a->stop[i] = strdup(spec->options.stop[i]))) return false;
    a->options.stop = (const char *const *)a->stop;
    for (size_t i = 0; i < spec->adapter_count; i++)
        a->uses[i] = (lora_adapter_use){.adapter = held(spec->adapters[i]), .weight = spec->weights[i]};
    a->use_count = spec->adapter_count;
    return true;
}

static lora_status open_session(answer *a, const lora_model *model, prefixes *before)
{
    const prefix_key key = {a->uses, a->use_count, a->ids, a->id_count};
    lora_status status = prefixes_fork(before, &key, &a->session_options, &a->session, &a->cached_tokens);
    if (status != LORA_OK || a->session) return status;
    status = lora_session_create(model, &a->session_options, &a->session);
    return status == LORA_OK && a->use_count ? lora_session_set_adapters(a->session, a->uses, a->use_count) : status;
}

lora_status answer_open(answer *a, const lora_model *model, prefixes *before)
{
    lora_status status = open_session(a, model, before);
    if (status == LORA_OK && a->top >= 0) {
        lora_model_info info = {.struct_size = sizeof info};
        lora_model_get_info(model, &info);
        a->vocabulary = (size_t)info.vocabulary;
        a->values = malloc(a->vocabulary * sizeof *a->values);
        if (!a->values) status = LORA_ERROR_MEMORY;
    }
    if (status != LORA_OK) return status;
    return lora_session_prompt_later(a->session, a->ids + a->cached_tokens, a->id_count - a->cached_tokens,
                                     &a->options);
}

void answer_keep(const answer *a, prefixes *before)
{
    const prefix_key key = {a->uses, a->use_count, a->ids, a->token_count};
    prefixes_keep(before, &key, a->session);
}

void answer_close(answer *a)
{
    lora_session_free(a->session);
    free(a->values);
    a->session = NULL;
    a->values = NULL;
}

void answer_clear(answer *a)
{
    answer_close(a);
    for (size_t i = 0; i < a->waiting; i++) free(a->pieces[(a->first + i) % PIECE_QUEUE].text);
    for (size_t i = 0; i < a->options.stop_count; i++) free(a->stop[i]);
    free(a->ids);
}

// The likeliest tokens, best first.
static void find_top(const float *values, size_t count, int top, piece *out)
{
    out->top_count = 0;
    for (size_t id = 0; id < count; id++) {
        int at = out->top_count;
        if (at == top && (top == 0 || values[id] <= out->top_log_probabilities[at - 1])) continue;
        if (at < top) out->top_count++;
        else at--;
        for (; at > 0 && values[id] > out->top_log_probabilities[at - 1]; at--) {
            out->top_ids[at] = out->top_ids[at - 1];
            out->top_log_probabilities[at] = out->top_log_probabilities[at - 1];
        }
        out->top_ids[at] = (int32_t)id;
        out->top_log_probabilities[at] = values[id];
    }
}

static lora_status next_token(answer *a)
{
    lora_piece found = {.struct_size = sizeof found};
    lora_status status = LORA_OK;
    a->fresh = (piece){.id = -1};
    if (a->values) {
        status = lora_session_log_probabilities(a->session, a->values, a->vocabulary);
        if (status == LORA_OK) find_top(a->values, a->vocabulary, a->top, &a->fresh);
    }
    if (status == LORA_OK) status = lora_session_next(a->session, &found);
    if (status != LORA_OK) return status;
    a->fresh.text = malloc(found.text_length + 1);
    if (!a->fresh.text) return LORA_ERROR_MEMORY;
    memcpy(a->fresh.text, found.text, found.text_length);
    a->fresh.text[found.text_length] = '\0';
    a->fresh.length = found.text_length;
    a->fresh.id = found.id;
    a->fresh.finish = found.finish;
    a->fresh.cached_tokens = a->cached_tokens;
    if (found.id >= 0 && a->token_count < (size_t)a->session_options.context_length)
        a->ids[a->token_count++] = found.id;
    a->fresh.log_probability = found.log_probability;
    a->has_piece = true;
    a->finished = found.finish != LORA_FINISH_NONE;
    return LORA_OK;
}

// ---- rounds --------------------------------------------------------------------------------------------------------

struct decoder {
    lora_batch *batch;
    size_t most;
    answer **answers; // [most] of a round
    lora_session **sessions;
    lora_status *statuses;
    int64_t *left;
};

decoder *decoder_create(const lora_model *model, size_t most)
{
    lora_batch_options options;
    lora_batch_options_init(&options);
    options.max_sessions = (int32_t)most;
    options.prompt_tokens = PROMPT_PIECE;
    decoder *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    *d = (decoder){.most = most,
                   .answers = calloc(most, sizeof *d->answers),
                   .sessions = calloc(most, sizeof *d->sessions),
                   .statuses = calloc(most, sizeof *d->statuses),
                   .left = calloc(most, sizeof *d->left)};
    if (d->answers && d->sessions && d->statuses && d->left && lora_batch_create(model, &options, &d->batch) == LORA_OK)
        return d;
    decoder_free(d);
    return NULL;
}

void decoder_free(decoder *d)
{
    if (!d) return;
    lora_batch_free(d->batch);
    free(d->answers);
    free(d->sessions);
    free(d->statuses);
    free(d->left);
    free(d);
}

void decode_round(decoder *d, answer *first)
{
    size_t count = 0;
    for (answer *a = first; a && count < d->most; a = a->next) {
        if (!a->chosen) continue;
        d->answers[count] = a;
        d->sessions[count++] = a->session;
    }
    lora_status status = lora_batch_run(d->batch, d->sessions, count, d->statuses, d->left);
    for (size_t i = 0; i < count; i++) {
        answer *a = d->answers[i];
        a->status = status == LORA_OK ? d->statuses[i] : status;
        if (a->status == LORA_OK && d->left[i] == 0) a->status = next_token(a);
        if (a->status != LORA_OK) snprintf(a->message, sizeof a->message, "%s", lora_error_message());
    }
}
