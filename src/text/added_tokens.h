// Added tokens: texts that are recognised before the model sees the rest. Two sets: those looked for in the text as it
// was given, and those looked for after normalization.
#ifndef LR_ADDED_TOKENS_H
#define LR_ADDED_TOKENS_H

#include "pipeline.h"

typedef struct lr_added_token {
    char *text; // owned
    size_t length;
    int32_t id;
    bool normalized; // looked for after normalization, its own text normalized too
    bool verbatim;   // with `normalized`: its own text as it is
    bool strip_left; // takes the white space before it
    bool strip_right;
    bool single_word; // not inside a word
} lr_added_token;

typedef struct lr_trie_node {
    int32_t child, sibling; // 0: none
    int32_t token;          // -1: none ends here
    uint8_t byte;
} lr_trie_node;

typedef struct lr_trie {
    lr_trie_node *nodes;
    size_t count, capacity;
    bool begins[256]; // some token begins with this byte
} lr_trie;

typedef struct lr_added_tokens {
    lr_added_token *items;
    size_t count, capacity;
    lr_trie raw, normalized;
} lr_added_tokens;

lora_status lr_added_tokens_add(lr_added_tokens *tokens, const lora_allocator *allocator, lr_added_token token,
                                const char *text, size_t length); // a copy of the text; the last of one id wins
// After the last add: `normalizers` are applied to the texts that ask for it.
lora_status lr_added_tokens_finish(lr_added_tokens *tokens, const lora_allocator *allocator,
                                   const lr_steps *normalizers);
void lr_added_tokens_free(lr_added_tokens *tokens, const lora_allocator *allocator);

// A stretch of text: an added token, or what lies between.
typedef struct lr_stretch {
    size_t begin, end;
    int32_t id; // -1: text
} lr_stretch;

// The next stretch from `at` < length on. Of tokens that begin at one place the longest is taken.
lr_stretch lr_added_tokens_next(const lr_added_tokens *tokens, bool normalized, const char *text, size_t length,
                                size_t at, lr_stretch *pending);

#endif
