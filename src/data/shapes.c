// Rows to conversations: one function for each shape of row that the field uses, chosen by the row's keys.
#include "src/data/rows.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static lora_status fail_row(const lr_place *place, const char *text, const char *key)
{
    return lr_fail(LORA_ERROR_DATA, LR_PLACE ": the row%s '%s'", LR_PLACE_ARGUMENTS(place), text, key);
}

// A value as a text; *out is NULL where there is none.
static lora_status as_text(const json_t *value, const lr_place *place, const char *key, const char **out)
{
    *out = NULL;
    if (!value || json_is_null(value)) return LORA_OK;
    if (!json_is_string(value)) return fail_row(place, " holds something other than a text in", key);
    *out = json_string_value(value);
    if (strlen(*out) != json_string_length(value)) return fail_row(place, " has a zero character in", key);
    return LORA_OK;
}

static lora_status text_of(const json_t *object, const lr_place *place, const char *key, const char **out)
{
    return as_text(json_object_get(object, key), place, key, out);
}

static lora_status required_text(const json_t *object, const lr_place *place, const char *key, const char **out)
{
    LR_TRY(text_of(object, place, key, out));
    return *out ? LORA_OK : fail_row(place, " has no", key);
}

static lora_status column_text(const lr_fields *row, const lr_place *place, lr_column column, const char **out)
{
    return as_text(row->value[column], place, row->key[column], out);
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

// A text that holds one call, {"name", "arguments"}, or a list of them, as a list; NULL when it holds none.
static json_t *parse_calls(const char *text)
{
    json_t *parsed = json_loads(text, 0, NULL), *calls = parsed, *call;
    size_t i, count = 0;
    if (json_is_object(parsed)) calls = json_pack("[o]", parsed);
    json_array_foreach(calls, i, call) count += json_is_string(json_object_get(call, "name"));
    if (count > 0 && count == json_array_size(calls)) return calls;
    json_decref(calls);
    return NULL;
}

static lora_status add_calls(json_t *message, const char *text)
{
    json_t *found = parse_calls(text), *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    int failed = 0;
    if (!found) return LORA_OK;
    if (!calls) json_object_set_new(message, "tool_calls", calls = json_array());
    json_array_foreach(found, i, call) failed |= json_array_append_new(calls, tool_call(call));
    json_decref(found);
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
    json_t *value, *content = json_object_get(given, json_object_get(given, "content") ? "content" : "value");
    LR_TRY(text_of(given, place, "role", &role));
    if (!role) LR_TRY(required_text(given, place, "from", &role));
    if (!content && !json_object_get(given, "tool_calls")) return fail_row(place, " has a message without", "content");
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
static lora_status add_turns(json_t *messages, const lr_fields *row, const lr_place *place, lr_column column,
                             const char *role)
{
    const json_t *value = row->value[column];
    const char *text;
    if (json_is_object(value)) return add_message(messages, value, place);
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++)
            LR_TRY(add_message(messages, json_array_get(value, i), place));
        return LORA_OK;
    }
    LR_TRY(column_text(row, place, column, &text));
    return text ? add_turn(messages, role, text) : fail_row(place, " has no", row->key[column]);
}

static bool is_assistant(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "assistant") == 0;
}

static lora_status add_system(json_t *messages, const lr_fields *row, const lr_place *place)
{
    const char *system;
    LR_TRY(column_text(row, place, LR_COLUMN_SYSTEM, &system));
    return system && *system ? add_turn(messages, "system", system) : LORA_OK;
}

// ---- shapes -------------------------------------------------------------------------------------------------------

static bool has(const lr_fields *row, lr_column column) { return row->value[column] != NULL; }

static lora_status read_messages(const lr_fields *row, const lr_place *place, json_t *messages)
{
    if (!json_is_array(row->value[LR_COLUMN_MESSAGES]))
        return fail_row(place, " holds no list of messages in", row->key[LR_COLUMN_MESSAGES]);
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_turns(messages, row, place, LR_COLUMN_MESSAGES, "user"));
    return has(row, LR_COLUMN_CHOSEN) ? add_turns(messages, row, place, LR_COLUMN_CHOSEN, "assistant") : LORA_OK;
}

static lora_status add_history(json_t *messages, const lr_fields *row, const lr_place *place)
{
    const json_t *history = row->value[LR_COLUMN_HISTORY];
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *pair = json_array_get(history, i);
        const char *question = json_string_value(json_array_get(pair, 0)),
                   *answer = json_string_value(json_array_get(pair, 1));
        if (!question || !answer)
            return fail_row(place, " holds something other than pairs of texts in", row->key[LR_COLUMN_HISTORY]);
        LR_TRY(add_turn(messages, "user", question));
        LR_TRY(add_turn(messages, "assistant", answer));
    }
    return LORA_OK;
}

// The columns of a question, of what belongs to it, and of its answer; -1: there is none.
typedef struct question_columns {
    int question, input, answer;
} question_columns;

static int first_of(const lr_fields *row, const lr_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (has(row, columns[i])) return (int)columns[i];
    return -1;
}

static question_columns find_question(const lr_fields *row)
{
    static const lr_column questions[] = {LR_COLUMN_INSTRUCTION, LR_COLUMN_PROMPT, LR_COLUMN_QUERY, LR_COLUMN_INPUT},
                           inputs[] = {LR_COLUMN_INPUT, LR_COLUMN_QUERY},
                           answers[] = {LR_COLUMN_CHOSEN, LR_COLUMN_OUTPUT, LR_COLUMN_COMPLETION};
    question_columns found = {.question = first_of(row, questions, 4),
                              .input = first_of(row, inputs, 2),
                              .answer = first_of(row, answers, 3)};
    if (found.input == found.question) found.input = -1;
    return found;
}

// What a chat template sees as the user's text is the question, and the input on the next line.
static lora_status add_question(json_t *messages, const lr_fields *row, const lr_place *place,
                                const question_columns *columns)
{
    const char *question, *input = NULL;
    if (!json_is_string(row->value[columns->question]))
        return add_turns(messages, row, place, (lr_column)columns->question, "user");
    LR_TRY(column_text(row, place, (lr_column)columns->question, &question));
    if (columns->input >= 0) LR_TRY(column_text(row, place, (lr_column)columns->input, &input));
    bool with_input = input && *input;
    json_t *message = json_pack("{s:s, s:s++}", "role", "user", "content", question, with_input ? "\n" : "",
                                with_input ? input : "");
    if (with_input && message) {
        json_object_set_new(message, "instruction", json_string(question));
        json_object_set_new(message, "input", json_string(input));
    }
    return append(messages, message);
}

// What is learnt of a preference is the answer that was chosen; `chosen` may be the whole conversation.
static lora_status read_question(const lr_fields *row, const lr_place *place, json_t *messages)
{
    question_columns columns = find_question(row);
    bool is_whole = columns.answer == LR_COLUMN_CHOSEN && json_array_size(row->value[LR_COLUMN_CHOSEN]) > 1;
    if (columns.answer < 0)
        return fail_row(place, " has no", has(row, LR_COLUMN_INSTRUCTION) ? "output" : "completion");
    if (columns.question < 0 && !is_whole)
        return fail_row(place, " has no", columns.answer == LR_COLUMN_OUTPUT ? "instruction" : "prompt");
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_history(messages, row, place));
    if (!is_whole) LR_TRY(add_question(messages, row, place, &columns));
    return add_turns(messages, row, place, (lr_column)columns.answer, "assistant");
}

// Classification: the label's name, or its number, is the answer.
static lora_status read_labelled(const lr_fields *row, const lr_place *place, json_t *messages)
{
    const char *text, *name;
    const json_t *label = row->value[LR_COLUMN_LABEL];
    LR_TRY(column_text(row, place, LR_COLUMN_TEXT, &text));
    if (!text) return fail_row(place, " has no", "text");
    LR_TRY(add_system(messages, row, place));
    LR_TRY(add_turn(messages, "user", text));
    if (json_is_boolean(label)) return add_turn(messages, "assistant", json_is_true(label) ? "true" : "false");
    if (json_is_integer(label))
        return append(messages, json_pack("{s:s, s:o}", "role", "assistant", "content",
                                          json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(label))));
    LR_TRY(column_text(row, place, LR_COLUMN_LABEL, &name));
    return add_turn(messages, "assistant", name);
}

// ---- choosing -----------------------------------------------------------------------------------------------------

typedef lora_status shape_fn(const lr_fields *row, const lr_place *place, json_t *messages);

static shape_fn *chat_shape(const lr_fields *row)
{
    question_columns columns = find_question(row);
    if (has(row, LR_COLUMN_MESSAGES)) return read_messages;
    if (columns.question >= 0 || columns.answer >= 0) return read_question;
    if (has(row, LR_COLUMN_LABEL)) return read_labelled;
    return NULL;
}

// KTO's rows: the label says whether the answer is one to learn.
static bool is_marked_bad(const lr_fields *row, shape_fn *shape)
{
    const json_t *label = row->value[LR_COLUMN_LABEL];
    if (!label || (shape != read_messages && shape != read_question)) return false;
    return json_is_false(label) || (json_is_string(label) && strcasecmp(json_string_value(label), "false") == 0);
}

static lora_status refuse_media(const json_t *row, const lr_place *place)
{
    static const char *const keys[] = {"images", "image", "videos", "audios"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *media = json_object_get(row, keys[i]);
        if (json_array_size(media) > 0 || json_string_length(media) > 0)
            return lr_fail(LORA_ERROR_DATA, LR_PLACE ": the row comes with '%s': only text can be learnt",
                           LR_PLACE_ARGUMENTS(place), keys[i]);
    }
    return LORA_OK;
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
    if (place->is_table)
        return lr_fail(LORA_ERROR_DATA,
                       "%s: the first line of the table names no known columns: it has %s; begin the file with a "
                       "line like instruction,output or question,answer or text,label",
                       place->path, used ? keys : "none");
    return lr_fail(LORA_ERROR_DATA,
                   LR_PLACE ": the row's keys say no known shape: it has %s; known are instruction/output, messages, "
                            "conversations, prompt/completion, question/answer, text/label, text, prompt/chosen, "
                            "input_ids",
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

// Tools as a list, or as a text that holds one. Templates look for {"type": "function", "function": ...}.
static lora_status read_tools(const lr_fields *row, const lr_place *place, json_t **extra)
{
    json_t *given = row->value[LR_COLUMN_TOOLS], *tool;
    size_t i;
    if (!given || (json_is_string(given) && json_string_length(given) == 0)) return LORA_OK;
    given = json_is_string(given) ? json_loads(json_string_value(given), 0, NULL) : json_incref(given);
    if (!json_is_array(given)) {
        json_decref(given);
        return fail_row(place, " holds no list in", row->key[LR_COLUMN_TOOLS]);
    }
    json_t *tools = json_array();
    json_array_foreach(given, i, tool)
    {
        bool is_bare = json_object_get(tool, "name") && !json_object_get(tool, "function");
        json_array_append_new(tools, is_bare ? tool_call(tool) : json_incref(tool));
    }
    bool complete = json_array_size(tools) == json_array_size(given);
    if (complete && json_array_size(tools) > 0) *extra = json_pack("{s:O}", "tools", tools);
    complete = complete && (*extra || json_array_size(tools) == 0);
    json_decref(tools);
    json_decref(given);
    return complete ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

static lora_status read_chat(const lr_fields *row, const lr_place *place, shape_fn *read, lr_conversation *out)
{
    out->messages = json_array();
    if (!out->messages) return lr_fail_memory(sizeof(json_t));
    LR_TRY(read(row, place, out->messages));
    LR_TRY(end_with_answer(out->messages, place));
    return read_tools(row, place, &out->extra);
}

lora_status lr_conversation_read(const json_t *row, const lr_place *place, lr_conversation *out)
{
    lr_fields fields;
    *out = (lr_conversation){.shape = LR_SHAPE_IDS};
    lr_fields_read(row, &fields);
    if (has(&fields, LR_COLUMN_IDS)) return LORA_OK;
    LR_TRY(refuse_media(row, place));
    shape_fn *read = chat_shape(&fields);
    if (!read && !has(&fields, LR_COLUMN_TEXT)) return fail_unknown(row, place);
    out->shape = !read ? LR_SHAPE_TEXT : is_marked_bad(&fields, read) ? LR_SHAPE_REJECTED : LR_SHAPE_CHAT;
    out->labelled = read == read_labelled;
    if (!read) return column_text(&fields, place, LR_COLUMN_TEXT, &out->text);
    if (out->shape == LR_SHAPE_REJECTED) return LORA_OK;
    lora_status status = read_chat(&fields, place, read, out);
    if (status != LORA_OK) lr_conversation_free(out);
    return status;
}

void lr_conversation_free(lr_conversation *conversation)
{
    json_decref(conversation->messages);
    json_decref(conversation->extra);
    *conversation = (lr_conversation){0};
}
