#include "protobuf_reader.h"

#include <string.h>

static lora_status damaged(const lr_protobuf *reader)
{
    return lr_fail(LORA_ERROR_FORMAT, "%s: the protobuf is damaged", reader->name);
}

static lora_status read_varint(lr_protobuf *reader, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return LORA_OK;
    }
    return damaged(reader);
}

static lora_status read_fixed(lr_protobuf *reader, size_t size, uint64_t *value)
{
    *value = 0;
    if ((size_t)(reader->end - reader->at) < size) return damaged(reader);
    for (size_t i = 0; i < size; i++) *value |= (uint64_t)*reader->at++ << (8 * i);
    return LORA_OK;
}

static lora_status read_bytes(lr_protobuf *reader, lr_protobuf_field *field)
{
    uint64_t size;
    LR_TRY(read_varint(reader, &size));
    if (size > (uint64_t)(reader->end - reader->at)) return damaged(reader);
    field->bytes = reader->at;
    field->size = (size_t)size;
    reader->at += size;
    return LORA_OK;
}

lora_status lr_protobuf_next(lr_protobuf *reader, lr_protobuf_field *field, bool *more)
{
    uint64_t tag;
    *field = (lr_protobuf_field){0};
    *more = reader->at < reader->end;
    if (!*more) return LORA_OK;
    LR_TRY(read_varint(reader, &tag));
    field->number = (uint32_t)(tag >> 3);
    field->wire = (uint32_t)(tag & 7);
    switch (field->wire) {
    case 0: return read_varint(reader, &field->value);
    case 1: return read_fixed(reader, 8, &field->value);
    case 2: return read_bytes(reader, field);
    case 5: return read_fixed(reader, 4, &field->value);
    default: return damaged(reader);
    }
}

float lr_protobuf_float(const lr_protobuf_field *field)
{
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
