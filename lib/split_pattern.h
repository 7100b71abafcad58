// Patterns that cut text: regular expressions as tokenizer files write them (Oniguruma's syntax, over PCRE2) and
// literal texts. A pattern is immutable and shared; what a search needs beyond it is in a matcher, one per call.
#ifndef LR_SPLIT_PATTERN_H
#define LR_SPLIT_PATTERN_H

#include "memory.h"

typedef struct lr_pattern lr_pattern;
typedef struct lr_matcher lr_matcher;

// FORMAT when the expression is malformed (the message gives PCRE2's reason and the place), UNSUPPORTED when it means
// something else to PCRE2. `text` need not be zero-terminated.
lora_status lr_pattern_compile(const lora_allocator *allocator, const char *text, size_t length, lr_pattern **out);
lora_status lr_pattern_literal(const lora_allocator *allocator, const char *text, size_t length, lr_pattern **out);
void lr_pattern_free(lr_pattern *pattern); // NULL is accepted

// Serves any pattern, one search at a time.
lora_status lr_matcher_create(const lora_allocator *allocator, lr_matcher **out);
void lr_matcher_free(lr_matcher *matcher); // NULL is accepted

// The first non-empty match at or after `from` in valid UTF-8, seen whole (look-behind included). *found is false when
// there is none. DATA when the search was given up (a pattern that backtracks without end).
lora_status lr_pattern_find(const lr_pattern *pattern, lr_matcher *matcher, const char *text, size_t length,
                            size_t from, size_t *begin, size_t *end, bool *found);

#endif
