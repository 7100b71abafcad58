// Tables of text as RFC 4180 has them, with any delimiter: the first record names the columns; a field in double quotes
// may hold the delimiter, newlines and doubled quotes. Every value is a text.
#include "src/data/rows.h"

#include <string.h>

typedef struct table_reader {
    const char *path;
    const char *text;
    size_t length, at;
    size_t line; // of `at`, from 1
    const char *delimiter;
    size_t delimiter_size;
    lr_bytes field;
    json_t *columns; // names
} table_reader;

static lora_status read_quoted(table_reader *table)
{
    size_t begin = table->line;
    for (table->at++; table->at < table->length; table->at++) {
        char c = table->text[table->at];
        if (c == '"' && (table->at + 1 == table->length || table->text[table->at + 1] != '"')) {
            table->at++;
            return LORA_OK;
        }
        if (c == '"') table->at++;
        table->line += c == '\n';
        LR_TRY(lr_bytes_append(&table->field, &c, 1));
    }
    return lr_fail(LORA_ERROR_FORMAT,
                   "%s:%zu: a field that begins with a quote has no end: close it, or double the quotes in it",
                   table->path, begin);
}

static bool at_delimiter(const table_reader *table)
{
    return table->length - table->at >= table->delimiter_size &&
           memcmp(table->text + table->at, table->delimiter, table->delimiter_size) == 0;
}

static bool ends_field(const table_reader *table)
{
    if (table->at == table->length) return true;
    char c = table->text[table->at];
    return c == '\n' || c == '\r' || at_delimiter(table);
}

static lora_status read_field(table_reader *table)
{
    table->field.size = 0;
    LR_TRY(lr_bytes_append(&table->field, "", 0));
    if (table->at < table->length && table->text[table->at] == '"') LR_TRY(read_quoted(table));
    while (!ends_field(table)) LR_TRY(lr_bytes_append(&table->field, &table->text[table->at++], 1));
    return LORA_OK;
}

static void skip_line_end(table_reader *table)
{
    if (table->at < table->length && table->text[table->at] == '\r') table->at++;
    if (table->at < table->length && table->text[table->at] == '\n') table->at++;
    table->line++;
}

// The fields of the next record; *fields is NULL at the end. A line without anything is no record.
static lora_status read_record(table_reader *table, json_t **fields, size_t *line)
{
    *fields = NULL;
    while (table->at < table->length && (table->text[table->at] == '\n' || table->text[table->at] == '\r'))
        skip_line_end(table);
    if (table->at == table->length) return LORA_OK;
    *line = table->line;
    *fields = json_array();
    for (;;) {
        LR_TRY(read_field(table));
        if (json_array_append_new(*fields, json_stringn(table->field.data, table->field.size)) != 0)
            return lr_fail_memory(table->field.size);
        if (!at_delimiter(table)) break;
        table->at += table->delimiter_size;
    }
    skip_line_end(table);
    return LORA_OK;
}

static lora_status take_record(const table_reader *table, const json_t *fields, const lr_place *place,
                               const lr_row_sink *sink, bool *done)
{
    size_t count = json_array_size(table->columns);
    if (json_array_size(fields) != count) {
        lora_status status = lr_fail(LORA_ERROR_DATA,
                                     LR_PLACE ": %zu fields, but the first line names %zu columns: put a text that "
                                              "holds the delimiter or a line break in double quotes",
                                     LR_PLACE_ARGUMENTS(place), json_array_size(fields), count);
        return lr_rows_refuse(sink, place, status);
    }
    json_t *row = json_object();
    lora_status status = row ? LORA_OK : lr_fail_memory(sizeof(json_t));
    for (size_t i = 0; i < count && status == LORA_OK; i++)
        if (json_object_set(row, json_string_value(json_array_get(table->columns, i)), json_array_get(fields, i)) != 0)
            status = lr_fail_memory(sizeof(json_t));
    if (status == LORA_OK) status = sink->take(row, place, done, sink->user);
    json_decref(row);
    return status;
}

static lora_status read_table(table_reader *table, const lr_row_sink *sink)
{
    bool done = false;
    lr_place place = {.path = table->path, .is_line = true, .is_table = true};
    LR_TRY(read_record(table, &table->columns, &place.number));
    while (!done) {
        json_t *fields;
        lora_status status = read_record(table, &fields, &place.number);
        if (status == LORA_OK && !fields) break;
        if (status == LORA_OK) status = take_record(table, fields, &place, sink, &done);
        json_decref(fields);
        LR_TRY(status);
    }
    return LORA_OK;
}

lora_status lr_rows_delimited(const lora_allocator *allocator, const char *path, const char *text, size_t length,
                              const char *delimiter, const lr_row_sink *sink)
{
    table_reader table = {.path = path,
                          .text = text,
                          .length = length,
                          .line = 1,
                          .delimiter = delimiter,
                          .delimiter_size = strlen(delimiter)};
    lr_bytes_init(&table.field, allocator, length);
    lora_status status = read_table(&table, sink);
    json_decref(table.columns);
    lr_bytes_free(&table.field);
    return status;
}

// ---- finding the delimiter ----------------------------------------------------------------------------------------

typedef struct record_measure {
    size_t fields; // 0: there is no record, or a quote in it has no end
    size_t known;  // fields that name a column
} record_measure;

// Measures the record at *at and moves behind it.
static lora_status measure_record(const lora_allocator *allocator, const char *text, size_t length,
                                  const char *delimiter, size_t *at, record_measure *out)
{
    table_reader table = {.path = "",
                          .text = text,
                          .length = length,
                          .at = *at,
                          .delimiter = delimiter,
                          .delimiter_size = strlen(delimiter)};
    json_t *fields, *field;
    size_t line, i;
    *out = (record_measure){0};
    lr_bytes_init(&table.field, allocator, length);
    lora_status status = read_record(&table, &fields, &line);
    if (status == LORA_OK && fields) {
        out->fields = json_array_size(fields);
        json_array_foreach(fields, i, field) out->known +=
            lr_column_find(json_string_value(field), json_string_length(field)) >= 0;
    }
    json_decref(fields);
    lr_bytes_free(&table.field);
    *at = table.at;
    return status == LORA_ERROR_FORMAT ? LORA_OK : status;
}

// The delimiter under which the first line names the most columns, at least two; else, for a table, the usual one where
// it cuts the first line, and any that cuts the first two lines into equally many fields.
lora_status lr_find_delimiter(const lora_allocator *allocator, const char *text, size_t length, const char *usual,
                              const char **out)
{
    static const char *const candidates[] = {",", "\t", ";", "|", "、", "，"};
    size_t most = 1;
    const char *even = NULL;
    *out = NULL;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        size_t at = 0;
        record_measure first, second;
        LR_TRY(measure_record(allocator, text, length, candidates[i], &at, &first));
        if (first.known > most && (usual || first.known == first.fields)) {
            most = first.known;
            *out = candidates[i];
        }
        if (first.fields < 2) continue;
        LR_TRY(measure_record(allocator, text, length, candidates[i], &at, &second));
        bool is_usual = usual && strcmp(usual, candidates[i]) == 0;
        if (is_usual || (!even && second.fields == first.fields)) even = candidates[i];
    }
    if (!*out && usual) *out = even ? even : usual;
    return LORA_OK;
}

size_t lr_count_even_fields(const char *text)
{
    size_t even = 0, lines = 0;
    for (const char *line = text, *end; *line; line = end + strspn(end, "\r\n")) {
        size_t fields = 1;
        for (end = line; *end && *end != '\r' && *end != '\n'; end++) fields += *end == '\t';
        if (lines++ > 0 && fields != even) return 1;
        even = fields;
    }
    return lines > 1 ? even : 1;
}
