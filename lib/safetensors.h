// safetensors: an 8-byte little-endian header length, a JSON header, then the tensors' bytes.
// Every offset is checked: ranges lie inside the file, do not overlap and leave no hole; names are unique.
#ifndef LR_SAFETENSORS_H
#define LR_SAFETENSORS_H

#include "tensor_file.h"

typedef struct lr_safetensors {
    const lora_allocator *allocator;
    lr_file file;
    struct json_t *header;
    lr_tensor_entry *entries; // in file order
    size_t count;
} lr_safetensors;

lora_status lr_safetensors_open(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                                lr_safetensors *out);
void lr_safetensors_close(lr_safetensors *file); // a zeroed one is accepted
const lr_tensor_entry *lr_safetensors_find(const lr_safetensors *file, const char *name); // NULL: not there
const char *lr_safetensors_metadata(const lr_safetensors *file, const char *key);         // NULL: not there; lent

// Writing, tensor by tensor, in one pass: the header is computed from the declared tensors first.
#define LR_SAFETENSORS_U8 LORA_TYPE_COUNT // bytes, unsigned and signed
#define LR_SAFETENSORS_I8 (LORA_TYPE_COUNT + 1)

typedef struct lr_safetensors_tensor {
    const char *name;
    lora_type type;     // f32, f16, bf16, i32 or one of the two below
    int32_t dimensions;
    int64_t shape[4];
} lr_safetensors_tensor;

// Bytes of its numbers; UNSUPPORTED for a type or shape that is not written.
lora_status lr_safetensors_tensor_bytes(const lr_safetensors_tensor *tensor, uint64_t *bytes);

typedef struct lr_safetensors_writer lr_safetensors_writer;
// metadata: pairs key, value, key, value, ..., NULL. The order of bytes in the file is the order given.
lora_status lr_safetensors_writer_create(const lora_allocator *allocator, const char *path, bool overwrite,
                                         const lr_safetensors_tensor *tensors, size_t count,
                                         const char *const *metadata, lr_safetensors_writer **out);
// Bytes of the tensors one after another, in any pieces.
lora_status lr_safetensors_writer_write(lr_safetensors_writer *writer, const void *bytes, size_t size);
// Frees it, also on failure; checks that all came
lora_status lr_safetensors_writer_commit(lr_safetensors_writer *writer);
void lr_safetensors_writer_abandon(lr_safetensors_writer *writer);

#endif
