// JSON glue over jansson: parsing with messages that name the file, line and column, and getters with types and
// defaults.
#ifndef LR_JSON_H
#define LR_JSON_H

#include "memory.h"

#include <jansson.h>
#include <lora/context.h>
#include <stdbool.h>

// Parses `length` bytes; `name` is said in the message. A byte-order mark is skipped. Duplicate keys: the last wins. An
// integer beyond 64 bits becomes a real. Texts may hold zero characters: json_string_length.
lora_status lr_json_parse(const char *name, const char *text, size_t length, json_t **out);
// The same, but a duplicate key is FORMAT.
lora_status lr_json_parse_unique(const char *name, const char *text, size_t length, json_t **out);
// Reads and parses a file of at most `limit` bytes.
lora_status lr_json_load(const lora_allocator *allocator, const lora_file_access *files, const char *path, size_t limit,
                         json_t **out);
// Serialised with `indent` spaces (0: one line), keys sorted when `sort`, from `allocator`.
lora_status lr_json_dump(const lora_allocator *allocator, const json_t *value, int indent, bool sort, char **text,
                         size_t *length);
// Takes a document (NULL: MEMORY) and keeps its text in *kept, in place of an older one, to be lent as *text.
lora_status lr_json_lend(const lora_allocator *allocator, json_t *document, char **kept, const char **text);

// Getters: a missing or null key gives `fallback`; a key of another type is FORMAT, naming `name` and the key. Texts
// are lent.
lora_status lr_json_int(const json_t *object, const char *name, const char *key, int64_t fallback, int64_t *out);
lora_status lr_json_real(const json_t *object, const char *name, const char *key, double fallback, double *out);
lora_status lr_json_bool(const json_t *object, const char *name, const char *key, bool fallback, bool *out);
lora_status lr_json_text(const json_t *object, const char *name, const char *key, const char *fallback,
                         const char **out);

#endif
