// The spellings of all ids, and the way back. Ids may have holes. Filled once, then immutable.
#ifndef LR_VOCABULARY_H
#define LR_VOCABULARY_H

#include "lib/hash_map.h"

#define LR_MAX_VOCABULARY (1 << 24)

// What an id is.
enum {
    LR_TOKEN_MODEL = 1,        // of the model: text may become it by merging
    LR_TOKEN_SPECIAL = 2,      // left out by decode's skip_special
    LR_TOKEN_ADDED = 4,        // found in the text as it is written, before the model sees it
    LR_TOKEN_BYTE_FALLBACK = 8 // "<0x41>": stands for one byte
};

typedef struct lr_token {
    uint32_t offset; // into `bytes`; UINT32_MAX: no such id
    uint32_t length;
    uint8_t flags;
    uint8_t byte; // of a byte-fallback token
} lr_token;

typedef struct lr_vocabulary {
    lr_bytes bytes; // spellings, each zero-terminated
    lr_token *tokens;
    int32_t size; // largest id + 1
    size_t capacity;
    lr_text_map ids;
    const char *file; // while it is loaded, for messages: lent; may be NULL
} lr_vocabulary;

void lr_vocabulary_init(lr_vocabulary *vocabulary, const lora_allocator *allocator);
void lr_vocabulary_free(lr_vocabulary *vocabulary);
// Room for that many ids and bytes, so that filling does not grow step by step.
lora_status lr_vocabulary_reserve(lr_vocabulary *vocabulary, size_t tokens, size_t bytes);
// Gives `id` a spelling, or replaces it. FORMAT when the id is out of range.
lora_status lr_vocabulary_put(lr_vocabulary *vocabulary, int64_t id, const char *text, size_t length, uint8_t flags);
// After the last put: makes the way back. Of two ids with one spelling the model's is found,
// then the larger.
lora_status lr_vocabulary_finish(lr_vocabulary *vocabulary);

static inline bool lr_vocabulary_has(const lr_vocabulary *vocabulary, int64_t id)
{
    return id >= 0 && id < vocabulary->size && vocabulary->tokens[id].offset != UINT32_MAX;
}
static inline const char *lr_vocabulary_text(const lr_vocabulary *vocabulary, int32_t id)
{
    return vocabulary->bytes.data + vocabulary->tokens[id].offset;
}
static inline int32_t lr_vocabulary_find(const lr_vocabulary *vocabulary, const char *text, size_t length) // -1: none
{
    return lr_text_map_get(&vocabulary->ids, text, length);
}
// The same, among the model's tokens only.
static inline int32_t lr_vocabulary_find_piece(const lr_vocabulary *vocabulary, const char *text, size_t length)
{
    int32_t id = lr_text_map_get(&vocabulary->ids, text, length);
    return id >= 0 && vocabulary->tokens[id].flags & LR_TOKEN_MODEL ? id : -1;
}

// The value of a spelling "<0x41>", or -1.
int lr_byte_spelling(const char *text, size_t length);

#endif
