#include "src/eval/grams.h"

#include "lib/unicode.h"

#include <string.h>

#define MOST_BYTES ((size_t)1 << 30)

void lr_grams_init(lr_grams *grams, const lora_allocator *allocator)
{
    *grams = (lr_grams){.allocator = allocator};
    lr_words_init(&grams->words, allocator);
}

void lr_grams_free(lr_grams *grams)
{
    lr_words_free(&grams->words);
    lr_pair_map_free(&grams->pairs, grams->allocator);
    lr_free(grams->allocator, grams->begins);
    lr_free(grams->allocator, grams->ids);
    lr_free(grams->allocator, grams->grams);
    lr_free(grams->allocator, grams->counts);
}

lora_status lr_grams_add(lr_grams *g, const char *text, const lr_text_steps *steps)
{
    lr_bytes valid, lower;
    lr_bytes_init(&valid, g->allocator, MOST_BYTES);
    lr_bytes_init(&lower, g->allocator, MOST_BYTES);
    lora_status status;
    LR_GOTO(done, status,
            lr_grow(g->allocator, (void **)&g->begins, &g->text_capacity, g->texts + 2, sizeof *g->begins));
    LR_GOTO(done, status, lr_utf8_repair(text, strlen(text), &valid));
    if (steps->lowercase) LR_GOTO(done, status, lr_python_lower(valid.data ? valid.data : "", valid.size, &lower));
    const lr_bytes *chosen = steps->lowercase ? &lower : &valid;
    size_t length = chosen->size;
    if (steps->strip && length) length = lr_without_trailing_space(chosen->data, length);
    g->begins[g->texts] = g->words.count;
    LR_GOTO(done, status, steps->segmenter(chosen->data ? chosen->data : "", length, &g->words));
    g->begins[++g->texts] = g->words.count;
done:
    lr_bytes_free(&valid);
    lr_bytes_free(&lower);
    return status;
}

static lora_status number_words(lr_grams *g)
{
    lr_text_map map = {0};
    lora_status status = lr_text_map_init(&map, g->allocator, g->words.count);
    for (size_t i = 0; i < g->words.count && status == LORA_OK; i++) {
        const char *word = g->words.bytes.data + g->words.items[i].begin;
        int32_t id = lr_text_map_get(&map, word, g->words.items[i].length);
        if (id < 0) lr_text_map_put(&map, word, g->words.items[i].length, id = g->gram_count++);
        g->ids[i] = g->grams[i] = id;
    }
    lr_text_map_free(&map, g->allocator);
    return status;
}

lora_status lr_grams_number(lr_grams *g)
{
    if (g->words.count > INT32_MAX) return lr_fail(LORA_ERROR_UNSUPPORTED, "a text is longer than 2 billion words");
    g->ids = lr_alloc_array(g->allocator, g->words.count, sizeof *g->ids);
    g->grams = lr_alloc_array(g->allocator, g->words.count, sizeof *g->grams);
    size_t cells;
    if (__builtin_mul_overflow(g->texts, g->words.count, &cells)) return lr_fail_memory(SIZE_MAX);
    g->counts = lr_alloc_array(g->allocator, cells, sizeof *g->counts);
    if (!g->ids || !g->grams || !g->counts) return LORA_ERROR_MEMORY;
    g->order = 1;
    return number_words(g);
}

// An (n+1)-gram is an n-gram and the word that follows it.
lora_status lr_grams_next(lr_grams *g)
{
    lr_pair_map_free(&g->pairs, g->allocator);
    LR_TRY(lr_pair_map_init(&g->pairs, g->allocator, g->words.count));
    g->order++;
    g->gram_count = 0;
    for (size_t t = 0; t < g->texts; t++) {
        size_t begin = g->begins[t], count = lr_grams_in(g, t);
        for (size_t i = begin; i < begin + count; i++) {
            int32_t before = g->grams[i], last = g->ids[i + (size_t)g->order - 1];
            const lr_pair_slot *slot = lr_pair_map_get(&g->pairs, before, last);
            int32_t id = slot ? slot->id : g->gram_count++;
            if (!slot) lr_pair_map_put(&g->pairs, before, last, 0, id);
            g->grams[i] = id;
        }
    }
    return LORA_OK;
}

int32_t *lr_grams_count(lr_grams *g, size_t text)
{
    int32_t *counts = g->counts + text * g->words.count;
    memset(counts, 0, (size_t)g->gram_count * sizeof *counts);
    for (size_t i = g->begins[text], end = i + lr_grams_in(g, text); i < end; i++) counts[g->grams[i]]++;
    return counts;
}
