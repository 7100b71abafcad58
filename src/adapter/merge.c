// Merging: another model with W + sum of scale_i B_i A_i in place of W, added in f32 and rounded once. Everything that
// no adapter touches is shared with the base; undoing is freeing the merged model.
#include "adapter.h"
#include "merge_probe.h"

#include "src/core/validate.h"
#include "src/model/source.h"

#include <math.h>

#define CHUNK ((int64_t)1 << 18) // numbers looked at at once

typedef struct lr_merger {
    const lora_model *base;
    lora_model *model;
    const lr_binding *binding; // what the adapters amount to on the base
    lora_type type;
    lora_merge_report report;
    double rounding_sum, rounding_count;
} lr_merger;

static lora_type merged_type(const lr_merger *merger, lora_type own)
{
    if (merger->type != LORA_TYPE_KEEP) return merger->type;
    return own == LORA_TYPE_F32 || own == LORA_TYPE_BF16 ? own : LORA_TYPE_F16;
}

// ---- what was lost --------------------------------------------------------------------------------------------------

typedef struct lr_chunk {
    float *exact, *stored, *before;
    int64_t count;
} lr_chunk;

static lora_status measure_chunk(lr_merger *merger, const lr_chunk *chunk, const char *name, lora_type type)
{
    for (int64_t i = 0; i < chunk->count; i++) {
        double rounding = fabs((double)chunk->stored[i] - chunk->exact[i]);
        double change = fabs((double)chunk->stored[i] - chunk->before[i]);
        if (!isfinite(chunk->exact[i]))
            return lr_fail(LORA_ERROR_NOT_FINITE,
                           "tensor '%s': the merged weight is not finite; an adapter holds a NaN or "
                           "infinity",
                           name);
        if (!isfinite(chunk->stored[i]))
            return lr_fail(LORA_ERROR_NOT_FINITE,
                           "tensor '%s': the merged weight %g is too large for %s; merge to bf16 or f32", name,
                           (double)chunk->exact[i], lora_type_name(type));
        merger->rounding_sum += rounding;
        if (rounding > merger->report.max_rounding) merger->report.max_rounding = rounding;
        if (change > merger->report.max_change) merger->report.max_change = change;
    }
    merger->rounding_count += (double)chunk->count;
    return LORA_OK;
}

static lora_status measure(lr_merger *merger, const lr_tensor *tensor, lora_view exact, lora_view before)
{
    lora_context *context = merger->base->context;
    int64_t step = CHUNK / exact.cols > 1 ? CHUNK / exact.cols : 1;
    if (step > exact.rows) step = exact.rows;
    size_t room = (size_t)(step * exact.cols);
    float *values = lr_alloc_array(&context->allocator, 3 * room, sizeof *values);
    if (!values) return LORA_ERROR_MEMORY;
    lr_chunk chunk = {.exact = values, .stored = values + room, .before = values + 2 * room};
    lora_status status = LORA_OK;
    for (int64_t row = 0; row < exact.rows && status == LORA_OK; row += step) {
        int64_t rows = exact.rows - row < step ? exact.rows - row : step;
        chunk.count = rows * exact.cols;
        status = lr_view_read(context, lr_view_rows(exact, row, rows), chunk.exact);
        if (status == LORA_OK) status = lr_view_read(context, lr_view_rows(tensor->view, row, rows), chunk.stored);
        if (status == LORA_OK) status = lr_view_read(context, lr_view_rows(before, row, rows), chunk.before);
        if (status == LORA_OK) status = measure_chunk(merger, &chunk, tensor->name, tensor->stored);
    }
    lr_free(&context->allocator, values);
    return status;
}

// ---- one tensor -----------------------------------------------------------------------------------------------------

// exact = value + the module's pairs, f32.
static lora_status add_up(const lr_merger *merger, lora_view value, const lora_pair *pairs, int32_t pair_count,
                          lora_view exact)
{
    const lora_context *context = merger->base->context;
    LR_TRY(context->backend->convert(context->device, exact, value));
    for (int32_t i = 0; i < pair_count; i++)
        LR_TRY(context->backend->merge(context->device, exact, pairs[i].a, pairs[i].b, pairs[i].scale, 0));
    return LORA_OK;
}

// Gives `tensor` memory of its own that holds `exact` as `stored` rounds it. Biases are kept in f32 whatever they are
// stored as.
static lora_status store(const lr_merger *merger, lr_tensor *tensor, lora_view exact, bool is_bias)
{
    const lora_context *context = merger->base->context;
    lora_model *model = merger->model;
    lora_type type = merged_type(merger, tensor->stored);
    tensor->stored = type;
    LR_TRY(lr_tensor_create(model, tensor, type, exact.rows, exact.cols));
    LR_TRY(context->backend->convert(context->device, tensor->view, exact));
    if (!is_bias || type == LORA_TYPE_F32) return LORA_OK;
    lr_tensor rounded = *tensor;
    tensor->owned = false;
    lora_status status = lr_tensor_create(model, tensor, LORA_TYPE_F32, exact.rows, exact.cols);
    if (status == LORA_OK) status = context->backend->convert(context->device, tensor->view, rounded.view);
    if (status == LORA_OK) status = context->backend->synchronize(context->device);
    context->backend->buffer_free(context->device, rounded.view.buffer);
    return status;
}

static lora_status merge_tensor(lr_merger *merger, int32_t target, int32_t source, const lora_pair *pairs,
                                int32_t pair_count, bool is_bias)
{
    lora_context *context = merger->base->context;
    lora_view value = merger->binding->values[source], exact;
    lr_tensor *tensor = &merger->model->tensors[target];
    LR_TRY(lr_model_check_finite(merger->base, (size_t)source));
    LR_TRY(lr_create_view(context, value.rows, value.cols, &exact));
    lora_status status = add_up(merger, value, pairs, pair_count, exact);
    if (status == LORA_OK) status = store(merger, tensor, exact, is_bias);
    if (status == LORA_OK) status = measure(merger, tensor, exact, merger->base->tensors[source].view);
    lr_free_view(context, &exact);
    merger->report.merged_tensors++;
    atomic_store(&tensor->finite, 1);
    return status;
}

// A tensor that no adapter touches: shared, unless another type was asked for.
static lora_status keep_tensor(lr_merger *merger, int32_t index, bool is_bias)
{
    const lora_context *context = merger->base->context;
    lora_view source = merger->base->tensors[index].view;
    lr_tensor *tensor = &merger->model->tensors[index];
    if (merger->type == LORA_TYPE_KEEP || tensor->stored == merger->type) return LORA_OK;
    tensor->stored = merger->type;
    if (is_bias) return LORA_OK; // f32 in memory whatever it is stored as
    atomic_store(&tensor->finite, 0);
    LR_TRY(lr_tensor_create(merger->model, tensor, merger->type, source.rows, source.cols));
    LR_TRY(context->backend->convert(context->device, tensor->view, source));
    return lr_model_check_finite(merger->model, (size_t)index);
}

static bool is_replaced(const lr_merger *merger, int32_t index)
{
    return merger->binding->values[index].buffer != merger->base->tensors[index].view.buffer;
}

// ---- the model ------------------------------------------------------------------------------------------------------

// A head that was the embedding gets a tensor of its own, because only one of them is to change.
static lora_status untie_head(lora_model *model, lr_module *head)
{
    const lora_allocator *allocator = &model->context->allocator;
    lr_tensor *tensors = lr_realloc_array(allocator, model->tensors, model->tensor_count + 1, sizeof *tensors);
    if (!tensors) return LORA_ERROR_MEMORY;
    model->tensors = tensors;
    lr_tensor *added = &tensors[model->tensor_count], *embedding = &tensors[head->weight];
    char *name = lr_format(allocator, "%s.weight", head->name);
    if (!name) return LORA_ERROR_MEMORY;
    *added = (lr_tensor){.name = name, .view = embedding->view, .dimensions = 2, .stored = embedding->stored,
                         .shard = embedding->shard};
    head->weight = (int32_t)model->tensor_count++;
    model->stack.tied = false;
    return LORA_OK;
}

static lora_status merge_module(lr_merger *merger, size_t index)
{
    const lr_binding *binding = merger->binding;
    lr_module *module = &merger->model->modules[index];
    const lora_pair *pairs = binding->pairs + binding->pair_begin[index];
    int32_t pair_count = binding->pair_begin[index + 1] - binding->pair_begin[index], source = module->weight;
    bool shares = module->slot == LR_SLOT_HEAD && merger->base->stack.tied;
    if (shares && pair_count) {
        LR_TRY(untie_head(merger->model, module));
        LR_TRY(merge_tensor(merger, module->weight, source, pairs, pair_count, false));
    } else if (!shares && (pair_count || is_replaced(merger, source))) {
        LR_TRY(merge_tensor(merger, source, source, pairs, pair_count, false));
    } else if (!shares) {
        LR_TRY(keep_tensor(merger, source, false));
    }
    if (module->bias < 0) return LORA_OK;
    if (is_replaced(merger, module->bias)) return merge_tensor(merger, module->bias, module->bias, NULL, 0, true);
    return keep_tensor(merger, module->bias, true);
}

static lora_status merge_all(lr_merger *merger)
{
    const lora_context *context = merger->base->context;
    for (size_t m = 0; m < merger->base->module_count; m++) LR_TRY(merge_module(merger, m));
    if (merger->rounding_count > 0) merger->report.mean_rounding = merger->rounding_sum / merger->rounding_count;
    LR_TRY(context->backend->synchronize(context->device));
    return lr_model_finish(merger->model);
}

static lora_status check_call(const lora_model *base, const lora_adapter_use *uses, size_t count, lora_type type,
                              lora_merge_report *report)
{
    LR_CHECK_ARGUMENT(base != NULL, "lora_model_merge: base is NULL");
    LR_CHECK_ARGUMENT(uses || !count, "lora_model_merge: uses is NULL but count is %zu", count);
    if (type != LORA_TYPE_KEEP && type != LORA_TYPE_F32 && type != LORA_TYPE_F16 && type != LORA_TYPE_BF16)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "lora_model_merge: a model is merged to f32, f16 or bf16, not to %s",
                       lora_type_name(type));
    const lora_merge_report empty = {.struct_size = sizeof empty};
    if (report) LR_TRY(lr_give_info(report, &empty, sizeof empty, "lora_model_merge"));
    return LORA_OK;
}

lora_status lora_model_merge(const lora_model *base, const lora_adapter_use *uses, size_t count, lora_type type,
                             lora_merge_report *report, lora_model **out)
{
    LR_TRY(check_call(base, uses, count, type, report));
    LR_CHECK_HANDLE(out);
    lr_binding *binding = NULL;
    lr_merger merger = {.base = base, .type = type, .report = {.struct_size = sizeof merger.report}};
    lora_status status;
    LR_GOTO(done, status, lr_binding_create(base, uses, count, &binding));
    merger.binding = binding;
    LR_GOTO(done, status, lr_model_derive(base, &merger.model));
    LR_GOTO(done, status, merge_all(&merger));
    if (report) {
        LR_GOTO(done, status, lr_merge_probe(binding, merger.model, &merger.report));
        LR_GOTO(done, status, lr_give_info(report, &merger.report, sizeof merger.report, __func__));
    }
    *out = merger.model;
    merger.model = NULL;
done:
    lr_model_release(merger.model);
    lr_binding_free(binding);
    return status;
}
