// JSON out, in the style of Python's json.dumps (the files of this field are written with it): ", " and ": " on one
// line, a line an item with an indent, reals as their shortest decimal that reads back to the same bits.
#include "lib/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dumper {
    lr_bytes bytes;
    int indent;
    bool sort;
} dumper;

static lora_status dump_string(lr_bytes *bytes, const char *text, size_t length)
{
    LR_TRY(lr_bytes_append(bytes, "\"", 1));
    size_t done = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= ' ' && c != '"' && c != '\\') continue;
        LR_TRY(lr_bytes_append(bytes, text + done, i - done));
        done = i + 1;
        const char *names = "\"\"\\\\\bb\ff\nn\rr\tt";
        const char *at = names;
        while (*at && *at != (char)c) at += 2;
        if (c && *at)
            LR_TRY(lr_bytes_append_format(bytes, "\\%c", at[1]));
        else
            LR_TRY(lr_bytes_append_format(bytes, "\\u%04x", c));
    }
    LR_TRY(lr_bytes_append(bytes, text + done, length - done));
    return lr_bytes_append(bytes, "\"", 1);
}

// Digits and exponent come from printf; the decimal point is ours, whatever the locale's is.
static lora_status dump_real(lr_bytes *bytes, double value)
{
    char text[40], digits[24];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    int count = 0;
    const char *at = text;
    for (; *at && *at != 'e'; at++)
        if (*at >= '0' && *at <= '9' && count < 20) digits[count++] = *at;
    int exponent = *at == 'e' ? atoi(at + 1) : 0;
    if (text[0] == '-') LR_TRY(lr_bytes_append(bytes, "-", 1));
    if (exponent < -4 || exponent >= 16) {
        LR_TRY(lr_bytes_append(bytes, digits, 1));
        if (count > 1) LR_TRY(lr_bytes_append_format(bytes, ".%.*s", count - 1, digits + 1));
        return lr_bytes_append_format(bytes, "e%s%02d", exponent < 0 ? "-" : "+", abs(exponent));
    }
    // 0.00123: zeros, then digits; 1230.0: digits, then zeros.
    int point = exponent < 0 ? 0 : exponent + 1;
    if (exponent < 0) LR_TRY(lr_bytes_append_format(bytes, "0.%.*s", -exponent - 1, "000"));
    for (int i = 0; i < count || i < point + 1; i++) {
        if (exponent >= 0 && i == point) LR_TRY(lr_bytes_append(bytes, ".", 1));
        if (exponent < 0 && i >= count) break;
        LR_TRY(lr_bytes_append(bytes, i < count ? &digits[i] : "0", 1));
    }
    return LORA_OK;
}

static lora_status dump_value(dumper *self, const json_t *value, int depth);

static lora_status new_line(dumper *self, int depth)
{
    if (!self->indent) return LORA_OK;
    return lr_bytes_append_format(&self->bytes, "\n%*s", self->indent * depth, "");
}

static lora_status separator(dumper *self, bool first, int depth)
{
    if (!first) LR_TRY(lr_bytes_append_text(&self->bytes, self->indent ? "," : ", "));
    return new_line(self, depth);
}

static lora_status dump_array(dumper *self, const json_t *array, int depth)
{
    size_t count = json_array_size(array);
    LR_TRY(lr_bytes_append(&self->bytes, "[", 1));
    for (size_t i = 0; i < count; i++) {
        LR_TRY(separator(self, i == 0, depth + 1));
        LR_TRY(dump_value(self, json_array_get(array, i), depth + 1));
    }
    if (count) LR_TRY(new_line(self, depth));
    return lr_bytes_append(&self->bytes, "]", 1);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static lora_status dump_members(dumper *self, const json_t *object, const char **keys, size_t count, int depth)
{
    for (size_t i = 0; i < count; i++) {
        LR_TRY(separator(self, i == 0, depth + 1));
        LR_TRY(dump_string(&self->bytes, keys[i], strlen(keys[i])));
        LR_TRY(lr_bytes_append(&self->bytes, ": ", 2));
        LR_TRY(dump_value(self, json_object_get(object, keys[i]), depth + 1));
    }
    return count ? new_line(self, depth) : LORA_OK;
}

static lora_status dump_object(dumper *self, const json_t *object, int depth)
{
    size_t count = json_object_size(object), filled = 0;
    const char **keys = lr_alloc_array(self->bytes.allocator, count, sizeof *keys);
    if (!keys) return LORA_ERROR_MEMORY;
    json_t *whole = (json_t *)(uintptr_t)object; // iterating does not change it
    for (void *at = json_object_iter(whole); at && filled < count; at = json_object_iter_next(whole, at))
        keys[filled++] = json_object_iter_key(at);
    if (self->sort) qsort(keys, filled, sizeof *keys, compare_keys);
    lora_status status = lr_bytes_append(&self->bytes, "{", 1);
    if (status == LORA_OK) status = dump_members(self, object, keys, filled, depth);
    if (status == LORA_OK) status = lr_bytes_append(&self->bytes, "}", 1);
    lr_free(self->bytes.allocator, keys);
    return status;
}

static lora_status dump_value(dumper *self, const json_t *value, int depth)
{
    if (depth > 2048) return lr_fail(LORA_ERROR_INTERNAL, "JSON nested deeper than 2048 levels cannot be written");
    switch (json_typeof(value)) {
    case JSON_OBJECT: return dump_object(self, value, depth);
    case JSON_ARRAY: return dump_array(self, value, depth);
    case JSON_STRING: return dump_string(&self->bytes, json_string_value(value), json_string_length(value));
    case JSON_INTEGER: return lr_bytes_append_format(&self->bytes, "%lld", (long long)json_integer_value(value));
    case JSON_REAL: return dump_real(&self->bytes, json_real_value(value));
    case JSON_TRUE: return lr_bytes_append_text(&self->bytes, "true");
    case JSON_FALSE: return lr_bytes_append_text(&self->bytes, "false");
    default: return lr_bytes_append_text(&self->bytes, "null");
    }
}

lora_status lr_json_dump(const lora_allocator *allocator, const json_t *value, int indent, bool sort, char **text,
                         size_t *length)
{
    dumper self = {.indent = indent, .sort = sort};
    *text = NULL;
    *length = 0;
    lr_bytes_init(&self.bytes, allocator, PTRDIFF_MAX - 1);
    lora_status status = dump_value(&self, value, 0);
    if (status != LORA_OK) {
        lr_bytes_free(&self.bytes);
        return status;
    }
    *text = self.bytes.data;
    *length = self.bytes.size;
    return LORA_OK;
}

lora_status lr_json_lend(const lora_allocator *allocator, json_t *document, char **kept, const char **text)
{
    char *made;
    size_t length;
    if (!document) return lr_fail_memory(sizeof(json_t));
    lora_status status = lr_json_dump(allocator, document, 0, false, &made, &length);
    json_decref(document);
    if (status != LORA_OK) return status;
    lr_free(allocator, *kept);
    *text = *kept = made;
    return LORA_OK;
}
