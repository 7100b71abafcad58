// Writers, stages and locks: whole or not at all, also when a process is killed.
#include "support.h"

#include "lib/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const lora_allocator *const memory = &lr_system_allocator;

static void assert_content(const char *path, const char *expected)
{
    size_t size;
    char *bytes = get_file(path, &size);
    if (!bytes) fail_msg("%s is not there", path);
    assert_string_equal(bytes, expected);
    free(bytes);
}

// Runs `act` in a child process that then waits to be killed; returns when it has acted, with its id.
static pid_t in_child(void (*act)(const char *path), const char *path)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(20); // if this test fails before it kills
        act(path);
        if (write(ends[1], "x", 1) == 1) pause();
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return child;
}

static void kill_child(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

// ---- writers ------------------------------------------------------------------------------------------------------

static void writes_whole_files(void **state)
{
    const char *path = in_directory(state, "a/b/file");
    lr_writer *writer;
    assert_int_equal(lr_writer_create(memory, path, false, &writer), LORA_OK);
    assert_int_equal(lr_writer_write(writer, "hello ", 6), LORA_OK);
    assert_false(lr_path_exists(path)); // not before commit
    assert_int_equal(lr_writer_write(writer, "world", 5), LORA_OK);
    assert_int_equal(lr_writer_position(writer), 11);
    assert_int_equal(lr_writer_commit(writer), LORA_OK);
    assert_content(path, "hello world");
    assert_int_equal(count_entries(in_directory(state, "a/b")), 1);

    assert_fails(LORA_ERROR_EXISTS, lr_writer_create(memory, path, false, &writer), path);
    assert_int_equal(lr_writer_create(memory, path, true, &writer), LORA_OK);
    assert_int_equal(lr_writer_write(writer, "new", 3), LORA_OK);
    lr_writer_abandon(writer);
    lr_writer_abandon(NULL);
    assert_content(path, "hello world");
    assert_int_equal(lr_write_file(memory, path, true, "new", 3), LORA_OK);
    assert_content(path, "new");
    assert_int_equal(count_entries(in_directory(state, "a/b")), 1);
    assert_fails(LORA_ERROR_EXISTS, lr_writer_create(memory, in_directory(state, "a"), true, &writer), "a directory");
    assert_fails(LORA_ERROR_IO, lr_writer_create(memory, in_directory(state, "a/b/file/x"), true, &writer), "a/b/file");
    // One that appeared while this one was being written is not overwritten unasked.
    path = in_directory(state, "late");
    assert_int_equal(lr_writer_create(memory, path, false, &writer), LORA_OK);
    put_file(path, "other", 5);
    assert_fails(LORA_ERROR_EXISTS, lr_writer_commit(writer), path);
    assert_content(path, "other");
}

static void buffers_pieces_of_any_size(void **state)
{
    static const size_t sizes[] = {1, 262143, 1, 262144, 5, 700000, 0, 262140, 3};
    size_t total = 0, size;
    uint8_t *data = malloc(2000000);
    for (size_t i = 0; i < 2000000; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    lr_writer *writer;
    const char *path = in_directory(state, "big");
    assert_int_equal(lr_writer_create(memory, path, false, &writer), LORA_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(lr_writer_write(writer, data + total, sizes[i]), LORA_OK);
        total += sizes[i];
        assert_int_equal(lr_writer_position(writer), total);
    }
    assert_int_equal(lr_writer_commit(writer), LORA_OK);
    char *bytes = get_file(path, &size);
    assert_int_equal(size, total);
    assert_memory_equal(bytes, data, total);
    free(bytes);
    const char *copy = in_directory(state, "copy");
    assert_int_equal(lr_copy_file(memory, &lr_system_files, path, copy), LORA_OK);
    bytes = get_file(copy, &size);
    assert_int_equal(size, total);
    assert_memory_equal(bytes, data, total);
    free(bytes);
    free(data);
}

static void begin_writing(const char *path)
{
    lr_writer *writer;
    if (lr_writer_create(memory, path, true, &writer) != LORA_OK) _exit(1);
    if (lr_writer_write(writer, "half", 4) != LORA_OK) _exit(1);
}

// The temporary of a writer that lives stays; that of a killed one is removed by the next writer to the path.
static void removes_what_killed_writers_left(void **state)
{
    const char *path = in_directory(state, "file");
    put_file(path, "old", 3);
    put_file(in_directory(state, "file.txt"), "x", 1); // not a temporary
    pid_t child = in_child(begin_writing, path);
    assert_int_equal(count_entries(*state), 3);
    assert_int_equal(lr_write_file(memory, path, true, "new", 3), LORA_OK);
    assert_int_equal(count_entries(*state), 3);
    kill_child(child);
    assert_int_equal(count_entries(*state), 3);
    assert_int_equal(lr_write_file(memory, path, true, "newer", 5), LORA_OK);
    assert_int_equal(count_entries(*state), 2);
    assert_content(path, "newer");
}

// ---- stages -------------------------------------------------------------------------------------------------------

static void stage_file(lr_stage *stage, const char *text)
{
    char *path = lr_path_join(memory, lr_stage_path(stage), "file");
    assert_int_equal(lr_write_file(memory, path, false, text, strlen(text)), LORA_OK);
    free(path);
}

static void stages_directories(void **state)
{
    const char *path = in_directory(state, "out");
    lr_stage *stage;
    assert_int_equal(lr_stage_create(memory, path, false, &stage), LORA_OK);
    stage_file(stage, "one");
    assert_false(lr_path_exists(path));
    assert_int_equal(lr_stage_commit(stage), LORA_OK);
    assert_content(in_directory(state, "out/file"), "one");
    assert_int_equal(count_entries(*state), 1);

    assert_fails(LORA_ERROR_EXISTS, lr_stage_create(memory, in_directory(state, "out/"), false, &stage), "out");
    assert_int_equal(lr_stage_create(memory, path, true, &stage), LORA_OK);
    stage_file(stage, "two");
    lr_stage_abandon(stage);
    lr_stage_abandon(NULL);
    assert_content(in_directory(state, "out/file"), "one");
    assert_int_equal(lr_stage_create(memory, path, true, &stage), LORA_OK);
    stage_file(stage, "two");
    assert_int_equal(lr_stage_commit(stage), LORA_OK);
    assert_content(in_directory(state, "out/file"), "two");
    assert_int_equal(count_entries(*state), 1);

    assert_int_equal(mkdir(in_directory(state, "empty"), 0700), 0); // an empty directory may be filled
    assert_int_equal(lr_stage_create(memory, in_directory(state, "empty"), false, &stage), LORA_OK);
    stage_file(stage, "three");
    assert_int_equal(lr_stage_commit(stage), LORA_OK);
    assert_content(in_directory(state, "empty/file"), "three");
    assert_int_equal(count_entries(*state), 2);
}

static void begin_stage(const char *path)
{
    lr_stage *stage;
    if (lr_stage_create(memory, path, true, &stage) != LORA_OK) _exit(1);
}

static void removes_what_killed_stages_left(void **state)
{
    const char *path = in_directory(state, "out");
    pid_t child = in_child(begin_stage, path);
    lr_stage *stage;
    assert_int_equal(lr_stage_create(memory, path, false, &stage), LORA_OK);
    assert_int_equal(count_entries(*state), 2); // both live
    lr_stage_abandon(stage);
    kill_child(child);
    assert_int_equal(count_entries(*state), 1);
    assert_int_equal(lr_stage_create(memory, path, false, &stage), LORA_OK);
    assert_int_equal(count_entries(*state), 1);
    lr_stage_abandon(stage);
    assert_int_equal(count_entries(*state), 0);
}

// Overwriting replaces the files of the same names and nothing else, the user's own and subdirectories least of all.
static void stages_leave_other_files_alone(void **state)
{
    const char *path = in_directory(state, "out");
    lr_stage *stage;
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(in_directory(state, "out/file"), "old", 3);
    put_file(in_directory(state, "out/notes"), "mine", 4);
    assert_int_equal(mkdir(in_directory(state, "out/below"), 0700), 0);
    put_file(in_directory(state, "out/below/file"), "deep", 4);
    assert_int_equal(lr_stage_create(memory, path, true, &stage), LORA_OK);
    stage_file(stage, "new");
    char *deep = lr_path_join(memory, lr_stage_path(stage), "below/staged");
    assert_int_equal(lr_write_file(memory, deep, false, "deep", 4), LORA_OK);
    free(deep);
    assert_content(in_directory(state, "out/file"), "old");
    assert_int_equal(lr_stage_commit(stage), LORA_OK);
    assert_content(in_directory(state, "out/file"), "new");
    assert_content(in_directory(state, "out/notes"), "mine");
    assert_content(in_directory(state, "out/below/file"), "deep");
    assert_content(in_directory(state, "out/below/staged"), "deep");
    assert_int_equal(count_entries(path), 3);
    assert_int_equal(count_entries(*state), 1);

    assert_int_equal(symlink("out", in_directory(state, "link")), 0);
    assert_int_equal(lr_stage_create(memory, in_directory(state, "link"), true, &stage), LORA_OK);
    stage_file(stage, "newer");
    assert_int_equal(lr_stage_commit(stage), LORA_OK);
    assert_content(in_directory(state, "out/file"), "newer");
    assert_content(in_directory(state, "out/notes"), "mine");

    put_file(in_directory(state, "plain"), "x", 1);
    assert_fails(LORA_ERROR_EXISTS, lr_stage_create(memory, in_directory(state, "plain"), true, &stage),
                 "found a file");
    // One that was filled while this one was being staged is not written to unasked.
    assert_int_equal(lr_stage_create(memory, in_directory(state, "late"), false, &stage), LORA_OK);
    assert_int_equal(mkdir(in_directory(state, "late"), 0700), 0);
    put_file(in_directory(state, "late/file"), "other", 5);
    assert_fails(LORA_ERROR_EXISTS, lr_stage_commit(stage), "late");
    assert_content(in_directory(state, "late/file"), "other");
    assert_int_equal(count_entries(*state), 4);
}

// ---- locks --------------------------------------------------------------------------------------------------------

static void take_lock(const char *path)
{
    lr_lock *lock;
    if (lr_lock_acquire(memory, path, &lock) != LORA_OK) _exit(1);
}

static void locks_exclude(void **state)
{
    const char *path = in_directory(state, "deep/out");
    lr_lock *first, *second;
    assert_int_equal(lr_lock_acquire(memory, path, &first), LORA_OK);
    assert_true(lr_path_exists(in_directory(state, "deep/out.lock")));
    assert_fails(LORA_ERROR_BUSY, lr_lock_acquire(memory, path, &second), path); // in this process too
    assert_null(second);
    assert_fails(LORA_ERROR_BUSY, lr_lock_acquire(memory, in_directory(state, "deep/out/"), &second), "deep/out");
    lr_lock_release(first);
    lr_lock_release(NULL);
    assert_int_equal(count_entries(in_directory(state, "deep")), 0);

    pid_t child = in_child(take_lock, path);
    assert_fails(LORA_ERROR_BUSY, lr_lock_acquire(memory, path, &first), "another run is writing");
    kill_child(child); // leaves its file, but not the lock
    assert_int_equal(lr_lock_acquire(memory, path, &first), LORA_OK);
    lr_lock_release(first);
    assert_int_equal(count_entries(in_directory(state, "deep")), 0);
}

// ---- memory -------------------------------------------------------------------------------------------------------

// Each kind of output with every allocation failing in turn: MEMORY, no block lost, nothing left, the old content
// untouched.
static lora_status write_everything(const lora_allocator *allocator, void **state)
{
    lr_lock *lock = NULL;
    lr_stage *stage = NULL;
    lora_status status = lr_lock_acquire(allocator, in_directory(state, "out"), &lock);
    if (status == LORA_OK) status = lr_stage_create(allocator, in_directory(state, "out"), true, &stage);
    if (status == LORA_OK) {
        char *path = lr_path_join(allocator, lr_stage_path(stage), "file");
        status = path ? lr_write_file(allocator, path, false, "new", 3) : LORA_ERROR_MEMORY;
        lr_free(allocator, path);
        if (status == LORA_OK)
            status = lr_stage_commit(stage);
        else
            lr_stage_abandon(stage);
    }
    lr_lock_release(lock);
    return status;
}

static void survives_every_failed_allocation(void **state)
{
    long failures = 0;
    for (;; failures++) {
        failing_allocator self;
        failing_allocator_init(&self, failures);
        lr_remove_tree(in_directory(state, "out"));
        assert_int_equal(mkdir(in_directory(state, "out"), 0700), 0);
        put_file(in_directory(state, "out/file"), "old", 3);
        lora_status status = write_everything(&self.allocator, state);
        assert_int_equal(self.live, 0);
        assert_int_equal(count_entries(*state), 1);
        if (!self.failed) break;
        assert_fails(LORA_ERROR_MEMORY, status, "out of memory");
        assert_content(in_directory(state, "out/file"), "old");
    }
    assert_content(in_directory(state, "out/file"), "new");
    assert_true(failures > 15);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(writes_whole_files),
        TEST(buffers_pieces_of_any_size),
        TEST(removes_what_killed_writers_left),
        TEST(stages_directories),
        TEST(removes_what_killed_stages_left),
        TEST(stages_leave_other_files_alone),
        TEST(locks_exclude),
        TEST(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
