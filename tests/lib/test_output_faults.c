// Every call into the operating system that an output makes fails in turn, for the reason that users meet: the disk is
// full, the file system is read-only, no permission. The linker puts the functions below between the library and libc
// (--wrap).
#include "support.h"

#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const lora_allocator *const memory = &lr_system_allocator;

static long until_failure = -1; // negative: none fails
static int reason;
static bool failed, for_good; // from then on every call fails
static char calls[64];        // a letter each

static bool may_run(char letter)
{
    size_t length = strlen(calls);
    if (length + 1 < sizeof calls) calls[length] = letter;
    if (failed && for_good) {
        errno = reason;
        return false;
    }
    if (until_failure < 0 || until_failure-- > 0) return true;
    failed = true;
    errno = reason;
    return false;
}

ssize_t __real_write(int descriptor, const void *bytes, size_t size);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t size);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t size)
{
    return may_run('w') ? __real_write(descriptor, bytes, size) : -1;
}

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    return may_run('s') ? __real_fsync(descriptor) : -1;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return may_run('r') ? __real_rename(from, to) : -1;
}

int __real_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    return may_run('r') ? __real_renameat(from_directory, from, to_directory, to) : -1;
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    // Directories that are there are no failure.
    struct stat info;
    if (stat(path, &info) == 0) return __real_mkdir(path, mode);
    return may_run('d') ? __real_mkdir(path, mode) : -1;
}

// Both names: 64-bit file offsets make the second out of the first.
int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return may_run('o') ? __real_open(path, flags, mode) : -1;
}

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode)
{
    return may_run('o') ? __real_open64(path, flags, mode) : -1;
}

static void fail_at(long call, int error, bool all_after)
{
    until_failure = call;
    reason = error;
    failed = false;
    for_good = all_after;
}

static void forget_calls(void)
{
    memset(calls, 0, sizeof calls);
}

static bool has_content(const char *path, const char *expected)
{
    fail_at(-1, 0, false);
    size_t size;
    char *bytes = get_file(path, &size);
    bool same = bytes && strcmp(bytes, expected) == 0;
    free(bytes);
    return same;
}

static const int reasons[] = {ENOSPC, EROFS, EACCES, EIO, EDQUOT};

static void assert_says(lora_status status, int error, const char *name)
{
    assert_int_equal(status, LORA_ERROR_IO);
    assert_non_null(strstr(lora_error_message(), strerror(error)));
    assert_non_null(strstr(lora_error_message(), name));
}

// The file is synced before it takes the name, the directory after.
static void writers_sync(void **state)
{
    fail_at(-1, 0, false);
    forget_calls();
    assert_int_equal(lr_write_file(memory, in_directory(state, "file"), false, "x", 1), LORA_OK);
    assert_string_equal(calls, "owsros");
}

// A failed write leaves the old file alone and nothing beside it. Only the sync of the directory comes after the new
// file stands in its place.
static void writers_leave_the_old_file(void **state)
{
    const char *path = in_directory(state, "file");
    char *text = malloc(600000);
    memset(text, 'x', 600000);
    for (int i = 0; i < 10; i++) {
        long call = 0;
        for (;; call++) {
            put_file(path, "old", 3);
            fail_at(call, reasons[i % 5], i >= 5);
            lora_status status = lr_write_file(memory, path, true, text, 600000);
            bool was_failure = failed;
            bool is_old = has_content(path, "old");
            fail_at(-1, 0, false);
            if (!was_failure) {
                assert_int_equal(status, LORA_OK);
                break;
            }
            assert_says(status, reasons[i % 5], *state);
            if (!is_old) assert_non_null(strstr(lora_error_message(), "cannot sync"));
            assert_int_equal(count_entries(*state), 1);
        }
        assert_true(call >= 5); // open, write, sync, rename, open and sync of the directory
    }
    free(text);
}

static lora_status stage_file(const lr_stage *stage, const char *name)
{
    char *file = lr_path_join(memory, lr_stage_path(stage), name);
    lora_status status = lr_write_file(memory, file, false, "new", 3);
    free(file);
    return status;
}

static lora_status stage_new(const char *path)
{
    lr_stage *stage;
    LR_TRY(lr_stage_create(memory, path, true, &stage));
    lora_status status = stage_file(stage, "a.json");
    if (status == LORA_OK) status = stage_file(stage, "file");
    if (status == LORA_OK) return lr_stage_commit(stage);
    lr_stage_abandon(stage);
    return status;
}

// A failed stage leaves each old file or its successor, the .json the last to change, and nothing beside the directory
// but what the next stage removes.
static void stages_leave_the_old_directory(void **state)
{
    const char *path = in_directory(state, "out"), *file = in_directory(state, "out/file");
    const char *json = in_directory(state, "out/a.json");
    for (int i = 0; i < 10; i++) {
        long call = 0;
        for (;; call++) {
            lr_remove_tree(path);
            assert_int_equal(mkdir(path, 0700), 0);
            put_file(file, "old", 3);
            put_file(json, "old", 3);
            fail_at(call, reasons[i % 5], i >= 5);
            lora_status status = stage_new(path);
            bool was_failure = failed;
            fail_at(-1, 0, false);
            if (!was_failure) {
                assert_int_equal(status, LORA_OK);
                break;
            }
            assert_says(status, reasons[i % 5], *state);
            if (has_content(json, "old"))
                assert_true(has_content(file, "old") || strstr(lora_error_message(), "cannot rename"));
            else
                assert_true(has_content(json, "new") && has_content(file, "new"));
            lr_stage *stage;
            assert_int_equal(lr_stage_create(memory, path, true, &stage), LORA_OK);
            lr_stage_abandon(stage);
            assert_int_equal(count_entries(*state), 1);
            assert_int_equal(count_entries(path), 2);
        }
        assert_true(call >= 15);
    }
}

static void locks_say_why(void **state)
{
    lr_lock *lock;
    const char *path = in_directory(state, "out");
    fail_at(0, EROFS, false);
    assert_says(lr_lock_acquire(memory, path, &lock), EROFS, "out.lock");
    fail_at(-1, 0, false);
    assert_int_equal(count_entries(*state), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(writers_sync),
        TEST(writers_leave_the_old_file),
        TEST(stages_leave_the_old_directory),
        TEST(locks_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
