// Values of a rendering and what can be done with them. They follow Python's: strings are sequences of code points,
// lists and dicts are never changed once made (transformers' sandbox forbids it), only namespaces are.
#ifndef LR_JINJA_VALUE_H
#define LR_JINJA_VALUE_H

#include "lib/jinja/arena.h"

#include <jansson.h>

typedef struct lr_node lr_node;
typedef struct lr_scope lr_scope;
typedef struct lr_loop lr_loop;
typedef struct lr_callable lr_callable;

typedef struct lr_text {
    const char *bytes; // UTF-8
    size_t size;
    size_t points; // code points
    bool markup;   // went through `escape` or `safe`
} lr_text;

typedef enum lr_kind {
    LR_UNDEFINED, // `text` says why
    LR_NONE,
    LR_BOOLEAN,
    LR_INTEGER,
    LR_REAL,
    LR_STRING,
    LR_SEQUENCE,
    LR_DICT,
    LR_NAMESPACE, // `names`
    LR_LOOP,
    LR_CALLABLE
} lr_kind;

typedef struct lr_value {
    lr_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        const lr_text *text;
        const struct lr_sequence *sequence;
        const struct lr_dict *dict;
        lr_scope *names;
        lr_loop *loop;
        const lr_callable *callable;
    };
} lr_value;

typedef enum lr_flavor { LR_LIST, LR_TUPLE, LR_KEYS, LR_VALUES, LR_ITEMS, LR_RANGE, LR_GENERATOR } lr_flavor;

typedef struct lr_sequence {
    lr_flavor flavor;
    size_t count;
    lr_value *items;
    int64_t start, stop, step; // of a range
} lr_sequence;

typedef struct lr_pair_value {
    lr_value key, value;
} lr_pair_value;

typedef struct lr_dict {
    size_t count;
    lr_pair_value *pairs; // in the order they were put in
} lr_dict;

// Names and their values: a level of variables, or a namespace. Names are compared by text.
typedef struct lr_binding_value {
    const lr_text *name;
    lr_value value;
} lr_binding_value;

struct lr_scope {
    lr_scope *parent;
    lr_binding_value *bindings;
    size_t count, capacity;
};

struct lr_loop {
    const lr_sequence *items;
    size_t index;
    lr_value last_changed;
    bool has_changed;
};

typedef enum lr_callable_kind { LR_CALL_MACRO, LR_CALL_FUNCTION, LR_CALL_METHOD } lr_callable_kind;

struct lr_callable {
    lr_callable_kind kind;
    const lr_node *macro; // a macro or a call block's body, with the scope it was made in
    lr_scope *scope;
    int32_t number; // of a function, or of a method in the table of its kind
    lr_value self;
};

// One rendering.
typedef struct lr_render {
    const char *name; // of the template
    lr_arena arena;
    lr_bytes *out; // where output goes now
    lr_scope *scope;
    int32_t line; // of what is being run
    int32_t depth;
    uint64_t steps;
    int32_t flow; // execute.c: whether a break or continue is under way
} lr_render;

typedef struct lr_arguments {
    const lr_value *values;
    size_t count;
    const lr_binding_value *keywords;
    size_t keyword_count;
} lr_arguments;

#define LR_JINJA_MAX_DEPTH 1000

// ---- errors and limits (values.c) ---------------------------------------------------------------------------------

// Puts the template's name and the line in front.
lora_status lr_jinja_fail(const lr_render *render, lora_status status, const char *format, ...) LR_PRINTF(3, 4);
// Counts work; FORMAT when a rendering does too much.
lora_status lr_jinja_charge(lr_render *render, uint64_t steps);
// Counts nesting; pair with render->depth--.
lora_status lr_jinja_enter(lr_render *render);
// The error of using an undefined value.
lora_status lr_jinja_fail_undefined(const lr_render *render, lr_value value);

// ---- making (values.c) --------------------------------------------------------------------------------------------

static inline lr_value lr_none(void) { return (lr_value){.kind = LR_NONE}; }
static inline lr_value lr_boolean(bool value) { return (lr_value){.kind = LR_BOOLEAN, .boolean = value}; }
static inline lr_value lr_integer(int64_t value) { return (lr_value){.kind = LR_INTEGER, .integer = value}; }
static inline lr_value lr_real(double value) { return (lr_value){.kind = LR_REAL, .real = value}; }

extern const lr_text lr_empty_text;
lora_status lr_text_new(lr_arena *arena, const char *bytes, size_t size, const lr_text **out); // copies
lora_status lr_string_new(lr_render *render, const char *bytes, size_t size, lr_value *out);   // copies
// A part of a text that stays where it is.
lora_status lr_string_part(lr_render *render, const char *bytes, size_t size, bool markup, lr_value *out);
lora_status lr_string_join(lr_render *render, const lr_text *const *parts, size_t count, lr_value *out);
// The bytes of a buffer, which is freed, as a string.
lora_status lr_string_take(lr_render *render, lr_bytes *bytes, lora_status status, lr_value *out);
lora_status lr_undefined(lr_render *render, lr_value *out, const char *format, ...) LR_PRINTF(3, 4);
// Room for `count` items, to be filled in through ->items.
lora_status lr_sequence_new(lr_render *render, lr_flavor flavor, size_t count, lr_sequence **out);
lora_status lr_dict_new(lr_render *render, size_t capacity, lr_dict **out);
lora_status lr_dict_put(lr_render *render, lr_dict *dict, lr_value key, lr_value value); // within the capacity
lora_status lr_from_json(lr_render *render, const json_t *json, lr_value *out);

static inline lr_value lr_of_sequence(const lr_sequence *sequence)
{
    return (lr_value){.kind = LR_SEQUENCE, .sequence = sequence};
}
static inline lr_value lr_of_dict(const lr_dict *dict) { return (lr_value){.kind = LR_DICT, .dict = dict}; }
static inline lr_value lr_of_text(const lr_text *text) { return (lr_value){.kind = LR_STRING, .text = text}; }

// ---- asking (values.c) --------------------------------------------------------------------------------------------

const char *lr_type_name(lr_value value); // Python's
bool lr_truth(lr_value value);
static inline bool lr_is_number(lr_value value) { return value.kind >= LR_BOOLEAN && value.kind <= LR_REAL; }
static inline bool lr_is_whole(lr_value value) { return value.kind == LR_BOOLEAN || value.kind == LR_INTEGER; }
static inline int64_t lr_whole(lr_value value) { return value.kind == LR_BOOLEAN ? value.boolean : value.integer; }
double lr_number(lr_value value);
bool lr_text_is(const lr_text *text, const char *bytes);
bool lr_text_equals(const lr_text *a, const lr_text *b);
lora_status lr_equals(lr_render *render, lr_value a, lr_value b, bool *out);
lora_status lr_compare(lr_render *render, lr_value a, lr_value b, const char *operation,
                       int *out); // < 0, 0, > 0; 2: NaN
lora_status lr_contains(lr_render *render, lr_value container, lr_value item, bool *out);
lora_status lr_length(lr_render *render, lr_value value, int64_t *out);
// Any iterable as an array: a string's characters, a dict's keys, nothing for an undefined value.
lora_status lr_items_of(lr_render *render, lr_value value, const lr_value **items, size_t *count);
lora_status lr_dict_find(lr_render *render, const lr_dict *dict, lr_value key, const lr_value **out); // NULL: not there
// value.name and value[key], as Jinja looks them up: both end in the other, then in an undefined value.
lora_status lr_get_attribute(lr_render *render, lr_value value, const lr_text *name, lr_value *out);
lora_status lr_get_item(lr_render *render, lr_value value, lr_value key, lr_value *out);
// value[start:stop:step]; an undefined part is None.
lora_status lr_get_slice(lr_render *render, lr_value value, lr_value start, lr_value stop, lr_value step,
                         lr_value *out);
const lr_value *lr_scope_find(const lr_scope *scope, const lr_text *name); // in this scope alone; NULL: not there
lora_status lr_scope_put(lr_render *render, lr_scope *scope, const lr_text *name, lr_value value);

// ---- text forms (serialise.c) -------------------------------------------------------------------------------------

lora_status lr_write(lr_render *render, lr_value value, lr_bytes *out);      // str()
lora_status lr_write_repr(lr_render *render, lr_value value, lr_bytes *out); // repr()
lora_status lr_to_text(lr_render *render, lr_value value, const lr_text **out);
typedef struct lr_json_style {
    bool ensure_ascii, sort_keys;
    const lr_text *indent; // NULL: one line
    const lr_text *item_separator, *key_separator;
} lr_json_style;
lora_status lr_write_json(lr_render *render, lr_value value, const lr_json_style *style, lr_bytes *out);

// ---- calls --------------------------------------------------------------------------------------------------------

// Argument `index` or `name`; `fallback` when it was not given. (values.c)
lr_value lr_argument(const lr_arguments *arguments, size_t index, const char *name, lr_value fallback);
bool lr_has_argument(const lr_arguments *arguments, size_t index, const char *name);
lora_status lr_argument_whole(lr_render *render, const lr_arguments *arguments, size_t index, const char *name,
                              int64_t fallback, int64_t *out);
lora_status lr_argument_text(lr_render *render, const lr_arguments *arguments, size_t index, const char *name,
                             const lr_text *fallback, const lr_text **out);
lora_status lr_call(lr_render *render, lr_value callable, const lr_arguments *arguments, lr_value *out); // execute.c

// Numbers of filters, tests and methods: -1 when there is none of that name.
int32_t lr_filter_find(const char *name, size_t length);
int32_t lr_test_find(const char *name, size_t length);
lora_status lr_filter_apply(lr_render *render, int32_t filter, lr_value value, const lr_arguments *arguments,
                            lr_value *out);
lora_status lr_test_apply(lr_render *render, int32_t test, lr_value value, const lr_arguments *arguments, bool *out);
// A method bound to `self`, or *out undefined with kind LR_UNDEFINED and text NULL when it has none. (methods.c)
lora_status lr_method_find(lr_render *render, lr_value self, const lr_text *name, lr_value *out);
lora_status lr_dict_items(lr_render *render, const lr_dict *dict, lr_value *out); // as dict.items()
lora_status lr_method_call(lr_render *render, const lr_callable *method, const lr_arguments *arguments, lr_value *out);

#endif
