// Texts as sets of three successive units, and how alike two such sets are.
#include "src/data/check/check.h"

#include "lib/unicode.h"

#include <stdlib.h>
#include <string.h>

#define WIDTH 3

bool lr_is_unspaced(int32_t code)
{
    if (code >= 0x3000 && code <= 0x303F) return false; // punctuation
    return (code >= 0x2E80 && code <= 0x9FFF) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x20000 && code <= 0x3FFFF) || (code >= 0x0E00 && code <= 0x0EFF) ||
           (code >= 0x1000 && code <= 0x109F) || (code >= 0x1780 && code <= 0x17FF);
}

static bool is_word(int32_t code)
{
    if (code < 0x80)
        return (code >= '0' && code <= '9') || ((code | 32) >= 'a' && (code | 32) <= 'z') || code == '_';
    return lr_is_word(code);
}

// Walks over the units of a text: each is a word, or a character of a script without spaces.
typedef struct unit_walk {
    const char *text;
    size_t length, at;
} unit_walk;

static bool next_unit(unit_walk *walk, uint64_t *hash)
{
    uint64_t value = 0xCBF29CE484222325u;
    bool inside = false;
    while (walk->at < walk->length) {
        int32_t code;
        size_t size = lr_utf8_next(walk->text + walk->at, walk->length - walk->at, &code);
        bool single = lr_is_unspaced(code) && lr_is_word(code);
        if (inside && (single || !is_word(code))) break;
        walk->at += size;
        if (!single && !is_word(code)) continue;
        if (code >= 'A' && code <= 'Z') code += 'a' - 'A';
        value = (value ^ (uint64_t)code) * 0x100000001B3u;
        inside = true;
        if (single) break;
    }
    *hash = value ^ value >> 32;
    return inside;
}

size_t lr_count_units(const char *text)
{
    unit_walk walk = {.text = text, .length = strlen(text)};
    uint64_t hash;
    size_t count = 0;
    while (next_unit(&walk, &hash)) count++;
    return count;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t mix(uint64_t hash, uint64_t unit)
{
    hash = (hash ^ unit) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 31;
}

static uint64_t hash_window(const uint64_t *units, size_t count)
{
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++) hash = mix(hash, units[i]);
    return hash;
}

static lora_status add(const lora_allocator *allocator, lr_shingles *out, uint64_t value)
{
    LR_TRY(lr_grow(allocator, (void **)&out->items, &out->capacity, out->count + 1, sizeof value));
    out->items[out->count++] = value;
    return LORA_OK;
}

// The shingles of all the texts, one behind the other. Fewer units than a shingle has: all of them are one.
lora_status lr_shingles_make(const lora_allocator *allocator, const char *const *texts, size_t text_count,
                             lr_shingles *out)
{
    uint64_t window[WIDTH];
    size_t units = 0, kept = 0;
    out->count = 0;
    for (size_t i = 0; i < text_count; i++) {
        unit_walk walk = {.text = texts[i], .length = strlen(texts[i])};
        uint64_t unit;
        for (; next_unit(&walk, &unit); units++) {
            if (units >= WIDTH) memmove(window, window + 1, (WIDTH - 1) * sizeof *window);
            window[units < WIDTH ? units : WIDTH - 1] = unit;
            if (units + 1 >= WIDTH) LR_TRY(add(allocator, out, hash_window(window, WIDTH)));
        }
    }
    if (units > 0 && units < WIDTH) LR_TRY(add(allocator, out, hash_window(window, units)));
    if (out->count == 0) return LORA_OK;
    qsort(out->items, out->count, sizeof *out->items, by_value);
    for (size_t i = 0; i < out->count; i++)
        if (i == 0 || out->items[i] != out->items[kept - 1]) out->items[kept++] = out->items[i];
    out->count = kept;
    return LORA_OK;
}

double lr_jaccard(const lr_shingles *a, const lr_shingles *b)
{
    size_t i = 0, j = 0, common = 0;
    if (a->count == 0 || b->count == 0) return a->count == b->count;
    while (i < a->count && j < b->count) {
        common += a->items[i] == b->items[j];
        if (a->items[i] <= b->items[j]) {
            j += a->items[i] == b->items[j];
            i++;
        } else {
            j++;
        }
    }
    return (double)common / (double)(a->count + b->count - common);
}
