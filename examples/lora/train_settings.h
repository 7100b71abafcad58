// What `lora train` and `lora plan` have in common: the options of a run and their translation into the library's
// structs.
#ifndef TRAIN_SETTINGS_H
#define TRAIN_SETTINGS_H

#include "options.h"

typedef struct train_settings {
    text_list data, validation, mix, target_modules, exclude_modules, modules_to_save, rank_pattern, alpha_pattern;
    const char *output, *bias, *init_weights, *init_adapter, *method, *schedule, *template_source, *log, *report,
        *target_regex, *recompute, *activations, *dtype, *quantize, *save_dtype;
    int64_t rank, max_steps, batch_size, accumulation, max_length, pack_length, eval_steps, early_stopping, save_steps,
        keep, max_rows;
    double alpha, dropout, epochs, learning_rate, warmup, weight_decay, max_grad_norm, beta1, beta2, epsilon;
    uint64_t memory_budget;
    bool use_rslora, full, initialize, shuffle, packing, train_on_prompt, checkpointing, resume, cache_quantized;
} train_settings;

extern const option train_options[];

void train_settings_init(train_settings *settings);
// Both complain and return EXIT_USAGE when a value makes no sense. Texts are lent by the settings.
typedef struct train_plan {
    lora_model_options model;
    lora_adapter_options adapter;
    lora_trainer_options trainer;
    lora_dataset_options dataset;
    lora_pattern ranks[64], alphas[64];
} train_plan;
int make_train_plan(const application *app, train_settings *settings, train_plan *plan);

// As given, or the default of the kind of training; in the settings: NAN when it was not given.
double learning_rate_of(const train_settings *settings);

// The rows of --data, and those of --validation: a file's, or a share that leaves the data.
lora_status load_training_rows(const application *app, const train_settings *settings, const train_plan *plan,
                               const lora_tokenizer *tokenizer, lora_dataset **data, lora_dataset **validation);

// What is computed again in the backward, as an addition to a line; "" when nothing is.
const char *recomputation(const application *app, const lora_memory_plan *plan);
// The memory plan as lines of a table on standard error.
void note_memory_plan(const application *app, const lora_memory_plan *plan);

#endif
