// llama2.c's tokenizer .bin: the longest token's bytes (i32), then per token its score (f32), its length (i32) and its
// bytes, with spaces written as they are. Tokens 0 to 2 are unknown, begin and end; 3 to 258 are bytes.
#include "tokenizer.h"

#include <string.h>

#define FIRST_BYTE 3
#define FIRST_PIECE 259
#define MAX_TOKEN 4096

static int32_t read_i32(const char *bytes)
{
    int32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

// Spaces become U+2581, as everywhere else.
static lora_status add_token(lora_tokenizer *tokenizer, const char *text, size_t length)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    const lora_allocator *allocator = &tokenizer->context->allocator;
    int32_t id = tokenizer->vocabulary.size;
    lr_bytes spelled;
    if (id < FIRST_BYTE) {
        LR_TRY(lr_vocabulary_put(&tokenizer->vocabulary, id, special[id], strlen(special[id]),
                                 LR_TOKEN_SPECIAL | LR_TOKEN_ADDED));
        return lr_added_tokens_add(&tokenizer->added, allocator, (lr_added_token){.id = id}, special[id],
                                   strlen(special[id]));
    }
    lr_bytes_init(&spelled, allocator, 3 * MAX_TOKEN);
    lora_status status = lr_mark_spaces(text, length, LR_META, LR_META_SIZE, &spelled);
    if (status == LORA_OK)
        status = lr_vocabulary_put(&tokenizer->vocabulary, id, spelled.data ? spelled.data : "", spelled.size,
                                   id < FIRST_PIECE ? LR_TOKEN_BYTE_FALLBACK : LR_TOKEN_MODEL);
    lr_bytes_free(&spelled);
    return status;
}

static lora_status read_tokens(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size,
                               float **scores)
{
    size_t capacity = 0;
    if (size < 4) return lr_fail(LORA_ERROR_FORMAT, "%s: %zu bytes are no tokenizer", path, size);
    for (size_t at = 4; at < size;) {
        int32_t length = size - at >= 8 ? read_i32(bytes + at + 4) : -1;
        if (length < 0 || length > MAX_TOKEN || (size_t)length > size - at - 8)
            return lr_fail(LORA_ERROR_FORMAT, "%s: token %d is cut off or damaged (at byte %zu)", path,
                           (int)tokenizer->vocabulary.size, at);
        LR_TRY(lr_grow(&tokenizer->context->allocator, (void **)scores, &capacity,
                       (size_t)tokenizer->vocabulary.size + 1, sizeof **scores));
        memcpy(&(*scores)[tokenizer->vocabulary.size], bytes + at, 4);
        LR_TRY(add_token(tokenizer, bytes + at + 8, (size_t)length));
        at += 8 + (size_t)length;
    }
    if (tokenizer->vocabulary.size >= FIRST_PIECE) return LORA_OK;
    return lr_fail(LORA_ERROR_FORMAT, "%s: %d tokens; at least %d were expected", path, (int)tokenizer->vocabulary.size,
                   FIRST_PIECE);
}

lora_status lr_load_llama2c(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    float *scores = NULL;
    lora_status status = read_tokens(tokenizer, path, bytes, size, &scores);
    if (status == LORA_OK) status = lr_vocabulary_finish(&tokenizer->vocabulary);
    if (status == LORA_OK) status = lr_bpe_rank_scores(&tokenizer->bpe, &tokenizer->vocabulary, scores, allocator);
    lr_free(allocator, scores);
    LR_TRY(status);
    tokenizer->bpe.unknown = 0;
    tokenizer->bpe.byte_fallback = true;
    LR_TRY(lr_tokenizer_set_role_id(tokenizer, LORA_TOKEN_UNKNOWN, 0));
    LR_TRY(lr_tokenizer_set_role_id(tokenizer, LORA_TOKEN_BEGIN, 1));
    LR_TRY(lr_tokenizer_set_role_id(tokenizer, LORA_TOKEN_END, 2));
    LR_TRY(lr_tokenizer_surround(tokenizer, &tokenizer->before, 1));
    LR_TRY(lr_tokenizer_sentencepiece(tokenizer, LR_PREFIX_FIRST, false, NULL));
    return lr_tokenizer_finish(tokenizer);
}
