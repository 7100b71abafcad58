#include "lib/jinja/text.h"

#include "lib/unicode.h"

#include <string.h>
#include <utf8proc.h>

size_t lr_count_points(const char *bytes, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += ((unsigned char)bytes[i] & 0xC0) != 0x80;
    return count;
}

const char *lr_point_at(const lr_text *text, size_t index)
{
    if (text->points == text->size) return text->bytes + index;
    const char *at = text->bytes;
    while (index-- > 0) at += lr_point_size(at);
    return at;
}

const char *lr_find_bytes(const char *bytes, size_t size, const char *wanted, size_t wanted_size)
{
    return wanted_size == 0 ? bytes : memmem(bytes, size, wanted, wanted_size);
}

int64_t lr_count_words(const lr_text *text)
{
    int64_t words = 0;
    bool inside = false;
    for (size_t at = 0; at < text->size;) {
        int32_t code;
        at += lr_utf8_next(text->bytes + at, text->size - at, &code);
        words += lr_is_word(code) && !inside;
        inside = lr_is_word(code);
    }
    return words;
}

static bool is_one_of(const char *at, size_t size, const lr_text *chars)
{
    int32_t code;
    if (chars) return lr_find_bytes(chars->bytes, chars->size, at, size) != NULL;
    lr_utf8_next(at, size, &code);
    return lr_is_python_space(code);
}

lora_status lr_text_strip(lr_render *render, const lr_text *text, const lr_text *chars, bool left, bool right,
                          lr_value *out)
{
    size_t begin = 0, end = text->size;
    LR_TRY(lr_jinja_charge(render, chars ? text->size / 64 * (chars->size / 64 + 1) : text->size / 64));
    while (left && begin < end) {
        size_t size = lr_point_size(text->bytes + begin);
        if (!is_one_of(text->bytes + begin, size, chars)) break;
        begin += size;
    }
    while (right && end > begin) {
        size_t start = lr_utf8_previous(text->bytes, end);
        if (!is_one_of(text->bytes + start, end - start, chars)) break;
        end = start;
    }
    return lr_string_part(render, text->bytes + begin, end - begin, text->markup, out);
}

// ---- letter case --------------------------------------------------------------------------------------------------

static bool is_letter(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

static bool is_upper(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LT;
}

// Where Jinja's title filter begins a new word: after spaces, hyphens and opening brackets.
static bool begins_word(int32_t code)
{
    return code == '-' || code == '(' || code == '{' || code == '[' || code == '<' || lr_is_python_space(code);
}

static int32_t cased(int32_t code, lr_letter_case letter_case, bool word_start, bool text_start)
{
    switch (letter_case) {
    case LR_UPPER: return utf8proc_toupper(code);
    case LR_LOWER: return utf8proc_tolower(code);
    case LR_TITLE: return word_start ? utf8proc_totitle(code) : utf8proc_tolower(code);
    case LR_TITLE_FILTER: return word_start ? utf8proc_toupper(code) : utf8proc_tolower(code);
    case LR_CAPITALIZE: return text_start ? utf8proc_totitle(code) : utf8proc_tolower(code);
    case LR_SWAPCASE: return is_upper(code) ? utf8proc_tolower(code) : utf8proc_toupper(code);
    }
    return code;
}

#define SHARP_S 0xDF

// One code point to one, but for the German sharp s: of the few that become several, the one that is written.
static size_t put_cased(int32_t code, lr_letter_case letter_case, bool word_start, bool text_start, char encoded[4])
{
    int32_t changed = cased(code, letter_case, word_start, text_start);
    if (code != SHARP_S || changed == SHARP_S) return lr_utf8_put(changed, encoded);
    bool title = letter_case == LR_TITLE || letter_case == LR_CAPITALIZE;
    memcpy(encoded, title ? "Ss" : "SS", 2);
    return 2;
}

lora_status lr_text_case(lr_render *render, const lr_text *text, lr_letter_case letter_case, lr_value *out)
{
    lr_bytes changed;
    lr_bytes_init(&changed, render->arena.allocator, render->arena.limit);
    lora_status status = lr_jinja_charge(render, text->size / 16);
    bool word_start = true;
    for (size_t at = 0; at < text->size && status == LORA_OK;) {
        int32_t code;
        char encoded[4];
        size_t step = lr_utf8_next(text->bytes + at, text->size - at, &code);
        size_t size = put_cased(code, letter_case, word_start, at == 0, encoded);
        status = lr_bytes_append(&changed, encoded, size);
        word_start = letter_case == LR_TITLE ? !is_letter(code) : begins_word(code);
        at += step;
    }
    return lr_string_take(render, &changed, status, out);
}

lora_status lr_text_is_cased(lr_render *render, const lr_text *text, bool upper, lr_value *out)
{
    bool some = false, other = false;
    LR_TRY(lr_jinja_charge(render, text->size / 16));
    for (size_t at = 0; at < text->size;) {
        int32_t code;
        at += lr_utf8_next(text->bytes + at, text->size - at, &code);
        if (is_letter(code)) *(is_upper(code) == upper ? &some : &other) = true;
    }
    *out = lr_boolean(some && !other);
    return LORA_OK;
}

// ---- splitting ----------------------------------------------------------------------------------------------------

typedef struct piece_list {
    const lr_text *text;
    lr_value *items;
    size_t count;
} piece_list;

static lora_status add_piece(lr_render *render, piece_list *pieces, size_t begin, size_t end)
{
    return lr_string_part(render, pieces->text->bytes + begin, end - begin, pieces->text->markup,
                          &pieces->items[pieces->count++]);
}

static lora_status split_at_spaces(lr_render *render, piece_list *pieces, int64_t limit)
{
    const char *bytes = pieces->text->bytes;
    size_t size = pieces->text->size, at = lr_leading_space(bytes, size);
    for (; at < size && limit != 0; limit--) {
        size_t end = at;
        while (end < size && lr_leading_space(bytes + end, lr_point_size(bytes + end)) == 0)
            end += lr_point_size(bytes + end);
        LR_TRY(add_piece(render, pieces, at, end));
        at = end + lr_leading_space(bytes + end, size - end);
    }
    return at < size ? add_piece(render, pieces, at, size) : LORA_OK;
}

static void reverse(piece_list *pieces)
{
    for (size_t i = 0; i < pieces->count / 2; i++) {
        lr_value other = pieces->items[i];
        pieces->items[i] = pieces->items[pieces->count - 1 - i];
        pieces->items[pieces->count - 1 - i] = other;
    }
}

static lora_status split_at_spaces_from_right(lr_render *render, piece_list *pieces, int64_t limit)
{
    const char *bytes = pieces->text->bytes;
    size_t first = lr_leading_space(bytes, pieces->text->size);
    size_t end = lr_without_trailing_space(bytes, pieces->text->size);
    for (; end > first && limit != 0; limit--) {
        size_t begin = end;
        while (begin > first) {
            size_t previous = lr_utf8_previous(bytes, begin);
            if (lr_leading_space(bytes + previous, begin - previous)) break;
            begin = previous;
        }
        LR_TRY(add_piece(render, pieces, begin, end));
        end = lr_without_trailing_space(bytes, begin);
    }
    if (end > first) LR_TRY(add_piece(render, pieces, 0, end));
    reverse(pieces);
    return LORA_OK;
}

static lora_status split_at_text(lr_render *render, piece_list *pieces, const lr_text *separator, int64_t limit)
{
    const char *begin = pieces->text->bytes, *end = begin + pieces->text->size, *at = begin;
    for (; limit != 0; limit--) {
        const char *next = lr_find_bytes(at, (size_t)(end - at), separator->bytes, separator->size);
        if (!next) break;
        LR_TRY(add_piece(render, pieces, (size_t)(at - begin), (size_t)(next - begin)));
        at = next + separator->size;
    }
    return add_piece(render, pieces, (size_t)(at - begin), (size_t)(end - begin));
}

static const char *find_last(const char *bytes, size_t size, const lr_text *wanted)
{
    for (size_t at = size - wanted->size + 1; size >= wanted->size && at > 0; at--)
        if (memcmp(bytes + at - 1, wanted->bytes, wanted->size) == 0) return bytes + at - 1;
    return NULL;
}

static lora_status split_at_text_from_right(lr_render *render, piece_list *pieces, const lr_text *separator,
                                            int64_t limit)
{
    const char *begin = pieces->text->bytes;
    size_t end = pieces->text->size;
    for (; limit != 0; limit--) {
        const char *last = find_last(begin, end, separator);
        if (!last) break;
        LR_TRY(add_piece(render, pieces, (size_t)(last - begin) + separator->size, end));
        end = (size_t)(last - begin);
    }
    LR_TRY(add_piece(render, pieces, 0, end));
    reverse(pieces);
    return LORA_OK;
}

lora_status lr_text_split(lr_render *render, const lr_text *text, const lr_text *separator, int64_t limit,
                          bool from_right, lr_value *out)
{
    if (separator && separator->size == 0) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "split: empty separator");
    // No more pieces than bytes and one.
    lr_sequence *list;
    size_t most = limit >= 0 && (uint64_t)limit < text->size ? (size_t)limit + 1 : text->size + 1;
    LR_TRY(lr_jinja_charge(render, text->size / 16));
    LR_TRY(lr_sequence_new(render, LR_LIST, most, &list));
    piece_list pieces = {.text = text, .items = list->items};
    if (separator && from_right)
        LR_TRY(split_at_text_from_right(render, &pieces, separator, limit));
    else if (separator)
        LR_TRY(split_at_text(render, &pieces, separator, limit));
    else if (from_right)
        LR_TRY(split_at_spaces_from_right(render, &pieces, limit));
    else
        LR_TRY(split_at_spaces(render, &pieces, limit));
    list->count = pieces.count;
    *out = lr_of_sequence(list);
    return LORA_OK;
}

// Bytes of the line end at the start of the text; 0: none.
static size_t line_end(const char *at, size_t size)
{
    int32_t code;
    size_t step = lr_utf8_next(at, size, &code);
    if (code == '\r' && size > 1 && at[1] == '\n') return 2;
    bool ends =
        (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 || code == 0x2028 || code == 0x2029;
    return ends ? step : 0;
}

lora_status lr_text_split_lines(lr_render *render, const lr_text *text, bool keep_ends, lr_value *out)
{
    lr_sequence *list;
    size_t lines = 1;
    for (size_t at = 0; at < text->size; at += lr_point_size(text->bytes + at))
        lines += line_end(text->bytes + at, text->size - at) != 0;
    LR_TRY(lr_jinja_charge(render, text->size / 16));
    LR_TRY(lr_sequence_new(render, LR_LIST, lines, &list));
    piece_list pieces = {.text = text, .items = list->items};
    size_t begin = 0;
    for (size_t at = 0; at < text->size;) {
        size_t end = line_end(text->bytes + at, text->size - at);
        if (end) LR_TRY(add_piece(render, &pieces, begin, keep_ends ? at + end : at));
        at += end ? end : lr_point_size(text->bytes + at);
        if (end) begin = at;
    }
    if (begin < text->size) LR_TRY(add_piece(render, &pieces, begin, text->size));
    list->count = pieces.count;
    *out = lr_of_sequence(list);
    return LORA_OK;
}

// ---- building -----------------------------------------------------------------------------------------------------

static lora_status replace_in(const lr_text *text, const lr_text *old, const lr_text *new_text, int64_t limit,
                              lr_bytes *out)
{
    const char *at = text->bytes, *end = at + text->size;
    while (limit != 0) {
        const char *next = old->size ? lr_find_bytes(at, (size_t)(end - at), old->bytes, old->size) : at;
        if (!next) break;
        LR_TRY(lr_bytes_append(out, at, (size_t)(next - at)));
        LR_TRY(lr_bytes_append(out, new_text->bytes, new_text->size));
        at = next + old->size;
        limit--;
        if (old->size) continue;
        // An empty text is found before every character and at the end.
        if (at == end) break;
        LR_TRY(lr_bytes_append(out, at, lr_point_size(at)));
        at += lr_point_size(at);
    }
    return lr_bytes_append(out, at, (size_t)(end - at));
}

lora_status lr_text_replace(lr_render *render, const lr_text *text, const lr_text *old, const lr_text *new_text,
                            int64_t limit, lr_value *out)
{
    lr_bytes changed;
    lr_bytes_init(&changed, render->arena.allocator, render->arena.limit);
    LR_TRY(lr_jinja_charge(render, text->size / 16));
    return lr_string_take(render, &changed, replace_in(text, old, new_text, limit, &changed), out);
}

static const char *entity(char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&#34;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

lora_status lr_text_escape(lr_render *render, const lr_text *text, lr_value *out)
{
    lr_bytes escaped;
    lora_status status = lr_jinja_charge(render, text->size / 16);
    lr_bytes_init(&escaped, render->arena.allocator, render->arena.limit);
    for (size_t i = 0; i < text->size && status == LORA_OK; i++) {
        const char *name = entity(text->bytes[i]);
        status = name ? lr_bytes_append_text(&escaped, name) : lr_bytes_append(&escaped, text->bytes + i, 1);
    }
    LR_TRY(lr_string_take(render, &escaped, status, out));
    return lr_string_part(render, out->text->bytes, out->text->size, true, out);
}

lora_status lr_text_repeat(lr_render *render, const lr_text *text, int64_t times, lr_value *out)
{
    lr_bytes repeated;
    lora_status status = LORA_OK;
    lr_bytes_init(&repeated, render->arena.allocator, render->arena.limit);
    for (int64_t i = 0; i < times && text->size && status == LORA_OK; i++) {
        status = lr_jinja_charge(render, 1);
        if (status == LORA_OK) status = lr_bytes_append(&repeated, text->bytes, text->size);
    }
    LR_TRY(lr_string_take(render, &repeated, status, out));
    return text->markup ? lr_string_part(render, out->text->bytes, out->text->size, true, out) : LORA_OK;
}

static lora_status pad_in(lr_render *render, const lr_text *text, size_t left, size_t right, const char *fill,
                          lr_bytes *out)
{
    LR_TRY(lr_jinja_charge(render, left + right));
    for (size_t i = 0; i < left; i++) LR_TRY(lr_bytes_append_text(out, fill));
    LR_TRY(lr_bytes_append(out, text->bytes, text->size));
    for (size_t i = 0; i < right; i++) LR_TRY(lr_bytes_append_text(out, fill));
    return LORA_OK;
}

lora_status lr_text_pad(lr_render *render, const lr_text *text, int64_t width, const char *fill, int side,
                        lr_value *out)
{
    lr_bytes padded;
    size_t missing = width > (int64_t)text->points ? (size_t)width - text->points : 0;
    // Python's str.center puts the odd space left when the width is odd.
    size_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & (size_t)width & 1);
    lr_bytes_init(&padded, render->arena.allocator, render->arena.limit);
    return lr_string_take(render, &padded, pad_in(render, text, left, missing - left, fill, &padded), out);
}
