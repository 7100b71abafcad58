// Chat templates: the part of the Jinja2 language that models' templates use, with the settings transformers renders
// them with (trim_blocks, lstrip_blocks, loop controls, raise_exception, strftime_now, a plain tojson, immutable
// values).
//
// A template is compiled once into a tree that is never written to again, and may be rendered by any number of threads.
// Layout of this folder:
//   lexer.c       source to tokens, whitespace control            values.c     Python's values: equality, order, text,
//   lookup parser.c      statements                                      text.c       Python's string operations, by
//   code points expression.c  expressions                                     serialise.c  repr and JSON execute.c
//   statements at run time, scopes, macros          methods.c    methods of strings, lists and dicts evaluate.c
//   expressions at run time                         filters.c, sequence_filters.c, tests.c   `|` and `is`
// Every value of a rendering lives in its arena. A template is hostile input: steps, memory, output and nesting are
// limited.
#ifndef LR_JINJA_H
#define LR_JINJA_H

#include "lib/memory.h"

#include <jansson.h>

typedef struct lr_jinja lr_jinja;

// `name` is what messages call the template. FORMAT with the line for what is no template, UNSUPPORTED for parts of the
// language that are left out (include, import, extends, block, recursive loops).
lora_status lr_jinja_compile(const lora_allocator *allocator, const char *name, const char *source, size_t length,
                             lr_jinja **out);
void lr_jinja_free(lr_jinja *jinja); // NULL is accepted

// Appends the rendered text to `out`. `variables`: an object. DATA when the template raises an exception itself, FORMAT
// with the line for any other error.
lora_status lr_jinja_render(const lr_jinja *jinja, const json_t *variables, lr_bytes *out);

#endif
