// What tests of files share: a directory that goes away, bytes on disk, an allocator that fails when told to and
// counts.
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <lora/context.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
// cmocka needs the headers above
#include <cmocka.h>

// setup and teardown: *state is the path of a new directory.
int make_test_directory(void **state);
int remove_test_directory(void **state);

// directory/name, in a buffer that the next calls reuse (64 of them).
const char *in_directory(void **state, const char *name);
void put_file(const char *path, const void *bytes, size_t size);
// The file's bytes, zero-terminated; NULL when it is not there. free() it.
char *get_file(const char *path, size_t *size);
size_t count_entries(const char *directory);

// File access to one file in memory, by any path. Its bytes are copied to a block of their exact size, so that the
// address sanitizer sees a read beyond them.
typedef struct memory_file {
    const void *bytes;
    size_t size;
} memory_file;
lora_file_access access_to_memory(memory_file *file);

typedef struct failing_allocator {
    lora_allocator allocator;
    long until_failure; // this many calls succeed, the next fails; negative: none fails
    long live;          // blocks that were given and not returned
    bool failed;
} failing_allocator;
void failing_allocator_init(failing_allocator *self, long until_failure);

// assert that a call gave `status` and that the message has `text` in it.
void assert_fails(lora_status expected, lora_status status, const char *text);

#endif
