#include "conversations.h"

#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct listing {
    server *server;
    json_t *list;
} listing;

static char *path_of(const server *s, const char *id)
{
    return workspace_path(s, "conversations/%s.json", id);
}

static void describe(const char *file, void *user)
{
    listing *l = user;
    const char *ending = strrchr(file, '.');
    char *id = ending && strcmp(ending, ".json") == 0 ? strndup(file, (size_t)(ending - file)) : NULL,
         *path = id && is_name(id) ? path_of(l->server, id) : NULL;
    json_t *kept = path ? read_json(path) : NULL;
    if (kept)
        json_array_append_new(l->list, json_pack("{ss sO* sf}", "id", id, "title", json_object_get(kept, "title"),
                                                 "changed", changed_at(path)));
    json_decref(kept);
    free(path);
    free(id);
}

void conversations_list(request *r)
{
    listing l = {.server = r->server, .list = json_array()};
    char *folder = workspace_path(r->server, "conversations");
    if (folder) each_entry(folder, describe, &l);
    free(folder);
    answer_json(r, 200, l.list);
}

static void answer_missing(request *r)
{
    answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no conversation %s", "没有对话 %s"), r->names[0]);
}

void conversation_get(request *r)
{
    char *path = path_of(r->server, r->names[0]);
    json_t *kept = path ? read_json(path) : NULL;
    if (kept) {
        json_object_set_new(kept, "id", json_string(r->names[0]));
        answer_json(r, 200, kept);
    } else answer_missing(r);
    free(path);
}

void conversation_put(request *r)
{
    const char *title = "";
    json_t *messages = json_object_get(r->body, "messages"), *adapters = json_object_get(r->body, "adapters"), *message;
    size_t index;
    bool fine = json_is_array(messages) && (!adapters || json_is_array(adapters));
    json_array_foreach(messages, index, message)
        fine &= json_is_object(message) && json_is_string(json_object_get(message, "role"));
    if (!fine)
        answer_error(r, 400, "invalid_value", "messages", "%s",
                     say(&r->words, "messages: a list of messages is expected", "messages：应为消息列表"));
    if (!fine || !take_text(r, "title", &title)) return;
    char *path = path_of(r->server, r->names[0]);
    json_t *kept = json_pack("{ss sO sO*}", "title", title, "messages", messages, "adapters", adapters);
    pthread_mutex_lock(&r->server->files);
    bool done = path && kept && write_json(path, kept);
    pthread_mutex_unlock(&r->server->files);
    free(path);
    if (done) {
        json_object_set_new(kept, "id", json_string(r->names[0]));
        answer_json(r, 200, kept);
    } else {
        answer_errno(r, r->names[0]);
        json_decref(kept);
    }
}

void conversation_delete(request *r)
{
    char *path = path_of(r->server, r->names[0]);
    bool done = path && unlink(path) == 0;
    if (done) answer_json(r, 200, json_object());
    else if (errno == ENOENT) answer_missing(r);
    else answer_errno(r, r->names[0]);
    free(path);
}
