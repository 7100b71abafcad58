// Text to ids and back.
//
// Encoding: the text is cut at added tokens that are looked for as written; each rest is normalized and cut at those
// that are looked for after that; each rest of these is pre-tokenized, and its pieces go through byte-pair encoding.
#include "tokenizer.h"

#include "src/core/validate.h"

#include <string.h>

typedef struct encoder {
    const lora_tokenizer *tokenizer;
    lr_workshop shop;
    lr_bpe_scratch scratch;
    lr_bytes segment; // a normalized rest, while its parts are in the workshop
} encoder;

static const char *bytes_text(const lr_bytes *bytes) { return bytes->data ? bytes->data : ""; }

static lora_status encode_pieces(encoder *e)
{
    LR_TRY(lr_pre_tokenize(&e->tokenizer->pre_tokenizers, &e->shop));
    for (size_t i = 0; i < e->shop.now.count; i++) {
        lr_piece piece = e->shop.now.items[i];
        if (piece.end > piece.begin)
            LR_TRY(lr_bpe_encode(&e->tokenizer->bpe, &e->tokenizer->vocabulary, &e->scratch,
                                 e->shop.now.text.data + piece.begin, piece.end - piece.begin));
    }
    return LORA_OK;
}

static lora_status encode_segment(encoder *e, const char *text, size_t length, bool first)
{
    LR_TRY(lr_workshop_set(&e->shop, text, length, first));
    LR_TRY(lr_normalize(&e->tokenizer->normalizers, &e->shop, first));
    if (e->tokenizer->added.normalized.count == 0) return encode_pieces(e);
    e->segment.size = 0;
    LR_TRY(lr_bytes_append(&e->segment, bytes_text(&e->shop.now.text), e->shop.now.text.size));
    lr_stretch pending = {.id = -1};
    for (size_t at = 0; at < e->segment.size;) {
        lr_stretch part =
            lr_added_tokens_next(&e->tokenizer->added, true, e->segment.data, e->segment.size, at, &pending);
        at = part.end;
        if (part.id >= 0) {
            LR_TRY(lr_ids_add(&e->scratch, part.id));
            continue;
        }
        LR_TRY(
            lr_workshop_set(&e->shop, e->segment.data + part.begin, part.end - part.begin, first && part.begin == 0));
        LR_TRY(encode_pieces(e));
    }
    return LORA_OK;
}

static lora_status encode_text(encoder *e, const char *text, size_t length)
{
    lr_stretch pending = {.id = -1};
    for (size_t at = 0; at < length;) {
        lr_stretch part = lr_added_tokens_next(&e->tokenizer->added, false, text, length, at, &pending);
        at = part.end;
        LR_TRY(part.id >= 0 ? lr_ids_add(&e->scratch, part.id)
                            : encode_segment(e, text + part.begin, part.end - part.begin, part.begin == 0));
    }
    return LORA_OK;
}

static lora_status add_all(encoder *e, const lr_ids *ids, bool wanted)
{
    for (size_t i = 0; wanted && i < ids->count; i++) LR_TRY(lr_ids_add(&e->scratch, ids->data[i]));
    return LORA_OK;
}

static lora_status encode(encoder *e, const char *text, size_t length, bool add_special)
{
    lr_bytes repaired;
    lr_bytes_init(&repaired, e->scratch.allocator, LR_MAX_TEXT);
    lora_status status = LORA_OK;
    if (!lr_utf8_is_valid(text, length)) {
        LR_GOTO(end, status, lr_utf8_repair(text, length, &repaired));
        text = repaired.data;
        length = repaired.size;
    }
    LR_GOTO(end, status, add_all(e, &e->tokenizer->before, add_special));
    LR_GOTO(end, status, encode_text(e, text, length));
    LR_GOTO(end, status, add_all(e, &e->tokenizer->after, add_special));
end:
    lr_bytes_free(&repaired);
    return status;
}

// All ids of a text at once, from the context's allocator: the caller frees *ids with lr_free.
static lora_status encode_all(const lora_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
                              int32_t **ids, size_t *count)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    LR_CHECK_ARGUMENT(length <= LR_MAX_TEXT / 4,
                      "a text of %zu bytes is too long to be tokenized at once; the most is %u", length,
                      LR_MAX_TEXT / 4);
    encoder e = {.tokenizer = tokenizer};
    lr_bytes_init(&e.segment, allocator, LR_MAX_TEXT);
    lora_status status = lr_workshop_init(&e.shop, allocator);
    if (status == LORA_OK) status = lr_bpe_scratch_init(&e.scratch, allocator, length);
    e.scratch.allocator = allocator;
    if (status == LORA_OK) status = encode(&e, text, length, add_special);
    if (status == LORA_OK) {
        *ids = e.scratch.ids.data;
        *count = e.scratch.ids.count;
        e.scratch.ids.data = NULL;
    }
    lr_workshop_free(&e.shop);
    lr_bpe_scratch_free(&e.scratch);
    lr_bytes_free(&e.segment);
    return status;
}

lora_status lora_tokenizer_encode(const lora_tokenizer *tokenizer, const char *text, size_t length, int32_t add_special,
                                  int32_t *ids, size_t capacity, size_t *count)
{
    LR_CHECK_HANDLE(tokenizer);
    LR_CHECK_HANDLE(count);
    LR_CHECK_ARGUMENT(text || length == 0, "lora_tokenizer_encode: text is NULL");
    LR_CHECK_ARGUMENT(ids || capacity == 0, "lora_tokenizer_encode: ids is NULL");
    int32_t *all = NULL;
    size_t found = 0;
    LR_TRY(encode_all(tokenizer, text ? text : "", length, add_special != 0, &all, &found));
    size_t written = found < capacity ? found : capacity;
    if (written) memcpy(ids, all, written * sizeof *ids);
    *count = found;
    lr_free(&tokenizer->context->allocator, all);
    return LORA_OK;
}

// ---- back -------------------------------------------------------------------------------------------------------

static lora_status gather_spellings(const lora_tokenizer *tokenizer, lr_workshop *shop, const int32_t *ids,
                                    size_t count, bool skip_special)
{
    const lr_vocabulary *vocabulary = &tokenizer->vocabulary;
    bool joined_by_spaces = tokenizer->decoders.count == 0;
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(lr_vocabulary_has(vocabulary, ids[i]),
                          "token id %d at place %zu is not in the vocabulary of %d", (int)ids[i], i,
                          (int)vocabulary->size);
        const lr_token *token = &vocabulary->tokens[ids[i]];
        if (skip_special && token->flags & LR_TOKEN_SPECIAL) continue;
        size_t begin = shop->now.text.size;
        if (joined_by_spaces && shop->now.count > 0) LR_TRY(lr_bytes_append_text(&shop->now.text, " "));
        LR_TRY(lr_bytes_append(&shop->now.text, lr_vocabulary_text(vocabulary, ids[i]), token->length));
        LR_TRY(lr_pieces_add(&shop->now, shop->allocator, begin, shop->now.text.size, false));
    }
    return LORA_OK;
}

lora_status lora_tokenizer_decode(const lora_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                  int32_t skip_special, char *text, size_t capacity, size_t *length)
{
    LR_CHECK_HANDLE(tokenizer);
    LR_CHECK_HANDLE(length);
    LR_CHECK_ARGUMENT(ids || count == 0, "lora_tokenizer_decode: ids is NULL");
    LR_CHECK_ARGUMENT(text || capacity == 0, "lora_tokenizer_decode: text is NULL");
    lr_workshop shop;
    lora_status status = lr_workshop_init(&shop, &tokenizer->context->allocator);
    if (status == LORA_OK) status = gather_spellings(tokenizer, &shop, ids, count, skip_special != 0);
    if (status == LORA_OK) status = lr_decode(&tokenizer->decoders, &shop);
    if (status == LORA_OK) {
        size_t size = shop.now.text.size, written = size < capacity ? size : capacity;
        if (written) memcpy(text, shop.now.text.data, written);
        *length = size;
    }
    lr_workshop_free(&shop);
    return status;
}

// ---- one token --------------------------------------------------------------------------------------------------

static bool decodes_with(const lora_tokenizer *tokenizer, lr_step_kind kind)
{
    for (size_t i = 0; i < tokenizer->decoders.count; i++)
        if (tokenizer->decoders.items[i].kind == kind) return true;
    return false;
}

// What a spelling stands for, character by character.
static size_t spell_out(const lora_tokenizer *tokenizer, const char *text, size_t length, char *bytes, size_t capacity)
{
    bool byte_level = decodes_with(tokenizer, LR_DECODE_BYTE_LEVEL);
    bool meta = !byte_level && tokenizer->decoders.count > 0, fallback = meta && lr_byte_spelling(text, length) >= 0;
    size_t needed = 0;
    for (size_t at = 0; at < length && !fallback;) {
        int32_t code;
        size_t size = lr_utf8_next(text + at, length - at, &code);
        int byte = byte_level ? lr_character_byte(code) : meta && code == 0x2581 ? ' ' : -1;
        for (size_t i = 0; i < (byte >= 0 ? 1 : size); i++, needed++)
            if (needed < capacity) bytes[needed] = byte >= 0 ? (char)byte : text[at + i];
        at += size;
    }
    if (!fallback) return needed;
    if (capacity > 0) bytes[0] = (char)lr_byte_spelling(text, length);
    return 1;
}

lora_status lr_tokenizer_piece(const lora_tokenizer *tokenizer, int32_t id, char *bytes, size_t capacity,
                               size_t *length)
{
    const lr_vocabulary *vocabulary = &tokenizer->vocabulary;
    LR_CHECK_ARGUMENT(lr_vocabulary_has(vocabulary, id), "token id %d is not in the vocabulary of %d", (int)id,
                      (int)vocabulary->size);
    *length = spell_out(tokenizer, lr_vocabulary_text(vocabulary, id), vocabulary->tokens[id].length, bytes, capacity);
    return LORA_OK;
}
