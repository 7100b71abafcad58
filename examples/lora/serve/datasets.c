#include "datasets.h"

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)256 << 20) // of a data set
#define MOST_COLUMNS 32

char *dataset_path(const server *s, const char *name)
{
    return workspace_path(s, "datasets/%s.jsonl", name);
}

static bool exists(const server *s, const char *name)
{
    char *path = dataset_path(s, name);
    bool found = path && path_exists(path);
    free(path);
    return found;
}

bool dataset_is_there(request *r, const char *name)
{
    if (exists(r->server, name)) return true;
    answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no data set %s", "没有数据集 %s"), name);
    return false;
}

bool dataset_is_free(request *r, const char *name)
{
    if (!exists(r->server, name)) return true;
    answer_error(r, 409, "name_taken", NULL, say(&r->words, "there is a data set %s already", "已有名为 %s 的数据集"), name);
    return false;
}

// ---- lines ---------------------------------------------------------------------------------------------------------

typedef struct lines {
    char *text;
    size_t length;
    size_t *begins; // [count + 1]
    size_t count;
} lines;

static void lines_free(lines *l)
{
    free(l->text);
    free(l->begins);
}

// Every line ends with a line break: the files are our own.
static bool lines_read(request *r, const char *name, lines *l)
{
    char *path = dataset_path(r->server, name);
    *l = (lines){0};
    l->text = path ? read_whole(path, MOST_BYTES, &l->length) : NULL;
    free(path);
    for (const char *at = l->text; at && (at = memchr(at, '\n', l->length - (size_t)(at - l->text))); at++) l->count++;
    l->begins = l->text ? malloc((l->count + 1) * sizeof *l->begins) : NULL;
    if (!l->begins) {
        lines_free(l);
        answer_errno(r, name);
        return false;
    }
    size_t line = 0;
    l->begins[0] = 0;
    for (size_t i = 0; i < l->length; i++)
        if (l->text[i] == '\n') l->begins[++line] = i + 1;
    return true;
}

static json_t *line_value(const lines *l, size_t index)
{
    return json_loadb(l->text + l->begins[index], l->begins[index + 1] - l->begins[index] - 1, JSON_DECODE_ANY, NULL);
}

// ---- descriptions --------------------------------------------------------------------------------------------------

static const char *shape_of(const json_t *row)
{
    static const struct { const char *key, *shape;
    } shapes[] = {{"messages", "chat"},      {"conversations", "chat"}, {"chosen", "preference"},
                  {"instruction", "alpaca"}, {"prompt", "prompt"},      {"label", "classification"},
                  {"text", "text"}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (json_object_get(row, shapes[i].key)) return shapes[i].shape;
    return "other";
}

static void answer_rows(request *r, unsigned status, const char *name, int64_t offset, int64_t limit)
{
    lines l;
    if (!lines_read(r, name, &l)) return;
    json_t *items = json_array(), *first = l.count ? line_value(&l, 0) : NULL;
    for (int64_t i = offset; i < (int64_t)l.count && i < offset + limit; i++) {
        json_t *row = line_value(&l, (size_t)i);
        json_array_append_new(items, row ? row : json_object());
    }
    answer_json(r, status,
                json_pack("{ss sI ss so}", "name", name, "rows", (json_int_t)l.count, "shape", shape_of(first), "items",
                          items));
    json_decref(first);
    lines_free(&l);
}

// ---- the list ------------------------------------------------------------------------------------------------------

typedef struct listing {
    server *server;
    json_t *list;
} listing;

static json_t *column_names(const char *line, size_t length)
{
    json_t *row = json_loadb(line, length, 0, NULL), *names = json_array(), *value;
    const char *key;
    json_object_foreach(row, key, value)
        if (json_array_size(names) < MOST_COLUMNS) json_array_append_new(names, json_string(key));
    json_decref(row);
    return names;
}

static void describe(const char *file, void *user)
{
    listing *l = user;
    const char *ending = strrchr(file, '.');
    char *name = ending && strcmp(ending, ".jsonl") == 0 ? strndup(file, (size_t)(ending - file)) : NULL;
    char *path = name && is_name(name) ? dataset_path(l->server, name) : NULL, *text;
    size_t length, rows = 0;
    if (path && (text = read_whole(path, MOST_BYTES, &length))) {
        for (size_t i = 0; i < length; i++) rows += text[i] == '\n';
        json_array_append_new(l->list, json_pack("{ss sI sI sf so}", "name", name, "rows", (json_int_t)rows, "bytes",
                                                 (json_int_t)length, "changed", changed_at(path), "columns",
                                                 column_names(text, strcspn(text, "\n"))));
        free(text);
    }
    free(path);
    free(name);
}

json_t *datasets_list(server *s)
{
    listing l = {.server = s, .list = json_array()};
    char *folder = workspace_path(s, "datasets");
    if (folder) each_entry(folder, describe, &l);
    free(folder);
    return l.list;
}

// ---- a new one -----------------------------------------------------------------------------------------------------

typedef struct converting {
    FILE *out;
    int64_t rows;
    bool failed, odd; // odd: a row is no object
} converting;

static int32_t write_row(const char *json, size_t length, int64_t number, void *user)
{
    converting *c = user;
    (void)number;
    c->odd |= *json != '{';
    c->failed |= fwrite(json, 1, length, c->out) != length || fputc('\n', c->out) == EOF;
    c->rows++;
    return c->failed || c->odd;
}

// The file at `from` as JSON lines at `to`.
static bool convert(request *r, const char *from, const char *to)
{
    converting c = {.out = fopen(to, "wb")};
    if (!c.out) return answer_errno(r, r->names[0]), false;
    lora_status status = lora_dataset_read_rows(r->server->app->context, from, write_row, &c);
    c.failed |= fflush(c.out) != 0 || fsync(fileno(c.out)) != 0;
    if (fclose(c.out) != 0) c.failed = true;
    if (status != LORA_OK) answer_failure(r, status);
    else if (c.odd)
        answer_error(r, 422, "bad_data", NULL,
                     say(&r->words, "row %lld is no object: each row needs names for its values",
                         "第 %lld 行不是对象：每行的值需要有名称"),
                     (long long)c.rows);
    else if (c.failed) answer_errno(r, r->names[0]);
    else if (c.rows == 0)
        answer_error(r, 422, "bad_data", NULL, "%s", say(&r->words, "there are no rows in it", "其中没有数据行"));
    return !r->answered;
}

void dataset_put(request *r)
{
    static const char *const types[] = {"json", "jsonl", "csv", "tsv", "txt"};
    const char *type = query(r, "type"), *name = r->names[0];
    bool known = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) known |= type && strcmp(type, types[i]) == 0;
    if (!known) {
        answer_error(r, 400, "invalid_value", "type", "%s",
                     say(&r->words, "type: json, jsonl, csv, tsv or txt is expected",
                         "type：应为 json、jsonl、csv、tsv 或 txt"));
        return;
    }
    pthread_mutex_lock(&r->server->files);
    char *from = workspace_path(r->server, "uploads/%s.%s", name, type),
         *folder = workspace_path(r->server, "datasets");
    char *fresh = folder ? fresh_path(folder) : NULL, *path = dataset_path(r->server, name);
    if (dataset_is_free(r, name) && from && fresh && path) {
        if (rename(r->upload, from) != 0) answer_errno(r, name);
        else if (convert(r, from, fresh) && rename(fresh, path) != 0) answer_errno(r, name);
    }
    if (from) unlink(from);
    if (fresh) unlink(fresh);
    pthread_mutex_unlock(&r->server->files);
    free(from);
    free(folder);
    free(fresh);
    free(path);
    if (!r->answered) answer_rows(r, 201, name, 0, 0);
}

// ---- reading -------------------------------------------------------------------------------------------------------

void dataset_get(request *r)
{
    int64_t offset = 0, limit = 50;
    if (dataset_is_there(r, r->names[0]) && query_integer(r, "offset", 0, INT32_MAX, &offset) &&
        query_integer(r, "limit", 0, 1000, &limit))
        answer_rows(r, 200, r->names[0], offset, limit);
}

void dataset_download(request *r)
{
    char *path = dataset_path(r->server, r->names[0]), *name = text_of("%s.jsonl", r->names[0]);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (file < 0) dataset_is_there(r, r->names[0]);
    else answer_file(r, file, "application/jsonl", name);
    free(path);
    free(name);
}

// ---- changing ------------------------------------------------------------------------------------------------------

static bool write_text(request *r, const char *name, const char *text, size_t length)
{
    char *path = dataset_path(r->server, name);
    bool done = path && length <= MOST_BYTES && write_whole(path, text, length);
    if (!done && length > MOST_BYTES)
        answer_error(r, 413, "too_large", NULL, "%s", say(&r->words, "the data set gets too large", "数据集过大"));
    else if (!done) answer_errno(r, name);
    free(path);
    return done;
}

// Puts `text` in place of the bytes from `begin` to `end`.
static bool replace(request *r, const lines *l, size_t begin, size_t end, const char *text, size_t length)
{
    size_t size = l->length - (end - begin) + length;
    char *whole = malloc(size + 1);
    if (!whole) return answer_failure(r, LORA_ERROR_MEMORY), false;
    memcpy(whole, l->text, begin);
    memcpy(whole + begin, text, length);
    memcpy(whole + begin + length, l->text + end, l->length - end);
    bool done = write_text(r, r->names[0], whole, size);
    free(whole);
    return done;
}

// Changes row `index`, or, for -1, adds behind the last.
static void change(request *r, int64_t index, const char *text, size_t length)
{
    lines l;
    pthread_mutex_lock(&r->server->files);
    if (dataset_is_there(r, r->names[0]) && lines_read(r, r->names[0], &l)) {
        if (index >= (int64_t)l.count) {
            answer_error(r, 404, "not_found", NULL, say(&r->words, "%s has %zu rows", "%s 共有 %zu 行"), r->names[0],
                         l.count);
        } else {
            size_t begin = index < 0 ? l.length : l.begins[index], end = index < 0 ? l.length : l.begins[index + 1];
            replace(r, &l, begin, end, text, length);
        }
        lines_free(&l);
    }
    pthread_mutex_unlock(&r->server->files);
    if (!r->answered) answer_rows(r, 200, r->names[0], 0, 0);
}

void dataset_add_rows(request *r)
{
    json_t *items = json_object_get(r->body, "items"), *row;
    size_t index, length = 0, capacity = 1;
    bool fine = json_is_array(items) && json_array_size(items) > 0;
    json_array_foreach(items, index, row) {
        fine &= json_is_object(row);
        capacity += json_dumpb(row, NULL, 0, JSON_COMPACT) + 1;
    }
    if (!fine) {
        answer_error(r, 400, "invalid_value", "items", "%s",
                     say(&r->words, "items: a list of rows is expected, each an object",
                         "items：应为数据行的列表，每行是一个对象"));
        return;
    }
    char *text = malloc(capacity);
    if (!text) {
        answer_failure(r, LORA_ERROR_MEMORY);
        return;
    }
    json_array_foreach(items, index, row) {
        length += json_dumpb(row, text + length, capacity - length, JSON_COMPACT);
        text[length++] = '\n';
    }
    change(r, -1, text, length);
    free(text);
}

void dataset_put_row(request *r)
{
    char *text = json_dumps(r->body, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    if (!text) {
        answer_failure(r, LORA_ERROR_MEMORY);
        return;
    }
    text[length] = '\n'; // in place of the ending zero
    change(r, r->numbers[0], text, length + 1);
    free(text);
}

void dataset_delete_row(request *r)
{
    change(r, r->numbers[0], "", 0);
}

void dataset_delete(request *r)
{
    char *path = dataset_path(r->server, r->names[0]);
    pthread_mutex_lock(&r->server->files);
    if (dataset_is_there(r, r->names[0])) {
        if (path && unlink(path) == 0) answer_json(r, 200, json_object());
        else answer_errno(r, r->names[0]);
    }
    pthread_mutex_unlock(&r->server->files);
    free(path);
}

// ---- splitting -----------------------------------------------------------------------------------------------------

static uint64_t mix(uint64_t value) // splitmix64 (Steele, Lea and Flood 2014)
{
    value += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

// Marks `wanted` of `count` rows, each choice as likely (selection sampling, Knuth 3.4.2 S).
static void draw(bool *taken, size_t count, size_t wanted, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        double u = (double)(mix(seed + i) >> 11) * 0x1p-53;
        taken[i] = u * (double)(count - i) < (double)wanted;
        wanted -= taken[i];
    }
}

static void split(request *r, const lines *l, const char *to, double fraction, uint64_t seed)
{
    size_t wanted = (size_t)llround(fraction * (double)l->count), lengths[2] = {0, 0};
    if (wanted == 0 || wanted >= l->count) {
        answer_error(r, 422, "bad_data", "fraction",
                     say(&r->words, "of %zu rows this leaves one side empty", "共 %zu 行，这样会有一边为空"), l->count);
        return;
    }
    bool *taken = calloc(l->count, sizeof *taken);
    char *parts[2] = {malloc(l->length), malloc(l->length)};
    if (taken && parts[0] && parts[1]) {
        draw(taken, l->count, wanted, seed);
        for (size_t i = 0; i < l->count; i++) {
            size_t length = l->begins[i + 1] - l->begins[i];
            memcpy(parts[taken[i]] + lengths[taken[i]], l->text + l->begins[i], length);
            lengths[taken[i]] += length;
        }
        // What was taken is written first: killed in between, no row is lost.
        if (write_text(r, to, parts[1], lengths[1])) write_text(r, r->names[0], parts[0], lengths[0]);
    } else answer_failure(r, LORA_ERROR_MEMORY);
    free(taken);
    free(parts[0]);
    free(parts[1]);
}

void dataset_split(request *r)
{
    double fraction = 0.2;
    int64_t seed = 42;
    const char *to;
    lines l;
    if (!take_real(r, "fraction", 0, 1, &fraction) || !take_integer(r, "seed", INT64_MIN, INT64_MAX, &seed) ||
        !take_name(r, "to", &to))
        return;
    pthread_mutex_lock(&r->server->files);
    if (dataset_is_there(r, r->names[0]) && dataset_is_free(r, to) && lines_read(r, r->names[0], &l)) {
        split(r, &l, to, fraction, (uint64_t)seed);
        lines_free(&l);
    }
    pthread_mutex_unlock(&r->server->files);
    if (!r->answered) answer_rows(r, 201, to, 0, 0);
}
