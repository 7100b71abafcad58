// Reads protobuf's wire format field by field, without a schema. Every length is checked against the bytes that there
// are.
#ifndef LR_PROTOBUF_READER_H
#define LR_PROTOBUF_READER_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lr_protobuf {
    const uint8_t *at, *end;
    const char *name; // of the file, for messages
} lr_protobuf;

typedef struct lr_protobuf_field {
    uint32_t number;
    uint32_t wire;        // 0: varint, 1: eight bytes, 2: length and bytes, 5: four bytes
    uint64_t value;       // wire 0, 1, 5
    const uint8_t *bytes; // wire 2
    size_t size;
} lr_protobuf_field;

// The next field; *more is false at the end. FORMAT when the bytes are damaged.
lora_status lr_protobuf_next(lr_protobuf *reader, lr_protobuf_field *field, bool *more);
float lr_protobuf_float(const lr_protobuf_field *field);                                        // wire 5
static inline lr_protobuf lr_protobuf_message(const lr_protobuf_field *field, const char *name) // wire 2
{
    return (lr_protobuf){field->bytes, field->bytes + field->size, name};
}

#endif
