#include "split_pattern.h"

#include "unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#define MAX_PATTERN (1u << 20)
#define JIT_STACK (1u << 20)

struct lr_pattern {
    lora_allocator allocator;
    pcre2_general_context *general;
    pcre2_code *code; // NULL: literal
    char *literal;
    size_t literal_length;
};

struct lr_matcher {
    lora_allocator allocator;
    pcre2_general_context *general;
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *stack;
};

static void *pcre_allocate(size_t size, void *data) { return lr_alloc(data, size); }
static void pcre_release(void *block, void *data) { lr_free(data, block); }

// ---- translation ------------------------------------------------------------------------------------------------
// Where PCRE2's classes differ from Oniguruma's they are spelled out: \s without U+180E, \w with marks, connectors and
// Latin-1's raised digits and fractions, a script without the characters that it shares with others. Both know the
// characters of their Unicode version; newer ones are nothing to either.

#define SPACES                                                                                                         \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORDS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

static lora_status translate_escape(char letter, bool in_class, lr_bytes *out)
{
    const char *set = letter == 's' || letter == 'S' ? SPACES : letter == 'w' || letter == 'W' ? WORDS : NULL;
    bool negative = letter == 'S' || letter == 'W';
    if (!set || (in_class && negative)) return lr_bytes_append_format(out, "\\%c", letter);
    if (in_class) return lr_bytes_append_text(out, set);
    return lr_bytes_append_format(out, negative ? "[^%s]" : "[%s]", set);
}

// \p{Han} and its like: their length in `text`, which begins after the backslash; 0: something else.
static size_t script_length(const char *text, size_t length)
{
    static const char *const scripts[] = {"Han",   "Hiragana", "Katakana", "Hangul", "Latin",     "Cyrillic",
                                          "Greek", "Arabic",   "Hebrew",   "Thai",   "Devanagari"};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        size_t size = strlen(scripts[i]);
        if (length >= size + 3 && (text[0] | 32) == 'p' && text[1] == '{' && text[size + 2] == '}' &&
            memcmp(text + 2, scripts[i], size) == 0)
            return size + 3;
    }
    return 0;
}

static lora_status translate(const char *text, size_t length, lr_bytes *out)
{
    bool in_class = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\' && i + 1 < length) {
            size_t script = script_length(text + i + 1, length - i - 1);
            if (script)
                LR_TRY(lr_bytes_append_format(out, "\\%c{sc:%.*s", text[i + 1], (int)script - 2, text + i + 3));
            else
                LR_TRY(translate_escape(text[i + 1], in_class, out));
            i += script ? script : 1;
            continue;
        }
        if (in_class && text[i] == '&' && i + 1 < length && text[i + 1] == '&')
            return lr_fail(LORA_ERROR_UNSUPPORTED,
                           "the pattern \"%.*s\" intersects classes with &&, which is not supported",
                           (int)(length < 200 ? length : 200), text);
        if (in_class && text[i] == '[' && i + 1 < length && text[i + 1] != ':') LR_TRY(lr_bytes_append_text(out, "\\"));
        if (!in_class && text[i] == '[') {
            in_class = true;
            LR_TRY(lr_bytes_append(out, &text[i], 1));
            if (i + 1 < length && text[i + 1] == '^') LR_TRY(lr_bytes_append(out, &text[++i], 1));
            if (i + 1 < length && text[i + 1] == ']') { // a bracket in first place is a member
                i++;
                LR_TRY(lr_bytes_append_text(out, "\\]"));
            }
            continue;
        }
        if (in_class && text[i] == ']') in_class = false;
        LR_TRY(lr_bytes_append(out, &text[i], 1));
    }
    return LORA_OK;
}

// ---- patterns ---------------------------------------------------------------------------------------------------

static lora_status new_pattern(const lora_allocator *allocator, lr_pattern **out)
{
    lr_pattern *pattern = lr_alloc_zeroed(allocator, 1, sizeof *pattern);
    if (!pattern) return LORA_ERROR_MEMORY;
    pattern->allocator = *allocator;
    *out = pattern;
    return LORA_OK;
}

static lora_status compile(lr_pattern *pattern, const char *text, size_t length)
{
    int error;
    PCRE2_SIZE at;
    pattern->general = pcre2_general_context_create(pcre_allocate, pcre_release, &pattern->allocator);
    if (!pattern->general) return LORA_ERROR_MEMORY;
    pcre2_compile_context *context = pcre2_compile_context_create(pattern->general);
    if (!context) return LORA_ERROR_MEMORY;
    // Oniguruma's ^ and $ stand at line borders.
    pattern->code =
        pcre2_compile((PCRE2_SPTR)text, length, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                      &error, &at, context);
    pcre2_compile_context_free(context);
    if (!pattern->code && error == PCRE2_ERROR_HEAP_FAILED) return LORA_ERROR_MEMORY;
    if (!pattern->code) {
        char reason[160];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
        return lr_fail(LORA_ERROR_FORMAT, "the pattern \"%.*s\" is no regular expression: %s (at byte %zu)",
                       (int)(length < 200 ? length : 200), text, reason, (size_t)at);
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); // without it matching is slower, not different
    return LORA_OK;
}

lora_status lr_pattern_compile(const lora_allocator *allocator, const char *text, size_t length, lr_pattern **out)
{
    lr_pattern *pattern = NULL;
    lr_bytes translated;
    lr_bytes_init(&translated, allocator, MAX_PATTERN);
    lora_status status = LORA_OK;
    if (!lr_utf8_is_valid(text, length)) return lr_fail(LORA_ERROR_FORMAT, "a pattern is not UTF-8");
    LR_GOTO(end, status, translate(text, length, &translated));
    LR_GOTO(end, status, new_pattern(allocator, &pattern));
    LR_GOTO(end, status, compile(pattern, translated.data ? translated.data : "", translated.size));
    *out = pattern;
    pattern = NULL;
end:
    lr_pattern_free(pattern);
    lr_bytes_free(&translated);
    return status;
}

lora_status lr_pattern_literal(const lora_allocator *allocator, const char *text, size_t length, lr_pattern **out)
{
    lr_pattern *pattern;
    LR_TRY(new_pattern(allocator, &pattern));
    pattern->literal = lr_duplicate_range(allocator, text, length);
    pattern->literal_length = length;
    if (!pattern->literal) {
        lr_pattern_free(pattern);
        return LORA_ERROR_MEMORY;
    }
    *out = pattern;
    return LORA_OK;
}

void lr_pattern_free(lr_pattern *pattern)
{
    if (!pattern) return;
    lora_allocator allocator = pattern->allocator;
    if (pattern->code) pcre2_code_free(pattern->code);
    if (pattern->general) pcre2_general_context_free(pattern->general);
    lr_free(&allocator, pattern->literal);
    lr_free(&allocator, pattern);
}

// ---- searching --------------------------------------------------------------------------------------------------

static lora_status fill_matcher(lr_matcher *matcher)
{
    matcher->general = pcre2_general_context_create(pcre_allocate, pcre_release, &matcher->allocator);
    if (!matcher->general) return LORA_ERROR_MEMORY;
    matcher->context = pcre2_match_context_create(matcher->general);
    matcher->data = pcre2_match_data_create(1, matcher->general);
    if (!matcher->context || !matcher->data) return LORA_ERROR_MEMORY;
    return LORA_OK;
}

lora_status lr_matcher_create(const lora_allocator *allocator, lr_matcher **out)
{
    lr_matcher *matcher = lr_alloc_zeroed(allocator, 1, sizeof *matcher);
    if (!matcher) return LORA_ERROR_MEMORY;
    matcher->allocator = *allocator;
    lora_status status = fill_matcher(matcher);
    if (status != LORA_OK) {
        lr_matcher_free(matcher);
        return status;
    }
    *out = matcher;
    return LORA_OK;
}

void lr_matcher_free(lr_matcher *matcher)
{
    if (!matcher) return;
    lora_allocator allocator = matcher->allocator;
    if (matcher->stack) pcre2_jit_stack_free(matcher->stack);
    if (matcher->data) pcre2_match_data_free(matcher->data);
    if (matcher->context) pcre2_match_context_free(matcher->context);
    if (matcher->general) pcre2_general_context_free(matcher->general);
    lr_free(&allocator, matcher);
}

static int match(const lr_pattern *pattern, lr_matcher *matcher, const char *text, size_t length, size_t from)
{
    int result =
        pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, matcher->data, matcher->context);
    if (result != PCRE2_ERROR_JIT_STACKLIMIT || matcher->stack) return result;
    // Few patterns need more than the machine's stack: a larger one is made when the first does.
    matcher->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK, matcher->general);
    if (!matcher->stack) return PCRE2_ERROR_NOMEMORY;
    pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    return pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, matcher->data,
                       matcher->context);
}

static lora_status find_regex(const lr_pattern *pattern, lr_matcher *matcher, const char *text, size_t length,
                              size_t from, size_t *begin, size_t *end, bool *found)
{
    while (from < length) {
        int result = match(pattern, matcher, text, length, from);
        if (result == PCRE2_ERROR_NOMATCH) break;
        if (result == PCRE2_ERROR_NOMEMORY) return lr_fail_memory(JIT_STACK);
        if (result < 0)
            return lr_fail(LORA_ERROR_DATA, "the tokenizer's pattern gave up after too many steps (PCRE2 error %d)",
                           result);
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(matcher->data);
        if (at[1] > at[0]) {
            *begin = at[0];
            *end = at[1];
            *found = true;
            return LORA_OK;
        }
        int32_t code;
        from = at[0] < length ? at[0] + lr_utf8_next(text + at[0], length - at[0], &code) : length;
    }
    return LORA_OK;
}

lora_status lr_pattern_find(const lr_pattern *pattern, lr_matcher *matcher, const char *text, size_t length,
                            size_t from, size_t *begin, size_t *end, bool *found)
{
    *found = false;
    if (pattern->code) return find_regex(pattern, matcher, text, length, from, begin, end, found);
    if (pattern->literal_length == 0 || from >= length) return LORA_OK;
    const char *place = memmem(text + from, length - from, pattern->literal, pattern->literal_length);
    if (!place) return LORA_OK;
    *begin = (size_t)(place - text);
    *end = *begin + pattern->literal_length;
    *found = true;
    return LORA_OK;
}
