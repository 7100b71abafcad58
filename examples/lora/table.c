#include "table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

size_t text_width(const char *text)
{
    size_t width = 0;
    utf8proc_int32_t code;
    for (utf8proc_ssize_t used; *text && (used = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code)) > 0;
         text += used)
        width += (size_t)utf8proc_charwidth(code);
    return width;
}

void table_add(table *t, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **cells = realloc(t->cells, capacity * sizeof *cells);
        if (!cells) return;
        t->cells = cells;
        t->capacity = capacity;
    }
    t->cells[t->count++] = strdup(text);
}

static const char *cell(const table *t, size_t row, size_t column)
{
    const char *text = t->cells[row * t->columns + column];
    return text ? text : "";
}

// The widest cell; 0 when only the heading has text.
static size_t column_width(const table *t, size_t column, size_t rows)
{
    size_t width = 0;
    for (size_t r = 1; r < rows; r++) {
        size_t w = text_width(cell(t, r, column));
        if (w > width) width = w;
    }
    size_t heading = text_width(cell(t, 0, column));
    return width && heading > width ? heading : width;
}

void table_print(table *t)
{
    size_t rows = t->count / t->columns, widths[TABLE_COLUMNS];
    for (size_t c = 0; c < t->columns; c++) widths[c] = column_width(t, c, rows);
    for (size_t r = 0; r < rows; r++) {
        bool first = true;
        for (size_t c = 0; c < t->columns; c++) {
            const char *text = cell(t, r, c);
            int space = (int)(widths[c] - (widths[c] ? text_width(text) : 0));
            if (widths[c] == 0) continue;
            printf("%s%*s%s%*s", first ? "" : "  ", t->left[c] ? 0 : space, "", text, t->left[c] ? space : 0, "");
            first = false;
        }
        putchar('\n');
    }
    for (size_t i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->count = t->capacity = 0;
}
