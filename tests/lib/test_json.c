// Parsing, getters, dumping. Expected texts are Python's json.dumps of the same values.
#include "support.h"

#include "lib/file.h"
#include "lib/json.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;

static json_t *parsed(const char *text)
{
    json_t *value;
    if (lr_json_parse("test.json", text, strlen(text), &value) != LORA_OK) fail_msg("%s", lora_error_message());
    return value;
}

static void parses(void **state)
{
    json_t *value = parsed("\xEF\xBB\xBF{\"a\": 1, \"a\": 2, \"b\": \"x\\u0000y\"}");
    assert_int_equal(json_integer_value(json_object_get(value, "a")), 2); // the last wins
    assert_int_equal(json_string_length(json_object_get(value, "b")), 3);
    json_decref(value);
    value = parsed("5");
    assert_int_equal(json_integer_value(value), 5);
    json_decref(value);
    const char *text = "{\"a\": 1, \"a\": 2}";
    assert_fails(LORA_ERROR_FORMAT, lr_json_parse_unique("test.json", text, strlen(text), &value), "test.json");
}

static void says_where_it_is_wrong(void **state)
{
    json_t *value;
    const char *text = "{\"a\": 1,\n \"b\": ?}";
    assert_fails(LORA_ERROR_FORMAT, lr_json_parse("c.json", text, strlen(text), &value),
                 "c.json: not valid JSON: line 2");
    assert_null(value);
    assert_fails(LORA_ERROR_FORMAT, lr_json_parse("c.json", "", 0, &value), "c.json");
    assert_fails(LORA_ERROR_FORMAT, lr_json_parse("c.json", "[\"\xFF\"]", 5, &value), "c.json");
    char *deep = malloc(100000);
    memset(deep, '[', 100000);
    assert_fails(LORA_ERROR_FORMAT, lr_json_parse("c.json", deep, 100000, &value), "c.json");
    free(deep);
}

// tokenizer_config.json's model_max_length, and numbers that must stay as they are beside it.
static void takes_integers_beyond_64_bits(void **state)
{
    json_t *value = parsed("{\"max\": 1000000000000000019884624838656, \"n\": -42, \"s\": \"12345678901234567890\","
                           " \"r\": 1.2345678901234567890123, \"e\": 1e5, \"l\": [-99999999999999999999]}");
    assert_true(json_real_value(json_object_get(value, "max")) == 1e30);
    assert_int_equal(json_integer_value(json_object_get(value, "n")), -42);
    assert_string_equal(json_string_value(json_object_get(value, "s")), "12345678901234567890");
    assert_true(json_real_value(json_object_get(value, "r")) == 1.2345678901234567890123);
    assert_true(json_real_value(json_object_get(value, "e")) == 1e5);
    assert_true(json_real_value(json_array_get(json_object_get(value, "l"), 0)) == -1e20);
    json_decref(value);
    value = parsed("99999999999999999999");
    assert_true(json_real_value(value) == 1e20);
    json_decref(value);
    assert_fails(LORA_ERROR_FORMAT, lr_json_parse("c", "[1e999]", 7, &value), "c: not valid");
}

static void getters_have_types_and_fallbacks(void **state)
{
    json_t *value = parsed("{\"i\": 7, \"r\": 0.5, \"t\": true, \"s\": \"x\", \"n\": null, \"z\": \"a\\u0000b\"}");
    int64_t integer;
    double real;
    bool truth;
    const char *text;
    assert_int_equal(lr_json_int(value, "c", "i", 1, &integer), LORA_OK);
    assert_int_equal(integer, 7);
    assert_int_equal(lr_json_int(value, "c", "n", 3, &integer), LORA_OK);
    assert_int_equal(integer, 3);
    assert_int_equal(lr_json_int(value, "c", "missing", 4, &integer), LORA_OK);
    assert_int_equal(integer, 4);
    assert_int_equal(lr_json_real(value, "c", "i", 1, &real), LORA_OK);
    assert_true(real == 7);
    assert_int_equal(lr_json_real(value, "c", "r", 1, &real), LORA_OK);
    assert_true(real == 0.5);
    assert_int_equal(lr_json_bool(value, "c", "t", false, &truth), LORA_OK);
    assert_true(truth);
    assert_int_equal(lr_json_text(value, "c", "s", NULL, &text), LORA_OK);
    assert_string_equal(text, "x");
    assert_int_equal(lr_json_text(value, "c", "n", NULL, &text), LORA_OK);
    assert_null(text);
    assert_fails(LORA_ERROR_FORMAT, lr_json_int(value, "c", "r", 1, &integer),
                 "c: \"r\": expected an integer, found a real number");
    assert_fails(LORA_ERROR_FORMAT, lr_json_real(value, "c", "s", 1, &real), "expected a number, found a text");
    assert_fails(LORA_ERROR_FORMAT, lr_json_bool(value, "c", "i", true, &truth), "found an integer");
    assert_fails(LORA_ERROR_FORMAT, lr_json_text(value, "c", "t", NULL, &text), "expected a text, found true");
    assert_fails(LORA_ERROR_FORMAT, lr_json_text(value, "c", "z", NULL, &text), "zero character");
    json_decref(value);
}

static void assert_dump(const json_t *value, int indent, bool sort, const char *expected)
{
    char *text;
    size_t length;
    assert_int_equal(lr_json_dump(memory, value, indent, sort, &text, &length), LORA_OK);
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
    free(text);
}

static void dumps_as_python_does(void **state)
{
    json_t *value = parsed("{\"b\":[1,2.5,{}],\"a\":{\"x\":null,\"y\":[true,false,[]]}}");
    assert_dump(value, 0, false, "{\"b\": [1, 2.5, {}], \"a\": {\"x\": null, \"y\": [true, false, []]}}");
    json_object_set_new(value, "z", json_string("q\"\\\n\t\x01\x7F/\u00e9\u4e2d"));
    assert_dump(value, 2, true,
                "{\n  \"a\": {\n    \"x\": null,\n    \"y\": [\n      true,\n      false,\n      []\n    ]\n  },\n"
                "  \"b\": [\n    1,\n    2.5,\n    {}\n  ],\n  \"z\": \"q\\\"\\\\\\n\\t\\u0001\x7F/\u00e9\u4e2d\"\n}");
    json_decref(value);
}

static void dumps_reals_as_python_does(void **state)
{
    static const double values[] = {0.0, -0.0, 1.0, 0.1, 0.05, -2.5, 1e-5, 1e-4, 0.00012345, 123456789.0, 1e15, 1e16,
                                    1.5e16, 123456789012345680.0, 1e22, 1e23, 5e-324, 1.7976931348623157e308,
                                    3.141592653589793, 1.0 / 3, 2e-4, 100.0, 9007199254740993.0, 0.001, 1234.5,
                                    99999999999999.98};
    const char *expected =
        "[0.0, -0.0, 1.0, 0.1, 0.05, -2.5, 1e-05, 0.0001, 0.00012345, 123456789.0, 1000000000000000.0, "
        "1e+16, 1.5e+16, 1.2345678901234568e+17, 1e+22, 1e+23, 5e-324, 1.7976931348623157e+308, "
        "3.141592653589793, 0.3333333333333333, 0.0002, 100.0, 9007199254740992.0, 0.001, 1234.5, "
        "99999999999999.98]";
    json_t *array = json_array();
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) json_array_append_new(array, json_real(values[i]));
    assert_dump(array, 0, false, expected);
    // Hosts with a comma as the decimal point.
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) assert_dump(array, 0, false, expected);
    setlocale(LC_NUMERIC, "C");
    json_decref(array);
}

static void loads_a_file(void **state)
{
    json_t *value;
    const char *path = in_directory(state, "x.json");
    put_file(path, "{\"a\": [1]}", 10);
    assert_int_equal(lr_json_load(memory, &lr_system_files, path, 100, &value), LORA_OK);
    assert_int_equal(json_array_size(json_object_get(value, "a")), 1);
    json_decref(value);
    assert_fails(LORA_ERROR_FORMAT, lr_json_load(memory, &lr_system_files, path, 9, &value), "more than 9 bytes");
    assert_fails(LORA_ERROR_NOT_FOUND, lr_json_load(memory, &lr_system_files, "/none.json", 9, &value), "/none.json");
}

static void survives_damage(void **state)
{
    const char *good = "{\"a\": [1, -2.5e3, \"\\u00e9\\n\"], \"b\": {\"c\": null, \"d\": 99999999999999999999}}";
    size_t length = strlen(good);
    json_t *value;
    for (size_t cut = 0; cut < length; cut++) {
        char *text = malloc(cut + 1); // exact, so that a read beyond the end is seen
        memcpy(text, good, cut);
        assert_int_equal(lr_json_parse("c", text, cut, &value), LORA_ERROR_FORMAT);
        free(text);
    }
    for (size_t bit = 0; bit < length * 8; bit++) {
        char *text = malloc(length);
        memcpy(text, good, length);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        if (lr_json_parse("c", text, length, &value) == LORA_OK) json_decref(value);
        free(text);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(parses),
        TEST(says_where_it_is_wrong),
        TEST(takes_integers_beyond_64_bits),
        TEST(getters_have_types_and_fallbacks),
        TEST(dumps_as_python_does),
        TEST(dumps_reals_as_python_does),
        TEST(loads_a_file),
        TEST(survives_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
