// Writing GGUF files: the same bytes as the builder's.
#include "gguf_builder.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;

static void add_pairs(lr_gguf_writer *writer)
{
    const lr_gguf_text tokens[] = {{"a", 1}, {"", 0}, {"bcd", 3}};
    const float scores[] = {-1, 2};
    const int32_t types[] = {-7};
    assert_int_equal(lr_gguf_writer_string(writer, "general.architecture", "llama", 5), LORA_OK);
    assert_int_equal(lr_gguf_writer_u32(writer, "n", 70000), LORA_OK);
    assert_int_equal(lr_gguf_writer_f32(writer, "eps", 0.5f), LORA_OK);
    assert_int_equal(lr_gguf_writer_bool(writer, "flag", true), LORA_OK);
    assert_int_equal(lr_gguf_writer_strings(writer, "tokens", tokens, 3), LORA_OK);
    assert_int_equal(lr_gguf_writer_f32s(writer, "scores", scores, 2), LORA_OK);
    assert_int_equal(lr_gguf_writer_i32s(writer, "types", types, 1), LORA_OK);
}

static void add_tensors(lr_gguf_writer *writer)
{
    const lr_tensor_entry w = {.name = "w", .type = LORA_TYPE_F32, .dimensions = 2, .shape = {2, 3}},
                          q = {.name = "q", .type = LORA_TYPE_Q8_0, .dimensions = 1, .shape = {64}};
    assert_int_equal(lr_gguf_writer_tensor(writer, &w), LORA_OK);
    assert_int_equal(lr_gguf_writer_tensor(writer, &q), LORA_OK);
}

static void assert_same_file(const char *path, const builder *expected)
{
    size_t size;
    char *bytes = get_file(path, &size);
    assert_int_equal(size, expected->size);
    assert_memory_equal(bytes, expected->bytes, size);
    free(bytes);
}

static void writes(void **state)
{
    builder good;
    build_good(&good);
    uint8_t data[92];
    for (int i = 0; i < 92; i++) data[i] = (uint8_t)(i < 24 ? i : 100 + i - 24);
    const char *path = in_directory(state, "t.gguf");
    for (size_t piece = 1; piece <= 92; piece += 13) { // pieces that cross from one tensor to the next
        lr_gguf_writer *writer;
        assert_int_equal(lr_gguf_writer_create(memory, path, true, &writer), LORA_OK);
        add_pairs(writer);
        add_tensors(writer);
        for (size_t at = 0; at < 92; at += piece)
            assert_int_equal(lr_gguf_writer_data(writer, data + at, piece < 92 - at ? piece : 92 - at), LORA_OK);
        assert_int_equal(lr_gguf_writer_commit(writer), LORA_OK);
        assert_same_file(path, &good);
    }
    assert_int_equal(count_entries(*state), 1);
}

static void copies_pairs(void **state)
{
    builder source, expected;
    begin_gguf(&source, 3, 0, 9);
    begin_gguf(&expected, 3, 0, 8);
    for (builder *self = &source;; self = &expected) {
        build_pairs(self);
        if (self == &source) {
            put_key(self, "general.alignment", 4); // not copied
            put_number(self, 64, 4);
        }
        put_key(self, "big", 11);
        put_number(self, (uint64_t)-5, 8);
        if (self == &expected) break;
    }
    pad_to(&expected, 32);
    lr_gguf file;
    lr_gguf_writer *writer;
    assert_int_equal(open_built(&source, &file), LORA_OK);
    const char *path = in_directory(state, "t.gguf");
    assert_int_equal(lr_gguf_writer_create(memory, path, false, &writer), LORA_OK);
    for (size_t i = 0; i < file.pair_count; i++)
        assert_int_equal(lr_gguf_writer_copy(writer, &file.pairs[i]), LORA_OK);
    assert_int_equal(lr_gguf_writer_commit(writer), LORA_OK);
    assert_same_file(path, &expected);
    lr_gguf_close(&file);
}

static void checks_what_is_written(void **state)
{
    lr_gguf_writer *writer;
    const char *path = in_directory(state, "t.gguf");
    uint8_t data[93] = {0};
    assert_int_equal(lr_gguf_writer_create(memory, path, false, &writer), LORA_OK);
    const lr_tensor_entry odd = {.name = "odd", .type = LORA_TYPE_Q8_0, .dimensions = 1, .shape = {33}},
                          apart = {.name = "apart", .type = LORA_TYPE_INT8, .dimensions = 1, .shape = {32}};
    assert_fails(LORA_ERROR_UNSUPPORTED, lr_gguf_writer_tensor(writer, &odd), "odd");
    assert_fails(LORA_ERROR_UNSUPPORTED, lr_gguf_writer_tensor(writer, &apart), "apart");
    add_tensors(writer);
    assert_int_equal(lr_gguf_writer_data(writer, data, 91), LORA_OK);
    assert_fails(LORA_ERROR_INTERNAL, lr_gguf_writer_u32(writer, "late", 1), "late");
    assert_fails(LORA_ERROR_INTERNAL, lr_gguf_writer_commit(writer), "lacks the bytes of 1");
    assert_int_equal(count_entries(*state), 0);
    assert_int_equal(lr_gguf_writer_create(memory, path, false, &writer), LORA_OK);
    add_tensors(writer);
    assert_fails(LORA_ERROR_INTERNAL, lr_gguf_writer_data(writer, data, 93), "more bytes");
    lr_gguf_writer_abandon(writer);
    assert_int_equal(count_entries(*state), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(writes),
        TEST(copies_pairs),
        TEST(checks_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
