// Expressions at run time.
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"

#include <math.h>
#include <string.h>

// ---- arithmetic ---------------------------------------------------------------------------------------------------

static lora_status fail_operands(lr_render *render, const char *operation, lr_value left, lr_value right)
{
    if (left.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, left);
    if (right.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, right);
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "unsupported operand types for %s: '%s' and '%s'", operation,
                         lr_type_name(left), lr_type_name(right));
}

static lora_status fail_overflow(lr_render *render)
{
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a whole number has more than 64 bits");
}

// Text and markup: the one that is not markup is escaped.
static lora_status add_texts(lr_render *render, const lr_text *left, const lr_text *right, lr_value *out)
{
    lr_value escaped;
    bool markup = left->markup || right->markup;
    if (markup && !left->markup) {
        LR_TRY(lr_text_escape(render, left, &escaped));
        left = escaped.text;
    }
    if (markup && !right->markup) {
        LR_TRY(lr_text_escape(render, right, &escaped));
        right = escaped.text;
    }
    const lr_text *const parts[] = {left, right};
    LR_TRY(lr_string_join(render, parts, 2, out));
    return markup ? lr_string_part(render, out->text->bytes, out->text->size, true, out) : LORA_OK;
}

static lora_status add_sequences(lr_render *render, const lr_sequence *left, const lr_sequence *right, lr_value *out)
{
    lr_sequence *sum;
    LR_TRY(lr_sequence_new(render, left->flavor, left->count + right->count, &sum));
    if (left->count) memcpy(sum->items, left->items, left->count * sizeof(lr_value));
    if (right->count) memcpy(sum->items + left->count, right->items, right->count * sizeof(lr_value));
    *out = lr_of_sequence(sum);
    return LORA_OK;
}

static lora_status repeat_sequence(lr_render *render, const lr_sequence *sequence, int64_t times, lr_value *out)
{
    lr_sequence *repeated;
    uint64_t count;
    if (times < 0) times = 0;
    if (!lr_multiply(sequence->count, (uint64_t)times, &count)) return fail_overflow(render);
    LR_TRY(lr_sequence_new(render, sequence->flavor, (size_t)count, &repeated));
    for (size_t i = 0; i < count; i++) repeated->items[i] = sequence->items[i % sequence->count];
    *out = lr_of_sequence(repeated);
    return LORA_OK;
}

static bool is_plain_sequence(lr_value value)
{
    return value.kind == LR_SEQUENCE && value.sequence->flavor <= LR_TUPLE;
}

// Python rounds towards minus infinity, C towards zero.
static lora_status divide_whole(lr_render *render, lr_operation operation, int64_t a, int64_t b, lr_value *out)
{
    if (a == INT64_MIN && b == -1) return fail_overflow(render);
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = lr_integer(operation == LR_MODULO ? rest : quotient);
    return LORA_OK;
}

static lora_status power_whole(lr_render *render, int64_t base, int64_t exponent, lr_value *out)
{
    int64_t result = 1;
    for (int64_t i = 0; i < exponent; i++) {
        if (base == 0 || base == 1 || base == -1) {
            result = base == -1 && exponent % 2 == 0 ? 1 : base;
            break;
        }
        if (__builtin_mul_overflow(result, base, &result)) return fail_overflow(render);
    }
    *out = lr_integer(result);
    return LORA_OK;
}

static lora_status whole_arithmetic(lr_render *render, lr_operation operation, int64_t a, int64_t b, lr_value *out)
{
    int64_t result = 0;
    bool overflow = false;
    switch (operation) {
    case LR_ADD: overflow = __builtin_add_overflow(a, b, &result); break;
    case LR_SUBTRACT: overflow = __builtin_sub_overflow(a, b, &result); break;
    case LR_MULTIPLY: overflow = __builtin_mul_overflow(a, b, &result); break;
    case LR_DIVIDE: *out = lr_real((double)a / (double)b); return LORA_OK;
    case LR_POWER:
        if (b >= 0) return power_whole(render, a, b, out);
        *out = lr_real(pow((double)a, (double)b));
        return LORA_OK;
    default: return divide_whole(render, operation, a, b, out);
    }
    if (overflow) return fail_overflow(render);
    *out = lr_integer(result);
    return LORA_OK;
}

static double real_arithmetic(lr_operation operation, double a, double b)
{
    double rest;
    switch (operation) {
    case LR_ADD: return a + b;
    case LR_SUBTRACT: return a - b;
    case LR_MULTIPLY: return a * b;
    case LR_DIVIDE: return a / b;
    case LR_POWER: return pow(a, b);
    default: break;
    }
    rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
    if (operation == LR_MODULO) return rest == 0 ? copysign(0, b) : rest;
    return floor((a - rest) / b + 0.5);
}

static bool divides(lr_operation operation)
{
    return operation == LR_DIVIDE || operation == LR_FLOOR_DIVIDE || operation == LR_MODULO;
}

static lora_status number_arithmetic(lr_render *render, lr_operation operation, lr_value left, lr_value right,
                                     lr_value *out)
{
    if (divides(operation) && lr_number(right) == 0)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "division by zero");
    if (operation == LR_POWER && lr_number(left) == 0 && lr_number(right) < 0)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "0 can't be raised to a negative power");
    if (lr_is_whole(left) && lr_is_whole(right))
        return whole_arithmetic(render, operation, lr_whole(left), lr_whole(right), out);
    *out = lr_real(real_arithmetic(operation, lr_number(left), lr_number(right)));
    return LORA_OK;
}

lora_status lr_binary(lr_render *render, lr_operation operation, lr_value left, lr_value right, lr_value *out)
{
    static const char *const symbols[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (lr_is_number(left) && lr_is_number(right)) return number_arithmetic(render, operation, left, right, out);
    if (operation == LR_ADD && left.kind == LR_STRING && right.kind == LR_STRING)
        return add_texts(render, left.text, right.text, out);
    if (operation == LR_ADD && is_plain_sequence(left) && is_plain_sequence(right) &&
        left.sequence->flavor == right.sequence->flavor)
        return add_sequences(render, left.sequence, right.sequence, out);
    if (operation == LR_MODULO && left.kind == LR_STRING && right.kind != LR_UNDEFINED)
        return lr_text_percent(render, left.text, right, out);
    if (operation == LR_MULTIPLY) {
        lr_value times = lr_is_whole(left) ? left : right, repeated = lr_is_whole(left) ? right : left;
        if (lr_is_whole(times) && repeated.kind == LR_STRING)
            return lr_text_repeat(render, repeated.text, lr_whole(times), out);
        if (lr_is_whole(times) && is_plain_sequence(repeated))
            return repeat_sequence(render, repeated.sequence, lr_whole(times), out);
    }
    return fail_operands(render, symbols[operation], left, right);
}

lora_status lr_unary(lr_render *render, lr_operation operation, lr_value value, lr_value *out)
{
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (!lr_is_number(value))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "bad operand type for unary %s: '%s'",
                             operation == LR_NEGATE ? "-" : "+", lr_type_name(value));
    if (operation == LR_POSITIVE)
        *out = value.kind == LR_BOOLEAN ? lr_integer(value.boolean) : value;
    else if (value.kind == LR_REAL)
        *out = lr_real(-value.real);
    else if (lr_whole(value) == INT64_MIN)
        return fail_overflow(render);
    else
        *out = lr_integer(-lr_whole(value));
    return LORA_OK;
}

// ---- comparisons --------------------------------------------------------------------------------------------------

static lora_status compare_once(lr_render *render, lr_operation operation, lr_value left, lr_value right, bool *out)
{
    static const char *const symbols[] = {
        [LR_LESS] = "<", [LR_LESS_EQUAL] = "<=", [LR_GREATER] = ">", [LR_GREATER_EQUAL] = ">="};
    int order;
    switch (operation) {
    case LR_EQUAL: return lr_equals(render, left, right, out);
    case LR_NOT_EQUAL:
        LR_TRY(lr_equals(render, left, right, out));
        *out = !*out;
        return LORA_OK;
    case LR_IN: return lr_contains(render, right, left, out);
    case LR_NOT_IN:
        LR_TRY(lr_contains(render, right, left, out));
        *out = !*out;
        return LORA_OK;
    default: break;
    }
    LR_TRY(lr_compare(render, left, right, symbols[operation], &order));
    *out = (operation == LR_LESS && order < 0) || (operation == LR_LESS_EQUAL && order <= 0) ||
           (operation == LR_GREATER && order == 1) || (operation == LR_GREATER_EQUAL && (order == 0 || order == 1));
    return LORA_OK;
}

// a < b < c: each neighbours' comparison must hold; stops at the first that does not.
static lora_status evaluate_comparison(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value left, right;
    bool holds = true;
    LR_TRY(lr_evaluate(render, node->left, &left));
    for (size_t i = 0; i < node->items.count && holds; i++) {
        const lr_node *comparand = node->items.items[i];
        LR_TRY(lr_evaluate(render, comparand->left, &right));
        LR_TRY(compare_once(render, (lr_operation)comparand->operation, left, right, &holds));
        left = right;
    }
    *out = lr_boolean(holds);
    return LORA_OK;
}

// ---- collections --------------------------------------------------------------------------------------------------

static lora_status evaluate_items(lr_render *render, const lr_node *node, lr_flavor flavor, lr_value *out)
{
    lr_sequence *sequence;
    LR_TRY(lr_sequence_new(render, flavor, node->items.count, &sequence));
    for (size_t i = 0; i < sequence->count; i++) LR_TRY(lr_evaluate(render, node->items.items[i], &sequence->items[i]));
    *out = lr_of_sequence(sequence);
    return LORA_OK;
}

static lora_status evaluate_dict(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_dict *dict;
    LR_TRY(lr_dict_new(render, node->items.count / 2, &dict));
    for (size_t i = 0; i < node->items.count; i += 2) {
        lr_value key, value;
        LR_TRY(lr_evaluate(render, node->items.items[i], &key));
        LR_TRY(lr_evaluate(render, node->items.items[i + 1], &value));
        LR_TRY(lr_dict_put(render, dict, key, value));
    }
    *out = lr_of_dict(dict);
    return LORA_OK;
}

static lora_status evaluate_concatenation(lr_render *render, const lr_node *node, lr_value *out)
{
    void *memory;
    LR_TRY(lr_arena_take(&render->arena, node->items.count, sizeof(lr_text *), &memory));
    const lr_text **parts = memory;
    for (size_t i = 0; i < node->items.count; i++) {
        lr_value value;
        LR_TRY(lr_evaluate(render, node->items.items[i], &value));
        LR_TRY(lr_to_text(render, value, &parts[i]));
    }
    return lr_string_join(render, parts, node->items.count, out);
}

static lora_status evaluate_part(lr_render *render, const lr_node *node, lr_value *out)
{
    *out = lr_none();
    return node ? lr_evaluate(render, node, out) : LORA_OK;
}

static lora_status evaluate_item(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value value, key, stop, step;
    LR_TRY(lr_evaluate(render, node->left, &value));
    if (node->right->kind != LR_NODE_SLICE) {
        LR_TRY(lr_evaluate(render, node->right, &key));
        return lr_get_item(render, value, key, out);
    }
    LR_TRY(evaluate_part(render, node->right->left, &key));
    LR_TRY(evaluate_part(render, node->right->right, &stop));
    LR_TRY(evaluate_part(render, node->right->third, &step));
    return lr_get_slice(render, value, key, stop, step, out);
}

// ---- calls, filters, tests ----------------------------------------------------------------------------------------

typedef struct argument_list {
    lr_value *values;
    lr_binding_value *keywords;
    size_t count, keyword_count;
} argument_list;

static lora_status count_arguments(lr_render *render, const lr_nodes *nodes, const lr_value *spread, size_t *positional,
                                   size_t *named)
{
    *positional = *named = 0;
    for (size_t i = 0; i < nodes->count; i++) {
        const lr_node *node = nodes->items[i];
        if (node->kind == LR_NODE_KEYWORD) {
            ++*named;
        } else if (node->kind != LR_NODE_SPREAD) {
            ++*positional;
        } else if (node->operation == 1) {
            const lr_value *items;
            size_t count;
            LR_TRY(lr_items_of(render, spread[i], &items, &count));
            *positional += count;
        } else if (spread[i].kind == LR_DICT) {
            *named += spread[i].dict->count;
        } else {
            return lr_jinja_fail(render, LORA_ERROR_FORMAT, "what follows ** must be a dict, not %s",
                                 lr_type_name(spread[i]));
        }
    }
    return LORA_OK;
}

static lora_status add_spread(lr_render *render, const lr_node *node, lr_value value, argument_list *list)
{
    const lr_value *items;
    size_t count;
    LR_TRY(lr_items_of(render, value, &items, &count));
    if (node->operation == 1) {
        if (count) memcpy(list->values + list->count, items, count * sizeof(lr_value));
        list->count += count;
        return LORA_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != LR_STRING) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "keywords must be strings");
        list->keywords[list->keyword_count++] = (lr_binding_value){items[i].text, value.dict->pairs[i].value};
    }
    return LORA_OK;
}

static lora_status evaluate_arguments(lr_render *render, const lr_nodes *nodes, lr_arguments *out)
{
    void *memory, *values = NULL, *keywords = NULL;
    size_t positional, named;
    *out = (lr_arguments){0};
    if (nodes->count == 0) return LORA_OK;
    LR_TRY(lr_arena_take(&render->arena, nodes->count, sizeof(lr_value), &memory));
    lr_value *given = memory;
    for (size_t i = 0; i < nodes->count; i++) {
        const lr_node *node = nodes->items[i];
        bool wrapped = node->kind == LR_NODE_KEYWORD || node->kind == LR_NODE_SPREAD;
        LR_TRY(lr_evaluate(render, wrapped ? node->left : node, &given[i]));
    }
    LR_TRY(count_arguments(render, nodes, given, &positional, &named));
    if (positional) LR_TRY(lr_arena_take(&render->arena, positional, sizeof(lr_value), &values));
    if (named) LR_TRY(lr_arena_take(&render->arena, named, sizeof(lr_binding_value), &keywords));
    argument_list list = {.values = values, .keywords = keywords};
    for (size_t i = 0; i < nodes->count; i++) {
        const lr_node *node = nodes->items[i];
        if (node->kind == LR_NODE_SPREAD)
            LR_TRY(add_spread(render, node, given[i], &list));
        else if (node->kind == LR_NODE_KEYWORD)
            list.keywords[list.keyword_count++] = (lr_binding_value){node->name, given[i]};
        else
            list.values[list.count++] = given[i];
    }
    *out = (lr_arguments){list.values, list.count, list.keywords, list.keyword_count};
    return LORA_OK;
}

static lora_status evaluate_call(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value callable;
    lr_arguments arguments;
    LR_TRY(lr_evaluate(render, node->left, &callable));
    if (callable.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, callable);
    LR_TRY(evaluate_arguments(render, &node->items, &arguments));
    render->line = node->line;
    return lr_call(render, callable, &arguments, out);
}

static lora_status apply_filter(lr_render *render, const lr_node *node, lr_value value, lr_value *out)
{
    lr_arguments arguments;
    if (node->operation < 0)
        return lr_jinja_fail(render, LORA_ERROR_UNSUPPORTED, "no filter named '%.*s'", (int)node->name->size,
                             node->name->bytes);
    LR_TRY(evaluate_arguments(render, &node->items, &arguments));
    render->line = node->line;
    return lr_filter_apply(render, node->operation, value, &arguments, out);
}

static lora_status evaluate_filter(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value value;
    LR_TRY(lr_evaluate(render, node->left, &value));
    return apply_filter(render, node, value, out);
}

lora_status lr_evaluate_filters(lr_render *render, const lr_node *filters, lr_value input, lr_value *out)
{
    if (!filters) {
        *out = input;
        return LORA_OK;
    }
    lr_value value;
    LR_TRY(lr_jinja_enter(render));
    lora_status status = lr_evaluate_filters(render, filters->left, input, &value);
    render->depth--;
    return status == LORA_OK ? apply_filter(render, filters, value, out) : status;
}

static lora_status evaluate_test(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value value;
    lr_arguments arguments;
    bool holds;
    if (node->operation < 0)
        return lr_jinja_fail(render, LORA_ERROR_UNSUPPORTED, "no test named '%.*s'", (int)node->name->size,
                             node->name->bytes);
    LR_TRY(lr_evaluate(render, node->left, &value));
    LR_TRY(evaluate_arguments(render, &node->items, &arguments));
    LR_TRY(lr_test_apply(render, node->operation, value, &arguments, &holds));
    *out = lr_boolean(holds);
    return LORA_OK;
}

// ---- the rest -----------------------------------------------------------------------------------------------------

// `and` and `or` give one of their operands.
static lora_status evaluate_logic(lr_render *render, const lr_node *node, lr_value *out)
{
    LR_TRY(lr_evaluate(render, node->left, out));
    if (lr_truth(*out) != (node->kind == LR_NODE_AND)) return LORA_OK;
    return lr_evaluate(render, node->right, out);
}

static lora_status evaluate_conditional(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value condition;
    LR_TRY(lr_evaluate(render, node->right, &condition));
    if (lr_truth(condition)) return lr_evaluate(render, node->left, out);
    if (node->third) return lr_evaluate(render, node->third, out);
    return lr_undefined(render, out, "an inline if was false and has no else");
}

static lora_status evaluate_binary(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value left, right;
    LR_TRY(lr_evaluate(render, node->left, &left));
    LR_TRY(lr_evaluate(render, node->right, &right));
    render->line = node->line;
    return lr_binary(render, (lr_operation)node->operation, left, right, out);
}

static lora_status evaluate_inner(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value value;
    LR_TRY(lr_evaluate(render, node->left, &value));
    if (node->kind == LR_NODE_UNARY) return lr_unary(render, (lr_operation)node->operation, value, out);
    if (node->kind == LR_NODE_ATTRIBUTE) return lr_get_attribute(render, value, node->name, out);
    *out = lr_boolean(!lr_truth(value));
    return LORA_OK;
}

static lora_status evaluate_node(lr_render *render, const lr_node *node, lr_value *out)
{
    render->line = node->line;
    switch (node->kind) {
    case LR_NODE_LITERAL: *out = node->value; return LORA_OK;
    case LR_NODE_NAME: return lr_find_variable(render, node->name, out);
    case LR_NODE_TUPLE: return evaluate_items(render, node, LR_TUPLE, out);
    case LR_NODE_LIST: return evaluate_items(render, node, LR_LIST, out);
    case LR_NODE_DICT: return evaluate_dict(render, node, out);
    case LR_NODE_CONCATENATE: return evaluate_concatenation(render, node, out);
    case LR_NODE_BINARY: return evaluate_binary(render, node, out);
    case LR_NODE_AND:
    case LR_NODE_OR: return evaluate_logic(render, node, out);
    case LR_NODE_COMPARE: return evaluate_comparison(render, node, out);
    case LR_NODE_CONDITIONAL: return evaluate_conditional(render, node, out);
    case LR_NODE_ITEM: return evaluate_item(render, node, out);
    case LR_NODE_CALL: return evaluate_call(render, node, out);
    case LR_NODE_FILTER: return evaluate_filter(render, node, out);
    case LR_NODE_TEST: return evaluate_test(render, node, out);
    case LR_NODE_UNARY:
    case LR_NODE_NOT:
    case LR_NODE_ATTRIBUTE: return evaluate_inner(render, node, out);
    default: return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a slice stands outside of a subscript");
    }
}

lora_status lr_evaluate(lr_render *render, const lr_node *node, lr_value *out)
{
    LR_TRY(lr_jinja_charge(render, 1));
    LR_TRY(lr_jinja_enter(render));
    lora_status status = evaluate_node(render, node, out);
    render->depth--;
    return status;
}
