// Answers to the prompts of a data set.
#ifndef LR_ANSWER_H
#define LR_ANSWER_H

#include "lib/memory.h"
#include "src/data/dataset.h"

#include <lora/session.h>

// Whether a row has a prompt: ids before the last run of learnt ones.
bool lr_answer_possible(const lora_dataset *data, size_t row);
// The ids before that run: what the answer goes on from.
int32_t lr_prompt_length(const lora_dataset *data, size_t row);
// The place of a row among those that have a prompt.
size_t lr_answer_place(const lora_dataset *data, size_t row);

// Answers rows that have a prompt, several at once. `answered` is told row by row, as they finish.
typedef lora_status (*lr_answered_fn)(size_t row, const lr_bytes *text, int32_t finish, void *user);
typedef struct lr_answering {
    const lora_model *model;
    const lora_adapter_use *uses;
    size_t count;
    const lora_generate_options *options;
    const atomic_int *cancel; // or NULL
    size_t most;              // the first ones; 0: all
    lr_answered_fn answered;
    void *user;
} lr_answering;
lora_status lr_answer_all(const lr_answering *answering, const lora_dataset *data);

#endif
