#include "unicode.h"

#include <string.h>
#include <utf8proc.h>

static bool is_continuation(const char *text, size_t at, size_t length)
{
    return at < length && ((uint8_t)text[at] & 0xC0) == 0x80;
}

size_t lr_utf8_next(const char *text, size_t length, int32_t *code)
{
    uint8_t first = (uint8_t)text[0];
    if (first < 0x80) {
        *code = first;
        return 1;
    }
    *code = LR_REPLACEMENT;
    size_t size = first >= 0xC2 && first < 0xE0   ? 2
                  : first >= 0xE0 && first < 0xF0 ? 3
                  : first >= 0xF0 && first < 0xF5 ? 4
                                                  : 0;
    if (!size || !is_continuation(text, 1, length)) return 1;
    uint8_t second = (uint8_t)text[1];
    // Overlong forms, surrogates and what lies above U+10FFFF are refused at the second byte.
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second >= 0x90))
        return 1;
    int32_t value = first & (0x7F >> size);
    for (size_t i = 1; i < size; i++) {
        if (!is_continuation(text, i, length)) return i;
        value = value << 6 | ((uint8_t)text[i] & 0x3F);
    }
    *code = value;
    return size;
}

size_t lr_utf8_previous(const char *text, size_t at)
{
    do at--;
    while (at > 0 && ((uint8_t)text[at] & 0xC0) == 0x80);
    return at;
}

size_t lr_utf8_put(int32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)((0xF00 >> size) | code);
    return size;
}

// Bytes at the start that are ASCII; eight at a time.
static size_t ascii_run(const char *text, size_t length)
{
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word;
        memcpy(&word, text + at, 8);
        if (word & 0x8080808080808080u) break;
    }
    while (at < length && (uint8_t)text[at] < 0x80) at++;
    return at;
}

// Bytes at the start that are valid UTF-8.
static size_t valid_run(const char *text, size_t length)
{
    size_t at = ascii_run(text, length);
    while (at < length) {
        int32_t code;
        size_t size = lr_utf8_next(text + at, length - at, &code);
        if (code == LR_REPLACEMENT && !(size == 3 && memcmp(text + at, "\xEF\xBF\xBD", 3) == 0)) return at;
        at += size;
    }
    return at;
}

bool lr_utf8_is_valid(const char *text, size_t length) { return valid_run(text, length) == length; }

lora_status lr_utf8_repair(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length;) {
        size_t run = valid_run(text + at, length - at);
        LR_TRY(lr_bytes_append(out, text + at, run));
        at += run;
        if (at == length) break;
        int32_t code;
        at += lr_utf8_next(text + at, length - at, &code);
        LR_TRY(lr_bytes_append(out, "\xEF\xBF\xBD", 3));
    }
    return LORA_OK;
}

// ---- normalization ----------------------------------------------------------------------------------------------

static int combining_class(int32_t code) { return code < 0x300 ? 0 : utf8proc_get_property(code)->combining_class; }

static void swap_codes(int32_t *a, int32_t *b)
{
    int32_t held = *a;
    *a = *b;
    *b = held;
}

// Stable order by combining class: insertion for the usual few marks, else counted, so that hostile runs stay linear.
static lora_status sort_marks(const lora_allocator *allocator, int32_t *codes, size_t count)
{
    if (count <= 32) {
        for (size_t i = 1; i < count; i++)
            for (size_t j = i; j > 0 && combining_class(codes[j - 1]) > combining_class(codes[j]); j--)
                swap_codes(&codes[j - 1], &codes[j]);
        return LORA_OK;
    }
    int32_t *copy = lr_alloc_array(allocator, count, sizeof *copy);
    if (!copy) return LORA_ERROR_MEMORY;
    memcpy(copy, codes, count * sizeof *copy);
    size_t begin[257] = {0};
    for (size_t i = 0; i < count; i++) begin[combining_class(copy[i]) + 1]++;
    for (size_t i = 0; i < 256; i++) begin[i + 1] += begin[i];
    for (size_t i = 0; i < count; i++) codes[begin[combining_class(copy[i])]++] = copy[i];
    lr_free(allocator, copy);
    return LORA_OK;
}

static lora_status order_marks(const lora_allocator *allocator, int32_t *codes, size_t count)
{
    for (size_t begin = 0; begin < count;) {
        size_t end = begin;
        while (end < count && combining_class(codes[end]) != 0) end++;
        if (end > begin + 1) LR_TRY(sort_marks(allocator, codes + begin, end - begin));
        begin = end + 1;
    }
    return LORA_OK;
}

typedef struct code_list {
    int32_t *codes;
    size_t count, capacity;
} code_list;

static lora_status decompose(const lora_allocator *allocator, bool compatible, const char *text, size_t length,
                             code_list *list)
{
    const utf8proc_option_t options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
    list->count = 0;
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += lr_utf8_next(text + at, length - at, &code);
        for (;;) {
            int boundary = 0;
            utf8proc_ssize_t size =
                utf8proc_decompose_char(code, list->codes ? list->codes + list->count : NULL,
                                        (utf8proc_ssize_t)(list->capacity - list->count), options, &boundary);
            if (size < 0) { // unassigned: it stays as it is
                LR_TRY(
                    lr_grow(allocator, (void **)&list->codes, &list->capacity, list->count + 1, sizeof *list->codes));
                list->codes[list->count] = code;
                size = 1;
            }
            if (list->count + (size_t)size <= list->capacity) {
                list->count += (size_t)size;
                break;
            }
            LR_TRY(lr_grow(allocator, (void **)&list->codes, &list->capacity, list->count + (size_t)size,
                           sizeof *list->codes));
        }
    }
    return LORA_OK;
}

static lora_status normalize_run(const lora_allocator *allocator, lr_unicode_form form, const char *text, size_t length,
                                 code_list *list, lr_bytes *out)
{
    LR_TRY(decompose(allocator, form == LR_NFKC || form == LR_NFKD, text, length, list));
    LR_TRY(order_marks(allocator, list->codes, list->count));
    size_t count = list->count;
    if (form == LR_NFC || form == LR_NFKC) {
        utf8proc_ssize_t composed =
            utf8proc_normalize_utf32(list->codes, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        if (composed < 0) return lr_fail(LORA_ERROR_INTERNAL, "a text could not be composed");
        count = (size_t)composed;
    }
    for (size_t i = 0; i < count; i++) {
        char bytes[4];
        LR_TRY(lr_bytes_append(out, bytes, lr_utf8_put(list->codes[i], bytes)));
    }
    return LORA_OK;
}

// ASCII never changes, and no character joins an ASCII one from behind but the one just before a run of others.
lora_status lr_unicode_normalize(const lora_allocator *allocator, lr_unicode_form form, const char *text, size_t length,
                                 lr_bytes *out)
{
    code_list list = {0};
    lora_status status = LORA_OK;
    for (size_t at = 0; at < length && status == LORA_OK;) {
        size_t ascii = ascii_run(text + at, length - at);
        if (at + ascii < length && ascii > 0) ascii--;
        if ((status = lr_bytes_append(out, text + at, ascii)) != LORA_OK) break;
        at += ascii;
        size_t end = at < length ? at + 1 : at;
        while (end < length && (uint8_t)text[end] >= 0x80) end++;
        status = normalize_run(allocator, form, text + at, end - at, &list, out);
        at = end;
    }
    lr_free(allocator, list.codes);
    return status;
}

lora_status lr_unicode_lower(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length;) {
        int32_t code;
        char bytes[4];
        at += lr_utf8_next(text + at, length - at, &code);
        if (code == 0x130) // the dotted capital I: i and a dot above
            LR_TRY(lr_bytes_append(out, "i\xCC\x87", 3));
        else
            LR_TRY(lr_bytes_append(out, bytes, lr_utf8_put(utf8proc_tolower(code), bytes)));
    }
    return LORA_OK;
}

// ---- classes ----------------------------------------------------------------------------------------------------

bool lr_is_space(int32_t code)
{
    return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}

bool lr_is_python_space(int32_t code)
{
    if (code < 0x80) return (code >= 9 && code <= 13) || (code >= 28 && code <= 32);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

size_t lr_leading_space(const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        int32_t code;
        size_t step = lr_utf8_next(bytes + at, size - at, &code);
        if (!lr_is_python_space(code)) break;
        at += step;
    }
    return at;
}

size_t lr_without_trailing_space(const char *bytes, size_t size)
{
    while (size > 0) {
        int32_t code;
        size_t start = lr_utf8_previous(bytes, size);
        lr_utf8_next(bytes + start, size - start, &code);
        if (!lr_is_python_space(code)) break;
        size = start;
    }
    return size;
}

bool lr_is_punctuation(int32_t code)
{
    if (code < 0x80)
        return code > ' ' && code < 0x7F && !(code >= '0' && code <= '9') &&
               !((code | 32) >= 'a' && (code | 32) <= 'z');
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool lr_is_numeric(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool lr_is_mark(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

bool lr_is_word(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
           (code >= 0x24B6 && code <= 0x24E9) || code == 0x200C || code == 0x200D;
}
