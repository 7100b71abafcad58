// What happens to text around the model, as lists of steps in plain data: normalizers rewrite a text, pre-tokenizers
// cut it into pieces, decoders turn spellings back into text. Loaders make the lists, encode.c and decode.c run them.
#ifndef LR_PIPELINE_H
#define LR_PIPELINE_H

#include "lib/split_pattern.h"
#include "lib/unicode.h"

#define LR_META "\xE2\x96\x81" // U+2581, how SentencePiece writes a space
#define LR_META_SIZE 3
#define LR_MAX_TEXT (1u << 30) // bytes of a text at any stage

typedef enum lr_step_kind {
    // Normalizers
    LR_NORMALIZE_FORM,
    LR_NORMALIZE_LOWER,
    LR_NORMALIZE_STRIP_ACCENTS,
    LR_NORMALIZE_STRIP,         // white space at the ends
    LR_NORMALIZE_PREPEND,       // `text`, unless there is nothing
    LR_NORMALIZE_REPLACE,       // what `pattern` finds by `text`
    LR_NORMALIZE_SENTENCEPIECE, // character map, spaces, dummy prefix, escape
    // Pre-tokenizers
    LR_CUT_PATTERN,    // at what `pattern` finds
    LR_CUT_CLASS,      // at characters that `in_class` says
    LR_CUT_BYTE_LEVEL, // every byte becomes a printable character; `pattern` (may be NULL) cuts first
    LR_CUT_METASPACE,  // spaces become `text`
    // Decoders
    LR_DECODE_BYTE_LEVEL,
    LR_DECODE_BYTE_FALLBACK,
    LR_DECODE_REPLACE, // in each token
    LR_DECODE_FUSE,
    LR_DECODE_STRIP, // at most `left` and `right` times `text` at the ends of each token
    LR_DECODE_METASPACE,
    LR_DECODE_WORDPIECE,
    LR_DECODE_SUFFIX, // `text` at the end of a token becomes a space
    LR_DECODE_SENTENCEPIECE
} lr_step_kind;

// What becomes of a delimiter that a pattern finds.
typedef enum lr_behaviour {
    LR_ISOLATED,
    LR_REMOVED,
    LR_MERGED_WITH_PREVIOUS,
    LR_MERGED_WITH_NEXT,
    LR_CONTIGUOUS
} lr_behaviour;

// When a text gets a space in front.
typedef enum lr_prefix { LR_PREFIX_NEVER, LR_PREFIX_FIRST, LR_PREFIX_ALWAYS } lr_prefix;

typedef struct lr_charsmap lr_charsmap; // sentencepiece_normalizer.c

typedef struct lr_step {
    lr_step_kind kind;
    lr_unicode_form form;
    lr_behaviour behaviour;
    lr_prefix prefix;    // BYTE_LEVEL, METASPACE, SENTENCEPIECE
    bool invert;         // the delimiters are what the pattern does not find
    bool split;          // METASPACE: cut before each `text`
    bool collapse;       // SENTENCEPIECE: runs of spaces become one, those at the ends go
    bool cleanup;        // WORDPIECE
    int32_t left, right; // STRIP
    bool (*in_class)(int32_t code);
    lr_pattern *pattern; // owned
    char *text;          // owned
    size_t text_length;
    lr_charsmap *charsmap; // owned; NULL: identity
} lr_step;

typedef struct lr_steps {
    lr_step *items;
    size_t count, capacity;
} lr_steps;

// Takes the step's own things over, also on failure.
lora_status lr_steps_add(lr_steps *steps, const lora_allocator *allocator, lr_step step);
// A step with a copy of `text`.
lora_status lr_steps_add_text(lr_steps *steps, const lora_allocator *allocator, lr_step step, const char *text,
                              size_t length);
void lr_step_clear(lr_step *step, const lora_allocator *allocator);
void lr_steps_free(lr_steps *steps, const lora_allocator *allocator);

// ---- running ----------------------------------------------------------------------------------------------------

typedef struct lr_piece {
    uint32_t begin, end; // into the text
    bool first;          // begins where the whole input begins
} lr_piece;

// A text in pieces.
typedef struct lr_pieces {
    lr_bytes text;
    lr_piece *items;
    size_t count, capacity;
} lr_pieces;

typedef struct lr_cut {
    uint32_t begin, end;
    bool delimiter;
} lr_cut;

// What a run of steps needs; one per call. The result of each run is `now`.
typedef struct lr_workshop {
    const lora_allocator *allocator;
    lr_pieces now, next;
    lr_cut *cuts;
    size_t cut_count, cut_capacity;
    lr_matcher *matcher;
} lr_workshop;

lora_status lr_workshop_init(lr_workshop *shop, const lora_allocator *allocator); // free it also on failure
void lr_workshop_free(lr_workshop *shop);
void lr_workshop_swap(lr_workshop *shop);  // `next` becomes `now`; `next` is empty
lora_status lr_pieces_add(lr_pieces *pieces, const lora_allocator *allocator, size_t begin, size_t end, bool first);
// One piece with this text.
lora_status lr_workshop_set(lr_workshop *shop, const char *text, size_t length, bool first);

// Rewrites the one piece in `now`. `first`: the text begins the input.
lora_status lr_normalize(const lr_steps *steps, lr_workshop *shop, bool first);
// Cuts the pieces in `now`.
lora_status lr_pre_tokenize(const lr_steps *steps, lr_workshop *shop);
// Turns the pieces in `now`, spellings of tokens, into the texts whose concatenation is the answer.
lora_status lr_decode(const lr_steps *steps, lr_workshop *shop);

// Replaces what `pattern` finds in `text` and appends the result.
lora_status lr_replace(const lr_step *step, lr_workshop *shop, const char *text, size_t length, lr_bytes *out);

// Appends the text with every space written as `mark`.
lora_status lr_mark_spaces(const char *text, size_t length, const char *mark, size_t mark_length, lr_bytes *out);

// The printable character that stands for each byte in byte-level vocabularies, and the way back (-1: none).
int32_t lr_byte_character(uint8_t byte);
int lr_character_byte(int32_t code);

// SentencePiece's normalizer.
lora_status lr_charsmap_create(const lora_allocator *allocator, const char *bytes, size_t length, lr_charsmap **out);
void lr_charsmap_free(lr_charsmap *map, const lora_allocator *allocator);
lora_status lr_sentencepiece_normalize(const lr_step *step, const char *text, size_t length, bool first, lr_bytes *out);

#endif
