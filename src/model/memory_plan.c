// What every run takes, of training and of inference.
#include "pass.h"

#include <lora/trainer.h>

// As measured: the program itself (code, libraries, the threads' stacks, small blocks), and a tokenizer for each token.
#define PROGRAM_BYTES ((uint64_t)9 << 20)
#define TOKENIZER_BYTES 135

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

void lr_plan_run(const lora_model *model, const lr_pass_options *pass, lora_memory_plan *plan)
{
    plan->struct_size = sizeof *plan;
    plan->weights = weight_bytes(model);
    plan->other += program_bytes(model);
    lr_pass_bytes(model, pass, &plan->activations, &plan->workspace);
    plan->total = plan->weights + plan->adapter + plan->gradients + plan->optimizer + plan->activations +
                  plan->workspace + plan->kv_cache + plan->other;
}
