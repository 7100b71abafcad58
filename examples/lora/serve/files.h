// Files of the workspace: each appears whole or not at all.
#ifndef SERVE_FILES_H
#define SERVE_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

// A formatted text of its own; NULL: out of memory. Free with free().
char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

// All return false, with errno set, when the work failed.
bool make_directory(const char *path); // one that is there is fine
bool write_whole(const char *path, const void *bytes, size_t length);
bool write_json(const char *path, const json_t *value);
bool remove_tree(const char *path); // nothing there is fine

char *read_whole(const char *path, size_t most,
                 size_t *length); // zero-terminated; NULL: not readable, or larger than `most`
json_t *read_json(const char *path);                            // NULL: not readable, or no JSON
bool file_size(const char *path, size_t *bytes);                // of a file, or of all files below a directory
double changed_at(const char *path);                            // seconds since 1970; 0: not there

// Calls take(name, user) for each entry, in the order of the names; what begins with '.' is left out.
void each_entry(const char *path, void (*take)(const char *name, void *user), void *user);

// A fresh path "DIRECTORY/.new-N" for something that is renamed once it is whole; what is left of such is removed at
// the start.
char *fresh_path(const char *directory);
// Removes such, and what the library left half written (.tmp-).
void remove_fresh(const char *directory);

#endif
