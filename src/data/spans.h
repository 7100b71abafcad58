// Which parts of a conversation's rendered text are learnt: the assistant's answers with what ends them.
#ifndef LR_SPANS_H
#define LR_SPANS_H

#include "src/data/rows.h"

typedef struct lr_span_of_text {
    size_t begin, end; // bytes
    bool closed;       // ends with a special token, which the model learns to stop at
} lr_span_of_text;

typedef struct lr_spans {
    const lora_allocator *allocator;
    lr_bytes text;   // the whole conversation
    lr_bytes prompt; // what a session is fed to get the last answer
    lr_span_of_text *items;
    size_t count, capacity;
} lr_spans;

lora_status lr_spans_find(const lr_encoder *encoder, const lr_conversation *conversation, const lr_place *place,
                          lr_spans *out);
void lr_spans_free(lr_spans *spans);

#endif
