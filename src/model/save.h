// Writing models: a Hugging Face directory or a GGUF file.
#ifndef LR_SAVE_H
#define LR_SAVE_H

#include "lib/file.h"
#include "src/model/model.h"

lora_status lr_save_huggingface(const lora_model *model, const char *path, bool overwrite);
lora_status lr_save_gguf(const lora_model *model, const char *path, bool overwrite);

// config.json of a model: the text it was loaded with, corrected where merging or conversion made it untrue, or one
// made from the stack (a model that came from another kind of file). From the context's allocator.
lora_status lr_save_config(const lora_model *model, char **text, size_t *length);

// ---- tensors as bytes (save_tensor.c) -------------------------------------------------------------------------------

// The type of a tensor in a Hugging Face file: as stored, block types as f16.
lora_type lr_save_plain_type(const lr_tensor *tensor);

typedef lora_status (*lr_sink_fn)(void *sink, const void *bytes, size_t size);

// Sends a tensor's rows as `type`. `head_rows` > 0: the rows of each head, that many, are sent in the order of rotary
// pairs (2i, 2i + 1), as GGUF's "llama" has q and k: row 2i is i, row 2i + 1 is i + half.
lora_status lr_save_tensor(const lora_model *model, const lr_tensor *tensor, lora_type type, int64_t head_rows,
                           lr_sink_fn send, void *sink);

#endif
