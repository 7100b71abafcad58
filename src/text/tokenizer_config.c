#include "tokenizer_config.h"

#include "lib/file.h"

#include <string.h>

#define MAX_CONFIG (64u << 20)

static const char *const role_keys[LR_ROLE_COUNT] = {"bos_token", "eos_token", "pad_token", "unk_token"};

// `name` in the directory of `path`.
static char *beside(const lora_allocator *allocator, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return lr_format(allocator, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
}

static lora_status load_beside(lora_context *context, const char *path, const char *name, char **place, json_t **out)
{
    char *file = beside(&context->allocator, path, name);
    if (!file) return LORA_ERROR_MEMORY;
    bool found;
    lora_status status = lr_file_find(&context->files, file, &found);
    if (status == LORA_OK && found)
        status = lr_json_load(&context->allocator, &context->files, file, MAX_CONFIG, out);
    if (status == LORA_OK && *out && !json_is_object(*out))
        status = lr_fail(LORA_ERROR_FORMAT, "%s: expected an object", file);
    if (place)
        *place = file;
    else
        lr_free(&context->allocator, file);
    return status;
}

lora_status lr_tokenizer_config_load(lr_tokenizer_config *config, lora_context *context, const char *path)
{
    *config = (lr_tokenizer_config){0};
    LR_TRY(load_beside(context, path, "tokenizer_config.json", &config->name, &config->config));
    return load_beside(context, path, "special_tokens_map.json", NULL, &config->map);
}

void lr_tokenizer_config_free(lr_tokenizer_config *config, lora_context *context)
{
    json_decref(config->config);
    json_decref(config->map);
    lr_free(&context->allocator, config->name);
    *config = (lr_tokenizer_config){0};
}

// ---- added tokens -----------------------------------------------------------------------------------------------

lora_status lr_tokenizer_add_json_token(lora_tokenizer *tokenizer, const char *name, const json_t *entry, int64_t id)
{
    const json_t *content = json_object_get(entry, "content");
    bool special, normalized, left, right, single;
    if (!json_is_string(content)) return lr_fail(LORA_ERROR_FORMAT, "%s: an added token has no 'content'", name);
    LR_TRY(lr_json_bool(entry, name, "special", false, &special));
    LR_TRY(lr_json_bool(entry, name, "normalized", !special, &normalized));
    LR_TRY(lr_json_bool(entry, name, "lstrip", false, &left));
    LR_TRY(lr_json_bool(entry, name, "rstrip", false, &right));
    LR_TRY(lr_json_bool(entry, name, "single_word", false, &single));
    const char *text = json_string_value(content);
    size_t length = json_string_length(content);
    lr_vocabulary *vocabulary = &tokenizer->vocabulary;
    bool there = lr_vocabulary_has(vocabulary, id) && vocabulary->tokens[id].length == length &&
                 memcmp(lr_vocabulary_text(vocabulary, (int32_t)id), text, length) == 0;
    if (!there) LR_TRY(lr_vocabulary_put(vocabulary, id, text, length, 0));
    vocabulary->tokens[id].flags |= (uint8_t)(LR_TOKEN_ADDED | (special ? LR_TOKEN_SPECIAL : 0));
    lr_added_token token = {
        .id = (int32_t)id, .normalized = normalized, .strip_left = left, .strip_right = right, .single_word = single};
    return lr_added_tokens_add(&tokenizer->added, &tokenizer->context->allocator, token, text, length);
}

lora_status lr_tokenizer_config_tokens(const lr_tokenizer_config *config, lora_tokenizer *tokenizer)
{
    json_t *tokens = json_object_get(config->config, "added_tokens_decoder"), *entry;
    const char *key;
    json_object_foreach(tokens, key, entry) {
        char *end;
        long long id = strtoll(key, &end, 10);
        if (!*key || *end)
            return lr_fail(LORA_ERROR_FORMAT, "%s: added_tokens_decoder has the key '%s', not an id", config->name,
                           key);
        bool known =
            lr_vocabulary_has(&tokenizer->vocabulary, id) && tokenizer->vocabulary.tokens[id].flags & LR_TOKEN_ADDED;
        if (!known) LR_TRY(lr_tokenizer_add_json_token(tokenizer, config->name, entry, id));
    }
    return LORA_OK;
}

// ---- roles ------------------------------------------------------------------------------------------------------

// A role is a text or {"content": text}; NULL when neither file has it.
static const json_t *role_value(const lr_tokenizer_config *config, const char *key)
{
    const json_t *files[] = {config->config, config->map};
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(files[i], key);
        if (json_is_object(value)) value = json_object_get(value, "content");
        if (json_is_string(value)) return value;
    }
    return NULL;
}

static lora_status guess_role(lora_tokenizer *tokenizer, int32_t role)
{
    static const char *const usual[LR_ROLE_COUNT][6] = {
        {"<s>", "<|begin_of_text|>", "<bos>", "<|endoftext|>"},
        {"</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "<|endoftext|>"},
        {"<pad>", "[PAD]", "<|pad|>"},
        {"<unk>", "[UNK]"}};
    for (size_t i = 0; i < 6 && usual[role][i]; i++) {
        int32_t id = lora_tokenizer_find(tokenizer, usual[role][i]);
        if (id >= 0 && lora_tokenizer_is_special(tokenizer, id)) return lr_tokenizer_set_role_id(tokenizer, role, id);
    }
    return LORA_OK;
}

static lora_status set_roles(const lr_tokenizer_config *config, lora_tokenizer *tokenizer)
{
    for (int32_t role = 0; role < LR_ROLE_COUNT; role++) {
        const json_t *value = role_value(config, role_keys[role]);
        if (value)
            LR_TRY(lr_tokenizer_set_role(tokenizer, role, json_string_value(value), json_string_length(value)));
        else if (!config->config && !config->map && tokenizer->roles[role] < 0)
            LR_TRY(guess_role(tokenizer, role));
    }
    return LORA_OK;
}

// ---- chat template ----------------------------------------------------------------------------------------------

// The value is a text, or a list of {"name", "template"} of which "default" counts, else the first.
static const json_t *template_value(const json_t *value)
{
    size_t index;
    json_t *entry;
    const json_t *first = NULL;
    if (json_is_string(value)) return value;
    json_array_foreach(value, index, entry) {
        const json_t *text = json_object_get(entry, "template");
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (!json_is_string(text)) continue;
        if (name && strcmp(name, "default") == 0) return text;
        if (!first) first = text;
    }
    return first;
}

static lora_status set_template(const lr_tokenizer_config *config, lora_tokenizer *tokenizer, const char *path)
{
    lora_context *context = tokenizer->context;
    char *file = beside(&context->allocator, path, "chat_template.jinja");
    if (!file) return LORA_ERROR_MEMORY;
    bool found;
    lora_status status = lr_file_find(&context->files, file, &found);
    char *text = NULL;
    size_t length;
    const json_t *value = template_value(json_object_get(config->config, "chat_template"));
    if (status == LORA_OK && found)
        status = lr_file_read_text(&context->allocator, &context->files, file, MAX_CONFIG, &text, &length);
    else if (status == LORA_OK && value && !(text = lr_duplicate(&context->allocator, json_string_value(value))))
        status = LORA_ERROR_MEMORY;
    lr_free(&context->allocator, file);
    if (text) tokenizer->chat_template = text;
    return status;
}

lora_status lr_tokenizer_config_apply(const lr_tokenizer_config *config, lora_tokenizer *tokenizer, const char *path)
{
    LR_TRY(set_roles(config, tokenizer));
    return set_template(config, tokenizer, path);
}

lora_status lr_tokenizer_config_surround(const lr_tokenizer_config *config, lora_tokenizer *tokenizer, bool begin,
                                         bool explicitly)
{
    const json_t *add_begin = json_object_get(config->config, "add_bos_token");
    const json_t *add_end = json_object_get(config->config, "add_eos_token");
    if (explicitly && !json_is_boolean(add_begin) && !json_is_boolean(add_end)) return LORA_OK;
    if (json_is_boolean(add_begin)) begin = json_is_true(add_begin);
    tokenizer->before.count = tokenizer->after.count = 0;
    if (begin && tokenizer->roles[LORA_TOKEN_BEGIN] >= 0)
        LR_TRY(lr_tokenizer_surround(tokenizer, &tokenizer->before, tokenizer->roles[LORA_TOKEN_BEGIN]));
    if (json_is_true(add_end) && tokenizer->roles[LORA_TOKEN_END] >= 0)
        LR_TRY(lr_tokenizer_surround(tokenizer, &tokenizer->after, tokenizer->roles[LORA_TOKEN_END]));
    return LORA_OK;
}
