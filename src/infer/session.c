// Inference: a session keeps its tokens, the cache of their keys and values, and a binding of the adapters in use. Tokens are
// run late: a token that was chosen, or a history whose cache was emptied by other adapters, is run when the next one is needed.
#include "session.h"

#include "src/core/clock.h"
#include "src/core/validate.h"

#include <math.h>
#include <string.h>

#define DEFAULT_CONTEXT 4096

// ---- life --------------------------------------------------------------------------------------------------------

void (lora_session_options_init)(lora_session_options *options, size_t struct_size)
{
    const lora_session_options defaults = {.prefill_batch = 256};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

void (lora_generate_options_init)(lora_generate_options *options, size_t struct_size)
{
    const lora_generate_options defaults = {
        .max_new_tokens = 256,
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .repetition_penalty = 1,
    };
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static const lora_allocator *allocator_of(const lora_session *session)
{
    return &session->model->context->allocator;
}

void lora_session_free(lora_session *session)
{
    if (!session) return;
    lora_model *model = session->model;
    const lora_allocator *allocator = &model->context->allocator;
    lr_binding_free(session->binding);
    lr_pass_free(session->pass);
    lr_kv_cache_free(session->cache);
    lr_sampler_free(&session->sampler);
    lr_answer_text_free(&session->text);
    lr_free(allocator, session->history);
    lr_free(allocator, session->logits);
    lr_free(allocator, session->end_tokens);
    lr_free(allocator, session->uses);
    lr_free(allocator, session);
    lr_model_release(model);
}

static lora_status create_pass(const lora_session *session, const lr_binding *binding, lr_pass **out)
{
    lr_pass_options options = {
        .max_tokens = session->prefill_batch,
        .max_spans = 1,
        .max_rank = binding->max_rank,
        .first_trained_layer = (int32_t)session->model->stack.layers,
    };
    LR_TRY(lr_pass_create(session->model, &options, out));
    lr_pass_set_cancel(*out, &session->cancel);
    return LORA_OK;
}

static lora_status build(lora_session *session, int64_t capacity)
{
    const lora_allocator *allocator = allocator_of(session);
    int64_t vocabulary = session->model->stack.vocabulary;
    LR_TRY(lr_kv_cache_create(session->model, capacity, &session->cache));
    LR_TRY(lr_binding_create(session->model, NULL, 0, &session->binding));
    LR_TRY(create_pass(session, session->binding, &session->pass));
    LR_TRY(lr_sampler_init(&session->sampler, allocator, vocabulary));
    LR_TRY(lr_answer_text_init(&session->text, allocator, session->model->tokenizer));
    session->history = lr_alloc_array(allocator, (size_t)capacity, sizeof *session->history);
    session->logits = lr_alloc_array(allocator, (size_t)vocabulary, sizeof *session->logits);
    return session->history && session->logits ? LORA_OK : LORA_ERROR_MEMORY;
}

lora_status lora_session_create(const lora_model *model, const lora_session_options *options, lora_session **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(out);
    lora_session_options chosen;
    lora_session_options_init(&chosen);
    LR_TRY(lr_take_options(&chosen, sizeof chosen, options, __func__));
    int64_t longest = model->stack.context_length;
    LR_CHECK_ARGUMENT(chosen.context_length >= 0 && chosen.context_length <= longest,
                      "context_length is %lld; this model's is %lld", (long long)chosen.context_length, (long long)longest);
    LR_CHECK_ARGUMENT(chosen.prefill_batch > 0, "prefill_batch is %d; it must be at least 1", chosen.prefill_batch);
    int64_t capacity = chosen.context_length ? chosen.context_length : longest < DEFAULT_CONTEXT ? longest : DEFAULT_CONTEXT;

    lora_session *session = lr_alloc_zeroed(&model->context->allocator, 1, sizeof *session);
    if (!session) return LORA_ERROR_MEMORY;
    session->model = lr_model_retain((lora_model *)model);
    session->joins = true;
    session->prefill_batch = chosen.prefill_batch < capacity ? chosen.prefill_batch : (int32_t)capacity;
    session->logits_at = LR_LOGITS_NONE;
    lora_status status = build(session, capacity);
    if (status != LORA_OK) {
        lora_session_free(session);
        return status;
    }
    *out = session;
    return LORA_OK;
}

// ---- state -------------------------------------------------------------------------------------------------------

static lora_status copy_uses(const lora_session *session, const lora_adapter_use *uses, size_t count,
                             lora_adapter_use **out)
{
    *out = lr_alloc_array(allocator_of(session), count, sizeof **out);
    if (!*out) return LORA_ERROR_MEMORY;
    if (count) memcpy(*out, uses, count * sizeof **out);
    return LORA_OK;
}

lora_status lora_session_set_adapters(lora_session *session, const lora_adapter_use *uses, size_t count)
{
    LR_CHECK_HANDLE(session);
    LR_CHECK_ARGUMENT(uses || count == 0, "uses is NULL");
    lr_binding *binding;
    lr_pass *pass = NULL;
    lora_adapter_use *own = NULL;
    LR_TRY(lr_binding_create(session->model, uses, count, &binding));
    lora_status status = copy_uses(session, uses, count, &own);
    if (status == LORA_OK) status = create_pass(session, binding, &pass);
    if (status != LORA_OK) {
        lr_binding_free(binding);
        lr_free(allocator_of(session), own);
        return status;
    }
    lr_binding_free(session->binding);
    lr_pass_free(session->pass);
    lr_free(allocator_of(session), session->uses);
    session->binding = binding;
    session->pass = pass;
    session->uses = own;
    session->use_count = count;
    session->joins = true;
    for (size_t i = 0; i < count; i++) session->joins = session->joins && lr_adapter_goes_by_rows(uses[i].adapter);
    session->cache->length = 0;
    session->logits_at = LR_LOGITS_NONE;
    return LORA_OK;
}

lora_status lora_session_truncate(lora_session *session, int64_t length)
{
    LR_CHECK_HANDLE(session);
    LR_CHECK_ARGUMENT(length >= 0 && length <= session->length, "length is %lld; the session has %lld tokens",
                      (long long)length, (long long)session->length);
    session->length = length;
    if (session->cache->length > length) session->cache->length = length;
    session->logits_at = LR_LOGITS_NONE;
    session->answering = false;
    return LORA_OK;
}

void lora_session_reset(lora_session *session)
{
    if (session) lora_session_truncate(session, 0);
}

int64_t lora_session_length(const lora_session *session)
{
    return session ? session->length : 0;
}

void lora_session_cancel(lora_session *session)
{
    if (session) atomic_store(&session->cancel, 1);
}

lora_status lora_session_get_info(const lora_session *session, lora_session_info *info)
{
    LR_CHECK_HANDLE(session);
    lora_session_info found = {
        .length = session->length,
        .context_length = session->cache->capacity,
        .prompt_tokens = session->prompt_tokens,
        .generated_tokens = session->generated_tokens,
        .prefill_seconds = session->prefill_seconds,
        .decode_seconds = session->decode_seconds,
        .kv_cache_bytes = lr_kv_cache_bytes(session->model, session->cache->capacity),
    };
    return lr_give_info(info, &found, sizeof found, __func__);
}

// ---- running -----------------------------------------------------------------------------------------------------

int64_t lr_session_pending(lora_session *session)
{
    lr_kv_cache *cache = session->cache;
    if (session->logits_at == session->length) return 0;
    if (cache->length == session->length) cache->length--;
    return session->length - cache->length;
}

lora_status lr_session_run(lora_session *session, int64_t most)
{
    lr_kv_cache *cache = session->cache;
    for (int64_t left; most > 0 && (left = lr_session_pending(session)) > 0;) {
        int64_t count = left < session->prefill_batch ? left : session->prefill_batch;
        if (count > most) count = most;
        lr_span span = {.begin = 0, .count = count, .cache = cache};
        lr_batch batch = {.tokens = count, .ids = session->history + cache->length, .span_count = 1, .spans = &span};
        int64_t last = count - 1;
        LR_TRY(lr_pass_logits(session->pass, session->binding, &batch, &last, count == left, session->logits));
        if (count == left) session->logits_at = session->length;
        most -= count;
    }
    return LORA_OK;
}

// Runs what the cache does not hold yet, so that the logits of the next token are there.
static lora_status run_pending(lora_session *session)
{
    return lr_session_run(session, INT64_MAX);
}

static lora_status check_sampling(const lora_generate_options *o)
{
    LR_CHECK_ARGUMENT(o->max_new_tokens > 0, "max_new_tokens is %d; it must be at least 1", o->max_new_tokens);
    LR_CHECK_ARGUMENT(o->temperature >= 0 && isfinite(o->temperature), "temperature is %g; it must be 0 (greedy) or more",
                      (double)o->temperature);
    LR_CHECK_ARGUMENT(o->top_k >= 0, "top_k is %d; it must be 0 (off) or more", o->top_k);
    LR_CHECK_ARGUMENT(o->top_p > 0 && o->top_p <= 1, "top_p is %g; it must be above 0 and at most 1", (double)o->top_p);
    LR_CHECK_ARGUMENT(o->min_p >= 0 && o->min_p <= 1, "min_p is %g; it must be between 0 and 1", (double)o->min_p);
    LR_CHECK_ARGUMENT(o->repetition_penalty > 0 && isfinite(o->repetition_penalty),
                      "repetition_penalty is %g; it must be above 0", (double)o->repetition_penalty);
    LR_CHECK_ARGUMENT(o->stop || o->stop_count == 0, "stop is NULL");
    for (size_t i = 0; i < o->stop_count; i++) LR_CHECK_ARGUMENT(o->stop[i] && *o->stop[i], "stop text %zu is empty", i + 1);
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
                          "id %d at place %zu is outside the vocabulary of %lld", ids[i], i, (long long)session->model->stack.vocabulary);
    if (count > (size_t)(capacity - session->length))
        return lr_fail(LORA_ERROR_OVERFLOW, "the context is full: %lld tokens and a prompt of %zu do not fit into %lld; shorten the "
                       "prompt, reset the session, or give it a larger context_length", (long long)session->length, count,
                       (long long)capacity);
    return LORA_OK;
}

static lora_status take_generate_options(lora_session *session, const lora_generate_options *o)
{
    const lora_allocator *allocator = allocator_of(session);
    int32_t *end_tokens = lr_alloc_array(allocator, o->end_token_count, sizeof *end_tokens);
    if (!end_tokens) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < o->end_token_count; i++) end_tokens[i] = o->end_tokens[i];
    lr_free(allocator, session->end_tokens);
    session->end_tokens = end_tokens;
    session->end_token_count = o->end_token_count;
    session->sampling = (lr_sampling){o->temperature, o->top_k, o->top_p, o->min_p, o->repetition_penalty, o->seed};
    session->ignore_end = o->ignore_end != 0;
    session->max_new_tokens = o->max_new_tokens;
    return lr_answer_text_begin(&session->text, o->stop, o->stop_count);
}

// Takes the prompt into the history; nothing is run.
static lora_status take_prompt(lora_session *session, const int32_t *ids, size_t count,
                               const lora_generate_options *options, const char *function)
{
    lora_generate_options chosen;
    lora_generate_options_init(&chosen);
    LR_TRY(lr_take_options(&chosen, sizeof chosen, options, function));
    LR_TRY(check_sampling(&chosen));
    LR_TRY(check_prompt(session, ids, count));
    session->answering = false;
    LR_TRY(take_generate_options(session, &chosen));
    atomic_store(&session->cancel, 0);
    for (size_t i = 0; i < count; i++) session->history[session->length + (int64_t)i] = ids[i];
    session->length += (int64_t)count;
    session->prefill_seconds = session->decode_seconds = 0;
    session->prompt_tokens = (int64_t)count;
    session->generated_tokens = 0;
    return LORA_OK;
}

lora_status lora_session_prompt(lora_session *session, const int32_t *ids, size_t count, const lora_generate_options *options)
{
    LR_CHECK_HANDLE(session);
    int64_t before = session->length;
    LR_TRY(take_prompt(session, ids, count, options, __func__));
    double start = lr_clock();
    lora_status status = run_pending(session);
    if (status != LORA_OK) {
        lora_session_truncate(session, before);
        return status;
    }
    session->prefill_seconds = lr_clock() - start;
    session->answering = true;
    return LORA_OK;
}

lora_status lora_session_prompt_later(lora_session *session, const int32_t *ids, size_t count,
                                      const lora_generate_options *options)
{
    LR_CHECK_HANDLE(session);
    LR_TRY(take_prompt(session, ids, count, options, __func__));
    session->answering = true;
    return LORA_OK;
}

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
    session->history[session->length++] = id;
    session->generated_tokens++;
    *finish = stopped ? LORA_FINISH_STOP : ended ? LORA_FINISH_END : last ? LORA_FINISH_LENGTH : LORA_FINISH_NONE;
    return LORA_OK;
}

lora_status lora_session_next(lora_session *session, lora_piece *piece)
{
    LR_CHECK_HANDLE(session);
    lora_piece found = {.id = -1};
    LR_TRY(lr_give_info(piece, &found, sizeof found, __func__));
    if (!session->answering)
        return lr_fail(LORA_ERROR_STATE, "there is no answer to go on with: call lora_session_prompt first");
    if (atomic_load(&session->cancel)) return lr_fail(LORA_ERROR_CANCELLED, "the answer was cancelled");
    double start = lr_clock();
    LR_TRY(run_pending(session));
    if (session->length >= session->cache->capacity)
        return lr_fail(LORA_ERROR_OVERFLOW, "the context of %lld tokens is full in the middle of an answer; shorten the prompt, lower "
                       "max_new_tokens, or give the session a larger context_length", (long long)session->cache->capacity);
    LR_TRY(lr_sampler_choose(&session->sampler, &session->sampling, session->logits, session->history, (size_t)session->length,
                             (uint64_t)session->generated_tokens, &found.id));
    found.log_probability = (float)((double)session->logits[found.id] - lr_log_sum_exp(session->logits, session->model->stack.vocabulary));
    LR_TRY(take_token(session, found.id, &found.finish));
    session->answering = found.finish == LORA_FINISH_NONE;
    session->decode_seconds += lr_clock() - start;
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
    LR_CHECK_ARGUMENT(count == (size_t)vocabulary, "count is %zu; the vocabulary has %lld", count, (long long)vocabulary);
    if (session->length == 0) return lr_fail(LORA_ERROR_STATE, "the session has no tokens yet: call lora_session_prompt first");
    LR_TRY(run_pending(session));
    double log_sum = lr_log_sum_exp(session->logits, vocabulary);
    for (int64_t i = 0; i < vocabulary; i++) values[i] = (float)((double)session->logits[i] - log_sum);
    return LORA_OK;
}
