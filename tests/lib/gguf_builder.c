#include "gguf_builder.h"

#include "support.h"

#include <string.h>

void put(builder *self, const void *bytes, size_t size)
{
    assert_true(size <= sizeof self->bytes - self->size);
    memcpy(self->bytes + self->size, bytes, size);
    self->size += size;
}

void put_number(builder *self, uint64_t value, int size)
{
    for (int i = 0; i < size; i++) put(self, &(uint8_t){(uint8_t)(value >> (8 * i))}, 1);
}

void put_string(builder *self, const char *text)
{
    put_number(self, strlen(text), 8);
    put(self, text, strlen(text));
}

void put_key(builder *self, const char *key, uint32_t type)
{
    put_string(self, key);
    put_number(self, type, 4);
}

void begin_gguf(builder *self, uint32_t version, uint64_t tensors, uint64_t pairs)
{
    self->size = 0;
    put(self, "GGUF", 4);
    put_number(self, version, 4);
    put_number(self, tensors, 8);
    put_number(self, pairs, 8);
}

void put_tensor(builder *self, const char *name, uint32_t dimensions, const uint64_t *extents, uint32_t type,
                       uint64_t offset)
{
    put_string(self, name);
    put_number(self, dimensions, 4);
    for (uint32_t i = 0; i < dimensions; i++) put_number(self, extents[i], 8);
    put_number(self, type, 4);
    put_number(self, offset, 8);
}

void pad_to(builder *self, size_t alignment)
{
    while (self->size % alignment) put(self, "", 1);
}

// The pairs that the writer can make, and a file of them with two tensors.
void build_pairs(builder *self)
{
    put_key(self, "general.architecture", 8);
    put_string(self, "llama");
    put_key(self, "n", 4);
    put_number(self, 70000, 4);
    put_key(self, "eps", 6);
    put_number(self, 0x3F000000, 4); // 0.5
    put_key(self, "flag", 7);
    put_number(self, 1, 1);
    put_key(self, "tokens", 9);
    put_number(self, 8, 4);
    put_number(self, 3, 8);
    put_string(self, "a");
    put_string(self, "");
    put_string(self, "bcd");
    put_key(self, "scores", 9);
    put_number(self, 6, 4);
    put_number(self, 2, 8);
    put_number(self, 0xBF800000, 4); // -1
    put_number(self, 0x40000000, 4); // 2
    put_key(self, "types", 9);
    put_number(self, 5, 4);
    put_number(self, 1, 8);
    put_number(self, (uint32_t)-7, 4);
}

void build_good(builder *self)
{
    begin_gguf(self, 3, 2, 7);
    build_pairs(self);
    put_tensor(self, "w", 2, (uint64_t[]){3, 2}, 0, 0); // f32, ne 3 x 2: 24 bytes
    put_tensor(self, "q", 1, (uint64_t[]){64}, 8, 32);  // q8_0: 68 bytes
    pad_to(self, 32);
    for (int i = 0; i < 24; i++) put_number(self, (uint64_t)i, 1);
    pad_to(self, 32);
    for (int i = 0; i < 68; i++) put_number(self, (uint64_t)(100 + i), 1);
    pad_to(self, 32);
}

lora_status open_built(const builder *self, lr_gguf *file)
{
    memory_file built = {self->bytes, self->size};
    lora_file_access files = access_to_memory(&built);
    lora_status status = lr_gguf_open(&lr_system_allocator, &files, "t.gguf", file);
    file->file.files = NULL; // read into memory: not needed any more
    return status;
}
