// The handle of a pass and its three runs: train, losses, logits.
#include "pass_state.h"

#include <math.h>

// ---- handle ---------------------------------------------------------------------------------------------------------

static struct lr_pass describe(const lora_model *model, const lr_pass_options *options)
{
    const int64_t layers = model->stack.layers, first = options->first_trained_layer;
    struct lr_pass pass = {
        .model = (lora_model *)model, .context = model->context, .options = *options, .only_f32 = true};
    for (size_t i = 0; i < model->tensor_count; i++) pass.only_f32 &= model->tensors[i].view.type == LORA_TYPE_F32;
    pass.coarse_attention =
        !pass.only_f32 && model->context->backend->supports(model->context->device, LORA_OP_ATTENTION, LORA_TYPE_BF16);
    if (!pass.options.max_pairs) pass.options.max_pairs = options->max_rank;
    pass.first_kept = !options->training || first > layers ? layers : first < 0 ? 0 : first;
    return pass;
}

void lr_pass_bytes(const lora_model *model, const lr_pass_options *options, uint64_t *activations, uint64_t *workspace)
{
    const lora_context *context = model->context;
    struct lr_pass pass = describe(model, options);
    lora_workspace_request requests[2];
    lr_pass_requests(&pass, requests);
    *activations = lr_pass_lay_out(&pass, NULL);
    *workspace = 0;
    for (int i = 0; i < 2; i++) {
        const uint64_t bytes = context->backend->workspace_bytes(context->device, &requests[i]);
        if (bytes > *workspace) *workspace = bytes;
    }
}

static lora_status create_host_arrays(struct lr_pass *pass)
{
    const lora_allocator *allocator = &pass->context->allocator;
    const size_t tokens = (size_t)pass->options.max_tokens, turns = (size_t)pass->model->stack.rope.dimensions / 2;
    pass->blocks = lr_alloc_zeroed(allocator, (size_t)pass->model->stack.layers, sizeof *pass->blocks);
    pass->positions = lr_alloc_array(allocator, tokens, sizeof *pass->positions);
    pass->angles = lr_alloc_array(allocator, 2 * tokens, turns * sizeof *pass->angles);
    pass->rows = lr_alloc_array(allocator, tokens, sizeof *pass->rows);
    pass->labels = lr_alloc_array(allocator, tokens, sizeof *pass->labels);
    pass->losses = lr_alloc_array(allocator, tokens, sizeof *pass->losses);
    pass->segments = lr_alloc_array(allocator, (size_t)pass->options.max_spans, sizeof *pass->segments);
    pass->pairs = lr_alloc_array(allocator, (size_t)pass->options.max_pairs, sizeof *pass->pairs);
    pass->parts = lr_alloc_array(allocator, 2 * (size_t)pass->options.max_spans, sizeof *pass->parts);
    pass->targets = lr_alloc_array(allocator, tokens, sizeof *pass->targets);
    if (!pass->blocks || !pass->positions || !pass->angles || !pass->rows || !pass->labels || !pass->losses ||
        !pass->segments || !pass->pairs || !pass->parts || !pass->targets)
        return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < tokens; i++) pass->positions[i] = (int32_t)i;
    return LORA_OK;
}

static lora_status create_buffers(struct lr_pass *pass)
{
    const lora_backend *ops = lr_ops(pass);
    lora_workspace_request requests[2];
    lr_pass_requests(pass, requests);
    // The larger one first, so that the workspace grows once.
    const int first =
        ops->workspace_bytes(lr_device(pass), &requests[1]) > ops->workspace_bytes(lr_device(pass), &requests[0]);
    LR_TRY(ops->reserve(lr_device(pass), &requests[first]));
    LR_TRY(ops->reserve(lr_device(pass), &requests[!first]));
    LR_TRY(ops->buffer_create(lr_device(pass), lr_pass_lay_out(pass, NULL), &pass->buffer));
    lr_pass_lay_out(pass, pass->buffer);
    return LORA_OK;
}

lora_status lr_pass_create(const lora_model *model, const lr_pass_options *options, lr_pass **out)
{
    if (options->max_tokens < 1 || options->max_tokens > INT32_MAX / 2 || options->max_spans < 1 ||
        options->max_rank < 0)
        return lr_fail(LORA_ERROR_ARGUMENT, "a batch of %lld tokens in %lld spans is not possible",
                       (long long)options->max_tokens, (long long)options->max_spans);
    struct lr_pass *pass = lr_alloc(&model->context->allocator, sizeof *pass);
    if (!pass) return LORA_ERROR_MEMORY;
    *pass = describe(model, options);
    lr_model_retain(pass->model);
    lora_status status = create_host_arrays(pass);
    if (status == LORA_OK) status = create_buffers(pass);
    if (status != LORA_OK) {
        lr_pass_free(pass);
        return status;
    }
    *out = pass;
    return LORA_OK;
}

void lr_pass_free(lr_pass *pass)
{
    if (!pass) return;
    lora_model *model = pass->model;
    const lora_allocator *allocator = &pass->context->allocator;
    if (pass->buffer) lr_ops(pass)->buffer_free(lr_device(pass), pass->buffer);
    lr_free(allocator, pass->blocks);
    lr_free(allocator, pass->positions);
    lr_free(allocator, pass->angles);
    lr_free(allocator, pass->rows);
    lr_free(allocator, pass->labels);
    lr_free(allocator, pass->losses);
    lr_free(allocator, pass->segments);
    lr_free(allocator, pass->pairs);
    lr_free(allocator, pass->parts);
    lr_free(allocator, pass->targets);
    lr_free(allocator, pass);
    lr_model_release(model);
}

void lr_pass_set_cancel(lr_pass *pass, const atomic_int *flag)
{
    pass->cancel = flag;
}

lora_status lr_pass_poll(const struct lr_pass *pass)
{
    if (pass->cancel && atomic_load_explicit(pass->cancel, memory_order_relaxed))
        return lr_fail(LORA_ERROR_CANCELLED, "the run was cancelled");
    return LORA_OK;
}

// ---- a batch --------------------------------------------------------------------------------------------------------

static lora_status check_ids(const struct lr_pass *pass, const lr_batch *batch)
{
    const int64_t vocabulary = pass->model->stack.vocabulary;
    for (int64_t i = 0; i < batch->tokens; i++)
        if (batch->ids[i] < 0 || batch->ids[i] >= vocabulary)
            return lr_fail(LORA_ERROR_DATA, "token id %d is outside the model's vocabulary of %lld", batch->ids[i],
                           (long long)vocabulary);
    for (int64_t i = 0; batch->labels && i < batch->tokens; i++)
        if (batch->labels[i] != -100 && (batch->labels[i] < 0 || batch->labels[i] >= vocabulary))
            return lr_fail(LORA_ERROR_DATA, "label %d is outside the model's vocabulary of %lld", batch->labels[i],
                           (long long)vocabulary);
    return LORA_OK;
}

static lora_status check_spans(const lr_batch *batch)
{
    int64_t next = 0;
    for (int64_t i = 0; i < batch->span_count; i++) {
        const lr_span *span = &batch->spans[i];
        if (span->begin != next || span->count < 1 || span->count > batch->tokens - next)
            return lr_fail(LORA_ERROR_INTERNAL, "the spans of a batch do not cover it one after another");
        if (span->cache && span->count > span->cache->capacity - span->cache->length)
            return lr_fail(LORA_ERROR_OVERFLOW,
                           "the context window is full: it holds %lld tokens and has room for %lld; %lld more "
                           "were given",
                           (long long)span->cache->capacity, (long long)(span->cache->capacity - span->cache->length),
                           (long long)span->count);
        next += span->count;
    }
    return next == batch->tokens ? LORA_OK : lr_fail(LORA_ERROR_INTERNAL, "a batch has tokens outside its spans");
}

// Cosines and sines of each row's position, as the reference rounds them.
static lora_status write_rotary_tables(struct lr_pass *pass)
{
    const lora_backend *ops = lr_ops(pass);
    const int64_t turns = pass->model->stack.rope.dimensions / 2, count = pass->batch->tokens * turns;
    float *cosine = pass->angles, *sine = pass->angles + count;
    for (int64_t i = 0; i < pass->batch->span_count; i++) {
        const lr_span *span = &pass->batch->spans[i];
        const int64_t first = span->cache ? span->cache->length : 0;
        for (int64_t j = 0; j < span->count; j++) {
            for (int64_t k = 0; k < turns; k++) {
                const float angle = (float)(first + j) * pass->model->frequencies[k];
                cosine[(span->begin + j) * turns + k] = cosf(angle);
                sine[(span->begin + j) * turns + k] = sinf(angle);
            }
        }
    }
    const uint64_t bytes = (uint64_t)count * sizeof(float);
    LR_TRY(ops->buffer_write(lr_device(pass), pass->cosine.buffer, pass->cosine.offset, cosine, bytes));
    return ops->buffer_write(lr_device(pass), pass->sine.buffer, pass->sine.offset, sine, bytes);
}

// Neighbouring spans of one binding are one part.
static lora_status divide(struct lr_pass *pass)
{
    int64_t count = 0, pairs = 0;
    for (int64_t i = 0; i < pass->batch->span_count; i++) {
        const lr_span *span = &pass->batch->spans[i];
        const lr_binding *binding = span->binding ? span->binding : pass->binding;
        if (count && pass->parts[count - 1].binding == binding) {
            pass->parts[count - 1].count += span->count;
            continue;
        }
        if (binding->max_rank > pass->options.max_rank)
            return lr_fail(LORA_ERROR_INTERNAL, "adapters of rank %lld were given to a pass made for %lld",
                           (long long)binding->max_rank, (long long)pass->options.max_rank);
        pairs += binding->max_pairs ? binding->max_pairs : binding->max_rank;
        pass->parts[count++] = (lr_part){binding, span->begin, span->count};
    }
    if (pairs > pass->options.max_pairs)
        return lr_fail(LORA_ERROR_INTERNAL, "%lld low-rank pairs were given to a pass made for %lld", (long long)pairs,
                       (long long)pass->options.max_pairs);
    pass->part = pass->parts;
    pass->part_count = count;
    return LORA_OK;
}

static lora_status begin(struct lr_pass *pass, const lr_binding *binding, const lr_batch *batch)
{
    if (batch->tokens < 1 || batch->tokens > pass->options.max_tokens || batch->span_count < 1 ||
        batch->span_count > pass->options.max_spans)
        return lr_fail(LORA_ERROR_ARGUMENT,
                       "a batch of %lld tokens in %lld spans was given to a pass made for %lld in %lld",
                       (long long)batch->tokens, (long long)batch->span_count, (long long)pass->options.max_tokens,
                       (long long)pass->options.max_spans);
    LR_TRY(check_ids(pass, batch));
    LR_TRY(check_spans(batch));
    pass->binding = binding;
    pass->batch = batch;
    pass->training = false;
    LR_TRY(divide(pass));
    return write_rotary_tables(pass);
}

// ---- runs -----------------------------------------------------------------------------------------------------------

lora_status lr_pass_train(lr_pass *pass, const lr_binding *binding, const lr_batch *batch, float grad_scale,
                          uint64_t dropout_seed, float *losses)
{
    if (!pass->options.training || (binding->trains_pairs && !pass->options.trains_pairs) ||
        (pass->options.plain_head && !binding->plain_head) ||
        binding->first_trained_layer < pass->options.first_trained_layer)
        return lr_fail(LORA_ERROR_INTERNAL, "training was asked of a pass that was not made for it");
    LR_TRY(begin(pass, binding, batch));
    pass->training = true;
    pass->dropout_seed = dropout_seed;
    LR_TRY(lr_blocks_forward(pass, 0));
    LR_TRY(lr_layer_loss(pass, lr_first_rows(pass->stream, batch->tokens),
                         lr_first_rows(pass->grad_stream, batch->tokens), grad_scale, losses));
    LR_TRY(lr_blocks_backward(pass));
    return lr_ops(pass)->synchronize(lr_device(pass));
}

lora_status lr_pass_losses(lr_pass *pass, const lr_binding *binding, const lr_batch *batch, float *losses)
{
    LR_TRY(begin(pass, binding, batch));
    LR_TRY(lr_blocks_forward(pass, 0));
    return lr_layer_loss(pass, lr_first_rows(pass->stream, batch->tokens), lr_absent, 0.0f, losses);
}

// Forward, the logits of the first `row_count` of pass->rows, and the caches' new lengths.
static lora_status run_with_caches(struct lr_pass *pass, int64_t row_count)
{
    const lr_batch *batch = pass->batch;
    LR_TRY(lr_blocks_forward(pass, row_count ? pass->rows[0] : batch->tokens - 1));
    if (row_count > 0) LR_TRY(lr_layer_logits(pass, lr_first_rows(pass->stream, batch->tokens), row_count));
    LR_TRY(lr_ops(pass)->synchronize(lr_device(pass)));
    for (int64_t i = 0; i < batch->span_count; i++)
        if (batch->spans[i].cache) batch->spans[i].cache->length += batch->spans[i].count;
    return LORA_OK;
}

lora_status lr_pass_logits(lr_pass *pass, const lr_binding *binding, const lr_batch *batch, const int64_t *rows,
                           int64_t row_count, float *logits, lr_logits_summary *summaries)
{
    LR_TRY(begin(pass, binding, batch));
    if (row_count < 0 || row_count > pass->options.max_tokens)
        return lr_fail(LORA_ERROR_ARGUMENT, "logits of %lld rows were asked of a batch of %lld", (long long)row_count,
                       (long long)batch->tokens);
    for (int64_t i = 0; i < row_count; i++) {
        pass->rows[i] = (int32_t)rows[i];
        pass->targets[i] = (lr_logits_target){logits + i * pass->model->stack.vocabulary,
                                              summaries ? &summaries[i] : NULL};
    }
    return run_with_caches(pass, row_count);
}

lora_status lr_pass_advance(lr_pass *pass, const lr_binding *binding, const lr_batch *batch)
{
    int64_t count = 0;
    LR_TRY(begin(pass, binding, batch));
    for (int64_t i = 0; i < batch->span_count; i++) {
        const lr_span *span = &batch->spans[i];
        for (int64_t row = 0; row < span->logit_rows; row++) {
            pass->rows[count] = (int32_t)(span->begin + span->count - span->logit_rows + row);
            pass->targets[count++] = (lr_logits_target){span->logits + row * pass->model->stack.vocabulary,
                                                        &span->summaries[row]};
        }
    }
    return run_with_caches(pass, count);
}
