// Pairs and descriptions are gathered in memory, since the header begins with their counts; tensor data goes straight
// to the file.
#include "lib/gguf.h"

#include <string.h>

#define MAX_HEADER ((size_t)1 << 31)

struct lr_gguf_writer {
    const lora_allocator *allocator;
    lr_writer *file;
    lr_bytes pairs, tensors;
    uint64_t pair_count, tensor_count;
    uint64_t alignment;
    uint64_t *sizes; // bytes of each tensor
    size_t size_capacity;
    uint64_t offset;        // of the next tensor to be described
    bool header_written;
    uint64_t data_tensor;   // the tensor whose bytes come next
    uint64_t data_done;     // of its bytes
};

static const uint32_t ggml_ids[LORA_TYPE_COUNT] = {
    [LORA_TYPE_F32] = 0,   [LORA_TYPE_F16] = 1,  [LORA_TYPE_BF16] = 30, [LORA_TYPE_I32] = 26, [LORA_TYPE_Q8_0] = 8,
    [LORA_TYPE_Q4_0] = 2,  [LORA_TYPE_Q4_1] = 3, [LORA_TYPE_Q5_0] = 6,  [LORA_TYPE_Q5_1] = 7, [LORA_TYPE_Q4_K] = 12,
    [LORA_TYPE_Q5_K] = 13, [LORA_TYPE_Q6_K] = 14,
};

lora_status lr_gguf_writer_create(const lora_allocator *allocator, const char *path, bool overwrite,
                                  lr_gguf_writer **out)
{
    *out = NULL;
    lr_gguf_writer *writer = lr_alloc(allocator, sizeof *writer);
    if (!writer) return LORA_ERROR_MEMORY;
    *writer = (lr_gguf_writer){.allocator = allocator, .alignment = 32};
    lr_bytes_init(&writer->pairs, allocator, MAX_HEADER);
    lr_bytes_init(&writer->tensors, allocator, MAX_HEADER);
    lora_status status = lr_writer_create(allocator, path, overwrite, &writer->file);
    if (status != LORA_OK) {
        lr_gguf_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return LORA_OK;
}

// ---- pairs --------------------------------------------------------------------------------------------------------

static lora_status put_integer(lr_bytes *bytes, uint64_t value, int size)
{
    uint8_t little[8];
    for (int i = 0; i < size; i++) little[i] = (uint8_t)(value >> (8 * i));
    return lr_bytes_append(bytes, little, (size_t)size);
}

static lora_status put_text(lr_bytes *bytes, const char *text, size_t length)
{
    LR_TRY(put_integer(bytes, length, 8));
    return lr_bytes_append(bytes, text, length);
}

static lora_status put_float(lr_bytes *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_integer(bytes, bits, 4);
}

static lora_status begin_pair(lr_gguf_writer *writer, const char *key, int32_t type)
{
    if (writer->header_written) return lr_fail(LORA_ERROR_INTERNAL, "GGUF key %s came after tensor data", key);
    writer->pair_count++;
    LR_TRY(put_text(&writer->pairs, key, strlen(key)));
    return put_integer(&writer->pairs, (uint64_t)type, 4);
}

static lora_status begin_array(lr_gguf_writer *writer, const char *key, int32_t item_type, size_t count)
{
    LR_TRY(begin_pair(writer, key, LR_GGUF_ARRAY));
    LR_TRY(put_integer(&writer->pairs, (uint64_t)item_type, 4));
    return put_integer(&writer->pairs, count, 8);
}

lora_status lr_gguf_writer_u32(lr_gguf_writer *writer, const char *key, uint32_t value)
{
    LR_TRY(begin_pair(writer, key, LR_GGUF_U32));
    return put_integer(&writer->pairs, value, 4);
}

lora_status lr_gguf_writer_f32(lr_gguf_writer *writer, const char *key, float value)
{
    LR_TRY(begin_pair(writer, key, LR_GGUF_F32));
    return put_float(&writer->pairs, value);
}

lora_status lr_gguf_writer_bool(lr_gguf_writer *writer, const char *key, bool value)
{
    LR_TRY(begin_pair(writer, key, LR_GGUF_BOOL));
    return put_integer(&writer->pairs, value, 1);
}

lora_status lr_gguf_writer_string(lr_gguf_writer *writer, const char *key, const char *text, size_t length)
{
    LR_TRY(begin_pair(writer, key, LR_GGUF_STRING));
    return put_text(&writer->pairs, text, length);
}

lora_status lr_gguf_writer_strings(lr_gguf_writer *writer, const char *key, const lr_gguf_text *items, size_t count)
{
    LR_TRY(begin_array(writer, key, LR_GGUF_STRING, count));
    for (size_t i = 0; i < count; i++) LR_TRY(put_text(&writer->pairs, items[i].bytes, (size_t)items[i].length));
    return LORA_OK;
}

lora_status lr_gguf_writer_f32s(lr_gguf_writer *writer, const char *key, const float *items, size_t count)
{
    LR_TRY(begin_array(writer, key, LR_GGUF_F32, count));
    for (size_t i = 0; i < count; i++) LR_TRY(put_float(&writer->pairs, items[i]));
    return LORA_OK;
}

lora_status lr_gguf_writer_i32s(lr_gguf_writer *writer, const char *key, const int32_t *items, size_t count)
{
    LR_TRY(begin_array(writer, key, LR_GGUF_I32, count));
    for (size_t i = 0; i < count; i++) LR_TRY(put_integer(&writer->pairs, (uint32_t)items[i], 4));
    return LORA_OK;
}

static int scalar_size(int32_t type)
{
    switch (type) {
    case LR_GGUF_U8:
    case LR_GGUF_I8:
    case LR_GGUF_BOOL: return 1;
    case LR_GGUF_U16:
    case LR_GGUF_I16: return 2;
    case LR_GGUF_U64:
    case LR_GGUF_I64:
    case LR_GGUF_F64: return 8;
    default: return 4;
    }
}

static lora_status copy_items(lr_gguf_writer *writer, const lr_gguf_value *value)
{
    if (value->item_type != LR_GGUF_STRING)
        return lr_bytes_append(&writer->pairs, value->items,
                               (size_t)value->count * (size_t)scalar_size(value->item_type));
    const uint8_t *at = value->items;
    for (uint64_t i = 0; i < value->count; i++) lr_gguf_next_text(&at);
    return lr_bytes_append(&writer->pairs, value->items, (size_t)(at - value->items));
}

static lora_status copy_scalar(lr_gguf_writer *writer, const lr_gguf_value *value)
{
    uint64_t bits;
    if (value->type == LR_GGUF_F32) return put_float(&writer->pairs, (float)value->real);
    if (value->type == LR_GGUF_F64)
        memcpy(&bits, &value->real, sizeof bits);
    else
        bits = value->unsigned_integer; // of a signed one: the same bits
    return put_integer(&writer->pairs, bits, scalar_size(value->type));
}

lora_status lr_gguf_writer_copy(lr_gguf_writer *writer, const lr_gguf_pair *pair)
{
    const lr_gguf_value *value = &pair->value;
    // Tensors are laid out anew, with the usual alignment.
    if (strcmp(pair->key, "general.alignment") == 0) return LORA_OK;
    if (value->type == LR_GGUF_ARRAY) {
        LR_TRY(begin_array(writer, pair->key, value->item_type, (size_t)value->count));
        return copy_items(writer, value);
    }
    if (value->type == LR_GGUF_STRING)
        return lr_gguf_writer_string(writer, pair->key, value->text.bytes, (size_t)value->text.length);
    LR_TRY(begin_pair(writer, pair->key, value->type));
    return copy_scalar(writer, value);
}

// ---- tensors ------------------------------------------------------------------------------------------------------

static lora_status entry_bytes(const lr_tensor_entry *entry, uint64_t *bytes)
{
    int64_t cols = entry->dimensions > 0 ? entry->shape[entry->dimensions - 1] : 1;
    uint64_t rows = 1;
    bool fits = entry->type != LORA_TYPE_INT8 && entry->type != LORA_TYPE_NF4 && entry->dimensions >= 1 &&
                entry->dimensions <= 4;
    for (int32_t i = 0; fits && i + 1 < entry->dimensions; i++)
        fits = entry->shape[i] >= 0 && lr_multiply(rows, (uint64_t)entry->shape[i], &rows) && rows <= INT64_MAX;
    if (fits && lr_type_bytes(entry->type, (int64_t)rows, cols, bytes)) return LORA_OK;
    return lr_fail(LORA_ERROR_UNSUPPORTED, "tensor %s: a GGUF file cannot hold it with this type (%d) and shape",
                   entry->name, entry->type);
}

lora_status lr_gguf_writer_tensor(lr_gguf_writer *writer, const lr_tensor_entry *entry)
{
    uint64_t bytes;
    LR_TRY(entry_bytes(entry, &bytes));
    if (writer->header_written)
        return lr_fail(LORA_ERROR_INTERNAL, "GGUF tensor %s came after tensor data", entry->name);
    void *sizes = writer->sizes;
    lora_status status = lr_grow(writer->allocator, &sizes, &writer->size_capacity, (size_t)writer->tensor_count + 1,
                                 sizeof *writer->sizes);
    writer->sizes = sizes;
    if (status != LORA_OK) return status;
    writer->sizes[writer->tensor_count++] = bytes;
    LR_TRY(put_text(&writer->tensors, entry->name, strlen(entry->name)));
    LR_TRY(put_integer(&writer->tensors, (uint64_t)entry->dimensions, 4));
    for (int32_t i = entry->dimensions - 1; i >= 0; i--)
        LR_TRY(put_integer(&writer->tensors, (uint64_t)entry->shape[i], 8));
    LR_TRY(put_integer(&writer->tensors, ggml_ids[entry->type], 4));
    LR_TRY(put_integer(&writer->tensors, writer->offset, 8));
    uint64_t padded = (bytes + writer->alignment - 1) / writer->alignment * writer->alignment; // bytes <= 2^63
    if (!lr_add(writer->offset, padded, &writer->offset)) return lr_fail_memory(SIZE_MAX);
    return LORA_OK;
}

static lora_status pad(lr_gguf_writer *writer)
{
    static const uint8_t zeros[32];
    return lr_writer_write(writer->file, zeros, (size_t)(-lr_writer_position(writer->file) % writer->alignment));
}

static lora_status write_header(lr_gguf_writer *writer)
{
    lr_bytes head;
    lr_bytes_init(&head, writer->allocator, 64);
    lora_status status = lr_bytes_append(&head, "GGUF", 4);
    if (status == LORA_OK) status = put_integer(&head, 3, 4);
    if (status == LORA_OK) status = put_integer(&head, writer->tensor_count, 8);
    if (status == LORA_OK) status = put_integer(&head, writer->pair_count, 8);
    if (status == LORA_OK) status = lr_writer_write(writer->file, head.data, head.size);
    lr_bytes_free(&head);
    LR_TRY(status);
    LR_TRY(lr_writer_write(writer->file, writer->pairs.data, writer->pairs.size));
    LR_TRY(lr_writer_write(writer->file, writer->tensors.data, writer->tensors.size));
    LR_TRY(pad(writer));
    writer->header_written = true;
    return LORA_OK;
}

// Steps over finished (and empty) tensors, each padded.
static lora_status next_tensor(lr_gguf_writer *writer)
{
    while (writer->data_tensor < writer->tensor_count && writer->data_done == writer->sizes[writer->data_tensor]) {
        LR_TRY(pad(writer));
        writer->data_tensor++;
        writer->data_done = 0;
    }
    return LORA_OK;
}

lora_status lr_gguf_writer_data(lr_gguf_writer *writer, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    if (!writer->header_written) LR_TRY(write_header(writer));
    LR_TRY(next_tensor(writer));
    while (size > 0) {
        if (writer->data_tensor == writer->tensor_count)
            return lr_fail(LORA_ERROR_INTERNAL, "more bytes were written to a GGUF file than its tensors have");
        uint64_t missing = writer->sizes[writer->data_tensor] - writer->data_done;
        size_t piece = size < missing ? size : (size_t)missing;
        LR_TRY(lr_writer_write(writer->file, at, piece));
        writer->data_done += piece;
        at += piece;
        size -= piece;
        LR_TRY(next_tensor(writer));
    }
    return LORA_OK;
}

lora_status lr_gguf_writer_commit(lr_gguf_writer *writer)
{
    lora_status status = lr_gguf_writer_data(writer, NULL, 0);
    if (status == LORA_OK && writer->data_tensor < writer->tensor_count)
        status = lr_fail(LORA_ERROR_INTERNAL, "a GGUF file lacks the bytes of %llu of its tensors",
                         (unsigned long long)(writer->tensor_count - writer->data_tensor));
    if (status == LORA_OK) {
        status = lr_writer_commit(writer->file);
        writer->file = NULL;
    }
    lr_gguf_writer_abandon(writer);
    return status;
}

void lr_gguf_writer_abandon(lr_gguf_writer *writer)
{
    if (!writer) return;
    const lora_allocator *allocator = writer->allocator;
    lr_writer_abandon(writer->file);
    lr_bytes_free(&writer->pairs);
    lr_bytes_free(&writer->tensors);
    lr_free(allocator, writer->sizes);
    lr_free(allocator, writer);
}
