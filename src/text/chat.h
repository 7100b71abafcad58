// Chat templates: Jinja text compiled once with a tokenizer's variables, rendered for many conversations.
#ifndef LR_CHAT_H
#define LR_CHAT_H

#include "lib/json.h"
#include "lib/memory.h"

#include <lora/tokenizer.h>

// Immutable once made; may be rendered from any number of threads.
typedef struct lr_chat lr_chat;

// `source`: Jinja text; "alpaca": the built-in one; NULL or "chat": the tokenizer's own, and for NULL "alpaca" where it
// has none. The tokenizer must outlive the result.
lora_status lr_chat_create(const lora_allocator *allocator, const lora_tokenizer *tokenizer, const char *source,
                           lr_chat **out);
void lr_chat_free(lr_chat *chat); // NULL is accepted

// Appends the rendered text. `messages`: an array; `extra`: an object of further variables, or NULL.
lora_status lr_chat_render(const lr_chat *chat, const json_t *messages, const json_t *extra, bool add_generation_prompt,
                           lr_bytes *out);

// What the tokenizer puts in front of a text of its own accord (a begin token): at most `capacity` ids, never its end
// token.
lora_status lr_begin_tokens(const lora_tokenizer *tokenizer, int32_t *ids, int32_t capacity, int32_t *count);

#endif
