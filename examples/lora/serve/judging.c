#include "judging.h"

#include "files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *test_path(const request *r)
{
    return workspace_path(r->server, "jobs/%s/test.json", r->names[0]);
}

// The test of the address, with the lock on files held until close_test; NULL after answering.
static lora_ab *open_test(request *r)
{
    lora_ab *ab = NULL;
    char *path = test_path(r);
    pthread_mutex_lock(&r->server->files);
    if (!path || !path_exists(path)) {
        answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no prepared test %s", "没有准备好的盲测 %s"),
                     r->names[0]);
    } else {
        lora_status status = lora_ab_load(r->server->app->context, path, &ab);
        if (status != LORA_OK) answer_failure(r, status);
    }
    free(path);
    if (!ab) pthread_mutex_unlock(&r->server->files);
    return ab;
}

static void close_test(request *r, lora_ab *ab)
{
    pthread_mutex_unlock(&r->server->files);
    lora_ab_free(ab);
}

static bool save(request *r, const lora_ab *ab)
{
    char *path = test_path(r);
    lora_status status = path ? lora_ab_save(ab, path, 1) : LORA_ERROR_MEMORY;
    free(path);
    if (status != LORA_OK) answer_failure(r, status);
    return status == LORA_OK;
}

static bool is_judge(request *r, const char *name)
{
    if (name && is_text(name, 64)) return true;
    answer_error(r, 400, "invalid_name", "judge", "%s",
                 say(&r->words, "judge: a name of 1 to 64 bytes is expected", "judge：应为 1 到 64 字节的名字"));
    return false;
}

static void answer_next(request *r, const lora_ab *ab, const char *judge)
{
    char id[24];
    lora_ab_item item = {.struct_size = sizeof item};
    lora_status status = lora_ab_next(ab, judge, &item);
    if (status != LORA_OK) {
        answer_failure(r, status);
        return;
    }
    snprintf(id, sizeof id, "%" PRId64, item.index);
    json_t *shown = item.index < 0 ? json_null()
                                   : json_pack("{ss ss ss ss}", "id", id, "prompt", item.prompt, "left", item.left,
                                               "right", item.right);
    answer_json(r, 200,
                json_pack("{sI sI so}", "done", (json_int_t)item.done, "total", (json_int_t)item.total, "item", shown));
}

void ab_next(request *r)
{
    const char *judge = query(r, "judge");
    lora_ab *ab = is_judge(r, judge) ? open_test(r) : NULL;
    if (!ab) return;
    answer_next(r, ab, judge);
    close_test(r, ab);
}

void ab_verdict(request *r)
{
    static const struct {
        const char *name;
        int32_t choice;
    } choices[] = {{"left", LORA_AB_LEFT}, {"right", LORA_AB_RIGHT}, {"tie", LORA_AB_TIE}};
    const char *judge, *id, *name;
    int32_t choice = 0;
    if (!need_text(r, "judge", &judge) || !is_judge(r, judge) || !need_text(r, "id", &id) ||
        !need_text(r, "choice", &name))
        return;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (strcmp(choices[i].name, name) == 0) choice = choices[i].choice;
    char *end;
    long long index = strtoll(id, &end, 10);
    if (!choice || *end || end == id || index < 0) {
        answer_error(r, 400, "invalid_value", choice ? "id" : "choice", "%s",
                     choice
                         ? say(&r->words, "id: that of a question is expected", "id：应为问题的编号")
                         : say(&r->words, "choice: left, right or tie is expected", "choice：应为 left、right 或 tie"));
        return;
    }
    lora_ab *ab = open_test(r);
    if (!ab) return;
    lora_status status = lora_ab_verdict(ab, judge, index, choice);
    if (status != LORA_OK) answer_failure(r, status);
    else if (save(r, ab)) answer_next(r, ab, judge);
    close_test(r, ab);
}

void ab_undo(request *r)
{
    const char *judge;
    int64_t index;
    if (!need_text(r, "judge", &judge) || !is_judge(r, judge)) return;
    lora_ab *ab = open_test(r);
    if (!ab) return;
    lora_status status = lora_ab_undo(ab, judge, &index);
    if (status != LORA_OK) answer_failure(r, status);
    else if (save(r, ab)) answer_next(r, ab, judge);
    close_test(r, ab);
}

// The test's document without its pairs; the interval is that of B's share, whose wins the page shows.
static void answer_result(request *r, lora_ab *ab)
{
    const char *text;
    lora_ab_result result = {.struct_size = sizeof result};
    lora_status status = lora_ab_get_result(ab, &result);
    double low = 1 - result.share_high, high = 1 - result.share_low;
    if (status == LORA_OK) status = lora_ab_json(ab, &text);
    json_t *document = status == LORA_OK ? json_loads(text, 0, NULL) : NULL;
    if (!document) {
        answer_failure(r, status == LORA_OK ? LORA_ERROR_MEMORY : status);
        return;
    }
    json_object_del(document, "pairs");
    json_object_set_new(document, "interval", low - high < 0 ? json_pack("[ff]", low, high) : json_null());
    answer_json(r, 200, document);
}

void ab_result(request *r)
{
    lora_ab *ab = open_test(r);
    if (!ab) return;
    answer_result(r, ab);
    close_test(r, ab);
}

// ---- files of judges -----------------------------------------------------------------------------------------------

// The test with this judge alone, to be added to another copy.
void ab_judge_file(request *r)
{
    char *path = test_path(r);
    json_t *test = path ? read_json(path) : NULL, *judges = json_object_get(test, "judges"), *kept = json_array(),
           *judge;
    size_t index;
    json_array_foreach(judges, index, judge) {
        const char *name = json_string_value(json_object_get(judge, "name"));
        if (name && strcmp(name, r->names[1]) == 0) json_array_append(kept, judge);
    }
    bool found = json_array_size(kept) > 0;
    if (found) json_object_set(test, "judges", kept);
    if (found) answer_json(r, 200, json_incref(test));
    else answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no judge %s", "没有评委 %s"), r->names[1]);
    json_decref(kept);
    json_decref(test);
    free(path);
}

static lora_ab *read_other(request *r)
{
    lora_ab *other = NULL;
    char *folder = workspace_path(r->server, "uploads"), *path = folder ? fresh_path(folder) : NULL;
    if (path && write_json(path, r->body)) {
        lora_status status = lora_ab_load(r->server->app->context, path, &other);
        if (status != LORA_OK)
            answer_error(r, 422, "bad_data", NULL, "%s",
                         say(&r->words, "this is no file of a judge of this test", "这不是本次盲测的评委文件"));
    } else answer_errno(r, "uploads");
    if (path) unlink(path);
    free(path);
    free(folder);
    return other;
}

void ab_add_judges(request *r)
{
    lora_ab *other = read_other(r), *ab = other ? open_test(r) : NULL;
    if (ab) {
        lora_status status = lora_ab_merge(ab, other);
        if (status != LORA_OK) answer_failure(r, status);
        else if (save(r, ab)) answer_result(r, ab);
        close_test(r, ab);
    }
    lora_ab_free(other);
}
