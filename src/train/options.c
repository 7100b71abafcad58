#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <math.h>

void (lora_trainer_options_init)(lora_trainer_options *options, size_t struct_size)
{
    const lora_trainer_options defaults = {
        .epochs = 3,
        .batch_size = 4,
        .gradient_accumulation = 1,
        .learning_rate = 2e-4,
        .schedule = LORA_SCHEDULE_LINEAR,
        .max_grad_norm = 1,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .shuffle = 1,
        .seed = 42,
        .keep = 2,
        .activations = LORA_TYPE_KEEP,
    };
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static lora_status check_optimizer(const lora_trainer_options *o)
{
    LR_CHECK_ARGUMENT(isfinite(o->learning_rate) && o->learning_rate >= 0,
                      "learning_rate is %g: expected a number of at least 0", o->learning_rate);
    LR_CHECK_ARGUMENT(o->schedule >= LORA_SCHEDULE_CONSTANT && o->schedule <= LORA_SCHEDULE_COSINE,
                      "schedule is %d: expected a LORA_SCHEDULE_ number, 0 to 2", o->schedule);
    LR_CHECK_ARGUMENT(o->warmup_steps >= 0 && o->warmup_steps <= 1e15,
                      "warmup_steps is %g: expected steps (1 or more) or a share of all steps (below 1)",
                      o->warmup_steps);
    LR_CHECK_ARGUMENT(isfinite(o->weight_decay) && o->weight_decay >= 0,
                      "weight_decay is %g: expected a number of at least 0", o->weight_decay);
    LR_CHECK_ARGUMENT(isfinite(o->max_grad_norm) && o->max_grad_norm >= 0,
                      "max_grad_norm is %g: expected a number of at least 0 (0: no clipping)", o->max_grad_norm);
    LR_CHECK_ARGUMENT(o->beta1 >= 0 && o->beta1 < 1, "beta1 is %g: expected 0 <= beta1 < 1", o->beta1);
    LR_CHECK_ARGUMENT(o->beta2 >= 0 && o->beta2 < 1, "beta2 is %g: expected 0 <= beta2 < 1", o->beta2);
    LR_CHECK_ARGUMENT(isfinite(o->epsilon) && o->epsilon > 0, "epsilon is %g: expected a number above 0", o->epsilon);
    return LORA_OK;
}

lora_status lr_trainer_check_options(const lora_trainer_options *o)
{
    LR_CHECK_ARGUMENT(o->max_steps >= 0, "max_steps is %lld: expected 0 (go by epochs) or more",
                      (long long)o->max_steps);
    LR_CHECK_ARGUMENT(o->max_steps > 0 || (o->epochs > 0 && o->epochs <= 1e6),
                      "epochs is %g: expected a number above 0, at most 1000000", o->epochs);
    LR_CHECK_ARGUMENT(o->batch_size >= 1, "batch_size is %d: expected at least 1", o->batch_size);
    LR_CHECK_ARGUMENT(o->gradient_accumulation >= 1, "gradient_accumulation is %d: expected at least 1",
                      o->gradient_accumulation);
    LR_TRY(check_optimizer(o));
    LR_CHECK_ARGUMENT(o->recompute >= LORA_RECOMPUTE_NONE && o->recompute <= LORA_RECOMPUTE_MLP,
                      "recompute is %d: expected a LORA_RECOMPUTE_ number, 0 to 2", o->recompute);
    LR_CHECK_ARGUMENT(o->pack_length >= 0, "pack_length is %d: expected 0 (the longest row) or more", o->pack_length);
    LR_CHECK_ARGUMENT(o->eval_steps >= 0, "eval_steps is %lld: expected 0 (each epoch) or more",
                      (long long)o->eval_steps);
    LR_CHECK_ARGUMENT(o->early_stopping >= 0, "early_stopping is %d: expected 0 (never) or more", o->early_stopping);
    LR_CHECK_ARGUMENT(o->early_stopping == 0 || o->validation,
                      "early_stopping is %d but there is no validation data to judge by", o->early_stopping);
    LR_CHECK_ARGUMENT(o->save_steps >= 0, "save_steps is %lld: expected 0 (each epoch) or more",
                      (long long)o->save_steps);
    LR_CHECK_ARGUMENT(o->keep >= 1, "keep is %d: expected at least 1 checkpoint", o->keep);
    LR_CHECK_ARGUMENT(o->activations == LORA_TYPE_KEEP || o->activations == LORA_TYPE_F32 ||
                          o->activations == LORA_TYPE_BF16,
                      "activations is %d: expected LORA_TYPE_KEEP, LORA_TYPE_F32 or LORA_TYPE_BF16", o->activations);
    LR_CHECK_ARGUMENT(!o->output || o->output[0], "output is an empty text: expected a directory, or NULL");
    return LORA_OK;
}
