// Opening data files: which format a name says, and rows on into a dataset.
#include "src/data/rows.h"

#include "lib/file.h"
#include "src/core/validate.h"

#include <stdio.h>
#include <strings.h>

#define MAX_FILE ((size_t)4 << 30)

// ---- reading a file -----------------------------------------------------------------------------------------------

static lora_status read_standard_input(const lora_allocator *allocator, char **text, size_t *length)
{
    lr_bytes bytes;
    lora_status status = LORA_OK;
    size_t got;
    lr_bytes_init(&bytes, allocator, MAX_FILE);
    do {
        status = lr_bytes_reserve(&bytes, 65536);
        if (status != LORA_OK) break;
        got = fread(bytes.data + bytes.size, 1, 65536, stdin);
        bytes.size += got;
    } while (got > 0);
    if (status == LORA_OK && ferror(stdin)) status = lr_fail(LORA_ERROR_IO, "standard input could not be read");
    if (status != LORA_OK) {
        lr_bytes_free(&bytes);
        return status;
    }
    bytes.data[bytes.size] = '\0';
    *text = bytes.data;
    *length = bytes.size;
    return LORA_OK;
}

// The file's name without ".gz" ends in `ending`.
static bool has_ending(const char *path, const char *ending)
{
    size_t length = strlen(path), size = strlen(ending);
    if (length > 3 && strcasecmp(path + length - 3, ".gz") == 0) length -= 3;
    return length > size && strncasecmp(path + length - size, ending, size) == 0;
}

lora_status lr_rows_refuse(const lr_row_sink *sink, const lr_place *place, lora_status status)
{
    if (status == LORA_ERROR_MEMORY || !sink->refuse) return status;
    return sink->refuse(place, status, sink->user);
}

// `usual`: a table's delimiter; NULL: the text need not be one.
static lora_status read_table_or_text(lora_context *context, const char *path, const char *text, size_t length,
                                      const char *usual, const lr_row_sink *sink)
{
    const char *delimiter;
    LR_TRY(lr_find_delimiter(&context->allocator, text, length, usual, &delimiter));
    if (delimiter) return lr_rows_delimited(&context->allocator, path, text, length, delimiter, sink);
    size_t fields = lr_count_even_fields(text);
    if (fields > 1)
        lr_log(
            context, LORA_LOG_WARNING,
            "%s: each line has %zu fields between tabs, but the first names no known columns: the file is read as one "
            "running text. Put a line that names them in front, like text<TAB>label",
            path, fields);
    return lr_rows_text(path, text, length, sink);
}

static lora_status read_rows(lora_context *context, const char *path, const char *text, size_t length,
                             const lr_row_sink *sink)
{
    if (has_ending(path, ".csv")) return read_table_or_text(context, path, text, length, ",", sink);
    if (has_ending(path, ".tsv")) return read_table_or_text(context, path, text, length, "\t", sink);
    if (has_ending(path, ".txt")) return read_table_or_text(context, path, text, length, NULL, sink);
    size_t first = strspn(text, " \t\r\n");
    return first < length && text[first] == '[' ? lr_rows_json(path, text, length, sink)
                                                : lr_rows_json_lines(path, text, length, sink);
}

lora_status lr_rows_read_file(lora_context *context, const char *path, const lr_row_sink *sink)
{
    static const char *const endings[] = {".json", ".jsonl", ".csv", ".tsv", ".txt"};
    const lora_allocator *allocator = &context->allocator;
    bool standard_input = strcmp(path, "-") == 0, known = standard_input;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) known |= has_ending(path, endings[i]);
    if (!known)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: a data file's name ends in .json, .jsonl, .csv, .tsv or .txt, or one of these "
                       "and .gz",
                       path);
    char *text;
    const char *encoding, *name = standard_input ? "standard input" : path;
    size_t length;
    LR_TRY(standard_input ? read_standard_input(allocator, &text, &length)
                          : lr_file_read_text(allocator, &context->files, path, MAX_FILE, &text, &length));
    lora_status status = lr_decode_text(allocator, name, &text, &length, &encoding);
    if (status == LORA_OK && strcmp(encoding, "UTF-8") != 0)
        lr_log(context, LORA_LOG_INFO, "%s is in %s", name, encoding);
    if (status == LORA_OK) status = read_rows(context, name, text, length, sink);
    lr_free(allocator, text);
    return status;
}

// ---- the dataset --------------------------------------------------------------------------------------------------

void (lora_dataset_options_init)(lora_dataset_options *options, size_t struct_size)
{
    const lora_dataset_options defaults = {.max_length = 512, .raw_text_split = 1};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

typedef struct loader {
    const lr_encoder *encoder;
    lora_dataset *dataset;
    int64_t rows; // taken from the files: a split text is one
} loader;

static lora_status take_row(const json_t *row, const lr_place *place, bool *done, void *user)
{
    loader *loading = user;
    int32_t limit = loading->encoder->options->max_rows;
    if (!json_is_object(row))
        return lr_fail(LORA_ERROR_DATA, LR_PLACE ": the row is no object", LR_PLACE_ARGUMENTS(place));
    LR_TRY(lr_encode_row(loading->encoder, row, place, loading->dataset));
    loading->rows++;
    *done = limit > 0 && loading->rows >= limit;
    return LORA_OK;
}

static lora_status load_files(const lr_encoder *encoder, const char *const *paths, size_t path_count,
                              lora_dataset *dataset)
{
    loader loading = {.encoder = encoder, .dataset = dataset};
    int32_t limit = encoder->options->max_rows;
    lr_row_sink sink = {.take = take_row, .user = &loading};
    for (size_t i = 0; i < path_count && (limit <= 0 || loading.rows < limit); i++)
        LR_TRY(lr_rows_read(encoder->context, paths[i], &sink));
    if (dataset->row_count == 0)
        return lr_fail(LORA_ERROR_DATA, "%s%s: there are no rows to learn from",
                       strcmp(paths[0], "-") ? paths[0] : "standard input",
                       path_count > 1 ? " and the other files" : "");
    return LORA_OK;
}

lora_status lora_dataset_load(lora_context *context, const lora_tokenizer *tokenizer, const char *const *paths,
                              size_t path_count, const lora_dataset_options *options, lora_dataset **out)
{
    lora_dataset_options all;
    lr_encoder encoder;
    lora_dataset *dataset = NULL;
    lora_dataset_options_init(&all);
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(out);
    LR_CHECK_ARGUMENT(paths && path_count > 0, "lora_dataset_load: no files were given");
    for (size_t i = 0; i < path_count; i++) LR_CHECK_ARGUMENT(paths[i], "lora_dataset_load: path %zu is NULL", i);
    LR_TRY(lr_take_options(&all, sizeof all, options, __func__));
    LR_CHECK_ARGUMENT(all.max_length >= 2, "max_length is %d: at least 2 ids make a row", all.max_length);
    LR_CHECK_ARGUMENT(all.max_rows >= 0, "max_rows is %d: expected 0 (all) or more", all.max_rows);
    LR_TRY(lr_encoder_init(context, tokenizer, &all, &encoder));
    lora_status status = lora_dataset_create(context, &dataset);
    if (status == LORA_OK) status = load_files(&encoder, paths, path_count, dataset);
    lr_encoder_free(&encoder);
    if (status != LORA_OK) {
        lr_dataset_release(dataset);
        return status;
    }
    *out = dataset;
    return LORA_OK;
}
