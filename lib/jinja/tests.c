// The tests behind `is`.
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"

#include <string.h>

typedef enum test_number {
    TEST_BOOLEAN,
    TEST_CALLABLE,
    TEST_DEFINED,
    TEST_DIVISIBLE_BY,
    TEST_EQUAL,
    TEST_ESCAPED,
    TEST_EVEN,
    TEST_FALSE,
    TEST_FILTER,
    TEST_FLOAT,
    TEST_GREATER,
    TEST_GREATER_EQUAL,
    TEST_IN,
    TEST_INTEGER,
    TEST_ITERABLE,
    TEST_LESS,
    TEST_LESS_EQUAL,
    TEST_LOWER,
    TEST_MAPPING,
    TEST_NONE,
    TEST_NOT_EQUAL,
    TEST_NUMBER,
    TEST_ODD,
    TEST_SAME_AS,
    TEST_SEQUENCE,
    TEST_STRING,
    TEST_TEST,
    TEST_TRUE,
    TEST_UNDEFINED,
    TEST_UPPER
} test_number;

static const struct {
    const char *name;
    test_number number;
} tests[] = {
    {"boolean", TEST_BOOLEAN},  {"callable", TEST_CALLABLE},
    {"defined", TEST_DEFINED},  {"divisibleby", TEST_DIVISIBLE_BY},
    {"eq", TEST_EQUAL},         {"equalto", TEST_EQUAL},
    {"==", TEST_EQUAL},         {"escaped", TEST_ESCAPED},
    {"even", TEST_EVEN},        {"false", TEST_FALSE},
    {"filter", TEST_FILTER},    {"float", TEST_FLOAT},
    {"gt", TEST_GREATER},       {"greaterthan", TEST_GREATER},
    {">", TEST_GREATER},        {"ge", TEST_GREATER_EQUAL},
    {">=", TEST_GREATER_EQUAL}, {"in", TEST_IN},
    {"integer", TEST_INTEGER},  {"iterable", TEST_ITERABLE},
    {"lt", TEST_LESS},          {"lessthan", TEST_LESS},
    {"<", TEST_LESS},           {"le", TEST_LESS_EQUAL},
    {"<=", TEST_LESS_EQUAL},    {"lower", TEST_LOWER},
    {"mapping", TEST_MAPPING},  {"none", TEST_NONE},
    {"ne", TEST_NOT_EQUAL},     {"!=", TEST_NOT_EQUAL},
    {"number", TEST_NUMBER},    {"odd", TEST_ODD},
    {"sameas", TEST_SAME_AS},   {"sequence", TEST_SEQUENCE},
    {"string", TEST_STRING},    {"test", TEST_TEST},
    {"true", TEST_TRUE},        {"undefined", TEST_UNDEFINED},
    {"upper", TEST_UPPER},
};

int32_t lr_test_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (strlen(tests[i].name) == length && memcmp(tests[i].name, name, length) == 0)
            return (int32_t)tests[i].number;
    return -1;
}

static lora_status is_remainder(lr_render *render, lr_value value, lr_value divisor, bool zero, bool *out)
{
    lr_value rest;
    LR_TRY(lr_binary(render, LR_MODULO, value, divisor, &rest));
    LR_TRY(lr_equals(render, rest, lr_integer(zero ? 0 : 1), out));
    return LORA_OK;
}

static lora_status is_ordered(lr_render *render, lr_value value, lr_value other, test_number test, bool *out)
{
    static const char *const symbols[] = {
        [TEST_LESS] = "<", [TEST_LESS_EQUAL] = "<=", [TEST_GREATER] = ">", [TEST_GREATER_EQUAL] = ">="};
    int order;
    LR_TRY(lr_compare(render, value, other, symbols[test], &order));
    *out = (test == TEST_LESS && order < 0) || (test == TEST_LESS_EQUAL && order <= 0) ||
           (test == TEST_GREATER && order == 1) || (test == TEST_GREATER_EQUAL && (order == 0 || order == 1));
    return LORA_OK;
}

static bool is_iterable(lr_value value)
{
    return value.kind == LR_STRING || value.kind == LR_SEQUENCE || value.kind == LR_DICT ||
           value.kind == LR_UNDEFINED || value.kind == LR_LOOP;
}

// What has a length and can be indexed.
static bool is_sequence(lr_value value)
{
    if (value.kind == LR_SEQUENCE) return value.sequence->flavor <= LR_TUPLE || value.sequence->flavor == LR_RANGE;
    return value.kind == LR_STRING || value.kind == LR_DICT || value.kind == LR_UNDEFINED;
}

static bool is_same(lr_value a, lr_value b)
{
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case LR_NONE: return true;
    case LR_BOOLEAN: return a.boolean == b.boolean;
    case LR_INTEGER: return a.integer == b.integer;
    case LR_REAL: return false;
    case LR_STRING: return lr_text_equals(a.text, b.text);
    default: return a.sequence == b.sequence;
    }
}

static lora_status has_case(lr_render *render, lr_value value, bool upper, bool *out)
{
    const lr_text *text;
    lr_value result;
    LR_TRY(lr_to_text(render, value, &text));
    LR_TRY(lr_text_is_cased(render, text, upper, &result));
    *out = result.boolean;
    return LORA_OK;
}

static lora_status with_other(lr_render *render, test_number test, lr_value value, lr_value other, bool *out)
{
    switch (test) {
    case TEST_DIVISIBLE_BY: return is_remainder(render, value, other, true, out);
    case TEST_EQUAL: return lr_equals(render, value, other, out);
    case TEST_NOT_EQUAL:
        LR_TRY(lr_equals(render, value, other, out));
        *out = !*out;
        return LORA_OK;
    case TEST_IN: return lr_contains(render, other, value, out);
    case TEST_SAME_AS: *out = is_same(value, other); return LORA_OK;
    default: return is_ordered(render, value, other, test, out);
    }
}

static lora_status alone(lr_render *render, test_number test, lr_value value, bool *out)
{
    switch (test) {
    case TEST_BOOLEAN: *out = value.kind == LR_BOOLEAN; break;
    case TEST_CALLABLE: *out = value.kind == LR_CALLABLE; break;
    case TEST_DEFINED: *out = value.kind != LR_UNDEFINED; break;
    case TEST_ESCAPED: *out = value.kind == LR_STRING && value.text->markup; break;
    case TEST_EVEN: return is_remainder(render, value, lr_integer(2), true, out);
    case TEST_FALSE: *out = value.kind == LR_BOOLEAN && !value.boolean; break;
    case TEST_FILTER: *out = value.kind == LR_STRING && lr_filter_find(value.text->bytes, value.text->size) >= 0; break;
    case TEST_FLOAT: *out = value.kind == LR_REAL; break;
    case TEST_INTEGER: *out = value.kind == LR_INTEGER; break;
    case TEST_ITERABLE: *out = is_iterable(value); break;
    case TEST_LOWER: return has_case(render, value, false, out);
    case TEST_MAPPING: *out = value.kind == LR_DICT; break;
    case TEST_NONE: *out = value.kind == LR_NONE; break;
    case TEST_NUMBER: *out = lr_is_number(value); break;
    case TEST_ODD: return is_remainder(render, value, lr_integer(2), false, out);
    case TEST_SEQUENCE: *out = is_sequence(value); break;
    case TEST_STRING: *out = value.kind == LR_STRING; break;
    case TEST_TEST: *out = value.kind == LR_STRING && lr_test_find(value.text->bytes, value.text->size) >= 0; break;
    case TEST_TRUE: *out = value.kind == LR_BOOLEAN && value.boolean; break;
    case TEST_UNDEFINED: *out = value.kind == LR_UNDEFINED; break;
    default: return has_case(render, value, true, out);
    }
    return LORA_OK;
}

lora_status lr_test_apply(lr_render *render, int32_t test, lr_value value, const lr_arguments *arguments, bool *out)
{
    static const bool takes_one[] = {[TEST_DIVISIBLE_BY] = true,  [TEST_EQUAL] = true,     [TEST_GREATER] = true,
                                     [TEST_GREATER_EQUAL] = true, [TEST_IN] = true,        [TEST_LESS] = true,
                                     [TEST_LESS_EQUAL] = true,    [TEST_NOT_EQUAL] = true, [TEST_SAME_AS] = true,
                                     [TEST_UPPER] = false};
    *out = false;
    if (arguments->count + arguments->keyword_count != takes_one[test])
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a test takes %d arguments and got %zu", takes_one[test],
                             arguments->count + arguments->keyword_count);
    if (!takes_one[test]) return alone(render, (test_number)test, value, out);
    lr_value other = arguments->count ? arguments->values[0] : arguments->keywords[0].value;
    return with_other(render, (test_number)test, value, other, out);
}
