// Answers to the prompts of a data set, one row after the other in one session.
#ifndef LR_ANSWER_H
#define LR_ANSWER_H

#include "lib/memory.h"
#include "src/data/dataset.h"

#include <lora/session.h>

typedef struct lr_answerer {
    const lora_generate_options *options;
    const atomic_int *cancel; // or NULL
    lora_session *session;
} lr_answerer;

lora_status lr_answerer_open(lr_answerer *answerer, const lora_model *model, const lora_adapter_use *uses,
                             size_t count);
void lr_answerer_close(lr_answerer *answerer);

// Whether a row has a prompt: ids before the last run of learnt ones.
bool lr_answer_possible(const lora_dataset *data, size_t row);
// The ids before that run: what the answer goes on from.
int32_t lr_prompt_length(const lora_dataset *data, size_t row);
// Appends the answer to the row's prompt. OVERFLOW names the row.
lora_status lr_answer(lr_answerer *answerer, const lora_dataset *data, size_t row, lr_bytes *text);

// Answers every row that has a prompt, several at once. `answered` is told row by row, as they finish.
typedef lora_status (*lr_answered_fn)(size_t row, const lr_bytes *text, int32_t finish, void *user);
typedef struct lr_answering {
    const lora_model *model;
    const lora_adapter_use *uses;
    size_t count;
    const lora_generate_options *options;
    const atomic_int *cancel;
    lr_answered_fn answered;
    void *user;
} lr_answering;
lora_status lr_answer_all(const lr_answering *answering, const lora_dataset *data);

#endif
