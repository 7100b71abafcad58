#include "lib/json.h"

#include "lib/file.h"

#include <ctype.h>
#include <string.h>

// ---- integers that do not fit -------------------------------------------------------------------------------------
// Real files hold integers beyond 64 bits (tokenizer_config.json's model_max_length is 10^30). Jansson refuses them;
// they are handed to it again as reals: "e0" is written behind every integer of 19 digits and more.

#define LONG_INTEGER 19

typedef struct number_filter {
    const char *at, *end;
    bool in_string, escaped;
    bool plain;        // the number so far is an integer
    int digits;        // of the number so far
    const char *extra; // what is still to be put in
} number_filter;

static bool is_number_part(char c)
{
    return isdigit((unsigned char)c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
}

// One character of the filtered text; -1 at its end.
static int next_character(number_filter *filter)
{
    if (filter->extra && *filter->extra) return *filter->extra++;
    filter->extra = NULL;
    char c = filter->at < filter->end ? *filter->at : '\0';
    if (!filter->in_string && filter->digits > 0 && !is_number_part(c)) {
        bool is_long = filter->plain && filter->digits >= LONG_INTEGER;
        filter->digits = 0;
        if (is_long) {
            filter->extra = "0";
            return 'e';
        }
    }
    if (filter->at == filter->end) return -1;
    filter->at++;
    if (filter->in_string) {
        if (!filter->escaped && c == '"') filter->in_string = false;
        filter->escaped = !filter->escaped && c == '\\';
    } else if (c == '"') {
        filter->in_string = true;
        filter->escaped = false;
    } else if (isdigit((unsigned char)c)) {
        if (filter->digits++ == 0) filter->plain = true;
    } else if (is_number_part(c)) {
        filter->plain = false;
    }
    return (unsigned char)c;
}

static size_t read_filtered(void *buffer, size_t size, void *user)
{
    char *target = buffer;
    size_t count = 0;
    for (int c; count < size && (c = next_character(user)) >= 0; count++) target[count] = (char)c;
    return count;
}

// ---- parsing ------------------------------------------------------------------------------------------------------

static lora_status parse(const char *name, const char *text, size_t length, size_t flags, json_t **out)
{
    json_error_t error;
    *out = NULL;
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3, length -= 3;
    flags |= JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *value = json_loadb(text, length, flags, &error);
    if (!value && json_error_code(&error) == json_error_numeric_overflow) {
        number_filter filter = {.at = text, .end = text + length};
        value = json_load_callback(read_filtered, &filter, flags, &error);
    }
    if (value) {
        *out = value;
        return LORA_OK;
    }
    if (json_error_code(&error) == json_error_out_of_memory)
        return lr_fail(LORA_ERROR_MEMORY, "%s: out of memory while parsing JSON", name);
    for (char *c = error.text; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    return lr_fail(LORA_ERROR_FORMAT, "%s: not valid JSON: line %d, column %d: %s", name, error.line, error.column,
                   error.text);
}

lora_status lr_json_parse(const char *name, const char *text, size_t length, json_t **out)
{
    return parse(name, text, length, 0, out);
}

lora_status lr_json_parse_unique(const char *name, const char *text, size_t length, json_t **out)
{
    return parse(name, text, length, JSON_REJECT_DUPLICATES, out);
}

lora_status lr_json_load(const lora_allocator *allocator, const lora_file_access *files, const char *path, size_t limit,
                         json_t **out)
{
    char *text;
    size_t length;
    *out = NULL;
    LR_TRY(lr_file_read_text(allocator, files, path, limit, &text, &length));
    lora_status status = lr_json_parse(path, text, length, out);
    lr_free(allocator, text);
    return status;
}

// ---- getters ------------------------------------------------------------------------------------------------------

static const char *type_of(const json_t *value)
{
    static const char *const names[] = {"an object",     "an array", "a text", "an integer",
                                        "a real number", "true",     "false",  "null"};
    return names[json_typeof(value)];
}

static lora_status wrong_type(const char *name, const char *key, const char *expected, const json_t *value)
{
    return lr_fail(LORA_ERROR_FORMAT, "%s: \"%s\": expected %s, found %s", name, key, expected, type_of(value));
}

// The key's value, or NULL when it is missing or null.
static const json_t *get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

lora_status lr_json_int(const json_t *object, const char *name, const char *key, int64_t fallback, int64_t *out)
{
    const json_t *value = get(object, key);
    if (value && !json_is_integer(value)) return wrong_type(name, key, "an integer", value);
    *out = value ? json_integer_value(value) : fallback;
    return LORA_OK;
}

lora_status lr_json_real(const json_t *object, const char *name, const char *key, double fallback, double *out)
{
    const json_t *value = get(object, key);
    if (value && !json_is_number(value)) return wrong_type(name, key, "a number", value);
    *out = value ? json_number_value(value) : fallback;
    return LORA_OK;
}

lora_status lr_json_bool(const json_t *object, const char *name, const char *key, bool fallback, bool *out)
{
    const json_t *value = get(object, key);
    if (value && !json_is_boolean(value)) return wrong_type(name, key, "true or false", value);
    *out = value ? json_is_true(value) : fallback;
    return LORA_OK;
}

lora_status lr_json_text(const json_t *object, const char *name, const char *key, const char *fallback,
                         const char **out)
{
    const json_t *value = get(object, key);
    if (value && !json_is_string(value)) return wrong_type(name, key, "a text", value);
    if (value && strlen(json_string_value(value)) != json_string_length(value))
        return lr_fail(LORA_ERROR_FORMAT, "%s: \"%s\": expected a text, found one with a zero character in it", name,
                       key);
    *out = value ? json_string_value(value) : fallback;
    return LORA_OK;
}
