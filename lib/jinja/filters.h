// The tables behind `|`: filters of single values in filters.c, of sequences in sequence_filters.c.
#ifndef LR_JINJA_FILTERS_H
#define LR_JINJA_FILTERS_H

#include "lib/jinja/text.h"
#include "lib/jinja/value.h"

typedef lora_status lr_filter_fn(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out);

typedef struct lr_filter {
    const char *name;
    lr_filter_fn *apply;
} lr_filter;

extern const lr_filter lr_sequence_filters[];
extern const size_t lr_sequence_filter_count;

// The value at a dotted path ("function.name", "0.id") of `value`; an empty path is the value itself.
lora_status lr_follow_path(lr_render *render, lr_value value, lr_value path, lr_value *out);
// Texts without regard to case, for sorting and for unique; other values as they are.
lora_status lr_fold_case(lr_render *render, lr_value value, bool case_sensitive, lr_value *out);
// Sorts items by keys, both moved alike; stable.
lora_status lr_sort_by(lr_render *render, lr_value *keys, lr_value *items, size_t count, bool reverse);

#endif
