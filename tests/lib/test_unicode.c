// UTF-8 repair, normal forms and classes. Expected texts are Python's: bytes.decode(errors="replace"),
// unicodedata.normalize.
#include "support.h"

#include "lib/unicode.h"

#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;

static void repairs(void **state)
{
#define BAD "\xEF\xBF\xBD"
    static const char *const cases[][2] = {{"", ""},
                                           {"plain ascii, long enough for words", "plain ascii, long enough for words"},
                                           {"\xE4\xBD\xA0\xE5\xA5\xBD", "\xE4\xBD\xA0\xE5\xA5\xBD"},
                                           {"\xE4\xBD", BAD}, // cut off: one for the whole start
                                           {"\xE4\xBDx", BAD "x"},
                                           {"\xF0\x9F\x98", BAD},
                                           {"\xC0\x80", BAD BAD}, // overlong
                                           {"\xE0\x80\x80", BAD BAD BAD},
                                           {"\xED\xA0\x80", BAD BAD BAD},         // a surrogate
                                           {"\xF4\x90\x80\x80", BAD BAD BAD BAD}, // above U+10FFFF
                                           {"\xF8\x88\x80\x80\x80", BAD BAD BAD BAD BAD},
                                           {"12345678\xFFz", "12345678" BAD "z"},
                                           {"a" BAD "b", "a" BAD "b"}}; // U+FFFD itself is valid
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lr_bytes out;
        lr_bytes_init(&out, memory, 1000);
        assert_int_equal(lr_utf8_repair(cases[i][0], strlen(cases[i][0]), &out), LORA_OK);
        assert_string_equal(out.data ? out.data : "", cases[i][1]);
        assert_int_equal(lr_utf8_is_valid(cases[i][0], strlen(cases[i][0])), strcmp(cases[i][0], cases[i][1]) == 0);
        lr_bytes_free(&out);
    }
}

static void round_trips_every_character(void **state)
{
    for (int32_t code = 0; code < 0x110000; code++) {
        char text[4];
        int32_t back;
        if (code >= 0xD800 && code < 0xE000) continue;
        size_t size = lr_utf8_put(code, text);
        if (lr_utf8_next(text, size, &back) != size || back != code) fail_msg("U+%04X", (unsigned)code);
        if (lr_utf8_previous(text, size) != 0) fail_msg("U+%04X backwards", (unsigned)code);
    }
}

static void expect_form(lr_unicode_form form, const char *text, const char *expected)
{
    lr_bytes out;
    lr_bytes_init(&out, memory, 1 << 20);
    assert_int_equal(lr_unicode_normalize(memory, form, text, strlen(text), &out), LORA_OK);
    assert_string_equal(out.data ? out.data : "", expected);
    lr_bytes_free(&out);
}

static void normalizes(void **state)
{
    expect_form(LR_NFC, "", "");
    expect_form(LR_NFC, "ascii", "ascii");
    expect_form(LR_NFC, "e\xCC\x81!", "\xC3\xA9!");
    expect_form(LR_NFC, "\xE2\x84\xAB", "\xC3\x85");                             // the angstrom sign
    expect_form(LR_NFC, "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C"); // Hangul
    expect_form(LR_NFC, "q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87");               // marks in the order of their classes
    expect_form(LR_NFD, "\xE1\xB9\xA9", "s\xCC\xA3\xCC\x87");
    expect_form(LR_NFKC, "\xEF\xAC\x81\xC2\xBD\xE3\x8E\x8F",
                "fi1\xE2\x81\x84"
                "2kg");
    expect_form(LR_NFKD, "\xEF\xBD\xB6\xEF\xBE\x9E", "\xE3\x82\xAB\xE3\x82\x99");
}

// Sixty thousand marks behind one letter: sorted by class, each class in its order.
static void sorts_long_runs_of_marks(void **state)
{
    const size_t pairs = 30000;
    char *text = malloc(1 + 4 * pairs);
    lr_bytes out;
    lr_bytes_init(&out, memory, 1 << 20);
    text[0] = 'q';
    for (size_t i = 0; i < pairs; i++) memcpy(text + 1 + 4 * i, "\xCC\x87\xCC\xA3", 4); // class 230, class 220
    assert_int_equal(lr_unicode_normalize(memory, LR_NFD, text, 1 + 4 * pairs, &out), LORA_OK);
    assert_int_equal(out.size, 1 + 4 * pairs);
    for (size_t i = 0; i < pairs; i++) {
        assert_memory_equal(out.data + 1 + 2 * i, "\xCC\xA3", 2);
        assert_memory_equal(out.data + 1 + 2 * (pairs + i), "\xCC\x87", 2);
    }
    lr_bytes_free(&out);
    free(text);
}

static void lowers(void **state)
{
    lr_bytes out;
    lr_bytes_init(&out, memory, 1000);
    const char *text = "\xC3\x84"
                       "BC \xCE\xA3 \xC4\xB0 \xE1\xBA\x9E 1";
    assert_int_equal(lr_unicode_lower(text, strlen(text), &out), LORA_OK);
    assert_string_equal(out.data, "\xC3\xA4"
                                  "bc \xCF\x83 i\xCC\x87 \xC3\x9F 1");
    lr_bytes_free(&out);
}

static void classes(void **state)
{
    assert_true(lr_is_space(' ') && lr_is_space(0x3000) && lr_is_space(0x85) && !lr_is_space(0x200B) &&
                !lr_is_space(0x180E));
    assert_true(lr_is_punctuation('$') && lr_is_punctuation(0x3002) && !lr_is_punctuation('a') &&
                !lr_is_punctuation(0x20AC));
    assert_true(lr_is_numeric('7') && lr_is_numeric(0x0667) && lr_is_numeric(0xBD) && !lr_is_numeric('x'));
    assert_true(lr_is_mark(0x301) && lr_is_mark(0x93E) && !lr_is_mark('e'));
    assert_true(lr_is_word('_') && lr_is_word(0x4F60) && lr_is_word(0x301) && !lr_is_word('-') && !lr_is_word(' '));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(repairs),    cmocka_unit_test(round_trips_every_character),
                                       cmocka_unit_test(normalizes), cmocka_unit_test(sorts_long_runs_of_marks),
                                       cmocka_unit_test(lowers),     cmocka_unit_test(classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
