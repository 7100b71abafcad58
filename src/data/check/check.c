// The handle: reads, looks, and keeps what was found.
#include "src/data/check/check.h"

#include "lib/unicode.h"
#include "src/core/validate.h"

#include <math.h>

#define DETAIL_LIMIT 400

void (lora_check_options_init)(lora_check_options *options, size_t struct_size)
{
    const lora_check_options defaults = {.max_length = 512, .max_listed = 1000, .near_duplicate = 0.8};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

// ---- hits ---------------------------------------------------------------------------------------------------------

static lora_status add_hit(lora_check *check, lr_kind kind, const lr_hit *hit)
{
    lr_hits *hits = &check->hits[kind];
    LR_TRY(lr_grow(&check->context->allocator, (void **)&hits->items, &hits->capacity, hits->count + 1, sizeof *hit));
    hits->items[hits->count++] = *hit;
    return LORA_OK;
}

lora_status lr_add_hit(lora_check *check, lr_kind kind, size_t row, const char *detail, size_t detail_length)
{
    const lora_allocator *allocator = &check->context->allocator;
    lr_hit hit = {.row = (uint32_t)row, .other = -1, .similarity = NAN};
    if (detail) {
        if (detail_length > DETAIL_LIMIT) detail_length = lr_utf8_previous(detail, DETAIL_LIMIT + 1);
        hit.detail = lr_duplicate_range(allocator, detail, detail_length);
        if (!hit.detail) return LORA_ERROR_MEMORY;
    }
    lora_status status = add_hit(check, kind, &hit);
    if (status != LORA_OK) lr_free(allocator, hit.detail);
    return status;
}

lora_status lr_add_pair(lora_check *check, lr_kind kind, size_t row, size_t other, double similarity)
{
    return add_hit(check, kind,
                   &(lr_hit){.row = (uint32_t)row, .other = (int64_t)other, .similarity = similarity});
}

// ---- reading ------------------------------------------------------------------------------------------------------

typedef struct collector {
    lora_check *check;
    bool validation;
} collector;

// The file's name, kept once for all its rows.
static lora_status keep_name(lora_check *check, const char *path, const char **out)
{
    const lora_allocator *allocator = &check->context->allocator;
    size_t count = check->file_count;
    if (count == 0 || strcmp(check->files[count - 1], path) != 0) {
        LR_TRY(lr_grow(allocator, (void **)&check->files, &check->file_capacity, count + 1, sizeof(char *)));
        check->files[count] = lr_duplicate(allocator, path);
        if (!check->files[count]) return LORA_ERROR_MEMORY;
        check->file_count++;
    }
    *out = check->files[check->file_count - 1];
    return LORA_OK;
}

static lora_status add_row(const collector *collecting, const lr_place *place, lr_check_row **out)
{
    lora_check *check = collecting->check;
    const char *path;
    if (check->row_count == UINT32_MAX)
        return lr_fail(LORA_ERROR_DATA, "a check takes at most %u rows", UINT32_MAX);
    LR_TRY(keep_name(check, place->path, &path));
    LR_TRY(lr_grow(&check->context->allocator, (void **)&check->rows, &check->row_capacity, check->row_count + 1,
                   sizeof(lr_check_row)));
    *out = &check->rows[check->row_count++];
    **out = (lr_check_row){
        .path = path, .number = place->number, .is_line = place->is_line, .validation = collecting->validation};
    return LORA_OK;
}

static lora_status refuse_row(const lr_place *place, lora_status status, void *user)
{
    const collector *collecting = user;
    lr_check_row *row;
    (void)status;
    LR_TRY(add_row(collecting, place, &row));
    const char *message = lr_error_text();
    return lr_add_hit(collecting->check, LR_UNREADABLE_ROW, collecting->check->row_count - 1, message, strlen(message));
}

static lora_status take_row(const json_t *row, const lr_place *place, bool *done, void *user)
{
    const collector *collecting = user;
    lora_check *check = collecting->check;
    lr_check_row *kept, read;
    (void)done;
    lora_status status = lr_check_row_read(check->context, row, place, &read);
    if (status == LORA_ERROR_MEMORY) return status;
    if (status != LORA_OK) return refuse_row(place, status, user);
    status = add_row(collecting, place, &kept);
    if (status != LORA_OK) {
        lr_check_row_free(&check->context->allocator, &read);
        return status;
    }
    read.path = kept->path, read.number = kept->number, read.is_line = kept->is_line;
    read.validation = kept->validation;
    *kept = read;
    return LORA_OK;
}

static lora_status collect(lora_check *check, const char *const *paths, size_t count, bool validation)
{
    collector collecting = {.check = check, .validation = validation};
    lr_row_sink sink = {.take = take_row, .refuse = refuse_row, .user = &collecting};
    for (size_t i = 0; i < count; i++) LR_TRY(lr_rows_read(check->context, paths[i], &sink));
    if (check->row_count > 0) return LORA_OK;
    return lr_fail(LORA_ERROR_DATA, "%s%s: there are no rows to check",
                   strcmp(paths[0], "-") ? paths[0] : "standard input", count > 1 ? " and the other files" : "");
}

// ---- the whole ----------------------------------------------------------------------------------------------------

static lora_status find_bad_answers(lora_check *check)
{
    for (size_t i = 0; i < check->row_count; i++)
        if (check->rows[i].row && !check->rows[i].has_text && !json_object_get(check->rows[i].row, "input_ids"))
            LR_TRY(lr_add_hit(check, LR_BAD_ANSWER, i, NULL, 0));
    return LORA_OK;
}

static lora_status look(lora_check *check, const lora_tokenizer *tokenizer)
{
    LR_TRY(lr_find_answers(check));
    LR_TRY(lr_find_repeats(check));
    LR_TRY(lr_find_damage(check));
    LR_TRY(lr_find_remnants(check));
    LR_TRY(lr_find_personal(check));
    LR_TRY(lr_find_languages(check));
    LR_TRY(lr_find_lengths(check, tokenizer));
    LR_TRY(find_bad_answers(check));
    return lr_make_report(check);
}

lora_status lora_check_create(lora_context *context, const lora_tokenizer *tokenizer, const char *const *paths,
                              size_t path_count, const char *const *validation_paths, size_t validation_count,
                              const lora_check_options *options, lora_check **out)
{
    lora_check_options all;
    lora_check_options_init(&all);
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(out);
    LR_CHECK_ARGUMENT(paths && path_count > 0, "lora_check_create: no files were given");
    LR_CHECK_ARGUMENT(validation_paths || validation_count == 0, "lora_check_create: validation_paths is NULL");
    for (size_t i = 0; i < path_count; i++) LR_CHECK_ARGUMENT(paths[i], "lora_check_create: path %zu is NULL", i);
    for (size_t i = 0; i < validation_count; i++)
        LR_CHECK_ARGUMENT(validation_paths[i], "lora_check_create: validation path %zu is NULL", i);
    LR_TRY(lr_take_options(&all, sizeof all, options, __func__));
    LR_CHECK_ARGUMENT(all.max_length >= 2, "max_length is %d: at least 2 ids make a row", all.max_length);
    LR_CHECK_ARGUMENT(all.max_listed >= 0, "max_listed is %d: expected 0 (all) or more", all.max_listed);
    LR_CHECK_ARGUMENT(all.near_duplicate > 0 && all.near_duplicate <= 1,
                      "near_duplicate is %g: expected a similarity above 0, at most 1", all.near_duplicate);
    lora_check *check = lr_alloc_zeroed(&context->allocator, 1, sizeof *check);
    if (!check) return LORA_ERROR_MEMORY;
    check->context = lr_context_retain(context);
    check->options = all;
    lora_status status = collect(check, paths, path_count, false);
    if (status == LORA_OK && validation_count > 0) status = collect(check, validation_paths, validation_count, true);
    if (status == LORA_OK) status = look(check, tokenizer);
    if (status != LORA_OK) {
        lora_check_free(check);
        return status;
    }
    check->options.template_source = NULL; // the caller's
    *out = check;
    return LORA_OK;
}

void lora_check_free(lora_check *check)
{
    if (!check) return;
    lora_context *context = check->context;
    const lora_allocator *allocator = &context->allocator;
    for (size_t i = 0; i < check->row_count; i++) lr_check_row_free(allocator, &check->rows[i]);
    for (size_t i = 0; i < check->file_count; i++) lr_free(allocator, check->files[i]);
    for (size_t kind = 0; kind < LR_KIND_COUNT; kind++) {
        for (size_t i = 0; i < check->hits[kind].count; i++) lr_free(allocator, check->hits[kind].items[i].detail);
        lr_free(allocator, check->hits[kind].items);
    }
    json_decref(check->lengths);
    json_decref(check->languages);
    json_decref(check->labels);
    lr_free(allocator, check->report);
    lr_free(allocator, check->files);
    lr_free(allocator, check->rows);
    lr_free(allocator, check);
    lr_context_release(context);
}

lora_status lora_check_get_info(const lora_check *check, lora_check_info *info)
{
    LR_CHECK_HANDLE(check);
    return lr_give_info(info, &check->info, sizeof check->info, __func__);
}

lora_status lora_check_report(const lora_check *check, const char **json, size_t *length)
{
    LR_CHECK_HANDLE(check);
    LR_CHECK_ARGUMENT(json, "lora_check_report: json is NULL");
    *json = check->report;
    if (length) *length = check->report_length;
    return LORA_OK;
}
