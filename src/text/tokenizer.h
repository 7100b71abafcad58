// A tokenizer in plain data, whatever file it came from: added tokens, normalizers, pre-tokenizers, byte-pair encoding,
// special ids around the text, decoders. One file per source (load_*.c) fills it in; encode.c and decode.c run it.
//
// Text that is not UTF-8 is read as Python's bytes.decode(errors="replace") reads it: U+FFFD for each invalid part.
#ifndef LR_TOKENIZER_H
#define LR_TOKENIZER_H

#include "added_tokens.h"
#include "bpe.h"
#include "lib/gguf.h"
#include "src/core/context.h"

#include <lora/tokenizer.h>

#define LR_MAX_TOKENIZER_FILE (1u << 30)
#define LR_ROLE_COUNT 4 // LORA_TOKEN_

struct lora_tokenizer {
    atomic_int references;
    lora_context *context;
    lr_vocabulary vocabulary;
    lr_added_tokens added;
    lr_steps normalizers, pre_tokenizers, decoders; // no decoders: tokens are joined by spaces
    lr_bpe bpe;
    lr_ids before, after;         // ids that add_special puts around the text
    int32_t roles[LR_ROLE_COUNT]; // ids, -1: none
    char *role_texts[LR_ROLE_COUNT];
    char *chat_template; // or NULL
};

lora_tokenizer *lr_tokenizer_retain(lora_tokenizer *tokenizer);
void lr_tokenizer_release(lora_tokenizer *tokenizer);

// The tokenizer inside a GGUF file, which need not stay open. `path` is for messages.
lora_status lr_tokenizer_load_gguf(lora_context *context, const lr_gguf *file, const char *path, lora_tokenizer **out);

// The text of a role's token (LORA_TOKEN_...), as chat templates name it; NULL: none.
const char *lr_tokenizer_special_token(const lora_tokenizer *tokenizer, int32_t role);
// The bytes that a token is in the middle of a text, which may be part of a character; at most `capacity` are written,
// *length is the number needed.
lora_status lr_tokenizer_piece(const lora_tokenizer *tokenizer, int32_t id, char *bytes, size_t capacity,
                               size_t *length);

// ---- for the loaders --------------------------------------------------------------------------------------------

lora_status lr_tokenizer_create(lora_context *context, lora_tokenizer **out);
// After the vocabulary is finished, added tokens are added and steps are set.
lora_status lr_tokenizer_finish(lora_tokenizer *tokenizer);
lora_status lr_tokenizer_set_role(lora_tokenizer *tokenizer, int32_t role, const char *text, size_t length);
lora_status lr_tokenizer_set_role_id(lora_tokenizer *tokenizer, int32_t role, int32_t id);
lora_status lr_tokenizer_surround(lora_tokenizer *tokenizer, lr_ids *list, int32_t id); // appends to before or after
// The pre-tokenizer of a byte-level vocabulary: cuts by `patterns` one after another, then spells bytes;
// and its decoder.
lora_status lr_tokenizer_byte_level(lora_tokenizer *tokenizer, const char *const *patterns, size_t count,
                                    bool prefix_space);
// The steps of a SentencePiece vocabulary.
lora_status lr_tokenizer_sentencepiece(lora_tokenizer *tokenizer, lr_prefix prefix, bool collapse,
                                       lr_charsmap *charsmap);

lora_status lr_load_tokenizer_json(lora_tokenizer *tokenizer, const char *path);
lora_status lr_load_gpt2_files(lora_tokenizer *tokenizer, const char *directory);
lora_status lr_load_sentencepiece(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size);
lora_status lr_load_tiktoken(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size);
lora_status lr_load_llama2c(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size);

// What pre-tokenizers of the field cut by (patterns.c).
extern const char lr_pattern_gpt2[], lr_pattern_qwen2[], lr_pattern_llama3[];

#endif
