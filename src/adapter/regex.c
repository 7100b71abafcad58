#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include <pcre2.h>
#include <string.h>

#define STEP_LIMIT 200000

struct lr_regex {
    const lora_allocator *allocator;
    const char *key; // static text
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_code *code;
    pcre2_match_data *data;
    int group; // number of "idx", or -1
};

static void *allocate(size_t size, void *user)
{
    return lr_alloc(user, size);
}

static void release(void *block, void *user)
{
    lr_free(user, block);
}

void lr_regex_free(lr_regex *regex)
{
    if (!regex) return;
    pcre2_match_data_free(regex->data);
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->limits);
    pcre2_general_context_free(regex->general);
    lr_free(regex->allocator, regex);
}

static lora_status compile(lr_regex *regex, const char *pattern, bool whole)
{
    int error;
    size_t position;
    uint32_t options = PCRE2_UTF | PCRE2_ANCHORED | (whole ? PCRE2_ENDANCHORED : 0);
    regex->general = pcre2_general_context_create(allocate, release, (void *)regex->allocator);
    pcre2_compile_context *settings = regex->general ? pcre2_compile_context_create(regex->general) : NULL;
    if (!settings) return LORA_ERROR_MEMORY;
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &error, &position, settings);
    pcre2_compile_context_free(settings);
    if (!regex->code && error == PCRE2_ERROR_HEAP_FAILED) return LORA_ERROR_MEMORY;
    if (!regex->code) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(error, text, sizeof text);
        return lr_fail(LORA_ERROR_FORMAT, "%s: the expression '%s' is malformed at character %zu: %s", regex->key,
                       pattern, position, (const char *)text);
    }
    regex->data = pcre2_match_data_create_from_pattern(regex->code, regex->general);
    regex->limits = pcre2_match_context_create(regex->general);
    if (!regex->data || !regex->limits) return LORA_ERROR_MEMORY;
    pcre2_set_match_limit(regex->limits, STEP_LIMIT);
    pcre2_set_depth_limit(regex->limits, STEP_LIMIT);
    regex->group = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR) "idx");
    return LORA_OK;
}

lora_status lr_regex_create(const lora_allocator *allocator, const char *key, const char *pattern, bool whole,
                            lr_regex **out)
{
    lr_regex *regex = lr_alloc_zeroed(allocator, 1, sizeof *regex);
    if (!regex) return LORA_ERROR_MEMORY;
    regex->allocator = allocator;
    regex->key = key;
    lora_status status = compile(regex, pattern, whole);
    if (status != LORA_OK) {
        lr_regex_free(regex);
        return status;
    }
    *out = regex;
    return LORA_OK;
}

static int64_t group_number(const lr_regex *regex, const char *text)
{
    if (regex->group < 0) return -1;
    const size_t *bounds = pcre2_get_ovector_pointer(regex->data);
    size_t begin = bounds[2 * regex->group], end = bounds[2 * regex->group + 1];
    if (begin == PCRE2_UNSET || end == begin || end - begin > 9) return -1;
    int64_t number = 0;
    for (size_t i = begin; i < end; i++) number = number * 10 + (text[i] - '0');
    return number;
}

lora_status lr_regex_match(const lr_regex *regex, const char *text, bool *matched, int64_t *number)
{
    int found = pcre2_match(regex->code, (PCRE2_SPTR)text, strlen(text), 0, 0, regex->data, regex->limits);
    *matched = found > 0;
    if (number) *number = -1;
    if (found == PCRE2_ERROR_NOMATCH) return LORA_OK;
    if (found == PCRE2_ERROR_NOMEMORY) return lr_fail_memory(0);
    if (found < 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: the expression takes too many steps on '%s'; write it simpler",
                       regex->key, text);
    if (number) *number = group_number(regex, text);
    return LORA_OK;
}
