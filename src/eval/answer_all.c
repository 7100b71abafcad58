// All answers to a data set: sessions side by side in one batch, each taking the next row when it is done with one.
#include "src/eval/answer.h"

#include "src/core/validate.h"
#include "src/model/model.h"

#define AT_ONCE 8

typedef struct slot {
    lora_session *session;
    size_t row;
    bool busy;
    lr_bytes text;
} slot;

typedef struct room {
    const lr_answering *a;
    const lora_dataset *data;
    lora_batch *batch;
    slot slots[AT_ONCE];
    size_t slot_count, rows, taken, next; // next: the row that is looked at when a slot is free
} room;

// Only what the longest row needs: a session keeps its whole context in memory.
static int64_t context_needed(room *r)
{
    int64_t longest = 0, limit = r->a->model->stack.context_length;
    for (size_t i = 0; i < r->data->row_count && (r->a->most == 0 || r->rows < r->a->most); i++) {
        if (!lr_answer_possible(r->data, i)) continue;
        r->rows++;
        int64_t length = lr_prompt_length(r->data, i);
        if (length > longest) longest = length;
    }
    longest += r->a->options->max_new_tokens + 1;
    return longest < limit ? longest : limit;
}

static lora_status open(room *r)
{
    lora_session_options options;
    lora_batch_options batch;
    lora_session_options_init(&options);
    lora_batch_options_init(&batch);
    options.context_length = context_needed(r);
    batch.max_sessions = AT_ONCE;
    LR_TRY(lora_batch_create(r->a->model, &batch, &r->batch));
    for (size_t i = 0; i < AT_ONCE && i < r->rows; i++) {
        slot *s = &r->slots[r->slot_count++];
        lr_bytes_init(&s->text, &r->data->context->allocator, SIZE_MAX);
        LR_TRY(lora_session_create(r->a->model, &options, &s->session));
        LR_TRY(lora_session_set_adapters(s->session, r->a->uses, r->a->count));
    }
    return LORA_OK;
}

static void close(room *r)
{
    for (size_t i = 0; i < r->slot_count; i++) {
        lora_session_free(r->slots[i].session);
        lr_bytes_free(&r->slots[i].text);
    }
    lora_batch_free(r->batch);
}

// Gives an idle slot the next row, if there is one.
static lora_status fill(room *r, slot *s)
{
    if (r->taken == r->rows) return LORA_OK;
    while (!lr_answer_possible(r->data, r->next)) r->next++;
    r->taken++;
    s->row = r->next++;
    s->busy = true;
    s->text.size = 0;
    lora_session_reset(s->session);
    return lora_session_prompt_later(s->session, r->data->ids + r->data->rows[s->row].begin,
                                     (size_t)lr_prompt_length(r->data, s->row), r->a->options);
}

// The next piece of a slot's answer. A full context ends it as a limit of length does.
static lora_status advance(room *r, slot *s)
{
    lora_piece piece = {.struct_size = sizeof piece};
    lora_status status = lora_session_next(s->session, &piece);
    if (status == LORA_ERROR_OVERFLOW)
        piece.finish = LORA_FINISH_LENGTH;
    else {
        LR_TRY(status);
        LR_TRY(lr_bytes_append(&s->text, piece.text, piece.text_length));
    }
    if (piece.finish == LORA_FINISH_NONE) return LORA_OK;
    s->busy = false;
    return r->a->answered(s->row, &s->text, piece.finish, r->a->user);
}

// One token for each slot; *busy: there was one to run.
static lora_status run_once(room *r, bool *busy)
{
    lora_session *sessions[AT_ONCE];
    slot *owners[AT_ONCE];
    lora_status statuses[AT_ONCE];
    int64_t left[AT_ONCE];
    size_t count = 0;
    for (size_t i = 0; i < r->slot_count; i++) {
        slot *s = &r->slots[i];
        if (!s->busy) LR_TRY(fill(r, s));
        if (!s->busy) continue;
        owners[count] = s;
        sessions[count++] = s->session;
    }
    *busy = count > 0;
    if (!*busy) return LORA_OK;
    LR_TRY(lora_batch_run(r->batch, sessions, count, statuses, left));
    for (size_t i = 0; i < count; i++) {
        LR_TRY(statuses[i]);
        if (left[i] == 0) LR_TRY(advance(r, owners[i]));
    }
    return LORA_OK;
}

lora_status lr_answer_all(const lr_answering *answering, const lora_dataset *data)
{
    room r = {.a = answering, .data = data};
    lora_status status = open(&r);
    for (bool busy = true; busy && status == LORA_OK;) {
        status = run_once(&r, &busy);
        if (status == LORA_OK && answering->cancel && atomic_load(answering->cancel))
            status = lr_fail(LORA_ERROR_CANCELLED, "the answers were stopped");
    }
    close(&r);
    return status;
}
