// How long rows are, in a tokenizer's ids or estimated, and what training would cut.
#include "src/data/check/check.h"

#include "lib/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_IDS 12 // what a chat template adds, about

// Ids of a text, estimated from what vocabularies of 100,000 ids and more do: a Chinese character is 0.7 of one, a word
// 1.3, and punctuation one each.
static double estimate(const char *text)
{
    size_t length = strlen(text);
    double sum = 0;
    bool inside = false;
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += lr_utf8_next(text + at, length - at, &code);
        bool unspaced = lr_is_unspaced(code), word = !unspaced && lr_is_word(code);
        if (unspaced) sum += 0.7;
        else if (word && !inside) sum += 1.3;
        else if (!word && !lr_is_space(code)) sum += 1;
        inside = word;
    }
    return sum;
}

static void estimate_lengths(lora_check *check)
{
    for (size_t i = 0; i < check->row_count; i++) {
        lr_check_row *row = &check->rows[i];
        size_t ids = row->row ? json_array_size(json_object_get(row->row, "input_ids")) : 0;
        if (row->has_text)
            ids = (size_t)ceil(estimate(row->prompt) + estimate(row->answer)) + (row->plain ? 1 : TEMPLATE_IDS);
        row->length = (int64_t)ids;
    }
}

// The length of a row as training would have it; a row that the template refuses is unreadable.
static lora_status count_row(lora_check *check, const lr_encoder *encoder, size_t i, lora_dataset **dataset)
{
    lr_check_row *row = &check->rows[i];
    lr_place place = {.path = row->path, .number = row->number, .is_line = row->is_line};
    lora_dataset_info info = {.struct_size = sizeof info};
    if (!row->row) return LORA_OK;
    LR_TRY(lora_dataset_create(check->context, dataset));
    lora_status status = lr_encode_row(encoder, row->row, &place, *dataset);
    if (status == LORA_ERROR_MEMORY) return status;
    const char *message = lr_error_text();
    if (status != LORA_OK) return lr_add_hit(check, LR_UNREADABLE_ROW, i, message, strlen(message));
    LR_TRY(lora_dataset_get_info(*dataset, &info));
    row->length = info.tokens;
    return LORA_OK;
}

static lora_status count_lengths(lora_check *check, const lora_tokenizer *tokenizer)
{
    lora_dataset_options options;
    lr_encoder encoder;
    lora_dataset_options_init(&options);
    options.max_length = INT32_MAX;
    options.raw_text_split = 0;
    options.template_source = check->options.template_source;
    LR_TRY(lr_encoder_init(check->context, tokenizer, &options, &encoder));
    lora_status status = LORA_OK;
    for (size_t i = 0; i < check->row_count && status == LORA_OK; i++) {
        lora_dataset *dataset = NULL;
        status = count_row(check, &encoder, i, &dataset);
        lora_dataset_free(dataset);
    }
    lr_encoder_free(&encoder);
    return status;
}

// ---- the distribution ---------------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// The smallest length that `percent` of the rows do not exceed (nearest rank).
static json_int_t percentile(const int64_t *sorted, size_t count, size_t percent)
{
    return count ? sorted[(count * percent + 99) / 100 - 1] : 0;
}

static lora_status summarise(lora_check *check, int64_t *sorted)
{
    size_t count = 0, too_long = check->hits[LR_TOO_LONG].count;
    double sum = 0;
    for (size_t i = 0; i < check->row_count; i++)
        if (check->rows[i].length > 0) sum += (double)(sorted[count++] = check->rows[i].length);
    if (count > 0) qsort(sorted, count, sizeof *sorted, by_value);
    check->lengths = json_pack("{s:s, s:b, s:i, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "unit", "tokens",
                               "estimated", !check->counted, "max_length", check->options.max_length, "mean",
                               count ? sum / (double)count : 0.0, "p5", percentile(sorted, count, 5), "p25",
                               percentile(sorted, count, 25), "p50", percentile(sorted, count, 50), "p75",
                               percentile(sorted, count, 75), "p95", percentile(sorted, count, 95), "p99",
                               percentile(sorted, count, 99), "longest", percentile(sorted, count, 100), "too_long",
                               (json_int_t)too_long, "cut_tokens", (json_int_t)check->cut_tokens);
    return check->lengths ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

// Running text is not cut: it goes on in the next row.
static lora_status find_long(lora_check *check)
{
    for (size_t i = 0; i < check->row_count; i++) {
        const lr_check_row *row = &check->rows[i];
        int64_t more = row->length - check->options.max_length;
        if (more <= 0 || row->plain) continue;
        char detail[64];
        int length = snprintf(detail, sizeof detail, "%lld%s", (long long)row->length,
                              check->counted ? "" : " (estimated)");
        LR_TRY(lr_add_hit(check, LR_TOO_LONG, i, detail, (size_t)length));
        check->cut_tokens += more;
    }
    return LORA_OK;
}

lora_status lr_find_lengths(lora_check *check, const lora_tokenizer *tokenizer)
{
    check->counted = tokenizer != NULL;
    if (tokenizer) LR_TRY(count_lengths(check, tokenizer));
    else estimate_lengths(check);
    LR_TRY(find_long(check));
    int64_t *sorted = lr_alloc_array(&check->context->allocator, check->row_count, sizeof *sorted);
    if (!sorted) return LORA_ERROR_MEMORY;
    lora_status status = summarise(check, sorted);
    lr_free(&check->context->allocator, sorted);
    return status;
}
