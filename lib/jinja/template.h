// A compiled template: tokens on the way, a tree in the end.
#ifndef LR_JINJA_TEMPLATE_H
#define LR_JINJA_TEMPLATE_H

#include "lib/jinja.h"
#include "lib/jinja/value.h"

typedef enum lr_token_kind {
    LR_TOKEN_DATA,
    LR_TOKEN_BLOCK_BEGIN,
    LR_TOKEN_BLOCK_END,
    LR_TOKEN_OUTPUT_BEGIN,
    LR_TOKEN_OUTPUT_END,
    LR_TOKEN_NAME,
    LR_TOKEN_STRING, // the bytes between the quotes, escapes and all
    LR_TOKEN_INTEGER,
    LR_TOKEN_REAL,
    LR_TOKEN_OPERATOR,
    LR_TOKEN_STOP
} lr_token_kind;

typedef struct lr_token {
    lr_token_kind kind;
    int32_t line;
    const char *bytes; // in the source
    size_t size;
} lr_token;

typedef struct lr_tokens {
    lr_token *items;
    size_t count, capacity;
} lr_tokens;

// `source` has "\n" line ends. The tokens end with STOP.
lora_status lr_jinja_lex(const lora_allocator *allocator, const char *name, const char *source, size_t length,
                         lr_tokens *out);

// What a node's fields hold, by kind; those not named are empty.
typedef enum lr_node_kind {
    // expressions
    LR_NODE_LITERAL,     // value
    LR_NODE_NAME,        // name
    LR_NODE_TUPLE,       // items
    LR_NODE_LIST,        // items
    LR_NODE_DICT,        // items: key, value, key, value, ...
    LR_NODE_CONCATENATE, // items
    LR_NODE_BINARY,      // operation, left, right
    LR_NODE_UNARY,       // operation, left
    LR_NODE_AND,         // left, right
    LR_NODE_OR,          // left, right
    LR_NODE_NOT,         // left
    LR_NODE_COMPARE,     // left, items: COMPARAND
    LR_NODE_COMPARAND,   // operation, left
    LR_NODE_CONDITIONAL, // left if right else third (or NULL)
    LR_NODE_ATTRIBUTE,   // left, name
    LR_NODE_ITEM,        // left, right
    LR_NODE_SLICE,       // left : right : third, each or NULL
    LR_NODE_CALL,        // left, items: arguments
    LR_NODE_FILTER,      // left (NULL: the captured text), name, operation: its number, items: arguments
    LR_NODE_TEST,        // left, name, operation, items: arguments
    LR_NODE_KEYWORD,     // name, left: an argument by name
    LR_NODE_SPREAD,      // operation 1: *left, 2: **left
    LR_NODE_MEMBER,      // name, right: NAME, an attribute of a namespace as a target
    // statements
    LR_NODE_DATA,         // value
    LR_NODE_OUTPUT,       // left
    LR_NODE_IF,           // left: condition, items: body, third: another IF, a BODY or NULL
    LR_NODE_FOR,          // left: target, right: iterable, third: condition or NULL, items: body, other: else
    LR_NODE_SET,          // left: target, right
    LR_NODE_SET_BLOCK,    // left: target, right: FILTERs or NULL, items: body
    LR_NODE_MACRO,        // name, parameters, items: body, operation: LR_USES_
    LR_NODE_CALL_BLOCK,   // left: the call, right: MACRO
    LR_NODE_FILTER_BLOCK, // right: FILTERs, items: body
    LR_NODE_WITH,         // parameters (name, left), items: body
    LR_NODE_BODY,         // items
    LR_NODE_BREAK,
    LR_NODE_CONTINUE
} lr_node_kind;

typedef enum lr_operation {
    LR_ADD,
    LR_SUBTRACT,
    LR_MULTIPLY,
    LR_DIVIDE,
    LR_FLOOR_DIVIDE,
    LR_MODULO,
    LR_POWER,
    LR_NEGATE,
    LR_POSITIVE,
    LR_EQUAL,
    LR_NOT_EQUAL,
    LR_LESS,
    LR_LESS_EQUAL,
    LR_GREATER,
    LR_GREATER_EQUAL,
    LR_IN,
    LR_NOT_IN
} lr_operation;

// Names with a meaning of their own inside a macro, where it mentions them.
enum { LR_USES_VARARGS = 1, LR_USES_KWARGS = 2, LR_USES_CALLER = 4 };

typedef struct lr_nodes {
    lr_node **items;
    size_t count;
} lr_nodes;

struct lr_node {
    lr_node_kind kind;
    int32_t line;
    int32_t operation;
    const lr_text *name;
    lr_value value;
    lr_node *left, *right, *third;
    lr_nodes items, other, parameters; // parameters: KEYWORD nodes, left NULL where there is no default
};

struct lr_jinja {
    const lora_allocator *allocator;
    char *name;
    lr_arena arena;
    lr_nodes body;
};

// ---- parser.c and expression.c ------------------------------------------------------------------------------------

typedef struct lr_parser {
    lr_jinja *jinja;
    const lr_token *token; // the current one; STOP is never passed
    int32_t depth;
    int32_t loops; // for statements around, for break and continue
    int32_t uses;  // LR_USES_ bits of the macro that is being read
} lr_parser;

// What a closing tag leaves open: nodes are linked while their number is not known.
typedef struct lr_node_list {
    lr_node **items;
    size_t count, capacity;
} lr_node_list;

lora_status lr_parse_fail(const lr_parser *parser, lora_status status, const char *format, ...) LR_PRINTF(3, 4);
lora_status lr_parse_unexpected(const lr_parser *parser, const char *wanted);
lora_status lr_parse_enter(lr_parser *parser); // pair with parser->depth--
bool lr_token_is(const lr_token *token, lr_token_kind kind, const char *bytes);
static inline bool lr_at_operator(const lr_parser *parser, const char *bytes)
{
    return lr_token_is(parser->token, LR_TOKEN_OPERATOR, bytes);
}
static inline bool lr_at_name(const lr_parser *parser, const char *bytes)
{
    return lr_token_is(parser->token, LR_TOKEN_NAME, bytes);
}
bool lr_skip_operator(lr_parser *parser, const char *bytes);
bool lr_skip_name(lr_parser *parser, const char *bytes);
lora_status lr_expect_operator(lr_parser *parser, const char *bytes);
lora_status lr_parse_name(lr_parser *parser, const lr_text **out);
lora_status lr_node_new(lr_parser *parser, lr_node_kind kind, lr_node **out);
lora_status lr_node_list_add(lr_parser *parser, lr_node_list *list, lr_node *node);
static inline lr_nodes lr_node_list_take(const lr_node_list *list) { return (lr_nodes){list->items, list->count}; }

lora_status lr_parse_expression(lr_parser *parser, lr_node **out);
lora_status lr_parse_or(lr_parser *parser, lr_node **out); // without `x if y else z`
// Expressions with commas between them as a tuple; `conditional`: each may be an `x if y else z`.
lora_status lr_parse_tuple(lr_parser *parser, bool conditional, lr_node **out);
lora_status lr_parse_target(lr_parser *parser, bool with_member, lr_node **out);
lora_status lr_parse_postfix(lr_parser *parser, lr_node *node, lr_node **out);
lora_status lr_parse_unary(lr_parser *parser, bool with_filter, lr_node **out);
// `upper | join(", ")`, up to the first token that is no filter; the innermost has no left.
lora_status lr_parse_filters(lr_parser *parser, lr_node **out);

// ---- execute.c and evaluate.c -------------------------------------------------------------------------------------

lora_status lr_execute(lr_render *render, const lr_nodes *body);
lora_status lr_evaluate(lr_render *render, const lr_node *node, lr_value *out);
// A chain of FILTERs on a text that was captured.
lora_status lr_evaluate_filters(lr_render *render, const lr_node *filters, lr_value input, lr_value *out);
lora_status lr_assign(lr_render *render, const lr_node *target, lr_value value);
lora_status lr_find_variable(lr_render *render, const lr_text *name, lr_value *out);
lora_status lr_scope_new(lr_render *render, lr_scope *parent, lr_scope **out);
lora_status lr_callable_new(lr_render *render, lr_callable callable, lr_value *out);
lora_status lr_call_macro(lr_render *render, const lr_callable *macro, const lr_arguments *arguments, lr_value *out);
// A function that every template has: false when there is none of that name.
lora_status lr_find_function(lr_render *render, const lr_text *name, bool *found, lr_value *out);
lora_status lr_function_call(lr_render *render, int32_t number, const lr_arguments *arguments, lr_value *out);
lora_status lr_binary(lr_render *render, lr_operation operation, lr_value left, lr_value right, lr_value *out);
lora_status lr_unary(lr_render *render, lr_operation operation, lr_value value, lr_value *out);

#endif
