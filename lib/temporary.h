// What writer, stage and lock share: temporary names beside an output, held by a lock while their process lives, so
// that those of a process that was killed can be told and removed; syncing; messages from errno.
#ifndef LR_TEMPORARY_H
#define LR_TEMPORARY_H

#include "lib/file.h"

// "PATH: cannot ACTION it: reason" with errno's reason and the status that goes with it.
lora_status lr_fail_errno(const char *path, const char *action);

// Makes "<path>.tmp-<pid>-<n>", a file open for writing or a directory, locked, after removing those that dead
// processes left. *name is from `allocator`; closing *descriptor gives the lock up.
lora_status lr_temporary_create(const lora_allocator *allocator, const char *path, bool directory, char **name,
                                int *descriptor);

// The directory that holds `path`, from `allocator`.
char *lr_path_parent(const lora_allocator *allocator, const char *path);
// Syncs a directory, so that a rename in it lasts.
lora_status lr_sync_directory(const char *path);
// Names beside `path` that begin with its own name and `infix` (".tmp-"), whole paths; free with lr_free_names.
lora_status lr_list_siblings(const lora_allocator *allocator, const char *path, const char *infix, char ***paths,
                             size_t *count);

#endif
