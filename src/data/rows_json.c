// JSON arrays of rows, and JSON lines.
#include "src/data/rows.h"

#include <stdio.h>
#include <string.h>

lora_status lr_rows_json(const char *path, const char *text, size_t length, const lr_row_sink *sink)
{
    json_t *rows;
    bool done = false;
    LR_TRY(lr_json_parse(path, text, length, &rows));
    lora_status status = LORA_OK;
    for (size_t i = 0; i < json_array_size(rows) && status == LORA_OK && !done; i++)
        status = sink->take(json_array_get(rows, i), &(lr_place){.path = path, .number = i + 1}, &done, sink->user);
    json_decref(rows);
    return status;
}

static lora_status take_line(const char *line, size_t length, const lr_place *place, const lr_row_sink *sink,
                             bool *done)
{
    char name[512];
    json_t *row;
    snprintf(name, sizeof name, LR_PLACE, LR_PLACE_ARGUMENTS(place));
    lora_status status = lr_json_parse(name, line, length, &row);
    if (status != LORA_OK) return lr_rows_refuse(sink, place, status);
    status = sink->take(row, place, done, sink->user);
    json_decref(row);
    return status;
}

lora_status lr_rows_json_lines(const char *path, const char *text, size_t length, const lr_row_sink *sink)
{
    lr_place place = {.path = path, .is_line = true};
    bool done = false;
    for (size_t at = 0; at < length && !done;) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t size = (end ? (size_t)(end - text) : length) - at;
        place.number++;
        if (strspn(text + at, " \t\r") < size) LR_TRY(take_line(text + at, size, &place, sink, &done));
        at += size + 1;
    }
    return LORA_OK;
}
