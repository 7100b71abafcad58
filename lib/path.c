#include "lib/file.h"

#include "lib/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *lr_path_join(const lora_allocator *allocator, const char *directory, const char *name)
{
    if (!*directory) return lr_duplicate(allocator, name);
    bool ended = directory[strlen(directory) - 1] == '/';
    return lr_format(allocator, "%s%s%s", directory, ended ? "" : "/", name);
}

char *lr_path_parent(const lora_allocator *allocator, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return lr_duplicate(allocator, ".");
    return lr_duplicate_range(allocator, path, slash == path ? 1 : (size_t)(slash - path));
}

bool lr_path_is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool lr_path_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

lora_status lr_path_version(const char *path, uint64_t *size, int64_t *modified)
{
    struct stat info;
    if (stat(path, &info) != 0) return lr_fail_errno(path, "look at");
    *size = (uint64_t)info.st_size;
    *modified = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return LORA_OK;
}

bool lr_path_ends_with(const char *path, const char *suffix)
{
    size_t length = strlen(path), end = strlen(suffix);
    return length >= end && memcmp(path + length - end, suffix, end) == 0;
}

bool lr_path_is_safe(const char *name)
{
    if (!*name || *name == '/' || strchr(name, '\\') || name[strlen(name) - 1] == '/') return false;
    if (name[1] == ':') return false; // a drive
    for (const char *part = name; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') return false;
    }
    return true;
}

lora_status lr_fail_errno(const char *path, const char *action)
{
    int reason = errno;
    lora_status status = reason == ENOENT || reason == ENOTDIR ? LORA_ERROR_NOT_FOUND
                         : reason == ENOMEM                    ? LORA_ERROR_MEMORY
                         : reason == EEXIST                    ? LORA_ERROR_EXISTS
                                                               : LORA_ERROR_IO;
    return lr_fail(status, "%s: cannot %s it: %s", path, action, strerror(reason));
}

lora_status lr_make_directories(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return lr_fail_errno(path, "create");
    }
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        part[i] = '\0';
        if (mkdir(part, 0777) != 0) {
            int reason = errno;
            if (!lr_path_is_directory(part)) {
                // A file where a directory has to be is not "exists" in the sense of an output.
                errno = reason == EEXIST ? ENOTDIR : reason;
                lr_fail_errno(part, "create");
                return reason == ENOMEM ? LORA_ERROR_MEMORY : LORA_ERROR_IO;
            }
        }
        if (i < length) part[i] = '/';
    }
    return LORA_OK;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    return remove(path);
}

lora_status lr_remove_tree(const char *path)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return LORA_OK;
    return lr_fail_errno(path, "remove");
}

// ---- listing ------------------------------------------------------------------------------------------------------

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void lr_free_names(const lora_allocator *allocator, char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) lr_free(allocator, names[i]);
    lr_free(allocator, names);
}

// The names that begin with `prefix`, `directory` put before each when `whole`.
static lora_status list(const lora_allocator *allocator, const char *directory, const char *prefix, bool whole,
                        char ***names, size_t *count)
{
    *names = NULL;
    *count = 0;
    DIR *handle = opendir(directory);
    if (!handle) return lr_fail_errno(directory, "list");
    char **found = NULL;
    size_t filled = 0, capacity = 0, length = strlen(prefix);
    lora_status status = LORA_OK;
    for (struct dirent *entry; status == LORA_OK && (errno = 0, entry = readdir(handle));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (strncmp(entry->d_name, prefix, length) != 0) continue;
        void *array = found;
        status = lr_grow(allocator, &array, &capacity, filled + 1, sizeof *found);
        found = array;
        if (status != LORA_OK) break;
        found[filled] =
            whole ? lr_path_join(allocator, directory, entry->d_name) : lr_duplicate(allocator, entry->d_name);
        if (found[filled])
            filled++;
        else
            status = LORA_ERROR_MEMORY;
    }
    if (status == LORA_OK && errno) status = lr_fail_errno(directory, "list");
    closedir(handle);
    if (status != LORA_OK) {
        lr_free_names(allocator, found, filled);
        return status;
    }
    if (filled) qsort(found, filled, sizeof *found, compare_names);
    *names = found;
    *count = filled;
    return LORA_OK;
}

lora_status lr_list_directory(const lora_allocator *allocator, const char *path, char ***names, size_t *count)
{
    return list(allocator, path, "", false, names, count);
}

lora_status lr_list_siblings(const lora_allocator *allocator, const char *path, const char *infix, char ***paths,
                             size_t *count)
{
    const char *slash = strrchr(path, '/');
    char *parent = lr_path_parent(allocator, path);
    char *prefix = lr_format(allocator, "%s%s", slash ? slash + 1 : path, infix);
    lora_status status = parent && prefix ? list(allocator, parent, prefix, true, paths, count) : LORA_ERROR_MEMORY;
    lr_free(allocator, prefix);
    lr_free(allocator, parent);
    return status;
}
