// A list of merges becomes a table: pair of ids to rank and id of the two joined.
#ifndef LR_MERGES_H
#define LR_MERGES_H

#include "bpe.h"

typedef struct lr_merges {
    lr_bpe *bpe;
    const lr_vocabulary *vocabulary; // finished
    const char *name;                // of the file, for messages
    lr_bytes joined;                 // scratch
    uint32_t rank;                   // of the next
} lr_merges;

// Room for `count` merges.
lora_status lr_merges_begin(lr_merges *merges, lr_bpe *bpe, const lr_vocabulary *vocabulary, const char *name,
                            const lora_allocator *allocator, size_t count);
// FORMAT when one of the three is no token.
lora_status lr_merges_add(lr_merges *merges, const char *left, size_t left_length, const char *right,
                          size_t right_length);
lora_status lr_merges_add_line(lr_merges *merges, const char *line, size_t length); // "left right"
void lr_merges_end(lr_merges *merges);

#endif
