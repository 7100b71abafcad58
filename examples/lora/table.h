// A table on standard output: columns as wide as their widest cell, counted as a terminal shows them (Chinese takes
// two).
#ifndef TABLE_H
#define TABLE_H

#include "app.h"

#define TABLE_COLUMNS 12

typedef struct table {
    size_t columns;
    char **cells; // row after row
    size_t count, capacity;
    bool left[TABLE_COLUMNS]; // else the column stands to the right
} table;

// Cells of a row, one call each; the first row is the heading. A NULL text is an empty cell.
void table_add(table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Prints the rows and frees them. Columns without any text but their heading are left out.
void table_print(table *t);
// Columns that a terminal needs for a text.
size_t text_width(const char *text);

#endif
