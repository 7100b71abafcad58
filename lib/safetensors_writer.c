#include "lib/safetensors.h"

#include "lib/json.h"

#include <string.h>

struct lr_safetensors_writer {
    const lora_allocator *allocator;
    lr_writer *file;
    uint64_t end; // position in the file when all tensors have come
};

static const char *dtype_name(lora_type type)
{
    switch (type) {
    case LORA_TYPE_F32: return "F32";
    case LORA_TYPE_F16: return "F16";
    case LORA_TYPE_BF16: return "BF16";
    case LORA_TYPE_I32: return "I32";
    case LR_SAFETENSORS_U8: return "U8";
    case LR_SAFETENSORS_I8: return "I8";
    default: return NULL;
    }
}

lora_status lr_safetensors_tensor_bytes(const lr_safetensors_tensor *tensor, uint64_t *bytes)
{
    uint64_t numbers = 1;
    bool fits = dtype_name(tensor->type) && tensor->dimensions >= 0 && tensor->dimensions <= 4;
    for (int32_t i = 0; fits && i < tensor->dimensions; i++)
        fits =
            tensor->shape[i] >= 0 && lr_multiply(numbers, (uint64_t)tensor->shape[i], &numbers) && numbers <= INT64_MAX;
    if (fits && tensor->type >= LR_SAFETENSORS_U8) return *bytes = numbers, LORA_OK;
    if (fits && lr_type_bytes(tensor->type, 1, (int64_t)numbers, bytes)) return LORA_OK;
    return lr_fail(LORA_ERROR_UNSUPPORTED,
                   "tensor %s: safetensors files are written with f32, f16, bf16 and i32 of a valid shape",
                   tensor->name);
}

// {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
static json_t *describe(const lr_safetensors_tensor *tensor, uint64_t begin, uint64_t bytes)
{
    json_t *shape = json_array();
    bool fits = shape != NULL;
    for (int32_t i = 0; fits && i < tensor->dimensions; i++)
        fits = json_array_append_new(shape, json_integer(tensor->shape[i])) == 0;
    json_t *value = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(tensor->type), "shape", shape, "data_offsets",
                              (json_int_t)begin, (json_int_t)(begin + bytes));
    if (fits) return value;
    json_decref(value);
    return NULL;
}

static lora_status add_metadata(json_t *header, const char *const *pairs)
{
    json_t *metadata = json_object();
    if (json_object_set_new(header, "__metadata__", metadata) != 0) return lr_fail_memory(sizeof(void *));
    for (; pairs[0]; pairs += 2)
        if (json_object_set_new(metadata, pairs[0], json_string(pairs[1])) != 0)
            return lr_fail(LORA_ERROR_ARGUMENT, "metadata %s of a safetensors file: expected UTF-8", pairs[0]);
    return LORA_OK;
}

static lora_status add_tensors(json_t *header, const lr_safetensors_tensor *tensors, size_t count, uint64_t *data_size)
{
    *data_size = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes;
        LR_TRY(lr_safetensors_tensor_bytes(&tensors[i], &bytes));
        if (json_object_get(header, tensors[i].name))
            return lr_fail(LORA_ERROR_INTERNAL, "tensor %s was to be written twice", tensors[i].name);
        if (json_object_set_new(header, tensors[i].name, describe(&tensors[i], *data_size, bytes)) != 0)
            return lr_fail(LORA_ERROR_ARGUMENT, "tensor %s cannot be written: its name is not UTF-8, or out of memory",
                           tensors[i].name);
        if (!lr_add(*data_size, bytes, data_size) || *data_size > INT64_MAX) return lr_fail_memory(SIZE_MAX);
    }
    return LORA_OK;
}

// Spaces up to a multiple of 8, so that the data is aligned.
static lora_status write_header(lr_safetensors_writer *writer, const json_t *header)
{
    char *text;
    size_t length;
    LR_TRY(lr_json_dump(writer->allocator, header, 0, false, &text, &length));
    size_t padding = (8 - length % 8) % 8;
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (uint8_t)((uint64_t)(length + padding) >> (8 * i));
    lora_status status = lr_writer_write(writer->file, prefix, sizeof prefix);
    if (status == LORA_OK) status = lr_writer_write(writer->file, text, length);
    if (status == LORA_OK) status = lr_writer_write(writer->file, "       ", padding);
    lr_free(writer->allocator, text);
    return status;
}

static lora_status begin(lr_safetensors_writer *writer, const char *path, bool overwrite, json_t *header,
                         const lr_safetensors_tensor *tensors, size_t count, const char *const *metadata)
{
    uint64_t data_size;
    if (!header) return lr_fail_memory(sizeof(void *));
    if (metadata && metadata[0]) LR_TRY(add_metadata(header, metadata));
    LR_TRY(add_tensors(header, tensors, count, &data_size));
    LR_TRY(lr_writer_create(writer->allocator, path, overwrite, &writer->file));
    LR_TRY(write_header(writer, header));
    writer->end = lr_writer_position(writer->file) + data_size;
    return LORA_OK;
}

lora_status lr_safetensors_writer_create(const lora_allocator *allocator, const char *path, bool overwrite,
                                         const lr_safetensors_tensor *tensors, size_t count,
                                         const char *const *metadata, lr_safetensors_writer **out)
{
    *out = NULL;
    lr_safetensors_writer *writer = lr_alloc(allocator, sizeof *writer);
    if (!writer) return LORA_ERROR_MEMORY;
    *writer = (lr_safetensors_writer){.allocator = allocator};
    json_t *header = json_object();
    lora_status status = begin(writer, path, overwrite, header, tensors, count, metadata);
    json_decref(header);
    if (status != LORA_OK) {
        lr_safetensors_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return LORA_OK;
}

lora_status lr_safetensors_writer_write(lr_safetensors_writer *writer, const void *bytes, size_t size)
{
    if (size > writer->end - lr_writer_position(writer->file))
        return lr_fail(LORA_ERROR_INTERNAL, "more bytes were written to a safetensors file than its tensors have");
    return lr_writer_write(writer->file, bytes, size);
}

lora_status lr_safetensors_writer_commit(lr_safetensors_writer *writer)
{
    uint64_t missing = writer->end - lr_writer_position(writer->file);
    lora_status status = LORA_OK;
    if (missing) {
        status = lr_fail(LORA_ERROR_INTERNAL, "a safetensors file lacks %llu bytes of its tensors",
                         (unsigned long long)missing);
    } else {
        status = lr_writer_commit(writer->file);
        writer->file = NULL;
    }
    lr_safetensors_writer_abandon(writer);
    return status;
}

void lr_safetensors_writer_abandon(lr_safetensors_writer *writer)
{
    if (!writer) return;
    lr_writer_abandon(writer->file);
    lr_free(writer->allocator, writer);
}
