// GGUF versions 2 and 3, little-endian: typed key-value pairs, then tensor descriptions, then aligned tensor data.
#ifndef LR_GGUF_H
#define LR_GGUF_H

#include "tensor_file.h"

// Value types, numbered as in the file.
enum {
    LR_GGUF_U8, LR_GGUF_I8, LR_GGUF_U16, LR_GGUF_I16, LR_GGUF_U32, LR_GGUF_I32, LR_GGUF_F32, LR_GGUF_BOOL,
    LR_GGUF_STRING, LR_GGUF_ARRAY, LR_GGUF_U64, LR_GGUF_I64, LR_GGUF_F64
};

typedef struct lr_gguf_text {
    const char *bytes; // in the file, not zero-terminated
    uint64_t length;
} lr_gguf_text;

typedef struct lr_gguf_value {
    int32_t type;
    int32_t item_type;    // of an array's items
    uint64_t count;       // of an array's items
    const uint8_t *items; // an array's first item in the file
    union {
        uint64_t unsigned_integer; // U8, U16, U32, U64, BOOL
        int64_t integer;           // I8 ... I64
        double real;
        lr_gguf_text text;
    };
} lr_gguf_value;

typedef struct lr_gguf_pair {
    char *key; // zero-terminated
    lr_gguf_value value;
} lr_gguf_pair;

typedef struct lr_gguf {
    const lora_allocator *allocator;
    char *path;
    lr_file file;
    lr_gguf_pair *pairs;
    size_t pair_count;
    lr_tensor_entry *entries; // of a type that ggml's list does not have: type -1, type_name "unknown", size 0
    size_t count;
} lr_gguf;

lora_status lr_gguf_open(const lora_allocator *allocator, const lora_file_access *files, const char *path,
                         lr_gguf *out);
void lr_gguf_close(lr_gguf *file); // a zeroed one is accepted
const lr_gguf_value *lr_gguf_find(const lr_gguf *file, const char *key); // NULL: not there
const lr_tensor_entry *lr_gguf_tensor(const lr_gguf *file, const char *name);
// Getters with a fallback for a missing key; another type is FORMAT, naming file and key. Any integer type is accepted
// for int, and bool (0, 1).
lora_status lr_gguf_int(const lr_gguf *file, const char *key, int64_t fallback, int64_t *out);
lora_status lr_gguf_real(const lr_gguf *file, const char *key, double fallback, double *out);
lora_status lr_gguf_string(const lr_gguf *file, const char *key, lr_gguf_text *out); // length 0 when missing
// Item i of an array of strings: walks forward; start with *cursor = value->items. Bounds were checked by open.
lr_gguf_text lr_gguf_next_text(const uint8_t **cursor);

// Writing: all pairs, all tensor descriptions, then data in order.
typedef struct lr_gguf_writer lr_gguf_writer;
lora_status lr_gguf_writer_create(const lora_allocator *allocator, const char *path, bool overwrite,
                                  lr_gguf_writer **out);
lora_status lr_gguf_writer_u32(lr_gguf_writer *writer, const char *key, uint32_t value);
lora_status lr_gguf_writer_f32(lr_gguf_writer *writer, const char *key, float value);
lora_status lr_gguf_writer_bool(lr_gguf_writer *writer, const char *key, bool value);
lora_status lr_gguf_writer_string(lr_gguf_writer *writer, const char *key, const char *text, size_t length);
lora_status lr_gguf_writer_strings(lr_gguf_writer *writer, const char *key, const lr_gguf_text *items, size_t count);
lora_status lr_gguf_writer_f32s(lr_gguf_writer *writer, const char *key, const float *items, size_t count);
lora_status lr_gguf_writer_i32s(lr_gguf_writer *writer, const char *key, const int32_t *items, size_t count);
// A pair of another file, as it is; general.alignment is left out (tensors are laid out anew). Keys come once: the
// caller's duty.
lora_status lr_gguf_writer_copy(lr_gguf_writer *writer, const lr_gguf_pair *pair);
// Of the entry: name, type, dimensions, shape.
lora_status lr_gguf_writer_tensor(lr_gguf_writer *writer, const lr_tensor_entry *entry);
// First call ends the header. Bytes of each tensor in order; padding is added by the writer.
lora_status lr_gguf_writer_data(lr_gguf_writer *writer, const void *bytes, size_t size);
lora_status lr_gguf_writer_commit(lr_gguf_writer *writer); // frees it, also on failure
void lr_gguf_writer_abandon(lr_gguf_writer *writer);

#endif
