// The functions that every template has: range, dict, namespace, raise_exception, strftime_now.
#include "lib/jinja/template.h"

#include <string.h>
#include <time.h>

#define MAX_RANGE 100000 // the sandbox's

static lora_status call_range(lr_render *render, const lr_arguments *arguments, lr_value *out)
{
    int64_t start = 0, stop, step = 1;
    if (arguments->count == 0 || arguments->count > 3)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "range takes one to three arguments");
    LR_TRY(lr_argument_whole(render, arguments, 0, "stop", 0, &stop));
    if (arguments->count > 1) {
        start = stop;
        LR_TRY(lr_argument_whole(render, arguments, 1, "stop", 0, &stop));
        LR_TRY(lr_argument_whole(render, arguments, 2, "step", 1, &step));
    }
    if (step == 0) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "the step of a range must not be zero");
    // Distances of 64-bit numbers fit into 64 bits without a sign.
    uint64_t distance = 0, by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if (step > 0 ? stop > start : stop < start)
        distance = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t count = distance ? (distance - 1) / by + 1 : 0;
    if (count > MAX_RANGE)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a range of more than %d numbers", MAX_RANGE);
    lr_sequence *range;
    LR_TRY(lr_sequence_new(render, LR_RANGE, (size_t)count, &range));
    range->start = start;
    range->stop = stop;
    range->step = step;
    for (size_t i = 0; i < range->count; i++) range->items[i] = lr_integer(start + (int64_t)i * step);
    *out = lr_of_sequence(range);
    return LORA_OK;
}

// dict(...) and namespace(...): a dict or pairs, then names.
static lora_status call_dict(lr_render *render, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *items = NULL;
    size_t count = 0;
    lr_dict *dict;
    bool from_dict = arguments->count > 0 && arguments->values[0].kind == LR_DICT;
    if (arguments->count > 1)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "dict takes at most one positional argument");
    if (arguments->count > 0) LR_TRY(lr_items_of(render, arguments->values[0], &items, &count));
    LR_TRY(lr_dict_new(render, count + arguments->keyword_count, &dict));
    for (size_t i = 0; i < count; i++) {
        const lr_value *pair;
        size_t two;
        if (from_dict) {
            dict->pairs[dict->count++] = arguments->values[0].dict->pairs[i];
            continue;
        }
        LR_TRY(lr_items_of(render, items[i], &pair, &two));
        if (two != 2) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "dict: item %zu is no pair", i);
        LR_TRY(lr_dict_put(render, dict, pair[0], pair[1]));
    }
    for (size_t i = 0; i < arguments->keyword_count; i++)
        LR_TRY(lr_dict_put(render, dict, lr_of_text(arguments->keywords[i].name), arguments->keywords[i].value));
    *out = lr_of_dict(dict);
    return LORA_OK;
}

static lora_status call_namespace(lr_render *render, const lr_arguments *arguments, lr_value *out)
{
    lr_value dict;
    lr_scope *names;
    LR_TRY(call_dict(render, arguments, &dict));
    LR_TRY(lr_scope_new(render, NULL, &names));
    for (size_t i = 0; i < dict.dict->count; i++) {
        lr_value key = dict.dict->pairs[i].key;
        if (key.kind != LR_STRING || key.text->bytes[0] == '_')
            return lr_jinja_fail(render, LORA_ERROR_FORMAT,
                                 "an attribute of a namespace can't begin with an underscore");
        LR_TRY(lr_scope_put(render, names, key.text, dict.dict->pairs[i].value));
    }
    *out = (lr_value){.kind = LR_NAMESPACE, .names = names};
    return LORA_OK;
}

static lora_status call_raise_exception(lr_render *render, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *text;
    *out = lr_none();
    LR_TRY(lr_to_text(render, lr_argument(arguments, 0, "message", lr_none()), &text));
    return lr_jinja_fail(render, LORA_ERROR_DATA, "the template refuses this conversation: %.*s", (int)text->size,
                         text->bytes);
}

static lora_status call_strftime_now(lr_render *render, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *format;
    char text[256];
    time_t now = time(NULL);
    struct tm local;
    LR_TRY(lr_argument_text(render, arguments, 0, "format", &lr_empty_text, &format));
    if (format->size > 64 || memchr(format->bytes, '\0', format->size))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "strftime_now: a format of over 64 bytes");
    char zero_terminated[65] = {0};
    if (format->size) memcpy(zero_terminated, format->bytes, format->size);
    if (!localtime_r(&now, &local)) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "strftime_now: no local time");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // the template's own format; the buffer's size bounds it
    size_t size = strftime(text, sizeof text, zero_terminated, &local);
#pragma GCC diagnostic pop
    return lr_string_new(render, text, size, out);
}

typedef struct function {
    const char *name;
    lora_status (*call)(lr_render *render, const lr_arguments *arguments, lr_value *out);
} function;

static const function functions[] = {{"range", call_range},
                                     {"dict", call_dict},
                                     {"namespace", call_namespace},
                                     {"raise_exception", call_raise_exception},
                                     {"strftime_now", call_strftime_now}};

lora_status lr_find_function(lr_render *render, const lr_text *name, bool *found, lr_value *out)
{
    *found = false;
    for (size_t i = 0; i < sizeof functions / sizeof *functions && !*found; i++) {
        if (!lr_text_is(name, functions[i].name)) continue;
        *found = true;
        LR_TRY(lr_callable_new(render, (lr_callable){.kind = LR_CALL_FUNCTION, .number = (int32_t)i}, out));
    }
    return LORA_OK;
}

lora_status lr_function_call(lr_render *render, int32_t number, const lr_arguments *arguments, lr_value *out)
{
    return functions[number].call(render, arguments, out);
}
