#include "vocabulary.h"

#include <string.h>

#define MAX_BYTES (UINT32_MAX / 2)

void lr_vocabulary_init(lr_vocabulary *vocabulary, const lora_allocator *allocator)
{
    *vocabulary = (lr_vocabulary){0};
    lr_bytes_init(&vocabulary->bytes, allocator, MAX_BYTES);
}

void lr_vocabulary_free(lr_vocabulary *vocabulary)
{
    const lora_allocator *allocator = vocabulary->bytes.allocator;
    if (!allocator) return;
    lr_text_map_free(&vocabulary->ids, allocator);
    lr_free(allocator, vocabulary->tokens);
    lr_bytes_free(&vocabulary->bytes);
    vocabulary->tokens = NULL;
    vocabulary->size = 0;
}

static const char *name_of(const lr_vocabulary *vocabulary)
{
    return vocabulary->file ? vocabulary->file : "the tokenizer";
}

lora_status lr_vocabulary_reserve(lr_vocabulary *vocabulary, size_t tokens, size_t bytes)
{
    if (tokens > LR_MAX_VOCABULARY)
        return lr_fail(LORA_ERROR_FORMAT, "%s: a vocabulary of %zu tokens was refused; %d is the most",
                       name_of(vocabulary), tokens, LR_MAX_VOCABULARY);
    LR_TRY(lr_grow(vocabulary->bytes.allocator, (void **)&vocabulary->tokens, &vocabulary->capacity, tokens,
                   sizeof *vocabulary->tokens));
    return lr_bytes_reserve(&vocabulary->bytes, bytes);
}

lora_status lr_vocabulary_put(lr_vocabulary *vocabulary, int64_t id, const char *text, size_t length, uint8_t flags)
{
    if (id < 0 || id >= LR_MAX_VOCABULARY)
        return lr_fail(LORA_ERROR_FORMAT, "%s: token id %lld of \"%.*s\" is not between 0 and %d", name_of(vocabulary),
                       (long long)id, (int)(length < 80 ? length : 80), text, LR_MAX_VOCABULARY - 1);
    LR_TRY(lr_grow(vocabulary->bytes.allocator, (void **)&vocabulary->tokens, &vocabulary->capacity, (size_t)id + 1,
                   sizeof *vocabulary->tokens));
    while (vocabulary->size <= id) vocabulary->tokens[vocabulary->size++] = (lr_token){.offset = UINT32_MAX};
    size_t offset = vocabulary->bytes.size;
    LR_TRY(lr_bytes_append(&vocabulary->bytes, text, length));
    LR_TRY(lr_bytes_append(&vocabulary->bytes, "", 1));
    vocabulary->tokens[id] = (lr_token){.offset = (uint32_t)offset, .length = (uint32_t)length, .flags = flags};
    return LORA_OK;
}

lora_status lr_vocabulary_finish(lr_vocabulary *vocabulary)
{
    LR_TRY(lr_text_map_init(&vocabulary->ids, vocabulary->bytes.allocator, (size_t)vocabulary->size));
    for (uint8_t model = 0; model <= LR_TOKEN_MODEL; model += LR_TOKEN_MODEL)
        for (int32_t id = 0; id < vocabulary->size; id++)
            if (lr_vocabulary_has(vocabulary, id) && (vocabulary->tokens[id].flags & LR_TOKEN_MODEL) == model)
                lr_text_map_put(&vocabulary->ids, lr_vocabulary_text(vocabulary, id), vocabulary->tokens[id].length,
                                id);
    return LORA_OK;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int lr_byte_spelling(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}
