// The normalizer, pre_tokenizer and decoder of a tokenizer.json as lists of steps. A kind that is not known is
// UNSUPPORTED.
#ifndef LR_JSON_STEPS_H
#define LR_JSON_STEPS_H

#include "lib/json.h"
#include "pipeline.h"

typedef struct lr_step_reader {
    const lora_allocator *allocator;
    const char *name; // of the file, for messages
    lr_steps *steps;  // they are added to
    int depth;
} lr_step_reader;

// `value` may be null: no steps.
lora_status lr_read_normalizer(lr_step_reader *reader, const json_t *value);
lora_status lr_read_pre_tokenizer(lr_step_reader *reader, const json_t *value);
lora_status lr_read_decoder(lr_step_reader *reader, const json_t *value);

#endif
