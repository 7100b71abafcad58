// The check of a data set, and its cleaned copy.
#include "datasets.h"

#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_CHANGES 1000 // told; all are counted

static lora_status make_check(request *r, int64_t longest, const char *validation, lora_check **out)
{
    lora_check_options options;
    char *path = dataset_path(r->server, r->names[0]), *other = validation ? dataset_path(r->server, validation) : NULL;
    const char *const paths[] = {path}, *const others[] = {other};
    lora_check_options_init(&options);
    options.max_length = (int32_t)longest;
    lora_status status = lora_check_create(r->server->app->context, r->server->tokenizer, paths, 1, others,
                                           other ? 1 : 0, &options, out);
    free(path);
    free(other);
    return status;
}

void dataset_check(request *r)
{
    int64_t longest = 512;
    const char *validation = NULL, *report;
    size_t length;
    lora_check *check = NULL;
    if (!take_integer(r, "max_length", 2, INT32_MAX, &longest) || !take_text(r, "validation", &validation) ||
        !dataset_is_there(r, r->names[0]))
        return;
    if (validation && (!take_name(r, "validation", &validation) || !dataset_is_there(r, validation))) return;
    lora_status status = make_check(r, longest, validation, &check);
    if (status == LORA_OK) status = lora_check_report(check, &report, &length);
    char *text = status == LORA_OK ? strdup(report) : NULL;
    if (text) {
        hide_workspace(r->server, text);
        answer_text(r, "application/json", text, strlen(text));
    } else answer_failure(r, status == LORA_OK ? LORA_ERROR_MEMORY : status);
    lora_check_free(check);
}

// ---- the cleaned copy ----------------------------------------------------------------------------------------------

// {"kind": title} of everything that was found.
static json_t *titles_of(const lora_check *check)
{
    const char *text;
    size_t length, index;
    json_t *report = lora_check_report(check, &text, &length) == LORA_OK ? json_loadb(text, length, 0, NULL) : NULL,
           *titles = json_object(), *finding;
    json_array_foreach(json_object_get(report, "findings"), index, finding)
        json_object_set(titles, json_string_value(json_object_get(finding, "kind")), json_object_get(finding, "title"));
    json_decref(report);
    return titles;
}

static void add_words(char *text, size_t capacity, const char *joint, const char *word)
{
    size_t length = strlen(text);
    snprintf(text + length, capacity - length, "%s%s", joint, word ? word : "");
}

// A change in words: what was done, and why.
static json_t *change_text(const json_t *change, const json_t *titles)
{
    char english[512], chinese[512];
    bool dropped = strcmp(json_string_value(json_object_get(change, "action")), "dropped") == 0;
    size_t index;
    json_t *reason;
    snprintf(english, sizeof english, "%s", dropped ? "left out" : "mended");
    snprintf(chinese, sizeof chinese, "%s", dropped ? "已去掉" : "已修复");
    json_array_foreach(json_object_get(change, "reasons"), index, reason) {
        json_t *title = json_object_get(titles, json_string_value(reason));
        bool spaces = strcmp(json_string_value(reason), "whitespace") == 0;
        add_words(english, sizeof english, index ? ", " : ": ",
                  title    ? json_string_value(json_object_get(title, "en"))
                  : spaces ? "stray spaces"
                           : json_string_value(reason));
        add_words(chinese, sizeof chinese, index ? "、" : "：",
                  title    ? json_string_value(json_object_get(title, "zh"))
                  : spaces ? "多余空格"
                           : json_string_value(reason));
    }
    return json_pack("{ss* ss*}", "en", english, "zh", chinese);
}

static json_t *read_changes(const char *path, const json_t *titles)
{
    size_t length, count = 0;
    char *text = read_whole(path, (size_t)1 << 30, &length);
    json_t *list = json_array();
    for (char *line = text, *end;
         line && count < MOST_CHANGES && (end = memchr(line, '\n', length - (size_t)(line - text)));
         line = end + 1, count++) {
        json_t *change = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (!change) continue;
        json_object_set_new(change, "text", change_text(change, titles));
        json_array_append_new(list, change);
    }
    free(text);
    return list;
}

static lora_status fix(request *r, const char *to, bool mask, lora_check_fix_info *info, json_t **changes)
{
    lora_check *check = NULL;
    lora_check_fix_options options;
    char *fresh = workspace_path(r->server, "uploads/%s.jsonl", to),
         *list = workspace_path(r->server, "uploads/%s.jsonl.changes.jsonl", to), *path = dataset_path(r->server, to);
    lora_check_fix_options_init(&options);
    options.mask_personal = mask;
    options.overwrite = 1;
    *info = (lora_check_fix_info){.struct_size = sizeof *info};
    lora_status status = fresh && list && path ? make_check(r, 512, NULL, &check) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = lora_check_fix(check, fresh, &options, info);
    if (status == LORA_OK) {
        json_t *titles = titles_of(check);
        *changes = read_changes(list, titles);
        json_decref(titles);
        if (rename(fresh, path) != 0) answer_errno(r, to);
    }
    if (fresh) unlink(fresh);
    if (list) unlink(list);
    lora_check_free(check);
    free(fresh);
    free(list);
    free(path);
    return status;
}

void dataset_fix(request *r)
{
    const char *to;
    bool mask = false;
    lora_check_fix_info info;
    json_t *changes = NULL;
    if (!take_flag(r, "mask_personal", &mask) || !take_name(r, "to", &to) || !dataset_is_there(r, r->names[0])) return;
    pthread_mutex_lock(&r->server->files);
    lora_status status = dataset_is_free(r, to) ? fix(r, to, mask, &info, &changes) : LORA_OK;
    pthread_mutex_unlock(&r->server->files);
    if (status != LORA_OK) answer_failure(r, status);
    if (!r->answered)
        answer_json(r, 201,
                    json_pack("{s{ss sI} sI sI sO}", "dataset", "name", to, "rows", (json_int_t)info.kept_rows,
                              "dropped_rows", (json_int_t)info.dropped_rows, "changed_rows",
                              (json_int_t)info.changed_rows, "changes", changes));
    json_decref(changes);
}
