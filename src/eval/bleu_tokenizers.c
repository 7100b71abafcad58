// sacrebleu's tokenizers: mteval-v13a's for western languages, the same with Chinese characters set apart, mteval-v14's
// international one, and characters. A substitution is one pass from left to right over what the one before it left.
#include "src/eval/words.h"

#include "lib/unicode.h"

#include <string.h>
#include <utf8proc.h>

#define MOST_BYTES ((size_t)1 << 30)

// A pass of its own, or every `from` by `to`.
typedef struct substitution {
    lora_status (*pass)(const char *text, size_t length, lr_bytes *out);
    const char *from, *to;
} substitution;

static lora_status replace(const char *text, size_t length, const char *from, const char *to, lr_bytes *out)
{
    size_t size = strlen(from), begin = 0, at = 0;
    while (at + size <= length) {
        if (memcmp(text + at, from, size) != 0) {
            at++;
            continue;
        }
        LR_TRY(lr_bytes_append(out, text + begin, at - begin));
        LR_TRY(lr_bytes_append_text(out, to));
        begin = at += size;
    }
    return lr_bytes_append(out, text + begin, length - begin);
}

// Runs the text through the steps, one after the other, and cuts the result at white space.
static lora_status run_steps(const substitution *steps, size_t count, const char *text, size_t length, lr_words *words)
{
    lr_bytes buffers[2];
    lora_status status = LORA_OK;
    for (int i = 0; i < 2; i++) lr_bytes_init(&buffers[i], words->allocator, MOST_BYTES);
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        lr_bytes *out = &buffers[i % 2];
        out->size = 0;
        status = steps[i].pass ? steps[i].pass(text, length, out)
                               : replace(text, length, steps[i].from, steps[i].to, out);
        text = out->data ? out->data : "";
        length = out->size;
    }
    if (status == LORA_OK) status = lr_words_by_space(text, length, words);
    for (int i = 0; i < 2; i++) lr_bytes_free(&buffers[i]);
    return status;
}

// ---- mteval-v13a ----------------------------------------------------------------------------------------------------

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_stop(char c) { return c == '.' || c == ','; }

// ASCII punctuation but for ' - , .
static bool is_mark(char c)
{
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
           (c >= ':' && c <= '@') || c == '/';
}

static lora_status frame(const char *text, size_t length, lr_bytes *out)
{
    LR_TRY(lr_bytes_append(out, " ", 1));
    LR_TRY(lr_bytes_append(out, text, length));
    return lr_bytes_append(out, " ", 1);
}

static lora_status part_marks(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length; at++) {
        char spaced[3] = {' ', text[at], ' '};
        LR_TRY(is_mark(text[at]) ? lr_bytes_append(out, spaced, 3) : lr_bytes_append(out, text + at, 1));
    }
    return LORA_OK;
}

// A period or comma is set apart unless a digit precedes it;
static lora_status part_stops_after(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length; at++) {
        LR_TRY(lr_bytes_append(out, text + at, 1));
        if (is_digit(text[at]) || at + 1 == length || !is_stop(text[at + 1])) continue;
        char spaced[3] = {' ', text[++at], ' '};
        LR_TRY(lr_bytes_append(out, spaced, 3));
    }
    return LORA_OK;
}

// or unless a digit follows;
static lora_status part_stops_before(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length; at++) {
        if (!is_stop(text[at]) || at + 1 == length || is_digit(text[at + 1])) {
            LR_TRY(lr_bytes_append(out, text + at, 1));
            continue;
        }
        char spaced[4] = {' ', text[at], ' ', text[at + 1]};
        LR_TRY(lr_bytes_append(out, spaced, 4));
        at++;
    }
    return LORA_OK;
}

// and a dash after a digit.
static lora_status part_dashes(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length; at++) {
        LR_TRY(lr_bytes_append(out, text + at, 1));
        if (!is_digit(text[at]) || at + 1 == length || text[at + 1] != '-') continue;
        LR_TRY(lr_bytes_append(out, " - ", 3));
        at++;
    }
    return LORA_OK;
}

static lora_status tokenize_13a(const char *text, size_t length, lr_words *words)
{
    static const substitution steps[] = {
        {NULL, "<skipped>", ""}, {NULL, "-\n", ""},   {NULL, "\n", " "},
        {NULL, "&quot;", "\""},  {NULL, "&amp;", "&"}, {NULL, "&lt;", "<"},
        {NULL, "&gt;", ">"},     {.pass = frame},      {.pass = part_marks},
        {.pass = part_stops_after}, {.pass = part_stops_before}, {.pass = part_dashes}};
    return run_steps(steps, sizeof steps / sizeof *steps, text, length, words);
}

// ---- Chinese --------------------------------------------------------------------------------------------------------

// The ranges that sacrebleu's tokenizer tests, in effect: two of its bounds are written with five digits after \u,
// which Python reads as a character and a digit, so that U+2001 to U+2A6D and U+2F81 to U+2FA1 are what they mean.
static bool is_chinese(int32_t code)
{
    static const int32_t ranges[][2] = {{0x3400, 0x4DB5}, {0x4E00, 0x9FBB}, {0xF900, 0xFA2D}, {0xFA30, 0xFA6A},
                                        {0xFA70, 0xFAD9}, {0x2001, 0x2A6D}, {0x2F81, 0x2FA1}, {0xFF00, 0xFFEF},
                                        {0x2E80, 0x2EFF}, {0x3000, 0x303F}, {0x31C0, 0x31EF}, {0x2F00, 0x2FDF},
                                        {0x2FF0, 0x2FFF}, {0x3100, 0x312F}, {0x31A0, 0x31BF}, {0xFE10, 0xFE1F},
                                        {0xFE30, 0xFE4F}, {0x3200, 0x33FF}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i][0] && code <= ranges[i][1]) return true;
    return false;
}

// Characters of a kind stand between spaces.
static lora_status part(bool (*is_apart)(int32_t code), const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0, size; at < length; at += size) {
        int32_t code;
        size = lr_utf8_next(text + at, length - at, &code);
        bool apart = is_apart(code);
        if (apart) LR_TRY(lr_bytes_append(out, " ", 1));
        LR_TRY(lr_bytes_append(out, text + at, size));
        if (apart) LR_TRY(lr_bytes_append(out, " ", 1));
    }
    return LORA_OK;
}

static lora_status part_chinese(const char *text, size_t length, lr_bytes *out)
{
    return part(is_chinese, text, length, out);
}

static lora_status strip(const char *text, size_t length, lr_bytes *out)
{
    size_t space = lr_leading_space(text, length);
    return lr_bytes_append(out, text + space, lr_without_trailing_space(text + space, length - space));
}

static lora_status tokenize_zh(const char *text, size_t length, lr_words *words)
{
    static const substitution steps[] = {{.pass = strip}, {.pass = part_chinese}, {.pass = part_marks},
                                         {.pass = part_stops_after}, {.pass = part_stops_before},
                                         {.pass = part_dashes}};
    return run_steps(steps, sizeof steps / sizeof *steps, text, length, words);
}

// ---- mteval-v14, international --------------------------------------------------------------------------------------

static bool is_number(int32_t code) { return lr_is_numeric(code); }

static bool is_punctuation(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

static bool is_symbol(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO;
}

// Pairs of characters (first, second), not overlapping: appends the one that is punctuation with spaces around it.
static lora_status part_pairs(const char *text, size_t length, bool after, lr_bytes *out)
{
    for (size_t at = 0; at < length;) {
        int32_t first, second = 0;
        size_t size = lr_utf8_next(text + at, length - at, &first), next = 0;
        if (at + size < length) next = lr_utf8_next(text + at + size, length - at - size, &second);
        bool found =
            next && (after ? !is_number(first) && is_punctuation(second) : is_punctuation(first) && !is_number(second));
        if (found && !after) LR_TRY(lr_bytes_append(out, " ", 1));
        LR_TRY(lr_bytes_append(out, text + at, size));
        at += size;
        if (!found) continue;
        LR_TRY(lr_bytes_append(out, " ", 1));
        LR_TRY(lr_bytes_append(out, text + at, next));
        if (after) LR_TRY(lr_bytes_append(out, " ", 1));
        at += next;
    }
    return LORA_OK;
}

static lora_status part_after(const char *text, size_t length, lr_bytes *out)
{
    return part_pairs(text, length, true, out);
}
static lora_status part_before(const char *text, size_t length, lr_bytes *out)
{
    return part_pairs(text, length, false, out);
}

static lora_status part_symbols(const char *text, size_t length, lr_bytes *out)
{
    return part(is_symbol, text, length, out);
}

static lora_status tokenize_intl(const char *text, size_t length, lr_words *words)
{
    static const substitution steps[] = {{.pass = part_after}, {.pass = part_before}, {.pass = part_symbols}};
    return run_steps(steps, sizeof steps / sizeof *steps, text, length, words);
}

lr_segmenter lr_bleu_tokenizer(const char *name)
{
    static const struct {
        const char *name;
        lr_segmenter segmenter;
    } table[] = {{"13a", tokenize_13a},
                 {"zh", tokenize_zh},
                 {"intl", tokenize_intl},
                 {"char", lr_words_visible_characters},
                 {"none", lr_words_by_space}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0) return table[i].segmenter;
    return NULL;
}
