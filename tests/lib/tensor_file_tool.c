// What test_tensor_files.py compares with Python's packages.
//   dump FILE       the tensors and keys of a safetensors or GGUF file, as JSON
//   copy FILE OUT   the same file written anew
//   json            JSON from standard input, with two spaces of indent and sorted keys
#include "lib/gguf.h"
#include "lib/json.h"
#include "lib/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const lora_allocator *const memory = &lr_system_allocator;
static const lora_file_access *const disk = &lr_system_files;

static json_t *describe_entries(const lr_tensor_entry *entries, size_t count, const uint8_t *bytes)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        const lr_tensor_entry *entry = &entries[i];
        json_t *shape = json_array();
        for (int32_t j = 0; j < entry->dimensions; j++) json_array_append_new(shape, json_integer(entry->shape[j]));
        json_array_append_new(array, json_pack("{s:s, s:s, s:o, s:I}", "name", entry->name, "type", entry->type_name,
                                               "shape", shape, "crc",
                                               (json_int_t)lr_crc32(0, bytes + entry->offset, (size_t)entry->size)));
    }
    return array;
}

static json_t *text_value(lr_gguf_text text)
{
    return json_stringn_nocheck(text.bytes, (size_t)text.length);
}

static json_t *scalar_value(const lr_gguf_value *value)
{
    switch (value->type) {
    case LR_GGUF_STRING: return text_value(value->text);
    case LR_GGUF_F32:
    case LR_GGUF_F64: return json_real(value->real);
    case LR_GGUF_BOOL: return json_boolean(value->unsigned_integer);
    default: return json_integer((json_int_t)value->unsigned_integer);
    }
}

// Of arrays: the number of items, the texts, and a sum of the bytes of numbers.
static json_t *pair_value(const lr_gguf_value *value)
{
    if (value->type != LR_GGUF_ARRAY) return scalar_value(value);
    json_t *items = json_array();
    const uint8_t *at = value->items;
    if (value->item_type == LR_GGUF_STRING) {
        for (uint64_t i = 0; i < value->count; i++) json_array_append_new(items, text_value(lr_gguf_next_text(&at)));
    } else if (value->item_type == LR_GGUF_F32 || value->item_type == LR_GGUF_I32) {
        json_array_append_new(items, json_integer((json_int_t)value->count));
        json_array_append_new(items, json_integer((json_int_t)lr_crc32(0, at, (size_t)value->count * 4)));
    }
    return items;
}

static lora_status print(json_t *value, bool sort)
{
    char *text;
    size_t length;
    lora_status status = lr_json_dump(memory, value, 2, sort, &text, &length);
    if (status == LORA_OK) fwrite(text, 1, length, stdout);
    lr_free(memory, text);
    json_decref(value);
    return status;
}

static lora_status dump_gguf(const char *path)
{
    lr_gguf file;
    LR_TRY(lr_gguf_open(memory, disk, path, &file));
    json_t *pairs = json_object();
    for (size_t i = 0; i < file.pair_count; i++)
        json_object_set_new(pairs, file.pairs[i].key, pair_value(&file.pairs[i].value));
    json_t *entries = describe_entries(file.entries, file.count, file.file.bytes);
    lora_status status = print(json_pack("{s:o, s:o}", "keys", pairs, "tensors", entries), false);
    lr_gguf_close(&file);
    return status;
}

static lora_status dump_safetensors(const char *path)
{
    lr_safetensors file;
    LR_TRY(lr_safetensors_open(memory, disk, path, &file));
    json_t *entries = describe_entries(file.entries, file.count, file.file.bytes);
    const char *format = lr_safetensors_metadata(&file, "format");
    lora_status status = print(json_pack("{s:s?, s:o}", "format", format, "tensors", entries), false);
    lr_safetensors_close(&file);
    return status;
}

static lora_status copy_gguf(const char *path, const char *target)
{
    lr_gguf file;
    lr_gguf_writer *writer;
    LR_TRY(lr_gguf_open(memory, disk, path, &file));
    LR_TRY(lr_gguf_writer_create(memory, target, true, &writer));
    for (size_t i = 0; i < file.pair_count; i++) LR_TRY(lr_gguf_writer_copy(writer, &file.pairs[i]));
    for (size_t i = 0; i < file.count; i++) LR_TRY(lr_gguf_writer_tensor(writer, &file.entries[i]));
    for (size_t i = 0; i < file.count; i++)
        LR_TRY(lr_gguf_writer_data(writer, file.file.bytes + file.entries[i].offset, (size_t)file.entries[i].size));
    LR_TRY(lr_gguf_writer_commit(writer));
    lr_gguf_close(&file);
    return LORA_OK;
}

static lora_status copy_safetensors(const char *path, const char *target)
{
    lr_safetensors file;
    lr_safetensors_writer *writer;
    LR_TRY(lr_safetensors_open(memory, disk, path, &file));
    lr_safetensors_tensor *tensors = lr_alloc_zeroed(memory, file.count, sizeof *tensors);
    if (!tensors) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < file.count; i++) {
        const lr_tensor_entry *entry = &file.entries[i];
        tensors[i] = (lr_safetensors_tensor){.name = entry->name, .type = entry->type, .dimensions = entry->dimensions};
        memcpy(tensors[i].shape, entry->shape, sizeof entry->shape);
    }
    const char *const metadata[] = {"format", lr_safetensors_metadata(&file, "format"), NULL};
    LR_TRY(lr_safetensors_writer_create(memory, target, true, tensors, file.count, metadata[1] ? metadata : NULL,
                                        &writer));
    for (size_t i = 0; i < file.count; i++)
        LR_TRY(lr_safetensors_writer_write(writer, file.file.bytes + file.entries[i].offset,
                                           (size_t)file.entries[i].size));
    LR_TRY(lr_safetensors_writer_commit(writer));
    lr_free(memory, tensors);
    lr_safetensors_close(&file);
    return LORA_OK;
}

static lora_status dump_standard_input(void)
{
    size_t capacity = (size_t)64 << 20;
    char *text = lr_alloc(memory, capacity);
    if (!text) return LORA_ERROR_MEMORY;
    size_t length = fread(text, 1, capacity, stdin);
    json_t *value;
    lora_status status = lr_json_parse("standard input", text, length, &value);
    lr_free(memory, text);
    return status == LORA_OK ? print(value, true) : status;
}

int main(int count, char **arguments)
{
    bool is_gguf = count > 2 && lr_path_ends_with(arguments[2], ".gguf");
    lora_status status = LORA_ERROR_ARGUMENT;
    if (count == 2 && strcmp(arguments[1], "json") == 0)
        status = dump_standard_input();
    else if (count == 3 && strcmp(arguments[1], "dump") == 0)
        status = is_gguf ? dump_gguf(arguments[2]) : dump_safetensors(arguments[2]);
    else if (count == 4 && strcmp(arguments[1], "copy") == 0)
        status = is_gguf ? copy_gguf(arguments[2], arguments[3]) : copy_safetensors(arguments[2], arguments[3]);
    if (status != LORA_OK) fprintf(stderr, "%s\n", lr_error_text());
    return status == LORA_OK ? 0 : 1;
}
