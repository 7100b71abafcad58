// Running a session alone: prompts, pieces, answers.
#include "session.h"

#include "src/core/clock.h"
#include "src/core/validate.h"

#include <math.h>
#include <string.h>

// ---- running --------------------------------------------------------------------------------------------------------

lr_next_logits lr_session_logits(const lora_session *session)
{
    const int64_t row = session->length - session->logits_from;
    if (row < 0 || row >= session->logits_count) return (lr_next_logits){0};
    return (lr_next_logits){session->logits + row * session->model->stack.vocabulary, &session->summaries[row]};
}

int64_t lr_session_pending(const lora_session *session)
{
    if (lr_session_logits(session).values) return 0;
    return session->cache->length < session->length ? session->length - session->cache->length : 1;
}

lr_session_run lr_session_plan(lora_session *session, int64_t limit)
{
    int64_t left = lr_session_pending(session);
    if (left == 0) return (lr_session_run){0};
    session->cache->length = session->length - left;
    return left <= limit ? (lr_session_run){left, 1} : (lr_session_run){limit, 0};
}

lr_span lr_session_span(lora_session *session, lr_session_run run, int64_t begin)
{
    return (lr_span){.begin = begin, .count = run.count, .cache = session->cache, .binding = session->binding,
                     .logits = session->logits, .summaries = session->summaries,
                     .logit_rows = run.rows};
}

void lr_session_ran(lora_session *session, lr_session_run run)
{
    if (!run.rows) return;
    session->logits_from = session->cache->length - run.rows + 1;
    session->logits_count = run.rows;
}

void lr_session_drop_proposals(lora_session *session)
{
    int64_t rows = session->length - session->logits_from + 1;
    if (session->cache->length > session->length) session->cache->length = session->length;
    if (rows < session->logits_count) session->logits_count = rows > 0 ? rows : 0;
}

// A pass that serves at least the binding in use.
static lora_status make_pass(lora_session *session)
{
    if (session->pass) return LORA_OK;
    lr_pass_options options = {
        .max_tokens = session->prefill_batch,
        .max_spans = 1,
        .max_rank = session->binding->max_rank,
        .max_pairs = session->binding->max_pairs,
        .first_trained_layer = (int32_t)session->model->stack.layers,
    };
    LR_TRY(lr_pass_create(session->model, &options, &session->pass));
    lr_pass_set_cancel(session->pass, &session->cancel);
    return LORA_OK;
}

lora_status lr_session_run_pending(lora_session *session)
{
    LR_TRY(make_pass(session));
    while (!lr_session_logits(session).values) {
        lr_session_run run = lr_session_plan(session, session->prefill_batch);
        if (run.count == 1 && session->lookahead < session->prefill_batch) {
            int64_t proposed = lr_session_propose(session);
            run = (lr_session_run){1 + proposed, 1 + proposed};
        }
        LR_TRY(lr_kv_cache_make_writable(session->cache, run.count));
        lr_span span = lr_session_span(session, run, 0);
        lr_batch batch = {.tokens = run.count,
                          .ids = session->history + session->cache->length,
                          .span_count = 1,
                          .spans = &span,
                          .is_prompt = run.rows < run.count,
                          .as_alone = run.rows > 1};
        LR_TRY(lr_pass_advance(session->pass, session->binding, &batch));
        lr_session_ran(session, run);
    }
    return LORA_OK;
}

// ---- prompts --------------------------------------------------------------------------------------------------------

static lora_status check_sampling(const lora_generate_options *o)
{
    LR_CHECK_ARGUMENT(o->max_new_tokens > 0, "max_new_tokens is %d; it must be at least 1", o->max_new_tokens);
    LR_CHECK_ARGUMENT(o->temperature >= 0 && isfinite(o->temperature),
                      "temperature is %g; it must be 0 (greedy) or more", (double)o->temperature);
    LR_CHECK_ARGUMENT(o->top_k >= 0, "top_k is %d; it must be 0 (off) or more", o->top_k);
    LR_CHECK_ARGUMENT(o->top_p > 0 && o->top_p <= 1, "top_p is %g; it must be above 0 and at most 1", (double)o->top_p);
    LR_CHECK_ARGUMENT(o->min_p >= 0 && o->min_p <= 1, "min_p is %g; it must be between 0 and 1", (double)o->min_p);
    LR_CHECK_ARGUMENT(o->repetition_penalty > 0 && isfinite(o->repetition_penalty),
                      "repetition_penalty is %g; it must be above 0", (double)o->repetition_penalty);
    LR_CHECK_ARGUMENT(o->stop || o->stop_count == 0, "stop is NULL");
    for (size_t i = 0; i < o->stop_count; i++)
        LR_CHECK_ARGUMENT(o->stop[i] && *o->stop[i], "stop text %zu is empty", i + 1);
    LR_CHECK_ARGUMENT(o->lookahead >= 0 && o->lookahead <= 64, "lookahead is %d; it must be 0 (off) to 64",
                      o->lookahead);
    LR_CHECK_ARGUMENT(o->end_tokens || o->end_token_count == 0, "end_tokens is NULL");
    return LORA_OK;
}

static lora_status check_prompt(const lora_session *session, const int32_t *ids, size_t count)
{
    int64_t capacity = session->cache->capacity;
    LR_CHECK_ARGUMENT(ids || count == 0, "ids is NULL");
    LR_CHECK_ARGUMENT(count > 0 || session->length > 0, "the prompt is empty and the session has no tokens yet");
    for (size_t i = 0; i < count; i++)
        LR_CHECK_ARGUMENT(ids[i] >= 0 && ids[i] < session->model->stack.vocabulary,
                          "id %d at place %zu is outside the vocabulary of %lld", ids[i], i,
                          (long long)session->model->stack.vocabulary);
    if (count > (size_t)(capacity - session->length))
        return lr_fail(LORA_ERROR_OVERFLOW,
                       "the context is full: %lld tokens and a prompt of %zu do not fit into %lld; shorten the "
                       "prompt, reset the session, or give it a larger context_length",
                       (long long)session->length, count, (long long)capacity);
    return LORA_OK;
}

// Room for the logits of more rows.
static lora_status make_logit_rows(lora_session *session, int64_t rows)
{
    const lora_allocator *allocator = &session->model->context->allocator;
    const size_t row = (size_t)session->model->stack.vocabulary * sizeof *session->logits;
    float *logits = lr_alloc_array(allocator, (size_t)rows, row);
    lr_logits_summary *summaries = lr_alloc_array(allocator, (size_t)rows, sizeof *summaries);
    if (!logits || !summaries) {
        lr_free(allocator, logits);
        lr_free(allocator, summaries);
        return LORA_ERROR_MEMORY;
    }
    memcpy(logits, session->logits, (size_t)session->logit_rows * row);
    memcpy(summaries, session->summaries, (size_t)session->logit_rows * sizeof *summaries);
    lr_free(allocator, session->logits);
    lr_free(allocator, session->summaries);
    session->logits = logits;
    session->summaries = summaries;
    session->logit_rows = rows;
    return LORA_OK;
}

static lora_status take_generate_options(lora_session *session, const lora_generate_options *o)
{
    const lora_allocator *allocator = &session->model->context->allocator;
    int32_t *end_tokens = lr_alloc_array(allocator, o->end_token_count, sizeof *end_tokens);
    if (!end_tokens) return LORA_ERROR_MEMORY;
    const int32_t lookahead = o->lookahead < LORA_ALONE_ROWS ? o->lookahead : LORA_ALONE_ROWS - 1;
    if (lookahead >= session->logit_rows) {
        const lora_status status = make_logit_rows(session, lookahead + 1);
        if (status != LORA_OK) {
            lr_free(allocator, end_tokens);
            return status;
        }
    }
    for (size_t i = 0; i < o->end_token_count; i++) end_tokens[i] = o->end_tokens[i];
    lr_free(allocator, session->end_tokens);
    session->end_tokens = end_tokens;
    session->end_token_count = o->end_token_count;
    session->sampling = (lr_sampling){o->temperature, o->top_k, o->top_p, o->min_p, o->repetition_penalty, o->seed};
    session->lookahead = lookahead;
    session->ignore_end = o->ignore_end != 0;
    session->max_new_tokens = o->max_new_tokens;
    return lr_answer_text_begin(&session->text, o->stop, o->stop_count);
}

// Appends the prompt to the history; `before` is how long it was.
static lora_status begin_answer(lora_session *session, const int32_t *ids, size_t count,
                                const lora_generate_options *options, const char *function, int64_t *before)
{
    lora_generate_options chosen;
    lora_generate_options_init(&chosen);
    LR_TRY(lr_take_options(&chosen, sizeof chosen, options, function));
    LR_TRY(check_sampling(&chosen));
    LR_TRY(check_prompt(session, ids, count));
    session->answering = false;
    lr_session_drop_proposals(session);
    LR_TRY(take_generate_options(session, &chosen));
    atomic_store(&session->cancel, 0);
    *before = session->length;
    for (size_t i = 0; i < count; i++) session->history[*before + (int64_t)i] = ids[i];
    session->length += (int64_t)count;
    session->prefill_seconds = session->decode_seconds = 0;
    session->prompt_tokens = (int64_t)count;
    session->generated_tokens = 0;
    session->prompting = session->answering = true;
    return LORA_OK;
}

lora_status lora_session_prompt(lora_session *session, const int32_t *ids, size_t count,
                                const lora_generate_options *options)
{
    LR_CHECK_HANDLE(session);
    int64_t before;
    LR_TRY(begin_answer(session, ids, count, options, __func__, &before));
    double start = lr_clock();
    lora_status status = lr_session_run_pending(session);
    if (status == LORA_OK) lr_session_add_time(session, lr_clock() - start);
    else lora_session_truncate(session, before);
    return status;
}

lora_status lora_session_prompt_later(lora_session *session, const int32_t *ids, size_t count,
                                      const lora_generate_options *options)
{
    LR_CHECK_HANDLE(session);
    int64_t before;
    return begin_answer(session, ids, count, options, __func__, &before);
}

// ---- pieces ---------------------------------------------------------------------------------------------------------

static bool is_among(int32_t id, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

static bool ends_answer(const lora_session *session, int32_t id)
{
    const lora_model *model = session->model;
    if (session->ignore_end) return false;
    return is_among(id, model->stack.end_tokens, (size_t)model->stack.end_token_count) ||
           is_among(id, session->end_tokens, session->end_token_count) ||
           (model->tokenizer && id == lora_tokenizer_special_id(model->tokenizer, LORA_TOKEN_END));
}

// Takes a chosen token into the answer: `finish` says whether it was the last.
static lora_status take_token(lora_session *session, int32_t id, int32_t *finish)
{
    bool ended = ends_answer(session, id), stopped;
    bool last = ended || session->generated_tokens + 1 >= session->max_new_tokens;
    if (!ended) LR_TRY(lr_answer_text_add(&session->text, id));
    LR_TRY(lr_answer_text_release(&session->text, last, &stopped));
    if (session->cache->length > session->length && session->history[session->length] != id)
        lr_session_drop_proposals(session);
    session->history[session->length++] = id;
    session->generated_tokens++;
    *finish = stopped ? LORA_FINISH_STOP : ended ? LORA_FINISH_END : last ? LORA_FINISH_LENGTH : LORA_FINISH_NONE;
    return LORA_OK;
}

lora_status lr_session_check_answering(const lora_session *session)
{
    if (!session->answering)
        return lr_fail(LORA_ERROR_STATE, "there is no answer to go on with: call lora_session_prompt first");
    if (atomic_load(&session->cancel)) return lr_fail(LORA_ERROR_CANCELLED, "the answer was cancelled");
    return LORA_OK;
}

// What the run that ends the prompt took is the prompt's.
void lr_session_add_time(lora_session *session, double seconds)
{
    if (session->prompting) session->prefill_seconds += seconds;
    else session->decode_seconds += seconds;
    if (lr_session_logits(session).values) session->prompting = false;
}

lora_status lora_session_next(lora_session *session, lora_piece *piece)
{
    LR_CHECK_HANDLE(session);
    lora_piece found = {.id = -1};
    LR_TRY(lr_give_info(piece, &found, sizeof found, __func__));
    LR_TRY(lr_session_check_answering(session));
    double start = lr_clock();
    LR_TRY(lr_session_run_pending(session));
    double chosen = lr_clock();
    lr_session_add_time(session, chosen - start);
    if (session->length >= session->cache->capacity)
        return lr_fail(LORA_ERROR_OVERFLOW,
                       "the context of %lld tokens is full in the middle of an answer; shorten the prompt, lower "
                       "max_new_tokens, or give the session a larger context_length",
                       (long long)session->cache->capacity);
    const lr_next_logits logits = lr_session_logits(session);
    LR_TRY(lr_sampler_choose(&session->sampler, &session->sampling, logits.values, logits.summary, session->history,
                             (size_t)session->length, (uint64_t)session->generated_tokens, &found.id));
    found.log_probability = logits.values[found.id] - logits.summary->log_sum;
    LR_TRY(take_token(session, found.id, &found.finish));
    session->answering = found.finish == LORA_FINISH_NONE;
    session->decode_seconds += lr_clock() - chosen;
    found.text = session->text.released.size ? session->text.released.data : "";
    found.text_length = session->text.released.size;
    return lr_give_info(piece, &found, sizeof found, __func__);
}

lora_status lora_session_generate(lora_session *session, lora_piece_fn callback, void *user)
{
    LR_CHECK_HANDLE(session);
    lora_piece piece = {.struct_size = sizeof piece};
    do {
        LR_TRY(lora_session_next(session, &piece));
        if (callback && callback(&piece, user)) {
            session->answering = false;
            return lr_fail(LORA_ERROR_CANCELLED, "the callback asked to stop");
        }
    } while (piece.finish == LORA_FINISH_NONE);
    return LORA_OK;
}

lora_status lora_session_log_probabilities(lora_session *session, float *values, size_t count)
{
    LR_CHECK_HANDLE(session);
    LR_CHECK_HANDLE(values);
    int64_t vocabulary = session->model->stack.vocabulary;
    LR_CHECK_ARGUMENT(count == (size_t)vocabulary, "count is %zu; the vocabulary has %lld", count,
                      (long long)vocabulary);
    if (session->length == 0)
        return lr_fail(LORA_ERROR_STATE, "the session has no tokens yet: call lora_session_prompt first");
    LR_TRY(lr_session_run_pending(session));
    const lr_next_logits logits = lr_session_logits(session);
    for (int64_t i = 0; i < vocabulary; i++) values[i] = logits.values[i] - logits.summary->log_sum;
    return LORA_OK;
}
