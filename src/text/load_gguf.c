// The tokenizer inside a GGUF file: "llama" (SentencePiece pieces with scores) or "gpt2" (byte-level merges, cut as
// tokenizer.ggml.pre says). What llama.cpp does with special tokens is followed: control and user-defined tokens are
// recognised in the text as written, and in "llama" every rest gets its own space in front.
#include "merges.h"
#include "tokenizer.h"

#include <string.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; // tokenizer.ggml.token_type

typedef struct reader {
    lora_tokenizer *tokenizer;
    const lr_gguf *file;
    const char *path;
} reader;

static bool text_is(lr_gguf_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.bytes, word, text.length) == 0;
}

// An array of one item type, or NULL when the key is missing; FORMAT when it is something else.
static lora_status find_array(const reader *r, const char *key, int32_t item_type, const lr_gguf_value **out)
{
    *out = lr_gguf_find(r->file, key);
    if (!*out || ((*out)->type == LR_GGUF_ARRAY && (*out)->item_type == item_type)) return LORA_OK;
    return lr_fail(LORA_ERROR_FORMAT, "%s: the key '%s' is not an array of the expected type", r->path, key);
}

static lora_status need_array(const reader *r, const char *key, int32_t item_type, uint64_t count,
                              const lr_gguf_value **out)
{
    LR_TRY(find_array(r, key, item_type, out));
    if (*out && (count == 0 || (*out)->count == count)) return LORA_OK;
    return lr_fail(LORA_ERROR_FORMAT, "%s: the key '%s' is %s", r->path, key,
                   *out ? "of another length than the tokens" : "missing");
}

// ---- tokens -----------------------------------------------------------------------------------------------------

static lora_status add_token(const reader *r, int32_t id, lr_gguf_text text, int32_t type)
{
    static const uint8_t flags[] = {LR_TOKEN_MODEL,
                                    LR_TOKEN_MODEL,
                                    LR_TOKEN_SPECIAL | LR_TOKEN_ADDED,
                                    LR_TOKEN_SPECIAL | LR_TOKEN_ADDED,
                                    LR_TOKEN_ADDED,
                                    0,
                                    LR_TOKEN_BYTE_FALLBACK};
    uint8_t flag = flags[type >= NORMAL && type <= BYTE ? type : 0];
    LR_TRY(lr_vocabulary_put(&r->tokenizer->vocabulary, id, text.bytes, (size_t)text.length, flag));
    if (!(flag & LR_TOKEN_ADDED)) return LORA_OK;
    return lr_added_tokens_add(&r->tokenizer->added, &r->tokenizer->context->allocator, (lr_added_token){.id = id},
                               text.bytes, (size_t)text.length);
}

static lora_status read_tokens(const reader *r)
{
    const lr_gguf_value *tokens, *types;
    LR_TRY(need_array(r, "tokenizer.ggml.tokens", LR_GGUF_STRING, 0, &tokens));
    LR_TRY(find_array(r, "tokenizer.ggml.token_type", LR_GGUF_I32, &types));
    if (types && types->count != tokens->count)
        return lr_fail(LORA_ERROR_FORMAT, "%s: %llu tokens have %llu types", r->path, (unsigned long long)tokens->count,
                       (unsigned long long)types->count);
    if (tokens->count > LR_MAX_VOCABULARY)
        return lr_fail(LORA_ERROR_FORMAT, "%s: %llu tokens are too many", r->path, (unsigned long long)tokens->count);
    LR_TRY(lr_vocabulary_reserve(&r->tokenizer->vocabulary, (size_t)tokens->count, 8 * (size_t)tokens->count));
    const uint8_t *cursor = tokens->items;
    for (int32_t id = 0; id < (int32_t)tokens->count; id++) {
        int32_t type = NORMAL;
        if (types) memcpy(&type, types->items + 4 * (size_t)id, 4);
        LR_TRY(add_token(r, id, lr_gguf_next_text(&cursor), type));
    }
    return lr_vocabulary_finish(&r->tokenizer->vocabulary);
}

// ---- roles ------------------------------------------------------------------------------------------------------

static lora_status read_roles(const reader *r)
{
    static const char *const keys[LR_ROLE_COUNT] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                                    "tokenizer.ggml.padding_token_id",
                                                    "tokenizer.ggml.unknown_token_id"};
    for (int32_t role = 0; role < LR_ROLE_COUNT; role++) {
        int64_t id;
        LR_TRY(lr_gguf_int(r->file, keys[role], -1, &id));
        if (id >= 0 && id < INT32_MAX) LR_TRY(lr_tokenizer_set_role_id(r->tokenizer, role, (int32_t)id));
    }
    return LORA_OK;
}

static lora_status surround(const reader *r, const char *key, bool fallback, int32_t role, lr_ids *list)
{
    const lr_gguf_value *value = lr_gguf_find(r->file, key);
    if (value && value->type != LR_GGUF_BOOL)
        return lr_fail(LORA_ERROR_FORMAT, "%s: the key '%s' is not a bool", r->path, key);
    bool wanted = value ? value->unsigned_integer != 0 : fallback;
    int32_t id = r->tokenizer->roles[role];
    return wanted && id >= 0 ? lr_tokenizer_surround(r->tokenizer, list, id) : LORA_OK;
}

static lora_status read_template(const reader *r)
{
    lr_gguf_text text;
    LR_TRY(lr_gguf_string(r->file, "tokenizer.chat_template", &text));
    if (text.length == 0) return LORA_OK;
    r->tokenizer->chat_template =
        lr_duplicate_range(&r->tokenizer->context->allocator, text.bytes, (size_t)text.length);
    return r->tokenizer->chat_template ? LORA_OK : LORA_ERROR_MEMORY;
}

// ---- the two models ---------------------------------------------------------------------------------------------

static lora_status read_llama(const reader *r)
{
    lora_tokenizer *tokenizer = r->tokenizer;
    const lr_gguf_value *scores, *prefix = lr_gguf_find(r->file, "tokenizer.ggml.add_space_prefix");
    LR_TRY(need_array(r, "tokenizer.ggml.scores", LR_GGUF_F32, (uint64_t)tokenizer->vocabulary.size, &scores));
    float *copy = lr_alloc_array(&tokenizer->context->allocator, (size_t)scores->count, sizeof *copy);
    if (!copy) return LORA_ERROR_MEMORY;
    memcpy(copy, scores->items, (size_t)scores->count * sizeof *copy);
    for (uint64_t i = 0; i < scores->count; i++)
        if (copy[i] != copy[i]) copy[i] = 0;
    lora_status status =
        lr_bpe_rank_scores(&tokenizer->bpe, &tokenizer->vocabulary, copy, &tokenizer->context->allocator);
    lr_free(&tokenizer->context->allocator, copy);
    LR_TRY(status);
    tokenizer->bpe.byte_fallback = true;
    tokenizer->bpe.unknown = tokenizer->roles[LORA_TOKEN_UNKNOWN];
    LR_TRY(surround(r, "tokenizer.ggml.add_bos_token", true, LORA_TOKEN_BEGIN, &tokenizer->before));
    bool spaced = !prefix || prefix->type != LR_GGUF_BOOL || prefix->unsigned_integer != 0;
    return lr_tokenizer_sentencepiece(tokenizer, spaced ? LR_PREFIX_ALWAYS : LR_PREFIX_NEVER, false, NULL);
}

typedef struct cutting {
    const char *names[8]; // of tokenizer.ggml.pre
    const char *patterns[6];
    bool whole_words; // a word that is a token needs no merges
    bool begin;       // a begin token is added unless the file says otherwise
} cutting;

// Cased letters as DeepSeek's first tokenizer lists them: these ranges, which have case too, are not among them.
#define UNLISTED                                                                                                       \
    "\\x{560}-\\x{588}\\x{10c7}\\x{10cd}\\x{10d0}-\\x{10ff}\\x{1c80}-\\x{1c8f}\\x{2d00}-\\x{2d2d}\\x{a790}-\\x{a7ff}"  \
    "\\x{ab30}-\\x{ab68}\\x{10570}-\\x{105bc}\\x{16e40}-\\x{16e7f}\\x{1d400}-\\x{1d7cb}\\x{1df00}-\\x{1dfff}"
#define CASED "(?![" UNLISTED "])[\\p{Lu}\\p{Ll}\\p{Lt}]"

static const cutting cuttings[] = {
    {{"default", "gpt-2", "gpt2", "mpt", "olmo", "jina-v2-en"}, {lr_pattern_gpt2}, false, false},
    {{"llama-bpe", "llama3", "llama-v3"}, {lr_pattern_llama3}, true, true},
    {{"qwen2", "deepseek-r1-qwen"}, {lr_pattern_qwen2}, false, false},
    {{"smollm", "starcoder", "refact", "command-r", "codeshell"}, {"\\p{N}", lr_pattern_gpt2}, false, false},
    {{"falcon"}, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", lr_pattern_gpt2, "[0-9][0-9][0-9]"}, false, false},
    {{"deepseek-llm"},
     {"[\\r\\n]", "\\s?(?:" CASED ")+",
      "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", "\\s+$",
      "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}+"},
     false,
     false},
};

static const cutting *find_cutting(lr_gguf_text name)
{
    for (size_t i = 0; i < sizeof cuttings / sizeof *cuttings; i++)
        for (size_t j = 0; j < 8 && cuttings[i].names[j]; j++)
            if (text_is(name, cuttings[i].names[j])) return &cuttings[i];
    return NULL;
}

static lora_status read_merges(const reader *r)
{
    const lr_gguf_value *list;
    LR_TRY(need_array(r, "tokenizer.ggml.merges", LR_GGUF_STRING, 0, &list));
    lr_merges merges;
    lora_status status = lr_merges_begin(&merges, &r->tokenizer->bpe, &r->tokenizer->vocabulary, r->path,
                                         &r->tokenizer->context->allocator, (size_t)list->count);
    const uint8_t *cursor = list->items;
    for (uint64_t i = 0; i < list->count && status == LORA_OK; i++) {
        lr_gguf_text text = lr_gguf_next_text(&cursor);
        status = lr_merges_add_line(&merges, text.bytes, (size_t)text.length);
    }
    lr_merges_end(&merges);
    return status;
}

static lora_status read_gpt2(const reader *r)
{
    lr_gguf_text name;
    lora_tokenizer *tokenizer = r->tokenizer;
    LR_TRY(lr_gguf_string(r->file, "tokenizer.ggml.pre", &name));
    if (name.length == 0) name = (lr_gguf_text){"default", 7};
    const cutting *cut = find_cutting(name);
    if (!cut)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: the pre-tokenizer '%.*s' (tokenizer.ggml.pre) is not supported",
                       r->path, (int)(name.length < 80 ? name.length : 80), name.bytes);
    size_t count = 0;
    while (count < 6 && cut->patterns[count]) count++;
    LR_TRY(read_merges(r));
    tokenizer->bpe.ignore_merges = cut->whole_words;
    LR_TRY(surround(r, "tokenizer.ggml.add_bos_token", cut->begin, LORA_TOKEN_BEGIN, &tokenizer->before));
    return lr_tokenizer_byte_level(tokenizer, cut->patterns, count, false);
}

static lora_status read_all(const reader *r)
{
    lr_gguf_text model;
    LR_TRY(lr_gguf_string(r->file, "tokenizer.ggml.model", &model));
    bool llama = text_is(model, "llama"), gpt2 = text_is(model, "gpt2");
    if (model.length == 0)
        return lr_fail(LORA_ERROR_NOT_FOUND, "%s: the file has no tokenizer (tokenizer.ggml.model)", r->path);
    if (!llama && !gpt2)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: the tokenizer model '%.*s' is not supported; 'llama' and 'gpt2' are", r->path,
                       (int)(model.length < 80 ? model.length : 80), model.bytes);
    LR_TRY(read_tokens(r));
    LR_TRY(read_roles(r));
    LR_TRY(read_template(r));
    LR_TRY(llama ? read_llama(r) : read_gpt2(r));
    LR_TRY(surround(r, "tokenizer.ggml.add_eos_token", false, LORA_TOKEN_END, &r->tokenizer->after));
    return lr_tokenizer_finish(r->tokenizer);
}

lora_status lr_tokenizer_load_gguf(lora_context *context, const lr_gguf *file, const char *path, lora_tokenizer **out)
{
    reader r = {NULL, file, path};
    LR_TRY(lr_tokenizer_create(context, &r.tokenizer));
    lora_status status = read_all(&r);
    if (status == LORA_OK)
        *out = r.tokenizer;
    else
        lr_tokenizer_release(r.tokenizer);
    return status;
}
