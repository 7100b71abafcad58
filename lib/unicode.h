// UTF-8 and the parts of Unicode that text needs before tokenization: decoding and repair, normalization forms, letter
// case, and character classes. Over utf8proc; nothing is allocated but in the output's own buffer.
#ifndef LR_UNICODE_H
#define LR_UNICODE_H

#include "memory.h"

#define LR_REPLACEMENT 0xFFFD

// Decodes the character at text[0], length > 0: sets *code and returns its bytes. Bytes that are no UTF-8 give U+FFFD
// for the longest start of a character, as Python's errors="replace" does.
size_t lr_utf8_next(const char *text, size_t length, int32_t *code);
// The start of the character before text[at], at > 0, in valid UTF-8.
size_t lr_utf8_previous(const char *text, size_t at);
size_t lr_utf8_put(int32_t code, char out[4]);
bool lr_utf8_is_valid(const char *text, size_t length);
// Appends the text, every invalid part as U+FFFD.
lora_status lr_utf8_repair(const char *text, size_t length, lr_bytes *out);

// Bytes of such space at the start of a text, and the size of a text without that at its end.
size_t lr_leading_space(const char *bytes, size_t size);
size_t lr_without_trailing_space(const char *bytes, size_t size);

typedef enum lr_unicode_form { LR_NFC, LR_NFD, LR_NFKC, LR_NFKD } lr_unicode_form;

// These append to `out`; the text is valid UTF-8.
lora_status lr_unicode_normalize(const lora_allocator *allocator, lr_unicode_form form, const char *text, size_t length,
                                 lr_bytes *out);
lora_status lr_unicode_lower(const char *text, size_t length, lr_bytes *out); // character by character

bool lr_is_space(int32_t code);       // White_Space
bool lr_is_python_space(int32_t code); // Python's str.isspace: U+001C to U+001F as well
bool lr_is_punctuation(int32_t code); // categories P, and ASCII's symbols
bool lr_is_numeric(int32_t code);     // categories N
bool lr_is_mark(int32_t code);        // categories M
bool lr_is_word(int32_t code);        // letters, marks, digits, connectors: \w

#endif
