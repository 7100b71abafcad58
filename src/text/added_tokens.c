#include "added_tokens.h"

#include <string.h>

lora_status lr_added_tokens_add(lr_added_tokens *tokens, const lora_allocator *allocator, lr_added_token token,
                                const char *text, size_t length)
{
    if (length == 0) return LORA_OK;
    LR_TRY(lr_grow(allocator, (void **)&tokens->items, &tokens->capacity, tokens->count + 1, sizeof *tokens->items));
    token.text = lr_duplicate_range(allocator, text, length);
    token.length = length;
    if (!token.text) return LORA_ERROR_MEMORY;
    tokens->items[tokens->count++] = token;
    return LORA_OK;
}

// ---- trie -------------------------------------------------------------------------------------------------------

static lora_status add_node(lr_trie *trie, const lora_allocator *allocator, uint8_t byte, int32_t *index)
{
    LR_TRY(lr_grow(allocator, (void **)&trie->nodes, &trie->capacity, trie->count + 1, sizeof *trie->nodes));
    trie->nodes[trie->count] = (lr_trie_node){0, 0, -1, byte};
    *index = (int32_t)trie->count++;
    return LORA_OK;
}

static int32_t find_child(const lr_trie *trie, int32_t node, uint8_t byte) // 0: none
{
    int32_t child = trie->nodes[node].child;
    while (child && trie->nodes[child].byte != byte) child = trie->nodes[child].sibling;
    return child;
}

static lora_status insert(lr_trie *trie, const lora_allocator *allocator, const char *text, size_t length,
                          int32_t token)
{
    int32_t node = 0;
    if (length == 0) return LORA_OK;
    if (trie->count == 0) LR_TRY(add_node(trie, allocator, 0, &node));
    for (size_t i = 0; i < length; i++) {
        int32_t child = find_child(trie, node, (uint8_t)text[i]);
        if (!child) {
            LR_TRY(add_node(trie, allocator, (uint8_t)text[i], &child));
            trie->nodes[child].sibling = trie->nodes[node].child;
            trie->nodes[node].child = child;
        }
        node = child;
    }
    trie->nodes[node].token = token;
    trie->begins[(uint8_t)text[0]] = true;
    return LORA_OK;
}

static int32_t longest_at(const lr_trie *trie, const char *text, size_t length, size_t at, size_t *end)
{
    int32_t node = 0, token = -1;
    for (size_t i = at; i < length; i++) {
        node = find_child(trie, node, (uint8_t)text[i]);
        if (!node) break;
        if (trie->nodes[node].token < 0) continue;
        token = trie->nodes[node].token;
        *end = i + 1;
    }
    return token;
}

lora_status lr_added_tokens_finish(lr_added_tokens *tokens, const lora_allocator *allocator,
                                   const lr_steps *normalizers)
{
    lr_workshop shop;
    lora_status status = lr_workshop_init(&shop, allocator);
    for (size_t i = 0; i < tokens->count && status == LORA_OK; i++) {
        const lr_added_token *token = &tokens->items[i];
        if (!token->normalized || token->verbatim) {
            status = insert(token->normalized ? &tokens->normalized : &tokens->raw, allocator, token->text,
                            token->length, (int32_t)i);
            continue;
        }
        LR_GOTO(end, status, lr_workshop_set(&shop, token->text, token->length, true));
        LR_GOTO(end, status, lr_normalize(normalizers, &shop, true));
        status = insert(&tokens->normalized, allocator, shop.now.text.data, shop.now.text.size, (int32_t)i);
    }
end:
    lr_workshop_free(&shop);
    return status;
}

void lr_added_tokens_free(lr_added_tokens *tokens, const lora_allocator *allocator)
{
    for (size_t i = 0; i < tokens->count; i++) lr_free(allocator, tokens->items[i].text);
    lr_free(allocator, tokens->items);
    lr_free(allocator, tokens->raw.nodes);
    lr_free(allocator, tokens->normalized.nodes);
    *tokens = (lr_added_tokens){0};
}

// ---- searching --------------------------------------------------------------------------------------------------

static bool word_before(const char *text, size_t at)
{
    int32_t code;
    if (at == 0) return false;
    size_t begin = lr_utf8_previous(text, at);
    lr_utf8_next(text + begin, at - begin, &code);
    return lr_is_word(code);
}

static bool word_after(const char *text, size_t length, size_t at)
{
    int32_t code;
    if (at == length) return false;
    lr_utf8_next(text + at, length - at, &code);
    return lr_is_word(code);
}

static size_t spaces_before(const char *text, size_t at, size_t limit)
{
    while (at > limit) {
        int32_t code;
        size_t begin = lr_utf8_previous(text, at);
        lr_utf8_next(text + begin, at - begin, &code);
        if (!lr_is_space(code)) break;
        at = begin;
    }
    return at;
}

static size_t spaces_after(const char *text, size_t length, size_t at)
{
    while (at < length) {
        int32_t code;
        size_t size = lr_utf8_next(text + at, length - at, &code);
        if (!lr_is_space(code)) break;
        at += size;
    }
    return at;
}

// The next token that counts from `at` on; false: none.
static bool find_token(const lr_added_tokens *tokens, const lr_trie *trie, const char *text, size_t length, size_t at,
                       lr_stretch *out)
{
    for (size_t begin = at; begin < length; begin++) {
        size_t end = begin;
        if (!trie->begins[(uint8_t)text[begin]]) continue;
        int32_t index = longest_at(trie, text, length, begin, &end);
        if (index < 0) continue;
        const lr_added_token *token = &tokens->items[index];
        if (token->single_word && (word_before(text, begin) || word_after(text, length, end))) {
            begin = end - 1;
            continue;
        }
        out->begin = token->strip_left ? spaces_before(text, begin, at) : begin;
        out->end = token->strip_right ? spaces_after(text, length, end) : end;
        out->id = token->id;
        return true;
    }
    return false;
}

lr_stretch lr_added_tokens_next(const lr_added_tokens *tokens, bool normalized, const char *text, size_t length,
                                size_t at, lr_stretch *pending)
{
    const lr_trie *trie = normalized ? &tokens->normalized : &tokens->raw;
    if (pending->id < 0 && (trie->count == 0 || !find_token(tokens, trie, text, length, at, pending)))
        return (lr_stretch){at, length, -1};
    if (pending->begin > at) return (lr_stretch){at, pending->begin, -1};
    lr_stretch token = *pending;
    pending->id = -1;
    return token;
}
