// A model of a few thousand numbers with its own tokenizer, in a directory of its own, by public calls alone: what the
// tests of faults and of the binary interface share.
#ifndef TINY_H
#define TINY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lora/lora.h>

typedef struct tiny {
    char directory[200]; // removed by tiny_close
} tiny;

// DIRECTORY/base: config.json, weights, tokenizer.json (one token a byte); DIRECTORY/rows.jsonl: instruction data.
void tiny_open(tiny *t);
void tiny_close(tiny *t);
// DIRECTORY/name; lives until the 16th next call of this thread.
const char *tiny_path(const tiny *t, const char *name);
void tiny_remove(const tiny *t, const char *name); // a file or a tree below the directory
// Entries of DIRECTORY/name ("" is the directory itself).
size_t tiny_count(const tiny *t, const char *name);

// A context of `threads` threads on `allocator` (NULL: malloc).
lora_context *tiny_context(int32_t threads, const lora_allocator *allocator);
lora_model *tiny_model(const tiny *t, lora_context *context);
lora_dataset *tiny_data(const tiny *t, lora_context *context, const lora_model *model);

#define assert_ok(call) check_status(call, LORA_OK, #call, __FILE__, __LINE__)
#define assert_status(expected, call) check_status(call, expected, #call, __FILE__, __LINE__)
void check_status(lora_status status, lora_status expected, const char *call, const char *file, int line);

#endif
