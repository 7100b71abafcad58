// The tokenizer's keys of a GGUF file.
#ifndef LR_SAVE_GGUF_TOKENIZER_H
#define LR_SAVE_GGUF_TOKENIZER_H

#include "lib/gguf.h"
#include "src/model/model.h"

// Copied from the GGUF file that the model came from, or made from its tokenizer; nothing when it has none.
lora_status lr_save_gguf_tokenizer(const lora_model *model, lr_gguf_writer *writer);

#endif
