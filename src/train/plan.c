// Memory of a run, computed before it starts by the arithmetic that allocates it.
#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <inttypes.h>

static void compute(const lr_plan_request *request, const lr_plan_split *split, int32_t recompute,
                    lora_memory_plan *plan)
{
    lr_pass_options pass = request->pass;
    pass.max_tokens = split->max_tokens;
    pass.max_spans = split->max_spans;
    pass.recompute = recompute;
    uint64_t bytes = request->numbers * sizeof(float);
    *plan = (lora_memory_plan){
        .adapter = bytes * (1 + request->copies),
        .gradients = bytes,
        .optimizer = 2 * bytes,
        .other = request->data_bytes + (uint64_t)split->max_tokens * 3 * sizeof(int32_t) +
                 (uint64_t)split->max_spans * sizeof(lr_span),
        .micro_batch = split->micro_rows,
        .recompute = recompute,
    };
    lr_plan_run(request->model, &pass, plan);
}

lora_status lr_plan_fit(const lr_plan_request *request, const lr_plan_split *splits, size_t count, int32_t recompute,
                        uint64_t budget, size_t *chosen, lora_memory_plan *plan)
{
    static const int32_t by_cost[] = {LORA_RECOMPUTE_NONE, LORA_RECOMPUTE_MLP, LORA_RECOMPUTE_ALL};
    uint64_t least = UINT64_MAX;
    int first = 0;
    while (by_cost[first] != recompute) first++;
    for (int choice = first; choice < 3; choice++) {
        for (size_t s = 0; s < count; s++) {
            compute(request, &splits[s], by_cost[choice], plan);
            if (plan->total < least) least = plan->total;
            if (budget != 0 && plan->total > budget) continue;
            *chosen = s;
            return LORA_OK;
        }
    }
    return lr_fail(LORA_ERROR_BUDGET,
                   "memory_budget is %.1f MiB; the least that this run can do with is %.1f MiB (one row at a "
                   "time, recomputation on): raise it, shorten the rows, or train fewer tensors",
                   (double)budget / 0x1p20, (double)least / 0x1p20);
}

lora_status lora_plan_training(const lora_model *model, const lora_adapter_options *adapter_options,
                               const lora_trainer_options *options, int64_t row_length, lora_memory_plan *plan)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(row_length >= 1 && row_length <= model->stack.context_length,
                      "row_length is %" PRId64 ": expected 1 to the model's context, %" PRId64, row_length,
                      model->stack.context_length);
    lora_adapter_options adapter;
    lora_adapter_options_init(&adapter);
    LR_TRY(lr_take_options(&adapter, sizeof adapter, adapter_options, __func__));
    lora_trainer_options taken;
    lora_trainer_options_init(&taken);
    LR_TRY(lr_take_options(&taken, sizeof taken, options, __func__));
    LR_TRY(lr_trainer_check_options(&taken));

    lr_plan_request request = {.model = model, .pass = {.training = true, .activations = taken.activations},
                                .copies = (taken.validation != NULL) + (taken.output && !adapter.full)};
    LR_TRY(lr_plan_outline(model, &adapter, &request));
    int32_t micro_rows[LR_FEED_SPLITS];
    lr_plan_split splits[LR_FEED_SPLITS];
    size_t count = lr_feed_splits(taken.batch_size, micro_rows), chosen;
    int64_t length = taken.packing && taken.pack_length > row_length ? taken.pack_length : row_length;
    for (size_t s = 0; s < count; s++)
        splits[s] = (lr_plan_split){micro_rows[s], micro_rows[s] * length, micro_rows[s]};
    lora_memory_plan filled;
    LR_TRY(lr_plan_fit(&request, splits, count, taken.recompute, taken.memory_budget, &chosen, &filled));
    return lr_give_info(plan, &filled, sizeof filled, __func__);
}
