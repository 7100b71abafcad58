// What was found, as one JSON document and in numbers.
#include "src/data/check/check.h"

#include "lib/json.h"
#include "lib/unicode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EXAMPLE 160 // bytes of a text
#define MAX_TEXT ((size_t)1 << 30)

static const char *const severities[] = {"note", "warning", "error"};

static json_t *both(const char *const text[2]) { return json_pack("{s:s, s:s}", "en", text[0], "zh", text[1]); }

static json_t *place_of(const lr_check_row *row)
{
    return json_sprintf("%s%s%zu", row->path, row->is_line ? ":" : ": row ", row->number);
}

static json_t *list_hit(const lora_check *check, const lr_hit *hit)
{
    const lr_check_row *row = &check->rows[hit->row];
    json_t *item =
        json_pack("{s:o, s:s, s:I, s:s, s:s*}", "place", place_of(row), "file", row->path, "row",
                  (json_int_t)row->number, "set", row->validation ? "validation" : "data", "detail", hit->detail);
    if (item && hit->other >= 0) {
        const lr_check_row *other = &check->rows[hit->other];
        json_object_set_new(item, "other", place_of(other));
        json_object_set_new(item, "other_file", json_string(other->path));
        json_object_set_new(item, "other_row", json_integer((json_int_t)other->number));
    }
    if (item && !isnan(hit->similarity)) json_object_set_new(item, "similarity", json_real(hit->similarity));
    return item;
}

static json_t *shorten(lr_bytes *text)
{
    size_t length = text->size > EXAMPLE ? lr_utf8_previous(text->data, EXAMPLE + 1) : text->size;
    for (size_t i = 0; i < length; i++)
        if (strchr("\r\n\t", text->data[i])) text->data[i] = ' ';
    return json_sprintf("%.*s%s", (int)length, text->data, length < text->size ? "…" : "");
}

// The beginning of a row's text on one line, personal data masked. *out is NULL where the row has none.
static lora_status make_example(const lora_check *check, const lr_check_row *row, json_t **out)
{
    lr_bytes text;
    bool changed;
    *out = NULL;
    if (!row->row || !row->has_text) return LORA_OK;
    lr_bytes_init(&text, &check->context->allocator, MAX_TEXT);
    lora_status status = lr_mask_personal(row->prompt, &text, &changed);
    if (status == LORA_OK && text.size > 0) status = lr_bytes_append_text(&text, " -> ");
    if (status == LORA_OK) status = lr_mask_personal(row->answer, &text, &changed);
    if (status == LORA_OK && !(*out = shorten(&text))) status = lr_fail_memory(text.size);
    lr_bytes_free(&text);
    return status;
}

static json_t *describe(const lora_check *check, size_t kind)
{
    const lr_kind_text *text = &lr_kind_texts[kind];
    const lr_hits *hits = &check->hits[kind];
    size_t limit = check->options.max_listed > 0 ? (size_t)check->options.max_listed : hits->count;
    size_t listed = hits->count < limit ? hits->count : limit;
    json_t *rows = json_array(), *example;
    if (make_example(check, &check->rows[hits->items[0].row], &example) != LORA_OK) return json_decref(rows), NULL;
    for (size_t i = 0; i < listed; i++)
        if (json_array_append_new(rows, list_hit(check, &hits->items[i])) != 0) {
            json_decref(rows);
            json_decref(example);
            return NULL;
        }
    return json_pack("{s:s, s:s, s:I, s:b, s:o, s:o, s:o, s:o*, s:o, s:I}", "kind", text->name, "severity",
                     severities[text->severity], "count", (json_int_t)hits->count, "fixable", text->fixable, "title",
                     both(text->title), "explanation", both(text->explanation), "cure", both(text->cure), "example",
                     example, "rows", rows, "unlisted_rows",
                     (json_int_t)(hits->count - listed));
}

// Rows by the worst that was found in them.
static lora_status count_rows(lora_check *check)
{
    lora_check_info *info = &check->info;
    unsigned char *worst = lr_alloc_zeroed(&check->context->allocator, check->row_count, 1);
    if (!worst) return LORA_ERROR_MEMORY;
    *info = (lora_check_info){.too_long_rows = (int64_t)check->hits[LR_TOO_LONG].count, .estimated = !check->counted};
    for (size_t kind = 0; kind < LR_KIND_COUNT; kind++) {
        int32_t severity = lr_kind_texts[kind].severity;
        int64_t *of_severity = severity == LORA_CHECK_ERROR     ? &info->errors
                               : severity == LORA_CHECK_WARNING ? &info->warnings
                                                                : &info->notes;
        *of_severity += check->hits[kind].count > 0;
        for (size_t i = 0; i < check->hits[kind].count; i++) {
            unsigned char *row = &worst[check->hits[kind].items[i].row];
            if (*row < severity + 1) *row = (unsigned char)(severity + 1);
        }
    }
    for (size_t i = 0; i < check->row_count; i++) {
        info->validation_rows += check->rows[i].validation;
        info->rows += !check->rows[i].validation;
        info->error_rows += worst[i] == LORA_CHECK_ERROR + 1;
        info->warning_rows += worst[i] == LORA_CHECK_WARNING + 1;
    }
    lr_free(&check->context->allocator, worst);
    return LORA_OK;
}

static json_t *make_document(const lora_check *check)
{
    const lora_check_info *info = &check->info;
    json_t *findings = json_array(), *files = json_array();
    for (size_t i = 0; i < check->file_count; i++) json_array_append_new(files, json_string(check->files[i]));
    for (int32_t severity = LORA_CHECK_ERROR; severity >= LORA_CHECK_NOTE; severity--)
        for (size_t kind = 0; kind < LR_KIND_COUNT; kind++)
            if (lr_kind_texts[kind].severity == severity && check->hits[kind].count > 0 &&
                json_array_append_new(findings, describe(check, kind)) != 0) {
                json_decref(findings);
                findings = NULL;
            }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:O, s:O, s:O}", "rows", (json_int_t)info->rows,
                     "validation_rows", (json_int_t)info->validation_rows, "errors", (json_int_t)info->errors,
                     "warnings", (json_int_t)info->warnings, "notes", (json_int_t)info->notes, "files", files,
                     "findings", findings, "lengths", check->lengths, "languages", check->languages, "labels",
                     check->labels);
}

lora_status lr_make_report(lora_check *check)
{
    LR_TRY(count_rows(check));
    json_t *document = make_document(check);
    if (!document) return lr_fail_memory(sizeof(json_t));
    lora_status status =
        lr_json_dump(&check->context->allocator, document, 0, false, &check->report, &check->report_length);
    json_decref(document);
    return status;
}
