// From generated ids to text that can be shown: whole characters only, and nothing that may turn out to be a stop text.
#ifndef LR_ANSWER_TEXT_H
#define LR_ANSWER_TEXT_H

#include "lib/memory.h"

#include <lora/tokenizer.h>

typedef struct lr_answer_text {
    const lora_allocator *allocator;
    const lora_tokenizer *tokenizer; // NULL: no text comes out
    int32_t *ids;
    size_t id_count, id_capacity;
    size_t window;     // ids before it are decoded and done; it is kept a little behind, for context
    size_t shown_ids;  // ids whose text has been moved to `held`
    lr_bytes held;     // decoded, not yet released
    lr_bytes released; // what the last call gave out
    char **stops;
    size_t stop_count;
} lr_answer_text;

lora_status lr_answer_text_init(lr_answer_text *text, const lora_allocator *allocator, const lora_tokenizer *tokenizer);
void lr_answer_text_free(lr_answer_text *text);
// A new answer: forgets ids, takes copies of the stop texts (none empty).
lora_status lr_answer_text_begin(lr_answer_text *text, const char *const *stops, size_t stop_count);
// Takes a token of the answer.
lora_status lr_answer_text_add(lr_answer_text *text, int32_t id);
// Moves to `released` what can be shown; at the end of the answer (`last`) everything. *stopped: a stop text was met,
// and nothing from it on comes out.
lora_status lr_answer_text_release(lr_answer_text *text, bool last, bool *stopped);

#endif
