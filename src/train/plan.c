// Memory of a run, computed before it starts by the arithmetic that allocates it.
#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <inttypes.h>

// As measured: the program itself (code, libraries, the threads' stacks, small blocks), and a tokenizer for each token.
#define PROGRAM_BYTES ((uint64_t)9 << 20)
#define TOKENIZER_BYTES 135

// Tokens of a prompt that a session runs at once, unless its options say otherwise.
#define PREFILL_BATCH 256

static uint64_t weight_bytes(const lora_model *model)
{
    lora_model_info info = {.struct_size = sizeof info};
    return lora_model_get_info(model, &info) == LORA_OK ? (uint64_t)info.bytes : 0;
}

static uint64_t program_bytes(const lora_model *model)
{
    int32_t tokens = model->tokenizer ? lora_tokenizer_vocabulary_size(model->tokenizer) : 0;
    return PROGRAM_BYTES + (uint64_t)tokens * TOKENIZER_BYTES;
}

static void sum_up(lora_memory_plan *plan)
{
    plan->total = plan->weights + plan->adapter + plan->gradients + plan->optimizer + plan->activations +
                  plan->workspace + plan->kv_cache + plan->other;
}

static void compute(const lr_plan_request *request, const lr_plan_split *split, int32_t recompute,
                    lora_memory_plan *plan)
{
    lr_pass_options pass = request->pass;
    pass.max_tokens = split->max_tokens;
    pass.max_spans = split->max_spans;
    pass.recompute = recompute;
    uint64_t bytes = request->numbers * sizeof(float);
    *plan = (lora_memory_plan){
        .struct_size = sizeof *plan,
        .weights = weight_bytes(request->model),
        .adapter = bytes * (1 + request->copies),
        .gradients = bytes,
        .optimizer = 2 * bytes,
        .other = program_bytes(request->model) + request->data_bytes +
                 (uint64_t)split->max_tokens * 3 * sizeof(int32_t) + (uint64_t)split->max_spans * sizeof(lr_span),
        .micro_batch = split->micro_rows,
        .recompute = recompute,
    };
    lr_pass_bytes(request->model, &pass, &plan->activations, &plan->workspace);
    sum_up(plan);
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

lora_status lora_plan_inference(const lora_model *model, int64_t context_length, lora_memory_plan *plan)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(context_length >= 1 && context_length <= model->stack.context_length,
                      "context_length is %" PRId64 ": expected 1 to the model's, %" PRId64, context_length,
                      model->stack.context_length);
    lr_pass_options pass = {.max_tokens = context_length < PREFILL_BATCH ? context_length : PREFILL_BATCH,
                            .max_spans = 1};
    lora_memory_plan filled = {
        .struct_size = sizeof filled,
        .weights = weight_bytes(model),
        .kv_cache = lr_kv_cache_bytes(model, context_length),
        .other = program_bytes(model) + (uint64_t)model->stack.vocabulary * sizeof(float),
    };
    lr_pass_bytes(model, &pass, &filled.activations, &filled.workspace);
    sum_up(&filled);
    return lr_give_info(plan, &filled, sizeof filled, __func__);
}
