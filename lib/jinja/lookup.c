// Taking values apart: attributes, items, slices, scopes, arguments.
#include "lib/jinja/text.h"
#include "lib/jinja/value.h"

#include <string.h>

// ---- looking up ---------------------------------------------------------------------------------------------------

static lora_status loop_attribute(lr_render *render, lr_loop *loop, const lr_text *name, lr_value *out)
{
    size_t count = loop->items->count, index = loop->index;
    if (lr_text_is(name, "index"))
        *out = lr_integer((int64_t)index + 1);
    else if (lr_text_is(name, "index0"))
        *out = lr_integer((int64_t)index);
    else if (lr_text_is(name, "revindex"))
        *out = lr_integer((int64_t)(count - index));
    else if (lr_text_is(name, "revindex0"))
        *out = lr_integer((int64_t)(count - index) - 1);
    else if (lr_text_is(name, "first"))
        *out = lr_boolean(index == 0);
    else if (lr_text_is(name, "last"))
        *out = lr_boolean(index + 1 == count);
    else if (lr_text_is(name, "length"))
        *out = lr_integer((int64_t)count);
    else if (lr_text_is(name, "depth"))
        *out = lr_integer(1);
    else if (lr_text_is(name, "depth0"))
        *out = lr_integer(0);
    else if (lr_text_is(name, "previtem") && index > 0)
        *out = loop->items->items[index - 1];
    else if (lr_text_is(name, "nextitem") && index + 1 < count)
        *out = loop->items->items[index + 1];
    else if (lr_text_is(name, "previtem"))
        return lr_undefined(render, out, "there is no previous item");
    else if (lr_text_is(name, "nextitem"))
        return lr_undefined(render, out, "there is no next item");
    return LORA_OK;
}

// Leaves *out alone when there is nothing of that name.
static lora_status own_attribute(lr_render *render, lr_value value, const lr_text *name, lr_value *out)
{
    if (value.kind == LR_LOOP) LR_TRY(loop_attribute(render, value.loop, name, out));
    if (value.kind == LR_NAMESPACE) {
        const lr_value *found = lr_scope_find(value.names, name);
        if (found) *out = *found;
    }
    if (out->kind == LR_UNDEFINED && !out->text) return lr_method_find(render, value, name, out);
    return LORA_OK;
}

static lora_status missing(lr_render *render, lr_value value, lr_value key, lr_value *out)
{
    if (key.kind == LR_STRING)
        return lr_undefined(render, out, "'%s object' has no attribute '%.*s'", lr_type_name(value),
                            (int)key.text->size, key.text->bytes);
    const lr_text *text;
    LR_TRY(lr_to_text(render, key, &text));
    return lr_undefined(render, out, "%s object has no element %.*s", lr_type_name(value), (int)text->size,
                        text->bytes);
}

// value[key] as Python alone would do it; leaves *out alone for a lookup or type error.
static lora_status own_item(lr_render *render, lr_value value, lr_value key, lr_value *out)
{
    if (value.kind == LR_DICT) {
        const lr_value *found = NULL;
        bool hashable = key.kind != LR_DICT && !(key.kind == LR_SEQUENCE && key.sequence->flavor == LR_LIST);
        if (hashable) LR_TRY(lr_dict_find(render, value.dict, key, &found));
        if (found) *out = *found;
        return LORA_OK;
    }
    if (!lr_is_whole(key)) return LORA_OK;
    int64_t index = lr_whole(key);
    if (value.kind == LR_STRING) {
        int64_t count = (int64_t)value.text->points;
        if (index < 0) index += count;
        if (index < 0 || index >= count) return LORA_OK;
        const char *at = lr_point_at(value.text, (size_t)index);
        return lr_string_part(render, at, lr_point_size(at), value.text->markup, out);
    }
    bool indexed =
        value.kind == LR_SEQUENCE && (value.sequence->flavor <= LR_TUPLE || value.sequence->flavor == LR_RANGE);
    if (!indexed) return LORA_OK;
    int64_t count = (int64_t)value.sequence->count;
    if (index < 0) index += count;
    if (index >= 0 && index < count) *out = value.sequence->items[index];
    return LORA_OK;
}

lora_status lr_get_attribute(lr_render *render, lr_value value, const lr_text *name, lr_value *out)
{
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    lr_value found = {.kind = LR_UNDEFINED};
    LR_TRY(own_attribute(render, value, name, &found));
    if (found.kind == LR_UNDEFINED && !found.text) LR_TRY(own_item(render, value, lr_of_text(name), &found));
    if (found.kind == LR_UNDEFINED && !found.text) return missing(render, value, lr_of_text(name), out);
    *out = found;
    return LORA_OK;
}

lora_status lr_get_item(lr_render *render, lr_value value, lr_value key, lr_value *out)
{
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    lr_value found = {.kind = LR_UNDEFINED};
    LR_TRY(own_item(render, value, key, &found));
    if (found.kind == LR_UNDEFINED && !found.text && key.kind == LR_STRING)
        LR_TRY(own_attribute(render, value, key.text, &found));
    if (found.kind == LR_UNDEFINED && !found.text) return missing(render, value, key, out);
    *out = found;
    return LORA_OK;
}

static lora_status slice_bound(lr_render *render, lr_value part, int64_t fallback, int64_t *out)
{
    *out = fallback;
    if (part.kind == LR_NONE) return LORA_OK;
    if (part.kind == LR_UNDEFINED)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a slice index is undefined: %.*s", (int)part.text->size,
                             part.text->bytes);
    if (!lr_is_whole(part))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a slice index must be an integer, not %s", lr_type_name(part));
    *out = lr_whole(part);
    return LORA_OK;
}

static int64_t clamp(int64_t index, int64_t low, int64_t high)
{
    return index < low ? low : index > high ? high : index;
}

lora_status lr_get_slice(lr_render *render, lr_value value, lr_value start, lr_value stop, lr_value step, lr_value *out)
{
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    bool sliced =
        value.kind == LR_SEQUENCE && (value.sequence->flavor <= LR_TUPLE || value.sequence->flavor == LR_RANGE);
    if (!sliced && value.kind != LR_STRING)
        return lr_undefined(render, out, "%s object has no element slice", lr_type_name(value));
    const lr_value *items;
    size_t count;
    int64_t by, from, to, n;
    LR_TRY(slice_bound(render, step, 1, &by));
    if (by == 0) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a slice step must not be zero");
    LR_TRY(lr_length(render, value, &n));
    LR_TRY(slice_bound(render, start, by > 0 ? 0 : INT64_MAX, &from));
    LR_TRY(slice_bound(render, stop, by > 0 ? INT64_MAX : INT64_MIN, &to));
    if (from < 0) from = from < -n ? -1 : from + n;
    if (to < 0) to = stop.kind == LR_NONE || to < -n ? -1 : to + n;
    from = clamp(from, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
    to = clamp(to, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
    if (value.kind == LR_STRING && by == 1) {
        const char *begin = lr_point_at(value.text, (size_t)from), *end = begin;
        if (to > from) end = lr_point_at(value.text, (size_t)to);
        return lr_string_part(render, begin, (size_t)(end - begin), value.text->markup, out);
    }
    LR_TRY(lr_items_of(render, value, &items, &count));
    // Every bound is within [-1, n], so one step can't overflow once it is cut to n + 1.
    by = clamp(by, -n - 1, n + 1);
    size_t taken = 0;
    for (int64_t i = from; by > 0 ? i < to : i > to; i += by) taken++;
    lr_sequence *part;
    LR_TRY(lr_sequence_new(render, value.kind == LR_STRING ? LR_LIST : value.sequence->flavor, taken, &part));
    for (size_t i = 0; i < taken; i++) part->items[i] = items[from + (int64_t)i * by];
    if (value.kind == LR_SEQUENCE) {
        part->start = value.sequence->start + from * value.sequence->step;
        part->step = value.sequence->step * by;
        part->stop = part->start + (int64_t)taken * part->step;
        *out = lr_of_sequence(part);
        return LORA_OK;
    }
    void *texts;
    LR_TRY(lr_arena_take(&render->arena, taken + 1, sizeof(lr_text *), &texts));
    for (size_t i = 0; i < taken; i++) ((const lr_text **)texts)[i] = part->items[i].text;
    return lr_string_join(render, texts, taken, out);
}

const lr_value *lr_scope_find(const lr_scope *scope, const lr_text *name)
{
    for (size_t i = 0; i < scope->count; i++)
        if (lr_text_equals(scope->bindings[i].name, name)) return &scope->bindings[i].value;
    return NULL;
}

lora_status lr_scope_put(lr_render *render, lr_scope *scope, const lr_text *name, lr_value value)
{
    lr_value *there = (lr_value *)lr_scope_find(scope, name);
    LR_TRY(lr_jinja_charge(render, scope->count / 8));
    if (there) {
        *there = value;
        return LORA_OK;
    }
    if (scope->count == scope->capacity) {
        size_t capacity = scope->capacity ? scope->capacity * 2 : 4;
        void *larger;
        LR_TRY(lr_arena_take(&render->arena, capacity, sizeof(lr_binding_value), &larger));
        if (scope->count) memcpy(larger, scope->bindings, scope->count * sizeof(lr_binding_value));
        scope->bindings = larger;
        scope->capacity = capacity;
    }
    scope->bindings[scope->count++] = (lr_binding_value){name, value};
    return LORA_OK;
}

// ---- arguments ----------------------------------------------------------------------------------------------------

static const lr_value *find_argument(const lr_arguments *arguments, size_t index, const char *name)
{
    if (index < arguments->count) return &arguments->values[index];
    for (size_t i = 0; i < arguments->keyword_count; i++)
        if (lr_text_is(arguments->keywords[i].name, name)) return &arguments->keywords[i].value;
    return NULL;
}

lr_value lr_argument(const lr_arguments *arguments, size_t index, const char *name, lr_value fallback)
{
    const lr_value *found = find_argument(arguments, index, name);
    return found ? *found : fallback;
}

bool lr_has_argument(const lr_arguments *arguments, size_t index, const char *name)
{
    return find_argument(arguments, index, name) != NULL;
}

lora_status lr_argument_whole(lr_render *render, const lr_arguments *arguments, size_t index, const char *name,
                              int64_t fallback, int64_t *out)
{
    lr_value value = lr_argument(arguments, index, name, lr_integer(fallback));
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (!lr_is_whole(value))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "argument '%s' must be an integer, not %s", name,
                             lr_type_name(value));
    *out = lr_whole(value);
    return LORA_OK;
}

lora_status lr_argument_text(lr_render *render, const lr_arguments *arguments, size_t index, const char *name,
                             const lr_text *fallback, const lr_text **out)
{
    const lr_value *value = find_argument(arguments, index, name);
    if (!value || value->kind == LR_NONE) {
        *out = fallback;
        return LORA_OK;
    }
    if (value->kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, *value);
    if (value->kind != LR_STRING)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "argument '%s' must be a string, not %s", name,
                             lr_type_name(*value));
    *out = value->text;
    return LORA_OK;
}
