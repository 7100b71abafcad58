// Text that was read in the wrong encoding, and characters that nobody sees; how to find both and how to mend them.
#include "src/data/check/check.h"

#include "lib/unicode.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

// ---- UTF-8 that was read as Windows-1252 ----------------------------------------------------------------------------

// The byte that Windows-1252 shows as this character; -1: none. Bytes that it leaves undefined stand for themselves.
static int byte_of(int32_t code)
{
    static const int32_t high[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                     0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                     0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                     0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    if (code >= 0x80 && code <= 0xFF) return code;
    for (int i = 0; i < 32; i++)
        if (high[i] == code) return 0x80 + i;
    return -1;
}

// One character that is hidden in text[at]: its bytes, and how far it reaches. `loose`: a space may stand for a
// non-breaking one.
typedef struct hidden {
    char bytes[4];
    size_t count, end;
} hidden;

static bool find_hidden(const char *text, size_t length, size_t at, bool loose, hidden *out)
{
    int32_t code;
    size_t next = at + lr_utf8_next(text + at, length - at, &code);
    int lead = byte_of(code);
    size_t count = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    *out = (hidden){.count = count};
    for (size_t i = 0; i < count; i++) {
        int byte = i == 0 ? lead : -1;
        if (i > 0 && next < length) {
            next += lr_utf8_next(text + next, length - next, &code);
            byte = loose && code == ' ' ? 0xA0 : byte_of(code);
        }
        if (byte < 0) return false;
        out->bytes[i] = (char)byte;
    }
    out->end = next;
    return count > 0 && lr_utf8_is_valid(out->bytes, count);
}

// Hidden characters one behind another from text[at] on. Alone one may be chance ("É”", "é »"), so a single one counts
// only as an accented letter behind Ã, a sign behind Â, punctuation behind â€, or an emoji behind ðŸ.
static bool is_believable(const hidden *first, size_t run)
{
    const unsigned char *bytes = (const unsigned char *)first->bytes;
    if (run >= 2 || bytes[0] == 0xF0) return true;
    if (bytes[0] == 0xE2) return bytes[1] == 0x80 || bytes[1] == 0x82 || bytes[1] == 0x84;
    return (bytes[0] == 0xC2 || bytes[0] == 0xC3) && bytes[1] >= 0xA0 && bytes[1] != 0xAB && bytes[1] != 0xBB;
}

// The end of a believable run at text[at]; 0: there is none. A single character has no space in it.
static size_t find_run(const char *text, size_t length, size_t at, bool loose)
{
    hidden first, next;
    size_t run = 0, end = 0;
    while (find_hidden(text, length, run ? end : at, loose, &next)) {
        if (run++ == 0) first = next;
        end = next.end;
        if (end == length) break;
    }
    if (loose && run == 1) return find_run(text, length, at, false);
    return run > 0 && is_believable(&first, run) ? end : 0;
}

// The next run from *at on; *at is its start and the result its end, 0: none.
static size_t next_run(const char *text, size_t length, size_t *at, bool loose)
{
    for (; *at < length; ++*at) {
        unsigned char c = (unsigned char)text[*at];
        if (c != 0xC3) continue; // the bytes that lead a character, C2 to F4, are shown as À to ô and the like
        size_t end = find_run(text, length, *at, loose);
        if (end) return end;
    }
    return 0;
}

static lora_status restore_1252(const char *text, lr_bytes *out, bool *changed)
{
    size_t length = strlen(text), at = 0, done = 0, end;
    while ((end = next_run(text, length, &at, false))) {
        LR_TRY(lr_bytes_append(out, text + done, at - done));
        for (done = end; at < end;) {
            hidden character;
            find_hidden(text, length, at, false, &character);
            LR_TRY(lr_bytes_append(out, character.bytes, character.count));
            at = character.end;
        }
        *changed = true;
    }
    return lr_bytes_append(out, text + done, length - done);
}

// ---- UTF-8 that was read as GBK -------------------------------------------------------------------------------------
// Two bytes make a character there, so that one shown may hold parts of two hidden ones: 你好 is shown as 浣犲ソ.

iconv_t lr_gbk_open(void) { return iconv_open("GB18030", "UTF-8"); }

void lr_gbk_close(iconv_t gbk)
{
    if (gbk != (iconv_t)-1) iconv_close(gbk);
}

// The bytes that GBK shows as this character, one or two; 0: it shows none so.
static size_t gbk_bytes(iconv_t gbk, const char *character, size_t size, char bytes[2])
{
    char *from = (char *)character, *to = bytes; // iconv does not write to the first
    size_t left = 2;
    bool is_euro = size == 3 && memcmp(character, "€", 3) == 0; // Windows' GBK shows 0x80 as this
    if (is_euro) bytes[0] = (char)0x80;
    return is_euro ? 1 : iconv(gbk, &from, &size, &to, &left) == 0 ? 2 - left : 0;
}

// The end of three hidden Chinese characters that begin at text[at]; 0: none do. Two may be chance, in verse of old.
static size_t find_chinese(iconv_t gbk, const char *text, size_t length, size_t at)
{
    char bytes[3 * 3 + 1];
    size_t count = 0;
    for (size_t done = 0; done < 3;) {
        int32_t code;
        if (at == length || (unsigned char)text[at] < 0x80) return 0;
        size_t size = lr_utf8_next(text + at, length - at, &code), got = gbk_bytes(gbk, text + at, size, bytes + count);
        if (got == 0 || (bytes[3 * done] & 0xF0) != 0xE0) return 0;
        count += got;
        at += size;
        if (count < 3 * done + 3) continue;
        if (!lr_utf8_is_valid(bytes + 3 * done, 3)) return 0;
        done++;
    }
    return at;
}

// The next three from *at on; *at is their start and the result their end, 0: none.
static size_t next_chinese(iconv_t gbk, const char *text, size_t length, size_t *at)
{
    int32_t code;
    for (; gbk != (iconv_t)-1 && *at < length; *at += lr_utf8_next(text + *at, length - *at, &code)) {
        size_t end = find_chinese(gbk, text, length, *at);
        if (end) return end;
    }
    return 0;
}

// The text that is hidden in a text as a whole. Where a byte was lost there is none.
static lora_status restore_gbk(iconv_t gbk, const char *text, lr_bytes *out, bool *changed)
{
    size_t length = strlen(text), at = 0, size;
    if (!next_chinese(gbk, text, length, &at)) return LORA_OK;
    for (at = 0; at < length; at += size) {
        int32_t code;
        char bytes[2];
        size = lr_utf8_next(text + at, length - at, &code);
        size_t count = gbk_bytes(gbk, text + at, size, bytes);
        if (count == 0) return LORA_OK;
        LR_TRY(lr_bytes_append(out, bytes, count));
    }
    *changed = lr_utf8_is_valid(out->data, out->size) && !strstr(out->data, REPLACEMENT);
    return LORA_OK;
}

lora_status lr_repair_encoding(iconv_t gbk, const char *text, lr_bytes *out, bool *changed)
{
    LR_TRY(restore_gbk(gbk, text, out, changed));
    if (*changed) return LORA_OK;
    out->size = 0;
    return restore_1252(text, out, changed);
}

// ---- what is left of lost characters --------------------------------------------------------------------------------

static const char *find_lost(const char *text)
{
    static const char *const marks[] = {REPLACEMENT, "锟斤拷", "烫烫烫", "屯屯屯", "ï¿½"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const char *found = strstr(text, marks[i]);
        if (found) return found;
    }
    return NULL;
}

// Damage in a text, with a little around it; *length 0: none.
static const char *find_damage(iconv_t gbk, const char *text, size_t *length)
{
    size_t all = strlen(text), at = 0, end;
    const char *lost = find_lost(text);
    *length = 0;
    if (lost) {
        at = (size_t)(lost - text);
        end = at + 9 < all ? at + 9 : all;
    } else if (!(end = next_run(text, all, &at, true))) {
        at = 0;
        end = next_chinese(gbk, text, all, &at);
    }
    if (end == 0) return NULL;
    size_t from = at > 20 ? lr_utf8_previous(text, at - 19) : 0;
    size_t to = end + 20 < all ? lr_utf8_previous(text, end + 21) : all;
    *length = to - from;
    return text + from;
}

// ---- characters that nobody sees ------------------------------------------------------------------------------------

// Controls but tab and line ends, the byte-order mark, word joiners, and zero-width spaces but in the scripts that
// divide words by them.
static bool is_control(int32_t code, int32_t before)
{
    if (code == 0x200B) return !(lr_is_unspaced(before) && before < 0x2000);
    if (code == 0xFEFF || code == 0x2060) return true;
    return (code < 0x20 && code != '\t' && code != '\n' && code != '\r') || (code >= 0x7F && code < 0xA0);
}

static size_t next_control(const char *text, size_t length, size_t at, size_t *size, int32_t *found)
{
    int32_t before = 0;
    for (; at < length; at += *size) {
        *size = lr_utf8_next(text + at, length - at, found);
        if (is_control(*found, before)) return at;
        before = *found;
    }
    return length;
}

lora_status lr_drop_controls(const char *text, lr_bytes *out, bool *changed)
{
    size_t length = strlen(text), size = 0;
    int32_t code;
    for (size_t at = 0; at < length;) {
        size_t found = next_control(text, length, at, &size, &code);
        LR_TRY(lr_bytes_append(out, text + at, found - at));
        *changed = *changed || found < length;
        at = found + size;
    }
    return lr_bytes_append(out, "", 0);
}

// ---- rows -----------------------------------------------------------------------------------------------------------

static lora_status look_for_controls(lora_check *check, size_t row, const char *text, bool *found)
{
    size_t length = strlen(text), size;
    int32_t code = 0;
    char detail[16];
    *found = next_control(text, length, 0, &size, &code) < length;
    if (!*found) return LORA_OK;
    int written = snprintf(detail, sizeof detail, "U+%04X", (unsigned)code);
    return lr_add_hit(check, LR_CONTROL_CHARACTER, row, detail, (size_t)written);
}

static lora_status look_at_row(lora_check *check, iconv_t gbk, size_t i)
{
    const lr_check_row *row = &check->rows[i];
    size_t length;
    bool found;
    const char *damage = find_damage(gbk, row->prompt, &length);
    if (!damage) damage = find_damage(gbk, row->answer, &length);
    if (damage) LR_TRY(lr_add_hit(check, LR_ENCODING_DAMAGE, i, damage, length));
    LR_TRY(look_for_controls(check, i, row->prompt, &found));
    return found ? LORA_OK : look_for_controls(check, i, row->answer, &found);
}

lora_status lr_find_damage(lora_check *check)
{
    lora_status status = LORA_OK;
    iconv_t gbk = lr_gbk_open();
    for (size_t i = 0; i < check->row_count && status == LORA_OK; i++)
        if (check->rows[i].has_text) status = look_at_row(check, gbk, i);
    lr_gbk_close(gbk);
    return status;
}
