// Reading files written byte by byte, refusing damaged ones, and writing.
#include "support.h"

#include "lib/safetensors.h"

#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;

// The eight bytes of the length, the header, then `data` bytes 0, 1, 2, ...
static size_t make_file(uint8_t *target, const char *header, size_t data)
{
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) target[i] = (uint8_t)(length >> (8 * i));
    memcpy(target + 8, header, length);
    for (size_t i = 0; i < data; i++) target[8 + length + i] = (uint8_t)i;
    return 8 + length + data;
}

static lora_status open_header(void **state, const char *header, size_t data, lr_safetensors *file)
{
    uint8_t bytes[2048];
    const char *path = in_directory(state, "t.safetensors");
    put_file(path, bytes, make_file(bytes, header, data));
    return lr_safetensors_open(memory, &lr_system_files, path, file);
}

static const char *const good = "{\"__metadata__\":{\"format\":\"pt\"},"
                                "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[24,30]},"
                                "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                "\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,1,1,2],\"data_offsets\":[30,32]},"
                                "\"none\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[32,32]},"
                                "\"one\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[32,36]}} ";

static void reads(void **state)
{
    lr_safetensors file;
    assert_int_equal(open_header(state, good, 36, &file), LORA_OK);
    assert_int_equal(file.count, 5);
    static const char *const order[] = {"a", "b", "mask", "none", "one"};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(file.entries[i].name, order[i]);
        assert_ptr_equal(lr_safetensors_find(&file, order[i]), &file.entries[i]);
    }
    const lr_tensor_entry *a = lr_safetensors_find(&file, "a"), *mask = lr_safetensors_find(&file, "mask");
    assert_int_equal(a->type, LORA_TYPE_F32);
    assert_int_equal(a->dimensions, 2);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 3);
    assert_int_equal(a->size, 24);
    assert_int_equal(a->offset, 8 + strlen(good));
    assert_int_equal(file.file.bytes[lr_safetensors_find(&file, "b")->offset], 24); // data counts up
    assert_int_equal(mask->type, -1);
    assert_string_equal(mask->type_name, "BOOL");
    assert_int_equal(mask->dimensions, 4);
    assert_int_equal(lr_safetensors_find(&file, "one")->dimensions, 0);
    assert_string_equal(lr_safetensors_metadata(&file, "format"), "pt");
    assert_null(lr_safetensors_metadata(&file, "other"));
    assert_null(lr_safetensors_find(&file, "__metadata__"));
    assert_null(lr_safetensors_find(&file, "c"));
    lr_safetensors_close(&file);
    lr_safetensors_close(&file);
    assert_int_equal(open_header(state, "{}", 0, &file), LORA_OK);
    assert_int_equal(file.count, 0);
    assert_null(lr_safetensors_metadata(&file, "format"));
    lr_safetensors_close(&file);
}

#define F32(name, shape, begin, end)                                                                                   \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t data;
    lora_status status;
    const char *text;
} bad[] = {
    {"[]", 0, LORA_ERROR_FORMAT, "does not begin with"},
    {"{\"a\":1}", 0, LORA_ERROR_FORMAT, "tensor a: expected an object"},
    {"{" F32("a", "[1]", "0", "4") "," F32("a", "[1]", "0", "4") "}", 4, LORA_ERROR_FORMAT, "duplicate"},
    {"{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "2", "6") "}", 6, LORA_ERROR_FORMAT, "overlap"},
    {"{" F32("a", "[1]", "0", "4") "," F32("b", "[1]", "8", "12") "}", 12, LORA_ERROR_FORMAT, "belong to no tensor"},
    {"{" F32("a", "[1]", "0", "4") "}", 5, LORA_ERROR_FORMAT, "belong to no tensor"},
    {"{" F32("a", "[1]", "4", "8") "}", 8, LORA_ERROR_FORMAT, "expected 0"},
    {"{" F32("a", "[2]", "0", "8") "}", 7, LORA_ERROR_FORMAT, "cut off"},
    {"{" F32("a", "[2]", "0", "4") "}", 4, LORA_ERROR_FORMAT, "span 4 bytes, its shape and dtype need 8"},
    {"{" F32("a", "[1]", "4", "0") "}", 4, LORA_ERROR_FORMAT, "data_offsets are [4, 0]"},
    {"{" F32("a", "[1]", "-4", "0") "}", 4, LORA_ERROR_FORMAT, "data_offsets are [-4, 0]"},
    {"{" F32("a", "[1]", "0", "4.0") "}", 4, LORA_ERROR_FORMAT, "two integers"},
    {"{" F32("a", "[-1]", "0", "4") "}", 4, LORA_ERROR_FORMAT, "its shape is"},
    {"{" F32("a", "[\"1\"]", "0", "4") "}", 4, LORA_ERROR_FORMAT, "its shape is"},
    {"{" F32("a", "1", "0", "4") "}", 4, LORA_ERROR_FORMAT, "expected an array"},
    {"{" F32("a", "[4294967296,4294967296]", "0", "0") "}", 0, LORA_ERROR_FORMAT, "its shape is"},
    {"{" F32("a", "[0,4611686018427387904,4]", "0", "0") "}", 0, LORA_OK, ""},
    {"{" F32("a", "[1,1,1,1,1]", "0", "4") "}", 4, LORA_ERROR_UNSUPPORTED, "5 dimensions"},
    {"{\"a\":{\"dtype\":\"Q9\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, LORA_ERROR_UNSUPPORTED, "unknown dtype Q9"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, LORA_ERROR_FORMAT, "span 1 bytes"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, LORA_ERROR_FORMAT, "unknown dtype (none)"},
    {"{\"__metadata__\":{\"a\":1}}", 0, LORA_ERROR_FORMAT, "__metadata__"},
    {"{\"__metadata__\":[]}", 0, LORA_ERROR_FORMAT, "__metadata__"},
};

static void refuses_bad_headers(void **state)
{
    lr_safetensors file;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lora_status status = open_header(state, bad[i].header, bad[i].data, &file);
        if (bad[i].status == LORA_OK) {
            assert_int_equal(status, LORA_OK);
            lr_safetensors_close(&file);
        } else {
            assert_fails(bad[i].status, status, bad[i].text);
            assert_non_null(strstr(lora_error_message(), "t.safetensors"));
        }
    }
    const char *path = in_directory(state, "t");
    put_file(path, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
    assert_fails(LORA_ERROR_FORMAT, lr_safetensors_open(memory, &lr_system_files, path, &file), "not a safetensors");
    put_file(path, "\x03\0\0\0\0\0\0\0{}", 10);
    assert_fails(LORA_ERROR_FORMAT, lr_safetensors_open(memory, &lr_system_files, path, &file), "cut off");
    put_file(path, "\x02\0\0", 3);
    assert_fails(LORA_ERROR_FORMAT, lr_safetensors_open(memory, &lr_system_files, path, &file), "3 bytes");
    put_file(path, "", 0);
    assert_fails(LORA_ERROR_FORMAT, lr_safetensors_open(memory, &lr_system_files, path, &file), "0 bytes");
}

// Every truncation is refused; a flipped bit never makes an entry that lies outside the file.
static void survives_damage(void **state)
{
    uint8_t bytes[2048];
    size_t size = make_file(bytes, good, 36);
    lr_safetensors file;
    memory_file damaged = {bytes, size};
    lora_file_access files = access_to_memory(&damaged);
    for (damaged.size = 0; damaged.size < size; damaged.size++)
        assert_int_equal(lr_safetensors_open(memory, &files, "t", &file), LORA_ERROR_FORMAT);
    for (size_t bit = 0; bit < (8 + strlen(good)) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (lr_safetensors_open(memory, &files, "t", &file) == LORA_OK) {
            for (size_t i = 0; i < file.count; i++)
                assert_true(file.entries[i].offset + file.entries[i].size <= file.file.size);
            lr_safetensors_close(&file);
        }
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void reports_every_failed_allocation(void **state)
{
    uint8_t bytes[2048];
    const char *path = in_directory(state, "t");
    put_file(path, bytes, make_file(bytes, good, 36));
    lora_file_access files = lr_system_files;
    long failures = 0;
    for (;; failures++) {
        failing_allocator self;
        failing_allocator_init(&self, failures);
        files.user = &self.allocator;
        lr_safetensors file;
        lora_status status = lr_safetensors_open(&self.allocator, &files, path, &file);
        if (status == LORA_OK) lr_safetensors_close(&file);
        assert_int_equal(self.live, 0);
        if (!self.failed) break;
        assert_fails(LORA_ERROR_MEMORY, status, "out of memory");
    }
    assert_true(failures >= 2);
}

// ---- writing ------------------------------------------------------------------------------------------------------

static const lr_safetensors_tensor tensors[] = {
    {"w\"1", LORA_TYPE_F32, 2, {2, 1}},
    {"h", LORA_TYPE_F16, 1, {3}},
    {"empty", LORA_TYPE_BF16, 2, {0, 5}},
    {"scalar", LORA_TYPE_I32, 0, {0}},
};
static const char data[] = "abcdefghijklmnopqr"; // 8 + 6 + 0 + 4 bytes

static void writes(void **state)
{
    const char *path = in_directory(state, "new/t.safetensors");
    const char *const metadata[] = {"format", "pt", "k", "v", NULL};
    lr_safetensors_writer *writer;
    assert_int_equal(lr_safetensors_writer_create(memory, path, false, tensors, 4, metadata, &writer), LORA_OK);
    assert_int_equal(lr_safetensors_writer_write(writer, data, 10), LORA_OK);
    assert_int_equal(lr_safetensors_writer_write(writer, data + 10, 8), LORA_OK);
    assert_int_equal(lr_safetensors_writer_commit(writer), LORA_OK);
    size_t size;
    char *bytes = get_file(path, &size);
    const char *header = "{\"__metadata__\": {\"format\": \"pt\", \"k\": \"v\"}, "
                         "\"w\\\"1\": {\"dtype\": \"F32\", \"shape\": [2, 1], \"data_offsets\": [0, 8]}, "
                         "\"h\": {\"dtype\": \"F16\", \"shape\": [3], \"data_offsets\": [8, 14]}, "
                         "\"empty\": {\"dtype\": \"BF16\", \"shape\": [0, 5], \"data_offsets\": [14, 14]}, "
                         "\"scalar\": {\"dtype\": \"I32\", \"shape\": [], \"data_offsets\": [14, 18]}}";
    size_t length = (strlen(header) + 7) / 8 * 8;
    assert_int_equal(size, 8 + length + 18);
    assert_int_equal((uint8_t)bytes[0] + 256 * (uint8_t)bytes[1], length);
    assert_memory_equal(bytes + 2, "\0\0\0\0\0\0", 6);
    assert_memory_equal(bytes + 8, header, strlen(header));
    for (size_t i = strlen(header); i < length; i++) assert_int_equal(bytes[8 + i], ' ');
    assert_memory_equal(bytes + 8 + length, data, 18);
    free(bytes);
    assert_int_equal(count_entries(in_directory(state, "new")), 1);
}

static void checks_what_is_written(void **state)
{
    const char *path = in_directory(state, "t");
    lr_safetensors_writer *writer;
    assert_int_equal(lr_safetensors_writer_create(memory, path, false, tensors, 4, NULL, &writer), LORA_OK);
    assert_int_equal(lr_safetensors_writer_write(writer, data, 17), LORA_OK);
    assert_fails(LORA_ERROR_INTERNAL, lr_safetensors_writer_write(writer, data, 2), "more bytes");
    assert_fails(LORA_ERROR_INTERNAL, lr_safetensors_writer_commit(writer), "lacks 1 bytes");
    assert_int_equal(count_entries(*state), 0); // nothing is left
    const lr_safetensors_tensor twice[] = {tensors[1], tensors[1]}, block = {"q", LORA_TYPE_Q8_0, 1, {32}};
    assert_fails(LORA_ERROR_INTERNAL, lr_safetensors_writer_create(memory, path, false, twice, 2, NULL, &writer),
                 "twice");
    assert_fails(LORA_ERROR_UNSUPPORTED, lr_safetensors_writer_create(memory, path, false, &block, 1, NULL, &writer),
                 "q");
    put_file(path, "old", 3);
    assert_fails(LORA_ERROR_EXISTS, lr_safetensors_writer_create(memory, path, false, tensors, 4, NULL, &writer), path);
    lr_safetensors_writer_abandon(NULL);
    assert_int_equal(count_entries(*state), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(reads),  TEST(refuses_bad_headers), TEST(survives_damage), TEST(reports_every_failed_allocation),
        TEST(writes), TEST(checks_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
