// The reading half. The header is parsed once; after the checks each tensor's value in it is replaced by the tensor's
// index, so that it serves as the table of names.
#include "lib/safetensors.h"

#include "lib/json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000 // bytes; the format's own limit
#define METADATA "__metadata__"

static const struct dtype {
    const char *name;
    uint8_t bits;
    int8_t type; // lora_type, or -1: can be in a file, is not read
} dtypes[] = {
    {"F32", 32, LORA_TYPE_F32}, {"F16", 16, LORA_TYPE_F16}, {"BF16", 16, LORA_TYPE_BF16}, {"I32", 32, LORA_TYPE_I32},
    {"F64", 64, -1}, {"I64", 64, -1}, {"I16", 16, -1}, {"I8", 8, -1}, {"U64", 64, -1}, {"U32", 32, -1}, {"U16", 16, -1},
    {"U8", 8, -1}, {"BOOL", 8, -1}, {"F8_E4M3", 8, -1}, {"F8_E5M2", 8, -1}, {"F8_E8M0", 8, -1}, {"C64", 64, -1},
    {"F6_E2M3", 6, -1}, {"F6_E3M2", 6, -1}, {"F4", 4, -1},
};

static const struct dtype *find_dtype(const json_t *name)
{
    for (size_t i = 0; json_is_string(name) && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, json_string_value(name)) == 0) return &dtypes[i];
    return NULL;
}

// ---- one tensor ---------------------------------------------------------------------------------------------------

static lora_status read_shape(const char *path, lr_tensor_entry *entry, const json_t *shape, uint64_t *numbers)
{
    if (!json_is_array(shape))
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: expected an array as its shape", path, entry->name);
    if (json_array_size(shape) > 4)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tensor %s has %zu dimensions, expected at most 4", path,
                       entry->name, json_array_size(shape));
    *numbers = 1;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *item = json_array_get(shape, i);
        int64_t extent = json_is_integer(item) ? json_integer_value(item) : -1;
        if (extent < 0 || !lr_multiply(*numbers, (uint64_t)extent, numbers) || *numbers > INT64_MAX / 64)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: its shape is negative, too large or no integers", path,
                           entry->name);
        entry->shape[entry->dimensions++] = extent;
    }
    return LORA_OK;
}

static lora_status read_range(const char *path, lr_tensor_entry *entry, const json_t *range, uint64_t data_size)
{
    const json_t *first = json_array_get(range, 0), *second = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: expected two integers as its data_offsets", path,
                       entry->name);
    int64_t begin = json_integer_value(first), end = json_integer_value(second);
    if (begin < 0 || end < begin || (uint64_t)end > data_size)
        return lr_fail(
            LORA_ERROR_FORMAT,
            "%s: tensor %s: its data_offsets are [%lld, %lld], but the file has %llu bytes of data (is it cut off?)",
            path, entry->name, (long long)begin, (long long)end, (unsigned long long)data_size);
    entry->offset = (uint64_t)begin; // from the start of the data; the caller adds where that is
    entry->size = (uint64_t)(end - begin);
    return LORA_OK;
}

static lora_status read_entry(const char *path, const char *name, const json_t *value, uint64_t data_size,
                              lr_tensor_entry *entry)
{
    *entry = (lr_tensor_entry){.name = name};
    if (!json_is_object(value))
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: expected an object in the header", path, name);
    const json_t *dtype_name = json_object_get(value, "dtype");
    const struct dtype *dtype = find_dtype(dtype_name);
    if (!dtype)
        return lr_fail(json_is_string(dtype_name) ? LORA_ERROR_UNSUPPORTED : LORA_ERROR_FORMAT,
                       "%s: tensor %s: unknown dtype %s", path, name,
                       json_is_string(dtype_name) ? json_string_value(dtype_name) : "(none)");
    entry->type = dtype->type;
    entry->type_name = dtype->name;
    uint64_t numbers = 0;
    LR_TRY(read_shape(path, entry, json_object_get(value, "shape"), &numbers));
    LR_TRY(read_range(path, entry, json_object_get(value, "data_offsets"), data_size));
    uint64_t bits = numbers * dtype->bits; // fits: numbers <= 2^63 / 64
    if (bits % 8 != 0 || entry->size != bits / 8)
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: tensor %s: its data_offsets span %llu bytes, its shape and dtype need %llu", path, name,
                       (unsigned long long)entry->size, (unsigned long long)((bits + 7) / 8));
    return LORA_OK;
}

// ---- the header ---------------------------------------------------------------------------------------------------

static lora_status check_metadata(const char *path, const json_t *metadata)
{
    json_t *whole = (json_t *)(uintptr_t)metadata;
    bool fits = json_is_object(metadata);
    for (void *at = fits ? json_object_iter(whole) : NULL; at && fits; at = json_object_iter_next(whole, at))
        fits = json_is_string(json_object_iter_value(at));
    return fits ? LORA_OK : lr_fail(LORA_ERROR_FORMAT, "%s: expected texts in %s of its header", path, METADATA);
}

// Bytes of the header, with the eight before it.
static lora_status header_size(const lr_file *file, const char *path, uint64_t *size)
{
    uint64_t length = 0;
    if (file->size < 8)
        return lr_fail(LORA_ERROR_FORMAT, "%s: it has %llu bytes, expected a safetensors file", path,
                       (unsigned long long)file->size);
    for (int i = 7; i >= 0; i--) length = length << 8 | file->bytes[i];
    if (length > MAX_HEADER)
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: its header is said to have %llu bytes, expected at most %d: not a safetensors file", path,
                       (unsigned long long)length, MAX_HEADER);
    if (length > file->size - 8)
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: its header is said to have %llu bytes, but only %llu follow: the file is cut off", path,
                       (unsigned long long)length, (unsigned long long)(file->size - 8));
    if (length == 0 || file->bytes[8] != '{')
        return lr_fail(LORA_ERROR_FORMAT, "%s: its header does not begin with \"{\": not a safetensors file", path);
    *size = length + 8;
    return LORA_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    const lr_tensor_entry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

// Ranges follow one another from 0 to the end. Afterwards offsets count from the start of the file.
static lora_status check_ranges(lr_safetensors *file, const char *path, uint64_t data_begin)
{
    uint64_t expected = 0, data_size = file->file.size - data_begin;
    if (file->count) qsort(file->entries, file->count, sizeof *file->entries, compare_ranges);
    for (size_t i = 0; i < file->count; i++) {
        lr_tensor_entry *entry = &file->entries[i];
        if (entry->offset != expected)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s begins at byte %llu of the data, expected %llu: %s", path,
                           entry->name, (unsigned long long)entry->offset, (unsigned long long)expected,
                           entry->offset < expected ? "tensors overlap" : "bytes belong to no tensor");
        expected += entry->size;
        entry->offset += data_begin;
    }
    if (expected != data_size)
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: its tensors take %llu bytes, the file has %llu: bytes belong to no tensor", path,
                       (unsigned long long)expected, (unsigned long long)data_size);
    return LORA_OK;
}

static lora_status read_entries(lr_safetensors *file, const char *path, uint64_t data_begin)
{
    json_t *metadata = json_object_get(file->header, METADATA);
    if (metadata && !json_is_null(metadata)) LR_TRY(check_metadata(path, metadata)); // some writers put null
    size_t count = json_object_size(file->header) - (metadata ? 1 : 0);
    file->entries = lr_alloc_array(file->allocator, count, sizeof *file->entries);
    if (!file->entries) return LORA_ERROR_MEMORY;
    for (void *at = json_object_iter(file->header); at; at = json_object_iter_next(file->header, at)) {
        const char *name = json_object_iter_key(at);
        if (strcmp(name, METADATA) == 0) continue;
        LR_TRY(read_entry(path, name, json_object_iter_value(at), file->file.size - data_begin,
                          &file->entries[file->count]));
        file->count++;
    }
    return LORA_OK;
}

static lora_status index_names(lr_safetensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        if (json_object_set_new(file->header, file->entries[i].name, json_integer((json_int_t)i)) != 0)
            return lr_fail_memory(sizeof(json_int_t));
    return LORA_OK;
}

static lora_status read_header(lr_safetensors *file, const char *path)
{
    uint64_t data_begin = 0;
    LR_TRY(header_size(&file->file, path, &data_begin));
    LR_TRY(lr_json_parse_unique(path, (const char *)file->file.bytes + 8, (size_t)(data_begin - 8), &file->header));
    LR_TRY(read_entries(file, path, data_begin));
    LR_TRY(check_ranges(file, path, data_begin));
    return index_names(file);
}

lora_status lr_safetensors_open(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                                lr_safetensors *out)
{
    *out = (lr_safetensors){.allocator = allocator};
    LR_TRY(lr_file_open(allocator, files, path, UINT64_MAX, &out->file));
    lora_status status = read_header(out, path);
    if (status != LORA_OK) lr_safetensors_close(out);
    return status;
}

void lr_safetensors_close(lr_safetensors *file)
{
    if (file->entries) lr_free(file->allocator, file->entries);
    json_decref(file->header);
    lr_file_close(&file->file);
    *file = (lr_safetensors){0};
}

const lr_tensor_entry *lr_safetensors_find(const lr_safetensors *file, const char *name)
{
    const json_t *index = json_object_get(file->header, name);
    return json_is_integer(index) ? &file->entries[json_integer_value(index)] : NULL;
}

const char *lr_safetensors_metadata(const lr_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, METADATA), key));
}
