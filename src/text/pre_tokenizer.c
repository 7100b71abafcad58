// Pre-tokenizers: each step cuts every piece in `now`; those that also rewrite it do so into `next`.
#include "pipeline.h"

#include <string.h>

// ---- finding delimiters -----------------------------------------------------------------------------------------

static lora_status add_cut(lr_workshop *shop, size_t begin, size_t end, bool delimiter)
{
    LR_TRY(
        lr_grow(shop->allocator, (void **)&shop->cuts, &shop->cut_capacity, shop->cut_count + 1, sizeof *shop->cuts));
    shop->cuts[shop->cut_count++] = (lr_cut){(uint32_t)begin, (uint32_t)end, delimiter};
    return LORA_OK;
}

// The next character from `at` on that is in the step's class.
static bool find_class(const lr_step *step, const char *text, size_t length, size_t at, size_t *begin, size_t *end)
{
    while (at < length) {
        int32_t code;
        size_t size = lr_utf8_next(text + at, length - at, &code);
        if (step->in_class(code)) {
            *begin = at;
            *end = at + size;
            return true;
        }
        at += size;
    }
    return false;
}

// Covers the piece with delimiters and what lies between them, in order.
static lora_status find_cuts(const lr_step *step, lr_workshop *shop, const char *text, lr_piece piece)
{
    const char *part = text + piece.begin;
    size_t length = piece.end - piece.begin, at = 0;
    shop->cut_count = 0;
    while (at < length) {
        size_t begin = length, end = length;
        bool found;
        if (step->kind == LR_CUT_CLASS)
            found = find_class(step, part, length, at, &begin, &end);
        else
            LR_TRY(lr_pattern_find(step->pattern, shop->matcher, part, length, at, &begin, &end, &found));
        if (!found) begin = end = length;
        if (begin > at) LR_TRY(add_cut(shop, piece.begin + at, piece.begin + begin, step->invert));
        if (found) LR_TRY(add_cut(shop, piece.begin + begin, piece.begin + end, !step->invert));
        at = end;
    }
    return LORA_OK;
}

// ---- what becomes of them ---------------------------------------------------------------------------------------

// Joins a cut to the one before it when the behaviour says so.
static bool joins_previous(lr_behaviour behaviour, lr_cut before, lr_cut cut)
{
    switch (behaviour) {
    case LR_CONTIGUOUS: return before.delimiter == cut.delimiter;
    case LR_MERGED_WITH_PREVIOUS: return cut.delimiter && !before.delimiter;
    case LR_MERGED_WITH_NEXT: return before.delimiter && !cut.delimiter;
    default: return false;
    }
}

static lora_status emit_cuts(lr_behaviour behaviour, lr_workshop *shop, lr_piece piece)
{
    for (size_t i = 0; i < shop->cut_count; i++) {
        lr_cut cut = shop->cuts[i];
        if (behaviour == LR_REMOVED && cut.delimiter) continue;
        size_t end = cut.end;
        while (i + 1 < shop->cut_count && joins_previous(behaviour, shop->cuts[i], shop->cuts[i + 1]))
            end = shop->cuts[++i].end;
        LR_TRY(lr_pieces_add(&shop->next, shop->allocator, cut.begin, end, piece.first && cut.begin == piece.begin));
    }
    return LORA_OK;
}

// Cuts pieces that stay in the same text.
static lora_status cut_pieces(const lr_step *step, lr_behaviour behaviour, lr_workshop *shop)
{
    for (size_t i = 0; i < shop->now.count; i++) {
        LR_TRY(find_cuts(step, shop, shop->now.text.data, shop->now.items[i]));
        LR_TRY(emit_cuts(behaviour, shop, shop->now.items[i]));
    }
    lr_piece *items = shop->now.items;
    size_t capacity = shop->now.capacity;
    shop->now.items = shop->next.items;
    shop->now.capacity = shop->next.capacity;
    shop->now.count = shop->next.count;
    shop->next.items = items;
    shop->next.capacity = capacity;
    shop->next.count = 0;
    return LORA_OK;
}

// ---- steps that rewrite -----------------------------------------------------------------------------------------

// Puts `prefix` before every piece that does not begin with it, where the step's rule says so, and copies the rest.
static lora_status copy_piece(const lr_step *step, lr_workshop *shop, lr_piece piece, const char *prefix)
{
    const char *text = shop->now.text.data + piece.begin;
    size_t length = piece.end - piece.begin, size = strlen(prefix);
    bool wanted = step->prefix == LR_PREFIX_ALWAYS || (step->prefix == LR_PREFIX_FIRST && piece.first);
    if (wanted && (length < size || memcmp(text, prefix, size) != 0))
        LR_TRY(lr_bytes_append(&shop->next.text, prefix, size));
    return lr_bytes_append(&shop->next.text, text, length);
}

static lora_status prefix_pieces(const lr_step *step, lr_workshop *shop, const char *prefix)
{
    for (size_t i = 0; i < shop->now.count; i++) {
        size_t begin = shop->next.text.size;
        LR_TRY(copy_piece(step, shop, shop->now.items[i], prefix));
        LR_TRY(lr_pieces_add(&shop->next, shop->allocator, begin, shop->next.text.size, shop->now.items[i].first));
    }
    lr_workshop_swap(shop);
    return LORA_OK;
}

static lora_status byte_characters(lr_workshop *shop)
{
    char spelled[256][2];
    uint8_t size[256];
    for (int byte = 0; byte < 256; byte++) {
        char bytes[4];
        size[byte] = (uint8_t)lr_utf8_put(lr_byte_character((uint8_t)byte), bytes);
        memcpy(spelled[byte], bytes, 2);
    }
    for (size_t i = 0; i < shop->now.count; i++) {
        lr_piece piece = shop->now.items[i];
        size_t begin = shop->next.text.size;
        LR_TRY(lr_bytes_reserve(&shop->next.text, 2 * (size_t)(piece.end - piece.begin)));
        char *out = shop->next.text.data + begin;
        for (uint32_t at = piece.begin; at < piece.end; at++) {
            uint8_t byte = (uint8_t)shop->now.text.data[at];
            memcpy(out, spelled[byte], 2);
            out += size[byte];
        }
        shop->next.text.size = (size_t)(out - shop->next.text.data);
        LR_TRY(lr_pieces_add(&shop->next, shop->allocator, begin, shop->next.text.size, piece.first));
    }
    lr_workshop_swap(shop);
    return LORA_OK;
}

static lora_status byte_level(const lr_step *step, lr_workshop *shop)
{
    if (step->prefix != LR_PREFIX_NEVER) LR_TRY(prefix_pieces(step, shop, " "));
    if (step->pattern) LR_TRY(cut_pieces(step, LR_ISOLATED, shop));
    return byte_characters(shop);
}

static lora_status metaspace(const lr_step *step, lr_workshop *shop)
{
    for (size_t i = 0; i < shop->now.count; i++) {
        lr_piece piece = shop->now.items[i];
        size_t begin = shop->next.text.size;
        LR_TRY(lr_mark_spaces(shop->now.text.data + piece.begin, piece.end - piece.begin, step->text, step->text_length,
                              &shop->next.text));
        LR_TRY(lr_pieces_add(&shop->next, shop->allocator, begin, shop->next.text.size, piece.first));
    }
    lr_workshop_swap(shop);
    LR_TRY(prefix_pieces(step, shop, step->text));
    return step->split ? cut_pieces(step, LR_MERGED_WITH_NEXT, shop) : LORA_OK;
}

static lora_status pre_tokenize_step(const lr_step *step, lr_workshop *shop)
{
    switch (step->kind) {
    case LR_CUT_PATTERN:
    case LR_CUT_CLASS: return cut_pieces(step, step->behaviour, shop);
    case LR_CUT_BYTE_LEVEL: return byte_level(step, shop);
    case LR_CUT_METASPACE: return metaspace(step, shop);
    default: return lr_fail(LORA_ERROR_INTERNAL, "step %d is no pre-tokenizer", (int)step->kind);
    }
}

lora_status lr_pre_tokenize(const lr_steps *steps, lr_workshop *shop)
{
    for (size_t i = 0; i < steps->count; i++) LR_TRY(pre_tokenize_step(&steps->items[i], shop));
    return LORA_OK;
}
