// The cleaned copy of a check's data, and the list of what was changed.
#include "src/data/check/check.h"

#include "lib/file.h"
#include "lib/json.h"
#include "src/core/validate.h"

#include <stdio.h>
#include <strings.h>

#define MAX_TEXT ((size_t)1 << 30)

void (lora_check_fix_options_init)(lora_check_fix_options *options, size_t struct_size)
{
    const lora_check_fix_options defaults = {0};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

typedef struct fixer {
    const lora_check *check;
    const lora_allocator *allocator;
    bool mask;
    iconv_t gbk; // lr_gbk_open's
    lr_writer *rows, *changes;
    bool is_array;      // .json
    lr_check_row *kept; // as repaired, for finding duplicates: [row_count]
    lr_row_map seen;
    lr_bytes text, next; // of the text in hand
    const lr_check_row *source;
    bool changed;       // something in this row
    lora_check_fix_info info;
} fixer;

// ---- the list of changes ------------------------------------------------------------------------------------------

static lora_status write_line(lr_writer *writer, const lora_allocator *allocator, json_t *object, const char *end)
{
    char *text;
    size_t length;
    if (!object) return lr_fail_memory(sizeof(json_t));
    lora_status status = lr_json_dump(allocator, object, 0, false, &text, &length);
    json_decref(object);
    LR_TRY(status);
    status = lr_writer_write(writer, text, length);
    if (status == LORA_OK) status = lr_writer_write(writer, end, strlen(end));
    lr_free(allocator, text);
    return status;
}

static json_t *place_of(const lr_check_row *row)
{
    return json_sprintf("%s%s%zu", row->path, row->is_line ? ":" : ": row ", row->number);
}

// An entry for the row in hand; takes `reasons`.
static json_t *make_change(const fixer *job, const char *action, json_t *reasons)
{
    return json_pack("{s:o, s:s, s:I, s:s, s:o}", "place", place_of(job->source), "file", job->source->path, "row",
                     (json_int_t)job->source->number, "action", action, "reasons", reasons);
}

static lora_status drop(fixer *job, lr_kind reason, const lr_check_row *other)
{
    json_t *change = make_change(job, "dropped", json_pack("[s]", lr_kind_texts[reason].name));
    if (change && other) json_object_set_new(change, "other", place_of(other));
    job->info.dropped_rows++;
    return write_line(job->changes, job->allocator, change, "\n");
}

static lora_status note_change(fixer *job, const char *key, const char *before, json_t *reasons, bool masked)
{
    json_t *change = make_change(job, "changed", reasons);
    if (change) {
        json_object_set_new(change, "key", json_string(key));
        if (!masked) json_object_set_new(change, "before", json_string(before));
        json_object_set_new(change, "after", json_string(job->text.data));
    }
    job->changed = true;
    return write_line(job->changes, job->allocator, change, "\n");
}

// ---- one text -----------------------------------------------------------------------------------------------------

typedef enum repair {
    REPAIR_ENCODING,
    REPAIR_CONTROLS,
    REPAIR_REMNANTS,
    REPAIR_PERSONAL,
    REPAIR_WHITESPACE,
    REPAIR_COUNT
} repair;

static const char *const repair_names[REPAIR_COUNT] = {"encoding_damage", "control_character", "template_remnant",
                                                       "personal_data", "whitespace"};

static lora_status trim(const char *text, lr_bytes *out, bool *changed)
{
    const char *begin = text + strspn(text, " \t\r\n");
    size_t length = strlen(begin);
    while (length > 0 && strchr(" \t\r\n", begin[length - 1])) length--;
    *changed = length != strlen(text);
    return lr_bytes_append(out, begin, length);
}

static lora_status apply(fixer *job, repair which, bool is_answer, bool *changed)
{
    const char *text = job->text.data;
    *changed = false;
    job->next.size = 0;
    switch (which) {
    case REPAIR_ENCODING: return lr_repair_encoding(job->gbk, text, &job->next, changed);
    case REPAIR_CONTROLS: return lr_drop_controls(text, &job->next, changed);
    case REPAIR_REMNANTS: return lr_cut_remnants(text, is_answer, &job->next, changed);
    case REPAIR_PERSONAL: return lr_mask_personal(text, &job->next, changed);
    default: return trim(text, &job->next, changed);
    }
}

// Repairs the text in place and lists what was done.
static lora_status fix_text(fixer *job, json_t *node, const char *key, bool is_answer)
{
    json_t *reasons = json_array();
    bool masked = false, changed;
    job->text.size = 0;
    lora_status status = lr_bytes_append_text(&job->text, json_string_value(node));
    for (int which = 0; which < REPAIR_COUNT && status == LORA_OK; which++) {
        if (which == REPAIR_PERSONAL && !job->mask) continue;
        status = apply(job, (repair)which, is_answer, &changed);
        if (status != LORA_OK || !changed) continue;
        masked |= which == REPAIR_PERSONAL;
        json_array_append_new(reasons, json_string(repair_names[which]));
        lr_bytes old = job->text;
        job->text = job->next;
        job->next = old;
    }
    if (status != LORA_OK || json_array_size(reasons) == 0) {
        json_decref(reasons);
        return status;
    }
    LR_TRY(note_change(job, key, json_string_value(node), reasons, masked));
    return json_string_set(node, job->text.data) == 0 ? LORA_OK : lr_fail_memory(job->text.size);
}

// ---- one row ------------------------------------------------------------------------------------------------------

static bool speaks_for_assistant(const json_t *message)
{
    static const char *const roles[] = {"assistant", "gpt", "chatgpt", "bot", "model"};
    const char *role = json_string_value(json_object_get(message, "role"));
    if (!role) role = json_string_value(json_object_get(message, "from"));
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0) return true;
    return false;
}

static lora_status fix_value(fixer *job, json_t *value, const char *key, bool is_answer)
{
    static const char *const names[] = {"content", "value", "text"};
    char path[256];
    json_t *item;
    size_t i;
    if (json_is_string(value)) return fix_text(job, value, key, is_answer);
    json_array_foreach(value, i, item)
    {
        snprintf(path, sizeof path, "%.200s[%zu]", key, i);
        LR_TRY(fix_value(job, item, path, is_answer));
    }
    if (!json_is_object(value)) return LORA_OK;
    bool assistant = is_answer || speaks_for_assistant(value);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        item = json_object_get(value, names[i]);
        snprintf(path, sizeof path, "%.200s.%s", key, names[i]);
        if (item) LR_TRY(fix_value(job, item, path, assistant));
    }
    return LORA_OK;
}

// Keys that name no column stay as they are.
static lora_status fix_columns(fixer *job, json_t *row)
{
    const char *key;
    json_t *value;
    json_object_foreach(row, key, value)
    {
        int column = lr_column_find(key, strlen(key));
        if (column < 0 || column == LR_COLUMN_TOOLS || column == LR_COLUMN_IDS) continue;
        bool is_answer = column == LR_COLUMN_OUTPUT || column == LR_COLUMN_COMPLETION || column == LR_COLUMN_CHOSEN ||
                         column == LR_COLUMN_REJECTED;
        LR_TRY(fix_value(job, value, key, is_answer));
    }
    return LORA_OK;
}

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n")] == '\0'; }

static const lr_check_row *find_same(const fixer *job, const lr_check_row *row)
{
    for (uint32_t r = lr_row_map_first(&job->seen, lr_row_hash(row)); r; r = job->seen.next[r - 1])
        if (lr_same_row(&job->kept[r - 1], row)) return &job->check->rows[r - 1];
    return NULL;
}

static lora_status keep(fixer *job, json_t *row)
{
    if (job->is_array && job->info.kept_rows > 0) LR_TRY(lr_writer_write(job->rows, ",\n", 2));
    job->info.changed_rows += job->changed;
    job->info.kept_rows++;
    return write_line(job->rows, job->allocator, json_incref(row), job->is_array ? "" : "\n");
}

// Decides about the repaired row.
static lora_status settle(fixer *job, size_t i, json_t *row)
{
    lr_place place = {.path = job->source->path, .number = job->source->number, .is_line = job->source->is_line};
    lr_check_row *repaired = &job->kept[i];
    LR_TRY(lr_check_row_read(job->check->context, row, &place, repaired));
    if (!repaired->has_text) return keep(job, row);
    if (is_blank(repaired->answer)) return drop(job, LR_EMPTY_OUTPUT, NULL);
    const lr_check_row *same = find_same(job, repaired);
    if (same) return drop(job, LR_DUPLICATE, same);
    lr_row_map_put(&job->seen, lr_row_hash(repaired), i);
    return keep(job, row);
}

static lora_status fix_row(fixer *job, size_t i)
{
    job->source = &job->check->rows[i];
    job->changed = false;
    if (job->source->validation) return LORA_OK;
    if (!job->source->row) return drop(job, LR_UNREADABLE_ROW, NULL);
    json_t *row = json_deep_copy(job->source->row);
    if (!row) return lr_fail_memory(sizeof(json_t));
    lora_status status = fix_columns(job, row);
    if (status == LORA_OK) status = settle(job, i, row);
    json_decref(row);
    return status;
}

// ---- the files ----------------------------------------------------------------------------------------------------

static lora_status fix_rows(fixer *job)
{
    if (job->is_array) LR_TRY(lr_writer_write(job->rows, "[\n", 2));
    for (size_t i = 0; i < job->check->row_count; i++) LR_TRY(fix_row(job, i));
    if (job->is_array) LR_TRY(lr_writer_write(job->rows, "\n]\n", 3));
    if (job->info.kept_rows > 0) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA, "%s: no row is left after the repairs: nothing was written", job->check->files[0]);
}

static lora_status open_files(fixer *job, const char *path, bool overwrite)
{
    char *changes = lr_format(job->allocator, "%s.changes.jsonl", path);
    if (!changes) return LORA_ERROR_MEMORY;
    lora_status status = lr_writer_create(job->allocator, path, overwrite, &job->rows);
    if (status == LORA_OK) status = lr_writer_create(job->allocator, changes, overwrite, &job->changes);
    lr_free(job->allocator, changes);
    return status;
}

static lora_status commit(fixer *job)
{
    lr_writer *rows = job->rows, *changes = job->changes;
    job->changes = NULL;
    LR_TRY(lr_writer_commit(changes));
    job->rows = NULL;
    return lr_writer_commit(rows);
}

static lora_status run(fixer *job, const char *path, bool overwrite)
{
    LR_TRY(lr_row_map_init(job->allocator, job->check->row_count, &job->seen));
    job->kept = lr_alloc_zeroed(job->allocator, job->check->row_count, sizeof *job->kept);
    if (!job->kept) return LORA_ERROR_MEMORY;
    LR_TRY(open_files(job, path, overwrite));
    LR_TRY(fix_rows(job));
    return commit(job);
}

static bool ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), size = strlen(ending);
    return length > size && strcasecmp(path + length - size, ending) == 0;
}

lora_status lora_check_fix(const lora_check *check, const char *path, const lora_check_fix_options *options,
                           lora_check_fix_info *info)
{
    lora_check_fix_options all;
    lora_check_fix_options_init(&all);
    LR_CHECK_HANDLE(check);
    LR_CHECK_ARGUMENT(path && *path, "lora_check_fix: no path was given");
    LR_TRY(lr_take_options(&all, sizeof all, options, __func__));
    if (!ends_with(path, ".json") && !ends_with(path, ".jsonl"))
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: the cleaned copy is JSON: choose a name that ends in .jsonl or .json", path);
    fixer job = {.check = check,
                 .allocator = &check->context->allocator,
                 .mask = all.mask_personal != 0,
                 .gbk = lr_gbk_open(),
                 .is_array = ends_with(path, ".json")};
    lr_bytes_init(&job.text, job.allocator, MAX_TEXT);
    lr_bytes_init(&job.next, job.allocator, MAX_TEXT);
    lora_status status = run(&job, path, all.overwrite != 0);
    lr_writer_abandon(job.rows);
    lr_writer_abandon(job.changes);
    lr_row_map_free(job.allocator, &job.seen);
    for (size_t i = 0; job.kept && i < check->row_count; i++) lr_check_row_free(job.allocator, &job.kept[i]);
    lr_free(job.allocator, job.kept);
    lr_bytes_free(&job.text);
    lr_bytes_free(&job.next);
    lr_gbk_close(job.gbk);
    LR_TRY(status);
    return info ? lr_give_info(info, &job.info, sizeof job.info, __func__) : LORA_OK;
}
