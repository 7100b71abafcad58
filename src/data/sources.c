// What a host may name as data beside files: a folder with LLaMA-Factory's dataset_info.json, or a set of it by name.
// A set says under which columns and tags its rows hold what; its rows are handed on under this library's own names.
#include "src/data/rows.h"

#include "lib/file.h"
#include "lib/json.h"

#include <string.h>

#define INFO_NAME "dataset_info.json"
#define MAX_INFO ((size_t)16 << 20)

typedef struct data_set {
    lora_context *context;
    const char *folder; // where its files are
    const char *name;
    const json_t *entry;
    const lr_row_sink *sink;
    int64_t rows, limit; // num_samples; 0: all
} data_set;

static const char *text_or(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

// ---- rows ---------------------------------------------------------------------------------------------------------

// `column` of the set, or `fallback`; NULL: the set has none.
static const char *column_of(const data_set *set, const char *column, const char *fallback)
{
    return text_or(json_object_get(set->entry, "columns"), column, fallback);
}

static lora_status move_value(const json_t *row, const char *from, json_t *to, const char *key)
{
    json_t *value = from ? json_object_get(row, from) : NULL;
    if (!value || json_is_null(value)) return LORA_OK;
    return json_object_set(to, key, value) == 0 ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

// The role that the set's tags mean.
static const char *role_of(const json_t *tags, const char *role)
{
    static const char *const roles[][3] = {{"user_tag", "human", "user"},
                                           {"assistant_tag", "gpt", "assistant"},
                                           {"observation_tag", "observation", "tool"},
                                           {"function_tag", "function_call", "function_call"},
                                           {"system_tag", "system", "system"}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, text_or(tags, roles[i][0], roles[i][1])) == 0) return roles[i][2];
    return role;
}

static json_t *make_message(const data_set *set, const json_t *given)
{
    const json_t *tags = json_object_get(set->entry, "tags");
    const char *role_tag = text_or(tags, "role_tag", "from"), *content_tag = text_or(tags, "content_tag", "value");
    json_t *message = json_copy((json_t *)given), *content = json_object_get(given, content_tag);
    const char *role = json_string_value(json_object_get(given, role_tag));
    if (!message || !role || !content) return message; // what is missing is said where the row is read
    json_incref(content);
    json_object_del(message, role_tag);
    json_object_del(message, content_tag);
    json_object_set_new(message, "role", json_string(role_of(tags, role)));
    json_object_set_new(message, "content", content);
    return message;
}

// A message or a list of them under this library's names; anything else as it is.
static lora_status move_messages(const data_set *set, const json_t *row, const char *from, json_t *to, const char *key)
{
    json_t *value = from ? json_object_get(row, from) : NULL, *moved, *item;
    size_t i;
    if (json_is_object(value)) {
        moved = make_message(set, value);
    } else if (json_is_array(value)) {
        moved = json_array();
        json_array_foreach(value, i, item) json_array_append_new(moved, make_message(set, item));
    } else {
        return move_value(row, from, to, key);
    }
    return json_object_set_new(to, key, moved) == 0 ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

static lora_status map_conversation(const data_set *set, const json_t *row, json_t *out)
{
    LR_TRY(move_messages(set, row, column_of(set, "messages", "conversations"), out, "messages"));
    LR_TRY(move_messages(set, row, column_of(set, "chosen", NULL), out, "chosen"));
    return move_messages(set, row, column_of(set, "rejected", NULL), out, "rejected");
}

// A question without any answer is text to go on with, as in pretraining.
static lora_status map_instruction(const data_set *set, const json_t *row, json_t *out)
{
    const char *answer = column_of(set, "response", "output"), *chosen = column_of(set, "chosen", NULL);
    bool answered = json_object_get(row, answer) || (chosen && json_object_get(row, chosen));
    const char *question = column_of(set, "prompt", "instruction");
    LR_TRY(move_value(row, question, out, answered ? "instruction" : "text"));
    if (!answered) return LORA_OK;
    LR_TRY(move_value(row, column_of(set, "query", "input"), out, "input"));
    LR_TRY(move_value(row, answer, out, "output"));
    LR_TRY(move_value(row, chosen, out, "chosen"));
    LR_TRY(move_value(row, column_of(set, "rejected", NULL), out, "rejected"));
    return move_value(row, column_of(set, "history", NULL), out, "history");
}

static bool is_conversation(const data_set *set)
{
    return strcmp(text_or(set->entry, "formatting", "alpaca"), "alpaca") != 0;
}

static lora_status map_row(const data_set *set, const json_t *row, json_t *out)
{
    LR_TRY(is_conversation(set) ? map_conversation(set, row, out) : map_instruction(set, row, out));
    static const char *const columns[][2] = {{"system", "system"}, {"tools", "tools"},   {"kto_tag", "label"},
                                             {"images", "images"}, {"videos", "videos"}, {"audios", "audios"}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        LR_TRY(move_value(row, column_of(set, columns[i][0], NULL), out, columns[i][1]));
    return LORA_OK;
}

static lora_status take_row(const json_t *row, const lr_place *place, bool *done, void *user)
{
    data_set *set = user;
    if (!json_is_object(row)) return set->sink->take(row, place, done, set->sink->user);
    lr_place mapped_place = *place;
    mapped_place.is_table = false;
    json_t *mapped = json_object();
    lora_status status = mapped ? map_row(set, row, mapped) : lr_fail_memory(sizeof(json_t));
    if (status == LORA_OK) status = set->sink->take(mapped, &mapped_place, done, set->sink->user);
    json_decref(mapped);
    set->rows++;
    *done |= set->limit > 0 && set->rows >= set->limit;
    return status;
}

static lora_status refuse_row(const lr_place *place, lora_status status, void *user)
{
    const data_set *set = user;
    return lr_rows_refuse(set->sink, place, status);
}

// ---- sets ---------------------------------------------------------------------------------------------------------

static lora_status read_set(data_set *set)
{
    const lora_allocator *allocator = &set->context->allocator;
    const char *file = text_or(set->entry, "file_name", NULL);
    if (!file)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s/" INFO_NAME ": '%s' is on a hub, not in a file: download it and name the file", set->folder,
                       set->name);
    if (!lr_path_is_safe(file))
        return lr_fail(LORA_ERROR_FORMAT, "%s/" INFO_NAME ": '%s' names the file '%s', which is outside the folder",
                       set->folder, set->name, file);
    char *path = lr_path_join(allocator, set->folder, file);
    if (!path) return LORA_ERROR_MEMORY;
    set->limit = json_integer_value(json_object_get(set->entry, "num_samples"));
    lr_row_sink sink = {.take = take_row, .refuse = refuse_row, .user = set};
    lora_status status = lr_rows_read_file(set->context, path, &sink);
    lr_free(allocator, path);
    return status;
}

// Those with a file that hold text alone; what is passed over is said in the log.
static bool is_wanted(const data_set *set)
{
    static const char *const media[] = {"images", "videos", "audios"};
    const char *reason = text_or(set->entry, "file_name", NULL) ? NULL : "hub";
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (column_of(set, media[i], NULL)) reason = media[i];
    if (!reason) return true;
    if (strcmp(reason, "hub") != 0)
        lr_log(set->context, LORA_LOG_WARNING, "%s: '%s' is passed over: it comes with %s", set->folder, set->name,
               reason);
    return false;
}

static lora_status read_all(data_set *set, json_t *info)
{
    const char *name;
    json_t *entry;
    size_t count = 0;
    json_object_foreach(info, name, entry)
    {
        set->name = name;
        set->entry = entry;
        set->rows = 0;
        if (!is_wanted(set)) continue;
        LR_TRY(read_set(set));
        count++;
    }
    if (count > 0) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA, "%s/" INFO_NAME ": no set in it has a file of text", set->folder);
}

static lora_status read_named(data_set *set, const json_t *info)
{
    set->entry = json_object_get(info, set->name);
    if (json_is_object(set->entry)) return read_set(set);
    return lr_fail(LORA_ERROR_NOT_FOUND, "%s/" INFO_NAME ": there is no set '%s' in it", set->folder, set->name);
}

// The folder and the set's name (NULL: all) in FOLDER, FOLDER:NAME, FOLDER/dataset_info.json and the last with :NAME;
// `copy` is cut in place. false: the host names a file.
static bool split_name(char *copy, const char **folder, const char **name)
{
    char *colon = strrchr(copy, ':');
    bool whole = lr_path_is_directory(copy) || lr_path_ends_with(copy, INFO_NAME);
    *name = NULL;
    if (!whole) {
        if (!colon) return false;
        *colon = '\0';
        *name = colon + 1;
        if (!lr_path_is_directory(copy) && !lr_path_ends_with(copy, INFO_NAME)) return false;
    }
    *folder = copy;
    if (!lr_path_ends_with(copy, INFO_NAME)) return true;
    size_t length = strlen(copy) - strlen(INFO_NAME);
    if (length > 0 && copy[length - 1] != '/') return false;
    copy[length > 1 ? length - 1 : length] = '\0';
    if (length == 0) *folder = ".";
    return true;
}

static lora_status read_folder(lora_context *context, const char *folder, const char *name, const lr_row_sink *sink)
{
    const lora_allocator *allocator = &context->allocator;
    data_set set = {.context = context, .folder = folder, .name = name, .sink = sink};
    json_t *info = NULL;
    char *path = lr_path_join(allocator, folder, INFO_NAME);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_json_load(allocator, &context->files, path, MAX_INFO, &info);
    if (status == LORA_ERROR_NOT_FOUND)
        status = lr_fail(status, "%s: a folder is data only with a " INFO_NAME " in it: name the files", folder);
    if (status == LORA_OK && !json_is_object(info))
        status = lr_fail(LORA_ERROR_FORMAT, "%s: expected an object of data sets", path);
    if (status == LORA_OK) status = name ? read_named(&set, info) : read_all(&set, info);
    json_decref(info);
    lr_free(allocator, path);
    return status;
}

lora_status lr_rows_read(lora_context *context, const char *path, const lr_row_sink *sink)
{
    const char *folder, *name;
    char *copy = lr_duplicate(&context->allocator, path);
    if (!copy) return LORA_ERROR_MEMORY;
    lora_status status = split_name(copy, &folder, &name) ? read_folder(context, folder, name, sink)
                                                          : lr_rows_read_file(context, path, sink);
    lr_free(&context->allocator, copy);
    return status;
}
