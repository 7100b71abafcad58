// Evaluation of a model on data: rows side by side in one pass, without padding.
#include "src/adapter/adapter.h"
#include "src/core/validate.h"
#include "src/data/dataset.h"
#include "src/model/pass.h"

#include <lora/evaluate.h>
#include <math.h>
#include <string.h>

#define TOKENS_PER_PASS 2048
#define ROWS_PER_PASS 256

typedef struct evaluation {
    const lora_model *model;
    const lora_dataset *data;
    lr_binding *binding;
    lr_pass *pass;
    int64_t max_tokens;
    int32_t *ids;    // [max_tokens]
    int32_t *labels; // [max_tokens] shifted
    float *losses;   // [max_tokens]
    lr_span spans[ROWS_PER_PASS];
} evaluation;

static int64_t longest_row(const lora_dataset *data)
{
    int64_t longest = 0;
    for (size_t i = 0; i < data->row_count; i++)
        longest = data->rows[i].count > longest ? data->rows[i].count : longest;
    return longest;
}

static void close(evaluation *e)
{
    const lora_allocator *allocator = &e->model->context->allocator;
    lr_free(allocator, e->ids);
    lr_free(allocator, e->labels);
    lr_free(allocator, e->losses);
    lr_pass_free(e->pass);
    lr_binding_free(e->binding);
}

static lora_status open(evaluation *e, const lora_adapter_use *uses, size_t count)
{
    const lora_allocator *allocator = &e->model->context->allocator;
    int64_t longest = longest_row(e->data), limit = e->model->stack.context_length;
    if (longest > limit)
        return lr_fail(LORA_ERROR_DATA,
                       "the longest row has %lld tokens, the model's context %lld: load the data with a smaller "
                       "max_length",
                       (long long)longest, (long long)limit);
    if (e->data->largest_id >= e->model->stack.vocabulary)
        return lr_fail(LORA_ERROR_DATA,
                       "the data holds id %d, the model's vocabulary ends at %lld: it was tokenised for another model",
                       e->data->largest_id, (long long)e->model->stack.vocabulary - 1);
    e->max_tokens = longest > TOKENS_PER_PASS ? longest : TOKENS_PER_PASS;
    LR_TRY(lr_binding_create(e->model, uses, count, &e->binding));
    lr_pass_options options = {
        .max_tokens = e->max_tokens,
        .max_spans = ROWS_PER_PASS,
        .max_rank = e->binding->max_rank,
        .first_trained_layer = (int32_t)e->model->stack.layers,
    };
    LR_TRY(lr_pass_create(e->model, &options, &e->pass));
    e->ids = lr_alloc_array(allocator, (size_t)e->max_tokens, sizeof *e->ids);
    e->labels = lr_alloc_array(allocator, (size_t)e->max_tokens, sizeof *e->labels);
    e->losses = lr_alloc_array(allocator, (size_t)e->max_tokens, sizeof *e->losses);
    return e->ids && e->labels && e->losses ? LORA_OK : LORA_ERROR_MEMORY;
}

// Rows [first, *end) into one batch: as many as fit.
static lr_batch gather(evaluation *e, size_t first, size_t *end)
{
    const lora_dataset *data = e->data;
    int64_t tokens = 0, spans = 0;
    size_t i = first;
    for (; i < data->row_count && spans < ROWS_PER_PASS && tokens + data->rows[i].count <= e->max_tokens; i++) {
        const lr_row *row = &data->rows[i];
        memcpy(e->ids + tokens, data->ids + row->begin, (size_t)row->count * sizeof *e->ids);
        for (int32_t t = 0; t + 1 < row->count; t++) e->labels[tokens + t] = data->labels[row->begin + (uint64_t)t + 1];
        e->labels[tokens + row->count - 1] = LORA_LABEL_IGNORED;
        e->spans[spans++] = (lr_span){.begin = tokens, .count = row->count};
        tokens += row->count;
    }
    *end = i;
    return (lr_batch){.tokens = tokens, .ids = e->ids, .labels = e->labels, .span_count = spans, .spans = e->spans};
}

static lora_status add_rows(const evaluation *e, size_t first, size_t end, lora_row_loss_fn callback, void *user,
                            lora_loss *loss)
{
    for (size_t i = first; i < end; i++) {
        const lr_span *span = &e->spans[i - first];
        double nll = 0;
        for (int64_t t = span->begin; t < span->begin + span->count; t++) nll += (double)e->losses[t];
        if (!isfinite(nll))
            return lr_fail(LORA_ERROR_NOT_FINITE, "the loss of row %zu is not finite: the model's weights are damaged",
                           i + 1);
        loss->loss += nll;
        loss->rows++;
        loss->tokens += span->count;
        loss->label_tokens += e->data->rows[i].label_count;
        if (callback && callback((int64_t)i, nll, e->data->rows[i].label_count, user))
            return lr_fail(LORA_ERROR_CANCELLED, "the callback asked to stop");
    }
    return LORA_OK;
}

static lora_status run(evaluation *e, lora_row_loss_fn callback, void *user, lora_loss *loss)
{
    for (size_t first = 0, end; first < e->data->row_count; first = end) {
        lr_batch batch = gather(e, first, &end);
        LR_TRY(lr_pass_losses(e->pass, e->binding, &batch, e->losses));
        LR_TRY(add_rows(e, first, end, callback, user, loss));
    }
    if (loss->label_tokens == 0) return lr_fail(LORA_ERROR_DATA, "the data has no label token: nothing to measure");
    loss->loss /= (double)loss->label_tokens;
    loss->perplexity = exp(loss->loss);
    return LORA_OK;
}

lora_status lora_evaluate_loss(const lora_model *model, const lora_adapter_use *uses, size_t count,
                               const lora_dataset *data, lora_row_loss_fn callback, void *user, lora_loss *loss)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_HANDLE(data);
    LR_CHECK_ARGUMENT(uses || count == 0, "uses is NULL");
    evaluation e = {.model = model, .data = data};
    lora_loss found = {0};
    LR_TRY(lr_give_info(loss, &found, sizeof found, __func__));
    lora_status status = open(&e, uses, count);
    if (status == LORA_OK) status = run(&e, callback, user, &found);
    close(&e);
    return status == LORA_OK ? lr_give_info(loss, &found, sizeof found, __func__) : status;
}
