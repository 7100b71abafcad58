// Files. file.c reads through a host's file access and has the real one; path.c is names and directories; writer.c,
// stage.c and lock.c write so that an output appears whole or not at all, on top of temporary.c (temporary names, their
// cleaning, syncing).
#include "lib/file.h"

#include "lib/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

// ---- the real file system -----------------------------------------------------------------------------------------

typedef struct system_file {
    int descriptor;
    uint64_t size;
    void *mapping;
} system_file;

static const lora_allocator *system_user(void *user)
{
    return user ? user : &lr_system_allocator;
}

// `user` is an allocator for the handle, or NULL for malloc.
static lora_status system_open(const char *path, void **handle, void *user)
{
    // O_NONBLOCK: a pipe without a writer is refused below, not waited for.
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return lr_fail_errno(path, "open");
    struct stat info;
    lora_status status = LORA_OK;
    system_file *file = NULL;
    if (fstat(descriptor, &info) != 0)
        status = lr_fail_errno(path, "examine");
    else if (!S_ISREG(info.st_mode))
        status = lr_fail(LORA_ERROR_IO, "%s: expected a file, found %s", path,
                         S_ISDIR(info.st_mode) ? "a directory" : "something else (a pipe or device)");
    else if (!(file = lr_alloc(system_user(user), sizeof *file)))
        status = LORA_ERROR_MEMORY;
    if (status != LORA_OK) {
        close(descriptor);
        return status;
    }
    *file = (system_file){.descriptor = descriptor, .size = (uint64_t)info.st_size};
    *handle = file;
    return LORA_OK;
}

static lora_status system_size(void *handle, uint64_t *size, void *user)
{
    *size = ((const system_file *)handle)->size;
    return LORA_OK;
}

static lora_status system_read(void *handle, uint64_t offset, void *buffer, size_t count, void *user)
{
    const system_file *file = handle;
    char *target = buffer;
    while (count > 0) {
        ssize_t got = pread(file->descriptor, target, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return LORA_ERROR_IO;
        target += got;
        offset += (uint64_t)got;
        count -= (size_t)got;
    }
    return LORA_OK;
}

static lora_status system_map(void *handle, const void **bytes, void *user)
{
    system_file *file = handle;
    if (file->size == 0 || file->size > SIZE_MAX) return LORA_ERROR_IO;
    void *mapping = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
    if (mapping == MAP_FAILED) return LORA_ERROR_IO;
    file->mapping = mapping;
    *bytes = mapping;
    return LORA_OK;
}

static void system_close(void *handle, void *user)
{
    system_file *file = handle;
    if (file->mapping) munmap(file->mapping, (size_t)file->size);
    close(file->descriptor);
    lr_free(system_user(user), file);
}

const lora_file_access lr_system_files = {system_open, system_size, system_read, system_map, system_close, NULL};

// ---- whole files --------------------------------------------------------------------------------------------------

// A host's open says only why in a code; the real one has set the message.
static lora_status open_through(const lora_file_access *files, const char *path, void **handle)
{
    lora_status status = files->open(path, handle, files->user);
    if (status == LORA_OK || files->open == system_open) return status;
    if (status == LORA_ERROR_NOT_FOUND) return lr_fail(status, "%s: no such file", path);
    if (status == LORA_ERROR_MEMORY) return lr_fail(status, "%s: out of memory while opening it", path);
    return lr_fail(LORA_ERROR_IO, "%s: the host's file access could not open it", path);
}

static lora_status fill(lr_file *file, const char *path, uint64_t limit)
{
    const lora_file_access *files = file->files;
    if (files->size(file->handle, &file->size, files->user) != LORA_OK)
        return lr_fail(LORA_ERROR_IO, "%s: its size could not be read", path);
    if (file->size > limit)
        return lr_fail(LORA_ERROR_FORMAT, "%s: it has %llu bytes, expected at most %llu", path,
                       (unsigned long long)file->size, (unsigned long long)limit);
    if (file->size > PTRDIFF_MAX) return lr_fail_memory(SIZE_MAX);
    if (file->size == 0) {
        file->bytes = (const uint8_t *)"";
        return LORA_OK;
    }
    const void *mapping = NULL;
    if (files->map && files->map(file->handle, &mapping, files->user) == LORA_OK && mapping) {
        file->bytes = mapping;
        return LORA_OK;
    }
    uint8_t *bytes = lr_alloc(file->allocator, (size_t)file->size);
    if (!bytes) return LORA_ERROR_MEMORY;
    file->bytes = bytes;
    file->owned = true;
    if (files->read(file->handle, 0, bytes, (size_t)file->size, files->user) != LORA_OK)
        return lr_fail(LORA_ERROR_IO, "%s: reading its %llu bytes failed", path, (unsigned long long)file->size);
    return LORA_OK;
}

static void close_handle(lr_file *file)
{
    if (file->open) file->files->close(file->handle, file->files->user);
    file->open = false;
    file->handle = NULL;
}

lora_status lr_file_open(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                         uint64_t limit, lr_file *out)
{
    *out = (lr_file){.allocator = allocator, .files = files};
    LR_TRY(open_through(files, path, &out->handle));
    out->open = true;
    lora_status status = fill(out, path, limit);
    if (status != LORA_OK)
        lr_file_close(out);
    else if (out->owned)
        close_handle(out);
    return status;
}

void lr_file_forget(const lr_file *file, const uint8_t *bytes, uint64_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)bytes;
    const bool mapped = file->open && !file->owned && file->files->map == system_map;
    if (!mapped || first < (uintptr_t)file->bytes || first + size > (uintptr_t)file->bytes + file->size) return;
    const uintptr_t begin = (first + page - 1) / page * page, end = (first + (uintptr_t)size) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void lr_file_close(lr_file *file)
{
    close_handle(file);
    if (file->owned) lr_free(file->allocator, (void *)(uintptr_t)file->bytes);
    *file = (lr_file){0};
}

lora_status lr_file_find(const lora_file_access *files, const char *path, bool *found)
{
    void *handle;
    const lora_status status = open_through(files, path, &handle);
    *found = status == LORA_OK;
    if (*found) files->close(handle, files->user);
    return status == LORA_ERROR_NOT_FOUND ? LORA_OK : status;
}

// ---- text, gzip ---------------------------------------------------------------------------------------------------

static void *zlib_allocate(void *allocator, unsigned items, unsigned size)
{
    return lr_alloc_array(allocator, items, size);
}

static void zlib_release(void *allocator, void *block)
{
    lr_free(allocator, block);
}

static bool is_gzip(const uint8_t *bytes, uint64_t size)
{
    return size >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

// Room for the next piece of output; text->limit is one byte above the caller's, to tell "exactly the limit" from
// "more".
static lora_status make_room(lr_bytes *text, const char *path)
{
    size_t left = text->limit - text->size, step = text->size < 65536 ? 65536 : text->size;
    if (left == 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: unpacked it has more than %zu bytes", path, text->limit - 1);
    if (text->capacity > text->size + 1) return LORA_OK;
    return lr_bytes_reserve(text, step < left ? step : left);
}

static lora_status inflate_all(z_stream *stream, const lr_file *file, const char *path, lr_bytes *text)
{
    const uint8_t *end = file->bytes + file->size;
    stream->next_in = (uint8_t *)(uintptr_t)file->bytes;
    for (;;) {
        LR_TRY(make_room(text, path));
        size_t room = text->capacity - 1 - text->size, input = (size_t)(end - stream->next_in);
        if (room > text->limit - text->size) room = text->limit - text->size;
        stream->avail_out = room > UINT32_MAX ? UINT32_MAX : (unsigned)room;
        stream->avail_in = input > UINT32_MAX ? UINT32_MAX : (unsigned)input;
        stream->next_out = (uint8_t *)text->data + text->size;
        int result = inflate(stream, Z_NO_FLUSH);
        text->size = (size_t)((char *)stream->next_out - text->data);
        if (result == Z_STREAM_END) {
            // Another member may follow, or zeros (tapes pad with them).
            while (stream->next_in < end && *stream->next_in == 0) stream->next_in++;
            if (stream->next_in == end) return LORA_OK;
            if (!is_gzip(stream->next_in, (uint64_t)(end - stream->next_in)))
                return lr_fail(LORA_ERROR_FORMAT, "%s: other bytes follow the end of its gzip data", path);
            inflateReset(stream);
        } else if (result == Z_MEM_ERROR) {
            return LORA_ERROR_MEMORY;
        } else if (result == Z_BUF_ERROR && stream->next_in == end) {
            return lr_fail(LORA_ERROR_FORMAT, "%s: its gzip data is cut off", path);
        } else if (result != Z_OK && result != Z_BUF_ERROR) {
            return lr_fail(LORA_ERROR_FORMAT, "%s: damaged gzip data (%s)", path,
                           stream->msg ? stream->msg : "inflate failed");
        }
    }
}

static lora_status unpack(const lr_file *file, const char *path, lr_bytes *text)
{
    z_stream stream = {.zalloc = zlib_allocate, .zfree = zlib_release, .opaque = (void *)(uintptr_t)file->allocator};
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) return lr_fail_memory(sizeof stream);
    lora_status status = inflate_all(&stream, file, path, text);
    inflateEnd(&stream);
    return status;
}

lora_status lr_file_read_text(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                              size_t limit, char **text, size_t *length)
{
    lr_file file;
    lr_bytes bytes;
    *text = NULL;
    *length = 0;
    if (limit > PTRDIFF_MAX - 1) limit = PTRDIFF_MAX - 1;
    lr_bytes_init(&bytes, allocator, limit + 1);
    // Gzip data that cannot be packed is a little larger than the text.
    LR_TRY(lr_file_open(allocator, files, path, (uint64_t)limit + limit / 1024 + 65536, &file));
    lora_status status;
    if (is_gzip(file.bytes, file.size))
        status = unpack(&file, path, &bytes);
    else if (file.size > limit)
        status = LORA_OK; // refused below
    else
        status = lr_bytes_append(&bytes, file.bytes, (size_t)file.size);
    if (status == LORA_OK && (bytes.size > limit || (!bytes.data && file.size > limit)))
        status = lr_fail(LORA_ERROR_FORMAT, "%s: it has more than %zu bytes", path, limit);
    lr_file_close(&file);
    if (status != LORA_OK) {
        lr_bytes_free(&bytes);
        return status;
    }
    bytes.data[bytes.size] = '\0';
    *text = bytes.data;
    *length = bytes.size;
    return LORA_OK;
}

// ---- sums ---------------------------------------------------------------------------------------------------------

uint32_t lr_crc32(uint32_t seed, const void *bytes, size_t size)
{
    return (uint32_t)crc32_z(seed, bytes, size);
}

uint64_t lr_hash64(uint64_t seed, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t hash = seed ^ 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ at[i]) * 0x100000001B3u;
    return hash;
}
