// GPT-2's layout: vocab.json, merges.txt, and tokenizer_config.json or added_tokens.json. The class that the config
// names says how the text is cut, as transformers' classes do.
#include "merges.h"
#include "tokenizer_config.h"

#include "lib/file.h"

#include <string.h>

static lora_status read_vocabulary(lora_tokenizer *tokenizer, const char *path)
{
    lora_context *context = tokenizer->context;
    json_t *root = NULL, *id;
    const char *key;
    size_t length;
    LR_TRY(lr_json_load(&context->allocator, &context->files, path, LR_MAX_TOKENIZER_FILE, &root));
    lora_status status = json_is_object(root) ? LORA_OK : lr_fail(LORA_ERROR_FORMAT, "%s: expected an object", path);
    json_object_keylen_foreach(root, key, length, id) {
        if (status == LORA_OK && !json_is_integer(id))
            status = lr_fail(LORA_ERROR_FORMAT, "%s: the id of the token \"%.80s\" is not an integer", path, key);
        if (status == LORA_OK)
            status = lr_vocabulary_put(&tokenizer->vocabulary, json_integer_value(id), key, length, LR_TOKEN_MODEL);
    }
    json_decref(root);
    return status;
}

// The file of old: {"<|im_end|>": 151645}. Its tokens count as special.
static lora_status read_added_file(lora_tokenizer *tokenizer, const char *path)
{
    lora_context *context = tokenizer->context;
    json_t *root = NULL, *id;
    const char *key;
    bool found;
    LR_TRY(lr_file_find(&context->files, path, &found));
    if (!found) return LORA_OK;
    LR_TRY(lr_json_load(&context->allocator, &context->files, path, LR_MAX_TOKENIZER_FILE, &root));
    lora_status status = LORA_OK;
    json_object_foreach(root, key, id) {
        bool known = lr_vocabulary_has(&tokenizer->vocabulary, json_integer_value(id));
        if (status != LORA_OK || !json_is_integer(id) || known) continue;
        json_t *entry = json_pack("{s:s, s:b}", "content", key, "special", 1);
        status =
            entry ? lr_tokenizer_add_json_token(tokenizer, path, entry, json_integer_value(id)) : lr_fail_memory(0);
        json_decref(entry);
    }
    json_decref(root);
    return status;
}

// Roles that no list of added tokens has are special tokens all the same.
static lora_status add_role_tokens(lora_tokenizer *tokenizer)
{
    for (int32_t role = 0; role < LR_ROLE_COUNT; role++) {
        int32_t id = tokenizer->roles[role];
        if (id < 0 || tokenizer->vocabulary.tokens[id].flags & LR_TOKEN_ADDED) continue;
        tokenizer->vocabulary.tokens[id].flags |= LR_TOKEN_ADDED | LR_TOKEN_SPECIAL;
        LR_TRY(lr_added_tokens_add(&tokenizer->added, &tokenizer->context->allocator, (lr_added_token){.id = id},
                                   lr_vocabulary_text(&tokenizer->vocabulary, id),
                                   tokenizer->vocabulary.tokens[id].length));
    }
    return LORA_OK;
}

static size_t count_lines(const char *text)
{
    size_t count = 1;
    for (; (text = strchr(text, '\n')); text++) count++;
    return count;
}

static lora_status read_merges(lora_tokenizer *tokenizer, const char *path)
{
    lora_context *context = tokenizer->context;
    char *text = NULL;
    size_t length;
    LR_TRY(lr_file_read_text(&context->allocator, &context->files, path, LR_MAX_TOKENIZER_FILE, &text, &length));
    lr_merges merges;
    lora_status status =
        lr_merges_begin(&merges, &tokenizer->bpe, &tokenizer->vocabulary, path, &context->allocator, count_lines(text));
    for (const char *line = text; *line && status == LORA_OK;) {
        size_t size = strcspn(line, "\n"), used = size > 0 && line[size - 1] == '\r' ? size - 1 : size;
        bool comment = line == text && strncmp(line, "#version", 8) == 0;
        if (used > 0 && !comment) status = lr_merges_add_line(&merges, line, used);
        line += size + (line[size] == '\n');
    }
    lr_merges_end(&merges);
    lr_free(&context->allocator, text);
    return status;
}

// How the class cuts: Qwen2's own expression after NFC, or GPT-2's.
static lora_status set_steps(lora_tokenizer *tokenizer, const lr_tokenizer_config *config)
{
    const char *class_name, *name = config->name;
    bool prefix, qwen;
    LR_TRY(lr_json_text(config->config, name, "tokenizer_class", "GPT2Tokenizer", &class_name));
    LR_TRY(lr_json_bool(config->config, name, "add_prefix_space", false, &prefix));
    qwen = strncmp(class_name, "Qwen2Tokenizer", 14) == 0;
    if (!qwen && strncmp(class_name, "GPT2Tokenizer", 13) != 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: vocab.json with merges.txt of the tokenizer_class '%s' is not supported; GPT2Tokenizer and "
                       "Qwen2Tokenizer are, or save it with a tokenizer.json",
                       name, class_name);
    if (qwen)
        LR_TRY(lr_steps_add(&tokenizer->normalizers, &tokenizer->context->allocator,
                            (lr_step){.kind = LR_NORMALIZE_FORM, .form = LR_NFC}));
    const char *pattern = qwen ? lr_pattern_qwen2 : lr_pattern_gpt2;
    return lr_tokenizer_byte_level(tokenizer, &pattern, 1, prefix);
}

static lora_status read_files(lora_tokenizer *tokenizer, const lr_tokenizer_config *config, const char *vocabulary,
                              const char *merges, const char *added)
{
    LR_TRY(read_vocabulary(tokenizer, vocabulary));
    LR_TRY(lr_tokenizer_config_tokens(config, tokenizer));
    LR_TRY(read_added_file(tokenizer, added));
    LR_TRY(lr_vocabulary_finish(&tokenizer->vocabulary));
    LR_TRY(read_merges(tokenizer, merges));
    LR_TRY(set_steps(tokenizer, config));
    LR_TRY(lr_tokenizer_config_apply(config, tokenizer, vocabulary));
    LR_TRY(add_role_tokens(tokenizer));
    LR_TRY(lr_tokenizer_config_surround(config, tokenizer, false, false));
    return lr_tokenizer_finish(tokenizer);
}

lora_status lr_load_gpt2_files(lora_tokenizer *tokenizer, const char *directory)
{
    lora_context *context = tokenizer->context;
    char *vocabulary = lr_path_join(&context->allocator, directory, "vocab.json");
    char *merges = lr_path_join(&context->allocator, directory, "merges.txt");
    char *added = lr_path_join(&context->allocator, directory, "added_tokens.json");
    lr_tokenizer_config config = {0};
    lora_status status = vocabulary && merges && added ? LORA_OK : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = lr_tokenizer_config_load(&config, context, vocabulary);
    if (status == LORA_OK) status = read_files(tokenizer, &config, vocabulary, merges, added);
    lr_tokenizer_config_free(&config, context);
    lr_free(&context->allocator, vocabulary);
    lr_free(&context->allocator, merges);
    lr_free(&context->allocator, added);
    return status;
}
