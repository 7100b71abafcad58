// Several sessions run together: what each has to run next becomes a span of one batch, sessions with the same adapters side by
// side. The weights are read once for all of them.
#include "session.h"

#include "src/core/clock.h"
#include "src/core/validate.h"

#include <string.h>

struct lora_batch {
    lora_model *model;
    int32_t max_sessions, prompt_tokens;
    lr_pass *pass;
    int64_t max_rank; // of the pass
    lr_binding *binding;
    lr_row_group *groups, *bound; // [max_sessions] of this run, and those that the binding was made for
    size_t group_count, bound_count;
    lora_adapter_use *bound_uses;
    lora_session **order; // [max_sessions] who takes part, group by group
    size_t *places;       // [max_sessions] which of the host's each is
    int64_t *shares;      // [max_sessions] tokens of each
    lr_span *spans;
    int64_t *rows;
    int32_t *ids;  // [max_sessions + prompt_tokens]
    float *logits; // [max_sessions, vocabulary]
};

// ---- life --------------------------------------------------------------------------------------------------------

void (lora_batch_options_init)(lora_batch_options *options, size_t struct_size)
{
    const lora_batch_options defaults = {.max_sessions = 16, .prompt_tokens = 128};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

void lora_batch_free(lora_batch *batch)
{
    if (!batch) return;
    lora_model *model = batch->model;
    const lora_allocator *allocator = &model->context->allocator;
    lr_pass_free(batch->pass);
    lr_binding_free(batch->binding);
    lr_free(allocator, batch->groups);
    lr_free(allocator, batch->bound);
    lr_free(allocator, batch->bound_uses);
    lr_free(allocator, batch->order);
    lr_free(allocator, batch->places);
    lr_free(allocator, batch->shares);
    lr_free(allocator, batch->spans);
    lr_free(allocator, batch->rows);
    lr_free(allocator, batch->ids);
    lr_free(allocator, batch->logits);
    lr_free(allocator, batch);
    lr_model_release(model);
}

static lora_status make_pass(lora_batch *batch, int64_t rank)
{
    lr_pass *pass;
    lr_pass_options options = {
        .max_tokens = batch->max_sessions + batch->prompt_tokens,
        .max_spans = batch->max_sessions,
        .max_rank = rank,
        .first_trained_layer = (int32_t)batch->model->stack.layers,
    };
    LR_TRY(lr_pass_create(batch->model, &options, &pass));
    lr_pass_free(batch->pass);
    batch->pass = pass;
    batch->max_rank = rank;
    return LORA_OK;
}

static lora_status build(lora_batch *batch)
{
    const lora_allocator *allocator = &batch->model->context->allocator;
    size_t count = (size_t)batch->max_sessions, tokens = count + (size_t)batch->prompt_tokens;
    batch->groups = lr_alloc_array(allocator, count, sizeof *batch->groups);
    batch->bound = lr_alloc_array(allocator, count, sizeof *batch->bound);
    batch->order = lr_alloc_array(allocator, count, sizeof *batch->order);
    batch->places = lr_alloc_array(allocator, count, sizeof *batch->places);
    batch->shares = lr_alloc_array(allocator, count, sizeof *batch->shares);
    batch->spans = lr_alloc_array(allocator, count, sizeof *batch->spans);
    batch->rows = lr_alloc_array(allocator, count, sizeof *batch->rows);
    batch->ids = lr_alloc_array(allocator, tokens, sizeof *batch->ids);
    batch->logits = lr_alloc_array(allocator, count, (size_t)batch->model->stack.vocabulary * sizeof *batch->logits);
    bool all = batch->groups && batch->bound && batch->order && batch->places && batch->shares && batch->spans && batch->rows &&
               batch->ids && batch->logits;
    return all ? make_pass(batch, 0) : LORA_ERROR_MEMORY;
}

lora_status lora_batch_create(const lora_model *model, const lora_batch_options *options, lora_batch **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(out);
    lora_batch_options chosen;
    lora_batch_options_init(&chosen);
    LR_TRY(lr_take_options(&chosen, sizeof chosen, options, __func__));
    LR_CHECK_ARGUMENT(chosen.max_sessions > 0 && chosen.max_sessions <= 65536, "max_sessions is %d; it must be at least 1",
                      chosen.max_sessions);
    LR_CHECK_ARGUMENT(chosen.prompt_tokens > 0 && chosen.prompt_tokens <= 65536,
                      "prompt_tokens is %d; it must be at least 1", chosen.prompt_tokens);
    lora_batch *batch = lr_alloc_zeroed(&model->context->allocator, 1, sizeof *batch);
    if (!batch) return LORA_ERROR_MEMORY;
    batch->model = lr_model_retain((lora_model *)model);
    batch->max_sessions = chosen.max_sessions;
    batch->prompt_tokens = chosen.prompt_tokens;
    lora_status status = build(batch);
    if (status != LORA_OK) {
        lora_batch_free(batch);
        return status;
    }
    *out = batch;
    return LORA_OK;
}

// ---- who runs, and what ---------------------------------------------------------------------------------------------

static bool same_uses(const lora_adapter_use *a, size_t a_count, const lora_adapter_use *b, size_t b_count)
{
    if (a_count != b_count) return false;
    for (size_t i = 0; i < a_count; i++)
        if (a[i].adapter != b[i].adapter || a[i].weight != b[i].weight) return false;
    return true;
}

// Puts a session behind those with its adapters.
static void place(lora_batch *batch, size_t *count, lora_session *session, size_t index, int64_t share)
{
    size_t g = 0, at = 0;
    while (g < batch->group_count && !same_uses(batch->groups[g].uses, batch->groups[g].count, session->uses, session->use_count)) g++;
    if (g == batch->group_count)
        batch->groups[batch->group_count++] = (lr_row_group){.uses = session->uses, .count = session->use_count};
    batch->groups[g].rows += share;
    int64_t before = -share; // rows up to the end of group g
    for (size_t i = 0; i <= g; i++) before += batch->groups[i].rows;
    for (int64_t rows = 0; rows < before; rows += batch->shares[at++]) {}
    memmove(batch->order + at + 1, batch->order + at, (*count - at) * sizeof *batch->order);
    memmove(batch->places + at + 1, batch->places + at, (*count - at) * sizeof *batch->places);
    memmove(batch->shares + at + 1, batch->shares + at, (*count - at) * sizeof *batch->shares);
    batch->order[at] = session;
    batch->places[at] = index;
    batch->shares[at] = share;
    (*count)++;
}

static lora_status bind(lora_batch *batch)
{
    bool same = batch->binding && batch->bound_count == batch->group_count;
    size_t uses = 0;
    for (size_t g = 0; g < batch->group_count; g++) {
        const lr_row_group *now = &batch->groups[g], *then = &batch->bound[g];
        same = same && now->rows == then->rows && same_uses(now->uses, now->count, then->uses, then->count);
        uses += now->count;
    }
    if (same) return LORA_OK;
    const lora_allocator *allocator = &batch->model->context->allocator;
    lr_binding *binding;
    LR_TRY(lr_binding_create_by_rows(batch->model, batch->groups, batch->group_count, &binding));
    lora_adapter_use *kept = lr_alloc_array(allocator, uses, sizeof *kept);
    lora_status status = !kept ? LORA_ERROR_MEMORY : binding->max_rank > batch->max_rank ? make_pass(batch, binding->max_rank * 2) : LORA_OK;
    if (status != LORA_OK) {
        lr_free(allocator, kept);
        lr_binding_free(binding);
        return status;
    }
    lr_binding_free(batch->binding);
    lr_free(allocator, batch->bound_uses);
    batch->binding = binding;
    batch->bound_uses = kept;
    batch->bound_count = batch->group_count;
    for (size_t g = 0; g < batch->group_count; g++) {
        batch->bound[g] = batch->groups[g];
        batch->bound[g].uses = kept;
        for (size_t u = 0; u < batch->groups[g].count; u++) *kept++ = batch->groups[g].uses[u];
    }
    return LORA_OK;
}

// ---- running ---------------------------------------------------------------------------------------------------------

static lora_status run_together(lora_batch *batch, size_t count)
{
    int64_t token = 0, row_count = 0, vocabulary = batch->model->stack.vocabulary;
    for (size_t i = 0; i < count; i++) {
        lora_session *session = batch->order[i];
        batch->spans[i] = (lr_span){.begin = token, .count = batch->shares[i], .cache = session->cache};
        memcpy(batch->ids + token, session->history + session->cache->length, (size_t)batch->shares[i] * sizeof *batch->ids);
        token += batch->shares[i];
        if (session->cache->length + batch->shares[i] == session->length) batch->rows[row_count++] = token - 1;
    }
    LR_TRY(bind(batch));
    lr_batch all = {.tokens = token, .ids = batch->ids, .span_count = (int64_t)count, .spans = batch->spans};
    LR_TRY(lr_pass_logits(batch->pass, batch->binding, &all, batch->rows, row_count, batch->logits));
    const float *logits = batch->logits;
    for (size_t i = 0; i < count; i++) {
        lora_session *session = batch->order[i];
        if (session->cache->length < session->length) continue;
        memcpy(session->logits, logits, (size_t)vocabulary * sizeof *logits);
        session->logits_at = session->length;
        logits += vocabulary;
    }
    return LORA_OK;
}

static lora_status check_sessions(const lora_batch *batch, lora_session *const *sessions, size_t count)
{
    LR_CHECK_ARGUMENT(count <= (size_t)batch->max_sessions, "%zu sessions were given to a batch made for %d", count, batch->max_sessions);
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(sessions[i], "session %zu is NULL", i + 1);
        if (sessions[i]->model != batch->model)
            return lr_fail(LORA_ERROR_MISMATCH, "session %zu of %zu runs another model than the batch", i + 1, count);
    }
    return LORA_OK;
}

// Gives a session its part of this run; one that cannot run beside others runs at once.
static lora_status take_part(lora_batch *batch, size_t *count, lora_session *session, size_t index, int64_t *prompt_left)
{
    int64_t share = lr_session_pending(session);
    if (share > 1) {
        if (share > *prompt_left) share = *prompt_left;
        *prompt_left -= share;
    }
    if (share == 0) return LORA_OK;
    if (!session->joins) return lr_session_run(session, share);
    place(batch, count, session, index, share);
    return LORA_OK;
}

lora_status lora_batch_run(lora_batch *batch, lora_session *const *sessions, size_t count, lora_status *statuses, int64_t *left)
{
    LR_CHECK_HANDLE(batch);
    LR_CHECK_ARGUMENT((sessions && statuses && left) || count == 0, "%s: an array is NULL", __func__);
    LR_TRY(check_sessions(batch, sessions, count));
    size_t joined = 0;
    int64_t prompt_left = batch->prompt_tokens;
    double start = lr_clock();
    batch->group_count = 0;
    for (size_t i = 0; i < count; i++) {
        statuses[i] = sessions[i]->answering ? LORA_OK : LORA_ERROR_STATE;
        if (atomic_load(&sessions[i]->cancel)) statuses[i] = LORA_ERROR_CANCELLED;
        if (statuses[i] == LORA_OK) statuses[i] = take_part(batch, &joined, sessions[i], i, &prompt_left);
    }
    if (joined) {
        lora_status status = run_together(batch, joined);
        for (size_t i = 0; i < joined && status != LORA_OK; i++) statuses[batch->places[i]] = status;
    }
    double seconds = lr_clock() - start;
    for (size_t i = 0; i < count; i++) {
        left[i] = statuses[i] == LORA_OK ? lr_session_pending(sessions[i]) : 0;
        if (statuses[i] != LORA_OK) continue;
        if (sessions[i]->generated_tokens == 0) sessions[i]->prefill_seconds += seconds;
        else sessions[i]->decode_seconds += seconds;
    }
    return LORA_OK;
}
