// n-grams of a few texts side by side, as small numbers: equal n-grams have equal numbers, so that counting is
// indexing.
#ifndef LR_GRAMS_H
#define LR_GRAMS_H

#include "src/eval/words.h"

#include "lib/hash_map.h"

typedef struct lr_grams {
    const lora_allocator *allocator;
    lr_words words;
    size_t *begins; // [texts + 1] into ids
    size_t texts, text_capacity;
    int32_t *ids;       // the words as numbers below `id_count`
    int32_t *grams;     // the n-gram that begins at each word; of use where lr_grams_in says so
    int32_t *counts;    // [texts, capacity for one order]: scratch of lr_grams_count
    int32_t order;      // of `grams`
    int32_t gram_count; // different ones
    lr_pair_map pairs;
} lr_grams;

void lr_grams_init(lr_grams *grams, const lora_allocator *allocator);
// Adds a text of any bytes: repaired, lower-cased when asked, stripped at its end when asked, cut by `segmenter`.
typedef struct lr_text_steps {
    lr_segmenter segmenter;
    bool lowercase, strip;
} lr_text_steps;
lora_status lr_grams_add(lr_grams *grams, const char *text, const lr_text_steps *steps);
// After the last text: numbers the words. grams is then of order 1.
lora_status lr_grams_number(lr_grams *grams);
// The next order.
lora_status lr_grams_next(lr_grams *grams);
void lr_grams_free(lr_grams *grams);

static inline size_t lr_grams_words(const lr_grams *g, size_t text) { return g->begins[text + 1] - g->begins[text]; }
// The number of n-grams of a text in the order that stands.
static inline size_t lr_grams_in(const lr_grams *g, size_t text)
{
    size_t words = lr_grams_words(g, text);
    return words >= (size_t)g->order ? words - (size_t)g->order + 1 : 0;
}
// How often each n-gram stands in a text, [gram_count]; valid for this text until the order moves.
int32_t *lr_grams_count(lr_grams *grams, size_t text);

#endif
