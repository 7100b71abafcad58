#include "pipeline.h"

#include <string.h>

void lr_step_clear(lr_step *step, const lora_allocator *allocator)
{
    lr_pattern_free(step->pattern);
    lr_free(allocator, step->text);
    lr_charsmap_free(step->charsmap, allocator);
    *step = (lr_step){0};
}

lora_status lr_steps_add(lr_steps *steps, const lora_allocator *allocator, lr_step step)
{
    lora_status status =
        lr_grow(allocator, (void **)&steps->items, &steps->capacity, steps->count + 1, sizeof *steps->items);
    if (status == LORA_OK)
        steps->items[steps->count++] = step;
    else
        lr_step_clear(&step, allocator);
    return status;
}

lora_status lr_steps_add_text(lr_steps *steps, const lora_allocator *allocator, lr_step step, const char *text,
                              size_t length)
{
    step.text = lr_duplicate_range(allocator, text, length);
    step.text_length = length;
    if (!step.text) {
        lr_step_clear(&step, allocator);
        return LORA_ERROR_MEMORY;
    }
    return lr_steps_add(steps, allocator, step);
}

void lr_steps_free(lr_steps *steps, const lora_allocator *allocator)
{
    for (size_t i = 0; i < steps->count; i++) lr_step_clear(&steps->items[i], allocator);
    lr_free(allocator, steps->items);
    *steps = (lr_steps){0};
}

// ---- workshop ---------------------------------------------------------------------------------------------------

lora_status lr_workshop_init(lr_workshop *shop, const lora_allocator *allocator)
{
    *shop = (lr_workshop){.allocator = allocator};
    lr_bytes_init(&shop->now.text, allocator, LR_MAX_TEXT);
    lr_bytes_init(&shop->next.text, allocator, LR_MAX_TEXT);
    return lr_matcher_create(allocator, &shop->matcher);
}

void lr_workshop_free(lr_workshop *shop)
{
    lr_bytes_free(&shop->now.text);
    lr_bytes_free(&shop->next.text);
    lr_free(shop->allocator, shop->now.items);
    lr_free(shop->allocator, shop->next.items);
    lr_free(shop->allocator, shop->cuts);
    lr_matcher_free(shop->matcher);
}

// Empties `now`.
static void clear(lr_workshop *shop) { shop->now.count = shop->now.text.size = 0; }

void lr_workshop_swap(lr_workshop *shop)
{
    lr_pieces held = shop->now;
    shop->now = shop->next;
    shop->next = held;
    shop->next.count = shop->next.text.size = 0;
}

lora_status lr_pieces_add(lr_pieces *pieces, const lora_allocator *allocator, size_t begin, size_t end, bool first)
{
    LR_TRY(lr_grow(allocator, (void **)&pieces->items, &pieces->capacity, pieces->count + 1, sizeof *pieces->items));
    pieces->items[pieces->count++] = (lr_piece){(uint32_t)begin, (uint32_t)end, first};
    return LORA_OK;
}

lora_status lr_workshop_set(lr_workshop *shop, const char *text, size_t length, bool first)
{
    clear(shop);
    LR_TRY(lr_bytes_append(&shop->now.text, text, length));
    return lr_pieces_add(&shop->now, shop->allocator, 0, length, first);
}

lora_status lr_replace(const lr_step *step, lr_workshop *shop, const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0;;) {
        size_t begin, end;
        bool found;
        LR_TRY(lr_pattern_find(step->pattern, shop->matcher, text, length, at, &begin, &end, &found));
        if (!found) return lr_bytes_append(out, text + at, length - at);
        LR_TRY(lr_bytes_append(out, text + at, begin - at));
        LR_TRY(lr_bytes_append(out, step->text, step->text_length));
        at = end;
    }
}

lora_status lr_mark_spaces(const char *text, size_t length, const char *mark, size_t mark_length, lr_bytes *out)
{
    for (const char *end = text + length;;) {
        const char *space = text < end ? memchr(text, ' ', (size_t)(end - text)) : NULL;
        LR_TRY(lr_bytes_append(out, text, (size_t)((space ? space : end) - text)));
        if (!space) return LORA_OK;
        LR_TRY(lr_bytes_append(out, mark, mark_length));
        text = space + 1;
    }
}

// ---- bytes as characters ----------------------------------------------------------------------------------------
// Printable bytes of Latin-1 stand for themselves; the other 68 are U+0100, U+0101, ... in their order.

static bool is_plain_byte(int32_t byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

int32_t lr_byte_character(uint8_t byte)
{
    if (is_plain_byte(byte)) return byte;
    if (byte <= ' ') return 0x100 + byte;
    return byte == 0xAD ? 0x143 : 0x121 + (byte - 0x7F);
}

int lr_character_byte(int32_t code)
{
    if (code < 0x100) return is_plain_byte(code) ? code : -1;
    if (code <= 0x120) return code - 0x100;
    if (code <= 0x142) return code - 0x121 + 0x7F;
    return code == 0x143 ? 0xAD : -1;
}
