// The files beside a tokenizer: tokenizer_config.json, special_tokens_map.json, chat_template.jinja.
#ifndef LR_TOKENIZER_CONFIG_H
#define LR_TOKENIZER_CONFIG_H

#include "lib/json.h"
#include "tokenizer.h"

typedef struct lr_tokenizer_config {
    json_t *config; // NULL: no such file
    json_t *map;
    char *name; // path of the config, for messages
} lr_tokenizer_config;

// Reads what is in the directory of `path` (a file of the tokenizer). Free it also on failure.
lora_status lr_tokenizer_config_load(lr_tokenizer_config *config, lora_context *context, const char *path);
void lr_tokenizer_config_free(lr_tokenizer_config *config, lora_context *context);
// Added tokens that the config lists (added_tokens_decoder): their spellings go into the unfinished vocabulary.
lora_status lr_tokenizer_config_tokens(const lr_tokenizer_config *config, lora_tokenizer *tokenizer);
// Roles and the chat template; after the vocabulary is finished. Where no file names a role, it is guessed from the
// spelling of special tokens.
lora_status lr_tokenizer_config_apply(const lr_tokenizer_config *config, lora_tokenizer *tokenizer, const char *path);

// What the config says goes around a text: add_bos_token (`begin` when it says nothing) and add_eos_token. With
// `explicitly` nothing changes unless it has one of the two; then it replaces what is there, as in transformers.
lora_status lr_tokenizer_config_surround(const lr_tokenizer_config *config, lora_tokenizer *tokenizer, bool begin,
                                         bool explicitly);

// One entry of "added_tokens" or "added_tokens_decoder".
lora_status lr_tokenizer_add_json_token(lora_tokenizer *tokenizer, const char *name, const json_t *entry, int64_t id);

#endif
