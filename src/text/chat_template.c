// Chat templates as transformers renders them: the tokenizer's special tokens by name, `tools` and `documents` there
// but none unless they are given, and a message's reasoning under each name that templates read it by.
#include "src/text/chat.h"

#include "lib/jinja.h"
#include "src/core/validate.h"
#include "src/text/tokenizer.h"

#include <string.h>

#define MAX_RENDERED ((size_t)64 << 20)

// Stanford Alpaca's wording, with the answer on a line of its own. A message may hold its parts apart from "content".
static const char alpaca[] =
    "{{ begin_text }}{% set ns = namespace(preamble=none) %}"
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{% set ns.preamble = message.content %}"
    "{% elif message.role == 'assistant' %}{{ message.content }}{{ eos_token }}{{ '\\n\\n' if not loop.last }}"
    "{% else %}"
    "{% set instruction = message.instruction if message.instruction is defined else message.content %}"
    "{% if ns.preamble is not none %}{{ ns.preamble + '\\n\\n' if ns.preamble }}{% set ns.preamble = '' %}"
    "{% elif message.input %}{{ 'Below is an instruction that describes a task, paired with an input that provides "
    "further "
    "context. Write a response that appropriately completes the request.\\n\\n' }}{% set ns.preamble = '' %}"
    "{% else %}{{ 'Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\\n\\n' }}{% set ns.preamble = '' %}{% endif %}"
    "{{ '### Instruction:\\n' + instruction + '\\n\\n' }}"
    "{% if message.input %}{{ '### Input:\\n' + message.input + '\\n\\n' }}{% endif %}"
    "{{ '### Response:\\n' }}"
    "{% endif %}{% endfor %}";

struct lr_chat {
    const lora_allocator *allocator;
    lr_jinja *jinja;
    json_t *tokens; // bos_token, eos_token, ...
};

// ---- making -------------------------------------------------------------------------------------------------------

lora_status lr_begin_tokens(const lora_tokenizer *tokenizer, int32_t *ids, int32_t capacity, int32_t *count)
{
    size_t needed;
    LR_TRY(lora_tokenizer_encode(tokenizer, "", 0, 1, ids, (size_t)capacity, &needed));
    if (needed > (size_t)capacity)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "the tokenizer puts %zu tokens around a text: at most %d are supported",
                       needed, capacity);
    *count = (int32_t)needed;
    int32_t end = lora_tokenizer_special_id(tokenizer, LORA_TOKEN_END);
    int32_t begin = lora_tokenizer_special_id(tokenizer, LORA_TOKEN_BEGIN);
    while (*count > 0 && ids[*count - 1] == end && end != begin) --*count;
    return LORA_OK;
}

static lora_status set_text(json_t *object, const char *name, const char *text, size_t length)
{
    if (json_object_set_new(object, name, json_stringn(text, length)) == 0) return LORA_OK;
    return lr_fail(LORA_ERROR_MEMORY, "out of memory: %zu bytes were asked for", length);
}

static lora_status set_begin_text(json_t *tokens, const lora_allocator *allocator, const lora_tokenizer *tokenizer)
{
    int32_t ids[4], count;
    lr_bytes text;
    lora_status status = LORA_OK;
    LR_TRY(lr_begin_tokens(tokenizer, ids, 4, &count));
    lr_bytes_init(&text, allocator, MAX_RENDERED);
    for (int32_t i = 0; i < count && status == LORA_OK; i++) {
        const char *token = lora_tokenizer_token(tokenizer, ids[i]);
        if (token) status = lr_bytes_append_text(&text, token);
    }
    if (status == LORA_OK) status = set_text(tokens, "begin_text", text.data ? text.data : "", text.size);
    lr_bytes_free(&text);
    return status;
}

static lora_status set_tokens(lr_chat *chat, const lora_tokenizer *tokenizer)
{
    static const char *const names[] = {[LORA_TOKEN_BEGIN] = "bos_token",
                                        [LORA_TOKEN_END] = "eos_token",
                                        [LORA_TOKEN_PAD] = "pad_token",
                                        [LORA_TOKEN_UNKNOWN] = "unk_token"};
    chat->tokens = json_object();
    if (!chat->tokens) return lr_fail_memory(sizeof(json_t));
    for (int32_t role = 0; role < LR_ROLE_COUNT; role++) {
        const char *text = lr_tokenizer_special_token(tokenizer, role);
        if (text) LR_TRY(set_text(chat->tokens, names[role], text, strlen(text)));
    }
    return set_begin_text(chat->tokens, chat->allocator, tokenizer);
}

static lora_status choose_source(const lora_tokenizer *tokenizer, const char **source, const char **name)
{
    const char *own = lora_tokenizer_chat_template(tokenizer);
    *name = "chat template";
    if (*source && strcmp(*source, "alpaca") != 0 && strcmp(*source, "chat") != 0) return LORA_OK;
    if (*source && strcmp(*source, "chat") == 0 && !own)
        return lr_fail(LORA_ERROR_ARGUMENT, "the tokenizer has no chat template: give one, or the template 'alpaca'");
    bool use_own = own && (!*source || strcmp(*source, "chat") == 0);
    *source = use_own ? own : alpaca;
    if (!use_own) *name = "alpaca template";
    return LORA_OK;
}

lora_status lr_chat_create(const lora_allocator *allocator, const lora_tokenizer *tokenizer, const char *source,
                           lr_chat **out)
{
    const char *name;
    LR_TRY(choose_source(tokenizer, &source, &name));
    lr_chat *chat = lr_alloc_zeroed(allocator, 1, sizeof *chat);
    if (!chat) return LORA_ERROR_MEMORY;
    chat->allocator = allocator;
    lora_status status = lr_jinja_compile(allocator, name, source, strlen(source), &chat->jinja);
    if (status == LORA_OK) status = set_tokens(chat, tokenizer);
    if (status != LORA_OK) {
        lr_chat_free(chat);
        return status;
    }
    *out = chat;
    return LORA_OK;
}

void lr_chat_free(lr_chat *chat)
{
    if (!chat) return;
    lr_jinja_free(chat->jinja);
    json_decref(chat->tokens);
    lr_free(chat->allocator, chat);
}

// ---- rendering ----------------------------------------------------------------------------------------------------

// A message with its reasoning under every name: the message itself where it has none.
static json_t *with_reasoning(json_t *message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *reasoning = NULL;
    for (size_t i = 0; i < 3 && !reasoning; i++) {
        reasoning = json_object_get(message, names[i]);
        if (json_is_null(reasoning)) reasoning = NULL;
    }
    if (!reasoning) return json_incref(message);
    json_t *copy = json_object();
    if (!json_object_get(message, "thinking")) json_object_set(copy, "thinking", reasoning);
    json_object_update(copy, message);
    json_object_set(copy, "reasoning_content", reasoning);
    return copy;
}

static lora_status copy_messages(const json_t *messages, json_t **out)
{
    *out = json_array();
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        if (!json_is_object(message)) return lr_fail(LORA_ERROR_DATA, "message %zu is no object", i);
        if (json_array_append_new(*out, with_reasoning(message)) != 0) return lr_fail_memory(sizeof(json_t));
    }
    return LORA_OK;
}

static lora_status collect(const lr_chat *chat, json_t *messages, const json_t *extra, bool add_generation_prompt,
                           json_t *variables)
{
    bool complete = json_object_set(variables, "messages", messages) == 0 &&
                    json_object_set_new(variables, "tools", json_null()) == 0 &&
                    json_object_set_new(variables, "documents", json_null()) == 0 &&
                    json_object_set_new(variables, "add_generation_prompt", json_boolean(add_generation_prompt)) == 0 &&
                    json_object_update(variables, chat->tokens) == 0 &&
                    (!extra || json_object_update(variables, (json_t *)extra) == 0);
    return complete ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

lora_status lr_chat_render(const lr_chat *chat, const json_t *messages, const json_t *extra, bool add_generation_prompt,
                           lr_bytes *out)
{
    json_t *variables = json_object(), *copy = NULL;
    lora_status status = variables ? copy_messages(messages, &copy) : lr_fail_memory(sizeof(json_t));
    if (status == LORA_OK) status = collect(chat, copy, extra, add_generation_prompt, variables);
    if (status == LORA_OK) status = lr_jinja_render(chat->jinja, variables, out);
    json_decref(copy);
    json_decref(variables);
    return status;
}

static lora_status parse_argument(const char *name, const char *text, json_t **out)
{
    *out = NULL;
    return text ? lr_json_parse(name, text, strlen(text), out) : LORA_OK;
}

static lora_status render_text(const lora_tokenizer *tokenizer, const char *source, const json_t *messages,
                               const json_t *extra, bool add_generation_prompt, lr_bytes *out)
{
    lr_chat *chat;
    LR_CHECK_ARGUMENT(json_is_array(messages), "lora_tokenizer_render_chat: messages is no JSON array");
    LR_CHECK_ARGUMENT(!extra || json_is_object(extra), "lora_tokenizer_render_chat: extra is no JSON object");
    LR_TRY(lr_chat_create(&tokenizer->context->allocator, tokenizer, source, &chat));
    lora_status status = lr_chat_render(chat, messages, extra, add_generation_prompt, out);
    lr_chat_free(chat);
    return status;
}

lora_status lora_tokenizer_render_chat(const lora_tokenizer *tokenizer, const char *source, const char *messages,
                                       const char *extra, int32_t add_generation_prompt, char *text, size_t capacity,
                                       size_t *length)
{
    LR_CHECK_HANDLE(tokenizer);
    LR_CHECK_ARGUMENT(messages && length, "lora_tokenizer_render_chat: messages or length is NULL");
    LR_CHECK_ARGUMENT(text || capacity == 0, "lora_tokenizer_render_chat: text is NULL and capacity is not 0");
    json_t *parsed, *variables = NULL;
    lr_bytes rendered;
    LR_TRY(parse_argument("messages", messages, &parsed));
    lora_status status = parse_argument("extra", extra, &variables);
    lr_bytes_init(&rendered, &tokenizer->context->allocator, MAX_RENDERED);
    if (status == LORA_OK)
        status = render_text(tokenizer, source, parsed, variables, add_generation_prompt != 0, &rendered);
    if (status == LORA_OK) {
        *length = rendered.size;
        if (capacity)
            memcpy(text, rendered.data ? rendered.data : "", rendered.size < capacity ? rendered.size : capacity);
    }
    lr_bytes_free(&rendered);
    json_decref(parsed);
    json_decref(variables);
    return status;
}
