#include "merges.h"

#include <string.h>

#define MAX_TOKEN (1u << 20)

lora_status lr_merges_begin(lr_merges *merges, lr_bpe *bpe, const lr_vocabulary *vocabulary, const char *name,
                            const lora_allocator *allocator, size_t count)
{
    *merges = (lr_merges){.bpe = bpe, .vocabulary = vocabulary, .name = name};
    lr_bytes_init(&merges->joined, allocator, 2 * MAX_TOKEN);
    if (count >= UINT32_MAX) return lr_fail(LORA_ERROR_FORMAT, "%s: %zu merges are too many", name, count);
    return lr_pair_map_init(&bpe->pairs, allocator, count);
}

static lora_status find_token(const lr_merges *merges, const char *text, size_t length, int32_t *id)
{
    *id = lr_vocabulary_find_piece(merges->vocabulary, text, length);
    if (*id >= 0) return LORA_OK;
    return lr_fail(LORA_ERROR_FORMAT, "%s: merge %u needs the token \"%.*s\", which is not in the vocabulary",
                   merges->name, merges->rank, (int)(length < 80 ? length : 80), text);
}

lora_status lr_merges_add(lr_merges *merges, const char *left, size_t left_length, const char *right,
                          size_t right_length)
{
    int32_t first, second, joined;
    size_t skipped = merges->bpe->prefix ? strlen(merges->bpe->prefix) : 0;
    if (left_length > MAX_TOKEN || right_length > MAX_TOKEN || skipped > right_length)
        return lr_fail(LORA_ERROR_FORMAT, "%s: merge %u has a token of wrong length", merges->name, merges->rank);
    LR_TRY(find_token(merges, left, left_length, &first));
    LR_TRY(find_token(merges, right, right_length, &second));
    merges->joined.size = 0;
    LR_TRY(lr_bytes_append(&merges->joined, left, left_length));
    LR_TRY(lr_bytes_append(&merges->joined, right + skipped, right_length - skipped));
    LR_TRY(find_token(merges, merges->joined.data, merges->joined.size, &joined));
    lr_pair_map_put(&merges->bpe->pairs, first, second, merges->rank++, joined);
    return LORA_OK;
}

lora_status lr_merges_add_line(lr_merges *merges, const char *line, size_t length)
{
    const char *space = memchr(line, ' ', length);
    size_t left = space ? (size_t)(space - line) : length, right = space ? length - left - 1 : 0;
    if (!space || memchr(space + 1, ' ', right))
        return lr_fail(LORA_ERROR_FORMAT, "%s: merge %u is \"%.*s\", not two tokens with a space between", merges->name,
                       merges->rank, (int)(length < 80 ? length : 80), line);
    return lr_merges_add(merges, line, left, space + 1, right);
}

void lr_merges_end(lr_merges *merges) { lr_bytes_free(&merges->joined); }
