// Files: reading through the host's file access, writing so that a file appears whole or not at all. The one place
// where I/O happens, and therefore where tests make it fail.
#ifndef LR_FILE_H
#define LR_FILE_H

#include "memory.h"

#include <lora/context.h>
#include <stdbool.h>

// The real file system as a lora_file_access; open maps with mmap.
extern const lora_file_access lr_system_files;

// ---- reading ------------------------------------------------------------------------------------------------------

// A whole file in memory: mapped where the access can, else read. Never larger than `limit` bytes (FORMAT).
typedef struct lr_file {
    const lora_allocator *allocator;
    const lora_file_access *files;
    void *handle;
    bool open;           // the access still has it open (it is mapped)
    const uint8_t *bytes;
    uint64_t size;
    bool owned;          // bytes are ours
} lr_file;

lora_status lr_file_open(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                         uint64_t limit, lr_file *out);
void lr_file_close(lr_file *file); // a zeroed lr_file is accepted
// Of bytes inside a mapped file, the whole pages leave this process's memory; they are read anew when they are looked
// at again. Other bytes are left alone.
void lr_file_forget(const lr_file *file, const uint8_t *bytes, uint64_t size);
// Whether it is there. A file that cannot be opened (no memory, no permission) is an error, not one that is absent.
lora_status lr_file_find(const lora_file_access *files, const char *path, bool *found);

// The file's bytes, unpacked when it is gzip (by its magic), zero-terminated, limited to `limit` bytes unpacked.
lora_status lr_file_read_text(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                              size_t limit, char **text, size_t *length);

// ---- paths --------------------------------------------------------------------------------------------------------

char *lr_path_join(const lora_allocator *allocator, const char *directory, const char *name);
bool lr_path_is_directory(const char *path); // on the real file system
bool lr_path_exists(const char *path);
// Size and time of the last change in nanoseconds, on the real file system.
lora_status lr_path_version(const char *path, uint64_t *size, int64_t *modified);
bool lr_path_ends_with(const char *path, const char *suffix);
// true for a bare file name or a relative path without "..", backslash or drive: what a model directory may name.
bool lr_path_is_safe(const char *name);

// ---- writing (always the real file system) ------------------------------------------------------------------------

// A file written under a temporary name beside its place, synced and renamed by commit; anything else leaves nothing
// behind.
typedef struct lr_writer lr_writer;
// EXISTS when `path` is there and not `overwrite`; parent directories are made.
lora_status lr_writer_create(const lora_allocator *allocator, const char *path, bool overwrite, lr_writer **out);
lora_status lr_writer_write(lr_writer *writer, const void *bytes, size_t size); // buffered
uint64_t lr_writer_position(const lr_writer *writer);
lora_status lr_writer_commit(lr_writer *writer); // frees it, also on failure
void lr_writer_abandon(lr_writer *writer);       // frees it; NULL is accepted
lora_status lr_write_file(const lora_allocator *allocator, const char *path, bool overwrite, const void *bytes,
                          size_t size);

// A directory staged under a temporary name and renamed by commit. EXISTS when one is there that is not empty and
// not `overwrite`; with it, the staged files replace those of the same names and the rest stays.
typedef struct lr_stage lr_stage;
lora_status lr_stage_create(const lora_allocator *allocator, const char *path, bool overwrite, lr_stage **out);
const char *lr_stage_path(const lr_stage *stage); // write files here (lr_write_file, lr_writer)
lora_status lr_stage_commit(lr_stage *stage);     // frees it, also on failure
void lr_stage_abandon(lr_stage *stage);

// An exclusive lock on an output directory or file ("<path>.lock", flock): BUSY when another process or handle has it.
typedef struct lr_lock lr_lock;
lora_status lr_lock_acquire(const lora_allocator *allocator, const char *path, lr_lock **out);
void lr_lock_release(lr_lock *lock); // removes the lock file; NULL is accepted

lora_status lr_make_directories(const char *path);
lora_status lr_remove_tree(const char *path); // NOT_FOUND is not an error
lora_status lr_copy_file(const lora_allocator *allocator, const lora_file_access *files, const char *from,
                         const char *to);
// Names in a directory, sorted, without "." and ".."; count and array from `allocator`.
lora_status lr_list_directory(const lora_allocator *allocator, const char *path, char ***names, size_t *count);
void lr_free_names(const lora_allocator *allocator, char **names, size_t count);

uint32_t lr_crc32(uint32_t seed, const void *bytes, size_t size); // zlib's
uint64_t lr_hash64(uint64_t seed, const void *bytes, size_t size); // FNV-1a

#endif
