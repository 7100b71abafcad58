#include "shelf.h"

#include "zip.h"
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct held_adapter {
    held_adapter *next;
    shelf *shelf;
    char *name, *path;
    bool own;         // in the workspace
    bool seen;        // by the last look
    lora_adapter *adapter; // NULL: not loaded
    int users;
    bool resting; // to be let go when the last user gives it back
    int64_t rank, parameters;
    double alpha;
    char *base;
};

struct shelf {
    server *server;
    pthread_mutex_t lock;
    held_adapter *first;
};

// ---- what there is -------------------------------------------------------------------------------------------------

static held_adapter *find(const shelf *h, const char *name)
{
    for (held_adapter *a = h->first; a; a = a->next)
        if (strcmp(a->name, name) == 0) return a;
    return NULL;
}

static void describe_loaded(held_adapter *a)
{
    lora_adapter_info info = {.struct_size = sizeof info};
    lora_adapter_get_info(a->adapter, &info);
    a->rank = info.r;
    a->alpha = (double)info.lora_alpha;
    a->parameters = info.parameters;
    a->base = strdup(info.base_name ? info.base_name : "");
}

// An adapter that fits the model, for the first time: it is loaded, looked at, and stays loaded. Takes `path`.
static lora_status add(shelf *h, const char *name, char *path, bool own, held_adapter **out)
{
    held_adapter *a = calloc(1, sizeof *a);
    lora_status status = a && path && (a->name = strdup(name))
                             ? lora_adapter_load(h->server->model, path, 0, &a->adapter)
                             : LORA_ERROR_MEMORY;
    if (status != LORA_OK) {
        if (a) free(a->name);
        free(a);
        free(path);
        return status;
    }
    a->shelf = h, a->path = path, a->own = own;
    describe_loaded(a);
    held_adapter **end = &h->first;
    while (*end) end = &(*end)->next;
    *out = *end = a;
    return LORA_OK;
}

static void drop(shelf *h, held_adapter *a)
{
    held_adapter **link = &h->first;
    while (*link != a) link = &(*link)->next;
    *link = a->next;
    lora_adapter_free(a->adapter);
    free(a->name);
    free(a->path);
    free(a->base);
    free(a);
}

// Those of the workspace rest until somebody wants them.
static void see(const char *name, void *user)
{
    shelf *h = user;
    held_adapter *a = is_name(name) ? find(h, name) : NULL;
    if (!a && is_name(name)) {
        if (add(h, name, workspace_path(h->server, "adapters/%s", name), true, &a) == LORA_OK) {
            lora_adapter_free(a->adapter);
            a->adapter = NULL;
        } else
            note(h->server->app, say(h->server->app, "adapters/%s is left out: %s", "忽略 adapters/%s：%s"), name,
                 lora_error_message());
    }
    if (a) a->seen = true;
}

static void look(shelf *h)
{
    char *folder = workspace_path(h->server, "adapters");
    for (held_adapter *a = h->first; a; a = a->next) a->seen = !a->own;
    if (folder) each_entry(folder, see, h);
    for (held_adapter *a = h->first, *next; a; a = next) {
        next = a->next;
        if (!a->seen && a->users == 0) drop(h, a);
    }
    free(folder);
}

void shelf_look_again(shelf *h)
{
    pthread_mutex_lock(&h->lock);
    look(h);
    pthread_mutex_unlock(&h->lock);
}

// ---- life ----------------------------------------------------------------------------------------------------------

// NAME=DIR of the command line, or DIR, whose last part is the name. An exit status.
static int add_word(shelf *h, const char *word)
{
    const char *equals = strchr(word, '='), *path = equals ? equals + 1 : word, *slash = strrchr(path, '/');
    char *name = equals ? strndup(word, (size_t)(equals - word)) : strdup(slash && slash[1] ? slash + 1 : path);
    const application *app = h->server->app;
    held_adapter *a;
    int result = EXIT_DONE;
    if (!name || !is_name(name))
        result = complain(app, EXIT_USAGE,
                          say(app,
                              "--adapter %s: give it a name of letters, digits, '-', '_' or '.': --adapter NAME=DIR",
                              "--adapter %s：请给它一个由文字、数字、“-”、“_”、“.”组成的名称：--adapter 名称=目录"),
                          word);
    else if (find(h, name))
        result = complain(app, EXIT_USAGE,
                          say(app, "--adapter %s: there are two of this name", "--adapter %s：名称重复"), word);
    else {
        lora_status status = add(h, name, strdup(path), false, &a);
        if (status != LORA_OK) result = failed(app, status);
    }
    free(name);
    return result;
}

shelf *shelf_open(server *s, int *status)
{
    shelf *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    h->server = s;
    pthread_mutex_init(&h->lock, NULL);
    *status = EXIT_DONE;
    for (size_t i = 0; i < s->settings->adapters.count && *status == EXIT_DONE; i++)
        *status = add_word(h, s->settings->adapters.items[i]);
    if (*status == EXIT_DONE) return look(h), h;
    shelf_close(h);
    return NULL;
}

void shelf_close(shelf *h)
{
    if (!h) return;
    while (h->first) drop(h, h->first);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

// ---- use -----------------------------------------------------------------------------------------------------------

static lora_status load(shelf *h, held_adapter *a)
{
    return a->adapter ? LORA_OK : lora_adapter_load(h->server->model, a->path, 0, &a->adapter);
}

lora_status shelf_take(shelf *h, const char *name, held_adapter **out)
{
    lora_status status = LORA_ERROR_NOT_FOUND;
    pthread_mutex_lock(&h->lock);
    held_adapter *a = find(h, name);
    if (a) status = load(h, a);
    if (status == LORA_OK) {
        a->users++;
        a->resting = false;
        *out = a;
    }
    pthread_mutex_unlock(&h->lock);
    return status;
}

const lora_adapter *held(const held_adapter *a)
{
    return a->adapter;
}

void shelf_give_back(held_adapter *a)
{
    if (!a) return;
    shelf *h = a->shelf;
    pthread_mutex_lock(&h->lock);
    if (--a->users == 0 && a->resting) {
        lora_adapter_free(a->adapter);
        a->adapter = NULL;
        a->resting = false;
    }
    pthread_mutex_unlock(&h->lock);
}

bool shelf_has(shelf *h, const char *name)
{
    pthread_mutex_lock(&h->lock);
    bool found = find(h, name) != NULL;
    pthread_mutex_unlock(&h->lock);
    return found;
}

char *shelf_path(shelf *h, const char *name)
{
    pthread_mutex_lock(&h->lock);
    held_adapter *a = find(h, name);
    char *path = a ? strdup(a->path) : NULL;
    pthread_mutex_unlock(&h->lock);
    return path;
}

static json_t *describe(const held_adapter *a)
{
    size_t bytes = 0;
    file_size(a->path, &bytes);
    return json_pack("{ss sI sf sI sI sb sf ss*}", "name", a->name, "rank", (json_int_t)a->rank, "alpha", a->alpha,
                     "parameters", (json_int_t)a->parameters, "bytes", (json_int_t)bytes, "loaded",
                     a->adapter && !a->resting, "created", changed_at(a->path), "base", a->base);
}

json_t *shelf_list(shelf *h)
{
    json_t *list = json_array();
    pthread_mutex_lock(&h->lock);
    for (held_adapter *a = h->first; a; a = a->next) json_array_append_new(list, describe(a));
    pthread_mutex_unlock(&h->lock);
    return list;
}

// ---- requests ------------------------------------------------------------------------------------------------------

static void answer_missing(request *r)
{
    answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no adapter %s", "没有适配器 %s"), r->names[0]);
}

static void answer_described(request *r, unsigned status)
{
    shelf *h = r->server->shelf;
    pthread_mutex_lock(&h->lock);
    held_adapter *a = find(h, r->names[0]);
    json_t *text = a ? describe(a) : NULL;
    pthread_mutex_unlock(&h->lock);
    if (text) answer_json(r, status, text);
    else answer_missing(r);
}

void adapter_load(request *r)
{
    held_adapter *a = NULL;
    lora_status status = shelf_take(r->server->shelf, r->names[0], &a);
    shelf_give_back(a);
    if (!shelf_has(r->server->shelf, r->names[0])) answer_missing(r);
    else if (status == LORA_OK) answer_described(r, 200);
    else answer_failure(r, status);
}

void adapter_unload(request *r)
{
    shelf *h = r->server->shelf;
    pthread_mutex_lock(&h->lock);
    held_adapter *a = find(h, r->names[0]);
    if (a && a->adapter && a->users > 0) a->resting = true;
    else if (a) {
        lora_adapter_free(a->adapter);
        a->adapter = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    answer_described(r, 200);
}

void adapter_delete(request *r)
{
    shelf *h = r->server->shelf;
    pthread_mutex_lock(&h->lock);
    held_adapter *a = find(h, r->names[0]);
    bool own = a && a->own, busy = a && a->users > 0, done = false;
    int error = 0;
    if (own && !busy) {
        done = remove_tree(a->path);
        error = errno;
        if (done) drop(h, a);
    }
    pthread_mutex_unlock(&h->lock);
    errno = error;
    if (!a) answer_missing(r);
    else if (!own)
        answer_error(
            r, 409, "not_ours", NULL,
            say(&r->words, "%s was given on the command line and is not deleted here", "%s 由命令行指定，不在此处删除"),
            r->names[0]);
    else if (busy)
        answer_error(r, 409, "in_use", NULL,
                     say(&r->words, "%s is answering just now; try again in a moment", "%s 正在回答，请稍后再试"),
                     r->names[0]);
    else if (!done) answer_errno(r, r->names[0]);
    else answer_json(r, 200, json_object());
}

void adapter_download(request *r)
{
    char *path = shelf_path(r->server->shelf, r->names[0]), *name = text_of("%s.zip", r->names[0]);
    if (!path) answer_missing(r);
    else answer_directory(r, path, name);
    free(path);
    free(name);
}

// Unpacked beside, tried on the model, and then renamed into place.
void adapter_upload(request *r)
{
    server *s = r->server;
    char *folder = workspace_path(s, "uploads"), *fresh = folder ? fresh_path(folder) : NULL;
    char *path = workspace_path(s, "adapters/%s", r->names[0]);
    lora_adapter *adapter = NULL;
    lora_status status = LORA_OK;
    if (shelf_has(s->shelf, r->names[0])) {
        answer_error(r, 409, "name_taken", NULL,
                     say(&r->words, "there is an adapter %s already", "已有名为 %s 的适配器"), r->names[0]);
    } else if (fresh && path && unpack_zip(r, r->upload, fresh)) {
        status = lora_adapter_load(s->model, fresh, 0, &adapter);
        if (status != LORA_OK)
            answer_failure(r, status == LORA_ERROR_NOT_FOUND || status == LORA_ERROR_IO ? LORA_ERROR_FORMAT : status);
        else if (rename(fresh, path) != 0) answer_errno(r, r->names[0]);
    }
    lora_adapter_free(adapter);
    if (fresh) remove_tree(fresh);
    free(folder);
    free(fresh);
    free(path);
    if (r->answered) return;
    shelf_look_again(s->shelf);
    answer_described(r, 201);
}
