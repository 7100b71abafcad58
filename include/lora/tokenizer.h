/** @file tokenizer.h
 *  Text to token ids and back, and chat templates. Usable without a model.
 */
#ifndef LORA_TOKENIZER_H
#define LORA_TOKENIZER_H

#include "context.h"

LORA_BEGIN_DECLS

typedef struct lora_tokenizer lora_tokenizer;

/** Reads a tokenizer. `path` is a directory (tokenizer.json, else vocab.json + merges.txt, else tokenizer.model, with
 *  tokenizer_config.json and special_tokens_map.json beside it), or one of these files, or a .gguf file, or llama2.c's
 *  tokenizer .bin. Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED, MEMORY. */
LORA_API lora_status lora_tokenizer_load(lora_context *context, const char *path, lora_tokenizer **out);
LORA_API void lora_tokenizer_free(lora_tokenizer *tokenizer);

/** Ids of `text` (`length` bytes of any content; bytes that are not UTF-8 are treated as the reference does).
 *  `add_special`: 1 adds what the tokenizer's post-processor adds (a begin token, say). Special tokens written in the
 *  text are recognised. Writes at most `capacity` ids; `*count` is always the number needed, so call with capacity 0 to
 *  ask. Errors: ARGUMENT, MEMORY. */
LORA_API lora_status lora_tokenizer_encode(const lora_tokenizer *tokenizer, const char *text, size_t length,
                                           int32_t add_special, int32_t *ids, size_t capacity, size_t *count);

/** Text of `ids`, not zero-terminated, at most `capacity` bytes; `*length` is the number needed. `skip_special`: 1
 *  leaves special tokens out. Ids outside the vocabulary: ARGUMENT. */
LORA_API lora_status lora_tokenizer_decode(const lora_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                           int32_t skip_special, char *text, size_t capacity, size_t *length);

/** The number of ids, added tokens included. */
LORA_API int32_t lora_tokenizer_vocabulary_size(const lora_tokenizer *tokenizer);
/** A token as the vocabulary spells it; NULL outside the vocabulary. */
LORA_API const char *lora_tokenizer_token(const lora_tokenizer *tokenizer, int32_t id);
/** The id of a token as the vocabulary spells it; -1 when there is none. */
LORA_API int32_t lora_tokenizer_find(const lora_tokenizer *tokenizer, const char *token);
LORA_API int32_t lora_tokenizer_is_special(const lora_tokenizer *tokenizer, int32_t id);

#define LORA_TOKEN_BEGIN 0
#define LORA_TOKEN_END 1
#define LORA_TOKEN_PAD 2
#define LORA_TOKEN_UNKNOWN 3
/** The id of a role above, or -1. */
LORA_API int32_t lora_tokenizer_special_id(const lora_tokenizer *tokenizer, int32_t role);

/** The chat template that came with the tokenizer (Jinja text), or NULL. */
LORA_API const char *lora_tokenizer_chat_template(const lora_tokenizer *tokenizer);

/** Renders a chat template as transformers' apply_chat_template does.
 *  @param source     Jinja text; "alpaca": the built-in one; NULL: the tokenizer's own, or "alpaca" where it has none
 *  @param messages   JSON array of {"role", "content", ...}
 *  @param extra      JSON object of further variables ("tools", "enable_thinking", ...), or NULL
 *  @param add_generation_prompt  1: end with the header of an assistant turn
 *  Text in and out as in lora_tokenizer_decode. Errors: FORMAT (with the template's line), UNSUPPORTED, MEMORY; DATA
 *  when the template itself raises an exception. */
LORA_API lora_status lora_tokenizer_render_chat(const lora_tokenizer *tokenizer, const char *source,
                                                const char *messages, const char *extra, int32_t add_generation_prompt,
                                                char *text, size_t capacity, size_t *length);

LORA_END_DECLS
#endif
