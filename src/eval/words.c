#include "src/eval/words.h"

#include "lib/unicode.h"

#include <lora/metrics.h>
#include <string.h>
#include <utf8proc.h>

#define MOST_BYTES ((size_t)1 << 30)

void lr_words_init(lr_words *words, const lora_allocator *allocator)
{
    *words = (lr_words){.allocator = allocator};
    lr_bytes_init(&words->bytes, allocator, MOST_BYTES);
}

static lora_status add_word(lr_words *words, const char *text, size_t length)
{
    LR_TRY(lr_grow(words->allocator, (void **)&words->items, &words->capacity, words->count + 1, sizeof *words->items));
    words->items[words->count] = (lr_word){words->bytes.size, length};
    LR_TRY(lr_bytes_append(&words->bytes, text, length));
    words->count++;
    return LORA_OK;
}

void lr_words_free(lr_words *words)
{
    lr_bytes_free(&words->bytes);
    lr_free(words->allocator, words->items);
}

// ---- characters -----------------------------------------------------------------------------------------------------

bool lr_is_cjk(int32_t code)
{
    return (code >= 0x1100 && code <= 0x11FF) || (code >= 0x2E80 && code <= 0x2FDF) || code == 0x3005 ||
           code == 0x3007 || (code >= 0x3041 && code <= 0x30FF && code != 0x30FB) ||
           (code >= 0x3105 && code <= 0x31BF) || (code >= 0x31F0 && code <= 0x31FF) ||
           (code >= 0x3400 && code <= 0x4DBF) || (code >= 0x4E00 && code <= 0x9FFF) ||
           (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x20000 && code <= 0x323AF);
}

static bool is_letter(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_cased(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT;
}

// Unicode's Case_Ignorable: marks, format characters, modifiers, and punctuation inside words.
static bool is_case_ignorable(int32_t code)
{
    static const int32_t inside_words[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                           0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof inside_words / sizeof *inside_words; i++)
        if (code == inside_words[i]) return true;
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return false;
    }
}

// Unicode's Final_Sigma: behind a cased letter and not before one.
static bool is_final_sigma(const char *text, size_t length, size_t at, size_t size)
{
    int32_t code = ' ';
    for (size_t before = at; before > 0;) {
        before = lr_utf8_previous(text, before);
        lr_utf8_next(text + before, length - before, &code);
        if (!is_case_ignorable(code)) break;
    }
    if (!is_cased(code)) return false;
    code = ' ';
    for (size_t after = at + size; after < length;) {
        after += lr_utf8_next(text + after, length - after, &code);
        if (!is_case_ignorable(code)) break;
    }
    return !is_cased(code);
}

lora_status lr_python_lower(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0, size; at < length; at += size) {
        int32_t code;
        size = lr_utf8_next(text + at, length - at, &code);
        if (code == 0x3A3 && is_final_sigma(text, length, at, size))
            LR_TRY(lr_bytes_append_text(out, "ς"));
        else
            LR_TRY(lr_unicode_lower(text + at, size, out));
    }
    return LORA_OK;
}

// ---- ways to cut ----------------------------------------------------------------------------------------------------

lora_status lr_words_by_space(const char *text, size_t length, lr_words *words)
{
    size_t begin = 0;
    for (size_t at = 0, size; at < length; at += size) {
        int32_t code;
        size = lr_utf8_next(text + at, length - at, &code);
        if (!lr_is_python_space(code)) continue;
        if (at > begin) LR_TRY(add_word(words, text + begin, at - begin));
        begin = at + size;
    }
    return length > begin ? add_word(words, text + begin, length - begin) : LORA_OK;
}

static bool is_latin(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

static lora_status cut_latin(const char *text, size_t length, bool stem, lr_words *words)
{
    for (size_t at = 0; at < length;) {
        size_t begin = at;
        while (at < length && is_latin(text[at])) at++;
        if (at == begin) {
            at++;
            continue;
        }
        LR_TRY(add_word(words, text + begin, at - begin));
        lr_word *word = &words->items[words->count - 1];
        if (!stem || word->length <= 3) continue;
        LR_TRY(lr_bytes_append(&words->bytes, "", 1)); // room for a letter more
        word->length = lr_porter_stem(words->bytes.data + word->begin, word->length);
        if (word->length == 0) words->count--;
    }
    return LORA_OK;
}

static lora_status latin(const char *text, size_t length, bool stem, lr_words *words)
{
    lr_bytes lower;
    lr_bytes_init(&lower, words->allocator, MOST_BYTES);
    lora_status status = lr_python_lower(text, length, &lower);
    if (status == LORA_OK) status = cut_latin(lower.data, lower.size, stem, words);
    lr_bytes_free(&lower);
    return status;
}

static lora_status latin_words(const char *text, size_t length, lr_words *words)
{
    return latin(text, length, false, words);
}
static lora_status stemmed_words(const char *text, size_t length, lr_words *words)
{
    return latin(text, length, true, words);
}

static lora_status cut_characters(const char *text, size_t length, lr_words *words)
{
    size_t begin = 0; // of the run of letters before `at`
    for (size_t at = 0, size; at < length; at += size) {
        int32_t code;
        size = lr_utf8_next(text + at, length - at, &code);
        bool alone = lr_is_cjk(code);
        if (!alone && (is_letter(code) || lr_is_mark(code) || lr_is_numeric(code))) continue;
        if (at > begin) LR_TRY(add_word(words, text + begin, at - begin));
        if (alone) LR_TRY(add_word(words, text + at, size));
        begin = at + size;
    }
    return length > begin ? add_word(words, text + begin, length - begin) : LORA_OK;
}

// LORA_WORDS_CHARACTERS
static lora_status character_words(const char *text, size_t length, lr_words *words)
{
    lr_bytes lower;
    lr_bytes_init(&lower, words->allocator, MOST_BYTES);
    lora_status status = lr_python_lower(text, length, &lower);
    if (status == LORA_OK) status = cut_characters(lower.data, lower.size, words);
    lr_bytes_free(&lower);
    return status;
}

lora_status lr_words_every_character(const char *text, size_t length, lr_words *words)
{
    int32_t code;
    for (size_t at = 0, size; at < length; at += size) {
        size = lr_utf8_next(text + at, length - at, &code);
        LR_TRY(add_word(words, text + at, size));
    }
    return LORA_OK;
}

lora_status lr_words_visible_characters(const char *text, size_t length, lr_words *words)
{
    int32_t code;
    for (size_t at = 0, size; at < length; at += size) {
        size = lr_utf8_next(text + at, length - at, &code);
        if (!lr_is_python_space(code)) LR_TRY(add_word(words, text + at, size));
    }
    return LORA_OK;
}

static bool is_ascii_mark(char c) { return c > 0 && lr_is_punctuation(c); }

lora_status lr_words_punctuated(const char *text, size_t length, lr_words *words)
{
    lr_words plain;
    lr_words_init(&plain, words->allocator);
    lora_status status = lr_words_by_space(text, length, &plain);
    for (size_t i = 0; i < plain.count && status == LORA_OK; i++) {
        const char *word = plain.bytes.data + plain.items[i].begin;
        size_t size = plain.items[i].length, cut = 0;
        int32_t code;
        if (lr_utf8_next(word, size, &code) == size) // one character
            ;
        else if (is_ascii_mark(word[size - 1]))
            cut = size - 1;
        else if (is_ascii_mark(word[0]))
            cut = 1;
        if (cut) status = add_word(words, word, cut);
        if (status == LORA_OK) status = add_word(words, word + cut, size - cut);
    }
    lr_words_free(&plain);
    return status;
}

lr_segmenter lr_segmenter_of(int32_t words, bool stem)
{
    switch (words) {
    case LORA_WORDS_LATIN: return stem ? stemmed_words : latin_words;
    case LORA_WORDS_CHARACTERS: return character_words;
    case LORA_WORDS_SPACES: return lr_words_by_space;
    default: return NULL;
    }
}
