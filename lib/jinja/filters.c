// Filters of single values.
#include "lib/jinja/filters.h"
#include "lib/jinja/template.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lora_status as_string(lr_render *render, lr_value value, lr_value *out)
{
    const lr_text *text;
    LR_TRY(lr_to_text(render, value, &text));
    *out = lr_of_text(text);
    return LORA_OK;
}

// ---- text ---------------------------------------------------------------------------------------------------------

static lora_status filter_trim(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *text, *chars;
    LR_TRY(lr_to_text(render, value, &text));
    LR_TRY(lr_argument_text(render, arguments, 0, "chars", NULL, &chars));
    return lr_text_strip(render, text, chars, true, true, out);
}

static lora_status change_case(lr_render *render, lr_value value, lr_letter_case letter_case, lr_value *out)
{
    const lr_text *text;
    LR_TRY(lr_to_text(render, value, &text));
    return lr_text_case(render, text, letter_case, out);
}

static lora_status filter_upper(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return change_case(render, value, LR_UPPER, out);
}

static lora_status filter_lower(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return change_case(render, value, LR_LOWER, out);
}

static lora_status filter_title(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return change_case(render, value, LR_TITLE_FILTER, out);
}

static lora_status filter_capitalize(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return change_case(render, value, LR_CAPITALIZE, out);
}

static lora_status filter_replace(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *text, *old, *new_text;
    lr_value limit = lr_argument(arguments, 2, "count", lr_none());
    LR_TRY(lr_to_text(render, value, &text));
    LR_TRY(lr_to_text(render, lr_argument(arguments, 0, "old", lr_none()), &old));
    LR_TRY(lr_to_text(render, lr_argument(arguments, 1, "new", lr_none()), &new_text));
    return lr_text_replace(render, text, old, new_text, lr_is_whole(limit) ? lr_whole(limit) : -1, out);
}

static lora_status filter_string(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return as_string(render, value, out);
}

static lora_status filter_escape(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    LR_TRY(as_string(render, value, out));
    return out->text->markup ? LORA_OK : lr_text_escape(render, out->text, out);
}

static lora_status filter_forceescape(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    LR_TRY(as_string(render, value, out));
    return lr_text_escape(render, out->text, out);
}

static lora_status filter_safe(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    LR_TRY(as_string(render, value, out));
    return lr_string_part(render, out->text->bytes, out->text->size, true, out);
}

static lora_status filter_center(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    int64_t width;
    LR_TRY(lr_argument_whole(render, arguments, 0, "width", 80, &width));
    LR_TRY(as_string(render, value, out));
    return lr_text_pad(render, out->text, width, " ", 0, out);
}

static lora_status filter_format(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *values;
    if (arguments->keyword_count)
        return lr_jinja_fail(render, LORA_ERROR_UNSUPPORTED, "format: arguments by name are not supported");
    LR_TRY(as_string(render, value, out));
    LR_TRY(lr_sequence_new(render, LR_TUPLE, arguments->count, &values));
    if (arguments->count) memcpy(values->items, arguments->values, arguments->count * sizeof(lr_value));
    return lr_text_percent(render, out->text, lr_of_sequence(values), out);
}

static lora_status filter_wordcount(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *text;
    (void)arguments;
    LR_TRY(lr_to_text(render, value, &text));
    *out = lr_integer(lr_count_words(text));
    return LORA_OK;
}

// What stands in front of each line: spaces by number, or a text.
static lora_status indentation(lr_render *render, const lr_arguments *arguments, lr_value *out)
{
    lr_value width = lr_argument(arguments, 0, "width", lr_integer(4));
    static const lr_text space = {.bytes = " ", .size = 1, .points = 1};
    *out = width;
    if (width.kind == LR_STRING) return LORA_OK;
    if (!lr_is_whole(width))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "indent: width is a %s", lr_type_name(width));
    return lr_text_repeat(render, &space, lr_whole(width), out);
}

static lora_status indent_lines(const lr_sequence *lines, const lr_text *indent, bool first, bool blank, lr_bytes *out)
{
    for (size_t i = 0; i < lines->count; i++) {
        const lr_text *line = lines->items[i].text;
        bool indented = i == 0 ? first : blank || line->size > 0;
        if (i > 0) LR_TRY(lr_bytes_append_text(out, "\n"));
        if (indented) LR_TRY(lr_bytes_append(out, indent->bytes, indent->size));
        LR_TRY(lr_bytes_append(out, line->bytes, line->size));
    }
    return LORA_OK;
}

static lora_status filter_indent(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    static const lr_text newline = {.bytes = "\n", .size = 1, .points = 1};
    lr_bytes bytes;
    lr_value indent, lines;
    const lr_text *text;
    bool first = lr_truth(lr_argument(arguments, 1, "first", lr_boolean(false)));
    bool blank = lr_truth(lr_argument(arguments, 2, "blank", lr_boolean(false)));
    LR_TRY(indentation(render, arguments, &indent));
    LR_TRY(lr_to_text(render, value, &text));
    // A newline more makes a trailing one count as an empty line.
    const lr_text *const parts[] = {text, &newline};
    LR_TRY(lr_string_join(render, parts, 2, &lines));
    LR_TRY(lr_text_split_lines(render, lines.text, false, &lines));
    LR_TRY(lr_jinja_charge(render, lines.sequence->count * (indent.text->size / 16 + 1)));
    lr_bytes_init(&bytes, render->arena.allocator, render->arena.limit);
    return lr_string_take(render, &bytes, indent_lines(lines.sequence, indent.text, first, blank, &bytes), out);
}

static lora_status filter_truncate(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    static const lr_text dots = {.bytes = "...", .size = 3, .points = 3},
                         space = {.bytes = " ", .size = 1, .points = 1};
    int64_t length, leeway;
    const lr_text *text, *end;
    lr_value kept;
    LR_TRY(lr_to_text(render, value, &text));
    LR_TRY(lr_argument_whole(render, arguments, 0, "length", 255, &length));
    bool cut_words = lr_truth(lr_argument(arguments, 1, "killwords", lr_boolean(false)));
    LR_TRY(lr_argument_text(render, arguments, 2, "end", &dots, &end));
    LR_TRY(lr_argument_whole(render, arguments, 3, "leeway", 5, &leeway));
    *out = lr_of_text(text);
    if (length < (int64_t)end->points || leeway < 0)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "truncate: the length is too small");
    if ((int64_t)text->points <= length || (int64_t)text->points - length <= leeway) return LORA_OK;
    LR_TRY(lr_get_slice(render, *out, lr_none(), lr_integer(length - (int64_t)end->points), lr_none(), &kept));
    if (!cut_words) {
        LR_TRY(lr_text_split(render, kept.text, &space, 1, true, &kept));
        kept = kept.sequence->items[0];
    }
    const lr_text *const parts[] = {kept.text, end};
    return lr_string_join(render, parts, 2, out);
}

// ---- numbers ------------------------------------------------------------------------------------------------------

static lora_status filter_abs(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    bool negative = lr_is_number(value) && (value.kind == LR_REAL ? signbit(value.real) : lr_whole(value) < 0);
    return lr_unary(render, negative ? LR_NEGATE : LR_POSITIVE, value, out);
}

static bool real_to_whole(double real, int64_t *out)
{
    if (!(real > -9.3e18 && real < 9.2233720368547758e18) || real < -9223372036854775808.0) return false;
    *out = (int64_t)real;
    return true;
}

static lora_status filter_int(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    int64_t base, whole;
    double real;
    *out = lr_argument(arguments, 0, "default", lr_integer(0));
    LR_TRY(lr_argument_whole(render, arguments, 1, "base", 10, &base));
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (lr_is_whole(value))
        *out = lr_integer(lr_whole(value));
    else if (value.kind == LR_REAL && real_to_whole(value.real, &whole))
        *out = lr_integer(whole);
    else if (value.kind == LR_STRING && lr_text_to_integer(value.text, (int)base, &whole))
        *out = lr_integer(whole);
    else if (value.kind == LR_STRING && lr_text_to_real(value.text, &real) && real_to_whole(real, &whole))
        *out = lr_integer(whole);
    return LORA_OK;
}

static lora_status filter_float(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    double real;
    *out = lr_argument(arguments, 0, "default", lr_real(0));
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (lr_is_number(value))
        *out = lr_real(lr_number(value));
    else if (value.kind == LR_STRING && lr_text_to_real(value.text, &real))
        *out = lr_real(real);
    return LORA_OK;
}

// Rounds half to even on the exact decimal value, as printf does.
static double round_common(double value, int precision)
{
    char text[400];
    if (precision >= 0) {
        snprintf(text, sizeof text, "%.*f", precision > 30 ? 30 : precision, value);
        return strtod(text, NULL);
    }
    double scale = pow(10, -precision);
    return nearbyint(value / scale) * scale;
}

static lora_status filter_round(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    static const lr_text common = {.bytes = "common", .size = 6, .points = 6};
    int64_t precision;
    const lr_text *method;
    LR_TRY(lr_argument_whole(render, arguments, 0, "precision", 0, &precision));
    LR_TRY(lr_argument_text(render, arguments, 1, "method", &common, &method));
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (!lr_is_number(value))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "round: %s is no number", lr_type_name(value));
    if (precision < -300 || precision > 300)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "round: precision out of range");
    double scale = pow(10, (double)precision), real = lr_number(value);
    if (lr_text_is(method, "ceil"))
        *out = lr_real(ceil(real * scale) / scale);
    else if (lr_text_is(method, "floor"))
        *out = lr_real(floor(real * scale) / scale);
    else if (!lr_text_is(method, "common"))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "round: method must be common, ceil or floor");
    else if (lr_is_whole(value) && precision >= 0)
        *out = lr_integer(lr_whole(value));
    else if (lr_is_whole(value))
        *out = lr_integer((int64_t)round_common(real, (int)precision));
    else
        *out = lr_real(isfinite(real) ? round_common(real, (int)precision) : real);
    return LORA_OK;
}

// ---- any value ----------------------------------------------------------------------------------------------------

static lora_status filter_default(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    (void)render;
    bool when_false = lr_truth(lr_argument(arguments, 1, "boolean", lr_boolean(false)));
    bool replaced = value.kind == LR_UNDEFINED || (when_false && !lr_truth(value));
    *out = replaced ? lr_argument(arguments, 0, "default_value", lr_of_text(&lr_empty_text)) : value;
    return LORA_OK;
}

static lora_status filter_length(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    int64_t length;
    (void)arguments;
    LR_TRY(lr_length(render, value, &length));
    *out = lr_integer(length);
    return LORA_OK;
}

static lora_status filter_attr(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *name;
    LR_TRY(lr_argument_text(render, arguments, 0, "name", &lr_empty_text, &name));
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    // Attributes alone: what a dict holds is no attribute of it.
    if (value.kind == LR_DICT) {
        LR_TRY(lr_method_find(render, value, name, out));
        if (out->kind != LR_UNDEFINED || out->text) return LORA_OK;
        return lr_undefined(render, out, "'dict object' has no attribute '%.*s'", (int)name->size, name->bytes);
    }
    return lr_get_attribute(render, value, name, out);
}

static lora_status json_style(lr_render *render, const lr_arguments *arguments, lr_json_style *style)
{
    static const lr_text comma = {.bytes = ",", .size = 1}, comma_space = {.bytes = ", ", .size = 2},
                         colon_space = {.bytes = ": ", .size = 2}, space = {.bytes = " ", .size = 1, .points = 1};
    lr_value indent = lr_argument(arguments, 1, "indent", lr_none());
    lr_value separators = lr_argument(arguments, 2, "separators", lr_none());
    *style = (lr_json_style){.item_separator = &comma_space, .key_separator = &colon_space};
    style->ensure_ascii = lr_truth(lr_argument(arguments, 0, "ensure_ascii", lr_boolean(false)));
    style->sort_keys = lr_truth(lr_argument(arguments, 3, "sort_keys", lr_boolean(false)));
    if (indent.kind == LR_STRING) {
        style->indent = indent.text;
    } else if (lr_is_whole(indent)) {
        lr_value spaces;
        LR_TRY(lr_text_repeat(render, &space, lr_whole(indent), &spaces));
        style->indent = spaces.text;
    } else if (indent.kind != LR_NONE) {
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "tojson: indent is a %s", lr_type_name(indent));
    }
    if (style->indent) style->item_separator = &comma;
    if (separators.kind == LR_NONE) return LORA_OK;
    const lr_value *pair;
    size_t count;
    LR_TRY(lr_items_of(render, separators, &pair, &count));
    if (count != 2 || pair[0].kind != LR_STRING || pair[1].kind != LR_STRING)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "tojson: separators must be two strings");
    style->item_separator = pair[0].text;
    style->key_separator = pair[1].text;
    return LORA_OK;
}

static lora_status filter_tojson(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_bytes bytes;
    lr_json_style style;
    LR_TRY(json_style(render, arguments, &style));
    lr_bytes_init(&bytes, render->arena.allocator, render->arena.limit);
    return lr_string_take(render, &bytes, lr_write_json(render, value, &style, &bytes), out);
}

// ---- the table ----------------------------------------------------------------------------------------------------

static const lr_filter filters[] = {
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"float", filter_float},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"length", filter_length},
    {"lower", filter_lower},
    {"replace", filter_replace},
    {"round", filter_round},
    {"safe", filter_safe},
    {"string", filter_string},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", filter_upper},
    {"wordcount", filter_wordcount},
};

#define FILTER_COUNT (sizeof filters / sizeof *filters)

static const lr_filter *filter_at(size_t number)
{
    return number < FILTER_COUNT ? &filters[number] : &lr_sequence_filters[number - FILTER_COUNT];
}

int32_t lr_filter_find(const char *name, size_t length)
{
    for (size_t i = 0; i < FILTER_COUNT + lr_sequence_filter_count; i++)
        if (strlen(filter_at(i)->name) == length && memcmp(filter_at(i)->name, name, length) == 0) return (int32_t)i;
    return -1;
}

lora_status lr_filter_apply(lr_render *render, int32_t filter, lr_value value, const lr_arguments *arguments,
                            lr_value *out)
{
    return filter_at((size_t)filter)->apply(render, value, arguments, out);
}
