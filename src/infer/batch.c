// Sessions advanced together: what each has to run becomes a span of one batch, spans with the same adapters side by
// side. Only sessions whose adapters replace the same whole tensors (or none) can share a run.
#include "session.h"

#include "src/core/clock.h"
#include "src/core/validate.h"

// A session's part in a call.
typedef struct batch_slot {
    lora_session *session;
    lora_status status;
    lr_session_run run;
    bool is_placed; // in a run
} batch_slot;

struct lora_batch {
    lora_model *model;
    int64_t max_sessions, prompt_tokens;
    lr_pass *pass;
    int64_t max_rank, max_pairs; // of one session, that the pass serves
    batch_slot *slots;         // [max_sessions], in the caller's order
    size_t *order;               // [max_sessions] slots of a run, side by side
    lr_span *spans;              // [max_sessions]
    int32_t *ids;                // [max_sessions + prompt_tokens]
    size_t count;
};

// ---- life -----------------------------------------------------------------------------------------------------------

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
    lr_free(allocator, batch->slots);
    lr_free(allocator, batch->order);
    lr_free(allocator, batch->spans);
    lr_free(allocator, batch->ids);
    lr_free(allocator, batch);
    lr_model_release(model);
}

// A pass for sessions of at most this rank and so many pairs on a linear layer.
static lora_status make_pass(lora_batch *batch, int64_t rank, int64_t pairs)
{
    const lr_pass_options options = {
        .max_tokens = batch->max_sessions + batch->prompt_tokens,
        .max_spans = batch->max_sessions,
        .max_rank = rank,
        .max_pairs = pairs * batch->max_sessions,
        .first_trained_layer = (int32_t)batch->model->stack.layers,
    };
    lr_pass *pass;
    LR_TRY(lr_pass_create(batch->model, &options, &pass));
    lr_pass_free(batch->pass);
    batch->pass = pass;
    batch->max_rank = rank;
    batch->max_pairs = pairs;
    return LORA_OK;
}

static lora_status build(lora_batch *batch)
{
    const lora_allocator *allocator = &batch->model->context->allocator;
    size_t sessions = (size_t)batch->max_sessions;
    batch->slots = lr_alloc_zeroed(allocator, sessions, sizeof *batch->slots);
    batch->order = lr_alloc_array(allocator, sessions, sizeof *batch->order);
    batch->spans = lr_alloc_array(allocator, sessions, sizeof *batch->spans);
    batch->ids = lr_alloc_array(allocator, sessions + (size_t)batch->prompt_tokens, sizeof *batch->ids);
    if (!batch->slots || !batch->order || !batch->spans || !batch->ids) return LORA_ERROR_MEMORY;
    return make_pass(batch, 0, 0);
}

lora_status lora_batch_create(const lora_model *model, const lora_batch_options *options, lora_batch **out)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(out);
    lora_batch_options chosen;
    lora_batch_options_init(&chosen);
    LR_TRY(lr_take_options(&chosen, sizeof chosen, options, __func__));
    LR_CHECK_ARGUMENT(chosen.max_sessions > 0 && chosen.max_sessions <= 4096,
                      "max_sessions is %d; it must be 1 to 4096", chosen.max_sessions);
    LR_CHECK_ARGUMENT(chosen.prompt_tokens > 0 && chosen.prompt_tokens <= 65536,
                      "prompt_tokens is %d; it must be 1 to 65536", chosen.prompt_tokens);
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

// ---- who runs what --------------------------------------------------------------------------------------------------

static bool is_given_before(lora_session *const *sessions, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (sessions[i] == sessions[index]) return true;
    return false;
}

static lora_status check_sessions(const lora_batch *batch, lora_session *const *sessions, size_t count)
{
    LR_CHECK_ARGUMENT(count <= (size_t)batch->max_sessions, "%zu sessions were given to a batch made for %lld", count,
                      (long long)batch->max_sessions);
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(sessions[i], "session %zu of %zu is NULL", i + 1, count);
        LR_CHECK_ARGUMENT(!is_given_before(sessions, i), "session %zu of %zu was given twice", i + 1, count);
        if (sessions[i]->model != batch->model)
            return lr_fail(LORA_ERROR_MISMATCH, "session %zu of %zu runs another model than the batch", i + 1, count);
    }
    return LORA_OK;
}

// One token each for those that are in the middle of an answer; the others' prompts share what a call may run of them.
static void plan_runs(lora_batch *batch)
{
    int64_t left = batch->prompt_tokens, waiting = 0;
    for (size_t i = 0; i < batch->count; i++) {
        batch_slot *slot = &batch->slots[i];
        if (slot->status != LORA_OK) continue;
        slot->run = lr_session_plan(slot->session, 1);
        waiting += slot->run.count > 0 && slot->run.rows == 0;
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch_slot *slot = &batch->slots[i];
        if (slot->status != LORA_OK || slot->run.count == 0 || slot->run.rows > 0) continue;
        int64_t share = (left + waiting - 1) / waiting;
        waiting--;
        slot->run = share ? lr_session_plan(slot->session, share) : (lr_session_run){0};
        left -= slot->run.count;
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch_slot *slot = &batch->slots[i];
        if (slot->status == LORA_OK) slot->status = lr_kv_cache_make_writable(slot->session->cache, slot->run.count);
    }
}

static bool is_waiting(const batch_slot *slot)
{
    return slot->status == LORA_OK && slot->run.count > 0 && !slot->is_placed;
}

// The spans of a run: of all slots whose adapters replace the same tensors as the first's, those with the same adapters
// side by side under one binding.
static size_t gather(lora_batch *batch, size_t first)
{
    const lora_adapter *replacing = lr_binding_replacing(batch->slots[first].session->binding);
    size_t found = 0;
    int64_t row = 0;
    for (size_t i = first; i < batch->count; i++) {
        const batch_slot *leader = &batch->slots[i];
        const lr_binding *binding = leader->session->binding;
        if (!is_waiting(leader) || lr_binding_replacing(binding) != replacing) continue;
        for (size_t j = i; j < batch->count; j++) {
            batch_slot *slot = &batch->slots[j];
            if (!is_waiting(slot) || !lr_binding_is_same(slot->session->binding, binding)) continue;
            const lr_span span = lr_session_span(slot->session, slot->run, row);
            const int32_t *ids = slot->session->history + slot->session->cache->length;
            for (int64_t k = 0; k < span.count; k++) batch->ids[row++] = ids[k];
            slot->is_placed = true;
            batch->order[found] = j;
            batch->spans[found] = span;
            batch->spans[found++].binding = binding;
        }
    }
    return found;
}

// Beside an answer that is being decoded prompts are as exact as it.
static bool all_prompts(const lora_batch *batch, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (batch->spans[i].logit_rows >= batch->spans[i].count) return false;
    return true;
}

static lora_status run_together(lora_batch *batch, size_t count)
{
    int64_t rank = batch->max_rank, pairs = batch->max_pairs;
    for (size_t i = 0; i < count; i++) {
        const lr_binding *binding = batch->spans[i].binding;
        if (binding->max_rank > rank) rank = binding->max_rank;
        if (binding->max_pairs > pairs) pairs = binding->max_pairs;
    }
    if (rank > batch->max_rank || pairs > batch->max_pairs) LR_TRY(make_pass(batch, rank, pairs));
    const lr_span *last = &batch->spans[count - 1];
    lr_batch all = {.tokens = last->begin + last->count, .ids = batch->ids, .span_count = (int64_t)count,
                    .spans = batch->spans, .is_prompt = all_prompts(batch, count)};
    return lr_pass_advance(batch->pass, batch->spans[0].binding, &all);
}

static void run_all(lora_batch *batch)
{
    for (size_t first = 0; first < batch->count; first++) {
        if (!is_waiting(&batch->slots[first])) continue;
        size_t count = gather(batch, first);
        lora_status status = run_together(batch, count);
        for (size_t i = 0; i < count; i++) {
            batch_slot *slot = &batch->slots[batch->order[i]];
            if (status == LORA_OK) lr_session_ran(slot->session, slot->run);
            slot->status = status;
        }
    }
}

lora_status lora_batch_run(lora_batch *batch, lora_session *const *sessions, size_t count, lora_status *statuses,
                           int64_t *left)
{
    LR_CHECK_HANDLE(batch);
    LR_CHECK_ARGUMENT((sessions && statuses && left) || count == 0, "%s: an array is NULL", __func__);
    LR_TRY(check_sessions(batch, sessions, count));
    double start = lr_clock();
    batch->count = count;
    for (size_t i = 0; i < count; i++) {
        batch->slots[i] = (batch_slot){.session = sessions[i], .status = lr_session_check_answering(sessions[i])};
    }
    plan_runs(batch);
    run_all(batch);
    double seconds = lr_clock() - start;
    for (size_t i = 0; i < count; i++) {
        statuses[i] = batch->slots[i].status;
        left[i] = statuses[i] == LORA_OK ? lr_session_pending(sessions[i]) : 0;
        if (statuses[i] == LORA_OK) lr_session_add_time(sessions[i], seconds);
    }
    return LORA_OK;
}
