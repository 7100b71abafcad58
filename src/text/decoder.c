// Decoders: pieces are the spellings of tokens to begin with, and texts in the end.
#include "pipeline.h"

#include "vocabulary.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

static const char *piece_text(const lr_workshop *shop, size_t index)
{
    return shop->now.text.data + shop->now.items[index].begin;
}

static size_t piece_length(const lr_workshop *shop, size_t index)
{
    return shop->now.items[index].end - shop->now.items[index].begin;
}

// What has been written to `next` since `begin` is a piece.
static lora_status end_piece(lr_workshop *shop, size_t begin)
{
    return lr_pieces_add(&shop->next, shop->allocator, begin, shop->next.text.size, false);
}

static lora_status append(lr_workshop *shop, const char *text, size_t length)
{
    return lr_bytes_append(&shop->next.text, text, length);
}

// ---- bytes ------------------------------------------------------------------------------------------------------

// A token with a character that stands for no byte is taken as it is spelled.
static lora_status byte_level_piece(lr_workshop *shop, const char *text, size_t length)
{
    size_t begin = shop->next.text.size;
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += lr_utf8_next(text + at, length - at, &code);
        int byte = lr_character_byte(code);
        if (byte < 0) {
            shop->next.text.size = begin;
            return append(shop, text, length);
        }
        char raw = (char)byte;
        LR_TRY(append(shop, &raw, 1));
    }
    return LORA_OK;
}

// All tokens become one text; bytes that are no UTF-8 become U+FFFD.
static lora_status byte_level(lr_workshop *shop)
{
    for (size_t i = 0; i < shop->now.count; i++)
        LR_TRY(byte_level_piece(shop, piece_text(shop, i), piece_length(shop, i)));
    lr_workshop_swap(shop);
    if (shop->now.text.size) LR_TRY(lr_utf8_repair(shop->now.text.data, shop->now.text.size, &shop->next.text));
    LR_TRY(end_piece(shop, 0));
    lr_workshop_swap(shop);
    return LORA_OK;
}

// A run of byte tokens in `next` from `begin`: tokenizers keeps it only when all of it is UTF-8,
// SentencePiece whatever is.
static lora_status end_byte_run(lr_workshop *shop, size_t begin, bool whole)
{
    lr_bytes *out = &shop->next.text;
    size_t count = out->size - begin;
    if (count == 0) return LORA_OK;
    if (!lr_utf8_is_valid(out->data + begin, count)) {
        char *run = lr_duplicate_range(shop->allocator, out->data + begin, count);
        if (!run) return LORA_ERROR_MEMORY;
        lora_status status = LORA_OK;
        out->size = begin;
        for (size_t at = 0; at < count && status == LORA_OK;) {
            int32_t code;
            size_t size = whole ? 1 : lr_utf8_next(run + at, count - at, &code);
            if (!whole && lr_utf8_is_valid(run + at, size))
                status = append(shop, run + at, size);
            else
                for (size_t i = 0; i < size && status == LORA_OK; i++) status = append(shop, REPLACEMENT, 3);
            at += size;
        }
        lr_free(shop->allocator, run);
        LR_TRY(status);
    }
    return end_piece(shop, begin);
}

static lora_status byte_fallback(lr_workshop *shop, bool whole)
{
    size_t run = 0;
    for (size_t i = 0; i < shop->now.count; i++) {
        int byte = lr_byte_spelling(piece_text(shop, i), piece_length(shop, i));
        if (byte >= 0) {
            char raw = (char)byte;
            LR_TRY(append(shop, &raw, 1));
            continue;
        }
        LR_TRY(end_byte_run(shop, run, whole));
        run = shop->next.text.size;
        LR_TRY(append(shop, piece_text(shop, i), piece_length(shop, i)));
        LR_TRY(end_piece(shop, run));
        run = shop->next.text.size;
    }
    LR_TRY(end_byte_run(shop, run, whole));
    lr_workshop_swap(shop);
    return LORA_OK;
}

// ---- one token at a time ----------------------------------------------------------------------------------------

static bool begins_with(const char *text, size_t length, const char *prefix, size_t size)
{
    return size > 0 && length >= size && memcmp(text, prefix, size) == 0;
}

static bool ends_with(const char *text, size_t length, const char *suffix, size_t size)
{
    return size > 0 && length >= size && memcmp(text + length - size, suffix, size) == 0;
}

static lora_status strip_piece(const lr_step *step, lr_workshop *shop, const char *text, size_t length)
{
    for (int32_t i = 0; i < step->left && begins_with(text, length, step->text, step->text_length); i++) {
        text += step->text_length;
        length -= step->text_length;
    }
    for (int32_t i = 0; i < step->right && ends_with(text, length, step->text, step->text_length); i++)
        length -= step->text_length;
    return append(shop, text, length);
}

// `mark` becomes a space, or nothing.
static lora_status unescape(lr_workshop *shop, const char *text, size_t length, const char *mark, size_t size,
                            bool drop)
{
    while (length > 0) {
        const char *place = memmem(text, length, mark, size);
        size_t before = place ? (size_t)(place - text) : length;
        LR_TRY(append(shop, text, before));
        if (!place) break;
        if (!drop) LR_TRY(append(shop, " ", 1));
        text += before + size;
        length -= before + size;
    }
    return LORA_OK;
}

// The order of these replacements is the reference's.
static lora_status clean_up(lr_workshop *shop, size_t begin)
{
    static const char *const pairs[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    lr_bytes *out = &shop->next.text;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t from = strlen(pairs[i][0]), to = strlen(pairs[i][1]), write = begin;
        for (size_t at = begin; at < out->size;) {
            bool here = begins_with(out->data + at, out->size - at, pairs[i][0], from);
            size_t size = here ? to : 1;
            memmove(out->data + write, here ? pairs[i][1] : out->data + at, size);
            write += size;
            at += here ? from : 1;
        }
        out->size = write;
    }
    return LORA_OK;
}

static lora_status word_piece(const lr_step *step, lr_workshop *shop, size_t index, const char *text, size_t length)
{
    size_t begin = shop->next.text.size;
    if (index > 0 && begins_with(text, length, step->text, step->text_length)) {
        text += step->text_length;
        length -= step->text_length;
    } else if (index > 0) {
        LR_TRY(append(shop, " ", 1));
    }
    LR_TRY(append(shop, text, length));
    return step->cleanup ? clean_up(shop, begin) : LORA_OK;
}

static lora_status suffix_piece(const lr_step *step, lr_workshop *shop, size_t index, const char *text, size_t length)
{
    if (step->text_length == 0) return append(shop, text, length);
    for (size_t at = 0; at < length;) {
        bool here = begins_with(text + at, length - at, step->text, step->text_length);
        if (!here)
            LR_TRY(append(shop, text + at, 1));
        else if (index + 1 < shop->now.count)
            LR_TRY(append(shop, " ", 1));
        at += here ? step->text_length : 1;
    }
    return LORA_OK;
}

static lora_status decode_piece(const lr_step *step, lr_workshop *shop, size_t index, const char *text, size_t length)
{
    switch (step->kind) {
    case LR_DECODE_REPLACE: return lr_replace(step, shop, text, length, &shop->next.text);
    case LR_DECODE_STRIP: return strip_piece(step, shop, text, length);
    case LR_DECODE_METASPACE:
        return unescape(shop, text, length, step->text, step->text_length,
                        index == 0 && step->prefix != LR_PREFIX_NEVER);
    case LR_DECODE_WORDPIECE: return word_piece(step, shop, index, text, length);
    case LR_DECODE_SUFFIX: return suffix_piece(step, shop, index, text, length);
    default: return lr_fail(LORA_ERROR_INTERNAL, "step %d is no decoder", (int)step->kind);
    }
}

static lora_status each_piece(const lr_step *step, lr_workshop *shop)
{
    for (size_t i = 0; i < shop->now.count; i++) {
        size_t begin = shop->next.text.size;
        LR_TRY(decode_piece(step, shop, i, piece_text(shop, i), piece_length(shop, i)));
        LR_TRY(end_piece(shop, begin));
    }
    lr_workshop_swap(shop);
    return LORA_OK;
}

// ---- all tokens -------------------------------------------------------------------------------------------------

static lora_status fuse(lr_workshop *shop)
{
    for (size_t i = 0; i < shop->now.count; i++) LR_TRY(append(shop, piece_text(shop, i), piece_length(shop, i)));
    LR_TRY(end_piece(shop, 0));
    lr_workshop_swap(shop);
    return LORA_OK;
}

// The mark that begins the text is the dummy prefix, not a space.
static lora_status sentencepiece(const lr_step *step, lr_workshop *shop)
{
    bool at_start = step->prefix != LR_PREFIX_NEVER || step->collapse;
    LR_TRY(byte_fallback(shop, false));
    for (size_t i = 0; i < shop->now.count; i++) {
        const char *text = piece_text(shop, i);
        size_t length = piece_length(shop, i), begin = shop->next.text.size;
        bool marked = at_start && begins_with(text, length, LR_META, LR_META_SIZE);
        size_t skipped = marked ? LR_META_SIZE : 0;
        LR_TRY(unescape(shop, text + skipped, length - skipped, LR_META, LR_META_SIZE, false));
        LR_TRY(end_piece(shop, begin));
        if ((marked && !step->collapse) || shop->next.text.size > begin) at_start = false;
    }
    lr_workshop_swap(shop);
    return LORA_OK;
}

lora_status lr_decode(const lr_steps *steps, lr_workshop *shop)
{
    for (size_t i = 0; i < steps->count; i++) {
        const lr_step *step = &steps->items[i];
        switch (step->kind) {
        case LR_DECODE_BYTE_LEVEL: LR_TRY(byte_level(shop)); break;
        case LR_DECODE_BYTE_FALLBACK: LR_TRY(byte_fallback(shop, true)); break;
        case LR_DECODE_FUSE: LR_TRY(fuse(shop)); break;
        case LR_DECODE_SENTENCEPIECE: LR_TRY(sentencepiece(step, shop)); break;
        default: LR_TRY(each_piece(step, shop)); break;
        }
    }
    return LORA_OK;
}
