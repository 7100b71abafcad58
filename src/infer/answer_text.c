#include "answer_text.h"

#include "lib/error.h"

#include <string.h>

#define TEXT_LIMIT ((size_t)1 << 28)
#define REPLACEMENT "\xEF\xBF\xBD"

lora_status lr_answer_text_init(lr_answer_text *text, const lora_allocator *allocator, const lora_tokenizer *tokenizer)
{
    *text = (lr_answer_text){.allocator = allocator, .tokenizer = tokenizer};
    lr_bytes_init(&text->held, allocator, TEXT_LIMIT);
    lr_bytes_init(&text->released, allocator, TEXT_LIMIT);
    return LORA_OK;
}

static void forget_stops(lr_answer_text *text)
{
    for (size_t i = 0; i < text->stop_count; i++) lr_free(text->allocator, text->stops[i]);
    lr_free(text->allocator, text->stops);
    text->stops = NULL;
    text->stop_count = 0;
}

void lr_answer_text_free(lr_answer_text *text)
{
    if (!text->allocator) return;
    forget_stops(text);
    lr_free(text->allocator, text->ids);
    lr_bytes_free(&text->held);
    lr_bytes_free(&text->released);
}

lora_status lr_answer_text_begin(lr_answer_text *text, const char *const *stops, size_t stop_count)
{
    forget_stops(text);
    text->id_count = text->window = text->shown_ids = 0;
    text->held.size = text->released.size = 0;
    text->stops = lr_alloc_zeroed(text->allocator, stop_count, sizeof *text->stops);
    if (!text->stops) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < stop_count; i++) {
        if (!(text->stops[i] = lr_duplicate(text->allocator, stops[i]))) return LORA_ERROR_MEMORY;
        text->stop_count++;
    }
    return LORA_OK;
}

// Appends the text of ids [begin, end) to `out`.
static lora_status decode(const lr_answer_text *text, size_t begin, size_t end, lr_bytes *out)
{
    size_t length;
    LR_TRY(lora_tokenizer_decode(text->tokenizer, text->ids + begin, end - begin, 1, NULL, 0, &length));
    LR_TRY(lr_bytes_reserve(out, length));
    LR_TRY(lora_tokenizer_decode(text->tokenizer, text->ids + begin, end - begin, 1, out->data + out->size, length,
                                 &length));
    out->size += length;
    out->data[out->size] = '\0';
    return LORA_OK;
}

static bool ends_inside_character(const lr_bytes *bytes)
{
    return bytes->size >= 3 && memcmp(bytes->data + bytes->size - 3, REPLACEMENT, 3) == 0;
}

// Moves the text of new ids to `held` once it ends with a whole character (or `all`). What a token adds is the
// difference of two decodings with the ids before it, since decoders treat a text's beginning in their own way.
static lora_status take_new_text(lr_answer_text *text, bool all)
{
    lr_bytes before, after;
    lr_bytes_init(&before, text->allocator, TEXT_LIMIT);
    lr_bytes_init(&after, text->allocator, TEXT_LIMIT);
    lora_status status;
    LR_GOTO(done, status, decode(text, text->window, text->shown_ids, &before));
    LR_GOTO(done, status, decode(text, text->window, text->id_count, &after));
    if (after.size > before.size && (all || !ends_inside_character(&after))) {
        LR_GOTO(done, status, lr_bytes_append(&text->held, after.data + before.size, after.size - before.size));
        text->window = text->shown_ids;
        text->shown_ids = text->id_count;
    }
done:
    lr_bytes_free(&before);
    lr_bytes_free(&after);
    return status;
}

// The first stop text in `held`: its place, or held.size.
static size_t find_stop(const lr_answer_text *text)
{
    size_t first = text->held.size;
    for (size_t i = 0; i < text->stop_count; i++) {
        const char *found =
            text->held.size ? memmem(text->held.data, text->held.size, text->stops[i], strlen(text->stops[i])) : NULL;
        if (found && (size_t)(found - text->held.data) < first) first = (size_t)(found - text->held.data);
    }
    return first;
}

// Bytes at the end of `held` that a stop text may begin with.
static size_t possible_stop(const lr_answer_text *text)
{
    size_t longest = 0;
    for (size_t i = 0; i < text->stop_count; i++) {
        size_t length = strlen(text->stops[i]) - 1;
        if (length > text->held.size) length = text->held.size;
        while (length > longest && memcmp(text->held.data + text->held.size - length, text->stops[i], length) != 0)
            length--;
        if (length > longest) longest = length;
    }
    return longest;
}

lora_status lr_answer_text_add(lr_answer_text *text, int32_t id)
{
    if (!text->tokenizer) return LORA_OK;
    LR_TRY(lr_grow(text->allocator, (void **)&text->ids, &text->id_capacity, text->id_count + 1, sizeof *text->ids));
    text->ids[text->id_count++] = id;
    lora_status status = take_new_text(text, false);
    if (status != LORA_OK) text->id_count--;
    return status;
}

lora_status lr_answer_text_release(lr_answer_text *text, bool last, bool *stopped)
{
    text->released.size = 0;
    if (last && text->tokenizer) LR_TRY(take_new_text(text, true));
    size_t stop = find_stop(text);
    *stopped = stop < text->held.size;
    size_t count = *stopped ? stop : text->held.size - (last ? 0 : possible_stop(text));
    LR_TRY(lr_bytes_append(&text->released, text->held.data ? text->held.data : "", count));
    size_t left = *stopped ? 0 : text->held.size - count;
    if (left) memmove(text->held.data, text->held.data + count, left);
    text->held.size = left;
    if (text->held.data) text->held.data[left] = '\0';
    return LORA_OK;
}
