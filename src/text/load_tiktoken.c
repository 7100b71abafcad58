// tiktoken's ranks as Llama 3 has them (tokenizer.model): lines of a token in base64 and its rank, which is its id. Two
// parts join when the joined bytes are a token, lowest rank first. The 256 special tokens after them are in no file.
#include "tokenizer_config.h"

#include <string.h>

#define LLAMA3_TOKENS 128000
#define LLAMA3_SPECIAL 256

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *place = c ? strchr(digits, c) : NULL;
    return place ? (int)(place - digits) : -1;
}

// Appends the bytes, each as its printable character.
static lora_status decode_token(lr_bytes *out, const char *text, size_t length)
{
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < length && text[i] != '='; i++) {
        int value = base64_value(text[i]);
        if (value < 0) return LORA_ERROR_FORMAT;
        bits = (bits << 6 | (uint32_t)value) & 0xFFFF;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        char character[4];
        LR_TRY(lr_bytes_append(out, character, lr_utf8_put(lr_byte_character((uint8_t)(bits >> held)), character)));
    }
    return LORA_OK;
}

static lora_status read_line(lora_tokenizer *tokenizer, lr_bytes *spelled, const char *line, size_t length)
{
    const char *space = memchr(line, ' ', length);
    int64_t rank = 0;
    spelled->size = 0;
    if (!space || decode_token(spelled, line, (size_t)(space - line)) != LORA_OK || spelled->size == 0)
        return LORA_ERROR_FORMAT;
    const char *digit = space + 1, *end = line + length;
    if (digit == end || end - digit > 9) return LORA_ERROR_FORMAT;
    for (; digit < end && *digit >= '0' && *digit <= '9'; digit++) rank = 10 * rank + (*digit - '0');
    if (digit < end) return LORA_ERROR_FORMAT;
    return lr_vocabulary_put(&tokenizer->vocabulary, rank, spelled->data, spelled->size, LR_TOKEN_MODEL);
}

static lora_status read_lines(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size)
{
    lr_bytes spelled;
    lora_status status = LORA_OK;
    size_t number = 0;
    lr_bytes_init(&spelled, &tokenizer->context->allocator, 1 << 20);
    for (size_t at = 0; at < size && status == LORA_OK; number++) {
        const char *newline = memchr(bytes + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - bytes) - at : size - at;
        if (length > 0) status = read_line(tokenizer, &spelled, bytes + at, length);
        at += length + 1;
    }
    lr_bytes_free(&spelled);
    if (status == LORA_ERROR_FORMAT || (status == LORA_OK && tokenizer->vocabulary.size == 0))
        return lr_fail(LORA_ERROR_FORMAT, "%s: neither a SentencePiece model nor tiktoken's ranks (line %zu)", path,
                       number);
    return status;
}

static lora_status add_special(lora_tokenizer *tokenizer, int32_t id, const char *text)
{
    LR_TRY(lr_vocabulary_put(&tokenizer->vocabulary, id, text, strlen(text), LR_TOKEN_SPECIAL | LR_TOKEN_ADDED));
    return lr_added_tokens_add(&tokenizer->added, &tokenizer->context->allocator, (lr_added_token){.id = id}, text,
                               strlen(text));
}

static lora_status add_llama3_special(lora_tokenizer *tokenizer)
{
    static const char *const named[] = {"<|begin_of_text|>",
                                        "<|end_of_text|>",
                                        "<|reserved_special_token_0|>",
                                        "<|reserved_special_token_1|>",
                                        "<|finetune_right_pad_id|>",
                                        "<|step_id|>",
                                        "<|start_header_id|>",
                                        "<|end_header_id|>",
                                        "<|eom_id|>",
                                        "<|eot_id|>",
                                        "<|python_tag|>"};
    const int32_t count = sizeof named / sizeof *named;
    for (int32_t i = 0; i < LLAMA3_SPECIAL; i++) {
        char *reserved =
            lr_format(&tokenizer->context->allocator, "<|reserved_special_token_%d|>", (int)(2 + i - count));
        if (!reserved) return LORA_ERROR_MEMORY;
        lora_status status = add_special(tokenizer, LLAMA3_TOKENS + i, i < count ? named[i] : reserved);
        lr_free(&tokenizer->context->allocator, reserved);
        LR_TRY(status);
    }
    return LORA_OK;
}

static lora_status rank_tokens(lora_tokenizer *tokenizer)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    float *scores = lr_alloc_array(allocator, (size_t)tokenizer->vocabulary.size, sizeof *scores);
    if (!scores) return LORA_ERROR_MEMORY;
    for (int32_t id = 0; id < tokenizer->vocabulary.size; id++) scores[id] = -(float)id; // exact below 2^24
    lora_status status = lr_bpe_rank_scores(&tokenizer->bpe, &tokenizer->vocabulary, scores, allocator);
    lr_free(allocator, scores);
    return status;
}

static lora_status fill(lora_tokenizer *tokenizer, const lr_tokenizer_config *config, const char *path)
{
    const char *pattern = lr_pattern_llama3;
    bool listed = json_object_size(json_object_get(config->config, "added_tokens_decoder")) > 0;
    if (listed)
        LR_TRY(lr_tokenizer_config_tokens(config, tokenizer));
    else if (tokenizer->vocabulary.size == LLAMA3_TOKENS)
        LR_TRY(add_llama3_special(tokenizer));
    LR_TRY(lr_vocabulary_finish(&tokenizer->vocabulary));
    LR_TRY(rank_tokens(tokenizer));
    tokenizer->bpe.ignore_merges = true;
    LR_TRY(lr_tokenizer_byte_level(tokenizer, &pattern, 1, false));
    LR_TRY(lr_tokenizer_config_apply(config, tokenizer, path));
    LR_TRY(lr_tokenizer_config_surround(config, tokenizer, true, false));
    return lr_tokenizer_finish(tokenizer);
}

lora_status lr_load_tiktoken(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size)
{
    lr_tokenizer_config config;
    lora_status status = lr_tokenizer_config_load(&config, tokenizer->context, path);
    if (status == LORA_OK) status = read_lines(tokenizer, path, bytes, size);
    if (status == LORA_OK) status = fill(tokenizer, &config, path);
    lr_tokenizer_config_free(&config, tokenizer->context);
    return status;
}
