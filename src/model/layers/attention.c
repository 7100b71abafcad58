// The block's first half: y = x + o(attention(rotary(q(n)), rotary(k(n)), v(n))) with n = norm(x); where the stack says
// so, q and k of each head are normalised before they turn. Queries attend to the keys of their own span: to the rows
// of this batch in training, to the span's cache, to which this batch's rows are appended, in inference. There may be
// queries, and y, for the last rows of the batch only; keys and values are always of all.
#include "src/model/pass_state.h"

typedef struct attention_modules {
    const lr_module *norm, *q, *k, *v, *o, *q_norm, *k_norm;
} attention_modules;

static attention_modules describe(const struct lr_pass *pass, int64_t layer)
{
    const lora_model *model = pass->model;
    return (attention_modules){
        .norm = lr_model_module(model, layer, LR_SLOT_ATTENTION_NORM),
        .q = lr_model_module(model, layer, LR_SLOT_Q),
        .k = lr_model_module(model, layer, LR_SLOT_K),
        .v = lr_model_module(model, layer, LR_SLOT_V),
        .o = lr_model_module(model, layer, LR_SLOT_O),
        .q_norm = lr_model_module(model, layer, LR_SLOT_Q_NORM),
        .k_norm = lr_model_module(model, layer, LR_SLOT_K_NORM),
    };
}

// x: of the last rows of the batch.
static lora_status turn(struct lr_pass *pass, lora_view x, bool inverse)
{
    const lr_stack *stack = &pass->model->stack;
    const int64_t first = pass->batch->tokens - x.rows;
    const lora_rotary rotary = {
        .kind = LORA_ROTARY_HALF,
        .head_dim = (int32_t)stack->head_dim,
        .rotary_dim = stack->rope.dimensions,
        .inverse = inverse,
        .cosine = lr_view_rows(pass->cosine, first, x.rows),
        .sine = lr_view_rows(pass->sine, first, x.rows),
        .positions = pass->positions,
    };
    return lr_ops(pass)->rotary(lr_device(pass), x, &rotary);
}

// As coarse as the layers beside it, whose products are exact for few rows.
static int32_t coarse(const struct lr_pass *pass, const lr_block *block)
{
    const bool few = !pass->training && block->q.rows < LORA_ALONE_ROWS;
    return pass->coarse_attention && !few ? lr_pass_coarse(pass) & LORA_COARSE_BF16 : 0;
}

// Which keys each span's queries see.
static lora_attention segments_of(struct lr_pass *pass, int64_t layer, const lr_block *block)
{
    const lr_stack *stack = &pass->model->stack;
    const bool windowed = stack->window > 0 && (!stack->layer_is_windowed || stack->layer_is_windowed[layer]);
    const int64_t first = pass->batch->tokens - block->q.rows;
    int32_t count = 0;
    for (int64_t i = 0; i < pass->batch->span_count; i++) {
        const lr_span *span = &pass->batch->spans[i];
        const int64_t begin = span->begin > first ? span->begin : first, end = span->begin + span->count;
        if (begin >= end) continue;
        lora_segment *segment = &pass->segments[count++];
        *segment =
            (lora_segment){.query_begin = begin - first, .query_count = end - begin, .key_count = span->count};
        if (span->cache) {
            segment->key_count += span->cache->length;
            segment->keys = span->cache->keys[layer];
            segment->values = span->cache->values[layer];
            segment->pages = span->cache->buffers;
        } else {
            segment->keys = lr_view_rows(block->k, span->begin, span->count);
            segment->values = lr_view_rows(block->v, span->begin, span->count);
        }
    }
    return (lora_attention){
        .heads = (int32_t)stack->heads,
        .kv_heads = (int32_t)stack->kv_heads,
        .head_dim = (int32_t)stack->head_dim,
        .segment_count = count,
        .scale = stack->attention_scale,
        .softcap = stack->attention_softcap,
        .window = windowed ? stack->window : 0,
        .segments = pass->segments,
        .as_alone = pass->batch->as_alone,
        .coarse = coarse(pass, block),
    };
}

static lora_status append(struct lr_pass *pass, lora_view rows, lora_view page, const lr_kv_cache *cache)
{
    for (int64_t done = 0; done < rows.rows;) {
        const int64_t at = cache->length + done, row = at % LORA_PAGE_KEYS, left = rows.rows - done;
        const int64_t count = left < LORA_PAGE_KEYS - row ? left : LORA_PAGE_KEYS - row;
        page.buffer = cache->buffers[at / LORA_PAGE_KEYS];
        LR_TRY(lr_ops(pass)->convert(lr_device(pass), lr_view_rows(page, row, count), lr_view_rows(rows, done, count)));
        done += count;
    }
    return LORA_OK;
}

static lora_status append_to_caches(struct lr_pass *pass, int64_t layer, const lr_block *block)
{
    for (int64_t i = 0; i < pass->batch->span_count; i++) {
        const lr_span *span = &pass->batch->spans[i];
        if (!span->cache) continue;
        LR_TRY(append(pass, lr_view_rows(block->k, span->begin, span->count), span->cache->keys[layer], span->cache));
        LR_TRY(append(pass, lr_view_rows(block->v, span->begin, span->count), span->cache->values[layer], span->cache));
    }
    return LORA_OK;
}

// Where q and k are projected to: what is not kept is normalised in place.
static lora_view raw_q(const attention_modules *a, const lr_block *block, bool keep)
{
    return a->q_norm && keep ? block->q_raw : block->q;
}

static lora_view raw_k(const attention_modules *a, const lr_block *block, bool keep)
{
    return a->k_norm && keep ? block->k_raw : block->k;
}

static lora_status project(struct lr_pass *pass, const attention_modules *a, const lr_block *block, lora_view normed,
                           bool keep)
{
    const lora_view q = raw_q(a, block, keep);
    LR_TRY(lr_layer_linear_forward(pass, a->q, q, lr_last_rows(normed, q.rows), block->pairs[LR_SLOT_Q], false));
    LR_TRY(lr_layer_linear_forward(pass, a->k, raw_k(a, block, keep), normed, block->pairs[LR_SLOT_K], false));
    return lr_layer_linear_forward(pass, a->v, block->v, normed, block->pairs[LR_SLOT_V], false);
}

// q and k as projected become those that attention takes: normalised where the stack says so, and turned.
static lora_status position(struct lr_pass *pass, const attention_modules *a, const lr_block *block, bool keep)
{
    const int64_t group = pass->model->stack.head_dim;
    if (a->q_norm) {
        LR_TRY(lr_layer_norm_forward(pass, a->q_norm, group, block->q, keep ? block->q_statistics : lr_absent,
                                     raw_q(a, block, keep), lr_absent));
        LR_TRY(lr_layer_norm_forward(pass, a->k_norm, group, block->k, keep ? block->k_statistics : lr_absent,
                                     raw_k(a, block, keep), lr_absent));
    }
    LR_TRY(turn(pass, block->q, false));
    return turn(pass, block->k, false);
}

static lora_status attend(struct lr_pass *pass, int64_t layer, const lr_block *block, bool keep)
{
    const lora_attention attention = segments_of(pass, layer, block);
    return lr_ops(pass)->attention_forward(lr_device(pass), block->attention, keep ? block->log_sum : lr_absent,
                                           block->q, &attention);
}

lora_status lr_layer_attention_forward(struct lr_pass *pass, int64_t layer, const lr_block *block, lora_view copy,
                                       bool keep)
{
    const attention_modules a = describe(pass, layer);
    const lora_view normed = lr_first_rows(pass->scratch.normed, pass->batch->tokens);
    LR_TRY(lr_layer_norm_forward(pass, a.norm, 0, normed, keep ? block->input_statistics : lr_absent, block->input,
                                 copy));
    LR_TRY(project(pass, &a, block, normed, keep));
    LR_TRY(position(pass, &a, block, keep));
    LR_TRY(append_to_caches(pass, layer, block));
    LR_TRY(attend(pass, layer, block, keep));
    const lora_view residual = lr_last_rows(block->input, block->middle.rows);
    if (block->middle.offset != residual.offset)
        LR_TRY(lr_ops(pass)->convert(lr_device(pass), block->middle, residual));
    return lr_layer_linear_forward(pass, a.o, block->middle, block->attention, block->pairs[LR_SLOT_O], true);
}

// Kept were q and k as turned, or, where they are normalised, as projected, but rounded. That the probabilities are
// computed again too, and not kept as `log_sum`, makes them sum to 1 for these q and k.
lora_status lr_layer_attention_recompute(struct lr_pass *pass, int64_t layer, const lr_block *block)
{
    const attention_modules a = describe(pass, layer);
    if (a.q_norm) LR_TRY(position(pass, &a, block, true));
    return attend(pass, layer, block, true);
}

// Through rotary and the norms per head: *grad_q and *grad_k become the gradients of the projections' outputs.
static lora_status unturn(struct lr_pass *pass, const attention_modules *a, const lr_block *block, lora_view *grad_q,
                          lora_view *grad_k)
{
    const int64_t group = pass->model->stack.head_dim;
    LR_TRY(turn(pass, *grad_q, true));
    LR_TRY(turn(pass, *grad_k, true));
    if (!a->q_norm) return LORA_OK;
    // q and k themselves are not needed any more.
    LR_TRY(lr_layer_norm_backward(pass, a->q_norm, group, block->q, *grad_q, block->q_raw, block->q_statistics, false));
    LR_TRY(lr_layer_norm_backward(pass, a->k_norm, group, block->k, *grad_k, block->k_raw, block->k_statistics, false));
    *grad_q = block->q;
    *grad_k = block->k;
    return LORA_OK;
}

// Pairs on the output projection want its input in f32.
static lora_status output_backward(struct lr_pass *pass, const attention_modules *a, const lr_block *block,
                                   lora_view grad_attention, lora_view grad)
{
    lora_view x = block->attention;
    if (x.type != LORA_TYPE_F32 && lr_layer_linear_needs_input(pass, a->o)) {
        x = lr_first_rows(pass->shared.attention, x.rows);
        LR_TRY(lr_ops(pass)->convert(lr_device(pass), x, block->attention));
    }
    return lr_layer_linear_backward(pass, a->o, grad_attention, grad, x, block->pairs[LR_SLOT_O], false);
}

lora_status lr_layer_attention_backward(struct lr_pass *pass, int64_t layer, const lr_block *block, lora_view grad,
                                        bool want_input_gradient)
{
    const attention_modules a = describe(pass, layer);
    const lora_backend *ops = lr_ops(pass);
    const int64_t tokens = pass->batch->tokens;
    const lora_view normed = lr_first_rows(pass->scratch.normed, tokens);
    const lora_view grad_attention = lr_first_rows(pass->scratch.grad_attention, tokens);
    const lora_view grad_v = lr_first_rows(pass->scratch.grad_v, tokens);
    lora_view grad_q = lr_first_rows(pass->scratch.grad_q, tokens),
              grad_k = lr_first_rows(pass->scratch.grad_k, tokens);

    LR_TRY(output_backward(pass, &a, block, grad_attention, grad));
    LR_TRY(ops->fill(lr_device(pass), grad_k, 0));
    LR_TRY(ops->fill(lr_device(pass), grad_v, 0));
    const lora_attention attention = segments_of(pass, layer, block);
    LR_TRY(ops->attention_backward(lr_device(pass), grad_q, grad_k, grad_v, grad_attention, block->attention,
                                   block->log_sum, block->q, &attention));
    LR_TRY(unturn(pass, &a, block, &grad_q, &grad_k));

    if (lr_layer_linear_needs_input(pass, a.q) || lr_layer_linear_needs_input(pass, a.k) ||
        lr_layer_linear_needs_input(pass, a.v))
        LR_TRY(lr_layer_norm_forward(pass, a.norm, 0, normed, lr_absent, block->input, lr_absent));
    const bool through_norm = want_input_gradient || lr_layer_norm_is_trained(pass, a.norm);
    const lora_view grad_normed = through_norm ? lr_first_rows(pass->scratch.grad_normed, tokens) : lr_absent;
    LR_TRY(lr_layer_linear_backward(pass, a.q, grad_normed, grad_q, normed, block->pairs[LR_SLOT_Q], false));
    LR_TRY(lr_layer_linear_backward(pass, a.k, grad_normed, grad_k, normed, block->pairs[LR_SLOT_K], true));
    LR_TRY(lr_layer_linear_backward(pass, a.v, grad_normed, grad_v, normed, block->pairs[LR_SLOT_V], true));
    if (!through_norm) return LORA_OK;
    return lr_layer_norm_backward(pass, a.norm, 0, grad, grad_normed, block->input, block->input_statistics, true);
}
