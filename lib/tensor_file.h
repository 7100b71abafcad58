// What safetensors and GGUF files have in common: named tensors at offsets in a mapped file.
#ifndef LR_TENSOR_FILE_H
#define LR_TENSOR_FILE_H

#include "file.h"

#include <lora/types.h>

typedef struct lr_tensor_entry {
    const char *name;   // lent by the file object
    lora_type type;     // -1: a type that this library does not read; `type_name` says which
    const char *type_name;
    int32_t dimensions; // 0..4
    int64_t shape[4];   // outermost first (as torch prints it), also for GGUF
    uint64_t offset;    // from the start of the file
    uint64_t size;      // bytes; checked: inside the file, equal to what type and shape need
} lr_tensor_entry;

// Bytes of `rows` x `cols` numbers of a type; false when cols is no whole number of blocks or the size overflows.
bool lr_type_bytes(lora_type type, int64_t rows, int64_t cols, uint64_t *bytes);
// Numbers in a block (1 for plain types) and bytes of a block.
int64_t lr_type_block(lora_type type);
int64_t lr_type_block_bytes(lora_type type);
// f32 scales that stand apart from the numbers: one a row of INT8, one a block of NF4, else 0.
int64_t lr_type_scales(lora_type type, int64_t rows, int64_t cols);

#endif
