// Patterns: what they find, where PCRE2 and Oniguruma differ, what is refused.
#include "support.h"

#include "lib/split_pattern.h"

#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;

// All matches in `text`, joined by "|".
static void expect_matches(const char *source, const char *text, const char *expected)
{
    lr_pattern *pattern;
    lr_matcher *matcher;
    char found_texts[500] = "";
    if (lr_pattern_compile(memory, source, strlen(source), &pattern) != LORA_OK) fail_msg("%s", lr_error_text());
    assert_int_equal(lr_matcher_create(memory, &matcher), LORA_OK);
    for (size_t at = 0, begin, end;; at = end) {
        bool found;
        assert_int_equal(lr_pattern_find(pattern, matcher, text, strlen(text), at, &begin, &end, &found), LORA_OK);
        if (!found) break;
        if (*found_texts) strcat(found_texts, "|");
        strncat(found_texts, text + begin, end - begin);
    }
    assert_string_equal(found_texts, expected);
    lr_matcher_free(matcher);
    lr_pattern_free(pattern);
}

static void finds(void **state)
{
    expect_matches("\\p{L}+|\\p{N}", "ab 12 \xE4\xBD\xA0", "ab|1|2|\xE4\xBD\xA0");
    expect_matches("\\s+(?!\\S)|\\s+", "a   b", "  | ");
    expect_matches("x*", "axxb", "xx"); // empty matches are none
    expect_matches("(?i:'s|'ll)", "it'S we'LL", "'S|'LL");
    expect_matches("$", "a\nb", "");
    expect_matches("[^\\s]+$", "ab\ncd", "ab|cd"); // $ stands at the end of a line
}

static void differences_are_spelled_out(void **state)
{
    expect_matches("\\s", "\xE1\xA0\x8E", ""); // U+180E is no space
    expect_matches("[\\s]", "\xC2\x85", "\xC2\x85");
    expect_matches("\\S", "\xE1\xA0\x8E", "\xE1\xA0\x8E");
    expect_matches("\\w+", "e\xCC\x81_-", "e\xCC\x81_"); // a mark belongs to the word
    expect_matches("[^\\w]+", "a\xC2\xBD-", "-");        // one half does too
    expect_matches("\\W+", "a -b", " -");
    expect_matches("\\p{Han}+", "\xE4\xBD\xA0\xE3\x80\x81", "\xE4\xBD\xA0"); // the comma is shared with other scripts
    expect_matches("[\\p{Han}x]+", "x\xE4\xBD\xA0\xE3\x80\x81", "x\xE4\xBD\xA0");
    expect_matches("[][]+", "a[]b", "[]");
    expect_matches("[^]x]+", "a]b", "a|b");
    expect_matches("[a[]+", "b[a", "[a");
}

static void refuses(void **state)
{
    lr_pattern *pattern = NULL;
    assert_fails(LORA_ERROR_FORMAT, lr_pattern_compile(memory, "a(b", 3, &pattern), "a(b");
    assert_fails(LORA_ERROR_FORMAT, lr_pattern_compile(memory, "\\p{Nonsense}", 12, &pattern), "Nonsense");
    assert_fails(LORA_ERROR_FORMAT, lr_pattern_compile(memory, "a\xFF", 2, &pattern), "UTF-8");
    assert_fails(LORA_ERROR_UNSUPPORTED, lr_pattern_compile(memory, "[\\p{L}&&[^a]]", 13, &pattern), "&&");
    assert_null(pattern);
}

static void literals(void **state)
{
    lr_pattern *pattern;
    lr_matcher *matcher;
    size_t begin, end;
    bool found;
    assert_int_equal(lr_pattern_literal(memory, ".+", 2, &pattern), LORA_OK);
    assert_int_equal(lr_matcher_create(memory, &matcher), LORA_OK);
    assert_int_equal(lr_pattern_find(pattern, matcher, "a.+b", 4, 0, &begin, &end, &found), LORA_OK);
    assert_true(found && begin == 1 && end == 3);
    assert_int_equal(lr_pattern_find(pattern, matcher, "a.+b", 4, 2, &begin, &end, &found), LORA_OK);
    assert_false(found);
    lr_matcher_free(matcher);
    lr_pattern_free(pattern);
}

// A pattern that backtracks without end is given up, not waited for.
static void gives_up(void **state)
{
    lr_pattern *pattern;
    lr_matcher *matcher;
    size_t begin, end;
    bool found;
    char text[64];
    memset(text, 'a', sizeof text);
    text[63] = 'c';
    assert_int_equal(lr_pattern_compile(memory, "(a|aa)+$", 8, &pattern), LORA_OK);
    assert_int_equal(lr_matcher_create(memory, &matcher), LORA_OK);
    assert_fails(LORA_ERROR_DATA, lr_pattern_find(pattern, matcher, text, sizeof text, 0, &begin, &end, &found),
                 "gave up");
    lr_matcher_free(matcher);
    lr_pattern_free(pattern);
}

static void survives_failing_memory(void **state)
{
    for (long n = 0;; n++) {
        failing_allocator failing;
        lr_pattern *pattern = NULL;
        lr_matcher *matcher = NULL;
        failing_allocator_init(&failing, n);
        lora_status status = lr_pattern_compile(&failing.allocator, "[\\w\\s]+", 7, &pattern);
        if (status == LORA_OK) status = lr_matcher_create(&failing.allocator, &matcher);
        lr_matcher_free(matcher);
        lr_pattern_free(pattern);
        assert_int_equal(failing.live, 0);
        if (status == LORA_OK) break;
        assert_int_equal(status, LORA_ERROR_MEMORY);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds),    cmocka_unit_test(differences_are_spelled_out),
                                       cmocka_unit_test(refuses),  cmocka_unit_test(literals),
                                       cmocka_unit_test(gives_up), cmocka_unit_test(survives_failing_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
