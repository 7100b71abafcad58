// The check as a host calls it: its numbers, its report, struct sizes, and every allocation failing once.
#include "fixture.h"

#include <jansson.h>
#include <lora/check.h>
#include <string.h>

static const char rows[] = "{\"prompt\": \"Where?\", \"completion\": \"Here.\"}\n"
                           "{\"prompt\": \"Where?\", \"completion\": \" Here. \"}\n"
                           "{\"prompt\": \"Who?\", \"completion\": \"\"}\n"
                           "{\"text\": \"<|im_end|> write to me@example.com \"}\n"
                           "{\"colour\": 1}\n";

static lora_check *make(fixture *f, void **state, const lora_check_options *options, const char **path)
{
    lora_check *check = NULL;
    *path = in_directory(state, "rows.jsonl");
    put_file(*path, rows, strlen(rows));
    assert_ok(lora_check_create(f->context, f->tokenizer, path, 1, path, 1, options, &check));
    return check;
}

static void test_numbers_and_report(void **state)
{
    fixture f;
    const char *path, *text;
    size_t length;
    lora_check_options options;
    lora_check_info info = {.struct_size = sizeof info};
    lora_check_options_init(&options);
    assert_int_equal(options.max_length, 512);
    options.max_length = 20;
    options.max_listed = 1;
    open_fixture(&f, state, chatml, false);
    lora_check *check = make(&f, state, &options, &path);
    assert_ok(lora_check_get_info(check, &info));
    assert_int_equal(info.rows, 5);
    assert_int_equal(info.validation_rows, 5);
    assert_int_equal(info.errors, 3); // empty_output, unreadable_row, leak
    assert_int_equal(info.estimated, 0);
    assert_int_equal(info.too_long_rows, 6); // the template alone has more than 20 bytes
    assert_ok(lora_check_report(check, &text, &length));
    assert_int_equal(strlen(text), length);
    json_t *report = json_loads(text, 0, NULL), *first = json_array_get(json_object_get(report, "findings"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "kind")), "unreadable_row");
    assert_int_equal(json_integer_value(json_object_get(first, "count")), 2);
    assert_int_equal(json_integer_value(json_object_get(first, "unlisted_rows")), 1);
    assert_int_equal(json_array_size(json_object_get(first, "rows")), 1);
    json_decref(report);
    lora_check_free(check);
    close_fixture(&f);
}

static void test_an_older_struct(void **state)
{
    fixture f;
    const char *path;
    lora_check_info info = {.struct_size = offsetof(lora_check_info, errors), .errors = -7};
    open_fixture(&f, state, chatml, false);
    lora_check *check = make(&f, state, NULL, &path);
    assert_ok(lora_check_get_info(check, &info));
    assert_int_equal(info.rows, 5);
    assert_int_equal(info.errors, -7);
    assert_fails(LORA_ERROR_ARGUMENT, lora_check_fix(check, NULL, NULL, NULL), "no path");
    assert_fails(LORA_ERROR_ARGUMENT, lora_check_create(f.context, NULL, NULL, 0, NULL, 0, NULL, &check), "no files");
    lora_check_free(check);
    lora_check_free(NULL);
    close_fixture(&f);
}

typedef struct checking {
    const fixture *f;
    const char *path, *clean;
} checking;

static lora_status check_and_fix(lora_context *context, failing_allocator *memory, long n, void *user)
{
    const checking *c = user;
    lora_check *check = NULL;
    memory->until_failure = n;
    lora_status status = lora_check_create(context, c->f->tokenizer, &c->path, 1, &c->path, 1, NULL, &check);
    if (status == LORA_OK) status = lora_check_fix(check, c->clean, NULL, NULL);
    memory->until_failure = -1;
    lora_check_free(check);
    return status;
}

// Every allocation of a check and of a cleaned copy fails once: the call says so, and nothing is left behind.
static void test_no_memory(void **state)
{
    fixture f;
    checking c = {&f, in_directory(state, "rows.jsonl"), in_directory(state, "clean.jsonl")};
    open_fixture(&f, state, chatml, false);
    put_file(c.path, rows, strlen(rows));
    fail_each_allocation(check_and_fix, &c);
    close_fixture(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {TEST(test_numbers_and_report), TEST(test_an_older_struct), TEST(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
