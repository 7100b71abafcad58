#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *text_of(const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return length < 0 ? NULL : text;
}

bool make_directory(const char *path)
{
    struct stat found;
    if (mkdir(path, 0777) == 0) return true;
    return errno == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

char *fresh_path(const char *directory)
{
    static atomic_uint count;
    return text_of("%s/.new-%u", directory, atomic_fetch_add(&count, 1));
}

void remove_fresh(const char *directory)
{
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (strncmp(entry->d_name, ".new-", 5) != 0 && !strstr(entry->d_name, ".tmp-")) continue;
        char *path = text_of("%s/%s", directory, entry->d_name);
        if (path) remove_tree(path);
        free(path);
    }
    if (entries) closedir(entries);
}

static bool write_all(int file, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(file, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

static void sync_directory(const char *directory)
{
    int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    fsync(file);
    close(file);
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
}

bool write_whole(const char *path, const void *bytes, size_t length)
{
    char *directory = directory_of(path), *fresh = directory ? fresh_path(directory) : NULL;
    int file = fresh ? open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    bool done = file >= 0 && write_all(file, bytes, length) && fsync(file) == 0;
    int error = errno;
    if (file >= 0 && close(file) != 0 && done) done = false, error = errno;
    if (done && rename(fresh, path) != 0) done = false, error = errno;
    if (!done && fresh) unlink(fresh);
    if (done) sync_directory(directory);
    free(fresh);
    free(directory);
    errno = error;
    return done;
}

bool write_json(const char *path, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15));
    bool done = text && write_whole(path, text, strlen(text));
    int error = errno;
    free(text);
    errno = error;
    return done;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)info, (void)kind, (void)position;
    return remove(path);
}

bool remove_tree(const char *path)
{
    struct stat found;
    if (lstat(path, &found) != 0) return errno == ENOENT;
    return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0;
}

char *read_whole(const char *path, size_t most, size_t *length)
{
    struct stat found;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *text = NULL;
    if (file >= 0 && fstat(file, &found) == 0 && S_ISREG(found.st_mode) && (size_t)found.st_size <= most)
        text = malloc((size_t)found.st_size + 1);
    size_t size = 0;
    for (ssize_t got; text && size < (size_t)found.st_size; size += (size_t)got) {
        got = read(file, text + size, (size_t)found.st_size - size);
        if (got <= 0) break;
    }
    if (file >= 0) close(file);
    if (!text) return NULL;
    text[size] = '\0';
    *length = size;
    return text;
}

json_t *read_json(const char *path)
{
    size_t length;
    char *text = read_whole(path, (size_t)256 << 20, &length);
    json_t *value = text ? json_loadb(text, length, JSON_DECODE_ANY, NULL) : NULL;
    free(text);
    return value;
}

static _Thread_local size_t tree_bytes;

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)path, (void)position;
    if (kind == FTW_F) tree_bytes += (size_t)info->st_size;
    return 0;
}

bool file_size(const char *path, size_t *bytes)
{
    tree_bytes = 0;
    if (nftw(path, add_size, 16, FTW_PHYS) != 0) return false;
    *bytes = tree_bytes;
    return true;
}

double changed_at(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 ? (double)found.st_mtim.tv_sec + (double)found.st_mtim.tv_nsec * 1e-9 : 0;
}

void each_entry(const char *path, void (*take)(const char *name, void *user), void *user)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') take(entries[i]->d_name, user);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}
