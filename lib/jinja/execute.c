// Statements at run time: output, scopes, loops and macros.
//
// Scopes follow Jinja: a loop's body, a macro and `with` have their own, `if` has none. What is set in a loop is gone
// after it; a name that is not in a scope is looked up in the one around it.
#include "lib/jinja/template.h"

#include <string.h>

#define MAX_MEMORY ((size_t)256 << 20)

enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

// ---- scopes -------------------------------------------------------------------------------------------------------

lora_status lr_scope_new(lr_render *render, lr_scope *parent, lr_scope **out)
{
    void *scope;
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_scope), &scope));
    *out = scope;
    (*out)->parent = parent;
    return LORA_OK;
}

lora_status lr_find_variable(lr_render *render, const lr_text *name, lr_value *out)
{
    for (const lr_scope *scope = render->scope; scope; scope = scope->parent) {
        const lr_value *found = lr_scope_find(scope, name);
        LR_TRY(lr_jinja_charge(render, scope->count / 8 + 1));
        if (found) {
            *out = *found;
            return LORA_OK;
        }
    }
    bool is_function;
    LR_TRY(lr_find_function(render, name, &is_function, out));
    return is_function ? LORA_OK : lr_undefined(render, out, "'%.*s' is undefined", (int)name->size, name->bytes);
}

static lora_status assign_member(lr_render *render, const lr_node *target, lr_value value)
{
    lr_value names;
    LR_TRY(lr_find_variable(render, target->right->name, &names));
    if (names.kind != LR_NAMESPACE)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "can't assign an attribute of a %s: only a namespace has any",
                             lr_type_name(names));
    if (target->name->bytes[0] == '_')
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "an attribute of a namespace can't begin with an underscore");
    return lr_scope_put(render, names.names, target->name, value);
}

lora_status lr_assign(lr_render *render, const lr_node *target, lr_value value)
{
    if (target->kind == LR_NODE_NAME) return lr_scope_put(render, render->scope, target->name, value);
    if (target->kind == LR_NODE_MEMBER) return assign_member(render, target, value);
    const lr_value *items;
    size_t count;
    LR_TRY(lr_items_of(render, value, &items, &count));
    if (count != target->items.count)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "%zu values can't be unpacked into %zu names", count,
                             target->items.count);
    for (size_t i = 0; i < count; i++) LR_TRY(lr_assign(render, target->items.items[i], items[i]));
    return LORA_OK;
}

// ---- macros -------------------------------------------------------------------------------------------------------

// Runs `body` with its output going into a string.
static lora_status capture(lr_render *render, const lr_nodes *body, lr_value *out)
{
    lr_bytes captured, *outer = render->out;
    lr_bytes_init(&captured, outer->allocator, render->arena.limit);
    render->out = &captured;
    lora_status status = lr_execute(render, body);
    render->out = outer;
    return lr_string_take(render, &captured, status, out);
}

static const lr_value *find_keyword(const lr_arguments *arguments, const lr_text *name)
{
    for (size_t i = 0; i < arguments->keyword_count; i++)
        if (lr_text_equals(arguments->keywords[i].name, name)) return &arguments->keywords[i].value;
    return NULL;
}

static bool is_parameter(const lr_node *macro, const lr_text *name)
{
    for (size_t i = 0; i < macro->parameters.count; i++)
        if (lr_text_equals(macro->parameters.items[i]->name, name)) return true;
    return false;
}

static lora_status bind_parameters(lr_render *render, const lr_node *macro, const lr_arguments *arguments)
{
    for (size_t i = 0; i < macro->parameters.count; i++) {
        const lr_node *parameter = macro->parameters.items[i];
        const lr_value *given = i < arguments->count ? &arguments->values[i] : find_keyword(arguments, parameter->name);
        lr_value value;
        if (given)
            value = *given;
        else if (parameter->left)
            LR_TRY(lr_evaluate(render, parameter->left, &value));
        else
            LR_TRY(lr_undefined(render, &value, "parameter '%.*s' was not provided", (int)parameter->name->size,
                                parameter->name->bytes));
        LR_TRY(lr_scope_put(render, render->scope, parameter->name, value));
    }
    return LORA_OK;
}

static lora_status put_named(lr_render *render, const char *name, lr_value value)
{
    const lr_text *text;
    LR_TRY(lr_text_new(&render->arena, name, strlen(name), &text));
    return lr_scope_put(render, render->scope, text, value);
}

// Arguments beyond the parameters are an error, unless the macro mentions what takes them.
static lora_status bind_surplus(lr_render *render, const lr_node *macro, const lr_arguments *arguments)
{
    size_t known = macro->parameters.count;
    lr_sequence *more;
    lr_dict *named;
    if (arguments->count > known && !(macro->operation & LR_USES_VARARGS))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "macro '%.*s' takes no more than %zu arguments",
                             (int)macro->name->size, macro->name->bytes, known);
    LR_TRY(lr_sequence_new(render, LR_TUPLE, arguments->count > known ? arguments->count - known : 0, &more));
    for (size_t i = 0; i < more->count; i++) more->items[i] = arguments->values[known + i];
    LR_TRY(lr_dict_new(render, arguments->keyword_count, &named));
    for (size_t i = 0; i < arguments->keyword_count; i++) {
        const lr_binding_value *keyword = &arguments->keywords[i];
        if (lr_text_is(keyword->name, "caller") && (macro->operation & LR_USES_CALLER)) {
            LR_TRY(lr_scope_put(render, render->scope, keyword->name, keyword->value));
        } else if (!is_parameter(macro, keyword->name)) {
            if (!(macro->operation & LR_USES_KWARGS))
                return lr_jinja_fail(render, LORA_ERROR_FORMAT, "macro '%.*s' takes no argument named '%.*s'",
                                     (int)macro->name->size, macro->name->bytes, (int)keyword->name->size,
                                     keyword->name->bytes);
            LR_TRY(lr_dict_put(render, named, lr_of_text(keyword->name), keyword->value));
        }
    }
    if (macro->operation & LR_USES_VARARGS) LR_TRY(put_named(render, "varargs", lr_of_sequence(more)));
    if (macro->operation & LR_USES_KWARGS) LR_TRY(put_named(render, "kwargs", lr_of_dict(named)));
    return LORA_OK;
}

static lora_status run_macro(lr_render *render, const lr_node *macro, const lr_arguments *arguments, lr_value *out)
{
    LR_TRY(bind_parameters(render, macro, arguments));
    LR_TRY(bind_surplus(render, macro, arguments));
    return capture(render, &macro->items, out);
}

lora_status lr_call_macro(lr_render *render, const lr_callable *macro, const lr_arguments *arguments, lr_value *out)
{
    lr_scope *outer = render->scope, *own;
    LR_TRY(lr_jinja_enter(render));
    lora_status status = lr_scope_new(render, macro->scope, &own);
    if (status == LORA_OK) {
        render->scope = own;
        status = run_macro(render, macro->macro, arguments, out);
        render->scope = outer;
    }
    render->depth--;
    return status;
}

lora_status lr_callable_new(lr_render *render, lr_callable callable, lr_value *out)
{
    void *memory;
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_callable), &memory));
    *(lr_callable *)memory = callable;
    *out = (lr_value){.kind = LR_CALLABLE, .callable = memory};
    return LORA_OK;
}

lora_status lr_call(lr_render *render, lr_value callable, const lr_arguments *arguments, lr_value *out)
{
    if (callable.kind != LR_CALLABLE)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "'%s' object is not callable", lr_type_name(callable));
    switch (callable.callable->kind) {
    case LR_CALL_MACRO: return lr_call_macro(render, callable.callable, arguments, out);
    case LR_CALL_FUNCTION: return lr_function_call(render, callable.callable->number, arguments, out);
    case LR_CALL_METHOD: return lr_method_call(render, callable.callable, arguments, out);
    }
    return LORA_OK;
}

// ---- statements ---------------------------------------------------------------------------------------------------

static lora_status execute_output(lr_render *render, const lr_node *node)
{
    lr_value value;
    LR_TRY(lr_evaluate(render, node->left, &value));
    return lr_write(render, value, render->out);
}

static lora_status execute_if(lr_render *render, const lr_node *node)
{
    for (; node && node->kind == LR_NODE_IF; node = node->third) {
        lr_value condition;
        LR_TRY(lr_evaluate(render, node->left, &condition));
        if (lr_truth(condition)) return lr_execute(render, &node->items);
    }
    return node ? lr_execute(render, &node->items) : LORA_OK;
}

// The items that the loop's own condition lets through. It sees the loop's target, but not `loop`.
static lora_status filter_items(lr_render *render, const lr_node *node, const lr_value *items, size_t count,
                                lr_sequence *kept)
{
    lr_scope *outer = render->scope;
    kept->count = 0;
    for (size_t i = 0; i < count; i++) {
        lr_value condition = lr_boolean(true);
        lora_status status = LORA_OK;
        if (node->third) {
            LR_TRY(lr_scope_new(render, outer, &render->scope));
            status = lr_assign(render, node->left, items[i]);
            if (status == LORA_OK) status = lr_evaluate(render, node->third, &condition);
            render->scope = outer;
        }
        LR_TRY(status);
        if (lr_truth(condition)) kept->items[kept->count++] = items[i];
    }
    return LORA_OK;
}

static lora_status execute_turn(lr_render *render, const lr_node *node, lr_loop *loop)
{
    LR_TRY(put_named(render, "loop", (lr_value){.kind = LR_LOOP, .loop = loop}));
    LR_TRY(lr_assign(render, node->left, loop->items->items[loop->index]));
    return lr_execute(render, &node->items);
}

static lora_status execute_for(lr_render *render, const lr_node *node)
{
    lr_value iterable;
    const lr_value *items;
    size_t count;
    lr_sequence *kept;
    lr_scope *outer = render->scope;
    void *memory;
    LR_TRY(lr_evaluate(render, node->right, &iterable));
    LR_TRY(lr_items_of(render, iterable, &items, &count));
    LR_TRY(lr_sequence_new(render, LR_LIST, count, &kept));
    LR_TRY(filter_items(render, node, items, count, kept));
    if (kept->count == 0) return lr_execute(render, &node->other);
    LR_TRY(lr_arena_take(&render->arena, 1, sizeof(lr_loop), &memory));
    lr_loop *loop = memory;
    loop->items = kept;
    lora_status status = LORA_OK;
    for (; loop->index < kept->count && status == LORA_OK; loop->index++) {
        status = lr_scope_new(render, outer, &render->scope);
        if (status == LORA_OK) status = execute_turn(render, node, loop);
        render->scope = outer;
        int32_t flow = render->flow;
        render->flow = FLOW_ON;
        if (flow == FLOW_BREAK) break;
    }
    return status;
}

// What a block writes, in a scope of its own, through its filters.
static lora_status capture_block(lr_render *render, const lr_node *node, lr_value *out)
{
    lr_value captured;
    lr_scope *outer = render->scope;
    LR_TRY(lr_scope_new(render, outer, &render->scope));
    lora_status status = capture(render, &node->items, &captured);
    render->scope = outer;
    LR_TRY(status);
    return lr_evaluate_filters(render, node->right, captured, out);
}

static lora_status execute_set(lr_render *render, const lr_node *node)
{
    lr_value value;
    if (node->kind == LR_NODE_SET) LR_TRY(lr_evaluate(render, node->right, &value));
    else LR_TRY(capture_block(render, node, &value));
    return lr_assign(render, node->left, value);
}

static lora_status new_macro(lr_render *render, const lr_node *node, lr_value *out)
{
    return lr_callable_new(render, (lr_callable){.kind = LR_CALL_MACRO, .macro = node, .scope = render->scope}, out);
}

static lora_status execute_macro(lr_render *render, const lr_node *node)
{
    lr_value macro;
    LR_TRY(new_macro(render, node, &macro));
    return lr_scope_put(render, render->scope, node->name, macro);
}

// The block's body becomes the macro `caller`, an argument by that name more.
static lora_status execute_call_block(lr_render *render, const lr_node *node)
{
    lr_value result;
    void *items;
    const lr_nodes *given = &node->left->items;
    lr_node name = {.kind = LR_NODE_LITERAL, .line = node->line};
    lr_node keyword = {.kind = LR_NODE_KEYWORD, .line = node->line, .name = node->right->name, .left = &name};
    LR_TRY(new_macro(render, node->right, &name.value));
    LR_TRY(lr_arena_take(&render->arena, given->count + 1, sizeof(lr_node *), &items));
    if (given->count) memcpy(items, given->items, given->count * sizeof(lr_node *));
    ((lr_node **)items)[given->count] = &keyword;
    lr_node call = *node->left;
    call.items = (lr_nodes){items, given->count + 1};
    LR_TRY(lr_evaluate(render, &call, &result));
    return lr_write(render, result, render->out);
}

static lora_status execute_filter_block(lr_render *render, const lr_node *node)
{
    lr_value filtered;
    LR_TRY(capture_block(render, node, &filtered));
    return lr_write(render, filtered, render->out);
}

// The values are those of the scope around.
static lora_status execute_with(lr_render *render, const lr_node *node)
{
    lr_scope *outer = render->scope, *own;
    LR_TRY(lr_scope_new(render, outer, &own));
    for (size_t i = 0; i < node->parameters.count; i++) {
        lr_value value;
        LR_TRY(lr_evaluate(render, node->parameters.items[i]->left, &value));
        LR_TRY(lr_scope_put(render, own, node->parameters.items[i]->name, value));
    }
    render->scope = own;
    lora_status status = lr_execute(render, &node->items);
    render->scope = outer;
    return status;
}

static lora_status execute_node(lr_render *render, const lr_node *node)
{
    render->line = node->line;
    switch (node->kind) {
    case LR_NODE_DATA: return lr_bytes_append(render->out, node->value.text->bytes, node->value.text->size);
    case LR_NODE_OUTPUT: return execute_output(render, node);
    case LR_NODE_IF: return execute_if(render, node);
    case LR_NODE_FOR: return execute_for(render, node);
    case LR_NODE_SET:
    case LR_NODE_SET_BLOCK: return execute_set(render, node);
    case LR_NODE_MACRO: return execute_macro(render, node);
    case LR_NODE_CALL_BLOCK: return execute_call_block(render, node);
    case LR_NODE_FILTER_BLOCK: return execute_filter_block(render, node);
    case LR_NODE_WITH: return execute_with(render, node);
    case LR_NODE_BREAK: render->flow = FLOW_BREAK; return LORA_OK;
    case LR_NODE_CONTINUE: render->flow = FLOW_CONTINUE; return LORA_OK;
    default: return lr_execute(render, &node->items);
    }
}

lora_status lr_execute(lr_render *render, const lr_nodes *body)
{
    lora_status status = LORA_OK;
    LR_TRY(lr_jinja_enter(render));
    for (size_t i = 0; i < body->count && status == LORA_OK && render->flow == FLOW_ON; i++) {
        status = lr_jinja_charge(render, 1);
        if (status == LORA_OK) status = execute_node(render, body->items[i]);
    }
    render->depth--;
    return status;
}

// ---- a rendering --------------------------------------------------------------------------------------------------

static lora_status put_variables(lr_render *render, const json_t *variables)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)variables, key, value)
    {
        const lr_text *name;
        lr_value converted;
        LR_TRY(lr_text_new(&render->arena, key, strlen(key), &name));
        LR_TRY(lr_from_json(render, value, &converted));
        LR_TRY(lr_scope_put(render, render->scope, name, converted));
    }
    return LORA_OK;
}

lora_status lr_jinja_render(const lr_jinja *jinja, const json_t *variables, lr_bytes *out)
{
    lr_render render = {.name = jinja->name, .out = out, .line = 1};
    size_t before = out->size;
    lr_arena_init(&render.arena, out->allocator, MAX_MEMORY);
    lora_status status = lr_scope_new(&render, NULL, &render.scope);
    if (status == LORA_OK) status = put_variables(&render, variables);
    // What the template sets is in a scope of its own, over the variables.
    if (status == LORA_OK) status = lr_scope_new(&render, render.scope, &render.scope);
    if (status == LORA_OK) status = lr_execute(&render, &jinja->body);
    lr_arena_free(&render.arena);
    if (status != LORA_OK && out->data) out->data[out->size = before] = '\0';
    return status;
}
