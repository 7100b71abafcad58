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

#endif
