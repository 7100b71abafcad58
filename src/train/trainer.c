#include "src/train/trainer.h"

#include "src/core/validate.h"

#include <inttypes.h>

// ---- checks at create ----------------------------------------------------------------------------------------------

// Every id and label inside the vocabulary, every row inside the context, something to learn.
static lora_status check_rows(const lora_dataset *data, const lora_model *model, const char *what)
{
    int64_t labels = 0;
    if (data->row_count == 0) return lr_fail(LORA_ERROR_DATA, "the %s data has no rows", what);
    for (size_t r = 0; r < data->row_count; r++) {
        const lr_row *row = &data->rows[r];
        if (row->count > model->stack.context_length)
            return lr_fail(LORA_ERROR_DATA,
                           "row %zu of the %s data has %d ids: the model's context is %" PRId64 "; load the "
                           "data with a smaller max_length",
                           r + 1, what, row->count, model->stack.context_length);
        for (int32_t i = 0; i < row->count; i++) {
            int32_t id = data->ids[row->begin + (uint64_t)i], label = data->labels[row->begin + (uint64_t)i];
            int32_t wrong = id < 0 || id >= model->stack.vocabulary ? id : label;
            if (wrong >= model->stack.vocabulary || (wrong < 0 && wrong != LORA_LABEL_IGNORED) || id < 0)
                return lr_fail(LORA_ERROR_DATA,
                               "row %zu of the %s data has id %d: the model's vocabulary is 0 to %" PRId64
                               "; was it tokenised for another model?",
                               r + 1, what, wrong, model->stack.vocabulary - 1);
        }
        labels += row->label_count;
    }
    if (labels == 0)
        return lr_fail(LORA_ERROR_DATA,
                       "the %s data has no label token: nothing could be learnt from it (are all labels -100, "
                       "or all answers cut off?)",
                       what);
    return LORA_OK;
}

// Once per model: a NaN in a weight would show only as a NaN loss.
static lora_status check_weights(const lora_model *model)
{
    for (size_t i = 0; i < model->tensor_count; i++) LR_TRY(lr_model_check_finite(model, i));
    return LORA_OK;
}

static lora_status check_create(const lora_adapter *adapter, const lora_dataset *data,
                                const lora_trainer_options *options)
{
    LR_TRY(lr_trainer_check_options(options));
    LR_TRY(check_rows(data, adapter->model, "training"));
    if (options->validation) LR_TRY(check_rows(options->validation, adapter->model, "validation"));
    return check_weights(adapter->model);
}

// ---- parts ---------------------------------------------------------------------------------------------------------

static lora_status open_output(lora_trainer *trainer)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    if (!trainer->options.output) return LORA_OK;
    trainer->output = lr_duplicate(allocator, trainer->options.output);
    if (!trainer->output) return LORA_ERROR_MEMORY;
    trainer->options.output = trainer->output;
    LR_TRY(lr_make_directories(trainer->output));
    LR_TRY(lr_lock_acquire(allocator, trainer->output, &trainer->lock));
    lr_checkpoint_sweep(trainer);
    return LORA_OK;
}

static lora_status make_sets(lora_trainer *trainer)
{
    const lora_adapter *adapter = trainer->adapter;
    LR_TRY(lr_tensor_set_create(adapter, &trainer->gradients));
    LR_TRY(lr_tensor_set_create(adapter, &trainer->first_moment));
    LR_TRY(lr_tensor_set_create(adapter, &trainer->second_moment));
    if (trainer->validation) LR_TRY(lr_tensor_set_create(adapter, &trainer->best));
    if (trainer->output && !lr_adapter_is_full(adapter)) LR_TRY(lr_tensor_set_create(adapter, &trainer->good));
    trainer->parameters =
        lr_alloc_zeroed(&trainer->context->allocator, adapter->tensor_count, sizeof *trainer->parameters);
    if (!trainer->parameters) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < adapter->tensor_count; i++)
        trainer->parameters[i] = (lora_parameter){
            .value = adapter->tensors[i].value,
            .gradient = trainer->gradients.views[i],
            .first_moment = trainer->first_moment.views[i],
            .second_moment = trainer->second_moment.views[i],
        };
    return LORA_OK;
}

static uint64_t data_bytes(const lora_dataset *data)
{
    return data ? data->row_capacity * sizeof(lr_row) + (data->id_capacity + data->label_capacity) * sizeof(int32_t)
                : 0;
}

// The longest row of the validation data: it must fit into a batch.
static int64_t longest_row(const lora_dataset *data)
{
    int64_t longest = 0;
    for (size_t i = 0; data && i < data->row_count; i++)
        if (data->rows[i].count > longest) longest = data->rows[i].count;
    return longest;
}

static lora_status make_plan(lora_trainer *trainer)
{
    lr_feed_measure measure;
    LR_TRY(lr_feed_measure_run(&trainer->feed, &trainer->options, &measure));
    const lr_binding *binding = trainer->binding;
    lr_plan_request request = {
        .model = trainer->adapter->model,
        .numbers = lr_tensor_set_numbers(trainer->adapter),
        .pass = {.max_rank = binding->max_rank,
                 .training = true,
                 .activations = trainer->options.activations,
                 .trains_tensors = binding->trains_tensors,
                 .trains_pairs = binding->trains_pairs,
                 .plain_head = binding->plain_head,
                 .first_trained_layer = binding->first_trained_layer},
        .data_bytes = data_bytes(trainer->data) + data_bytes(trainer->validation),
        .copies = (trainer->best.buffer != NULL) + (trainer->good.buffer != NULL),
    };
    lr_plan_split splits[LR_FEED_SPLITS];
    int64_t least = longest_row(trainer->validation);
    for (size_t s = 0; s < measure.splits; s++) {
        int64_t tokens = measure.max_tokens[s] > least ? measure.max_tokens[s] : least;
        splits[s] = (lr_plan_split){measure.micro_rows[s], tokens, measure.max_spans[s]};
    }
    size_t chosen = 0;
    LR_TRY(lr_plan_fit(&request, splits, measure.splits, trainer->options.recompute,
                       trainer->options.memory_budget, &chosen, &trainer->plan));
    trainer->total_steps = measure.total_steps;
    trainer->warmup_steps = lr_warmup_steps(trainer->options.warmup_steps, measure.total_steps);

    request.pass.max_tokens = splits[chosen].max_tokens;
    request.pass.max_spans = splits[chosen].max_spans;
    request.pass.recompute = trainer->plan.recompute;
    LR_TRY(lr_feed_reserve(&trainer->feed, splits[chosen].micro_rows, splits[chosen].max_tokens,
                           splits[chosen].max_spans));
    return lr_pass_create(request.model, &request.pass, &trainer->pass);
}

static lora_status build(lora_trainer *trainer)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    LR_TRY(open_output(trainer));
    lr_feed_init(&trainer->feed, trainer->data, &trainer->options);
    LR_TRY(lr_history_create(allocator, &trainer->history));
    LR_TRY(make_sets(trainer));
    LR_TRY(lr_binding_create_training(trainer->adapter, trainer->gradients.views, &trainer->binding));
    LR_TRY(make_plan(trainer));
    lr_pass_set_cancel(trainer->pass, &trainer->cancel);
    trainer->losses = lr_alloc_array(allocator, (size_t)trainer->feed.max_tokens, sizeof *trainer->losses);
    return trainer->losses ? LORA_OK : LORA_ERROR_MEMORY;
}

// ---- the handle ----------------------------------------------------------------------------------------------------

// An adapter has one trainer at a time.
static lora_status hold_adapter(lora_adapter *adapter)
{
    int expected = 0;
    if (atomic_compare_exchange_strong(&adapter->trainers, &expected, 1)) return LORA_OK;
    return lr_fail(LORA_ERROR_BUSY, "the adapter has a trainer already: free that one first");
}

lora_status lora_trainer_create(lora_adapter *adapter, const lora_dataset *data, const lora_trainer_options *options,
                                lora_trainer **out)
{
    LR_CHECK_HANDLE(adapter);
    LR_CHECK_HANDLE(data);
    LR_CHECK_ARGUMENT(out, "%s: out is NULL", __func__);
    lora_trainer_options taken;
    lora_trainer_options_init(&taken);
    LR_TRY(lr_take_options(&taken, sizeof taken, options, __func__));
    LR_TRY(check_create(adapter, data, &taken));

    lora_context *context = adapter->model->context;
    lora_trainer *trainer = lr_alloc_zeroed(&context->allocator, 1, sizeof *trainer);
    if (!trainer) return LORA_ERROR_MEMORY;
    lora_status status = hold_adapter(adapter);
    if (status != LORA_OK) {
        lr_free(&context->allocator, trainer);
        return status;
    }
    trainer->context = context;
    trainer->options = taken;
    trainer->adapter = lr_adapter_retain(adapter);
    trainer->data =
        lr_dataset_retain((lora_dataset *)(uintptr_t)data); // const to the host: only its reference count moves
    if (taken.validation) trainer->validation = lr_dataset_retain((lora_dataset *)(uintptr_t)taken.validation);
    trainer->data_fingerprint = data->fingerprint;
    trainer->validation_fingerprint = taken.validation ? taken.validation->fingerprint : 0;
    trainer->saved_step = -1;
    status = build(trainer);
    if (status != LORA_OK) {
        lora_trainer_free(trainer);
        return status;
    }
    *out = trainer;
    return LORA_OK;
}

void lora_trainer_free(lora_trainer *trainer)
{
    if (!trainer) return;
    lora_adapter *adapter = trainer->adapter;
    lora_context *context = lr_context_retain(trainer->context); // the adapter's model may be its last holder
    lr_pass_free(trainer->pass);
    lr_binding_free(trainer->binding);
    lr_tensor_set_free(adapter, &trainer->gradients);
    lr_tensor_set_free(adapter, &trainer->first_moment);
    lr_tensor_set_free(adapter, &trainer->second_moment);
    lr_tensor_set_free(adapter, &trainer->best);
    lr_tensor_set_free(adapter, &trainer->good);
    lr_feed_free(&trainer->feed);
    lr_free(&context->allocator, trainer->parameters);
    lr_free(&context->allocator, trainer->history.entries);
    lr_free(&context->allocator, trainer->losses);
    lr_lock_release(trainer->lock);
    lr_free(&context->allocator, trainer->output);
    atomic_store(&adapter->trainers, 0);
    lr_dataset_release(trainer->data);
    lr_dataset_release(trainer->validation);
    lr_adapter_release(adapter);
    lr_free(&context->allocator, trainer);
    lr_context_release(context);
}

void lora_trainer_cancel(lora_trainer *trainer)
{
    if (trainer) atomic_store(&trainer->cancel, 1);
}

lora_status lora_trainer_plan(const lora_trainer *trainer, lora_memory_plan *plan)
{
    LR_CHECK_HANDLE(trainer);
    return lr_give_info(plan, &trainer->plan, sizeof trainer->plan, __func__);
}
