// Values as text: Python's str and repr, and JSON as json.dumps writes it.
#include "lib/jinja/text.h"
#include "lib/jinja/value.h"

#include "lib/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <utf8proc.h>

// ---- repr ---------------------------------------------------------------------------------------------------------

static bool is_printable(int32_t code)
{
    if (code == ' ') return true;
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

static lora_status repr_point(int32_t code, const char *bytes, size_t size, char quote, lr_bytes *out)
{
    if (code == quote || code == '\\') return lr_bytes_append_format(out, "\\%c", code);
    if (code == '\n') return lr_bytes_append_text(out, "\\n");
    if (code == '\r') return lr_bytes_append_text(out, "\\r");
    if (code == '\t') return lr_bytes_append_text(out, "\\t");
    if (is_printable(code)) return lr_bytes_append(out, bytes, size);
    if (code < 0x100) return lr_bytes_append_format(out, "\\x%02x", (unsigned)code);
    if (code < 0x10000) return lr_bytes_append_format(out, "\\u%04x", (unsigned)code);
    return lr_bytes_append_format(out, "\\U%08x", (unsigned)code);
}

static lora_status repr_text(const lr_text *text, lr_bytes *out)
{
    bool single = memchr(text->bytes, '\'', text->size) != NULL, both = memchr(text->bytes, '"', text->size) != NULL;
    char quote = single && !both ? '"' : '\'';
    if (text->markup) LR_TRY(lr_bytes_append_text(out, "Markup("));
    LR_TRY(lr_bytes_append(out, &quote, 1));
    for (size_t at = 0; at < text->size;) {
        int32_t code;
        size_t size = lr_utf8_next(text->bytes + at, text->size - at, &code);
        LR_TRY(repr_point(code, text->bytes + at, size, quote, out));
        at += size;
    }
    LR_TRY(lr_bytes_append(out, &quote, 1));
    return text->markup ? lr_bytes_append_text(out, ")") : LORA_OK;
}

static lora_status repr_items(lr_render *render, const lr_value *items, size_t count, lr_bytes *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0) LR_TRY(lr_bytes_append_text(out, ", "));
        LR_TRY(lr_write_repr(render, items[i], out));
    }
    return LORA_OK;
}

static lora_status repr_range(const lr_sequence *range, lr_bytes *out)
{
    LR_TRY(lr_bytes_append_format(out, "range(%" PRId64 ", %" PRId64, range->start, range->stop));
    if (range->step != 1) LR_TRY(lr_bytes_append_format(out, ", %" PRId64, range->step));
    return lr_bytes_append_text(out, ")");
}

static lora_status repr_sequence(lr_render *render, const lr_sequence *sequence, lr_bytes *out)
{
    static const char *const begin[] = {"[", "(", "dict_keys([", "dict_values([", "dict_items(["};
    static const char *const end[] = {"]", ")", "])", "])", "])"};
    if (sequence->flavor == LR_RANGE) return repr_range(sequence, out);
    if (sequence->flavor == LR_GENERATOR)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a generator can't be printed: put '| list' behind the filter");
    LR_TRY(lr_bytes_append_text(out, begin[sequence->flavor]));
    LR_TRY(repr_items(render, sequence->items, sequence->count, out));
    if (sequence->flavor == LR_TUPLE && sequence->count == 1) LR_TRY(lr_bytes_append_text(out, ","));
    return lr_bytes_append_text(out, end[sequence->flavor]);
}

static lora_status repr_dict(lr_render *render, const lr_dict *dict, lr_bytes *out)
{
    LR_TRY(lr_bytes_append_text(out, "{"));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) LR_TRY(lr_bytes_append_text(out, ", "));
        LR_TRY(lr_write_repr(render, dict->pairs[i].key, out));
        LR_TRY(lr_bytes_append_text(out, ": "));
        LR_TRY(lr_write_repr(render, dict->pairs[i].value, out));
    }
    return lr_bytes_append_text(out, "}");
}

static lora_status repr_names(lr_render *render, const lr_scope *names, lr_bytes *out)
{
    LR_TRY(lr_bytes_append_text(out, "<Namespace {"));
    for (size_t i = 0; i < names->count; i++) {
        if (i > 0) LR_TRY(lr_bytes_append_text(out, ", "));
        LR_TRY(repr_text(names->bindings[i].name, out));
        LR_TRY(lr_bytes_append_text(out, ": "));
        LR_TRY(lr_write_repr(render, names->bindings[i].value, out));
    }
    return lr_bytes_append_text(out, "}>");
}

static lora_status repr_value(lr_render *render, lr_value value, lr_bytes *out)
{
    char number[40];
    switch (value.kind) {
    case LR_UNDEFINED: return lr_bytes_append_text(out, "Undefined");
    case LR_NONE: return lr_bytes_append_text(out, "None");
    case LR_BOOLEAN: return lr_bytes_append_text(out, value.boolean ? "True" : "False");
    case LR_INTEGER: return lr_bytes_append_format(out, "%" PRId64, value.integer);
    case LR_REAL: lr_real_to_text(value.real, number); return lr_bytes_append_text(out, number);
    case LR_STRING: return repr_text(value.text, out);
    case LR_SEQUENCE: return repr_sequence(render, value.sequence, out);
    case LR_DICT: return repr_dict(render, value.dict, out);
    case LR_NAMESPACE: return repr_names(render, value.names, out);
    case LR_LOOP:
        return lr_bytes_append_format(out, "<LoopContext %zu/%zu>", value.loop->index + 1, value.loop->items->count);
    case LR_CALLABLE: break;
    }
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a %s can't be printed", lr_type_name(value));
}

lora_status lr_write_repr(lr_render *render, lr_value value, lr_bytes *out)
{
    LR_TRY(lr_jinja_charge(render, 1));
    LR_TRY(lr_jinja_enter(render));
    lora_status status = repr_value(render, value, out);
    render->depth--;
    return status;
}

lora_status lr_write(lr_render *render, lr_value value, lr_bytes *out)
{
    if (value.kind == LR_UNDEFINED) return LORA_OK;
    if (value.kind != LR_STRING) return lr_write_repr(render, value, out);
    LR_TRY(lr_jinja_charge(render, value.text->size / 64));
    return lr_bytes_append(out, value.text->bytes, value.text->size);
}

lora_status lr_to_text(lr_render *render, lr_value value, const lr_text **out)
{
    if (value.kind == LR_STRING) {
        *out = value.text;
        return LORA_OK;
    }
    lr_bytes bytes;
    lr_value text;
    lr_bytes_init(&bytes, render->arena.allocator, render->arena.limit);
    LR_TRY(lr_string_take(render, &bytes, lr_write(render, value, &bytes), &text));
    *out = text.text;
    return LORA_OK;
}

// ---- JSON ---------------------------------------------------------------------------------------------------------

typedef struct json_writer {
    lr_render *render;
    const lr_json_style *style;
    lr_bytes *out;
    size_t level;
} json_writer;

static lora_status json_point(const json_writer *writer, int32_t code, const char *bytes, size_t size)
{
    switch (code) {
    case '"': return lr_bytes_append_text(writer->out, "\\\"");
    case '\\': return lr_bytes_append_text(writer->out, "\\\\");
    case '\n': return lr_bytes_append_text(writer->out, "\\n");
    case '\r': return lr_bytes_append_text(writer->out, "\\r");
    case '\t': return lr_bytes_append_text(writer->out, "\\t");
    case '\f': return lr_bytes_append_text(writer->out, "\\f");
    case '\b': return lr_bytes_append_text(writer->out, "\\b");
    default: break;
    }
    if (code >= 0x20 && (!writer->style->ensure_ascii || code < 0x7F)) return lr_bytes_append(writer->out, bytes, size);
    if (code == 0x7F) return lr_bytes_append(writer->out, bytes, size);
    if (code < 0x10000) return lr_bytes_append_format(writer->out, "\\u%04x", (unsigned)code);
    unsigned offset = (unsigned)code - 0x10000;
    return lr_bytes_append_format(writer->out, "\\u%04x\\u%04x", 0xD800 | offset >> 10, 0xDC00 | (offset & 0x3FF));
}

static lora_status json_text(const json_writer *writer, const lr_text *text)
{
    LR_TRY(lr_jinja_charge(writer->render, text->size / 16));
    LR_TRY(lr_bytes_append_text(writer->out, "\""));
    for (size_t at = 0; at < text->size;) {
        int32_t code;
        size_t size = lr_utf8_next(text->bytes + at, text->size - at, &code);
        LR_TRY(json_point(writer, code, text->bytes + at, size));
        at += size;
    }
    return lr_bytes_append_text(writer->out, "\"");
}

static lora_status json_break(const json_writer *writer)
{
    if (!writer->style->indent) return LORA_OK;
    LR_TRY(lr_bytes_append_text(writer->out, "\n"));
    for (size_t i = 0; i < writer->level; i++)
        LR_TRY(lr_bytes_append(writer->out, writer->style->indent->bytes, writer->style->indent->size));
    return LORA_OK;
}

static lora_status json_value(json_writer *writer, lr_value value);

static lora_status json_between(const json_writer *writer, size_t index)
{
    if (index > 0)
        LR_TRY(lr_bytes_append(writer->out, writer->style->item_separator->bytes, writer->style->item_separator->size));
    return json_break(writer);
}

static lora_status json_array_body(json_writer *writer, const lr_sequence *list)
{
    if (list->count == 0) return lr_bytes_append_text(writer->out, "[]");
    LR_TRY(lr_bytes_append_text(writer->out, "["));
    writer->level++;
    for (size_t i = 0; i < list->count; i++) {
        LR_TRY(json_between(writer, i));
        LR_TRY(json_value(writer, list->items[i]));
    }
    writer->level--;
    LR_TRY(json_break(writer));
    return lr_bytes_append_text(writer->out, "]");
}

static lora_status json_key(json_writer *writer, lr_value key)
{
    if (key.kind == LR_STRING) return json_text(writer, key.text);
    if (key.kind != LR_NONE && !lr_is_number(key))
        return lr_jinja_fail(writer->render, LORA_ERROR_FORMAT, "tojson: a key is a %s", lr_type_name(key));
    LR_TRY(lr_bytes_append_text(writer->out, "\""));
    LR_TRY(json_value(writer, key));
    return lr_bytes_append_text(writer->out, "\"");
}

// The pairs of a dict in the order of their keys, by insertion: dicts are small.
static lora_status sorted_pairs(lr_render *render, const lr_dict *dict, lr_dict **out)
{
    LR_TRY(lr_dict_new(render, dict->count, out));
    for (size_t i = 0; i < dict->count; i++) {
        size_t at = (*out)->count++;
        for (; at > 0; at--) {
            int order;
            LR_TRY(lr_compare(render, dict->pairs[i].key, (*out)->pairs[at - 1].key, "<", &order));
            if (order >= 0) break;
            (*out)->pairs[at] = (*out)->pairs[at - 1];
        }
        (*out)->pairs[at] = dict->pairs[i];
    }
    return LORA_OK;
}

static lora_status json_object_body(json_writer *writer, const lr_dict *dict)
{
    if (dict->count == 0) return lr_bytes_append_text(writer->out, "{}");
    lr_dict *sorted;
    if (writer->style->sort_keys) {
        LR_TRY(sorted_pairs(writer->render, dict, &sorted));
        dict = sorted;
    }
    LR_TRY(lr_bytes_append_text(writer->out, "{"));
    writer->level++;
    for (size_t i = 0; i < dict->count; i++) {
        LR_TRY(json_between(writer, i));
        LR_TRY(json_key(writer, dict->pairs[i].key));
        LR_TRY(lr_bytes_append(writer->out, writer->style->key_separator->bytes, writer->style->key_separator->size));
        LR_TRY(json_value(writer, dict->pairs[i].value));
    }
    writer->level--;
    LR_TRY(json_break(writer));
    return lr_bytes_append_text(writer->out, "}");
}

static lora_status json_real_number(const json_writer *writer, double value)
{
    char number[40];
    if (isnan(value)) return lr_bytes_append_text(writer->out, "NaN");
    if (isinf(value)) return lr_bytes_append_text(writer->out, value < 0 ? "-Infinity" : "Infinity");
    lr_real_to_text(value, number);
    return lr_bytes_append_text(writer->out, number);
}

static lora_status json_plain(json_writer *writer, lr_value value)
{
    switch (value.kind) {
    case LR_NONE: return lr_bytes_append_text(writer->out, "null");
    case LR_BOOLEAN: return lr_bytes_append_text(writer->out, value.boolean ? "true" : "false");
    case LR_INTEGER: return lr_bytes_append_format(writer->out, "%" PRId64, value.integer);
    case LR_REAL: return json_real_number(writer, value.real);
    case LR_STRING: return json_text(writer, value.text);
    case LR_DICT: return json_object_body(writer, value.dict);
    case LR_SEQUENCE:
        if (value.sequence->flavor <= LR_TUPLE) return json_array_body(writer, value.sequence);
        break;
    default: break;
    }
    return lr_jinja_fail(writer->render, LORA_ERROR_FORMAT, "tojson: an object of type %s is not JSON",
                         lr_type_name(value));
}

static lora_status json_value(json_writer *writer, lr_value value)
{
    LR_TRY(lr_jinja_charge(writer->render, 1 + (writer->style->indent ? writer->level : 0)));
    LR_TRY(lr_jinja_enter(writer->render));
    lora_status status = json_plain(writer, value);
    writer->render->depth--;
    return status;
}

lora_status lr_write_json(lr_render *render, lr_value value, const lr_json_style *style, lr_bytes *out)
{
    return json_value(&(json_writer){.render = render, .style = style, .out = out}, value);
}
