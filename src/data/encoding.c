// Which encoding a text file is in, and its text as UTF-8: by its byte-order mark, else UTF-8 where it is valid, else
// UTF-16 where zero bytes speak for it, else GB18030 where it is valid and reads as Chinese.
#include "src/data/rows.h"

#include "lib/unicode.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#define SAMPLE 65536 // bytes that decide between the two orders of UTF-16
#define TEXT_LIMIT ((size_t)8 << 30)

static size_t line_of(const char *text, size_t at)
{
    size_t line = 1;
    for (size_t i = 0; i < at; i++) line += text[i] == '\n';
    return line;
}

// Zero bytes at every second place are UTF-16's of text that is partly ASCII. A few in valid UTF-8 are strays.
static const char *find_utf16(const char *text, size_t length)
{
    size_t zeros[2] = {0}, sample = length < SAMPLE ? length : SAMPLE;
    for (size_t i = 0; i < sample; i++) zeros[i % 2] += text[i] == '\0';
    if (length % 2 != 0 || zeros[0] + zeros[1] == 0) return NULL;
    if (8 * (zeros[0] + zeros[1]) < sample && lr_utf8_is_valid(text, length)) return NULL;
    if (zeros[1] >= 16 * zeros[0]) return "UTF-16LE";
    return zeros[0] >= 16 * zeros[1] ? "UTF-16BE" : NULL;
}

// Bytes of UTF-8 characters beyond ASCII, and bytes that belong to none.
static bool is_damaged_utf8(const char *text, size_t length)
{
    size_t good = 0, bad = 0;
    for (size_t at = 0, size; at < length; at += size) {
        int32_t code;
        size = lr_utf8_next(text + at, length - at, &code);
        if (size > 1 && lr_utf8_is_valid(text + at, size)) good += size;
        else bad += size == 1 && (unsigned char)text[at] < 0x80 ? 0 : size;
    }
    return bad > 0 && good > 4 * bad;
}

// Not Latin-1 text that happens to be valid GB18030: of the characters beyond ASCII most are Chinese, and none is for
// private use.
static bool reads_as_chinese(const char *text, size_t length)
{
    size_t chinese = 0, others = 0;
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += lr_utf8_next(text + at, length - at, &code);
        if (code >= 0xE000 && code <= 0xF8FF) return false;
        bool expected = (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3000 && code <= 0x303F) || code >= 0xFF00 ||
                        (code >= 0x2010 && code <= 0x2030);
        chinese += expected;
        others += code >= 0x80 && !expected;
    }
    return chinese > 2 * others;
}

static lora_status run_iconv(const lora_allocator *allocator, iconv_t converter, const char *text, size_t length,
                             lr_bytes *out, size_t *bad)
{
    char *from = (char *)text; // iconv does not write to it
    size_t left = length;
    *bad = SIZE_MAX;
    lr_bytes_init(out, allocator, TEXT_LIMIT);
    LR_TRY(lr_bytes_reserve(out, length + 16));
    while (left > 0) {
        LR_TRY(lr_bytes_reserve(out, left + 16));
        char *to = out->data + out->size;
        size_t room = out->capacity - out->size - 1, before = room;
        size_t result = iconv(converter, &from, &left, &to, &room);
        out->size += before - room;
        if (result == (size_t)-1 && errno != E2BIG) {
            *bad = length - left;
            return LORA_OK;
        }
    }
    out->data[out->size] = '\0';
    return LORA_OK;
}

// *bad: the first byte that is not in `encoding`; SIZE_MAX: all are, and *out is the text.
static lora_status convert(const lora_allocator *allocator, const char *path, const char *encoding, const char *text,
                           size_t length, lr_bytes *out, size_t *bad)
{
    iconv_t converter = iconv_open("UTF-8", encoding);
    if (converter == (iconv_t)-1)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: the text is in %s, which this system's iconv does not read: save "
                                               "the file as UTF-8", path, encoding);
    lora_status status = run_iconv(allocator, converter, text, length, out, bad);
    iconv_close(converter);
    if (status != LORA_OK) lr_bytes_free(out);
    return status;
}

static lora_status fail_encoding(const char *path, size_t line)
{
    return lr_fail(LORA_ERROR_DATA,
                   "%s:%zu: the text is neither UTF-8, UTF-16 nor GB18030: save the file as UTF-8", path, line);
}

// The first line that is not UTF-8; a character never crosses a newline.
static size_t bad_line(const char *text, size_t length)
{
    size_t line = 1;
    for (size_t at = 0; at < length; line++) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t next = end ? (size_t)(end - text) : length;
        if (!lr_utf8_is_valid(text + at, next - at)) break;
        at = next + 1;
    }
    return line;
}

static lora_status decode_other(const lora_allocator *allocator, const char *path, const char *encoding, char **text,
                                size_t *length)
{
    lr_bytes converted;
    size_t bad;
    bool guessed = encoding == NULL;
    if (guessed && is_damaged_utf8(*text, *length))
        return lr_fail(LORA_ERROR_DATA, "%s:%zu: the text is not UTF-8, but the rest of the file is: mend this line",
                       path, bad_line(*text, *length));
    LR_TRY(convert(allocator, path, guessed ? "GB18030" : encoding, *text, *length, &converted, &bad));
    if (bad == SIZE_MAX && (!guessed || reads_as_chinese(converted.data, converted.size))) {
        lr_free(allocator, *text);
        *text = converted.data;
        *length = converted.size;
        return LORA_OK;
    }
    lr_bytes_free(&converted);
    return fail_encoding(path, guessed ? bad_line(*text, *length) : line_of(*text, bad));
}

static void drop_mark(char *text, size_t *length)
{
    if (*length < 3 || memcmp(text, "\xEF\xBB\xBF", 3) != 0) return;
    *length -= 3;
    memmove(text, text + 3, *length + 1);
}

lora_status lr_decode_text(const lora_allocator *allocator, const char *path, char **text, size_t *length,
                           const char **encoding)
{
    const char *mark = *length >= 2 ? *text : "  ";
    const char *utf16 = memcmp(mark, "\xFF\xFE", 2) == 0   ? "UTF-16LE"
                        : memcmp(mark, "\xFE\xFF", 2) == 0 ? "UTF-16BE"
                                                           : find_utf16(*text, *length);
    bool is_utf8 = !utf16 && lr_utf8_is_valid(*text, *length);
    *encoding = utf16 ? utf16 : is_utf8 ? "UTF-8" : "GB18030";
    if (!is_utf8) LR_TRY(decode_other(allocator, path, utf16, text, length));
    drop_mark(*text, length);
    return LORA_OK;
}
