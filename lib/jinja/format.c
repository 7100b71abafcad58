// Python's two ways of putting values into a text: "%s is %d" % (a, b) and "{} is {name}".format(a, name=b).
#include "lib/jinja/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_WIDTH 1000

// ---- percent ------------------------------------------------------------------------------------------------------

typedef struct lr_conversion {
    bool left, zero, plus, space;
    int width, precision; // -1: not given
    char type;
} lr_conversion;

// Reads what follows a "%": bytes read, or 0 when it is no conversion.
static size_t read_conversion(const char *at, const char *end, lr_conversion *out)
{
    const char *begin = at;
    *out = (lr_conversion){.width = -1, .precision = -1};
    for (; at < end && strchr("-0+ #", *at) && *at; at++) {
        out->left |= *at == '-';
        out->zero |= *at == '0';
        out->plus |= *at == '+';
        out->space |= *at == ' ';
    }
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        out->width = (out->width < 0 ? 0 : out->width * 10) + (*at - '0');
        if (out->width > MAX_WIDTH) return 0;
    }
    if (at < end && *at == '.') {
        out->precision = 0;
        for (at++; at < end && *at >= '0' && *at <= '9'; at++) {
            out->precision = out->precision * 10 + (*at - '0');
            if (out->precision > MAX_WIDTH) return 0;
        }
    }
    if (at == end) return 0;
    out->type = *at++;
    return (size_t)(at - begin);
}

static lora_status write_number(lr_render *render, const lr_conversion *conversion, lr_value value, lr_bytes *out)
{
    char text[1400];
    int precision = conversion->precision < 0 ? 6 : conversion->precision;
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (!lr_is_number(value))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "%%%c needs a number, not %s", conversion->type,
                             lr_type_name(value));
    double real = lr_number(value);
    bool whole = strchr("dixXo", conversion->type) != NULL;
    if (whole && !(fabs(real) < 9.2e18))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "%%%c: the number has more than 64 bits", conversion->type);
    int64_t integer = !whole ? 0 : lr_is_whole(value) ? lr_whole(value) : (int64_t)real;
    uint64_t size = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    const char *sign = (whole ? integer < 0 : signbit(real)) ? "-"
                       : conversion->plus                    ? "+"
                       : conversion->space                   ? " "
                                                             : "";
    real = fabs(real);
    switch (conversion->type) {
    case 'x': snprintf(text, sizeof text, "%" PRIx64, size); break;
    case 'X': snprintf(text, sizeof text, "%" PRIX64, size); break;
    case 'o': snprintf(text, sizeof text, "%" PRIo64, size); break;
    case 'e': snprintf(text, sizeof text, "%.*e", precision, real); break;
    case 'f': snprintf(text, sizeof text, "%.*f", precision, real); break;
    case 'g': snprintf(text, sizeof text, "%.*g", precision, real); break;
    default: snprintf(text, sizeof text, "%" PRIu64, size); break;
    }
    size_t length = strlen(text) + strlen(sign);
    size_t missing =
        conversion->width > 0 && (size_t)conversion->width > length ? (size_t)conversion->width - length : 0;
    for (size_t i = 0; i < missing && !conversion->left && !conversion->zero; i++)
        LR_TRY(lr_bytes_append_text(out, " "));
    LR_TRY(lr_bytes_append_text(out, sign));
    for (size_t i = 0; i < missing && !conversion->left && conversion->zero; i++)
        LR_TRY(lr_bytes_append_text(out, "0"));
    LR_TRY(lr_bytes_append_text(out, text));
    for (size_t i = 0; i < missing && conversion->left; i++) LR_TRY(lr_bytes_append_text(out, " "));
    return LORA_OK;
}

static lora_status write_text(lr_render *render, const lr_conversion *conversion, lr_value value, lr_bytes *out)
{
    lr_value text;
    if (conversion->type == 'r') {
        lr_bytes bytes;
        lr_bytes_init(&bytes, render->arena.allocator, render->arena.limit);
        LR_TRY(lr_string_take(render, &bytes, lr_write_repr(render, value, &bytes), &text));
    } else {
        const lr_text *plain;
        LR_TRY(lr_to_text(render, value, &plain));
        text = lr_of_text(plain);
    }
    if (conversion->precision >= 0)
        LR_TRY(lr_get_slice(render, text, lr_none(), lr_integer(conversion->precision), lr_none(), &text));
    LR_TRY(lr_text_pad(render, text.text, conversion->width, " ", conversion->left ? -1 : 1, &text));
    return lr_bytes_append(out, text.text->bytes, text.text->size);
}

static lora_status fill_percent(lr_render *render, const lr_text *format, const lr_value *values, size_t count,
                                lr_bytes *out)
{
    const char *at = format->bytes, *end = at + format->size;
    size_t used = 0;
    while (at < end) {
        const char *percent = memchr(at, '%', (size_t)(end - at));
        if (!percent) percent = end;
        LR_TRY(lr_bytes_append(out, at, (size_t)(percent - at)));
        if (percent == end) break;
        lr_conversion conversion;
        size_t size = read_conversion(percent + 1, end, &conversion);
        if (size == 0 || !conversion.type || !strchr("%srdixXofeg", conversion.type))
            return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a format holds a broken or unknown conversion");
        at = percent + 1 + size;
        if (conversion.type == '%') {
            LR_TRY(lr_bytes_append_text(out, "%"));
            continue;
        }
        if (used == count) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "not enough arguments for a format");
        lr_value value = values[used++];
        bool text = conversion.type == 's' || conversion.type == 'r';
        LR_TRY(text ? write_text(render, &conversion, value, out) : write_number(render, &conversion, value, out));
    }
    return used == count ? LORA_OK : lr_jinja_fail(render, LORA_ERROR_FORMAT, "too many arguments for a format");
}

lora_status lr_text_percent(lr_render *render, const lr_text *format, lr_value values, lr_value *out)
{
    lr_bytes bytes;
    bool tuple = values.kind == LR_SEQUENCE && values.sequence->flavor == LR_TUPLE;
    lr_bytes_init(&bytes, render->arena.allocator, render->arena.limit);
    lora_status status = fill_percent(render, format, tuple ? values.sequence->items : &values,
                                      tuple ? values.sequence->count : 1, &bytes);
    return lr_string_take(render, &bytes, status, out);
}

// ---- format -------------------------------------------------------------------------------------------------------

static lora_status find_field(lr_render *render, const lr_text *field, const lr_arguments *arguments, size_t *next,
                              lr_value *out)
{
    int64_t index;
    if (field->size == 0) {
        index = (int64_t)(*next)++;
    } else if (!lr_text_to_integer(field, 10, &index)) {
        for (size_t i = 0; i < arguments->keyword_count; i++) {
            if (!lr_text_equals(arguments->keywords[i].name, field)) continue;
            *out = arguments->keywords[i].value;
            return LORA_OK;
        }
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "format: no argument for '{%.*s}'", (int)field->size,
                             field->bytes);
    }
    if (index < 0 || (uint64_t)index >= arguments->count)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "format: no argument %" PRId64, index);
    *out = arguments->values[index];
    return LORA_OK;
}

// Fields without a format of their own: {}, {0}, {name}; {{ and }} are brackets.
static lora_status fill_format(lr_render *render, const lr_text *format, const lr_arguments *arguments, lr_bytes *out)
{
    const char *at = format->bytes, *end = at + format->size;
    size_t next = 0;
    while (at < end) {
        bool open = *at == '{', close = *at == '}';
        if ((!open && !close) || (at + 1 < end && at[1] == *at)) {
            LR_TRY(lr_bytes_append(out, at, 1));
            at += open || close ? 2 : 1;
            continue;
        }
        const char *last = open ? memchr(at, '}', (size_t)(end - at)) : NULL;
        if (!last) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "format: a single '%c'", *at);
        lr_text field = {.bytes = at + 1, .size = (size_t)(last - at) - 1};
        for (size_t i = 0; i < field.size; i++)
            if (strchr(":!.[", field.bytes[i]))
                return lr_jinja_fail(render, LORA_ERROR_UNSUPPORTED, "format: '{%.*s}' is not supported",
                                     (int)field.size, field.bytes);
        lr_value value;
        LR_TRY(find_field(render, &field, arguments, &next, &value));
        LR_TRY(lr_write(render, value, out));
        at = last + 1;
    }
    return LORA_OK;
}

lora_status lr_text_format(lr_render *render, const lr_text *format, const lr_arguments *arguments, lr_value *out)
{
    lr_bytes bytes;
    lr_bytes_init(&bytes, render->arena.allocator, render->arena.limit);
    return lr_string_take(render, &bytes, fill_format(render, format, arguments, &bytes), out);
}
