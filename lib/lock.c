#include "lib/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct lr_lock {
    const lora_allocator *allocator;
    char *path; // of the lock file
    int descriptor;
};

// The holder removes the file when it lets go, so a lock counts only on the file that stands at the path.
static bool is_at_path(int descriptor, const char *path)
{
    struct stat held, named;
    return fstat(descriptor, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

static lora_status take(lr_lock *lock, const char *what)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (lock->descriptor < 0) return lr_fail_errno(lock->path, "create");
        if (flock(lock->descriptor, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return lr_fail_errno(lock->path, "lock");
            break;
        }
        if (is_at_path(lock->descriptor, lock->path)) return LORA_OK;
        close(lock->descriptor);
        lock->descriptor = -1;
    }
    return lr_fail(LORA_ERROR_BUSY, "%s: another run is writing to it: wait until it ends or choose another output",
                   what);
}

// Gives back everything but the file at the path.
static void discard(lr_lock *lock)
{
    if (lock->descriptor >= 0) close(lock->descriptor);
    lr_free(lock->allocator, lock->path);
    lr_free(lock->allocator, lock);
}

static lora_status acquire(lr_lock *lock, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    lock->path = lr_format(lock->allocator, "%.*s.lock", (int)length, path);
    char *parent = lock->path ? lr_path_parent(lock->allocator, lock->path) : NULL;
    if (!parent) return LORA_ERROR_MEMORY;
    lora_status status = lr_make_directories(parent);
    lr_free(lock->allocator, parent);
    return status == LORA_OK ? take(lock, path) : status;
}

lora_status lr_lock_acquire(const lora_allocator *allocator, const char *path, lr_lock **out)
{
    *out = NULL;
    lr_lock *lock = lr_alloc(allocator, sizeof *lock);
    if (!lock) return LORA_ERROR_MEMORY;
    *lock = (lr_lock){.allocator = allocator, .descriptor = -1};
    lora_status status = acquire(lock, path);
    if (status != LORA_OK) {
        discard(lock);
        return status;
    }
    *out = lock;
    return LORA_OK;
}

void lr_lock_release(lr_lock *lock)
{
    if (!lock) return;
    unlink(lock->path);
    discard(lock);
}
