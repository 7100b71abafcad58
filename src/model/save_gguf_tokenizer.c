// A tokenizer in GGUF's keys: "gpt2" for byte-level pieces and their merges, "llama" for SentencePiece's pieces and
// their scores.
#include "save_gguf_tokenizer.h"

#include "src/model/source.h"
#include "src/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// GGUF's kinds of tokens.
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER_DEFINED, TOKEN_UNUSED, TOKEN_BYTE };

static bool has_step(const lr_steps *steps, lr_step_kind kind)
{
    for (size_t i = 0; i < steps->count; i++)
        if (steps->items[i].kind == kind) return true;
    return false;
}

// ---- vocabulary -----------------------------------------------------------------------------------------------------

static int32_t token_kind(const lora_tokenizer *tokenizer, int32_t id)
{
    const lr_vocabulary *vocabulary = &tokenizer->vocabulary;
    const lr_token *token = &vocabulary->tokens[id];
    bool bytes =
        tokenizer->bpe.byte_fallback && lr_byte_spelling(lr_vocabulary_text(vocabulary, id), token->length) >= 0;
    if (bytes || token->flags & LR_TOKEN_BYTE_FALLBACK) return TOKEN_BYTE;
    if (tokenizer->bpe.byte_fallback && id == tokenizer->roles[LORA_TOKEN_UNKNOWN]) return TOKEN_UNKNOWN;
    if (token->flags & LR_TOKEN_SPECIAL) return TOKEN_CONTROL;
    if (token->flags & LR_TOKEN_ADDED) return TOKEN_USER_DEFINED;
    return token->flags ? TOKEN_NORMAL : TOKEN_UNUSED;
}

// One spelling for each row of the embedding; rows without a token get a name of their own.
static lora_status put_tokens(const lora_model *model, lr_gguf_writer *writer, lr_bytes *names, lr_gguf_text *texts,
                              int32_t *kinds)
{
    const lr_vocabulary *vocabulary = &model->tokenizer->vocabulary;
    size_t count = (size_t)model->stack.vocabulary;
    for (size_t i = 0; i < count; i++) {
        char name[32];
        bool there = lr_vocabulary_has(vocabulary, (int64_t)i);
        snprintf(name, sizeof name, "[PAD%zu]", i);
        const char *text = there ? lr_vocabulary_text(vocabulary, (int32_t)i) : name;
        texts[i].length = there ? vocabulary->tokens[i].length : strlen(name);
        kinds[i] = there ? token_kind(model->tokenizer, (int32_t)i) : TOKEN_UNUSED;
        LR_TRY(lr_bytes_append(names, text, (size_t)texts[i].length));
    }
    size_t at = 0;
    for (size_t i = 0; i < count; at += (size_t)texts[i++].length) texts[i].bytes = names->data + at;
    LR_TRY(lr_gguf_writer_strings(writer, "tokenizer.ggml.tokens", texts, count));
    return lr_gguf_writer_i32s(writer, "tokenizer.ggml.token_type", kinds, count);
}

static lora_status put_vocabulary(const lora_model *model, lr_gguf_writer *writer)
{
    const lora_allocator *allocator = &model->context->allocator;
    size_t count = (size_t)model->stack.vocabulary;
    lr_bytes names;
    lr_bytes_init(&names, allocator, (size_t)1 << 30);
    lr_gguf_text *texts = lr_alloc_array(allocator, count, sizeof *texts);
    int32_t *kinds = lr_alloc_array(allocator, count, sizeof *kinds);
    lora_status status = texts && kinds ? put_tokens(model, writer, &names, texts, kinds) : LORA_ERROR_MEMORY;
    lr_bytes_free(&names);
    lr_free(allocator, texts);
    lr_free(allocator, kinds);
    return status;
}

// ---- merges and scores ----------------------------------------------------------------------------------------------

static int by_rank(const void *a, const void *b)
{
    uint32_t left = ((const lr_pair_slot *)a)->rank, right = ((const lr_pair_slot *)b)->rank;
    return (left > right) - (left < right);
}

// The merges in order of rank; *count of them, from the allocator.
static lora_status list_merges(const lora_tokenizer *tokenizer, lr_pair_slot **out, size_t *count)
{
    const lr_pair_map *map = &tokenizer->bpe.pairs;
    size_t slots = map->slots ? map->mask + 1 : 0;
    lr_pair_slot *merges = lr_alloc_array(&tokenizer->context->allocator, slots, sizeof *merges);
    if (!merges) return LORA_ERROR_MEMORY;
    *count = 0;
    for (size_t i = 0; i < slots; i++)
        if (map->slots[i].key != UINT64_MAX) merges[(*count)++] = map->slots[i];
    qsort(merges, *count, sizeof *merges, by_rank);
    *out = merges;
    return LORA_OK;
}

static lora_status spell_merges(const lr_vocabulary *vocabulary, const lr_pair_slot *merges, size_t count,
                                lr_bytes *bytes, lr_gguf_text *texts)
{
    for (size_t i = 0; i < count; i++) {
        int32_t pair[2] = {(int32_t)(merges[i].key >> 32), (int32_t)merges[i].key};
        size_t before = bytes->size;
        LR_TRY(lr_bytes_append(bytes, lr_vocabulary_text(vocabulary, pair[0]), vocabulary->tokens[pair[0]].length));
        LR_TRY(lr_bytes_append(bytes, " ", 1));
        LR_TRY(lr_bytes_append(bytes, lr_vocabulary_text(vocabulary, pair[1]), vocabulary->tokens[pair[1]].length));
        texts[i].length = bytes->size - before;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; at += (size_t)texts[i++].length) texts[i].bytes = bytes->data + at;
    return LORA_OK;
}

static lora_status put_merges(const lora_tokenizer *tokenizer, lr_gguf_writer *writer)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    lr_pair_slot *merges;
    size_t count;
    LR_TRY(list_merges(tokenizer, &merges, &count));
    lr_bytes bytes;
    lr_bytes_init(&bytes, allocator, (size_t)1 << 30);
    lr_gguf_text *texts = lr_alloc_array(allocator, count, sizeof *texts);
    lora_status status = texts ? spell_merges(&tokenizer->vocabulary, merges, count, &bytes, texts) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = lr_gguf_writer_strings(writer, "tokenizer.ggml.merges", texts, count);
    lr_bytes_free(&bytes);
    lr_free(allocator, texts);
    lr_free(allocator, merges);
    return status;
}

// A score is minus the rank at which a piece is made.
static lora_status fill_scores(const lora_tokenizer *tokenizer, float *scores, size_t count)
{
    const lr_bpe *bpe = &tokenizer->bpe;
    if (bpe->piece_rank) {
        size_t known = (size_t)tokenizer->vocabulary.size < count ? (size_t)tokenizer->vocabulary.size : count;
        for (size_t i = 0; i < known; i++)
            scores[i] = bpe->piece_rank[i] == UINT32_MAX ? 0 : -(float)bpe->piece_rank[i];
        return LORA_OK;
    }
    lr_pair_slot *merges;
    size_t merge_count;
    LR_TRY(list_merges(tokenizer, &merges, &merge_count));
    for (size_t i = merge_count; i-- > 0;) // the best rank of a piece is written last
        if ((size_t)merges[i].id < count) scores[merges[i].id] = -(float)merges[i].rank;
    lr_free(&tokenizer->context->allocator, merges);
    return LORA_OK;
}

static lora_status put_scores(const lora_model *model, lr_gguf_writer *writer)
{
    const lora_allocator *allocator = &model->context->allocator;
    size_t count = (size_t)model->stack.vocabulary;
    float *scores = lr_alloc_zeroed(allocator, count, sizeof *scores);
    if (!scores) return LORA_ERROR_MEMORY;
    lora_status status = fill_scores(model->tokenizer, scores, count);
    if (status == LORA_OK) status = lr_gguf_writer_f32s(writer, "tokenizer.ggml.scores", scores, count);
    lr_free(allocator, scores);
    return status;
}

// ---- the name of the pre-tokenizer ----------------------------------------------------------------------------------

// Pieces of a text that the patterns of the field cut differently: digits, contractions in both cases, line ends,
// scripts.
static const char probe[] =
    "I've DON'T they'LL  x1234567 3.14\n\n \t\nvoil\xC3\xA0 \xE4\xB8\xAD\xE6\x96\x87\xE5\xAD\x97\xEF\xBC\x8C"
    " \xD1\x82\xD0\xB5\xD1\x81\xD1\x82\xF0\x9F\x98\x80!!\r\n  (end)\t ";

static lora_status cut_probe(const lora_allocator *allocator, const lr_steps *steps, lr_workshop *shop)
{
    LR_TRY(lr_workshop_init(shop, allocator));
    LR_TRY(lr_workshop_set(shop, probe, sizeof probe - 1, true));
    return lr_pre_tokenize(steps, shop);
}

static bool same_pieces(const lr_workshop *a, const lr_workshop *b)
{
    if (a->now.count != b->now.count) return false;
    for (size_t i = 0; i < a->now.count; i++) {
        lr_piece left = a->now.items[i], right = b->now.items[i];
        if (left.end - left.begin != right.end - right.begin) return false;
        if (memcmp(a->now.text.data + left.begin, b->now.text.data + right.begin, left.end - left.begin) != 0)
            return false;
    }
    return true;
}

static lora_status make_steps(const lora_allocator *allocator, const char *const patterns[2], lr_steps *steps)
{
    for (size_t i = 0; i < 2 && patterns[i]; i++) {
        lr_step cut = {.kind = LR_CUT_PATTERN, .behaviour = LR_ISOLATED};
        LR_TRY(lr_pattern_compile(allocator, patterns[i], strlen(patterns[i]), &cut.pattern));
        LR_TRY(lr_steps_add(steps, allocator, cut));
    }
    return lr_steps_add(steps, allocator, (lr_step){.kind = LR_CUT_BYTE_LEVEL, .prefix = LR_PREFIX_NEVER});
}

static lora_status cuts_alike(const lora_tokenizer *tokenizer, const char *const patterns[2], bool *alike)
{
    const lora_allocator *allocator = &tokenizer->context->allocator;
    lr_workshop ours = {0}, theirs = {0};
    lr_steps steps = {0};
    *alike = false;
    lora_status status = make_steps(allocator, patterns, &steps);
    if (status == LORA_OK) {
        status = cut_probe(allocator, &tokenizer->pre_tokenizers, &ours);
        if (status == LORA_OK) status = cut_probe(allocator, &steps, &theirs);
        if (status == LORA_OK) *alike = same_pieces(&ours, &theirs);
        lr_workshop_free(&ours);
        lr_workshop_free(&theirs);
    }
    lr_steps_free(&steps, allocator);
    return status;
}

static lora_status put_pre_tokenizer(const lora_tokenizer *tokenizer, lr_gguf_writer *writer)
{
    const struct {
        const char *name, *patterns[2];
    } known[] = {{"gpt-2", {lr_pattern_gpt2}}, {"qwen2", {lr_pattern_qwen2}}, {"llama-bpe", {lr_pattern_llama3}},
                 {"smollm", {"\\p{N}", lr_pattern_gpt2}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        bool alike;
        LR_TRY(cuts_alike(tokenizer, known[i].patterns, &alike));
        if (alike) return lr_gguf_writer_string(writer, "tokenizer.ggml.pre", known[i].name, strlen(known[i].name));
    }
    return lr_fail(LORA_ERROR_UNSUPPORTED,
                   "the tokenizer cuts text in a way that GGUF has no name for (known: gpt-2, qwen2, "
                   "llama-bpe, smollm); save a Hugging Face directory instead");
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static lora_status put_kind(const lora_model *model, lr_gguf_writer *writer)
{
    const lora_tokenizer *tokenizer = model->tokenizer;
    if (has_step(&tokenizer->pre_tokenizers, LR_CUT_BYTE_LEVEL)) {
        LR_TRY(lr_gguf_writer_string(writer, "tokenizer.ggml.model", "gpt2", 4));
        LR_TRY(put_pre_tokenizer(tokenizer, writer));
        return put_merges(tokenizer, writer);
    }
    bool prefixed = has_step(&tokenizer->normalizers, LR_NORMALIZE_PREPEND);
    for (size_t i = 0; i < tokenizer->normalizers.count; i++)
        prefixed |= tokenizer->normalizers.items[i].kind == LR_NORMALIZE_SENTENCEPIECE &&
                    tokenizer->normalizers.items[i].prefix != LR_PREFIX_NEVER;
    for (size_t i = 0; i < tokenizer->pre_tokenizers.count; i++)
        prefixed |= tokenizer->pre_tokenizers.items[i].kind == LR_CUT_METASPACE &&
                    tokenizer->pre_tokenizers.items[i].prefix != LR_PREFIX_NEVER;
    LR_TRY(lr_gguf_writer_string(writer, "tokenizer.ggml.model", "llama", 5));
    LR_TRY(lr_gguf_writer_string(writer, "tokenizer.ggml.pre", "default", 7));
    LR_TRY(lr_gguf_writer_bool(writer, "tokenizer.ggml.add_space_prefix", prefixed));
    return put_scores(model, writer);
}

static bool surrounds(const lr_ids *ids, int32_t id)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->data[i] == id) return true;
    return false;
}

static lora_status put_roles(const lora_tokenizer *tokenizer, lr_gguf_writer *writer)
{
    static const struct {
        int32_t role;
        const char *key;
    } roles[] = {{LORA_TOKEN_BEGIN, "tokenizer.ggml.bos_token_id"},
                 {LORA_TOKEN_END, "tokenizer.ggml.eos_token_id"},
                 {LORA_TOKEN_PAD, "tokenizer.ggml.padding_token_id"},
                 {LORA_TOKEN_UNKNOWN, "tokenizer.ggml.unknown_token_id"}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        int32_t id = tokenizer->roles[roles[i].role];
        if (id >= 0) LR_TRY(lr_gguf_writer_u32(writer, roles[i].key, (uint32_t)id));
    }
    int32_t begin = tokenizer->roles[LORA_TOKEN_BEGIN], end = tokenizer->roles[LORA_TOKEN_END];
    LR_TRY(lr_gguf_writer_bool(writer, "tokenizer.ggml.add_bos_token",
                               begin >= 0 && surrounds(&tokenizer->before, begin)));
    LR_TRY(lr_gguf_writer_bool(writer, "tokenizer.ggml.add_eos_token", end >= 0 && surrounds(&tokenizer->after, end)));
    const char *template = tokenizer->chat_template;
    return template ? lr_gguf_writer_string(writer, "tokenizer.chat_template", template, strlen(template)) : LORA_OK;
}

static lora_status copy_keys(const lr_gguf *source, lr_gguf_writer *writer)
{
    for (size_t i = 0; i < source->pair_count; i++)
        if (strncmp(source->pairs[i].key, "tokenizer.", 10) == 0)
            LR_TRY(lr_gguf_writer_copy(writer, &source->pairs[i]));
    return LORA_OK;
}

lora_status lr_save_gguf_tokenizer(const lora_model *model, lr_gguf_writer *writer)
{
    for (const lora_model *from = model; from; from = from->base)
        if (from->source && from->source->gguf.pair_count) return copy_keys(&from->source->gguf, writer);
    if (!model->tokenizer) return LORA_OK;
    LR_TRY(put_kind(model, writer));
    LR_TRY(put_vocabulary(model, writer));
    return put_roles(model->tokenizer, writer);
}
