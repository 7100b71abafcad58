#include "bpe.h"

#include "lib/unicode.h"
#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

#define REMEMBERED 4096    // words; a power of two
#define REMEMBER_FROM 4096 // bytes of text

void lr_bpe_init(lr_bpe *bpe)
{
    *bpe = (lr_bpe){.unknown = -1};
    for (int i = 0; i < 256; i++) bpe->byte_ids[i] = -1;
}

void lr_bpe_free(lr_bpe *bpe, const lora_allocator *allocator)
{
    lr_pair_map_free(&bpe->pairs, allocator);
    lr_free(allocator, bpe->piece_rank);
    lr_free(allocator, bpe->prefix);
    lr_free(allocator, bpe->suffix);
    lr_free(allocator, bpe->characters);
    *bpe = (lr_bpe){.unknown = -1};
}

// ---- tables -----------------------------------------------------------------------------------------------------

static bool meta_only_in_front(const lr_vocabulary *vocabulary)
{
    for (int32_t id = 0; id < vocabulary->size; id++) {
        if (!lr_vocabulary_has(vocabulary, id) || !(vocabulary->tokens[id].flags & LR_TOKEN_MODEL)) continue;
        const char *text = lr_vocabulary_text(vocabulary, id);
        size_t length = vocabulary->tokens[id].length, at = 0;
        while (length - at >= LR_META_SIZE && memcmp(text + at, LR_META, LR_META_SIZE) == 0) at += LR_META_SIZE;
        if (length > at && memmem(text + at, length - at, LR_META, LR_META_SIZE)) return false;
    }
    return lr_vocabulary_find_piece(vocabulary, LR_META, LR_META_SIZE) >= 0;
}

lora_status lr_bpe_finish(lr_bpe *bpe, const lr_vocabulary *vocabulary, const lora_allocator *allocator)
{
    bpe->characters = lr_alloc_array(allocator, LR_FAST_CHARACTERS, sizeof *bpe->characters);
    if (!bpe->characters) return LORA_ERROR_MEMORY;
    for (int32_t code = 0; code < LR_FAST_CHARACTERS; code++) {
        char text[4];
        bpe->characters[code] = lr_vocabulary_find_piece(vocabulary, text, lr_utf8_put(code, text));
    }
    for (int byte = 0; byte < 256 && bpe->byte_fallback; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        char text[] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        bpe->byte_ids[byte] = lr_vocabulary_find(vocabulary, text, sizeof text);
    }
    bpe->cut_at_meta = !bpe->ignore_merges && !bpe->prefix && !bpe->suffix && meta_only_in_front(vocabulary);
    return LORA_OK;
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b)
{
    float x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return x > y ? -1 : x < y;
}

lora_status lr_bpe_rank_scores(lr_bpe *bpe, const lr_vocabulary *vocabulary, const float *scores,
                               const lora_allocator *allocator)
{
    size_t size = (size_t)vocabulary->size, count = 0;
    scored *order = lr_alloc_array(allocator, size, sizeof *order);
    bpe->piece_rank = lr_alloc_array(allocator, size, sizeof *bpe->piece_rank);
    if (!order || !bpe->piece_rank) {
        lr_free(allocator, order);
        return LORA_ERROR_MEMORY;
    }
    for (int32_t id = 0; id < vocabulary->size; id++) {
        const lr_token *token = &vocabulary->tokens[id];
        bpe->piece_rank[id] = UINT32_MAX;
        if (!lr_vocabulary_has(vocabulary, id) || !(token->flags & LR_TOKEN_MODEL)) continue;
        order[count++] = (scored){scores[id], id};
        if (token->length > bpe->longest) bpe->longest = token->length;
    }
    qsort(order, count, sizeof *order, by_score);
    for (size_t i = 0, rank = 0; i < count; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank = i;
        bpe->piece_rank[order[i].id] = (uint32_t)rank;
    }
    lr_free(allocator, order);
    return LORA_OK;
}

// ---- scratch ----------------------------------------------------------------------------------------------------

lora_status lr_bpe_scratch_init(lr_bpe_scratch *scratch, const lora_allocator *allocator, size_t text_length)
{
    *scratch = (lr_bpe_scratch){.allocator = allocator};
    if (text_length < REMEMBER_FROM) return LORA_OK;
    scratch->words = lr_alloc_zeroed(allocator, REMEMBERED, sizeof *scratch->words);
    return scratch->words ? LORA_OK : LORA_ERROR_MEMORY;
}

void lr_bpe_scratch_free(lr_bpe_scratch *scratch)
{
    lr_free(scratch->allocator, scratch->symbols);
    lr_free(scratch->allocator, scratch->heap);
    lr_free(scratch->allocator, scratch->words);
    lr_free(scratch->allocator, scratch->ids.data);
}

lora_status lr_ids_add(lr_bpe_scratch *scratch, int32_t id)
{
    lr_ids *ids = &scratch->ids;
    LR_TRY(lr_grow(scratch->allocator, (void **)&ids->data, &ids->capacity, ids->count + 1, sizeof *ids->data));
    ids->data[ids->count++] = id;
    return LORA_OK;
}

// ---- symbols ----------------------------------------------------------------------------------------------------

static lora_status add_symbol(lr_bpe_scratch *scratch, size_t begin, size_t end, int32_t id)
{
    LR_TRY(lr_grow(scratch->allocator, (void **)&scratch->symbols, &scratch->symbol_capacity, scratch->symbol_count + 1,
                   sizeof *scratch->symbols));
    int32_t index = (int32_t)scratch->symbol_count++;
    scratch->symbols[index] = (lr_symbol){(uint32_t)begin, (uint32_t)end, id, index - 1, index + 1};
    return LORA_OK;
}

// The id of a character, with the prefix and suffix that its place asks for; -1: none.
static lora_status character_id(const lr_bpe *bpe, const lr_vocabulary *vocabulary, const lora_allocator *allocator,
                                const char *text, size_t size, int32_t code, bool first, bool last, int32_t *id)
{
    const char *prefix = bpe->prefix && !first ? bpe->prefix : "", *suffix = bpe->suffix && last ? bpe->suffix : "";
    if (!*prefix && !*suffix) {
        *id = code < LR_FAST_CHARACTERS ? bpe->characters[code] : lr_vocabulary_find_piece(vocabulary, text, size);
        return LORA_OK;
    }
    char *spelled = lr_format(allocator, "%s%.*s%s", prefix, (int)size, text, suffix);
    if (!spelled) return LORA_ERROR_MEMORY;
    *id = lr_vocabulary_find_piece(vocabulary, spelled, strlen(spelled));
    lr_free(allocator, spelled);
    return LORA_OK;
}

static bool has_bytes(const lr_bpe *bpe, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bpe->byte_ids[(uint8_t)text[i]] < 0) return false;
    return bpe->byte_fallback;
}

// By merges, what is unknown is settled before anything is joined.
static lora_status add_unknown(const lr_bpe *bpe, lr_bpe_scratch *scratch, const char *text, size_t begin, size_t end)
{
    if (has_bytes(bpe, text + begin, end - begin)) {
        for (size_t i = begin; i < end; i++) LR_TRY(add_symbol(scratch, i, i + 1, bpe->byte_ids[(uint8_t)text[i]]));
        return LORA_OK;
    }
    if (bpe->unknown < 0) return LORA_OK;
    lr_symbol *last = scratch->symbol_count ? &scratch->symbols[scratch->symbol_count - 1] : NULL;
    if (bpe->fuse_unknown && last && last->id == bpe->unknown) {
        last->end = (uint32_t)end;
        return LORA_OK;
    }
    return add_symbol(scratch, begin, end, bpe->unknown);
}

static lora_status make_symbols(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch,
                                const char *text, size_t length)
{
    scratch->symbol_count = 0;
    for (size_t at = 0; at < length;) {
        int32_t code, id;
        size_t size = lr_utf8_next(text + at, length - at, &code);
        LR_TRY(character_id(bpe, vocabulary, scratch->allocator, text + at, size, code, at == 0, at + size == length,
                            &id));
        if (id >= 0 || bpe->piece_rank)
            LR_TRY(add_symbol(scratch, at, at + size, id));
        else
            LR_TRY(add_unknown(bpe, scratch, text, at, at + size));
        at += size;
    }
    if (scratch->symbol_count) scratch->symbols[scratch->symbol_count - 1].next = -1;
    return LORA_OK;
}

// ---- joining ----------------------------------------------------------------------------------------------------

static bool find_join(const lr_bpe *bpe, const lr_vocabulary *vocabulary, const char *text, const lr_symbol *left,
                      const lr_symbol *right, uint32_t *rank, int32_t *id)
{
    if (!bpe->piece_rank) {
        const lr_pair_slot *pair = lr_pair_map_get(&bpe->pairs, left->id, right->id);
        if (!pair) return false;
        *rank = pair->rank;
        *id = pair->id;
        return true;
    }
    size_t length = right->end - left->begin;
    if (length > bpe->longest) return false;
    *id = lr_vocabulary_find_piece(vocabulary, text + left->begin, length);
    if (*id < 0) return false;
    *rank = bpe->piece_rank[*id];
    return true;
}

static void sift_up(lr_join *heap, size_t at)
{
    lr_join held = heap[at];
    while (at > 0 && held.order < heap[(at - 1) / 2].order) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = held;
}

static lr_join pop_join(lr_bpe_scratch *scratch)
{
    lr_join *heap = scratch->heap, best = heap[0], held = heap[--scratch->heap_count];
    size_t count = scratch->heap_count, at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1].order < heap[child].order) child++;
        if (held.order <= heap[child].order) break;
        heap[at] = heap[child];
    }
    heap[at] = held;
    return best;
}

static lora_status push_join(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch,
                             const char *text, int32_t left)
{
    uint32_t rank;
    int32_t id;
    if (left < 0 || scratch->symbols[left].next < 0) return LORA_OK;
    if (!find_join(bpe, vocabulary, text, &scratch->symbols[left], &scratch->symbols[scratch->symbols[left].next],
                   &rank, &id))
        return LORA_OK;
    LR_TRY(lr_grow(scratch->allocator, (void **)&scratch->heap, &scratch->heap_capacity, scratch->heap_count + 1,
                   sizeof *scratch->heap));
    scratch->heap[scratch->heap_count] = (lr_join){(uint64_t)rank << 32 | (uint32_t)left, id};
    sift_up(scratch->heap, scratch->heap_count++);
    return LORA_OK;
}

static lora_status join_symbols(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch,
                                const char *text)
{
    lr_symbol *symbols = scratch->symbols;
    scratch->heap_count = 0;
    for (size_t i = 0; i + 1 < scratch->symbol_count; i++)
        LR_TRY(push_join(bpe, vocabulary, scratch, text, (int32_t)i));
    while (scratch->heap_count > 0) {
        lr_join join = pop_join(scratch);
        int32_t index = (int32_t)(uint32_t)join.order, id;
        uint32_t rank;
        lr_symbol *left = &symbols[index];
        if (left->end == left->begin || left->next < 0) continue; // one of the two has been joined away
        lr_symbol *right = &symbols[left->next];
        if (!find_join(bpe, vocabulary, text, left, right, &rank, &id) || id != join.id) continue;
        left->id = id;
        left->end = right->end;
        left->next = right->next;
        right->end = right->begin;
        if (left->next >= 0) symbols[left->next].previous = index;
        LR_TRY(push_join(bpe, vocabulary, scratch, text, left->previous));
        LR_TRY(push_join(bpe, vocabulary, scratch, text, index));
    }
    return LORA_OK;
}

// By scores, what is still unknown becomes bytes, or one unknown token for the whole run.
static lora_status emit_symbols(const lr_bpe *bpe, lr_bpe_scratch *scratch, const char *text)
{
    bool after_unknown = false;
    for (int32_t i = scratch->symbol_count ? 0 : -1; i >= 0; i = scratch->symbols[i].next) {
        lr_symbol symbol = scratch->symbols[i];
        bool known = symbol.id >= 0, bytes = !known && has_bytes(bpe, text + symbol.begin, symbol.end - symbol.begin);
        if (known)
            LR_TRY(lr_ids_add(scratch, symbol.id));
        else if (bytes)
            for (uint32_t at = symbol.begin; at < symbol.end; at++)
                LR_TRY(lr_ids_add(scratch, bpe->byte_ids[(uint8_t)text[at]]));
        else if (bpe->unknown >= 0 && !after_unknown)
            LR_TRY(lr_ids_add(scratch, bpe->unknown));
        after_unknown = !known && !bytes;
    }
    return LORA_OK;
}

// ---- words ------------------------------------------------------------------------------------------------------

static lora_status encode_fresh(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch,
                                const char *text, size_t length)
{
    int32_t whole = bpe->ignore_merges ? lr_vocabulary_find_piece(vocabulary, text, length) : -1;
    if (whole >= 0) return lr_ids_add(scratch, whole);
    LR_TRY(make_symbols(bpe, vocabulary, scratch, text, length));
    LR_TRY(join_symbols(bpe, vocabulary, scratch, text));
    return emit_symbols(bpe, scratch, text);
}

static lora_status copy_ids(lr_bpe_scratch *scratch, const lr_remembered *word)
{
    for (uint32_t i = 0; i < word->count; i++) LR_TRY(lr_ids_add(scratch, scratch->ids.data[word->ids + i]));
    return LORA_OK;
}

// Most words of a long text have been seen before.
static lora_status encode_word(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch,
                               const char *text, size_t length)
{
    if (!scratch->words || length > sizeof scratch->words->text)
        return encode_fresh(bpe, vocabulary, scratch, text, length);
    uint32_t hash = lr_text_hash(text, length);
    lr_remembered *word = &scratch->words[hash & (REMEMBERED - 1)];
    if (word->length == length && word->hash == hash && memcmp(word->text, text, length) == 0)
        return copy_ids(scratch, word);
    size_t begin = scratch->ids.count;
    LR_TRY(encode_fresh(bpe, vocabulary, scratch, text, length));
    *word = (lr_remembered){hash, (uint8_t)length, (uint8_t)(scratch->ids.count - begin), (uint32_t)begin, {0}};
    memcpy(word->text, text, length);
    return LORA_OK;
}

lora_status lr_bpe_encode(const lr_bpe *bpe, const lr_vocabulary *vocabulary, lr_bpe_scratch *scratch, const char *text,
                          size_t length)
{
    size_t begin = 0;
    for (size_t at = LR_META_SIZE; bpe->cut_at_meta && at < length; at++) {
        const char *place = memmem(text + at, length - at, LR_META, LR_META_SIZE);
        if (!place) break;
        at = (size_t)(place - text);
        if (memcmp(place - LR_META_SIZE, LR_META, LR_META_SIZE) == 0) continue;
        LR_TRY(encode_word(bpe, vocabulary, scratch, text + begin, at - begin));
        begin = at;
    }
    return begin < length ? encode_word(bpe, vocabulary, scratch, text + begin, length - begin) : LORA_OK;
}
