// Normalizers: each step reads the one piece in `now` and writes it anew into `next`.
#include "pipeline.h"

static lora_status strip_accents(const char *text, size_t length, lr_bytes *out)
{
    for (size_t at = 0; at < length;) {
        int32_t code;
        size_t size = lr_utf8_next(text + at, length - at, &code);
        if (!lr_is_mark(code)) LR_TRY(lr_bytes_append(out, text + at, size));
        at += size;
    }
    return LORA_OK;
}

static lora_status strip(const lr_step *step, const char *text, size_t length, lr_bytes *out)
{
    size_t begin = 0, end = length;
    int32_t code;
    while (step->left && begin < end) {
        size_t size = lr_utf8_next(text + begin, end - begin, &code);
        if (!lr_is_space(code)) break;
        begin += size;
    }
    while (step->right && end > begin) {
        size_t last = lr_utf8_previous(text, end);
        lr_utf8_next(text + last, end - last, &code);
        if (!lr_is_space(code)) break;
        end = last;
    }
    return lr_bytes_append(out, text + begin, end - begin);
}

static lora_status normalize_step(const lr_step *step, lr_workshop *shop, const char *text, size_t length, bool first,
                                  lr_bytes *out)
{
    switch (step->kind) {
    case LR_NORMALIZE_FORM: return lr_unicode_normalize(shop->allocator, step->form, text, length, out);
    case LR_NORMALIZE_LOWER: return lr_unicode_lower(text, length, out);
    case LR_NORMALIZE_STRIP_ACCENTS: return strip_accents(text, length, out);
    case LR_NORMALIZE_STRIP: return strip(step, text, length, out);
    case LR_NORMALIZE_PREPEND:
        if (length > 0) LR_TRY(lr_bytes_append(out, step->text, step->text_length));
        return lr_bytes_append(out, text, length);
    case LR_NORMALIZE_REPLACE: return lr_replace(step, shop, text, length, out);
    case LR_NORMALIZE_SENTENCEPIECE: return lr_sentencepiece_normalize(step, text, length, first, out);
    default: return lr_fail(LORA_ERROR_INTERNAL, "step %d is no normalizer", (int)step->kind);
    }
}

lora_status lr_normalize(const lr_steps *steps, lr_workshop *shop, bool first)
{
    for (size_t i = 0; i < steps->count; i++) {
        LR_TRY(normalize_step(&steps->items[i], shop, shop->now.text.data ? shop->now.text.data : "",
                              shop->now.text.size, first, &shop->next.text));
        LR_TRY(lr_pieces_add(&shop->next, shop->allocator, 0, shop->next.text.size, first));
        lr_workshop_swap(shop);
    }
    return LORA_OK;
}
