// A session's life and state.
#include "session.h"

#include "src/core/validate.h"

#include <lora/trainer.h>

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
    lr_free(allocator, session->summaries);
    lr_free(allocator, session->end_tokens);
    lr_free(allocator, session);
    lr_model_release(model);
}

static lora_status build(lora_session *session)
{
    const lora_allocator *allocator = allocator_of(session);
    int64_t vocabulary = session->model->stack.vocabulary;
    LR_TRY(lr_sampler_init(&session->sampler, allocator, vocabulary));
    LR_TRY(lr_answer_text_init(&session->text, allocator, session->model->tokenizer));
    session->history = lr_alloc_array(allocator, (size_t)session->cache->capacity, sizeof *session->history);
    session->logits = lr_alloc_array(allocator, (size_t)vocabulary, sizeof *session->logits);
    session->summaries = lr_alloc_array(allocator, 1, sizeof *session->summaries);
    session->logit_rows = 1;
    return session->history && session->logits && session->summaries ? LORA_OK : LORA_ERROR_MEMORY;
}

// Takes the cache and the binding, also when it fails.
static lora_status make_session(lora_model *model, lr_kv_cache *cache, lr_binding *binding, int32_t prefill_batch,
                                lora_session **out)
{
    lora_session *session = lr_alloc_zeroed(&model->context->allocator, 1, sizeof *session);
    if (!session) {
        lr_binding_free(binding);
        lr_kv_cache_free(cache);
        return LORA_ERROR_MEMORY;
    }
    session->model = lr_model_retain(model);
    session->cache = cache;
    session->binding = binding;
    session->prefill_batch = prefill_batch;
    lora_status status = build(session);
    if (status == LORA_OK) *out = session;
    else lora_session_free(session);
    return status;
}

static lora_status check_options(const lora_model *model, const lora_session_options *chosen)
{
    int64_t longest = model->stack.context_length;
    LR_CHECK_ARGUMENT(chosen->context_length >= 0 && chosen->context_length <= longest,
                      "context_length is %lld; this model's is %lld", (long long)chosen->context_length,
                      (long long)longest);
    LR_CHECK_ARGUMENT(chosen->prefill_batch > 0, "prefill_batch is %d; it must be at least 1", chosen->prefill_batch);
    LR_CHECK_ARGUMENT(chosen->cache_type >= LORA_TYPE_F32 && chosen->cache_type <= LORA_TYPE_BF16,
                      "cache_type is %d; it must be LORA_TYPE_F32, LORA_TYPE_F16 or LORA_TYPE_BF16",
                      (int)chosen->cache_type);
    return LORA_OK;
}

// *chosen has the defaults; `length` is what a context_length of 0 stands for.
static lora_status take_options(lora_session_options *chosen, const lora_model *model, int64_t length,
                                const lora_session_options *options, const char *function)
{
    LR_TRY(lr_take_options(chosen, sizeof *chosen, options, function));
    LR_TRY(check_options(model, chosen));
    if (!chosen->context_length) chosen->context_length = length;
    if (chosen->prefill_batch > chosen->context_length) chosen->prefill_batch = (int32_t)chosen->context_length;
    return LORA_OK;
}

static lora_status take_new_options(lora_session_options *chosen, const lora_model *model,
                                    const lora_session_options *options, const char *function)
{
    const int64_t longest = model->stack.context_length;
    lora_session_options_init(chosen);
    return take_options(chosen, model, longest < DEFAULT_CONTEXT ? longest : DEFAULT_CONTEXT, options, function);
}

lora_status lora_session_create(const lora_model *model, const lora_session_options *options, lora_session **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(out);
    lora_session_options chosen;
    LR_TRY(take_new_options(&chosen, model, options, __func__));
    lr_kv_cache *cache;
    lr_binding *binding;
    LR_TRY(lr_binding_create(model, NULL, 0, &binding));
    lora_status status = lr_kv_cache_create(model, chosen.cache_type, chosen.context_length, &cache);
    if (status != LORA_OK) {
        lr_binding_free(binding);
        return status;
    }
    return make_session((lora_model *)model, cache, binding, chosen.prefill_batch, out);
}

lora_status lora_plan_session(const lora_model *model, const lora_session_options *options, lora_memory_plan *plan)
{
    LR_CHECK_HANDLE(model);
    lora_session_options chosen;
    LR_TRY(take_new_options(&chosen, model, options, __func__));
    const lr_pass_options pass = {.max_tokens = chosen.prefill_batch, .max_spans = 1};
    lora_memory_plan filled = {.kv_cache = lr_kv_cache_bytes(model, chosen.cache_type, chosen.context_length),
                               .other = (uint64_t)model->stack.vocabulary * sizeof(float)};
    lr_plan_run(model, &pass, &filled);
    return lr_give_info(plan, &filled, sizeof filled, __func__);
}

lora_status lora_plan_inference(const lora_model *model, int64_t context_length, lora_memory_plan *plan)
{
    LR_CHECK_ARGUMENT(context_length >= 1, "context_length is %lld; it must be at least 1", (long long)context_length);
    lora_session_options options;
    lora_session_options_init(&options);
    options.context_length = context_length;
    return lora_plan_session(model, &options, plan);
}

static void copy_tokens(lora_session *to, const lora_session *from, int64_t length)
{
    const int64_t vocabulary = to->model->stack.vocabulary, row = length - from->logits_from;
    memcpy(to->history, from->history, (size_t)length * sizeof *to->history);
    to->length = to->logits_from = length;
    if (row < 0 || row >= from->logits_count) return;
    memcpy(to->logits, from->logits + row * vocabulary, (size_t)vocabulary * sizeof *to->logits);
    to->summaries[0] = from->summaries[row];
    to->logits_count = 1;
}

lora_status lora_session_fork(const lora_session *session, int64_t length, const lora_session_options *options,
                              lora_session **out)
{
    LR_CHECK_HANDLE(session);
    LR_CHECK_HANDLE(out);
    lora_session_options chosen;
    lora_session_options_init(&chosen);
    chosen.prefill_batch = session->prefill_batch;
    LR_TRY(take_options(&chosen, session->model, session->cache->capacity, options, __func__));
    const int64_t capacity = chosen.context_length;
    LR_CHECK_ARGUMENT(length >= 0 && length <= session->length, "length is %lld; the session has %lld tokens",
                      (long long)length, (long long)session->length);
    LR_CHECK_ARGUMENT(length <= capacity, "length is %lld; context_length is %lld", (long long)length,
                      (long long)capacity);
    const int64_t cached = session->cache->length < length ? session->cache->length : length;
    lr_kv_cache *cache;
    LR_TRY(lr_kv_cache_fork(session->cache, cached, capacity, &cache));
    LR_TRY(make_session(session->model, cache, lr_binding_retain(session->binding), chosen.prefill_batch, out));
    copy_tokens(*out, session, length);
    return LORA_OK;
}

// ---- state -------------------------------------------------------------------------------------------------------

lora_status lora_session_set_adapters(lora_session *session, const lora_adapter_use *uses, size_t count)
{
    LR_CHECK_HANDLE(session);
    LR_CHECK_ARGUMENT(uses || count == 0, "uses is NULL");
    lr_binding *binding;
    LR_TRY(lr_binding_create(session->model, uses, count, &binding));
    if (binding->max_rank > session->binding->max_rank || binding->max_pairs > session->binding->max_pairs) {
        lr_pass_free(session->pass); // too small
        session->pass = NULL;
    }
    lr_binding_free(session->binding);
    session->binding = binding;
    session->cache->length = 0;
    session->logits_count = 0;
    return LORA_OK;
}

lora_status lora_session_truncate(lora_session *session, int64_t length)
{
    LR_CHECK_HANDLE(session);
    LR_CHECK_ARGUMENT(length >= 0 && length <= session->length, "length is %lld; the session has %lld tokens",
                      (long long)length, (long long)session->length);
    session->length = length;
    if (session->cache->length > length) session->cache->length = length;
    session->logits_count = 0;
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
        .kv_cache_bytes = (uint64_t)session->cache->page_count * session->cache->page_bytes,
        .kv_shared_bytes = lr_kv_cache_shared_bytes(session->cache),
    };
    return lr_give_info(info, &found, sizeof found, __func__);
}
