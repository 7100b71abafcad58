#include "lib/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

// A temporary that nobody holds was left by a process that died.
static void remove_if_stale(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) return;
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) lr_remove_tree(path);
    close(descriptor);
}

static lora_status remove_stale(const lora_allocator *allocator, const char *path)
{
    char **paths;
    size_t count;
    LR_TRY(lr_list_siblings(allocator, path, ".tmp-", &paths, &count));
    for (size_t i = 0; i < count; i++) remove_if_stale(paths[i]);
    lr_free_names(allocator, paths, count);
    return LORA_OK;
}

// The open, locked temporary, or -1; another process that cleans may take it away between creation and lock.
static int create_locked(const char *name, bool directory)
{
    if (directory && mkdir(name, 0777) != 0) return -1;
    int descriptor = directory ? open(name, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
                               : open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0) {
        int reason = errno;
        if (directory) rmdir(name);
        errno = directory && reason == ENOENT ? EEXIST : reason;
        return -1;
    }
    struct stat info;
    bool busy = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!busy && fstat(descriptor, &info) == 0 && info.st_nlink > 0) return descriptor;
    close(descriptor);
    errno = EEXIST;
    return -1;
}

lora_status lr_temporary_create(const lora_allocator *allocator, const char *path, bool directory, char **name,
                                int *descriptor)
{
    *name = NULL;
    *descriptor = -1;
    LR_TRY(remove_stale(allocator, path));
    for (int attempt = 0; attempt < 10000; attempt++) {
        char *candidate = lr_format(allocator, "%s.tmp-%ld-%d", path, (long)getpid(), attempt);
        if (!candidate) return LORA_ERROR_MEMORY;
        int opened = create_locked(candidate, directory);
        if (opened >= 0) {
            *name = candidate;
            *descriptor = opened;
            return LORA_OK;
        }
        int reason = errno;
        lr_free(allocator, candidate);
        if (reason == EEXIST) continue;
        errno = reason;
        return lr_fail_errno(path, "create");
    }
    return lr_fail(LORA_ERROR_IO, "%s: cannot create it: 10000 temporary files of it are in use", path);
}

lora_status lr_sync_directory(const char *path)
{
    lora_status status = LORA_OK;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    // EINVAL: a file system that cannot sync directories.
    if (descriptor < 0 || (fsync(descriptor) != 0 && errno != EINVAL)) status = lr_fail_errno(path, "sync");
    if (descriptor >= 0) close(descriptor);
    return status;
}
