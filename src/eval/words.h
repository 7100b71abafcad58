// Texts cut into words: lists of slices of one run of bytes.
#ifndef LR_WORDS_H
#define LR_WORDS_H

#include "lib/memory.h"

#include <stdint.h>

typedef struct lr_word {
    size_t begin; // into bytes
    size_t length;
} lr_word;

typedef struct lr_words {
    const lora_allocator *allocator;
    lr_bytes bytes;
    lr_word *items;
    size_t count, capacity;
} lr_words;

void lr_words_init(lr_words *words, const lora_allocator *allocator);
void lr_words_free(lr_words *words);

// A character of a script that is written without spaces between words, or Hangul.
bool lr_is_cjk(int32_t code);

// Appends the words of a text in valid UTF-8 to the list.
typedef lora_status (*lr_segmenter)(const char *text, size_t length, lr_words *words);
lora_status lr_words_by_space(const char *text, size_t length, lr_words *words);
lora_status lr_words_every_character(const char *text, size_t length, lr_words *words); // white space too
lora_status lr_words_visible_characters(const char *text, size_t length, lr_words *words);
lora_status lr_words_punctuated(const char *text, size_t length,
                                lr_words *words); // chrF++'s: words with an ASCII mark at one end cut off
// One of LORA_WORDS_; NULL for another number.
lr_segmenter lr_segmenter_of(int32_t words, bool stem);

// sacrebleu's tokenizers; what they put spaces around is cut at white space. NULL: no such name.
lr_segmenter lr_bleu_tokenizer(const char *name);

// Python's str.lower.
lora_status lr_python_lower(const char *text, size_t length, lr_bytes *out);

// Porter's stemmer with NLTK's extensions, in place; the new length. Letters are lower case; at most one is added, so
// `word` has room for length + 1.
size_t lr_porter_stem(char *word, size_t length);

#endif
