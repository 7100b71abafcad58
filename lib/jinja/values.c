// Making and comparing values.
#include "lib/jinja/text.h"
#include "lib/jinja/value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_STEPS 20000000

const lr_text lr_empty_text = {.bytes = ""};

// ---- errors and limits --------------------------------------------------------------------------------------------

lora_status lr_jinja_fail(const lr_render *render, lora_status status, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return lr_fail(status, "%s:%d: %s", render->name, render->line, text);
}

lora_status lr_jinja_charge(lr_render *render, uint64_t steps)
{
    render->steps += steps;
    if (render->steps <= MAX_STEPS) return LORA_OK;
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "stopped after %d steps: does the template loop?", MAX_STEPS);
}

lora_status lr_jinja_enter(lr_render *render)
{
    if (++render->depth <= LR_JINJA_MAX_DEPTH) return LORA_OK;
    render->depth--;
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "nested too deeply (%d levels)", LR_JINJA_MAX_DEPTH);
}

lora_status lr_jinja_fail_undefined(const lr_render *render, lr_value value)
{
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "%.*s", (int)value.text->size, value.text->bytes);
}

// ---- making -------------------------------------------------------------------------------------------------------

lora_status lr_text_new(lr_arena *arena, const char *bytes, size_t size, const lr_text **out)
{
    void *block;
    LR_TRY(lr_arena_take(arena, 1, sizeof(lr_text) + size + 1, &block));
    lr_text *text = block;
    char *copy = (char *)(text + 1);
    if (size) memcpy(copy, bytes, size);
    *text = (lr_text){.bytes = copy, .size = size, .points = lr_count_points(bytes, size)};
    *out = text;
    return LORA_OK;
}

lora_status lr_string_new(lr_render *render, const char *bytes, size_t size, lr_value *out)
{
    const lr_text *text;
    LR_TRY(lr_jinja_charge(render, size / 64));
    LR_TRY(lr_text_new(&render->arena, bytes, size, &text));
    *out = lr_of_text(text);
    return LORA_OK;
}

lora_status lr_string_part(lr_render *render, const char *bytes, size_t size, bool markup, lr_value *out)
{
    void *block;
    LR_TRY(lr_jinja_charge(render, size / 64));
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_text), &block));
    lr_text *text = block;
    *text = (lr_text){.bytes = bytes, .size = size, .points = lr_count_points(bytes, size), .markup = markup};
    *out = lr_of_text(text);
    return LORA_OK;
}

lora_status lr_string_join(lr_render *render, const lr_text *const *parts, size_t count, lr_value *out)
{
    uint64_t size = 0;
    size_t points = 0;
    for (size_t i = 0; i < count; i++) {
        if (!lr_add(size, parts[i]->size, &size)) return lr_fail_memory(SIZE_MAX);
        points += parts[i]->points;
    }
    void *block;
    LR_TRY(lr_jinja_charge(render, size / 64 + count));
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_text) + (size_t)size + 1, &block));
    lr_text *text = block;
    char *at = (char *)(text + 1);
    *text = (lr_text){.bytes = at, .size = (size_t)size, .points = points};
    for (size_t i = 0; i < count; i++) {
        memcpy(at, parts[i]->bytes, parts[i]->size);
        at += parts[i]->size;
    }
    *out = lr_of_text(text);
    return LORA_OK;
}

lora_status lr_string_take(lr_render *render, lr_bytes *bytes, lora_status status, lr_value *out)
{
    if (status == LORA_OK) status = lr_string_new(render, bytes->data ? bytes->data : "", bytes->size, out);
    lr_bytes_free(bytes);
    return status;
}

lora_status lr_undefined(lr_render *render, lr_value *out, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const lr_text *text;
    LR_TRY(lr_text_new(&render->arena, reason, strlen(reason), &text));
    *out = (lr_value){.kind = LR_UNDEFINED, .text = text};
    return LORA_OK;
}

lora_status lr_sequence_new(lr_render *render, lr_flavor flavor, size_t count, lr_sequence **out)
{
    void *sequence, *items = NULL;
    LR_TRY(lr_jinja_charge(render, count));
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_sequence), &sequence));
    if (count) LR_TRY(lr_arena_take(&render->arena, count, sizeof(lr_value), &items));
    *out = sequence;
    **out = (lr_sequence){.flavor = flavor, .count = count, .items = items};
    return LORA_OK;
}

lora_status lr_dict_new(lr_render *render, size_t capacity, lr_dict **out)
{
    void *dict, *pairs = NULL;
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_dict), &dict));
    if (capacity) LR_TRY(lr_arena_take(&render->arena, capacity, sizeof(lr_pair_value), &pairs));
    *out = dict;
    **out = (lr_dict){.pairs = pairs};
    return LORA_OK;
}

lora_status lr_dict_put(lr_render *render, lr_dict *dict, lr_value key, lr_value value)
{
    const lr_value *there;
    LR_TRY(lr_dict_find(render, dict, key, &there));
    if (there)
        *(lr_value *)there = value;
    else
        dict->pairs[dict->count++] = (lr_pair_value){key, value};
    return LORA_OK;
}

static lora_status from_json_array(lr_render *render, const json_t *json, lr_value *out)
{
    lr_sequence *list;
    LR_TRY(lr_sequence_new(render, LR_LIST, json_array_size(json), &list));
    for (size_t i = 0; i < list->count; i++) LR_TRY(lr_from_json(render, json_array_get(json, i), &list->items[i]));
    *out = lr_of_sequence(list);
    return LORA_OK;
}

static lora_status from_json_object(lr_render *render, const json_t *json, lr_value *out)
{
    lr_dict *dict;
    const char *key;
    json_t *value;
    LR_TRY(lr_jinja_charge(render, json_object_size(json)));
    LR_TRY(lr_dict_new(render, json_object_size(json), &dict));
    json_object_foreach((json_t *)json, key, value)
    {
        lr_pair_value *pair = &dict->pairs[dict->count++];
        LR_TRY(lr_string_new(render, key, strlen(key), &pair->key));
        LR_TRY(lr_from_json(render, value, &pair->value));
    }
    *out = lr_of_dict(dict);
    return LORA_OK;
}

lora_status lr_from_json(lr_render *render, const json_t *json, lr_value *out)
{
    LR_TRY(lr_jinja_enter(render));
    lora_status status = LORA_OK;
    switch (json_typeof(json)) {
    case JSON_OBJECT: status = from_json_object(render, json, out); break;
    case JSON_ARRAY: status = from_json_array(render, json, out); break;
    case JSON_STRING: status = lr_string_new(render, json_string_value(json), json_string_length(json), out); break;
    case JSON_INTEGER: *out = lr_integer(json_integer_value(json)); break;
    case JSON_REAL: *out = lr_real(json_real_value(json)); break;
    case JSON_TRUE: *out = lr_boolean(true); break;
    case JSON_FALSE: *out = lr_boolean(false); break;
    case JSON_NULL: *out = lr_none(); break;
    }
    render->depth--;
    return status;
}

// ---- asking -------------------------------------------------------------------------------------------------------

const char *lr_type_name(lr_value value)
{
    static const char *const flavors[] = {"list",       "tuple", "dict_keys", "dict_values",
                                          "dict_items", "range", "generator"};
    switch (value.kind) {
    case LR_UNDEFINED: return "Undefined";
    case LR_NONE: return "NoneType";
    case LR_BOOLEAN: return "bool";
    case LR_INTEGER: return "int";
    case LR_REAL: return "float";
    case LR_STRING: return value.text->markup ? "Markup" : "str";
    case LR_SEQUENCE: return flavors[value.sequence->flavor];
    case LR_DICT: return "dict";
    case LR_NAMESPACE: return "Namespace";
    case LR_LOOP: return "LoopContext";
    case LR_CALLABLE: return value.callable->kind == LR_CALL_MACRO ? "Macro" : "function";
    }
    return "object";
}

bool lr_truth(lr_value value)
{
    switch (value.kind) {
    case LR_UNDEFINED:
    case LR_NONE: return false;
    case LR_BOOLEAN: return value.boolean;
    case LR_INTEGER: return value.integer != 0;
    case LR_REAL: return value.real != 0;
    case LR_STRING: return value.text->size != 0;
    case LR_SEQUENCE: return value.sequence->count != 0 || value.sequence->flavor == LR_GENERATOR;
    case LR_DICT: return value.dict->count != 0;
    case LR_NAMESPACE:
    case LR_LOOP:
    case LR_CALLABLE: return true;
    }
    return true;
}

double lr_number(lr_value value) { return value.kind == LR_REAL ? value.real : (double)lr_whole(value); }

bool lr_text_is(const lr_text *text, const char *bytes)
{
    return text->size == strlen(bytes) && memcmp(text->bytes, bytes, text->size) == 0;
}

bool lr_text_equals(const lr_text *a, const lr_text *b)
{
    return a == b || (a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0);
}

static bool same_numbers(lr_value a, lr_value b)
{
    if (lr_is_whole(a) && lr_is_whole(b)) return lr_whole(a) == lr_whole(b);
    return lr_number(a) == lr_number(b);
}

static lora_status same_sequences(lr_render *render, const lr_sequence *a, const lr_sequence *b, bool *out)
{
    *out = a == b;
    if (a == b || a->flavor != b->flavor || a->flavor == LR_GENERATOR || a->count != b->count) return LORA_OK;
    *out = true;
    for (size_t i = 0; i < a->count && *out; i++) LR_TRY(lr_equals(render, a->items[i], b->items[i], out));
    return LORA_OK;
}

static lora_status same_dicts(lr_render *render, const lr_dict *a, const lr_dict *b, bool *out)
{
    *out = a == b;
    if (a == b || a->count != b->count) return LORA_OK;
    *out = true;
    for (size_t i = 0; i < a->count && *out; i++) {
        const lr_value *other;
        LR_TRY(lr_dict_find(render, b, a->pairs[i].key, &other));
        if (other)
            LR_TRY(lr_equals(render, a->pairs[i].value, *other, out));
        else
            *out = false;
    }
    return LORA_OK;
}

lora_status lr_equals(lr_render *render, lr_value a, lr_value b, bool *out)
{
    *out = false;
    LR_TRY(lr_jinja_charge(render, 1));
    if (lr_is_number(a) && lr_is_number(b)) {
        *out = same_numbers(a, b);
        return LORA_OK;
    }
    if (a.kind != b.kind) return LORA_OK;
    LR_TRY(lr_jinja_enter(render));
    lora_status status = LORA_OK;
    switch (a.kind) {
    case LR_UNDEFINED:
    case LR_NONE: *out = true; break;
    case LR_STRING: *out = lr_text_equals(a.text, b.text); break;
    case LR_SEQUENCE: status = same_sequences(render, a.sequence, b.sequence, out); break;
    case LR_DICT: status = same_dicts(render, a.dict, b.dict, out); break;
    case LR_NAMESPACE: *out = a.names == b.names; break;
    case LR_LOOP: *out = a.loop == b.loop; break;
    case LR_CALLABLE: *out = a.callable == b.callable; break;
    case LR_BOOLEAN:
    case LR_INTEGER:
    case LR_REAL: break;
    }
    render->depth--;
    return status;
}

static int compare_numbers(lr_value a, lr_value b)
{
    if (lr_is_whole(a) && lr_is_whole(b)) return lr_whole(a) < lr_whole(b) ? -1 : lr_whole(a) > lr_whole(b);
    double x = lr_number(a), y = lr_number(b);
    if (isnan(x) || isnan(y)) return 2;
    return x < y ? -1 : x > y;
}

// Bytes of UTF-8 are in the order of their code points.
static int compare_texts(const lr_text *a, const lr_text *b)
{
    size_t common = a->size < b->size ? a->size : b->size;
    int order = common ? memcmp(a->bytes, b->bytes, common) : 0;
    if (order) return order < 0 ? -1 : 1;
    return a->size < b->size ? -1 : a->size > b->size;
}

static lora_status compare_sequences(lr_render *render, const lr_sequence *a, const lr_sequence *b,
                                     const char *operation, int *out)
{
    size_t common = a->count < b->count ? a->count : b->count;
    for (size_t i = 0; i < common; i++) {
        bool same;
        LR_TRY(lr_equals(render, a->items[i], b->items[i], &same));
        if (!same) return lr_compare(render, a->items[i], b->items[i], operation, out);
    }
    *out = a->count < b->count ? -1 : a->count > b->count;
    return LORA_OK;
}

static bool is_ordered_sequence(lr_value value)
{
    return value.kind == LR_SEQUENCE && (value.sequence->flavor == LR_LIST || value.sequence->flavor == LR_TUPLE);
}

lora_status lr_compare(lr_render *render, lr_value a, lr_value b, const char *operation, int *out)
{
    LR_TRY(lr_jinja_charge(render, 1));
    if (a.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, a);
    if (b.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, b);
    if (lr_is_number(a) && lr_is_number(b)) {
        *out = compare_numbers(a, b);
        return LORA_OK;
    }
    if (a.kind == LR_STRING && b.kind == LR_STRING) {
        *out = compare_texts(a.text, b.text);
        return LORA_OK;
    }
    if (is_ordered_sequence(a) && is_ordered_sequence(b) && a.sequence->flavor == b.sequence->flavor) {
        LR_TRY(lr_jinja_enter(render));
        lora_status status = compare_sequences(render, a.sequence, b.sequence, operation, out);
        render->depth--;
        return status;
    }
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "'%s' is not supported between '%s' and '%s'", operation,
                         lr_type_name(a), lr_type_name(b));
}

lora_status lr_contains(lr_render *render, lr_value container, lr_value item, bool *out)
{
    *out = false;
    if (container.kind == LR_STRING) {
        if (item.kind != LR_STRING)
            return lr_jinja_fail(render, LORA_ERROR_FORMAT, "'in <string>' requires a string on its left, not %s",
                                 lr_type_name(item));
        LR_TRY(lr_jinja_charge(render, container.text->size / 64));
        *out = lr_find_bytes(container.text->bytes, container.text->size, item.text->bytes, item.text->size) != NULL;
        return LORA_OK;
    }
    if (container.kind == LR_DICT) {
        const lr_value *found;
        LR_TRY(lr_dict_find(render, container.dict, item, &found));
        *out = found != NULL;
        return LORA_OK;
    }
    const lr_value *items;
    size_t count;
    LR_TRY(lr_items_of(render, container, &items, &count));
    for (size_t i = 0; i < count && !*out; i++) LR_TRY(lr_equals(render, items[i], item, out));
    return LORA_OK;
}

lora_status lr_length(lr_render *render, lr_value value, int64_t *out)
{
    switch (value.kind) {
    case LR_UNDEFINED: *out = 0; return LORA_OK;
    case LR_STRING: *out = (int64_t)value.text->points; return LORA_OK;
    case LR_DICT: *out = (int64_t)value.dict->count; return LORA_OK;
    case LR_LOOP: *out = (int64_t)value.loop->items->count; return LORA_OK;
    case LR_SEQUENCE:
        if (value.sequence->flavor == LR_GENERATOR) break;
        *out = (int64_t)value.sequence->count;
        return LORA_OK;
    default: break;
    }
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "object of type '%s' has no len()", lr_type_name(value));
}

static lora_status characters(lr_render *render, const lr_text *text, const lr_value **items, size_t *count)
{
    lr_sequence *list;
    size_t at = 0;
    LR_TRY(lr_sequence_new(render, LR_LIST, text->points, &list));
    for (size_t i = 0; i < text->points; i++) {
        size_t size = lr_point_size(text->bytes + at);
        LR_TRY(lr_string_part(render, text->bytes + at, size, text->markup, &list->items[i]));
        at += size;
    }
    *items = list->items;
    *count = list->count;
    return LORA_OK;
}

lora_status lr_items_of(lr_render *render, lr_value value, const lr_value **items, size_t *count)
{
    *items = NULL;
    *count = 0;
    if (value.kind == LR_UNDEFINED) return LORA_OK;
    if (value.kind == LR_STRING) return characters(render, value.text, items, count);
    if (value.kind == LR_SEQUENCE) {
        *items = value.sequence->items;
        *count = value.sequence->count;
        return LORA_OK;
    }
    if (value.kind == LR_DICT) {
        lr_sequence *keys;
        LR_TRY(lr_sequence_new(render, LR_LIST, value.dict->count, &keys));
        for (size_t i = 0; i < keys->count; i++) keys->items[i] = value.dict->pairs[i].key;
        *items = keys->items;
        *count = keys->count;
        return LORA_OK;
    }
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "'%s' object is not iterable", lr_type_name(value));
}

lora_status lr_dict_find(lr_render *render, const lr_dict *dict, lr_value key, const lr_value **out)
{
    *out = NULL;
    if (key.kind == LR_DICT || (key.kind == LR_SEQUENCE && key.sequence->flavor == LR_LIST))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "unhashable type: '%s'", lr_type_name(key));
    LR_TRY(lr_jinja_charge(render, dict->count / 8 + 1));
    for (size_t i = 0; i < dict->count; i++) {
        bool same;
        const lr_value *there = &dict->pairs[i].key;
        if (there->kind == LR_STRING && key.kind == LR_STRING)
            same = lr_text_equals(there->text, key.text);
        else
            LR_TRY(lr_equals(render, *there, key, &same));
        if (same) {
            *out = &dict->pairs[i].value;
            return LORA_OK;
        }
    }
    return LORA_OK;
}
