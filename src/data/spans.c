// The answers in a rendered conversation, found by rendering its beginnings: an answer starts where the text of
// everything before it, with the header that asks for an answer, ends. It ends with the first special token behind its
// content, which is where a session stops. Text behind that (a newline, say) is context, not learnt.
//
// A template may show an earlier answer otherwise than it was generated (Qwen3 leaves its reasoning out). Such an
// answer is learnt as far as the text holds its content, and is context alone where it does not.
#include "src/data/spans.h"

#include <stdio.h>
#include <string.h>

#define MAX_TEXT ((size_t)64 << 20)

// What the search for one answer needs.
typedef struct search {
    const lr_encoder *encoder;
    const lr_conversation *conversation;
    const lr_place *place;
    lr_spans *spans;
    json_t *before; // the messages before the answer
    lr_bytes rendered;
} search;

static bool is_whitespace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static bool is_assistant(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "assistant") == 0;
}

// LLaMA-Factory's and OpenAI's way to leave an answer out: a weight of 0.
static bool is_left_out(const json_t *message)
{
    const json_t *weight = json_object_get(message, "weight"), *loss_weight = json_object_get(message, "loss_weight");
    return (json_is_number(weight) && json_number_value(weight) == 0) ||
           (json_is_number(loss_weight) && json_number_value(loss_weight) == 0);
}

static lora_status render(const search *job, const json_t *messages, bool ask, lr_bytes *out)
{
    out->size = 0;
    lora_status status = lr_chat_render(job->encoder->chat, messages, job->conversation->extra, ask, out);
    if (status == LORA_OK) status = lr_bytes_append(out, "", 0);
    if (status == LORA_OK || status == LORA_ERROR_MEMORY) return status;
    char reason[512];
    snprintf(reason, sizeof reason, "%s", lr_error_text());
    return lr_fail(status, LR_PLACE ": %s", LR_PLACE_ARGUMENTS(job->place), reason);
}

static size_t common_prefix(const lr_bytes *a, const lr_bytes *b)
{
    size_t shorter = a->size < b->size ? a->size : b->size, at = 0;
    while (at < shorter && a->data[at] == b->data[at]) at++;
    while (at > 0 && at < a->size && ((unsigned char)a->data[at] & 0xC0) == 0x80) at--;
    return at;
}

// Where the answer behind job->before begins. Some templates ask with more than they show afterwards (an opened
// reasoning block): there the answer begins where the two part. *found: false when not even what was said before is
// shown alike.
static lora_status find_begin(search *job, size_t *begin, bool *found)
{
    const lr_bytes *text = &job->spans->text;
    *begin = 0;
    *found = true;
    if (json_array_size(job->before) == 0) return LORA_OK;
    LR_TRY(render(job, job->before, true, &job->rendered));
    *begin = common_prefix(text, &job->rendered);
    if (*begin == job->rendered.size) return LORA_OK;
    LR_TRY(render(job, job->before, false, &job->rendered));
    *found = common_prefix(text, &job->rendered) == job->rendered.size;
    if (*begin < job->rendered.size) *begin = job->rendered.size;
    return LORA_OK;
}

// Bytes of the longest special token at text[at]; 0: none.
static size_t special_at(const lr_encoder *encoder, const lr_bytes *text, size_t at)
{
    size_t longest = 0;
    for (size_t i = 0; i < encoder->special_count; i++) {
        const char *special = encoder->special[i];
        if (special[0] != text->data[at]) continue;
        size_t size = strlen(special);
        if (size > longest && size <= text->size - at && memcmp(text->data + at, special, size) == 0) longest = size;
    }
    return longest;
}

// The end of the first (or last) special token in text[begin, end); 0: none.
static size_t find_special(const lr_encoder *encoder, const lr_bytes *text, size_t begin, size_t end, bool last)
{
    size_t found = 0;
    for (size_t at = begin; at < end && (last || !found);) {
        size_t size = special_at(encoder, text, at);
        if (size) found = at + size;
        at += size ? size : 1;
    }
    return found;
}

// The content without the whitespace around it, as many templates trim it.
static const char *trimmed_content(const json_t *message, size_t *size)
{
    const char *content = json_string_value(json_object_get(message, "content"));
    if (!content) content = "";
    while (is_whitespace(*content)) content++;
    *size = strlen(content);
    while (*size > 0 && is_whitespace(content[*size - 1])) --*size;
    return content;
}

// The end of what the template made of the messages up to and with the answer, as far as the whole text agrees.
static lora_status end_of_turn(search *job, json_t *answer, size_t *end)
{
    json_array_append(job->before, answer);
    lora_status status = render(job, job->before, false, &job->rendered);
    json_array_remove(job->before, json_array_size(job->before) - 1);
    LR_TRY(status);
    *end = common_prefix(&job->spans->text, &job->rendered);
    return LORA_OK;
}

static void trim_end(const lr_bytes *text, size_t begin, size_t *end)
{
    while (*end > begin && is_whitespace(text->data[*end - 1])) --*end;
}

// *found: false when the answer's content is not in the text.
static lora_status find_end(search *job, json_t *answer, bool is_last, lr_span_of_text *span, bool *found)
{
    const lr_bytes *text = &job->spans->text;
    size_t size, end = text->size;
    const char *content = trimmed_content(answer, &size);
    bool calls =
        json_object_get(answer, "tool_calls") != NULL; // written behind the content, in special tokens of their own
    if (calls && !is_last) LR_TRY(end_of_turn(job, answer, &end));
    const char *at = end > span->begin ? memmem(text->data + span->begin, end - span->begin, content, size) : NULL;
    *found = at || is_last;
    if (!*found) return LORA_OK;
    size_t behind = at ? (size_t)(at - text->data) + size : span->begin;
    span->end = find_special(job->encoder, text, behind, end, calls || !at);
    span->closed = span->end > 0;
    if (span->closed) return LORA_OK;
    // No special token ends it: the text to its end, or where more follows the content alone.
    span->end = is_last || calls ? end : behind;
    trim_end(text, behind, &span->end);
    return LORA_OK;
}

static size_t trailing_whitespace(const char *text, size_t size)
{
    size_t count = 0;
    while (count < size && is_whitespace(text[size - 1 - count])) count++;
    return count;
}

// For a template that shows what was said otherwise once an answer follows (Mistral's, which puts the system's words
// into the last message if that is the user's): the text becomes what a session is fed and then the last answer as it
// is shown.
static lora_status go_on_from_prompt(search *job, json_t *answer, lr_span_of_text *span)
{
    lr_bytes *text = &job->spans->text, *joined = &job->rendered;
    const lr_bytes *prompt = &job->spans->prompt;
    size_t size, place = text->size + 1;
    const char *content = trimmed_content(answer, &size);
    while (size > 0 && place-- > 0)
        if (text->size - place >= size && memcmp(text->data + place, content, size) == 0) break;
    if (size == 0 || place > text->size)
        return lr_fail(LORA_ERROR_DATA,
                       LR_PLACE
                       ": the chat template shows the turns before the answer otherwise once it follows, and not "
                       "the answer as it is: use another template",
                       LR_PLACE_ARGUMENTS(job->place));
    // Whitespace in front of the answer, but for what the prompt ends with.
    size_t before = trailing_whitespace(text->data, place), there = trailing_whitespace(prompt->data, prompt->size);
    bool continues =
        there <= before && memcmp(text->data + place - before, prompt->data + prompt->size - there, there) == 0;
    place -= continues ? before - there : 0;
    joined->size = 0;
    LR_TRY(lr_bytes_append(joined, prompt->data, prompt->size));
    LR_TRY(lr_bytes_append(joined, text->data + place, text->size - place));
    lr_bytes old = *text;
    *text = *joined;
    *joined = old;
    job->spans->count = 0;
    span->begin = prompt->size;
    return LORA_OK;
}

static lora_status add_span(search *job, json_t *answer, bool is_last)
{
    lr_span_of_text span = {0};
    lr_spans *spans = job->spans;
    bool found;
    LR_TRY(find_begin(job, &span.begin, &found));
    if (is_left_out(answer) || (json_array_size(job->before) == 0 && !is_last)) return LORA_OK;
    if (!found && !is_last) return LORA_OK;
    if (!found) LR_TRY(go_on_from_prompt(job, answer, &span));
    size_t earlier = spans->count ? spans->items[spans->count - 1].end : 0;
    if (span.begin < earlier) return LORA_OK;
    LR_TRY(find_end(job, answer, is_last, &span, &found));
    if (!found) return LORA_OK;
    LR_TRY(lr_grow(spans->allocator, (void **)&spans->items, &spans->capacity, spans->count + 1, sizeof span));
    spans->items[spans->count++] = span;
    return LORA_OK;
}

static lora_status find_spans(search *job)
{
    json_t *messages = job->conversation->messages;
    size_t count = json_array_size(messages);
    LR_TRY(render(job, messages, false, &job->spans->text));
    for (size_t i = 0; i < count; i++) {
        json_t *message = json_array_get(messages, i);
        if (i > 0 && i + 1 == count) LR_TRY(render(job, job->before, true, &job->spans->prompt));
        if (is_assistant(message)) LR_TRY(add_span(job, message, i + 1 == count));
        if (json_array_append(job->before, message) != 0) return lr_fail_memory(sizeof(json_t));
    }
    if (job->spans->count > 0) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA, LR_PLACE ": every answer is left out (weight 0): there is nothing to learn",
                   LR_PLACE_ARGUMENTS(job->place));
}

lora_status lr_spans_find(const lr_encoder *encoder, const lr_conversation *conversation, const lr_place *place,
                          lr_spans *out)
{
    const lora_allocator *allocator = &encoder->context->allocator;
    *out = (lr_spans){.allocator = allocator};
    lr_bytes_init(&out->text, allocator, MAX_TEXT);
    lr_bytes_init(&out->prompt, allocator, MAX_TEXT);
    search job = {
        .encoder = encoder, .conversation = conversation, .place = place, .spans = out, .before = json_array()};
    lr_bytes_init(&job.rendered, allocator, MAX_TEXT);
    lora_status status = job.before ? find_spans(&job) : lr_fail_memory(sizeof(json_t));
    lr_bytes_free(&job.rendered);
    json_decref(job.before);
    return status;
}

void lr_spans_free(lr_spans *spans)
{
    lr_bytes_free(&spans->text);
    lr_bytes_free(&spans->prompt);
    lr_free(spans->allocator, spans->items);
    *spans = (lr_spans){0};
}
