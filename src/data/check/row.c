// A row as a check sees it: what is asked and what is answered, as texts, and when two rows are the same.
#include "src/data/check/check.h"

#include "lib/file.h"

#include <string.h>

#define MAX_TEXT ((size_t)1 << 30)

// Contents of the turns before the last, each on a line of its own, and who says them.
static lora_status join_turns(const lora_allocator *allocator, const json_t *messages, lr_check_row *out)
{
    size_t count = json_array_size(messages);
    lr_bytes prompt;
    lora_status status = LORA_OK;
    lr_bytes_init(&prompt, allocator, MAX_TEXT);
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        const char *content = json_string_value(json_object_get(message, "content"));
        if (role) out->roles = lr_hash64(out->roles, role, strlen(role) + 1);
        if (i + 1 == count) break;
        if (prompt.size > 0) status = lr_bytes_append_text(&prompt, "\n");
        if (status == LORA_OK && content) status = lr_bytes_append_text(&prompt, content);
    }
    if (status == LORA_OK) status = lr_bytes_append(&prompt, "", 0);
    if (status != LORA_OK) {
        lr_bytes_free(&prompt);
        return status;
    }
    out->prompt = prompt.data;
    return LORA_OK;
}

// An answer that calls tools says something without a text.
static lora_status copy_answer(const lora_allocator *allocator, const json_t *message, lr_check_row *out)
{
    const char *content = json_string_value(json_object_get(message, "content"));
    const json_t *calls = json_object_get(message, "tool_calls");
    char *dumped = json_array_size(calls) > 0 && (!content || !*content) ? json_dumps(calls, JSON_COMPACT) : NULL;
    out->answer = lr_duplicate(allocator, dumped ? dumped : content ? content : "");
    free(dumped);
    return out->answer ? LORA_OK : LORA_ERROR_MEMORY;
}

static lora_status copy_texts(const lora_allocator *allocator, const lr_conversation *conversation, lr_check_row *out)
{
    const json_t *messages = conversation->messages;
    out->labelled = conversation->labelled;
    out->plain = conversation->shape == LR_SHAPE_TEXT;
    out->has_text = out->plain || conversation->shape == LR_SHAPE_CHAT;
    if (conversation->shape == LR_SHAPE_CHAT) {
        LR_TRY(join_turns(allocator, messages, out));
        return copy_answer(allocator, json_array_get(messages, json_array_size(messages) - 1), out);
    }
    out->prompt = lr_duplicate(allocator, "");
    out->answer = out->prompt ? lr_duplicate(allocator, out->plain ? conversation->text : "") : NULL;
    return out->answer ? LORA_OK : LORA_ERROR_MEMORY;
}

lora_status lr_check_row_read(lora_context *context, const json_t *row, const lr_place *place, lr_check_row *out)
{
    lr_conversation conversation;
    *out = (lr_check_row){0};
    if (!json_is_object(row))
        return lr_fail(LORA_ERROR_DATA, LR_PLACE ": the row is no object", LR_PLACE_ARGUMENTS(place));
    LR_TRY(lr_conversation_read(row, place, &conversation));
    lora_status status = copy_texts(&context->allocator, &conversation, out);
    lr_conversation_free(&conversation);
    if (status != LORA_OK) {
        lr_check_row_free(&context->allocator, out);
        return status;
    }
    out->row = json_incref((json_t *)row);
    return LORA_OK;
}

void lr_check_row_free(const lora_allocator *allocator, lr_check_row *row)
{
    json_decref(row->row);
    lr_free(allocator, row->prompt);
    lr_free(allocator, row->answer);
    row->row = NULL;
    row->prompt = row->answer = NULL;
}

// ---- sameness -----------------------------------------------------------------------------------------------------

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The next character of a text in which a run of whitespace is one space, and none stands at the ends; 0 at the end.
static char next_character(const char **text, bool at_start)
{
    const char *at = *text;
    if (is_space(*at)) {
        while (is_space(*at)) at++;
        *text = at;
        if (*at && !at_start) return ' ';
    }
    if (*at) *text = at + 1;
    return *at;
}

static bool same_text(const char *a, const char *b)
{
    for (bool start = true;; start = false) {
        char x = next_character(&a, start), y = next_character(&b, start);
        if (x != y) return false;
        if (x == '\0') return true;
    }
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (bool start = true;; start = false) {
        char c = next_character(&text, start);
        hash = (hash ^ (unsigned char)c) * 0x100000001B3u;
        if (c == '\0') return hash ^ hash >> 29;
    }
}

uint64_t lr_prompt_hash(const lr_check_row *row) { return hash_text(row->roles ^ 0xCBF29CE484222325u, row->prompt); }
uint64_t lr_row_hash(const lr_check_row *row) { return hash_text(lr_prompt_hash(row), row->answer); }

bool lr_same_prompt(const lr_check_row *a, const lr_check_row *b)
{
    return a->roles == b->roles && same_text(a->prompt, b->prompt);
}

bool lr_same_row(const lr_check_row *a, const lr_check_row *b)
{
    return a->plain == b->plain && lr_same_prompt(a, b) && same_text(a->answer, b->answer);
}
