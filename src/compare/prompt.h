// A row's prompt for people: without the marks of a chat template.
#ifndef LR_PROMPT_H
#define LR_PROMPT_H

#include "src/data/dataset.h"

// From the context's allocator; NULL: no memory.
char *lr_prompt_for_people(const lora_tokenizer *tokenizer, const lora_dataset *data, size_t row);

#endif
