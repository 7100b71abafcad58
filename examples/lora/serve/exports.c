#include "exports.h"

#include "files.h"
#include "zip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// Free with free().
static char *export_path(const server *s, const char *name)
{
    return workspace_path(s, "exports/%s", name);
}

typedef struct listing {
    server *server;
    json_t *list;
} listing;

static void describe(const char *name, void *user)
{
    listing *l = user;
    size_t bytes = 0;
    char *path = export_path(l->server, name);
    if (path && is_name(name) && file_size(path, &bytes))
        json_array_append_new(l->list, json_pack("{ss sI sb}", "name", name, "bytes", (json_int_t)bytes, "ready", 1));
    free(path);
}

json_t *exports_list(server *s)
{
    listing l = {.server = s, .list = json_array()};
    char *folder = workspace_path(s, "exports");
    if (folder) each_entry(folder, describe, &l);
    free(folder);
    return l.list;
}

static void answer_missing(request *r)
{
    answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no file %s", "没有文件 %s"), r->names[0]);
}

void export_download(request *r)
{
    struct stat found;
    char *path = export_path(r->server, r->names[0]), *zip = text_of("%s.zip", r->names[0]);
    if (!path || !zip || lstat(path, &found) != 0) {
        answer_missing(r);
    } else if (S_ISDIR(found.st_mode)) {
        answer_directory(r, path, zip);
    } else {
        int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (file >= 0) answer_file(r, file, "application/octet-stream", r->names[0]);
        else answer_errno(r, r->names[0]);
    }
    free(path);
    free(zip);
}

void export_delete(request *r)
{
    char *path = export_path(r->server, r->names[0]);
    if (!path || !path_exists(path)) answer_missing(r);
    else if (remove_tree(path)) answer_json(r, 200, json_object());
    else answer_errno(r, r->names[0]);
    free(path);
}
