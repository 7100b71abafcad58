#include "lib/temporary.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER (256 * 1024)

struct lr_writer {
    const lora_allocator *allocator;
    char *path, *parent, *temporary;
    int descriptor;
    bool overwrite;
    uint64_t position;
    size_t filled;
    uint8_t *buffer;
};

static lora_status check_place(const char *path, bool overwrite)
{
    if (!lr_path_exists(path)) return LORA_OK;
    if (lr_path_is_directory(path))
        return lr_fail(LORA_ERROR_EXISTS, "%s: expected a file to write, found a directory", path);
    if (!overwrite)
        return lr_fail(LORA_ERROR_EXISTS, "%s: it exists: choose another name or ask for overwriting", path);
    return LORA_OK;
}

static lora_status prepare(lr_writer *writer, const char *path)
{
    const lora_allocator *allocator = writer->allocator;
    writer->path = lr_duplicate(allocator, path);
    writer->parent = lr_path_parent(allocator, path);
    writer->buffer = lr_alloc(allocator, BUFFER);
    if (!writer->path || !writer->parent || !writer->buffer) return LORA_ERROR_MEMORY;
    LR_TRY(lr_make_directories(writer->parent));
    return lr_temporary_create(allocator, path, false, &writer->temporary, &writer->descriptor);
}

lora_status lr_writer_create(const lora_allocator *allocator, const char *path, bool overwrite, lr_writer **out)
{
    *out = NULL;
    LR_TRY(check_place(path, overwrite));
    lr_writer *writer = lr_alloc(allocator, sizeof *writer);
    if (!writer) return LORA_ERROR_MEMORY;
    *writer = (lr_writer){.allocator = allocator, .descriptor = -1, .overwrite = overwrite};
    lora_status status = prepare(writer, path);
    if (status != LORA_OK) {
        lr_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return LORA_OK;
}

static lora_status write_out(lr_writer *writer, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size > 0) {
        ssize_t done = write(writer->descriptor, at, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return lr_fail_errno(writer->path, "write");
        at += done;
        size -= (size_t)done;
    }
    return LORA_OK;
}

static lora_status flush(lr_writer *writer)
{
    size_t filled = writer->filled;
    writer->filled = 0;
    return write_out(writer, writer->buffer, filled);
}

lora_status lr_writer_write(lr_writer *writer, const void *bytes, size_t size)
{
    if (size > BUFFER - writer->filled) LR_TRY(flush(writer));
    if (size >= BUFFER) {
        LR_TRY(write_out(writer, bytes, size));
    } else if (size > 0) {
        memcpy(writer->buffer + writer->filled, bytes, size);
        writer->filled += size;
    }
    writer->position += size;
    return LORA_OK;
}

uint64_t lr_writer_position(const lr_writer *writer)
{
    return writer->position;
}

static lora_status put_in_place(lr_writer *writer)
{
    LR_TRY(flush(writer));
    if (fsync(writer->descriptor) != 0) return lr_fail_errno(writer->path, "sync");
    LR_TRY(check_place(writer->path, writer->overwrite));
    if (rename(writer->temporary, writer->path) != 0) return lr_fail_errno(writer->path, "rename the finished file to");
    lr_free(writer->allocator, writer->temporary);
    writer->temporary = NULL;
    return lr_sync_directory(writer->parent);
}

lora_status lr_writer_commit(lr_writer *writer)
{
    lora_status status = put_in_place(writer);
    lr_writer_abandon(writer);
    return status;
}

void lr_writer_abandon(lr_writer *writer)
{
    if (!writer) return;
    const lora_allocator *allocator = writer->allocator;
    if (writer->temporary) unlink(writer->temporary);
    if (writer->descriptor >= 0) close(writer->descriptor);
    lr_free(allocator, writer->temporary);
    lr_free(allocator, writer->buffer);
    lr_free(allocator, writer->parent);
    lr_free(allocator, writer->path);
    lr_free(allocator, writer);
}

lora_status lr_write_file(const lora_allocator *allocator, const char *path, bool overwrite, const void *bytes,
                          size_t size)
{
    lr_writer *writer;
    LR_TRY(lr_writer_create(allocator, path, overwrite, &writer));
    lora_status status = lr_writer_write(writer, bytes, size);
    if (status == LORA_OK) return lr_writer_commit(writer);
    lr_writer_abandon(writer);
    return status;
}

lora_status lr_copy_file(const lora_allocator *allocator, const lora_file_access *files, const char *from,
                         const char *to)
{
    lr_file file;
    LR_TRY(lr_file_open(allocator, files, from, UINT64_MAX, &file));
    lora_status status = lr_write_file(allocator, to, false, file.bytes, (size_t)file.size);
    lr_file_close(&file);
    return status;
}
