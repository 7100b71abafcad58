// Rows to conversations: one function for each shape of row that the field uses, chosen by the row's keys.
#include "src/data/rows.h"

#include <stdio.h>
#include <string.h>

static lora_status fail_row(const lr_place *place, const char *text, const char *key)
{
    return lr_fail(LORA_ERROR_DATA, LR_PLACE ": the row%s '%s'", LR_PLACE_ARGUMENTS(place), text, key);
}

static bool has(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return value && !json_is_null(value);
}

// The row's text under `key`; *out is NULL where there is none.
static lora_status text_of(const json_t *row, const lr_place *place, const char *key, const char **out)
{
    const json_t *value = json_object_get(row, key);
    *out = NULL;
    if (!value || json_is_null(value)) return LORA_OK;
    if (!json_is_string(value)) return fail_row(place, " holds something other than a text in", key);
    *out = json_string_value(value);
    if (strlen(*out) != json_string_length(value)) return fail_row(place, " has a zero character in", key);
    return LORA_OK;
}

static lora_status required_text(const json_t *row, const lr_place *place, const char *key, const char **out)
{
    LR_TRY(text_of(row, place, key, out));
    return *out ? LORA_OK : fail_row(place, " has no", key);
}

// ---- messages -----------------------------------------------------------------------------------------------------

static lora_status append(json_t *messages, json_t *message)
{
    return json_array_append_new(messages, message) == 0 ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

static lora_status add_turn(json_t *messages, const char *role, const char *content)
{
    return append(messages, json_pack("{s:s, s:s}", "role", role, "content", content));
}

// ShareGPT's names for the roles.
static const char *role_name(const char *role)
{
    static const char *const names[][2] = {
        {"human", "user"},      {"gpt", "assistant"},    {"chatgpt", "assistant"},     {"bot", "assistant"},
        {"model", "assistant"}, {"observation", "tool"}, {"function_response", "tool"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(role, names[i][0]) == 0) return names[i][1];
    return role;
}

static json_t *tool_call(json_t *function) { return json_pack("{s:s, s:O}", "type", "function", "function", function); }

// A text that holds a call, {"name", "arguments"}, as the call; NULL when it is none.
static json_t *parse_call(const char *text)
{
    json_t *call = json_loads(text, 0, NULL);
    if (json_is_object(call) && json_is_string(json_object_get(call, "name"))) return call;
    json_decref(call);
    return NULL;
}

static lora_status add_calls(json_t *message, const char *text)
{
    json_t *call = parse_call(text), *calls = json_object_get(message, "tool_calls");
    if (!call) return LORA_OK;
    if (!calls) json_object_set_new(message, "tool_calls", calls = json_array());
    int failed = json_array_append_new(calls, tool_call(call));
    json_decref(call);
    return failed ? lr_fail_memory(sizeof(json_t)) : LORA_OK;
}

// One part of a message whose content is a list: texts are joined, reasoning and calls go where templates look for
// them.
static lora_status add_part(const json_t *part, const lr_place *place, json_t *message)
{
    const char *type, *value, *before = json_string_value(json_object_get(message, "content"));
    LR_TRY(required_text(part, place, "type", &type));
    LR_TRY(text_of(part, place, "text", &value));
    if (!value) LR_TRY(required_text(part, place, "value", &value));
    if (strcmp(type, "text") == 0)
        return json_object_set_new(message, "content", json_sprintf("%s%s", before, value)) == 0 ? LORA_OK
                                                                                                 : lr_fail_memory(0);
    if (strcmp(type, "tool_call") == 0) return add_calls(message, value);
    if (strcmp(type, "reasoning") != 0)
        return lr_fail(LORA_ERROR_DATA, LR_PLACE ": a message holds '%s': only text can be learnt",
                       LR_PLACE_ARGUMENTS(place), type);
    json_object_set_new(message, "reasoning_content", json_string(value));
    return LORA_OK;
}

static lora_status set_content(json_t *content, const lr_place *place, json_t *message)
{
    if (!json_is_array(content)) return json_object_set(message, "content", content) == 0 ? LORA_OK : lr_fail_memory(0);
    for (size_t i = 0; i < json_array_size(content); i++) LR_TRY(add_part(json_array_get(content, i), place, message));
    return LORA_OK;
}

// A message under the names that templates use: role and content; what else it has stays.
static lora_status normalise_message(const json_t *given, const lr_place *place, json_t *message)
{
    const char *role, *key;
    json_t *value, *content = json_object_get(given, has(given, "content") ? "content" : "value");
    LR_TRY(text_of(given, place, "role", &role));
    if (!role) LR_TRY(required_text(given, place, "from", &role));
    if (!content && !has(given, "tool_calls")) return fail_row(place, " has a message without", "content");
    bool is_call = strcmp(role, "function_call") == 0;
    json_object_set_new(message, "role", json_string(is_call ? "assistant" : role_name(role)));
    json_object_set_new(message, "content", json_string(""));
    json_object_foreach((json_t *)given, key, value) if (strcmp(key, "role") && strcmp(key, "from") &&
                                                         strcmp(key, "content") && strcmp(key, "value"))
        json_object_set(message, key, value);
    if (!content || json_is_null(content)) return LORA_OK;
    if (!json_is_string(content) && !json_is_array(content))
        return fail_row(place, " has a message whose content is no text:", role);
    if (is_call && json_is_string(content)) {
        LR_TRY(add_calls(message, json_string_value(content)));
        if (json_object_get(message, "tool_calls")) return LORA_OK;
    }
    return set_content(content, place, message);
}

static lora_status add_message(json_t *messages, const json_t *given, const lr_place *place)
{
    if (!json_is_object(given))
        return lr_fail(LORA_ERROR_DATA, LR_PLACE ": a message is no object", LR_PLACE_ARGUMENTS(place));
    json_t *message = json_object();
    if (!message) return lr_fail_memory(sizeof(json_t));
    lora_status status = normalise_message(given, place, message);
    if (status != LORA_OK) {
        json_decref(message);
        return status;
    }
    return append(messages, message);
}

// A list of messages, one message, or a text that `role` says.
static lora_status add_turns(json_t *messages, const json_t *row, const lr_place *place, const char *key,
                             const char *role)
{
    const json_t *value = json_object_get(row, key);
    const char *text;
    if (json_is_object(value)) return add_message(messages, value, place);
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            LR_TRY(add_message(messages, json_array_get(value, i), place));
        return LORA_OK;
    }
    LR_TRY(required_text(row, place, key, &text));
    return add_turn(messages, role, text);
}

static bool is_assistant(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "assistant") == 0;
}

static lora_status add_system(json_t *messages, const json_t *row, const lr_place *place)
{
    const char *system;
    LR_TRY(text_of(row, place, "system", &system));
    return system && *system ? add_turn(messages, "system", system) : LORA_OK;
}

// ---- shapes -------------------------------------------------------------------------------------------------------

static lora_status read_messages(const json_t *row, const lr_place *place, json_t *messages)
{
    const char *key = has(row, "messages") ? "messages" : "conversations";
    if (!json_is_array(json_object_get(row, key))) return fail_row(place, " holds no list of messages in", key);
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_turns(messages, row, place, key, "user"));
    return has(row, "chosen") ? add_turns(messages, row, place, "chosen", "assistant") : LORA_OK;
}

// What is learnt of a preference is the answer that was chosen. `chosen` may be the whole conversation.
static lora_status read_preference(const json_t *row, const lr_place *place, json_t *messages)
{
    bool whole = json_is_array(json_object_get(row, "chosen")) && json_array_size(json_object_get(row, "chosen")) > 1;
    if (!whole && !has(row, "prompt")) return fail_row(place, " has no", "prompt");
    LR_TRY(add_system(messages, row, place));
    if (!whole) LR_TRY(add_turns(messages, row, place, "prompt", "user"));
    return add_turns(messages, row, place, "chosen", "assistant");
}

static lora_status read_completion(const json_t *row, const lr_place *place, json_t *messages)
{
    if (!has(row, "completion")) return fail_row(place, " has no", "completion");
    if (!has(row, "prompt")) return fail_row(place, " has no", "prompt");
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_turns(messages, row, place, "prompt", "user"));
    return add_turns(messages, row, place, "completion", "assistant");
}

static lora_status add_history(json_t *messages, const json_t *row, const lr_place *place)
{
    const json_t *history = json_object_get(row, "history");
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *pair = json_array_get(history, i);
        const char *question = json_string_value(json_array_get(pair, 0)),
                   *answer = json_string_value(json_array_get(pair, 1));
        if (!question || !answer) return fail_row(place, " holds something other than pairs of texts in", "history");
        LR_TRY(add_turn(messages, "user", question));
        LR_TRY(add_turn(messages, "assistant", answer));
    }
    return LORA_OK;
}

// Alpaca: what a chat template sees as the user's text is the instruction, and the input on the next line.
static lora_status read_instruction(const json_t *row, const lr_place *place, json_t *messages)
{
    const char *instruction, *input, *output;
    LR_TRY(required_text(row, place, "instruction", &instruction));
    LR_TRY(required_text(row, place, "output", &output));
    LR_TRY(text_of(row, place, "input", &input));
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_history(messages, row, place));
    bool with_input = input && *input;
    json_t *message = json_pack("{s:s, s:s++}", "role", "user", "content", instruction, with_input ? "\n" : "",
                                with_input ? input : "");
    if (with_input && message) {
        json_object_set_new(message, "instruction", json_string(instruction));
        json_object_set_new(message, "input", json_string(input));
    }
    LR_TRY(append(messages, message));
    return add_turn(messages, "assistant", output);
}

// Classification: the label's name, or its number, is the answer.
static lora_status read_labelled(const json_t *row, const lr_place *place, json_t *messages)
{
    const char *text;
    const json_t *label = json_object_get(row, "label");
    LR_TRY(required_text(row, place, "text", &text));
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_turn(messages, "user", text));
    if (json_is_integer(label))
        return append(messages, json_pack("{s:s, s:o}", "role", "assistant", "content",
                                          json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(label))));
    LR_TRY(required_text(row, place, "label", &text));
    return add_turn(messages, "assistant", text);
}

// ---- choosing -----------------------------------------------------------------------------------------------------

typedef lora_status shape_fn(const json_t *row, const lr_place *place, json_t *messages);

static shape_fn *chat_shape(const json_t *row)
{
    if (has(row, "messages") || has(row, "conversations")) return read_messages;
    if (has(row, "chosen")) return read_preference;
    if (has(row, "instruction") || has(row, "output")) return read_instruction;
    if (has(row, "prompt") || has(row, "completion")) return read_completion;
    if (has(row, "label")) return read_labelled;
    return NULL;
}

static lora_status fail_unknown(const json_t *row, const lr_place *place)
{
    char keys[200] = "";
    size_t used = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)row, key, value)
    {
        size_t size = strlen(key);
        if (used + size + 6 > sizeof keys) break;
        used += (size_t)sprintf(keys + used, "%s'%s'", used ? ", " : "", key);
    }
    return lr_fail(LORA_ERROR_DATA,
                   LR_PLACE ": the row's keys say no known shape: it has %s; known are instruction/output, messages, "
                            "conversations, prompt/completion, text/label, text, prompt/chosen, input_ids",
                   LR_PLACE_ARGUMENTS(place), used ? keys : "none");
}

// Turns behind the last answer teach nothing.
static lora_status end_with_answer(json_t *messages, const lr_place *place)
{
    size_t count = json_array_size(messages);
    while (count > 0 && !is_assistant(json_array_get(messages, count - 1))) json_array_remove(messages, --count);
    if (count > 0) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA, LR_PLACE ": no message is the assistant's: there is nothing to learn",
                   LR_PLACE_ARGUMENTS(place));
}

// Tools as a list, or as a text that holds one.
static lora_status read_tools(const json_t *row, const lr_place *place, json_t **extra)
{
    json_t *tools = json_object_get(row, "tools");
    if (json_is_string(tools) && json_string_length(tools) == 0) tools = NULL;
    if (!tools || json_is_null(tools)) return LORA_OK;
    tools = json_is_string(tools) ? json_loads(json_string_value(tools), 0, NULL) : json_incref(tools);
    if (!json_is_array(tools)) {
        json_decref(tools);
        return fail_row(place, " holds no list in", "tools");
    }
    if (json_array_size(tools) > 0) *extra = json_pack("{s:O}", "tools", tools);
    json_decref(tools);
    return LORA_OK;
}

lora_status lr_conversation_read(const json_t *row, const lr_place *place, lr_conversation *out)
{
    *out = (lr_conversation){.shape = LR_SHAPE_IDS};
    if (has(row, "input_ids")) return LORA_OK;
    shape_fn *read = chat_shape(row);
    if (!read && !has(row, "text")) return fail_unknown(row, place);
    out->shape = read ? LR_SHAPE_CHAT : LR_SHAPE_TEXT;
    if (!read) return required_text(row, place, "text", &out->text);
    out->messages = json_array();
    lora_status status = out->messages ? read(row, place, out->messages) : lr_fail_memory(sizeof(json_t));
    if (status == LORA_OK) status = end_with_answer(out->messages, place);
    if (status == LORA_OK) status = read_tools(row, place, &out->extra);
    if (status != LORA_OK) lr_conversation_free(out);
    return status;
}

void lr_conversation_free(lr_conversation *conversation)
{
    json_decref(conversation->messages);
    json_decref(conversation->extra);
    *conversation = (lr_conversation){0};
}
