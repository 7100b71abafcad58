// Regular expressions of adapter settings, over module names. Memory comes from the allocator, and matching has a step
// limit, since the expressions come from files.
#ifndef LR_ADAPTER_REGEX_H
#define LR_ADAPTER_REGEX_H

#include "lib/memory.h"

typedef struct lr_regex lr_regex;

// `whole`: the expression must cover the text (Python's fullmatch); else it must match at the start (match). `key`
// names the setting in messages. FORMAT when the expression is malformed.
lora_status lr_regex_create(const lora_allocator *allocator, const char *key, const char *pattern, bool whole,
                            lr_regex **out);
void lr_regex_free(lr_regex *regex); // NULL is accepted
// `number` (may be NULL) gets the digits of the group named "idx", or -1.
lora_status lr_regex_match(const lr_regex *regex, const char *text, bool *matched, int64_t *number);

#endif
