// A directory that is new, or stands empty, appears by one rename. Into one that holds files the staged ones are moved
// one by one, each by a rename; what else is there stays. The .json files, which make a directory an adapter, a model
// or a checkpoint, come last.
#include "lib/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct lr_stage {
    const lora_allocator *allocator;
    char *path, *parent, *temporary;
    int descriptor;
    bool overwrite;
};

static lora_status check_place(const lr_stage *stage)
{
    const char *path = stage->path;
    const bool directory = lr_path_is_directory(path);
    if (!lr_path_exists(path) || (directory && stage->overwrite)) return LORA_OK;
    if (stage->overwrite)
        return lr_fail(LORA_ERROR_EXISTS, "%s: expected a directory to write to, found a file", path);
    char **names = NULL;
    size_t count = 1;
    if (directory) LR_TRY(lr_list_directory(stage->allocator, path, &names, &count));
    if (directory) lr_free_names(stage->allocator, names, count);
    if (count == 0) return LORA_OK;
    return lr_fail(LORA_ERROR_EXISTS, "%s: it exists: choose another name or ask for overwriting", path);
}

static lora_status prepare(lr_stage *stage, const char *path)
{
    const lora_allocator *allocator = stage->allocator;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    stage->path = lr_duplicate_range(allocator, path, length);
    stage->parent = stage->path ? lr_path_parent(allocator, stage->path) : NULL;
    if (!stage->parent) return LORA_ERROR_MEMORY;
    LR_TRY(lr_make_directories(stage->parent));
    LR_TRY(check_place(stage));
    return lr_temporary_create(allocator, stage->path, true, &stage->temporary, &stage->descriptor);
}

lora_status lr_stage_create(const lora_allocator *allocator, const char *path, bool overwrite, lr_stage **out)
{
    *out = NULL;
    lr_stage *stage = lr_alloc(allocator, sizeof *stage);
    if (!stage) return LORA_ERROR_MEMORY;
    *stage = (lr_stage){.allocator = allocator, .descriptor = -1, .overwrite = overwrite};
    lora_status status = prepare(stage, path);
    if (status != LORA_OK) {
        lr_stage_abandon(stage);
        return status;
    }
    *out = stage;
    return LORA_OK;
}

const char *lr_stage_path(const lr_stage *stage)
{
    return stage->temporary;
}

// Paths of the staged files below the stage, all known before the first is moved: no allocation fails between two
// renames.
typedef struct file_list {
    char **names;
    size_t count, capacity;
} file_list;

static lora_status append(const lr_stage *stage, file_list *files, const char *name)
{
    void *names = files->names;
    LR_TRY(lr_grow(stage->allocator, &names, &files->capacity, files->count + 1, sizeof *files->names));
    files->names = names;
    files->names[files->count] = lr_duplicate(stage->allocator, name);
    if (!files->names[files->count]) return LORA_ERROR_MEMORY;
    files->count++;
    return LORA_OK;
}

static lora_status collect(const lr_stage *stage, const char *below, file_list *files);

// A staged directory is made at the place too.
static lora_status collect_entry(const lr_stage *stage, const char *name, file_list *files)
{
    char *staged = lr_path_join(stage->allocator, stage->temporary, name);
    char *place = lr_path_join(stage->allocator, stage->path, name);
    lora_status status = LORA_ERROR_MEMORY;
    if (staged && place && lr_path_is_directory(staged)) {
        status = lr_make_directories(place);
        if (status == LORA_OK) status = collect(stage, name, files);
    } else if (staged && place) {
        status = append(stage, files, name);
    }
    lr_free(stage->allocator, place);
    lr_free(stage->allocator, staged);
    return status;
}

static lora_status collect(const lr_stage *stage, const char *below, file_list *files)
{
    char **names = NULL;
    size_t count = 0;
    char *directory = lr_path_join(stage->allocator, stage->temporary, below);
    lora_status status = directory ? lr_list_directory(stage->allocator, directory, &names, &count) : LORA_ERROR_MEMORY;
    lr_free(stage->allocator, directory);
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        char *name = lr_path_join(stage->allocator, below, names[i]);
        status = name ? collect_entry(stage, name, files) : LORA_ERROR_MEMORY;
        lr_free(stage->allocator, name);
    }
    lr_free_names(stage->allocator, names, count);
    return status;
}

static lora_status move_files(const lr_stage *stage, int target, const file_list *files)
{
    for (int json = 0; json < 2; json++)
        for (size_t i = 0; i < files->count; i++)
            if (lr_path_ends_with(files->names[i], ".json") == json &&
                renameat(stage->descriptor, files->names[i], target, files->names[i]) != 0)
                return lr_fail_errno(stage->path, "rename a finished file into");
    if (fsync(target) != 0 && errno != EINVAL) return lr_fail_errno(stage->path, "sync");
    return LORA_OK;
}

static lora_status move_into(const lr_stage *stage)
{
    file_list files = {0};
    LR_TRY(check_place(stage));
    int target = open(stage->path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (target < 0) return lr_fail_errno(stage->path, "open");
    lora_status status = collect(stage, "", &files);
    if (status == LORA_OK) status = move_files(stage, target, &files);
    close(target);
    lr_free_names(stage->allocator, files.names, files.count);
    return status;
}

static lora_status put_in_place(lr_stage *stage)
{
    // EINVAL: a file system that cannot sync directories.
    if (fsync(stage->descriptor) != 0 && errno != EINVAL) return lr_fail_errno(stage->path, "sync");
    LR_TRY(check_place(stage));
    if (rename(stage->temporary, stage->path) != 0) {
        // ENOTDIR: a link to a directory.
        bool stands = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
        return stands ? move_into(stage) : lr_fail_errno(stage->path, "rename the finished directory to");
    }
    lr_free(stage->allocator, stage->temporary);
    stage->temporary = NULL;
    return lr_sync_directory(stage->parent);
}

lora_status lr_stage_commit(lr_stage *stage)
{
    lora_status status = put_in_place(stage);
    lr_stage_abandon(stage);
    return status;
}

void lr_stage_abandon(lr_stage *stage)
{
    if (!stage) return;
    const lora_allocator *allocator = stage->allocator;
    if (stage->temporary) lr_remove_tree(stage->temporary);
    if (stage->descriptor >= 0) close(stage->descriptor);
    lr_free(allocator, stage->temporary);
    lr_free(allocator, stage->parent);
    lr_free(allocator, stage->path);
    lr_free(allocator, stage);
}
