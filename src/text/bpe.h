// Byte-pair encoding of one word: symbols are joined two by two, best rank first, the leftmost of equals first. Ranks
// come from a list of merges (Hugging Face, GPT-2) or from the scores of the joined pieces (SentencePiece).
#ifndef LR_BPE_H
#define LR_BPE_H

#include "vocabulary.h"

#define LR_FAST_CHARACTERS 0x800 // characters of one or two bytes have a table

typedef struct lr_bpe {
    lr_pair_map pairs;    // by merges
    uint32_t *piece_rank; // by scores: [vocabulary] 0 is best, UINT32_MAX is never joined to; NULL: by merges
    uint32_t longest;     // by scores: bytes of the longest piece
    int32_t unknown;      // -1: characters without a token are left out
    bool fuse_unknown;    // a run of unknown characters is one token
    bool ignore_merges;   // a word that is a token is that token
    bool byte_fallback;   // unknown characters are written as byte tokens
    bool cut_at_meta;     // no piece has U+2581 after another character, so words may be cut before it
    char *prefix;         // of a symbol that does not begin a word; NULL: none
    char *suffix;         // of one that ends it
    int32_t byte_ids[256];
    int32_t *characters; // [LR_FAST_CHARACTERS] ids, -1: none
} lr_bpe;

void lr_bpe_init(lr_bpe *bpe);
void lr_bpe_free(lr_bpe *bpe, const lora_allocator *allocator);
// After the vocabulary is finished and everything above is set: fills the tables.
lora_status lr_bpe_finish(lr_bpe *bpe, const lr_vocabulary *vocabulary, const lora_allocator *allocator);
// Ranks from scores: larger is better, equal scores have equal ranks. Only LR_TOKEN_MODEL pieces are joined to.
lora_status lr_bpe_rank_scores(lr_bpe *bpe, const lr_vocabulary *vocabulary, const float *scores,
                               const lora_allocator *allocator);

typedef struct lr_ids {
    int32_t *data;
    size_t count, capacity;
} lr_ids;

typedef struct lr_symbol {
    uint32_t begin, end; // in the word; empty: joined away
    int32_t id;          // -1: not in the vocabulary
    int32_t previous, next;
} lr_symbol;

typedef struct lr_join {
    uint64_t order; // rank << 32 | index of the left symbol
    int32_t id;
} lr_join;

typedef struct lr_remembered {
    uint32_t hash;
    uint8_t length, count;
    uint32_t ids; // where they are in the output
    char text[24];
} lr_remembered;

// Memory of one call.
typedef struct lr_bpe_scratch {
    const lora_allocator *allocator;
    lr_symbol *symbols;
    size_t symbol_count, symbol_capacity;
    lr_join *heap;
    size_t heap_count, heap_capacity;
    lr_remembered *words; // NULL: the text is too short for it to pay
    lr_ids ids;           // the output
} lr_bpe_scratch;

lora_status lr_bpe_scratch_init(lr_bpe_scratch *scratch, const lora_allocator *allocator, size_t text_length);
void lr_bpe_scratch_free(lr_bpe_scratch *scratch);
lora_status lr_ids_add(lr_bpe_scratch *scratch, int32_t id);

// Appends the ids of a word (valid UTF-8).
lora_status lr_bpe_encode(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch, const char *text,
                          size_t length);

#endif
