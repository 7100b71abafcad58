// The reading half. A cursor walks over the mapped file and never past its end; counts are believed only as far as the
// bytes that are left can hold them.
#include "lib/gguf.h"

#include <stdlib.h>
#include <string.h>

#define MAX_KEY 65535 // bytes; the format's own limit
#define MAX_ALIGNMENT (1u << 24)
#define MIN_PAIR 13   // bytes of the smallest pair: key length, type, a value of one byte
#define MIN_TENSOR 24 // bytes of the smallest tensor description

// ggml's types, by their number in the file.
static const struct ggml_type {
    const char *name;
    int16_t block, bytes; // numbers in a block, bytes of a block
    int32_t type;         // lora_type, or -1
} ggml_types[] = {
    [0] = {"f32", 1, 4, LORA_TYPE_F32},       [1] = {"f16", 1, 2, LORA_TYPE_F16},
    [2] = {"q4_0", 32, 18, LORA_TYPE_Q4_0},   [3] = {"q4_1", 32, 20, LORA_TYPE_Q4_1},
    [6] = {"q5_0", 32, 22, LORA_TYPE_Q5_0},   [7] = {"q5_1", 32, 24, LORA_TYPE_Q5_1},
    [8] = {"q8_0", 32, 34, LORA_TYPE_Q8_0},   [9] = {"q8_1", 32, 40, -1},
    [10] = {"q2_k", 256, 84, -1},             [11] = {"q3_k", 256, 110, -1},
    [12] = {"q4_k", 256, 144, LORA_TYPE_Q4_K}, [13] = {"q5_k", 256, 176, LORA_TYPE_Q5_K},
    [14] = {"q6_k", 256, 210, LORA_TYPE_Q6_K}, [15] = {"q8_k", 256, 292, -1},
    [16] = {"iq2_xxs", 256, 66, -1},          [17] = {"iq2_xs", 256, 74, -1},
    [18] = {"iq3_xxs", 256, 98, -1},          [19] = {"iq1_s", 256, 50, -1},
    [20] = {"iq4_nl", 32, 18, -1},            [21] = {"iq3_s", 256, 110, -1},
    [22] = {"iq2_s", 256, 82, -1},            [23] = {"iq4_xs", 256, 136, -1},
    [24] = {"i8", 1, 1, -1},                  [25] = {"i16", 1, 2, -1},
    [26] = {"i32", 1, 4, LORA_TYPE_I32},      [27] = {"i64", 1, 8, -1},
    [28] = {"f64", 1, 8, -1},                 [29] = {"iq1_m", 256, 56, -1},
    [30] = {"bf16", 1, 2, LORA_TYPE_BF16},    [34] = {"tq1_0", 256, 54, -1},
    [35] = {"tq2_0", 256, 66, -1},            [39] = {"mxfp4", 32, 17, -1},
};

// Bytes of a value or array item; 0: has a length of its own.
static const uint8_t scalar_bytes[] = {
    [LR_GGUF_U8] = 1,   [LR_GGUF_I8] = 1,   [LR_GGUF_U16] = 2,  [LR_GGUF_I16] = 2,    [LR_GGUF_U32] = 4,
    [LR_GGUF_I32] = 4,  [LR_GGUF_F32] = 4,  [LR_GGUF_BOOL] = 1, [LR_GGUF_STRING] = 0, [LR_GGUF_ARRAY] = 0,
    [LR_GGUF_U64] = 8,  [LR_GGUF_I64] = 8,  [LR_GGUF_F64] = 8,
};

static const char *const type_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};

// ---- the cursor ---------------------------------------------------------------------------------------------------

typedef struct cursor {
    const char *path;
    const uint8_t *begin, *at, *end;
} cursor;

static uint64_t left(const cursor *self)
{
    return (uint64_t)(self->end - self->at);
}

static lora_status take(cursor *self, uint64_t size, const uint8_t **bytes)
{
    if (size > left(self))
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: %llu bytes are needed at byte %llu, but only %llu follow: the file is cut off", self->path,
                       (unsigned long long)size, (unsigned long long)(self->at - self->begin),
                       (unsigned long long)left(self));
    *bytes = self->at;
    self->at += size;
    return LORA_OK;
}

static uint64_t little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

static lora_status take_integer(cursor *self, int size, uint64_t *value)
{
    const uint8_t *bytes = NULL;
    LR_TRY(take(self, (uint64_t)size, &bytes));
    *value = little_endian(bytes, size);
    return LORA_OK;
}

static lora_status take_text(cursor *self, lr_gguf_text *text)
{
    const uint8_t *bytes = NULL;
    LR_TRY(take_integer(self, 8, &text->length));
    LR_TRY(take(self, text->length, &bytes));
    text->bytes = (const char *)bytes;
    return LORA_OK;
}

// A key or tensor name, zero-terminated, from the allocator.
static lora_status take_name(cursor *self, const lora_allocator *allocator, const char *what, char **name)
{
    lr_gguf_text text = {0};
    LR_TRY(take_text(self, &text));
    if (text.length == 0 || text.length > MAX_KEY || memchr(text.bytes, '\0', (size_t)text.length))
        return lr_fail(LORA_ERROR_FORMAT, "%s: a %s at byte %llu is empty, longer than %d bytes or holds a zero",
                       self->path, what, (unsigned long long)((const uint8_t *)text.bytes - self->begin), MAX_KEY);
    *name = lr_duplicate_range(allocator, text.bytes, (size_t)text.length);
    return *name ? LORA_OK : LORA_ERROR_MEMORY;
}

// ---- pairs --------------------------------------------------------------------------------------------------------

static lora_status read_scalar(cursor *self, const char *key, lr_gguf_value *value)
{
    int size = scalar_bytes[value->type];
    uint64_t raw = 0;
    LR_TRY(take_integer(self, size, &raw));
    float single;
    uint32_t low = (uint32_t)raw;
    switch (value->type) {
    case LR_GGUF_I8: value->integer = (int8_t)raw; break;
    case LR_GGUF_I16: value->integer = (int16_t)raw; break;
    case LR_GGUF_I32: value->integer = (int32_t)raw; break;
    case LR_GGUF_I64: value->integer = (int64_t)raw; break;
    case LR_GGUF_F32:
        memcpy(&single, &low, sizeof single);
        value->real = (double)single;
        break;
    case LR_GGUF_F64: memcpy(&value->real, &raw, sizeof raw); break;
    case LR_GGUF_BOOL:
        if (raw > 1)
            return lr_fail(LORA_ERROR_FORMAT, "%s: key %s: expected a bool of 0 or 1, found %d", self->path, key,
                           (int)raw);
        value->unsigned_integer = raw;
        break;
    default: value->unsigned_integer = raw; break;
    }
    return LORA_OK;
}

static lora_status read_array(cursor *self, const char *key, lr_gguf_value *value)
{
    uint64_t item_type = 0, size;
    LR_TRY(take_integer(self, 4, &item_type));
    LR_TRY(take_integer(self, 8, &value->count));
    if (item_type == LR_GGUF_ARRAY)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: key %s: an array of arrays is not read", self->path, key);
    if (item_type > LR_GGUF_F64)
        return lr_fail(LORA_ERROR_FORMAT, "%s: key %s: its items have the unknown type %llu", self->path, key,
                       (unsigned long long)item_type);
    value->item_type = (int32_t)item_type;
    value->items = self->at;
    uint64_t item = item_type == LR_GGUF_STRING ? 8 : scalar_bytes[item_type]; // a text has at least its length
    if (!lr_multiply(value->count, item, &size) || size > left(self))
        return lr_fail(LORA_ERROR_FORMAT,
                       "%s: key %s: it is said to have %llu items, which the rest of the file cannot hold", self->path,
                       key, (unsigned long long)value->count);
    if (item_type != LR_GGUF_STRING) return take(self, size, &value->items);
    lr_gguf_text text;
    for (uint64_t i = 0; i < value->count; i++) LR_TRY(take_text(self, &text));
    return LORA_OK;
}

static lora_status read_value(cursor *self, const char *key, lr_gguf_value *value)
{
    uint64_t type = 0;
    LR_TRY(take_integer(self, 4, &type));
    if (type > LR_GGUF_F64)
        return lr_fail(LORA_ERROR_FORMAT, "%s: key %s has the unknown type %llu", self->path, key,
                       (unsigned long long)type);
    value->type = (int32_t)type;
    if (type == LR_GGUF_ARRAY) return read_array(self, key, value);
    if (type != LR_GGUF_STRING) return read_scalar(self, key, value);
    LR_TRY(take_text(self, &value->text));
    if (memchr(value->text.bytes, '\0', (size_t)value->text.length))
        return lr_fail(LORA_ERROR_FORMAT, "%s: key %s: its text holds a zero", self->path, key);
    return LORA_OK;
}

static lora_status read_pairs(lr_gguf *file, cursor *at, uint64_t count)
{
    if (count > left(at) / MIN_PAIR)
        return lr_fail(LORA_ERROR_FORMAT, "%s: it is said to have %llu keys, which its %llu bytes cannot hold",
                       at->path, (unsigned long long)count, (unsigned long long)file->file.size);
    file->pairs = lr_alloc_zeroed(file->allocator, (size_t)count, sizeof *file->pairs);
    if (!file->pairs) return LORA_ERROR_MEMORY;
    for (uint64_t i = 0; i < count; i++) {
        lr_gguf_pair *pair = &file->pairs[i];
        LR_TRY(take_name(at, file->allocator, "key", &pair->key));
        file->pair_count++;
        LR_TRY(read_value(at, pair->key, &pair->value));
    }
    return LORA_OK;
}

// ---- tensors ------------------------------------------------------------------------------------------------------

// Dimensions come innermost first; rows of the innermost are whole numbers of blocks.
static lora_status read_shape(cursor *at, lr_tensor_entry *entry, uint64_t *numbers)
{
    uint64_t dimensions = 0, extent = 0;
    LR_TRY(take_integer(at, 4, &dimensions));
    if (dimensions > 4)
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s has %llu dimensions, expected at most 4", at->path,
                       entry->name, (unsigned long long)dimensions);
    entry->dimensions = (int32_t)dimensions;
    *numbers = 1;
    for (int32_t i = entry->dimensions - 1; i >= 0; i--) {
        LR_TRY(take_integer(at, 8, &extent));
        if (extent > INT64_MAX || !lr_multiply(*numbers, extent, numbers) || *numbers > INT64_MAX)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: its shape is too large", at->path, entry->name);
        entry->shape[i] = (int64_t)extent;
    }
    return LORA_OK;
}

static lora_status read_type(cursor *at, lr_tensor_entry *entry, uint64_t numbers)
{
    uint64_t id = 0;
    LR_TRY(take_integer(at, 4, &id));
    entry->type = -1;
    entry->type_name = "unknown";
    if (id >= sizeof ggml_types / sizeof *ggml_types || !ggml_types[id].name) return LORA_OK; // its size stays 0
    const struct ggml_type *type = &ggml_types[id];
    uint64_t cols = entry->dimensions ? (uint64_t)entry->shape[entry->dimensions - 1] : 1;
    entry->type = type->type;
    entry->type_name = type->name;
    if (cols % (uint64_t)type->block != 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: its rows have %llu numbers, expected a multiple of %d for %s",
                       at->path, entry->name, (unsigned long long)cols, type->block, type->name);
    if (!lr_multiply(numbers / (uint64_t)type->block, (uint64_t)type->bytes, &entry->size) || entry->size > INT64_MAX)
        return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: its shape is too large", at->path, entry->name);
    return LORA_OK;
}

static lora_status read_tensors(lr_gguf *file, cursor *at, uint64_t count)
{
    if (count > left(at) / MIN_TENSOR)
        return lr_fail(LORA_ERROR_FORMAT, "%s: it is said to have %llu tensors, which its %llu bytes cannot hold",
                       at->path, (unsigned long long)count, (unsigned long long)file->file.size);
    file->entries = lr_alloc_zeroed(file->allocator, (size_t)count, sizeof *file->entries);
    if (!file->entries) return LORA_ERROR_MEMORY;
    for (uint64_t i = 0; i < count; i++) {
        lr_tensor_entry *entry = &file->entries[i];
        char *name = NULL;
        uint64_t numbers = 0;
        LR_TRY(take_name(at, file->allocator, "tensor name", &name));
        entry->name = name;
        file->count++;
        LR_TRY(read_shape(at, entry, &numbers));
        LR_TRY(read_type(at, entry, numbers));
        LR_TRY(take_integer(at, 8, &entry->offset));
    }
    return LORA_OK;
}

// ---- the whole ----------------------------------------------------------------------------------------------------

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static lora_status check_unique(const lr_gguf *file, const char *path, size_t count, bool pairs)
{
    const char **names = lr_alloc_array(file->allocator, count, sizeof *names);
    if (!names) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) names[i] = pairs ? file->pairs[i].key : file->entries[i].name;
    if (count) qsort(names, count, sizeof *names, compare_texts);
    lora_status status = LORA_OK;
    for (size_t i = 1; i < count && status == LORA_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = lr_fail(LORA_ERROR_FORMAT, "%s: %s %s is there twice", path, pairs ? "key" : "tensor", names[i]);
    lr_free(file->allocator, names);
    return status;
}

static int compare_offsets(const void *a, const void *b)
{
    const lr_tensor_entry *x = *(const lr_tensor_entry *const *)a, *y = *(const lr_tensor_entry *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static lora_status check_overlap(const lr_gguf *file, const char *path)
{
    const lr_tensor_entry **order = lr_alloc_array(file->allocator, file->count, sizeof *order);
    if (!order) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < file->count; i++) order[i] = &file->entries[i];
    if (file->count) qsort(order, file->count, sizeof *order, compare_offsets);
    lora_status status = LORA_OK;
    for (size_t i = 1; i < file->count && status == LORA_OK; i++)
        if (order[i]->offset - order[i - 1]->offset < order[i - 1]->size)
            status =
                lr_fail(LORA_ERROR_FORMAT, "%s: tensors %s and %s overlap", path, order[i - 1]->name, order[i]->name);
    lr_free(file->allocator, order);
    return status;
}

static lora_status find_alignment(const lr_gguf *file, const char *path, uint64_t *alignment)
{
    int64_t value = 0;
    LR_TRY(lr_gguf_int(file, "general.alignment", 32, &value));
    if (value < 1 || value > MAX_ALIGNMENT || (value & (value - 1)) != 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: general.alignment is %lld, expected a power of two", path,
                       (long long)value);
    *alignment = (uint64_t)value;
    return LORA_OK;
}

// Offsets count from the aligned end of the descriptions; afterwards from the start of the file.
static lora_status place_tensors(lr_gguf *file, const cursor *at)
{
    uint64_t alignment = 1, begin = (uint64_t)(at->at - at->begin), size = file->file.size;
    LR_TRY(find_alignment(file, at->path, &alignment));
    begin = (begin + alignment - 1) / alignment * alignment;
    for (size_t i = 0; i < file->count; i++) {
        lr_tensor_entry *entry = &file->entries[i];
        if (entry->offset % alignment != 0)
            return lr_fail(LORA_ERROR_FORMAT, "%s: tensor %s: its offset %llu is no multiple of the alignment %llu",
                           at->path, entry->name, (unsigned long long)entry->offset, (unsigned long long)alignment);
        if (begin > size || entry->offset > size - begin || entry->size > size - begin - entry->offset)
            return lr_fail(LORA_ERROR_FORMAT,
                           "%s: tensor %s: its %llu bytes at %llu of the data lie outside the file: it is cut off",
                           at->path, entry->name, (unsigned long long)entry->size, (unsigned long long)entry->offset);
        entry->offset += begin;
    }
    return check_overlap(file, at->path);
}

static lora_status read_all(lr_gguf *file, const char *path)
{
    cursor at = {path, file->file.bytes, file->file.bytes, file->file.bytes + file->file.size};
    uint64_t version = 0, tensors = 0, pairs = 0;
    if (file->file.size < 8 || memcmp(file->file.bytes, "GGUF", 4) != 0)
        return lr_fail(LORA_ERROR_FORMAT, "%s: it does not begin with GGUF: not a GGUF file", path);
    at.at += 4;
    LR_TRY(take_integer(&at, 4, &version));
    if (version != 2 && version != 3)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: GGUF version %llu%s, expected 2 or 3: convert it anew", path,
                       (unsigned long long)version, (version & 0xFFFF) == 0 ? " (big-endian)" : "");
    LR_TRY(take_integer(&at, 8, &tensors));
    LR_TRY(take_integer(&at, 8, &pairs));
    LR_TRY(read_pairs(file, &at, pairs));
    LR_TRY(check_unique(file, path, file->pair_count, true));
    LR_TRY(read_tensors(file, &at, tensors));
    LR_TRY(check_unique(file, path, file->count, false));
    return place_tensors(file, &at);
}

lora_status lr_gguf_open(const lora_allocator *allocator, const lora_file_access *files, const char *path, lr_gguf *out)
{
    *out = (lr_gguf){.allocator = allocator, .path = lr_duplicate(allocator, path)};
    if (!out->path) return LORA_ERROR_MEMORY;
    lora_status status = lr_file_open(allocator, files, path, UINT64_MAX, &out->file);
    if (status == LORA_OK) status = read_all(out, path);
    if (status != LORA_OK) lr_gguf_close(out);
    return status;
}

void lr_gguf_close(lr_gguf *file)
{
    for (size_t i = 0; i < file->pair_count; i++) lr_free(file->allocator, file->pairs[i].key);
    for (size_t i = 0; i < file->count; i++) lr_free(file->allocator, (char *)(uintptr_t)file->entries[i].name);
    if (file->pairs) lr_free(file->allocator, file->pairs);
    if (file->entries) lr_free(file->allocator, file->entries);
    if (file->path) lr_free(file->allocator, file->path);
    lr_file_close(&file->file);
    *file = (lr_gguf){0};
}

// ---- looking up ---------------------------------------------------------------------------------------------------

const lr_gguf_value *lr_gguf_find(const lr_gguf *file, const char *key)
{
    for (size_t i = 0; i < file->pair_count; i++)
        if (strcmp(file->pairs[i].key, key) == 0) return &file->pairs[i].value;
    return NULL;
}

const lr_tensor_entry *lr_gguf_tensor(const lr_gguf *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0) return &file->entries[i];
    return NULL;
}

static lora_status wrong_type(const lr_gguf *file, const char *key, const char *expected, const lr_gguf_value *value)
{
    return lr_fail(LORA_ERROR_FORMAT, "%s: key %s: expected %s, found %s", file->path, key, expected,
                   type_names[value->type]);
}

lora_status lr_gguf_int(const lr_gguf *file, const char *key, int64_t fallback, int64_t *out)
{
    const lr_gguf_value *value = lr_gguf_find(file, key);
    *out = fallback;
    if (!value) return LORA_OK;
    switch (value->type) {
    case LR_GGUF_I8:
    case LR_GGUF_I16:
    case LR_GGUF_I32:
    case LR_GGUF_I64: *out = value->integer; return LORA_OK;
    case LR_GGUF_U8:
    case LR_GGUF_U16:
    case LR_GGUF_U32:
    case LR_GGUF_U64:
    case LR_GGUF_BOOL:
        if (value->unsigned_integer > INT64_MAX)
            return lr_fail(LORA_ERROR_FORMAT, "%s: key %s: %llu is too large", file->path, key,
                           (unsigned long long)value->unsigned_integer);
        *out = (int64_t)value->unsigned_integer;
        return LORA_OK;
    default: return wrong_type(file, key, "an integer", value);
    }
}

lora_status lr_gguf_real(const lr_gguf *file, const char *key, double fallback, double *out)
{
    const lr_gguf_value *value = lr_gguf_find(file, key);
    *out = fallback;
    if (!value) return LORA_OK;
    if (value->type != LR_GGUF_F32 && value->type != LR_GGUF_F64) return wrong_type(file, key, "f32 or f64", value);
    *out = value->real;
    return LORA_OK;
}

lora_status lr_gguf_string(const lr_gguf *file, const char *key, lr_gguf_text *out)
{
    const lr_gguf_value *value = lr_gguf_find(file, key);
    *out = (lr_gguf_text){"", 0};
    if (!value) return LORA_OK;
    if (value->type != LR_GGUF_STRING) return wrong_type(file, key, "a string", value);
    *out = value->text;
    return LORA_OK;
}

lr_gguf_text lr_gguf_next_text(const uint8_t **cursor_at)
{
    lr_gguf_text text = {(const char *)*cursor_at + 8, little_endian(*cursor_at, 8)};
    *cursor_at += 8 + text.length;
    return text;
}
