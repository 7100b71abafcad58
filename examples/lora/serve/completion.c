// An answer in OpenAI's words: as one object, or event after event.
#include "openai.h"

#include "../conversation.h"
#include "access.h"

#include <stdlib.h>
#include <string.h>

#define SIGN_SECONDS 15 // of silence, until a comment shows that the server lives

typedef struct written {
    char *text;
    size_t length, capacity;
    json_t *tokens; // chat: entries of logprobs.content
    int32_t finish;
    bool begun;
} written;

void completion_free(completion *c)
{
    if (!c) return;
    ticket_free(c->ticket);
    for (size_t i = 0; c->written && i < c->count; i++) {
        free(c->written[i].text);
        json_decref(c->written[i].tokens);
    }
    free(c->written);
    outbox_free(&c->box);
    free(c->model);
    free(c);
}

static const char *finish_name(int32_t finish)
{
    return finish == LORA_FINISH_NONE ? NULL : finish == LORA_FINISH_LENGTH ? "length" : "stop";
}

// ---- log-probabilities ---------------------------------------------------------------------------------------------

static json_t *token_entry(const completion *c, int32_t id, double log_probability)
{
    char *text = NULL;
    size_t length = 0;
    json_t *bytes = json_array();
    if (ids_text(c->request->server->tokenizer, &id, 1, false, &text, &length) != LORA_OK) length = 0;
    for (size_t i = 0; i < length; i++) json_array_append_new(bytes, json_integer((unsigned char)text[i]));
    json_t *token = json_stringn(text ? text : "", length);
    free(text);
    return json_pack("{so sf so}", "token", token ? token : json_string("\xEF\xBF\xBD"), "logprob", log_probability,
                     "bytes", bytes);
}

static json_t *token_entries(const completion *c, const piece *p)
{
    json_t *entry = token_entry(c, p->id, (double)p->log_probability), *top = json_array();
    for (int i = 0; i < p->top_count; i++)
        json_array_append_new(top, token_entry(c, p->top_ids[i], (double)p->top_log_probabilities[i]));
    json_object_set_new(entry, "top_logprobs", top);
    return entry;
}

// The older form of /v1/completions: lists side by side.
static json_t *plain_log_probabilities(const json_t *entries, size_t offset)
{
    json_t *tokens = json_array(), *values = json_array(), *tops = json_array(), *offsets = json_array(), *entry,
           *other;
    size_t index, k;
    json_array_foreach(entries, index, entry) {
        json_t *top = json_object();
        json_array_foreach(json_object_get(entry, "top_logprobs"), k, other)
            json_object_set(top, json_string_value(json_object_get(other, "token")), json_object_get(other, "logprob"));
        json_array_append(tokens, json_object_get(entry, "token"));
        json_array_append(values, json_object_get(entry, "logprob"));
        json_array_append_new(tops, top);
        json_array_append_new(offsets, json_integer((json_int_t)offset));
        offset += json_array_size(json_object_get(entry, "bytes"));
    }
    return json_pack("{so so so so}", "tokens", tokens, "token_logprobs", values, "top_logprobs", tops, "text_offset",
                     offsets);
}

static json_t *log_probabilities(const completion *c, const json_t *entries, size_t offset)
{
    if (c->top < 0) return json_null();
    return c->chat ? json_pack("{sO}", "content", entries) : plain_log_probabilities(entries, offset);
}

// ---- whole ---------------------------------------------------------------------------------------------------------

static json_t *usage(const completion *c)
{
    return json_pack("{sI sI sI s{sI}}", "prompt_tokens", (json_int_t)c->prompt_tokens, "completion_tokens",
                     (json_int_t)c->completion_tokens, "total_tokens",
                     (json_int_t)(c->prompt_tokens + c->completion_tokens), "prompt_tokens_details", "cached_tokens",
                     (json_int_t)c->cached_tokens);
}

static json_t *frame(const completion *c, bool chunk, json_t *choices)
{
    const char *object = !c->chat ? "text_completion" : chunk ? "chat.completion.chunk" : "chat.completion";
    return json_pack("{ss ss sI ss so}", "id", c->id, "object", object, "created", (json_int_t)c->created, "model",
                     c->model, "choices", choices);
}

static bool add_text(written *w, const piece *p)
{
    if (w->length + p->length + 1 > w->capacity) {
        size_t capacity = (w->length + p->length) * 2 + 64;
        char *text = realloc(w->text, capacity);
        if (!text) return false;
        w->text = text;
        w->capacity = capacity;
    }
    memcpy(w->text + w->length, p->text, p->length);
    w->length += p->length;
    return true;
}

static json_t *whole_choice(const completion *c, size_t index)
{
    const written *w = &c->written[index];
    json_t *text = json_stringn(w->text ? w->text : "", w->length), *entries = w->tokens ? w->tokens : NULL;
    json_t *choice = json_pack("{sI so ss}", "index", (json_int_t)index, "logprobs", log_probabilities(c, entries, 0),
                               "finish_reason", finish_name(w->finish));
    if (c->chat) json_object_set_new(choice, "message", json_pack("{ss so}", "role", "assistant", "content", text));
    else json_object_set_new(choice, "text", text);
    return choice;
}

static void note_piece(completion *c, written *w, const piece *p)
{
    if (p->id >= 0) c->completion_tokens++;
    if (w == c->written) c->cached_tokens = (int64_t)p->cached_tokens;
    if (c->top >= 0 && p->id >= 0) {
        if (!w->tokens) w->tokens = json_array();
        json_array_append_new(w->tokens, token_entries(c, p));
    }
    w->finish = p->finish;
}

static void answer_whole(completion *c)
{
    request *r = c->request;
    const char *message = NULL;
    for (bool over = false; !over;) {
        size_t index;
        piece p;
        ticket_state state = ticket_next(c->ticket, 0.25, &index, &p, &message);
        if (state == PIECE_READY) {
            note_piece(c, &c->written[index], &p);
            if (!add_text(&c->written[index], &p)) message = "out of memory";
            free(p.text);
        }
        over = state == PIECE_NONE || message || client_is_gone(r);
    }
    if (message) {
        answer_error(r, 503, "stopped", NULL, "%s", message);
    } else {
        json_t *choices = json_array();
        for (size_t i = 0; i < c->count; i++) json_array_append_new(choices, whole_choice(c, i));
        json_t *answer = frame(c, false, choices);
        json_object_set_new(answer, "usage", usage(c));
        answer_json(r, 200, answer);
    }
    completion_free(c);
}

// ---- a stream ------------------------------------------------------------------------------------------------------

static void send_choice(completion *c, size_t index, json_t *delta, const char *text, json_t *logprobs,
                        const char *finish)
{
    json_t *choice = json_pack("{sI so ss?}", "index", (json_int_t)index, "logprobs", logprobs, "finish_reason",
                               finish);
    if (c->chat) json_object_set_new(choice, "delta", delta);
    else json_object_set_new(choice, "text", json_string(text));
    json_t *event = frame(c, true, json_pack("[o]", choice));
    if (c->usage) json_object_set_new(event, "usage", json_null());
    outbox_event(&c->box, NULL, event);
}

static void send_piece(completion *c, size_t index, const piece *p)
{
    written *w = &c->written[index];
    const char *finish = finish_name(p->finish);
    note_piece(c, w, p);
    if (c->chat && !w->begun)
        send_choice(c, index, json_pack("{ss ss}", "role", "assistant", "content", ""), NULL, json_null(), NULL);
    w->begun = true;
    if (p->length > 0 || w->tokens) {
        json_t *entries = w->tokens ? w->tokens : json_array();
        json_t *text = json_stringn(p->text, p->length);
        send_choice(c, index, c->chat ? json_pack("{so}", "content", text) : NULL, json_string_value(text),
                    log_probabilities(c, entries, w->length), NULL);
        if (!c->chat) json_decref(text);
        json_decref(entries);
        w->tokens = NULL;
        w->length += p->length;
    }
    if (finish) send_choice(c, index, c->chat ? json_object() : NULL, "", json_null(), finish);
}

static void send_end(completion *c, const char *message)
{
    c->over = true;
    if (message) {
        outbox_event(&c->box, NULL, error_object(503, "stopped", NULL, message));
        return;
    }
    if (c->usage) {
        json_t *event = frame(c, true, json_array());
        json_object_set_new(event, "usage", usage(c));
        outbox_event(&c->box, NULL, event);
    }
    outbox_add(&c->box, "data: [DONE]\n\n", 14);
}

// Waits for something to send; more of what is there already goes along.
static void gather(completion *c)
{
    const char *message = NULL;
    for (double patience = 0.25; !c->over && outbox_waiting(&c->box) < 8192; patience = 0) {
        size_t index;
        piece p;
        ticket_state state = ticket_next(c->ticket, patience, &index, &p, &message);
        if (state == PIECE_READY) {
            send_piece(c, index, &p);
            free(p.text);
        } else if (state == PIECE_LATER) {
            break;
        } else {
            send_end(c, state == PIECE_FAILED ? message : NULL);
        }
    }
}

static ssize_t next_events(void *state, char *buffer, size_t capacity)
{
    completion *c = state;
    while (outbox_waiting(&c->box) == 0 && !c->over) {
        gather(c);
        if (outbox_waiting(&c->box) == 0 && client_is_gone(c->request)) return 0;
        if (now() - c->last_sign > SIGN_SECONDS) outbox_add(&c->box, ": still here\n\n", 14);
        if (c->box.failed) return 0;
    }
    c->last_sign = now();
    return (ssize_t)outbox_take(&c->box, buffer, capacity);
}

static void finish_events(void *state)
{
    completion_free(state);
}

void completion_answer(completion *c)
{
    char random[25];
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    c->created = (double)time.tv_sec;
    c->last_sign = now();
    if (!draw_token(random, 24)) strcpy(random, "0");
    snprintf(c->id, sizeof c->id, "%s%s", c->chat ? "chatcmpl-" : "cmpl-", random);
    c->written = calloc(c->count, sizeof *c->written);
    if (!c->written) {
        answer_failure(c->request, LORA_ERROR_MEMORY);
        completion_free(c);
    } else if (c->stream) {
        answer_events(c->request, &(event_stream){.next = next_events, .finish = finish_events, .state = c});
    } else {
        answer_whole(c);
    }
}
