// A directory appears by one rename. One that stood there is moved to "<path>.old-<pid>-<n>" first and removed last:
// when a process dies between the two renames, the next stage for the path moves it back.
#include "lib/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD ".old-"

struct lr_stage {
    const lora_allocator *allocator;
    char *path, *parent, *temporary;
    int descriptor;
    bool overwrite;
};

static bool is_empty_directory(const lora_allocator *allocator, const char *path)
{
    char **names;
    size_t count = 1;
    if (!lr_path_is_directory(path) || lr_list_directory(allocator, path, &names, &count) != LORA_OK) return false;
    lr_free_names(allocator, names, count);
    return count == 0;
}

// Puts an old directory back where none is, removes it where a new one has taken its place.
static lora_status recover(const lora_allocator *allocator, const char *path)
{
    char **paths;
    size_t count;
    LR_TRY(lr_list_siblings(allocator, path, OLD, &paths, &count));
    lora_status status = LORA_OK;
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        if (lr_path_exists(path))
            status = lr_remove_tree(paths[i]);
        else if (rename(paths[i], path) != 0)
            status = lr_fail_errno(path, "put the old version back to");
    }
    lr_free_names(allocator, paths, count);
    return status;
}

static lora_status check_place(const lora_allocator *allocator, const char *path, bool overwrite)
{
    if (overwrite || !lr_path_exists(path) || is_empty_directory(allocator, path)) return LORA_OK;
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
    LR_TRY(recover(allocator, stage->path));
    LR_TRY(check_place(allocator, stage->path, stage->overwrite));
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

// Moves what stands at the path aside; *old stays NULL when nothing did.
static lora_status move_aside(lr_stage *stage, char **old)
{
    *old = NULL;
    if (!lr_path_exists(stage->path)) return LORA_OK;
    char *name = lr_format(stage->allocator, "%s" OLD "%ld-0", stage->path, (long)getpid());
    if (!name) return LORA_ERROR_MEMORY;
    if (rename(stage->path, name) != 0) {
        lora_status status = lr_fail_errno(stage->path, "move the old version away from");
        lr_free(stage->allocator, name);
        return status;
    }
    *old = name;
    return LORA_OK;
}

static lora_status put_in_place(lr_stage *stage, char **old)
{
    if (fsync(stage->descriptor) != 0 && errno != EINVAL) return lr_fail_errno(stage->path, "sync");
    LR_TRY(check_place(stage->allocator, stage->path, stage->overwrite));
    LR_TRY(move_aside(stage, old));
    if (rename(stage->temporary, stage->path) != 0) {
        lora_status status = lr_fail_errno(stage->path, "rename the finished directory to");
        if (*old) rename(*old, stage->path);
        return status;
    }
    lr_free(stage->allocator, stage->temporary);
    stage->temporary = NULL;
    LR_TRY(lr_sync_directory(stage->parent));
    return *old ? lr_remove_tree(*old) : LORA_OK;
}

lora_status lr_stage_commit(lr_stage *stage)
{
    char *old = NULL;
    lora_status status = put_in_place(stage, &old);
    lr_free(stage->allocator, old);
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
