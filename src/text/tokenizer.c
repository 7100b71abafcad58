// The handle: making one, finding out what kind of file is at a path, and what can be asked of it.
#include "tokenizer.h"

#include "lib/file.h"
#include "src/core/validate.h"
#include "tokenizer_config.h"

#include <string.h>

// ---- life -------------------------------------------------------------------------------------------------------

lora_status lr_tokenizer_create(lora_context *context, lora_tokenizer **out)
{
    lora_tokenizer *tokenizer = lr_alloc_zeroed(&context->allocator, 1, sizeof *tokenizer);
    if (!tokenizer) return LORA_ERROR_MEMORY;
    atomic_init(&tokenizer->references, 1);
    tokenizer->context = lr_context_retain(context);
    lr_vocabulary_init(&tokenizer->vocabulary, &tokenizer->context->allocator);
    lr_bpe_init(&tokenizer->bpe);
    for (int i = 0; i < LR_ROLE_COUNT; i++) tokenizer->roles[i] = -1;
    *out = tokenizer;
    return LORA_OK;
}

lora_tokenizer *lr_tokenizer_retain(lora_tokenizer *tokenizer)
{
    if (tokenizer) atomic_fetch_add(&tokenizer->references, 1);
    return tokenizer;
}

void lr_tokenizer_release(lora_tokenizer *tokenizer)
{
    if (!tokenizer || atomic_fetch_sub(&tokenizer->references, 1) != 1) return;
    lora_context *context = tokenizer->context;
    const lora_allocator *allocator = &context->allocator;
    lr_vocabulary_free(&tokenizer->vocabulary);
    lr_added_tokens_free(&tokenizer->added, allocator);
    lr_steps_free(&tokenizer->normalizers, allocator);
    lr_steps_free(&tokenizer->pre_tokenizers, allocator);
    lr_steps_free(&tokenizer->decoders, allocator);
    lr_bpe_free(&tokenizer->bpe, allocator);
    lr_free(allocator, tokenizer->before.data);
    lr_free(allocator, tokenizer->after.data);
    for (int i = 0; i < LR_ROLE_COUNT; i++) lr_free(allocator, tokenizer->role_texts[i]);
    lr_free(allocator, tokenizer->chat_template);
    lr_free(allocator, tokenizer);
    lr_context_release(context);
}

void lora_tokenizer_free(lora_tokenizer *tokenizer) { lr_tokenizer_release(tokenizer); }

lora_status lr_tokenizer_finish(lora_tokenizer *tokenizer)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    LR_TRY(lr_bpe_finish(&tokenizer->bpe, &tokenizer->vocabulary, allocator));
    return lr_added_tokens_finish(&tokenizer->added, allocator, &tokenizer->normalizers);
}

// ---- building blocks --------------------------------------------------------------------------------------------

lora_status lr_tokenizer_set_role(lora_tokenizer *tokenizer, int32_t role, const char *text, size_t length)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    char *copy = lr_duplicate_range(allocator, text, length);
    if (!copy) return LORA_ERROR_MEMORY;
    lr_free(allocator, tokenizer->role_texts[role]);
    tokenizer->role_texts[role] = copy;
    tokenizer->roles[role] = lr_vocabulary_find(&tokenizer->vocabulary, text, length);
    return LORA_OK;
}

lora_status lr_tokenizer_set_role_id(lora_tokenizer *tokenizer, int32_t role, int32_t id)
{
    if (!lr_vocabulary_has(&tokenizer->vocabulary, id)) return LORA_OK;
    LR_TRY(lr_tokenizer_set_role(tokenizer, role, lr_vocabulary_text(&tokenizer->vocabulary, id),
                                 tokenizer->vocabulary.tokens[id].length));
    tokenizer->roles[role] = id;
    return LORA_OK;
}

lora_status lr_tokenizer_surround(lora_tokenizer *tokenizer, lr_ids *list, int32_t id)
{
    LR_TRY(lr_grow(&tokenizer->context->allocator, (void **)&list->data, &list->capacity, list->count + 1,
                   sizeof *list->data));
    list->data[list->count++] = id;
    return LORA_OK;
}

lora_status lr_tokenizer_byte_level(lora_tokenizer *tokenizer, const char *const *patterns, size_t count,
                                    bool prefix_space)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    for (size_t i = 0; i < count; i++) {
        lr_step step = {.kind = LR_CUT_PATTERN, .behaviour = LR_ISOLATED};
        LR_TRY(lr_pattern_compile(allocator, patterns[i], strlen(patterns[i]), &step.pattern));
        LR_TRY(lr_steps_add(&tokenizer->pre_tokenizers, allocator, step));
    }
    lr_step spell = {.kind = LR_CUT_BYTE_LEVEL, .prefix = prefix_space ? LR_PREFIX_ALWAYS : LR_PREFIX_NEVER};
    LR_TRY(lr_steps_add(&tokenizer->pre_tokenizers, allocator, spell));
    return lr_steps_add(&tokenizer->decoders, allocator, (lr_step){.kind = LR_DECODE_BYTE_LEVEL});
}

lora_status lr_tokenizer_sentencepiece(lora_tokenizer *tokenizer, lr_prefix prefix, bool collapse,
                                       lr_charsmap *charsmap)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    lr_step normalize = {
        .kind = LR_NORMALIZE_SENTENCEPIECE, .prefix = prefix, .collapse = collapse, .charsmap = charsmap};
    LR_TRY(lr_steps_add(&tokenizer->normalizers, allocator, normalize));
    lr_step decode = {.kind = LR_DECODE_SENTENCEPIECE, .prefix = prefix, .collapse = collapse};
    return lr_steps_add(&tokenizer->decoders, allocator, decode);
}

// ---- what is at a path ------------------------------------------------------------------------------------------

static lora_status find_file(const lora_context *context, const char *directory, const char *name, char **path,
                             bool *found)
{
    lr_free(&context->allocator, *path);
    *path = lr_path_join(&context->allocator, directory, name);
    return *path ? lr_file_find(&context->files, *path, found) : LORA_ERROR_MEMORY;
}

static lora_status load_bytes(lora_tokenizer *tokenizer, const char *path)
{
    lora_context *context = tokenizer->context;
    lr_file file = {0};
    LR_TRY(lr_file_open(&context->allocator, &context->files, path, LR_MAX_TOKENIZER_FILE, &file));
    const char *bytes = (const char *)file.bytes;
    size_t size = (size_t)file.size;
    lora_status status;
    if (lr_path_ends_with(path, ".bin"))
        status = lr_load_llama2c(tokenizer, path, bytes, size);
    else if (size > 1 && bytes[0] == '\n' && bytes[1] != '\n') // a protobuf: field 1, pieces
        status = lr_load_sentencepiece(tokenizer, path, bytes, size);
    else
        status = lr_load_tiktoken(tokenizer, path, bytes, size);
    lr_file_close(&file);
    return status;
}

static lora_status load_directory(lora_tokenizer *tokenizer, const char *directory, char **path, bool *found)
{
    lora_context *context = tokenizer->context;
    LR_TRY(find_file(context, directory, "tokenizer.json", path, found));
    if (*found) return lr_load_tokenizer_json(tokenizer, *path);
    LR_TRY(find_file(context, directory, "vocab.json", path, found));
    if (*found) return lr_load_gpt2_files(tokenizer, directory);
    LR_TRY(find_file(context, directory, "tokenizer.model", path, found));
    return *found ? load_bytes(tokenizer, *path) : LORA_OK;
}

// The directory of a file, from `allocator`.
static char *parent_directory(const lora_allocator *allocator, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return lr_duplicate(allocator, ".");
    return lr_duplicate_range(allocator, path, slash == path ? 1 : (size_t)(slash - path));
}

static lora_status load_file(lora_tokenizer *tokenizer, const char *path)
{
    if (lr_path_ends_with(path, "vocab.json") || lr_path_ends_with(path, "merges.txt")) {
        char *directory = parent_directory(&tokenizer->context->allocator, path);
        if (!directory) return LORA_ERROR_MEMORY;
        lora_status status = lr_load_gpt2_files(tokenizer, directory);
        lr_free(&tokenizer->context->allocator, directory);
        return status;
    }
    if (lr_path_ends_with(path, ".json")) return lr_load_tokenizer_json(tokenizer, path);
    return load_bytes(tokenizer, path);
}

static lora_status load_any(lora_tokenizer *tokenizer, const char *path)
{
    char *file = NULL;
    bool found = false;
    lora_status status = load_directory(tokenizer, path, &file, &found);
    lr_free(&tokenizer->context->allocator, file);
    if (status != LORA_OK || found) return status;
    if (!lr_path_is_directory(path)) LR_TRY(lr_file_find(&tokenizer->context->files, path, &found));
    if (found) return load_file(tokenizer, path);
    return lr_fail(LORA_ERROR_NOT_FOUND,
                   "%s: no tokenizer there; expected tokenizer.json, vocab.json with merges.txt, or tokenizer.model",
                   path);
}

lora_status lora_tokenizer_load(lora_context *context, const char *path, lora_tokenizer **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(path);
    LR_CHECK_HANDLE(out);
    if (lr_path_ends_with(path, ".gguf")) {
        lr_gguf file = {0};
        LR_TRY(lr_gguf_open(&context->allocator, &context->files, path, &file));
        lora_status status = lr_tokenizer_load_gguf(context, &file, path, out);
        lr_gguf_close(&file);
        return status;
    }
    lora_tokenizer *tokenizer;
    LR_TRY(lr_tokenizer_create(context, &tokenizer));
    tokenizer->vocabulary.file = path;
    lora_status status = load_any(tokenizer, path);
    tokenizer->vocabulary.file = NULL;
    if (status == LORA_OK)
        *out = tokenizer;
    else
        lr_tokenizer_release(tokenizer);
    return status;
}

// ---- questions --------------------------------------------------------------------------------------------------

int32_t lora_tokenizer_vocabulary_size(const lora_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->vocabulary.size : 0;
}

const char *lora_tokenizer_token(const lora_tokenizer *tokenizer, int32_t id)
{
    if (!tokenizer || !lr_vocabulary_has(&tokenizer->vocabulary, id)) return NULL;
    return lr_vocabulary_text(&tokenizer->vocabulary, id);
}

int32_t lora_tokenizer_find(const lora_tokenizer *tokenizer, const char *token)
{
    return tokenizer && token ? lr_vocabulary_find(&tokenizer->vocabulary, token, strlen(token)) : -1;
}

int32_t lora_tokenizer_is_special(const lora_tokenizer *tokenizer, int32_t id)
{
    return tokenizer && lr_vocabulary_has(&tokenizer->vocabulary, id) &&
           tokenizer->vocabulary.tokens[id].flags & LR_TOKEN_SPECIAL;
}

int32_t lora_tokenizer_special_id(const lora_tokenizer *tokenizer, int32_t role)
{
    return tokenizer && role >= 0 && role < LR_ROLE_COUNT ? tokenizer->roles[role] : -1;
}

const char *lr_tokenizer_special_token(const lora_tokenizer *tokenizer, int32_t role)
{
    return role >= 0 && role < LR_ROLE_COUNT ? tokenizer->role_texts[role] : NULL;
}

const char *lora_tokenizer_chat_template(const lora_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->chat_template : NULL;
}
