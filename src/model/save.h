// Writing models: a Hugging Face directory or a GGUF file.
#ifndef LR_SAVE_H
#define LR_SAVE_H

#include "lib/file.h"
#include "lib/json.h"
#include "lib/safetensors.h"
#include "src/model/model.h"

// One saving: the model, and the type of each tensor in the file.
typedef struct lr_saving {
    const lora_model *model;
    lora_type *types; // [tensor_count]
    lora_type wanted; // the quantized type that was asked for, or LORA_TYPE_KEEP
    bool nested;      // NF4: double quantization
    const char *stamp; // text of LR_SAVE_STAMP, which goes into a directory that is kept for later loads; NULL: none
    lora_progress_fn progress;
    void *progress_user;
    size_t sent; // tensors
} lr_saving;

#define LR_SAVE_STAMP "quantized_from.json"

// Chooses the types and writes, under the output's lock. The caller frees `saving->types`.
lora_status lr_save_model(lr_saving *saving, const char *path, bool overwrite);
lora_status lr_save_huggingface(lr_saving *saving, const char *path, bool overwrite);
lora_status lr_save_gguf(lr_saving *saving, const char *path, bool overwrite);

// config.json of a model: the text it was loaded with, corrected where merging or conversion made it untrue, or one
// made from the stack (a model that came from another kind of file). From the context's allocator.
lora_status lr_save_config(const lr_saving *saving, char **text, size_t *length);

// "float32", "float16", "bfloat16": what the model's numbers are, or were before they were quantized.
const char *lr_save_dtype(const lora_model *model);

// Whether bitsandbytes' layout is called for.
static inline bool lr_save_has_scales(lora_type type)
{
    return type == LORA_TYPE_INT8 || type == LORA_TYPE_NF4;
}

// ---- tensors as bytes (save_tensor.c) -------------------------------------------------------------------------------

// The type of a tensor in a Hugging Face file: as stored, block types as f16.
lora_type lr_save_plain_type(const lr_tensor *tensor);

typedef lora_status (*lr_sink_fn)(void *sink, const void *bytes, size_t size);

// Sends a tensor's rows as `type`. `head_rows` > 0: the rows of each head, that many, are sent in the order of rotary
// pairs (2i, 2i + 1), as GGUF's "llama" has q and k: row 2i is i, row 2i + 1 is i + half. `scales`: where those of INT8
// and NF4 go, else NULL. Afterwards a mapped tensor's pages are let go, and the progress is told.
lora_status lr_save_tensor(lr_saving *saving, const lr_tensor *tensor, lora_type type, int64_t head_rows, float *scales,
                           lr_sink_fn send, void *sink);

// ---- bitsandbytes' layout (save_bitsandbytes.c) ---------------------------------------------------------------------

#define LR_BITSANDBYTES_PARTS 6

// Adds the tensors of the file that make up one of the model's to *count others, the weight first; at most so many.
// Names are from the context's allocator.
lora_status lr_bitsandbytes_describe(const lr_saving *saving, size_t tensor, lr_safetensors_tensor *parts,
                                     size_t *count);
lora_status lr_bitsandbytes_send(lr_saving *saving, size_t tensor, lr_sink_fn send, void *sink);
// config.json's quantization_config; NULL: no memory.
json_t *lr_bitsandbytes_config(const lr_saving *saving);

#endif
