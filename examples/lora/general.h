// General data of a run (--mix): what is mixed into the training rows, and what is held out to measure forgetting.
#ifndef GENERAL_H
#define GENERAL_H

#include "app.h"

#define GENERAL_PARTS 16

typedef struct general_data {
    size_t count;
    char *paths[GENERAL_PARTS];
    double fractions[GENERAL_PARTS];
    lora_dataset *learnt[GENERAL_PARTS], *held[GENERAL_PARTS];
    int64_t mixed_rows, held_rows;
    double before, after; // mean loss on what is held out; NaN: not measured
} general_data;

// Takes the words of --mix: FILE=10%, FILE=0.1, or FILE (10 %). Complains and returns EXIT_USAGE for anything else.
int general_read(const application *app, const text_list *words, general_data *general);
// Loads each file, holds out a tenth of it (at least one row, at most 200), and mixes the rest into `data`.
lora_status general_mix(const application *app, general_data *general, const lora_tokenizer *tokenizer,
                        const lora_dataset_options *options, lora_dataset *data);
lora_status general_measure(const general_data *general, const lora_model *model, const lora_adapter_use *uses,
                            size_t count, double *loss);
void general_free(general_data *general);

#endif
