// Rows to ids and labels.
//
// A conversation's prompt is tokenised as it would be fed to the model for generation, and the answer goes on from
// there, so that training and serving see the same ids. Which ids are learnt is decided by their place, never by their
// value: an end token that equals the padding is learnt like any other.
#include "src/data/rows.h"

#include "src/data/spans.h"

#include <string.h>

#define MAX_TEXT ((size_t)1 << 30)

// ---- the encoder --------------------------------------------------------------------------------------------------

static lora_status collect_special(lr_encoder *encoder)
{
    const lora_allocator *allocator = &encoder->context->allocator;
    size_t capacity = 0;
    for (int32_t id = 0; id < lora_tokenizer_vocabulary_size(encoder->tokenizer); id++) {
        const char *text =
            lora_tokenizer_is_special(encoder->tokenizer, id) ? lora_tokenizer_token(encoder->tokenizer, id) : NULL;
        if (!text || !*text) continue;
        LR_TRY(lr_grow(allocator, (void **)&encoder->special, &capacity, encoder->special_count + 1, sizeof(char *)));
        encoder->special[encoder->special_count++] = text;
    }
    return LORA_OK;
}

static lora_status init_tokenizer(lr_encoder *encoder)
{
    const lora_tokenizer *tokenizer = encoder->tokenizer;
    encoder->end = lora_tokenizer_special_id(tokenizer, LORA_TOKEN_END);
    LR_TRY(lr_begin_tokens(tokenizer, encoder->begin, 4, &encoder->begin_count));
    LR_TRY(collect_special(encoder));
    return lr_chat_create(&encoder->context->allocator, tokenizer, encoder->options->template_source, &encoder->chat);
}

lora_status lr_encoder_init(lora_context *context, const lora_tokenizer *tokenizer, const lora_dataset_options *options,
                            lr_encoder *out)
{
    *out = (lr_encoder){.context = context, .tokenizer = tokenizer, .options = options, .end = -1};
    lora_status status = tokenizer ? init_tokenizer(out) : LORA_OK;
    if (status != LORA_OK) lr_encoder_free(out);
    return status;
}

void lr_encoder_free(lr_encoder *encoder)
{
    lr_chat_free(encoder->chat);
    lr_free(&encoder->context->allocator, encoder->special);
    encoder->chat = NULL;
    encoder->special = NULL;
}

// ---- ids ----------------------------------------------------------------------------------------------------------

// A row on its way.
typedef struct draft {
    const lr_encoder *encoder;
    int32_t *ids, *labels;
    size_t count, id_capacity, label_capacity;
    int32_t *scratch; // ids of a text
    size_t scratch_count, scratch_capacity;
    size_t answer; // the first id of the last answer
    bool terminated;
} draft;

static void draft_free(draft *row)
{
    const lora_allocator *allocator = &row->encoder->context->allocator;
    lr_free(allocator, row->ids);
    lr_free(allocator, row->labels);
    lr_free(allocator, row->scratch);
}

static lora_status add_ids(draft *row, const int32_t *ids, size_t count, bool learnt)
{
    const lora_allocator *allocator = &row->encoder->context->allocator;
    LR_TRY(lr_grow(allocator, (void **)&row->ids, &row->id_capacity, row->count + count, sizeof(int32_t)));
    LR_TRY(lr_grow(allocator, (void **)&row->labels, &row->label_capacity, row->count + count, sizeof(int32_t)));
    for (size_t i = 0; i < count; i++, row->count++) {
        row->ids[row->count] = ids[i];
        row->labels[row->count] = learnt ? ids[i] : LORA_LABEL_IGNORED;
    }
    return LORA_OK;
}

static lora_status encode(draft *row, const char *text, size_t length)
{
    const lora_allocator *allocator = &row->encoder->context->allocator;
    // Rarely more ids than half the bytes: asked again where there are.
    LR_TRY(lr_grow(allocator, (void **)&row->scratch, &row->scratch_capacity, length / 2 + 8, sizeof(int32_t)));
    LR_TRY(lora_tokenizer_encode(row->encoder->tokenizer, text, length, 0, row->scratch, row->scratch_capacity,
                                 &row->scratch_count));
    if (row->scratch_count <= row->scratch_capacity) return LORA_OK;
    LR_TRY(lr_grow(allocator, (void **)&row->scratch, &row->scratch_capacity, row->scratch_count, sizeof(int32_t)));
    return lora_tokenizer_encode(row->encoder->tokenizer, text, length, 0, row->scratch, row->scratch_capacity,
                                 &row->scratch_count);
}

// Adds the ids of a text that follows another without a break: tokenised behind a newline, so that a tokenizer that
// puts something at the start of every text puts it there.
static lora_status add_continuation(draft *row, const char *text, size_t length, bool learnt)
{
    lr_bytes joined;
    int32_t newline[8];
    LR_TRY(encode(row, "\n", 1));
    size_t newline_count = row->scratch_count;
    bool strippable = newline_count <= 8;
    if (strippable && newline_count) memcpy(newline, row->scratch, newline_count * sizeof(int32_t));
    lr_bytes_init(&joined, &row->encoder->context->allocator, MAX_TEXT);
    lora_status status = lr_bytes_append_text(&joined, "\n");
    if (status == LORA_OK) status = lr_bytes_append(&joined, text, length);
    if (status == LORA_OK) status = encode(row, joined.data, joined.size);
    lr_bytes_free(&joined);
    LR_TRY(status);
    strippable = strippable && row->scratch_count >= newline_count &&
                 memcmp(row->scratch, newline, newline_count * sizeof(int32_t)) == 0;
    if (strippable) return add_ids(row, row->scratch + newline_count, row->scratch_count - newline_count, learnt);
    LR_TRY(encode(row, text, length));
    return add_ids(row, row->scratch, row->scratch_count, learnt);
}

// Goes on from text[0, from), whose ids are there, to text[0, to). Tokenised as one text where that keeps the ids that
// are there, which it does unless a token would cross the border.
static lora_status extend(draft *row, const char *text, size_t from, size_t to, bool learnt)
{
    if (to <= from) return LORA_OK;
    LR_TRY(encode(row, text, to));
    bool kept = row->scratch_count >= row->count &&
                (row->count == 0 || memcmp(row->scratch, row->ids, row->count * sizeof(int32_t)) == 0);
    if (!kept) return add_continuation(row, text + from, to - from, learnt);
    return add_ids(row, row->scratch + row->count, row->scratch_count - row->count, learnt);
}

// ---- keeping a row ------------------------------------------------------------------------------------------------

// Shortens to max_length: first the front of what precedes the last answer goes, but for a begin token or, where there
// is none, the one id that the first learnt id is predicted from; then the answer's end, but for its terminator.
static bool cut(draft *row)
{
    const lr_encoder *encoder = row->encoder;
    size_t limit = (size_t)encoder->options->max_length;
    if (row->count <= limit) return false;
    int32_t begin = encoder->tokenizer ? lora_tokenizer_special_id(encoder->tokenizer, LORA_TOKEN_BEGIN) : -1;
    size_t lead = begin >= 0 && row->ids[0] == begin ? 1 : 0, kept = lead ? 0 : 1;
    size_t removable = row->answer > lead + kept ? row->answer - lead - kept : 0;
    size_t front = row->count - limit < removable ? row->count - limit : removable;
    memmove(row->ids + lead, row->ids + lead + front, (row->count - lead - front) * sizeof(int32_t));
    memmove(row->labels + lead, row->labels + lead + front, (row->count - lead - front) * sizeof(int32_t));
    row->count -= front;
    if (row->count <= limit) return true;
    if (row->terminated) {
        row->ids[limit - 1] = row->ids[row->count - 1];
        row->labels[limit - 1] = row->labels[row->count - 1];
    }
    row->count = limit;
    return true;
}

static lora_status keep(draft *row, const char *prompt, const char *answer, lora_dataset *dataset)
{
    bool was_cut = cut(row);
    if (row->encoder->options->train_on_prompt) memcpy(row->labels, row->ids, row->count * sizeof(int32_t));
    return lr_dataset_append(dataset, &(lr_new_row){.ids = row->ids,
                                                    .labels = row->labels,
                                                    .count = row->count,
                                                    .prompt = prompt,
                                                    .answer = answer,
                                                    .cut = was_cut,
                                                    .terminated = row->terminated});
}

// ---- rows of ids --------------------------------------------------------------------------------------------------

static lora_status read_ids(draft *row, const json_t *list, const lr_place *place, const char *key, int32_t *out)
{
    bool label = strcmp(key, "labels") == 0;
    int64_t size = row->encoder->tokenizer ? lora_tokenizer_vocabulary_size(row->encoder->tokenizer) : INT32_MAX;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        int64_t id = json_integer_value(item);
        bool valid = json_is_integer(item) && ((id >= 0 && id < size) || (label && id == LORA_LABEL_IGNORED));
        if (!valid)
            return lr_fail(LORA_ERROR_DATA, LR_PLACE ": %s[%zu] is %lld: an id is a whole number from 0 to %lld%s",
                           LR_PLACE_ARGUMENTS(place), key, i, (long long)id, (long long)size - 1,
                           label ? ", or -100" : "");
        out[i] = (int32_t)id;
    }
    return LORA_OK;
}

static lora_status encode_ids(draft *row, const json_t *object, const lr_place *place, lora_dataset *dataset)
{
    const json_t *ids = json_object_get(object, "input_ids"), *labels = json_object_get(object, "labels");
    const lora_allocator *allocator = &row->encoder->context->allocator;
    size_t count = json_array_size(ids);
    if (count == 0)
        return lr_fail(LORA_ERROR_DATA, LR_PLACE ": 'input_ids' is no list of ids", LR_PLACE_ARGUMENTS(place));
    if (labels && !json_is_null(labels) && json_array_size(labels) != count)
        return lr_fail(LORA_ERROR_DATA, LR_PLACE ": %zu labels for %zu ids", LR_PLACE_ARGUMENTS(place),
                       json_array_size(labels), count);
    LR_TRY(lr_grow(allocator, (void **)&row->scratch, &row->scratch_capacity, count, sizeof(int32_t)));
    LR_TRY(read_ids(row, ids, place, "input_ids", row->scratch));
    LR_TRY(add_ids(row, row->scratch, count, true));
    row->answer = count;
    if (json_is_array(labels)) {
        LR_TRY(read_ids(row, labels, place, "labels", row->labels));
        // What precedes the last run of labels is its prompt.
        while (row->answer > 0 && row->labels[row->answer - 1] == LORA_LABEL_IGNORED) row->answer--;
        while (row->answer > 0 && row->labels[row->answer - 1] != LORA_LABEL_IGNORED) row->answer--;
    } else {
        row->labels[0] = LORA_LABEL_IGNORED;
        row->answer = 0;
    }
    int32_t last = row->labels[count - 1];
    row->terminated = last >= 0 && row->encoder->tokenizer && lora_tokenizer_is_special(row->encoder->tokenizer, last);
    return keep(row, NULL, NULL, dataset);
}

// ---- rows of text -------------------------------------------------------------------------------------------------

// A text longer than max_length goes on in the next row.
static lora_status keep_pieces(const draft *row, lora_dataset *dataset)
{
    size_t limit = (size_t)row->encoder->options->max_length;
    for (size_t at = 0; at < row->count; at += limit) {
        size_t count = row->count - at < limit ? row->count - at : limit;
        LR_TRY(lr_dataset_append(dataset, &(lr_new_row){.ids = row->ids + at,
                                                        .labels = NULL,
                                                        .count = count,
                                                        .terminated = row->terminated && at + count == row->count}));
    }
    return LORA_OK;
}

static lora_status encode_text(draft *row, const char *text, const lr_place *place, lora_dataset *dataset)
{
    const lr_encoder *encoder = row->encoder;
    if (!*text) return lr_fail(LORA_ERROR_DATA, LR_PLACE ": the row's 'text' is empty", LR_PLACE_ARGUMENTS(place));
    LR_TRY(add_ids(row, encoder->begin, (size_t)encoder->begin_count, true));
    LR_TRY(encode(row, text, strlen(text)));
    LR_TRY(add_ids(row, row->scratch, row->scratch_count, true));
    if (encoder->end >= 0) LR_TRY(add_ids(row, &encoder->end, 1, true));
    row->terminated = encoder->end >= 0;
    if (encoder->options->raw_text_split) return keep_pieces(row, dataset);
    row->labels[0] = LORA_LABEL_IGNORED;
    return keep(row, NULL, NULL, dataset);
}

// ---- conversations ------------------------------------------------------------------------------------------------

// The ids of the spans' text; a text without a terminator gets the end token.
static lora_status encode_spans(draft *row, const lr_spans *spans)
{
    size_t at = 0;
    for (size_t i = 0; i < spans->count; i++) {
        const lr_span_of_text *span = &spans->items[i];
        LR_TRY(extend(row, spans->text.data, at, span->begin, false));
        row->answer = row->count;
        LR_TRY(extend(row, spans->text.data, span->begin, span->end, true));
        row->terminated = span->closed;
        at = span->end;
    }
    if (row->terminated || row->encoder->end < 0) return LORA_OK;
    row->terminated = true;
    return add_ids(row, &row->encoder->end, 1, true);
}

static lora_status encode_chat(draft *row, const lr_conversation *conversation, const lr_place *place,
                               lora_dataset *dataset)
{
    lr_spans spans;
    const json_t *last = json_array_get(conversation->messages, json_array_size(conversation->messages) - 1);
    lora_status status = lr_spans_find(row->encoder, conversation, place, &spans);
    if (status == LORA_OK) status = encode_spans(row, &spans);
    if (status == LORA_OK)
        status = keep(row, spans.prompt.data ? spans.prompt.data : "",
                      json_string_value(json_object_get(last, "content")), dataset);
    lr_spans_free(&spans);
    return status;
}

static lora_status encode_conversation(const lr_encoder *encoder, const json_t *object,
                                       const lr_conversation *conversation, const lr_place *place,
                                       lora_dataset *dataset)
{
    draft row = {.encoder = encoder};
    lora_status status = LORA_OK;
    if (!encoder->tokenizer && conversation->shape != LR_SHAPE_IDS)
        return lr_fail(LORA_ERROR_ARGUMENT, LR_PLACE ": rows of text need a tokenizer", LR_PLACE_ARGUMENTS(place));
    switch (conversation->shape) {
    case LR_SHAPE_IDS: status = encode_ids(&row, object, place, dataset); break;
    case LR_SHAPE_TEXT: status = encode_text(&row, conversation->text, place, dataset); break;
    case LR_SHAPE_REJECTED: dataset->skipped_rows++; break;
    case LR_SHAPE_CHAT: status = encode_chat(&row, conversation, place, dataset); break;
    }
    draft_free(&row);
    return status;
}

lora_status lr_encode_row(const lr_encoder *encoder, const json_t *row, const lr_place *place, lora_dataset *dataset)
{
    lr_conversation conversation;
    LR_TRY(lr_conversation_read(row, place, &conversation));
    lora_status status = encode_conversation(encoder, row, &conversation, place, dataset);
    lr_conversation_free(&conversation);
    return status;
}
