// Python's string operations on valid UTF-8, by code points.
#ifndef LR_JINJA_TEXT_H
#define LR_JINJA_TEXT_H

#include "lib/jinja/value.h"

#include "lib/unicode.h"

size_t lr_count_points(const char *bytes, size_t size);
static inline size_t lr_point_size(const char *at)
{
    unsigned char c = (unsigned char)*at;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}
const char *lr_point_at(const lr_text *text, size_t index); // index <= points
int64_t lr_count_words(const lr_text *text);                // runs of word characters
const char *lr_find_bytes(const char *bytes, size_t size, const char *wanted, size_t wanted_size); // NULL: not there

typedef enum lr_letter_case {
    LR_UPPER,
    LR_LOWER,
    LR_TITLE,
    LR_CAPITALIZE,
    LR_SWAPCASE,
    LR_TITLE_FILTER
} lr_letter_case;

// chars NULL: whitespace.
lora_status lr_text_strip(lr_render *render, const lr_text *text, const lr_text *chars, bool left, bool right,
                          lr_value *out);
lora_status lr_text_case(lr_render *render, const lr_text *text, lr_letter_case letter_case, lr_value *out);
// str.isupper and str.islower: some letter has a case, and none the other.
lora_status lr_text_is_cased(lr_render *render, const lr_text *text, bool upper, lr_value *out);
// separator NULL: runs of whitespace. limit < 0: none.
lora_status lr_text_split(lr_render *render, const lr_text *text, const lr_text *separator, int64_t limit,
                          bool from_right, lr_value *out);
lora_status lr_text_split_lines(lr_render *render, const lr_text *text, bool keep_ends, lr_value *out);
lora_status lr_text_replace(lr_render *render, const lr_text *text, const lr_text *old, const lr_text *new_text,
                            int64_t limit, lr_value *out);
lora_status lr_text_escape(lr_render *render, const lr_text *text, lr_value *out); // for HTML, as markup
lora_status lr_text_repeat(lr_render *render, const lr_text *text, int64_t times, lr_value *out);
// `text` with spaces around it: side < 0 text left, 0 centred, > 0 text right.
lora_status lr_text_pad(lr_render *render, const lr_text *text, int64_t width, const char *fill, int side,
                        lr_value *out);
// Numbers as Python's int() and float() read them.
bool lr_text_to_integer(const lr_text *text, int base, int64_t *out);
bool lr_text_to_real(const lr_text *text, double *out);
// The shortest text that reads back as the same number; `out` holds 40 bytes.
void lr_real_to_text(double value, char *out);
// printf's and format's conversions: "%s is %d" and "{} is {0}".
lora_status lr_text_percent(lr_render *render, const lr_text *format, lr_value values, lr_value *out);
lora_status lr_text_format(lr_render *render, const lr_text *format, const lr_arguments *arguments, lr_value *out);

#endif
