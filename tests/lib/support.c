#include "support.h"

#include "lib/error.h"
#include "lib/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int make_test_directory(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(4096);
    if (!path) return -1;
    snprintf(path, 4096, "%s/lora-test-XXXXXX", base && *base ? base : P_tmpdir);
    if (!mkdtemp(path)) {
        free(path);
        return -1;
    }
    *state = path;
    return 0;
}

int remove_test_directory(void **state)
{
    int failed = lr_remove_tree(*state) != LORA_OK;
    free(*state);
    return failed;
}

const char *in_directory(void **state, const char *name)
{
    static char paths[64][4200];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", (const char *)*state, name);
    return path;
}

void put_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

char *get_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    size_t capacity = 1 << 22;
    char *bytes = malloc(capacity);
    assert_non_null(bytes);
    *size = fread(bytes, 1, capacity - 1, file);
    assert_true(*size < capacity - 1);
    bytes[*size] = '\0';
    fclose(file);
    return bytes;
}

size_t count_entries(const char *directory)
{
    DIR *handle = opendir(directory);
    assert_non_null(handle);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(handle));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(handle);
    return count;
}

static lora_status memory_open(const char *path, void **handle, void *user)
{
    *handle = user;
    return LORA_OK;
}

static lora_status memory_size(void *handle, uint64_t *size, void *user)
{
    *size = ((const memory_file *)handle)->size;
    return LORA_OK;
}

static lora_status memory_read(void *handle, uint64_t offset, void *buffer, size_t count, void *user)
{
    const memory_file *file = handle;
    if (offset > file->size || count > file->size - offset) return LORA_ERROR_IO;
    memcpy(buffer, (const char *)file->bytes + offset, count);
    return LORA_OK;
}

static void memory_close(void *handle, void *user)
{
}

lora_file_access access_to_memory(memory_file *file)
{
    return (lora_file_access){memory_open, memory_size, memory_read, NULL, memory_close, file};
}

static bool may_allocate(failing_allocator *self)
{
    if (self->until_failure < 0 || self->until_failure-- > 0) return true;
    self->failed = true;
    self->until_failure = -1; // one failure
    return false;
}

static void *failing_allocate(size_t size, void *user)
{
    failing_allocator *self = user;
    if (!may_allocate(self)) return NULL;
    self->live++;
    return malloc(size);
}

static void *failing_reallocate(void *block, size_t size, void *user)
{
    return may_allocate(user) ? realloc(block, size) : NULL;
}

static void failing_release(void *block, void *user)
{
    ((failing_allocator *)user)->live--;
    free(block);
}

void failing_allocator_init(failing_allocator *self, long until_failure)
{
    *self = (failing_allocator){.allocator = {failing_allocate, failing_reallocate, failing_release, self},
                                .until_failure = until_failure};
}

void assert_fails(lora_status expected, lora_status status, const char *text)
{
    if (status != expected || !strstr(lr_error_text(), text))
        fail_msg("expected status %d and \"%s\", got %d and \"%s\"", expected, text, status, lr_error_text());
}
