// From ids to text that can be shown: every token of the fixture is one byte, so that characters and stop texts are
// always split over tokens.
#include "fixture.h"
#include "src/infer/answer_text.h"

#include "src/core/context.h"

#include <string.h>

static fixture f;
static lr_answer_text text;

static int open_all(void **state)
{
    (void)state;
    fixture_open(&f, 1);
    assert_ok(lr_answer_text_init(&text, &f.context->allocator, lora_model_tokenizer(f.model)));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    lr_answer_text_free(&text);
    fixture_close(&f);
    return 0;
}

// Bytes of a character that begins with `byte`.
static size_t character_size(unsigned char byte)
{
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

static void assert_whole_characters(const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        assert_true(((unsigned char)bytes[at] & 0xC0) != 0x80);
        at += character_size((unsigned char)bytes[at]);
    }
    assert_int_equal(at, size);
}

// Feeds `input` byte by byte; what comes out must be `expected`, and a stop text must (not) have been met after `fed`
// bytes.
static void check(const char *input, const char *const *stops, size_t stop_count, const char *expected, size_t fed)
{
    char out[256] = "";
    size_t length = 0, size = strlen(input), i = 0;
    bool stopped = false;
    assert_ok(lr_answer_text_begin(&text, stops, stop_count));
    for (; i < size && !stopped; i++) {
        assert_ok(lr_answer_text_add(&text, (unsigned char)input[i]));
        assert_ok(lr_answer_text_release(&text, i + 1 == size, &stopped));
        assert_whole_characters(text.released.data, text.released.size);
        memcpy(out + length, text.released.data, text.released.size);
        length += text.released.size;
    }
    out[length] = '\0';
    assert_string_equal(out, expected);
    assert_int_equal(i, fed);
    assert_int_equal(stopped, strcmp(input, expected) != 0);
}

static void test_characters_come_whole(void **state)
{
    (void)state;
    static const char *const texts[] = {"plain", "你好，世界。", "é😀 ok 👩‍👩‍👧 – fin", "\xEF\xBF\xBD in it"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check(texts[i], NULL, 0, texts[i], strlen(texts[i]));
}

static void test_a_character_is_shown_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    bool stopped;
    assert_ok(lr_answer_text_begin(&text, NULL, 0));
    static const unsigned char smile[] = {0xF0, 0x9F, 0x98, 0x80};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(lr_answer_text_add(&text, smile[i]));
        assert_ok(lr_answer_text_release(&text, false, &stopped));
        assert_int_equal(text.released.size, i < 3 ? 0 : 4);
    }
    assert_memory_equal(text.released.data, smile, 4);
}

static void test_a_cut_character_is_marked_at_the_end(void **state)
{
    (void)state;
    bool stopped;
    assert_ok(lr_answer_text_begin(&text, NULL, 0));
    assert_ok(lr_answer_text_add(&text, 0xF0));
    assert_ok(lr_answer_text_add(&text, 0x9F));
    assert_ok(lr_answer_text_release(&text, true, &stopped));
    assert_int_equal(text.released.size, 3);
    assert_memory_equal(text.released.data, "\xEF\xBF\xBD", 3);
}

static void test_stop_texts(void **state)
{
    (void)state;
    static const char *const stops[] = {"###", "\nUser:", "用户"};
    check("ab###cd", stops, 3, "ab", 5);
    check("a##b# #", stops, 3, "a##b# #", 7);            // beginnings that come to nothing are shown
    check("a####", stops, 3, "a", 4);
    check("answer\nUser", stops, 3, "answer\nUser", 11); // cut off within: the end shows it
    check("answer\nUser:", stops, 3, "answer", 12);      // at the very end
    check("好的用户", stops, 3, "好的", 12);
    check("好的用处", stops, 3, "好的用处", 12);
    static const char *const nested[] = {"abcd", "bc"};
    check("xabcd", nested, 2, "xa", 4); // the one that is complete first
    static const char *const repeated[] = {"aab"};
    check("aaaab", repeated, 1, "aa", 5);
}

static void test_nothing_shown_is_part_of_a_stop_text(void **state)
{
    (void)state;
    static const char *const stops[] = {"12345"};
    bool stopped;
    assert_ok(lr_answer_text_begin(&text, stops, 1));
    for (const char *c = "x1234"; *c; c++) {
        assert_ok(lr_answer_text_add(&text, *c));
        assert_ok(lr_answer_text_release(&text, false, &stopped));
        assert_int_equal(text.released.size, *c == 'x');
    }
    assert_ok(lr_answer_text_add(&text, '6'));
    assert_ok(lr_answer_text_release(&text, false, &stopped));
    assert_int_equal(text.released.size, 5);
    assert_memory_equal(text.released.data, "12346", 5);
}

static void test_a_stop_text_behind_a_zero_byte(void **state)
{
    (void)state;
    static const char *const stops[] = {"stop"};
    bool stopped = false;
    size_t length = 0;
    assert_ok(lr_answer_text_begin(&text, stops, 1));
    for (const char *c = "a\0bstop"; !stopped; c++) {
        assert_true(length < 4);
        assert_ok(lr_answer_text_add(&text, *c));
        assert_ok(lr_answer_text_release(&text, false, &stopped));
        length += text.released.size;
    }
    assert_int_equal(length, 3);
}

static void test_special_tokens_have_no_text(void **state)
{
    (void)state;
    bool stopped;
    assert_ok(lr_answer_text_begin(&text, NULL, 0));
    static const int32_t ids[] = {'a', 258, 'b', 256};
    char out[8];
    size_t length = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_ok(lr_answer_text_add(&text, ids[i]));
        assert_ok(lr_answer_text_release(&text, i == 3, &stopped));
        memcpy(out + length, text.released.data, text.released.size);
        length += text.released.size;
    }
    assert_int_equal(length, 2);
    assert_memory_equal(out, "ab", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters_come_whole),
        cmocka_unit_test(test_a_character_is_shown_as_soon_as_it_is_whole),
        cmocka_unit_test(test_a_cut_character_is_marked_at_the_end),
        cmocka_unit_test(test_stop_texts),
        cmocka_unit_test(test_nothing_shown_is_part_of_a_stop_text),
        cmocka_unit_test(test_a_stop_text_behind_a_zero_byte),
        cmocka_unit_test(test_special_tokens_have_no_text),
    };
    return cmocka_run_group_tests_name("infer/answer_text", tests, open_all, close_all);
}
