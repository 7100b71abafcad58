// Statements, and the template as a whole.
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"

#include "lib/unicode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_SOURCE ((size_t)1 << 20)
#define MAX_TREE ((size_t)128 << 20)
#define MAX_NESTING 200

// ---- tokens -------------------------------------------------------------------------------------------------------

lora_status lr_parse_fail(const lr_parser *parser, lora_status status, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return lr_fail(status, "%s:%d: %s", parser->jinja->name, parser->token->line, text);
}

lora_status lr_parse_unexpected(const lr_parser *parser, const char *wanted)
{
    const lr_token *token = parser->token;
    if (token->kind == LR_TOKEN_STOP)
        return lr_parse_fail(parser, LORA_ERROR_FORMAT, "expected %s, found the end of the template", wanted);
    size_t size = token->size < 40 ? token->size : 40;
    return lr_parse_fail(parser, LORA_ERROR_FORMAT, "expected %s, found '%.*s'", wanted, (int)size, token->bytes);
}

lora_status lr_parse_enter(lr_parser *parser)
{
    if (++parser->depth <= MAX_NESTING) return LORA_OK;
    parser->depth--;
    return lr_parse_fail(parser, LORA_ERROR_FORMAT, "nested too deeply (%d levels)", MAX_NESTING);
}

bool lr_token_is(const lr_token *token, lr_token_kind kind, const char *bytes)
{
    return token->kind == kind && token->size == strlen(bytes) && memcmp(token->bytes, bytes, token->size) == 0;
}

bool lr_skip_operator(lr_parser *parser, const char *bytes)
{
    if (!lr_at_operator(parser, bytes)) return false;
    parser->token++;
    return true;
}

bool lr_skip_name(lr_parser *parser, const char *bytes)
{
    if (!lr_at_name(parser, bytes)) return false;
    parser->token++;
    return true;
}

lora_status lr_expect_operator(lr_parser *parser, const char *bytes)
{
    char wanted[8];
    if (lr_skip_operator(parser, bytes)) return LORA_OK;
    snprintf(wanted, sizeof wanted, "'%s'", bytes);
    return lr_parse_unexpected(parser, wanted);
}

lora_status lr_parse_name(lr_parser *parser, const lr_text **out)
{
    if (parser->token->kind != LR_TOKEN_NAME) return lr_parse_unexpected(parser, "a name");
    LR_TRY(lr_text_new(&parser->jinja->arena, parser->token->bytes, parser->token->size, out));
    parser->token++;
    return LORA_OK;
}

static lora_status expect_block_end(lr_parser *parser)
{
    if (parser->token->kind != LR_TOKEN_BLOCK_END) return lr_parse_unexpected(parser, "'%}'");
    parser->token++;
    return LORA_OK;
}

// ---- nodes --------------------------------------------------------------------------------------------------------

lora_status lr_node_new(lr_parser *parser, lr_node_kind kind, lr_node **out)
{
    void *node;
    LR_TRY(lr_arena_take(&parser->jinja->arena, 1, sizeof(lr_node), &node));
    *out = node;
    **out = (lr_node){.kind = kind, .line = parser->token->line};
    return LORA_OK;
}

lora_status lr_node_list_add(lr_parser *parser, lr_node_list *list, lr_node *node)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        void *larger;
        LR_TRY(lr_arena_take(&parser->jinja->arena, capacity, sizeof(lr_node *), &larger));
        if (list->count) memcpy(larger, list->items, list->count * sizeof(lr_node *));
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->count++] = node;
    return LORA_OK;
}

// ---- statements ---------------------------------------------------------------------------------------------------

static lora_status parse_body(lr_parser *parser, const char *const *ends, lr_nodes *out);

static lora_status parse_until(lr_parser *parser, const char *end, lr_nodes *out)
{
    const char *const ends[] = {end, NULL};
    LR_TRY(expect_block_end(parser));
    LR_TRY(parse_body(parser, ends, out));
    parser->token++;
    return expect_block_end(parser);
}

static lora_status parse_if(lr_parser *parser, lr_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    lr_node **place = out;
    for (;;) {
        lr_node *node;
        LR_TRY(lr_node_new(parser, LR_NODE_IF, &node));
        LR_TRY(lr_parse_tuple(parser, false, &node->left));
        LR_TRY(expect_block_end(parser));
        LR_TRY(parse_body(parser, ends, &node->items));
        *place = node;
        if (lr_skip_name(parser, "elif")) {
            place = &node->third;
            continue;
        }
        if (lr_skip_name(parser, "else")) {
            LR_TRY(lr_node_new(parser, LR_NODE_BODY, &node->third));
            return parse_until(parser, "endif", &node->third->items);
        }
        parser->token++;
        return expect_block_end(parser);
    }
}

static bool mentions_loop(const lr_node *target)
{
    if (target->kind == LR_NODE_NAME) return lr_text_is(target->name, "loop");
    for (size_t i = 0; i < target->items.count; i++)
        if (mentions_loop(target->items.items[i])) return true;
    return false;
}

static lora_status parse_for(lr_parser *parser, lr_node *node)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    node->kind = LR_NODE_FOR;
    LR_TRY(lr_parse_target(parser, false, &node->left));
    if (mentions_loop(node->left))
        return lr_parse_fail(parser, LORA_ERROR_FORMAT, "can't assign to the special variable 'loop'");
    if (!lr_skip_name(parser, "in")) return lr_parse_unexpected(parser, "'in'");
    LR_TRY(lr_parse_tuple(parser, false, &node->right));
    if (lr_skip_name(parser, "if")) LR_TRY(lr_parse_expression(parser, &node->third));
    if (lr_at_name(parser, "recursive"))
        return lr_parse_fail(parser, LORA_ERROR_UNSUPPORTED, "recursive loops are not supported");
    LR_TRY(expect_block_end(parser));
    parser->loops++;
    LR_TRY(parse_body(parser, ends, &node->items));
    parser->loops--;
    if (lr_skip_name(parser, "else")) return parse_until(parser, "endfor", &node->other);
    parser->token++;
    return expect_block_end(parser);
}

static lora_status parse_set(lr_parser *parser, lr_node *node)
{
    node->kind = LR_NODE_SET;
    LR_TRY(lr_parse_target(parser, true, &node->left));
    if (lr_skip_operator(parser, "=")) {
        LR_TRY(lr_parse_tuple(parser, true, &node->right));
        return expect_block_end(parser);
    }
    node->kind = LR_NODE_SET_BLOCK;
    if (lr_skip_operator(parser, "|")) LR_TRY(lr_parse_filters(parser, &node->right));
    return parse_until(parser, "endset", &node->items);
}

static lora_status parse_parameters(lr_parser *parser, lr_nodes *out)
{
    lr_node_list list = {0};
    LR_TRY(lr_expect_operator(parser, "("));
    while (!lr_skip_operator(parser, ")")) {
        lr_node *parameter;
        if (list.count) LR_TRY(lr_expect_operator(parser, ","));
        LR_TRY(lr_node_new(parser, LR_NODE_KEYWORD, &parameter));
        LR_TRY(lr_parse_name(parser, &parameter->name));
        if (lr_skip_operator(parser, "="))
            LR_TRY(lr_parse_expression(parser, &parameter->left));
        else if (list.count && list.items[list.count - 1]->left)
            return lr_parse_fail(parser, LORA_ERROR_FORMAT, "a parameter without a default follows one that has one");
        LR_TRY(lr_node_list_add(parser, &list, parameter));
    }
    *out = lr_node_list_take(&list);
    return LORA_OK;
}

// The body of a macro or call block, with the special names that it mentions.
static lora_status parse_macro_body(lr_parser *parser, const char *end, lr_node *macro)
{
    int32_t outer_uses = parser->uses, outer_loops = parser->loops;
    parser->uses = parser->loops = 0;
    LR_TRY(parse_until(parser, end, &macro->items));
    macro->operation = parser->uses;
    parser->uses = outer_uses;
    parser->loops = outer_loops;
    return LORA_OK;
}

static lora_status parse_macro(lr_parser *parser, lr_node *node)
{
    node->kind = LR_NODE_MACRO;
    LR_TRY(lr_parse_name(parser, &node->name));
    LR_TRY(parse_parameters(parser, &node->parameters));
    return parse_macro_body(parser, "endmacro", node);
}

static lora_status parse_call_block(lr_parser *parser, lr_node *node)
{
    node->kind = LR_NODE_CALL_BLOCK;
    LR_TRY(lr_node_new(parser, LR_NODE_MACRO, &node->right));
    LR_TRY(lr_text_new(&parser->jinja->arena, "caller", 6, &node->right->name));
    if (lr_at_operator(parser, "(")) LR_TRY(parse_parameters(parser, &node->right->parameters));
    LR_TRY(lr_parse_expression(parser, &node->left));
    if (node->left->kind != LR_NODE_CALL) return lr_parse_unexpected(parser, "a call");
    return parse_macro_body(parser, "endcall", node->right);
}

static lora_status parse_with(lr_parser *parser, lr_node *node)
{
    lr_node_list list = {0};
    node->kind = LR_NODE_WITH;
    while (parser->token->kind != LR_TOKEN_BLOCK_END) {
        lr_node *variable;
        if (list.count) LR_TRY(lr_expect_operator(parser, ","));
        LR_TRY(lr_node_new(parser, LR_NODE_KEYWORD, &variable));
        LR_TRY(lr_parse_name(parser, &variable->name));
        LR_TRY(lr_expect_operator(parser, "="));
        LR_TRY(lr_parse_expression(parser, &variable->left));
        LR_TRY(lr_node_list_add(parser, &list, variable));
    }
    node->parameters = lr_node_list_take(&list);
    return parse_until(parser, "endwith", &node->items);
}

static lora_status parse_filter_block(lr_parser *parser, lr_node *node)
{
    node->kind = LR_NODE_FILTER_BLOCK;
    LR_TRY(lr_parse_filters(parser, &node->right));
    return parse_until(parser, "endfilter", &node->items);
}

static lora_status parse_jump(lr_parser *parser, lr_node *node, lr_node_kind kind)
{
    node->kind = kind;
    if (parser->loops == 0) return lr_parse_fail(parser, LORA_ERROR_FORMAT, "a break or continue outside a loop");
    return expect_block_end(parser);
}

static lora_status parse_unknown_tag(lr_parser *parser, const lr_token *tag)
{
    static const char *const left_out[] = {"include",    "import", "from",  "extends", "block",
                                           "autoescape", "do",     "trans", "debug"};
    parser->token = tag;
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (lr_at_name(parser, left_out[i]))
            return lr_parse_fail(parser, LORA_ERROR_UNSUPPORTED, "the tag '%s' is not supported", left_out[i]);
    return lr_parse_unexpected(parser, "a statement");
}

static lora_status parse_statement(lr_parser *parser, lr_node **out)
{
    const lr_token *tag = parser->token;
    if (lr_skip_name(parser, "if")) return parse_if(parser, out);
    LR_TRY(lr_node_new(parser, LR_NODE_BODY, out));
    if (lr_skip_name(parser, "for")) return parse_for(parser, *out);
    if (lr_skip_name(parser, "set")) return parse_set(parser, *out);
    if (lr_skip_name(parser, "macro")) return parse_macro(parser, *out);
    if (lr_skip_name(parser, "call")) return parse_call_block(parser, *out);
    if (lr_skip_name(parser, "with")) return parse_with(parser, *out);
    if (lr_skip_name(parser, "filter")) return parse_filter_block(parser, *out);
    if (lr_skip_name(parser, "break")) return parse_jump(parser, *out, LR_NODE_BREAK);
    if (lr_skip_name(parser, "continue")) return parse_jump(parser, *out, LR_NODE_CONTINUE);
    // transformers marks the assistant's text with it; what is inside is rendered as it is.
    if (lr_skip_name(parser, "generation")) return parse_until(parser, "endgeneration", &(*out)->items);
    return parse_unknown_tag(parser, tag);
}

static lora_status parse_output(lr_parser *parser, lr_node **out)
{
    LR_TRY(lr_node_new(parser, LR_NODE_OUTPUT, out));
    LR_TRY(lr_parse_tuple(parser, true, &(*out)->left));
    if (parser->token->kind != LR_TOKEN_OUTPUT_END) return lr_parse_unexpected(parser, "'}}'");
    parser->token++;
    return LORA_OK;
}

static bool is_one_of(const lr_token *token, const char *const *names)
{
    for (; names && *names; names++)
        if (lr_token_is(token, LR_TOKEN_NAME, *names)) return true;
    return false;
}

static lora_status parse_part(lr_parser *parser, lr_node **out)
{
    const lr_token *token = parser->token++;
    if (token->kind == LR_TOKEN_OUTPUT_BEGIN) return parse_output(parser, out);
    if (token->kind == LR_TOKEN_BLOCK_BEGIN) return parse_statement(parser, out);
    const lr_text *text;
    LR_TRY(lr_node_new(parser, LR_NODE_DATA, out));
    LR_TRY(lr_text_new(&parser->jinja->arena, token->bytes, token->size, &text));
    (*out)->value = lr_of_text(text);
    return LORA_OK;
}

// Up to the tag that one of `ends` names, whose name is then the current token; up to the end where `ends` is NULL.
static lora_status parse_body(lr_parser *parser, const char *const *ends, lr_nodes *out)
{
    lr_node_list list = {0};
    LR_TRY(lr_parse_enter(parser));
    for (;;) {
        lr_node *node;
        if (parser->token->kind == LR_TOKEN_STOP) {
            if (!ends) break;
            return lr_parse_fail(parser, LORA_ERROR_FORMAT, "the template ends where '%s' is missing", ends[0]);
        }
        if (parser->token->kind == LR_TOKEN_BLOCK_BEGIN && is_one_of(parser->token + 1, ends)) {
            parser->token++;
            break;
        }
        LR_TRY(parse_part(parser, &node));
        LR_TRY(lr_node_list_add(parser, &list, node));
    }
    parser->depth--;
    *out = lr_node_list_take(&list);
    return LORA_OK;
}

// ---- the template -------------------------------------------------------------------------------------------------

// Line ends become "\n"; one at the very end goes.
static size_t normalise_lines(char *text, size_t length)
{
    size_t size = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n') continue;
        text[size++] = text[i] == '\r' ? '\n' : text[i];
    }
    return size > 0 && text[size - 1] == '\n' ? size - 1 : size;
}

static lora_status compile(lr_jinja *jinja, const char *source, size_t length)
{
    const lora_allocator *allocator = jinja->allocator;
    lr_tokens tokens = {0};
    char *text = lr_duplicate_range(allocator, source, length);
    if (!text) return LORA_ERROR_MEMORY;
    lora_status status = lr_jinja_lex(allocator, jinja->name, text, normalise_lines(text, length), &tokens);
    if (status == LORA_OK) {
        lr_parser parser = {.jinja = jinja, .token = tokens.items};
        status = parse_body(&parser, NULL, &jinja->body);
    }
    lr_free(allocator, tokens.items);
    lr_free(allocator, text);
    return status;
}

lora_status lr_jinja_compile(const lora_allocator *allocator, const char *name, const char *source, size_t length,
                             lr_jinja **out)
{
    if (length > MAX_SOURCE)
        return lr_fail(LORA_ERROR_FORMAT, "%s: a template of %zu bytes is refused: the limit is %zu", name, length,
                       MAX_SOURCE);
    if (!lr_utf8_is_valid(source, length)) return lr_fail(LORA_ERROR_FORMAT, "%s: the template is not UTF-8", name);
    lr_jinja *jinja = lr_alloc_zeroed(allocator, 1, sizeof *jinja);
    if (!jinja) return LORA_ERROR_MEMORY;
    jinja->allocator = allocator;
    lr_arena_init(&jinja->arena, allocator, MAX_TREE);
    jinja->name = lr_duplicate(allocator, name);
    lora_status status = jinja->name ? compile(jinja, source, length) : LORA_ERROR_MEMORY;
    if (status != LORA_OK) {
        lr_jinja_free(jinja);
        return status;
    }
    *out = jinja;
    return LORA_OK;
}

void lr_jinja_free(lr_jinja *jinja)
{
    if (!jinja) return;
    lr_arena_free(&jinja->arena);
    lr_free(jinja->allocator, jinja->name);
    lr_free(jinja->allocator, jinja);
}
