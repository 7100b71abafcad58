// Options as JSON: their table for a form, and values from one.
#include "options.h"

#include <stdlib.h>
#include <string.h>

// ---- the table -----------------------------------------------------------------------------------------------------

// What stands for a value tells: "linear|cosine|constant" is a choice, "DIR" or "alpaca|chat|FILE" is none.
static bool is_choice(const option *o)
{
    return o->kind == OPTION_TEXT && o->value && strchr(o->value, '|') &&
           !strpbrk(o->value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

static bool names_files(const option *o)
{
    return o->value && (strstr(o->value, "FILE") || strstr(o->value, "DIR"));
}

// "none|int8..." says that there are more.
static json_t *choices_of(const option *o)
{
    json_t *list = json_array();
    for (const char *at = o->value; *at;) {
        json_array_append_new(list, json_stringn(at, strcspn(at, "|.")));
        at += strcspn(at, "|");
        at += *at == '|';
    }
    return list;
}

static json_t *joined(const text_list *list)
{
    size_t length = 0;
    for (size_t i = 0; i < list->count; i++) length += strlen(list->items[i]) + 1;
    char *text = malloc(length + 1), *end = text;
    if (!text) return NULL;
    for (size_t i = 0; i < list->count; i++) end += sprintf(end, "%s%s", i ? "," : "", list->items[i]);
    *end = '\0';
    json_t *result = length ? json_string(text) : NULL;
    free(text);
    return result;
}

static const char *kind_and_value(const option *o, const void *place, json_t **value)
{
    *value = NULL;
    switch (o->kind) {
    case OPTION_FLAG:
    case OPTION_SWITCH: return *value = json_boolean(*(const bool *)place), "flag";
    case OPTION_INTEGER: return *value = json_integer(*(const int64_t *)place), "integer";
    case OPTION_REAL: return *value = json_real(*(const double *)place), "real";
    case OPTION_NAMES: return *value = joined(place), "text";
    case OPTION_SIZE: return "text";
    case OPTION_TEXT:
        if (*(const char *const *)place) *value = json_string(*(const char *const *)place);
        return is_choice(o) ? "choice" : "text";
    default: return NULL;
    }
}

static bool is_among(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0) return true;
    return false;
}

json_t *options_json(const option *options, const void *settings, const char *const *basic)
{
    json_t *list = json_array();
    for (const option *o = options; o->name; o++) {
        json_t *value;
        const char *kind = names_files(o) || o->kind == OPTION_REFUSED
                               ? NULL
                               : kind_and_value(o, (const char *)settings + o->offset, &value);
        if (!kind) continue;
        json_array_append_new(list, json_pack("{ss ss so? so? sn sn ss ss sb}", "name", o->name, "kind", kind, "value",
                                              value, "choices", is_choice(o) ? choices_of(o) : NULL, "min", "max", "en",
                                              o->english, "zh", o->chinese, "basic", is_among(o->name, basic)));
    }
    return list;
}

// ---- values --------------------------------------------------------------------------------------------------------

static const char *keep_text(json_t *keep, json_t *text)
{
    return text && json_array_append_new(keep, text) == 0 ? json_string_value(text) : NULL;
}

static bool add_text(text_list *list, const char *text)
{
    if (!text || list->count == sizeof list->items / sizeof *list->items) return false;
    list->items[list->count++] = text;
    return true;
}

// A text, or a number as text.
static const char *keep_value(json_t *keep, const json_t *value)
{
    char number[32];
    if (json_is_string(value)) return keep_text(keep, json_string(json_string_value(value)));
    if (!json_is_number(value)) return NULL;
    snprintf(number, sizeof number, "%.12g", json_number_value(value));
    return keep_text(keep, json_string(number));
}

// "a,b", ["a", "b"], or one number or several.
static bool set_names(text_list *list, const json_t *value, json_t *keep)
{
    size_t index;
    json_t *item;
    list->count = 0;
    json_array_foreach(value, index, item)
        if (!add_text(list, keep_value(keep, item))) return false;
    if (json_is_array(value)) return true;
    if (json_is_number(value)) return add_text(list, keep_value(keep, value));
    if (!json_is_string(value)) return false;
    for (const char *at = json_string_value(value); *at;) {
        size_t length = strcspn(at, ",");
        if (length && !add_text(list, keep_text(keep, json_stringn(at, length)))) return false;
        at += length + (at[length] == ',');
    }
    return true;
}

static bool set_integer(int64_t *place, const json_t *value)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || number > INT32_MAX || number < INT32_MIN || number != (double)(int64_t)number)
        return false;
    *place = (int64_t)number;
    return true;
}

static bool set_value(const option *o, void *place, const json_t *value, json_t *keep)
{
    const char *text;
    switch (o->kind) {
    case OPTION_FLAG:
    case OPTION_SWITCH: *(bool *)place = json_is_true(value); return json_is_boolean(value);
    case OPTION_INTEGER: return set_integer(place, value);
    case OPTION_REAL: *(double *)place = json_number_value(value); return json_is_number(value);
    case OPTION_NAMES: return set_names(place, value, keep);
    case OPTION_SIZE:
        if (json_is_number(value))
            return *(uint64_t *)place = (uint64_t)json_number_value(value),
                              json_number_value(value) > 0 && json_number_value(value) < 1e15;
        return json_is_string(value) && read_size(json_string_value(value), place);
    case OPTION_TEXT:
        text = json_is_string(value) ? keep_value(keep, value) : NULL;
        *(const char **)place = text;
        return text != NULL;
    default: return false;
    }
}

// Some write learning_rate, some learning-rate.
static bool same_name(const char *a, const char *b)
{
    for (; *a && (*a == *b || (*a == '-' && *b == '_')); a++) b++;
    return *a == *b;
}

static int set_option(const application *app, const option *options, void *settings, const char *name,
                      const json_t *value, json_t *keep)
{
    const option *o = options;
    while (o->name && !same_name(o->name, name)) o++;
    if (o->name && o->kind == OPTION_REFUSED)
        return complain(app, EXIT_USAGE, say(app, "%s is not available: %s", "%s 暂不可用：%s"), name,
                        say(app, o->english, o->chinese));
    if (!o->name || names_files(o))
        return complain(app, EXIT_USAGE, say(app, "there is no setting %.60s", "没有设置项 %.60s"), name);
    if (json_is_null(value) || set_value(o, (char *)settings + o->offset, value, keep)) return EXIT_DONE;
    char expected[128];
    return complain(app, EXIT_USAGE, say(app, "%s: expected %s", "%s：应为 %s"), name, describe_value(app, o, expected));
}

int set_options(const application *app, const option *options, void *settings, const json_t *object,
                const char *const *others, json_t *keep)
{
    const char *key;
    json_t *value;
    int status = EXIT_DONE;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        if (status == EXIT_DONE && !is_among(key, others))
            status = set_option(app, options, settings, key, value, keep);
    return status;
}
