// Expressions, from the weakest binding to the strongest: if-else, or, and, not, comparisons, + -, ~, * / // %, **,
// sign, then what follows a primary (attributes, items, calls, filters, tests).
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"

#include "lib/unicode.h"

#include <string.h>

static lora_status binary_node(lr_parser *parser, lr_node_kind kind, lr_operation operation, lr_node *left,
                               lr_node *right, lr_node **out)
{
    LR_TRY(lr_node_new(parser, kind, out));
    (*out)->operation = (int32_t)operation;
    (*out)->left = left;
    (*out)->right = right;
    return LORA_OK;
}

// ---- literals -----------------------------------------------------------------------------------------------------

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

// A character by number: `digits` of base 16 or up to three of base 8. Returns the bytes read, 0 when it is none.
static size_t numbered(const char *at, const char *end, size_t digits, int base, int32_t *code)
{
    size_t read = 0;
    *code = 0;
    while (read < digits && at + read < end) {
        int digit = hex_digit(at[read]);
        if (digit < 0 || digit >= base) break;
        *code = *code * base + digit;
        read++;
    }
    return base == 8 || read == digits ? read : 0;
}

// What stands for the escape after a backslash: its bytes in `out`, or -1 when the backslash is kept.
static int simple_escape(char c)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *found = c ? strchr(from, c) : NULL;
    return found ? to[found - from] : -1;
}

static lora_status unescape(lr_parser *parser, const lr_token *token, lr_bytes *out)
{
    const char *at = token->bytes, *end = at + token->size;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        if (!escape) escape = end;
        LR_TRY(lr_bytes_append(out, at, (size_t)(escape - at)));
        if (escape == end) break;
        at = escape + 1;
        char c = *at, encoded[4];
        int32_t code = simple_escape(c);
        size_t used = 1, read;
        if (c == '\n') {
            at++;
            continue;
        }
        if (c == 'x' || c == 'u' || c == 'U') {
            read = numbered(at + 1, end, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, &code);
            if (read == 0 || code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
                return lr_parse_fail(parser, LORA_ERROR_FORMAT, "a string holds a broken \\%c escape", c);
            used += read;
        } else if (c >= '0' && c <= '7') {
            used = numbered(at, end, 3, 8, &code);
        }
        if (code < 0) {
            LR_TRY(lr_bytes_append_text(out, "\\"));
            continue;
        }
        LR_TRY(lr_bytes_append(out, encoded, lr_utf8_put(code, encoded)));
        at += used;
    }
    return LORA_OK;
}

// Strings that stand side by side are one.
static lora_status parse_string(lr_parser *parser, lr_node **out)
{
    lr_bytes bytes;
    lora_status status = LORA_OK;
    const lr_text *text = NULL;
    LR_TRY(lr_node_new(parser, LR_NODE_LITERAL, out));
    lr_bytes_init(&bytes, parser->jinja->allocator, parser->jinja->arena.limit);
    while (status == LORA_OK && parser->token->kind == LR_TOKEN_STRING) {
        status = unescape(parser, parser->token, &bytes);
        parser->token++;
    }
    if (status == LORA_OK) status = lr_text_new(&parser->jinja->arena, bytes.data ? bytes.data : "", bytes.size, &text);
    lr_bytes_free(&bytes);
    (*out)->value = lr_of_text(text);
    return status;
}

static lora_status parse_number(lr_parser *parser, lr_node **out)
{
    const lr_text text = {.bytes = parser->token->bytes, .size = parser->token->size, .points = parser->token->size};
    LR_TRY(lr_node_new(parser, LR_NODE_LITERAL, out));
    lr_value *value = &(*out)->value;
    value->kind = parser->token->kind == LR_TOKEN_REAL ? LR_REAL : LR_INTEGER;
    bool understood =
        value->kind == LR_REAL ? lr_text_to_real(&text, &value->real) : lr_text_to_integer(&text, 0, &value->integer);
    if (!understood) return lr_parse_unexpected(parser, "a number of at most 64 bits");
    parser->token++;
    return LORA_OK;
}

static lora_status constant(lr_parser *parser, lr_value value, lr_node **out)
{
    LR_TRY(lr_node_new(parser, LR_NODE_LITERAL, out));
    (*out)->value = value;
    return LORA_OK;
}

static lora_status parse_name_or_constant(lr_parser *parser, lr_node **out)
{
    if (lr_skip_name(parser, "true") || lr_skip_name(parser, "True")) return constant(parser, lr_boolean(true), out);
    if (lr_skip_name(parser, "false") || lr_skip_name(parser, "False")) return constant(parser, lr_boolean(false), out);
    if (lr_skip_name(parser, "none") || lr_skip_name(parser, "None")) return constant(parser, lr_none(), out);
    if (lr_at_name(parser, "varargs")) parser->uses |= LR_USES_VARARGS;
    if (lr_at_name(parser, "kwargs")) parser->uses |= LR_USES_KWARGS;
    if (lr_at_name(parser, "caller")) parser->uses |= LR_USES_CALLER;
    LR_TRY(lr_node_new(parser, LR_NODE_NAME, out));
    return lr_parse_name(parser, &(*out)->name);
}

static lora_status parse_list(lr_parser *parser, lr_node **out)
{
    lr_node_list list = {0};
    LR_TRY(lr_node_new(parser, LR_NODE_LIST, out));
    while (!lr_skip_operator(parser, "]")) {
        lr_node *item;
        if (list.count) {
            LR_TRY(lr_expect_operator(parser, ","));
            if (lr_skip_operator(parser, "]")) break;
        }
        LR_TRY(lr_parse_expression(parser, &item));
        LR_TRY(lr_node_list_add(parser, &list, item));
    }
    (*out)->items = lr_node_list_take(&list);
    return LORA_OK;
}

static lora_status parse_dict(lr_parser *parser, lr_node **out)
{
    lr_node_list list = {0};
    LR_TRY(lr_node_new(parser, LR_NODE_DICT, out));
    while (!lr_skip_operator(parser, "}")) {
        lr_node *key, *value;
        if (list.count) {
            LR_TRY(lr_expect_operator(parser, ","));
            if (lr_skip_operator(parser, "}")) break;
        }
        LR_TRY(lr_parse_expression(parser, &key));
        LR_TRY(lr_expect_operator(parser, ":"));
        LR_TRY(lr_parse_expression(parser, &value));
        LR_TRY(lr_node_list_add(parser, &list, key));
        LR_TRY(lr_node_list_add(parser, &list, value));
    }
    (*out)->items = lr_node_list_take(&list);
    return LORA_OK;
}

static lora_status parse_parenthesised(lr_parser *parser, lr_node **out)
{
    if (lr_skip_operator(parser, ")")) return lr_node_new(parser, LR_NODE_TUPLE, out);
    LR_TRY(lr_parse_tuple(parser, true, out));
    return lr_expect_operator(parser, ")");
}

static lora_status parse_primary(lr_parser *parser, lr_node **out)
{
    switch (parser->token->kind) {
    case LR_TOKEN_NAME: return parse_name_or_constant(parser, out);
    case LR_TOKEN_STRING: return parse_string(parser, out);
    case LR_TOKEN_INTEGER:
    case LR_TOKEN_REAL: return parse_number(parser, out);
    default: break;
    }
    if (lr_skip_operator(parser, "(")) return parse_parenthesised(parser, out);
    if (lr_skip_operator(parser, "[")) return parse_list(parser, out);
    if (lr_skip_operator(parser, "{")) return parse_dict(parser, out);
    return lr_parse_unexpected(parser, "an expression");
}

// ---- what follows a primary ---------------------------------------------------------------------------------------

static lora_status parse_argument(lr_parser *parser, lr_node **out)
{
    bool spread = lr_at_operator(parser, "*"), spread_named = lr_at_operator(parser, "**");
    if (spread || spread_named) {
        LR_TRY(lr_node_new(parser, LR_NODE_SPREAD, out));
        (*out)->operation = spread ? 1 : 2;
        parser->token++;
        return lr_parse_expression(parser, &(*out)->left);
    }
    if (parser->token->kind != LR_TOKEN_NAME || !lr_token_is(parser->token + 1, LR_TOKEN_OPERATOR, "="))
        return lr_parse_expression(parser, out);
    LR_TRY(lr_node_new(parser, LR_NODE_KEYWORD, out));
    LR_TRY(lr_parse_name(parser, &(*out)->name));
    parser->token++;
    return lr_parse_expression(parser, &(*out)->left);
}

// The opening bracket is behind us. Positional arguments come first.
static lora_status parse_arguments(lr_parser *parser, lr_nodes *out)
{
    lr_node_list list = {0};
    bool named = false;
    while (!lr_skip_operator(parser, ")")) {
        lr_node *argument;
        if (list.count) {
            LR_TRY(lr_expect_operator(parser, ","));
            if (lr_skip_operator(parser, ")")) break;
        }
        LR_TRY(parse_argument(parser, &argument));
        bool positional = argument->kind != LR_NODE_KEYWORD && argument->kind != LR_NODE_SPREAD;
        if (positional && named)
            return lr_parse_fail(parser, LORA_ERROR_FORMAT, "a positional argument follows a named one");
        named |= !positional;
        LR_TRY(lr_node_list_add(parser, &list, argument));
    }
    *out = lr_node_list_take(&list);
    return LORA_OK;
}

static lora_status parse_attribute(lr_parser *parser, lr_node *value, lr_node **out)
{
    if (parser->token->kind == LR_TOKEN_INTEGER) {
        LR_TRY(binary_node(parser, LR_NODE_ITEM, 0, value, NULL, out));
        return parse_number(parser, &(*out)->right);
    }
    LR_TRY(binary_node(parser, LR_NODE_ATTRIBUTE, 0, value, NULL, out));
    return lr_parse_name(parser, &(*out)->name);
}

static bool at_slice_end(const lr_parser *parser) { return lr_at_operator(parser, "]") || lr_at_operator(parser, ","); }

static lora_status parse_subscript_part(lr_parser *parser, lr_node **out)
{
    lr_node *start = NULL;
    if (!lr_at_operator(parser, ":")) {
        LR_TRY(lr_parse_expression(parser, &start));
        *out = start;
        if (!lr_at_operator(parser, ":")) return LORA_OK;
    }
    LR_TRY(lr_node_new(parser, LR_NODE_SLICE, out));
    (*out)->left = start;
    parser->token++;
    if (!lr_at_operator(parser, ":") && !at_slice_end(parser)) LR_TRY(lr_parse_expression(parser, &(*out)->right));
    if (lr_skip_operator(parser, ":") && !at_slice_end(parser)) LR_TRY(lr_parse_expression(parser, &(*out)->third));
    return LORA_OK;
}

static lora_status parse_subscript(lr_parser *parser, lr_node *value, lr_node **out)
{
    lr_node *key;
    lr_node_list list = {0};
    do {
        LR_TRY(parse_subscript_part(parser, &key));
        LR_TRY(lr_node_list_add(parser, &list, key));
    } while (lr_skip_operator(parser, ","));
    LR_TRY(lr_expect_operator(parser, "]"));
    if (list.count > 1) {
        LR_TRY(lr_node_new(parser, LR_NODE_TUPLE, &key));
        key->items = lr_node_list_take(&list);
    }
    return binary_node(parser, LR_NODE_ITEM, 0, value, key, out);
}

static lora_status parse_call(lr_parser *parser, lr_node *value, lr_node **out)
{
    LR_TRY(binary_node(parser, LR_NODE_CALL, 0, value, NULL, out));
    return parse_arguments(parser, &(*out)->items);
}

lora_status lr_parse_postfix(lr_parser *parser, lr_node *node, lr_node **out)
{
    for (;;) {
        *out = node;
        if (lr_skip_operator(parser, "."))
            LR_TRY(parse_attribute(parser, node, &node));
        else if (lr_skip_operator(parser, "["))
            LR_TRY(parse_subscript(parser, node, &node));
        else if (lr_skip_operator(parser, "("))
            LR_TRY(parse_call(parser, node, &node));
        else
            return LORA_OK;
    }
}

static lora_status parse_filter(lr_parser *parser, lr_node *value, lr_node **out)
{
    LR_TRY(binary_node(parser, LR_NODE_FILTER, 0, value, NULL, out));
    LR_TRY(lr_parse_name(parser, &(*out)->name));
    (*out)->operation = lr_filter_find((*out)->name->bytes, (*out)->name->size);
    return lr_skip_operator(parser, "(") ? parse_arguments(parser, &(*out)->items) : LORA_OK;
}

lora_status lr_parse_filters(lr_parser *parser, lr_node **out)
{
    *out = NULL;
    do LR_TRY(parse_filter(parser, *out, out));
    while (lr_skip_operator(parser, "|"));
    return LORA_OK;
}

// The single argument that a test may take without brackets: `x is divisibleby 3`.
static bool at_bare_argument(const lr_parser *parser)
{
    lr_token_kind kind = parser->token->kind;
    if (kind == LR_TOKEN_NAME)
        return !lr_at_name(parser, "else") && !lr_at_name(parser, "or") && !lr_at_name(parser, "and");
    if (kind == LR_TOKEN_STRING || kind == LR_TOKEN_INTEGER || kind == LR_TOKEN_REAL) return true;
    return lr_at_operator(parser, "[") || lr_at_operator(parser, "{");
}

static lora_status parse_bare_argument(lr_parser *parser, lr_nodes *out)
{
    lr_node *argument;
    lr_node_list list = {0};
    if (lr_at_name(parser, "is")) return lr_parse_fail(parser, LORA_ERROR_FORMAT, "tests can't be chained with 'is'");
    LR_TRY(parse_primary(parser, &argument));
    LR_TRY(lr_parse_postfix(parser, argument, &argument));
    LR_TRY(lr_node_list_add(parser, &list, argument));
    *out = lr_node_list_take(&list);
    return LORA_OK;
}

static lora_status parse_test(lr_parser *parser, lr_node *value, lr_node **out)
{
    bool negated = lr_skip_name(parser, "not");
    lr_node *test;
    LR_TRY(binary_node(parser, LR_NODE_TEST, 0, value, NULL, &test));
    LR_TRY(lr_parse_name(parser, &test->name));
    test->operation = lr_test_find(test->name->bytes, test->name->size);
    if (lr_skip_operator(parser, "("))
        LR_TRY(parse_arguments(parser, &test->items));
    else if (at_bare_argument(parser))
        LR_TRY(parse_bare_argument(parser, &test->items));
    *out = test;
    return negated ? binary_node(parser, LR_NODE_NOT, 0, test, NULL, out) : LORA_OK;
}

static lora_status parse_filters_and_tests(lr_parser *parser, lr_node *node, lr_node **out)
{
    for (;;) {
        *out = node;
        if (lr_skip_operator(parser, "|"))
            LR_TRY(parse_filter(parser, node, &node));
        else if (lr_skip_name(parser, "is"))
            LR_TRY(parse_test(parser, node, &node));
        else if (lr_skip_operator(parser, "("))
            LR_TRY(parse_call(parser, node, &node));
        else
            return LORA_OK;
    }
}

// ---- operators ----------------------------------------------------------------------------------------------------

lora_status lr_parse_unary(lr_parser *parser, bool with_filter, lr_node **out)
{
    lr_node *node;
    LR_TRY(lr_parse_enter(parser));
    bool minus = lr_at_operator(parser, "-");
    if (minus || lr_at_operator(parser, "+")) {
        LR_TRY(lr_node_new(parser, LR_NODE_UNARY, &node));
        node->operation = minus ? LR_NEGATE : LR_POSITIVE;
        parser->token++;
        LR_TRY(lr_parse_unary(parser, false, &node->left));
    } else {
        LR_TRY(parse_primary(parser, &node));
    }
    LR_TRY(lr_parse_postfix(parser, node, &node));
    if (with_filter) LR_TRY(parse_filters_and_tests(parser, node, &node));
    parser->depth--;
    *out = node;
    return LORA_OK;
}

typedef struct operator_name {
    const char *text;
    lr_operation operation;
} operator_name;

static bool skip_one_of(lr_parser *parser, const operator_name *operators, size_t count, lr_operation *out)
{
    for (size_t i = 0; i < count; i++) {
        if (!lr_skip_operator(parser, operators[i].text)) continue;
        *out = operators[i].operation;
        return true;
    }
    return false;
}

static lora_status parse_power(lr_parser *parser, lr_node **out)
{
    lr_node *node, *right;
    LR_TRY(lr_parse_unary(parser, true, &node));
    while (lr_skip_operator(parser, "**")) {
        LR_TRY(lr_parse_unary(parser, true, &right));
        LR_TRY(binary_node(parser, LR_NODE_BINARY, LR_POWER, node, right, &node));
    }
    *out = node;
    return LORA_OK;
}

static lora_status parse_product(lr_parser *parser, lr_node **out)
{
    static const operator_name products[] = {
        {"*", LR_MULTIPLY}, {"/", LR_DIVIDE}, {"//", LR_FLOOR_DIVIDE}, {"%", LR_MODULO}};
    lr_node *node, *right;
    lr_operation operation;
    LR_TRY(parse_power(parser, &node));
    while (skip_one_of(parser, products, 4, &operation)) {
        LR_TRY(parse_power(parser, &right));
        LR_TRY(binary_node(parser, LR_NODE_BINARY, operation, node, right, &node));
    }
    *out = node;
    return LORA_OK;
}

static lora_status parse_concatenation(lr_parser *parser, lr_node **out)
{
    lr_node *node;
    lr_node_list list = {0};
    LR_TRY(parse_product(parser, out));
    if (!lr_at_operator(parser, "~")) return LORA_OK;
    LR_TRY(lr_node_list_add(parser, &list, *out));
    while (lr_skip_operator(parser, "~")) {
        LR_TRY(parse_product(parser, &node));
        LR_TRY(lr_node_list_add(parser, &list, node));
    }
    LR_TRY(lr_node_new(parser, LR_NODE_CONCATENATE, out));
    (*out)->items = lr_node_list_take(&list);
    return LORA_OK;
}

static lora_status parse_sum(lr_parser *parser, lr_node **out)
{
    static const operator_name sums[] = {{"+", LR_ADD}, {"-", LR_SUBTRACT}};
    lr_node *node, *right;
    lr_operation operation;
    LR_TRY(parse_concatenation(parser, &node));
    while (skip_one_of(parser, sums, 2, &operation)) {
        LR_TRY(parse_concatenation(parser, &right));
        LR_TRY(binary_node(parser, LR_NODE_BINARY, operation, node, right, &node));
    }
    *out = node;
    return LORA_OK;
}

static bool skip_comparison(lr_parser *parser, lr_operation *out)
{
    static const operator_name comparisons[] = {{"==", LR_EQUAL},      {"!=", LR_NOT_EQUAL}, {"<", LR_LESS},
                                                {"<=", LR_LESS_EQUAL}, {">", LR_GREATER},    {">=", LR_GREATER_EQUAL}};
    *out = LR_IN;
    if (skip_one_of(parser, comparisons, 6, out) || lr_skip_name(parser, "in")) return true;
    if (!lr_at_name(parser, "not") || !lr_token_is(parser->token + 1, LR_TOKEN_NAME, "in")) return false;
    parser->token += 2;
    *out = LR_NOT_IN;
    return true;
}

static lora_status parse_comparison(lr_parser *parser, lr_node **out)
{
    lr_node *node, *comparand;
    lr_operation operation;
    lr_node_list list = {0};
    LR_TRY(parse_sum(parser, &node));
    while (skip_comparison(parser, &operation)) {
        LR_TRY(binary_node(parser, LR_NODE_COMPARAND, operation, NULL, NULL, &comparand));
        LR_TRY(parse_sum(parser, &comparand->left));
        LR_TRY(lr_node_list_add(parser, &list, comparand));
    }
    *out = node;
    if (list.count == 0) return LORA_OK;
    LR_TRY(binary_node(parser, LR_NODE_COMPARE, 0, node, NULL, out));
    (*out)->items = lr_node_list_take(&list);
    return LORA_OK;
}

static lora_status parse_not(lr_parser *parser, lr_node **out)
{
    if (!lr_at_name(parser, "not")) return parse_comparison(parser, out);
    LR_TRY(lr_parse_enter(parser));
    LR_TRY(lr_node_new(parser, LR_NODE_NOT, out));
    parser->token++;
    LR_TRY(parse_not(parser, &(*out)->left));
    parser->depth--;
    return LORA_OK;
}

static lora_status parse_and(lr_parser *parser, lr_node **out)
{
    lr_node *node, *right;
    LR_TRY(parse_not(parser, &node));
    while (lr_skip_name(parser, "and")) {
        LR_TRY(parse_not(parser, &right));
        LR_TRY(binary_node(parser, LR_NODE_AND, 0, node, right, &node));
    }
    *out = node;
    return LORA_OK;
}

lora_status lr_parse_or(lr_parser *parser, lr_node **out)
{
    lr_node *node, *right;
    LR_TRY(parse_and(parser, &node));
    while (lr_skip_name(parser, "or")) {
        LR_TRY(parse_and(parser, &right));
        LR_TRY(binary_node(parser, LR_NODE_OR, 0, node, right, &node));
    }
    *out = node;
    return LORA_OK;
}

lora_status lr_parse_expression(lr_parser *parser, lr_node **out)
{
    lr_node *node;
    LR_TRY(lr_parse_enter(parser));
    LR_TRY(lr_parse_or(parser, &node));
    while (lr_skip_name(parser, "if")) {
        lr_node *condition;
        LR_TRY(lr_parse_or(parser, &condition));
        LR_TRY(binary_node(parser, LR_NODE_CONDITIONAL, 0, node, condition, &node));
        if (lr_skip_name(parser, "else")) LR_TRY(lr_parse_expression(parser, &node->third));
    }
    parser->depth--;
    *out = node;
    return LORA_OK;
}

// ---- tuples and targets -------------------------------------------------------------------------------------------

static bool at_tuple_end(const lr_parser *parser)
{
    lr_token_kind kind = parser->token->kind;
    return kind == LR_TOKEN_OUTPUT_END || kind == LR_TOKEN_BLOCK_END || lr_at_operator(parser, ")") ||
           lr_at_name(parser, "in") || lr_at_name(parser, "recursive");
}

// Items with commas between them: one without a comma stands for itself.
static lora_status parse_items(lr_parser *parser, lora_status (*parse)(lr_parser *, lr_node **), lr_node **out)
{
    lr_node_list list = {0};
    lr_node *item;
    LR_TRY(parse(parser, out));
    if (!lr_at_operator(parser, ",")) return LORA_OK;
    LR_TRY(lr_node_list_add(parser, &list, *out));
    while (lr_skip_operator(parser, ",") && !at_tuple_end(parser)) {
        LR_TRY(parse(parser, &item));
        LR_TRY(lr_node_list_add(parser, &list, item));
    }
    LR_TRY(lr_node_new(parser, LR_NODE_TUPLE, out));
    (*out)->items = lr_node_list_take(&list);
    return LORA_OK;
}

lora_status lr_parse_tuple(lr_parser *parser, bool conditional, lr_node **out)
{
    return parse_items(parser, conditional ? lr_parse_expression : lr_parse_or, out);
}

static lora_status parse_target_item(lr_parser *parser, lr_node **out)
{
    if (lr_skip_operator(parser, "(")) {
        LR_TRY(lr_parse_enter(parser));
        LR_TRY(parse_items(parser, parse_target_item, out));
        parser->depth--;
        return lr_expect_operator(parser, ")");
    }
    LR_TRY(parse_name_or_constant(parser, out));
    if ((*out)->kind != LR_NODE_NAME) return lr_parse_fail(parser, LORA_ERROR_FORMAT, "can't assign to a constant");
    return LORA_OK;
}

lora_status lr_parse_target(lr_parser *parser, bool with_member, lr_node **out)
{
    lr_node *name;
    if (with_member && parser->token->kind == LR_TOKEN_NAME && lr_token_is(parser->token + 1, LR_TOKEN_OPERATOR, ".")) {
        LR_TRY(lr_node_new(parser, LR_NODE_NAME, &name));
        LR_TRY(lr_parse_name(parser, &name->name));
        parser->token++;
        LR_TRY(binary_node(parser, LR_NODE_MEMBER, 0, NULL, name, out));
        return lr_parse_name(parser, &(*out)->name);
    }
    return parse_items(parser, parse_target_item, out);
}
