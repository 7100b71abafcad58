// GGUF files byte by byte, written down from the format's description and not by the library's writer.
#ifndef TEST_GGUF_BUILDER_H
#define TEST_GGUF_BUILDER_H

#include "lib/gguf.h"

typedef struct builder {
    uint8_t bytes[4096];
    size_t size;
} builder;

void put(builder *self, const void *bytes, size_t size);
void put_number(builder *self, uint64_t value, int size);
void put_string(builder *self, const char *text);
void put_key(builder *self, const char *key, uint32_t type);
void begin_gguf(builder *self, uint32_t version, uint64_t tensors, uint64_t pairs);
void put_tensor(builder *self, const char *name, uint32_t dimensions, const uint64_t *extents, uint32_t type,
                uint64_t offset);
void pad_to(builder *self, size_t alignment);
void build_pairs(builder *self);
void build_good(builder *self);
// Opens it from memory as "t.gguf".
lora_status open_built(const builder *self, lr_gguf *file);

#endif
