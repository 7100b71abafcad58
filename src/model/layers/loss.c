// The output layer: final norm, head, and for training the cross-entropy of the rows that have a label. Rows are
// gathered and worked through in slices; prompt tokens cost nothing here, and the logits of a batch never exist as a
// whole.
#include "src/model/pass_state.h"

#include <math.h>
#include <string.h>

// One slice: rows [begin, begin + count) of pass->rows.
typedef struct row_slice {
    int64_t begin, count;
    lora_view input, statistics, normed, logits, pairs;
} row_slice;

static row_slice cut(const struct lr_pass *pass, int64_t begin, int64_t total)
{
    const lr_head *head = &pass->head;
    const int64_t count = total - begin < head->slice_rows ? total - begin : head->slice_rows;
    return (row_slice){
        .begin = begin,
        .count = count,
        .input = lr_first_rows(head->input, count),
        .statistics = lr_first_rows(head->statistics, count),
        .normed = lr_first_rows(head->normed, count),
        .logits = lr_first_rows(head->logits, count),
        .pairs = pass->training ? head->pairs : lr_absent,
    };
}

static lora_status gather(struct lr_pass *pass, const row_slice *slice, lora_view hidden)
{
    LR_TRY(lr_pass_poll(pass));
    LR_TRY(lr_ops(pass)->embed_forward(lr_device(pass), slice->input, hidden, pass->rows + slice->begin, 1.0f));
    return lr_layer_norm_forward(pass, lr_model_module(pass->model, -1, LR_SLOT_FINAL_NORM), 0, slice->normed,
                                 slice->statistics, slice->input, lr_absent);
}

// Losses, and into grad_normed the gradient when grad_scale != 0.
static lora_status cross_entropy(struct lr_pass *pass, const row_slice *slice, lora_view grad_normed, float grad_scale)
{
    const lora_backend *ops = lr_ops(pass);
    const lr_module *head = lr_model_module(pass->model, -1, LR_SLOT_HEAD);
    const lora_view losses = lr_view_rows(pass->head.losses, slice->begin, slice->count);
    const int32_t *labels = pass->labels + slice->begin;
    const float softcap = pass->model->stack.logit_softcap;
    if (!lr_view_present(slice->logits)) {
        const lora_linear linear = lr_layer_linear_describe(pass, head, slice->pairs, slice->count);
        return ops->head_loss(lr_device(pass), losses, grad_normed, slice->normed, &linear, labels, grad_scale,
                              softcap);
    }
    LR_TRY(lr_layer_linear_forward(pass, head, slice->logits, slice->normed, slice->pairs, false));
    LR_TRY(ops->cross_entropy(lr_device(pass), losses, slice->logits, labels, grad_scale, softcap));
    if (!lr_view_present(grad_normed)) return LORA_OK;
    return lr_layer_linear_backward(pass, head, grad_normed, slice->logits, slice->normed, slice->pairs, false);
}

static lora_status slice_backward(struct lr_pass *pass, const row_slice *slice, lora_view grad_normed,
                                  lora_view grad_hidden)
{
    const lora_view grad_input = lr_first_rows(pass->head.grad_input, slice->count);
    LR_TRY(lr_layer_norm_backward(pass, lr_model_module(pass->model, -1, LR_SLOT_FINAL_NORM), 0, grad_input,
                                  grad_normed, slice->input, slice->statistics, false));
    return lr_ops(pass)->embed_backward(lr_device(pass), grad_hidden, grad_input, pass->rows + slice->begin, 1.0f);
}

// Rows with a label, in order.
static int64_t collect_labels(struct lr_pass *pass)
{
    int64_t count = 0;
    for (int64_t i = 0; i < pass->batch->tokens; i++) {
        if (pass->batch->labels[i] < 0) continue;
        pass->rows[count] = (int32_t)i;
        pass->labels[count++] = pass->batch->labels[i];
    }
    return count;
}

lora_status lr_layer_loss(struct lr_pass *pass, lora_view hidden, lora_view grad_hidden, float grad_scale,
                          float *losses)
{
    const int64_t count = collect_labels(pass);
    const uint64_t seed = pass->dropout_seed;
    memset(losses, 0, (size_t)pass->batch->tokens * sizeof *losses);
    if (lr_view_present(grad_hidden)) LR_TRY(lr_ops(pass)->fill(lr_device(pass), grad_hidden, 0));
    for (int64_t begin = 0; begin < count; begin += pass->head.slice_rows) {
        const row_slice slice = cut(pass, begin, count);
        const lora_view grad =
            lr_view_present(grad_hidden) ? lr_first_rows(pass->head.grad_normed, slice.count) : lr_absent;
        pass->dropout_seed = seed + (uint64_t)begin; // masks are by row of the slice
        LR_TRY(gather(pass, &slice, hidden));
        LR_TRY(cross_entropy(pass, &slice, grad, lr_view_present(grad) ? grad_scale : 0.0f));
        if (lr_view_present(grad)) LR_TRY(slice_backward(pass, &slice, grad, grad_hidden));
    }
    pass->dropout_seed = seed;
    if (!count) return LORA_OK;
    LR_TRY(lr_ops(pass)->synchronize(lr_device(pass)));
    LR_TRY(lr_ops(pass)->buffer_read(lr_device(pass), pass->head.losses.buffer, pass->head.losses.offset, pass->losses,
                                     (uint64_t)count * sizeof(float)));
    for (int64_t i = 0; i < count; i++) losses[pass->rows[i]] = pass->losses[i];
    return LORA_OK;
}

// Which of the slice's rows belong to which part of the batch.
static void divide_slice(struct lr_pass *pass, const row_slice *slice, const lr_part *whole, int64_t whole_count)
{
    lr_part *parts = pass->parts + pass->options.max_spans;
    const int32_t *rows = pass->rows + slice->begin;
    int64_t count = 0, row = 0;
    for (int64_t i = 0; i < whole_count; i++) {
        const int64_t begin = row;
        while (row < slice->count && rows[row] < whole[i].begin + whole[i].count) row++;
        if (row > begin) parts[count++] = (lr_part){whole[i].binding, begin, row - begin};
    }
    pass->part = parts;
    pass->part_count = count;
}

static lora_status read_summary(struct lr_pass *pass, int64_t row, lr_logits_summary *summary)
{
    const lora_backend *ops = lr_ops(pass);
    const lora_view best = lr_view_rows(pass->head.best, row, 1), log_sum = lr_view_rows(pass->head.log_sum, row, 1);
    LR_TRY(ops->buffer_read(lr_device(pass), best.buffer, best.offset, &summary->best, sizeof summary->best));
    return ops->buffer_read(lr_device(pass), log_sum.buffer, log_sum.offset, &summary->log_sum,
                            sizeof summary->log_sum);
}

static lora_status read_logits(struct lr_pass *pass, const row_slice *slice)
{
    const lora_backend *ops = lr_ops(pass);
    const uint64_t bytes = (uint64_t)pass->model->stack.vocabulary * sizeof(float);
    LR_TRY(ops->synchronize(lr_device(pass)));
    for (int64_t i = 0; i < slice->count; i++) {
        const lr_logits_target *target = &pass->targets[slice->begin + i];
        LR_TRY(ops->buffer_read(lr_device(pass), slice->logits.buffer, slice->logits.offset + (uint64_t)i * bytes,
                                target->logits, bytes));
        if (target->summary) LR_TRY(read_summary(pass, i, target->summary));
    }
    return LORA_OK;
}

lora_status lr_layer_logits(struct lr_pass *pass, lora_view hidden, int64_t count)
{
    const lr_module *head = lr_model_module(pass->model, -1, LR_SLOT_HEAD);
    const lr_part *whole = pass->part;
    const int64_t whole_count = pass->part_count;
    for (int64_t begin = 0; begin < count; begin += pass->head.slice_rows) {
        const row_slice slice = cut(pass, begin, count);
        LR_TRY(gather(pass, &slice, hidden));
        divide_slice(pass, &slice, whole, whole_count);
        LR_TRY(lr_layer_linear_forward(pass, head, slice.logits, slice.normed, lr_absent, false));
        LR_TRY(lr_ops(pass)->summarise_logits(lr_device(pass), lr_first_rows(pass->head.best, slice.count),
                                              lr_first_rows(pass->head.log_sum, slice.count), slice.logits,
                                              pass->model->stack.logit_softcap));
        LR_TRY(read_logits(pass, &slice));
    }
    return LORA_OK;
}
