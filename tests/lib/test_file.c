// Reading: the real file system, a host's file access, gzip, limits, paths, sums.
#include "support.h"

#include "lib/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const lora_allocator *const memory = &lr_system_allocator;
static const lora_file_access *const disk = &lr_system_files;

static void reads_a_file(void **state)
{
    const char *path = in_directory(state, "a");
    put_file(path, "hello", 5);
    lr_file file;
    assert_int_equal(lr_file_open(memory, disk, path, 5, &file), LORA_OK);
    assert_int_equal(file.size, 5);
    assert_memory_equal(file.bytes, "hello", 5);
    assert_false(file.owned); // mapped
    lr_file_close(&file);
    lr_file_close(&file);
    assert_fails(LORA_ERROR_FORMAT, lr_file_open(memory, disk, path, 4, &file), "5 bytes, expected at most 4");
    bool found = false;
    assert_int_equal(lr_file_find(disk, path, &found), LORA_OK);
    assert_true(found);

    put_file(path, "", 0);
    assert_int_equal(lr_file_open(memory, disk, path, 0, &file), LORA_OK);
    assert_int_equal(file.size, 0);
    lr_file_close(&file);
}

static void refuses_what_is_no_file(void **state)
{
    lr_file file;
    assert_fails(LORA_ERROR_NOT_FOUND, lr_file_open(memory, disk, in_directory(state, "none"), 9, &file), "none");
    assert_fails(LORA_ERROR_IO, lr_file_open(memory, disk, *state, 9, &file), "a directory");
    const char *pipe = in_directory(state, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_fails(LORA_ERROR_IO, lr_file_open(memory, disk, pipe, 9, &file), "pipe or device");
    bool found = true;
    assert_int_equal(lr_file_find(disk, in_directory(state, "none"), &found), LORA_OK);
    assert_false(found);
    assert_fails(LORA_ERROR_IO, lr_file_find(disk, pipe, &found), "pipe or device"); // there, but not readable
}

// ---- a host's file access: one file in memory, handle NULL --------------------------------------------------------

typedef struct host {
    const char *text;
    bool can_map, fails;
    int opened, closed, mapped;
} host;

static lora_status host_open(const char *path, void **handle, void *user)
{
    *handle = NULL;
    if (strcmp(path, "pack/text") != 0) return LORA_ERROR_NOT_FOUND;
    ((host *)user)->opened++;
    return LORA_OK;
}

static lora_status host_size(void *handle, uint64_t *size, void *user)
{
    *size = strlen(((host *)user)->text);
    return LORA_OK;
}

static lora_status host_read(void *handle, uint64_t offset, void *buffer, size_t count, void *user)
{
    const host *self = user;
    if (self->fails || offset + count > strlen(self->text)) return LORA_ERROR_IO;
    memcpy(buffer, self->text + offset, count);
    return LORA_OK;
}

static lora_status host_map(void *handle, const void **bytes, void *user)
{
    host *self = user;
    if (!self->can_map) return LORA_ERROR_IO;
    self->mapped++;
    *bytes = self->text;
    return LORA_OK;
}

static void host_close(void *handle, void *user)
{
    ((host *)user)->closed++;
}

static void reads_through_a_host(void **state)
{
    for (int can_map = 0; can_map < 2; can_map++) {
        host self = {.text = "packed", .can_map = can_map};
        lora_file_access files = {host_open, host_size, host_read, host_map, host_close, &self};
        lr_file file;
        assert_int_equal(lr_file_open(memory, &files, "pack/text", 100, &file), LORA_OK);
        assert_memory_equal(file.bytes, "packed", 6);
        assert_int_equal(self.mapped, can_map);
        assert_int_equal(self.closed, !can_map); // a mapped file stays open
        lr_file_close(&file);
        assert_int_equal(self.closed, 1);
        assert_fails(LORA_ERROR_NOT_FOUND, lr_file_open(memory, &files, "pack/other", 100, &file), "pack/other");
        self.fails = true;
        self.can_map = false;
        assert_fails(LORA_ERROR_IO, lr_file_open(memory, &files, "pack/text", 100, &file),
                     "reading its 6 bytes failed");
        assert_int_equal(self.opened, self.closed);
        files.map = NULL;
        self.fails = false;
        assert_int_equal(lr_file_open(memory, &files, "pack/text", 100, &file), LORA_OK);
        lr_file_close(&file);
    }
}

// ---- gzip ---------------------------------------------------------------------------------------------------------

static size_t pack(const void *bytes, size_t size, uint8_t *target, size_t capacity)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (uint8_t *)(uintptr_t)bytes;
    stream.avail_in = (unsigned)size;
    stream.next_out = target;
    stream.avail_out = (unsigned)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return capacity - stream.avail_out;
}

static void unpacks_gzip(void **state)
{
    uint8_t packed[400];
    const char *path = in_directory(state, "text.gz");
    char *text;
    size_t length, first = pack("one ", 4, packed, 200), size = first + pack("two", 3, packed + first, 200);
    put_file(path, packed, size); // two members
    assert_int_equal(lr_file_read_text(memory, disk, path, 7, &text, &length), LORA_OK);
    assert_int_equal(length, 7);
    assert_string_equal(text, "one two");
    free(text);
    assert_fails(LORA_ERROR_FORMAT, lr_file_read_text(memory, disk, path, 6, &text, &length), "more than 6 bytes");
    for (size_t cut = 2; cut < size; cut++) {
        put_file(path, packed, cut);
        lora_status status = lr_file_read_text(memory, disk, path, 100, &text, &length);
        if (cut == first) {
            assert_int_equal(status, LORA_OK); // whole after the first member
            free(text);
        } else {
            assert_int_equal(status, LORA_ERROR_FORMAT);
        }
    }
    packed[first] = 'x';
    put_file(path, packed, size);
    assert_fails(LORA_ERROR_FORMAT, lr_file_read_text(memory, disk, path, 100, &text, &length), "other bytes follow");
    packed[first] = 0x1F;
    packed[first - 5] ^= 1; // the sum
    put_file(path, packed, size);
    assert_fails(LORA_ERROR_FORMAT, lr_file_read_text(memory, disk, path, 100, &text, &length), "damaged gzip");
}

// 64 MiB of zeros in 64 KiB: refused at the limit, without memory for more.
static void refuses_a_gzip_bomb(void **state)
{
    size_t size = (size_t)64 << 20, length;
    uint8_t *zeros = calloc(size, 1), *packed = malloc(1 << 20);
    char *text;
    size_t packed_size = pack(zeros, size, packed, 1 << 20);
    const char *path = in_directory(state, "bomb.gz");
    put_file(path, packed, packed_size);
    assert_fails(LORA_ERROR_FORMAT, lr_file_read_text(memory, disk, path, 1 << 20, &text, &length),
                 "more than 1048576");
    assert_int_equal(lr_file_read_text(memory, disk, path, size, &text, &length), LORA_OK);
    assert_int_equal(length, size);
    free(text);
    free(packed);
    free(zeros);
}

static void reads_plain_text(void **state)
{
    const char *path = in_directory(state, "text");
    char *text;
    size_t length;
    put_file(path, "abc\0d", 5);
    assert_int_equal(lr_file_read_text(memory, disk, path, 5, &text, &length), LORA_OK);
    assert_int_equal(length, 5);
    assert_memory_equal(text, "abc\0d", 6);
    free(text);
    assert_fails(LORA_ERROR_FORMAT, lr_file_read_text(memory, disk, path, 4, &text, &length), "more than 4 bytes");
    put_file(path, "", 0);
    assert_int_equal(lr_file_read_text(memory, disk, path, 0, &text, &length), LORA_OK);
    assert_string_equal(text, "");
    free(text);
}

// ---- paths, sums --------------------------------------------------------------------------------------------------

static void knows_paths(void **state)
{
    static const char *const safe[] = {"a", "a.b", "a/b", "...", "a..b/c", "./a", ".hidden"};
    static const char *const unsafe[] = {"", "/a", "..", "../a", "a/..", "a/../b", "a\\b", "C:a", "a/", "c:/x"};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) assert_true(lr_path_is_safe(safe[i]));
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) assert_false(lr_path_is_safe(unsafe[i]));
    char *joined = lr_path_join(memory, "a/b/", "c");
    assert_string_equal(joined, "a/b/c");
    free(joined);
    joined = lr_path_join(memory, "a", "c");
    assert_string_equal(joined, "a/c");
    free(joined);
    assert_true(lr_path_ends_with("x.gguf", ".gguf"));
    assert_false(lr_path_ends_with("gguf", ".gguf"));
    assert_true(lr_path_is_directory(*state));
    assert_false(lr_path_is_directory(in_directory(state, "none")));
}

static void makes_lists_and_removes_directories(void **state)
{
    char **names;
    size_t count;
    assert_int_equal(lr_make_directories(in_directory(state, "x/y/z")), LORA_OK);
    assert_int_equal(lr_make_directories(in_directory(state, "x/y/z/")), LORA_OK);
    put_file(in_directory(state, "x/file"), "1", 1);
    put_file(in_directory(state, "x/another"), "1", 1);
    assert_int_equal(symlink("/", in_directory(state, "x/y/link")), 0); // not followed
    assert_fails(LORA_ERROR_IO, lr_make_directories(in_directory(state, "x/file/z")), "x/file");
    assert_int_equal(lr_list_directory(memory, in_directory(state, "x"), &names, &count), LORA_OK);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "another");
    assert_string_equal(names[1], "file");
    assert_string_equal(names[2], "y");
    lr_free_names(memory, names, count);
    assert_int_equal(lr_remove_tree(in_directory(state, "x")), LORA_OK);
    assert_false(lr_path_exists(in_directory(state, "x")));
    assert_int_equal(lr_remove_tree(in_directory(state, "x")), LORA_OK);
    assert_fails(LORA_ERROR_NOT_FOUND, lr_list_directory(memory, in_directory(state, "x"), &names, &count), "/x");
}

// Published check values of CRC-32 and FNV-1a.
static void sums_are_the_standard_ones(void **state)
{
    assert_int_equal(lr_crc32(0, "123456789", 9), 0xCBF43926u);
    assert_int_equal(lr_crc32(lr_crc32(0, "1234", 4), "56789", 5), 0xCBF43926u);
    assert_true(lr_hash64(0, "", 0) == 0xCBF29CE484222325u);
    assert_true(lr_hash64(0, "a", 1) == 0xAF63DC4C8601EC8Cu);
    assert_true(lr_hash64(0, "foobar", 6) == 0x85944171F73967E8u);
    assert_true(lr_hash64(1, "a", 1) != lr_hash64(0, "a", 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(reads_a_file),        TEST(refuses_what_is_no_file), TEST(reads_through_a_host),
        TEST(unpacks_gzip),        TEST(refuses_a_gzip_bomb),     TEST(reads_plain_text),
        TEST(knows_paths),         TEST(makes_lists_and_removes_directories),
        TEST(sums_are_the_standard_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
