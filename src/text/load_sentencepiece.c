// A SentencePiece model of the BPE kind (tokenizer.model). Control pieces are recognised in the text as transformers'
// LlamaTokenizer does; what lies between them is SentencePiece's own.
#include "tokenizer_config.h"

#include "lib/protobuf_reader.h"

#include <string.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; // of a piece
enum { TYPE_UNIGRAM = 1, TYPE_BPE, TYPE_WORD, TYPE_CHAR };         // of the model

typedef struct model_spec {
    const char *path; // for messages
    uint64_t model_type;
    bool byte_fallback, suffix_space;
    int32_t roles[LR_ROLE_COUNT];
    bool dummy_prefix, collapse, escape;
    const uint8_t *charsmap;
    size_t charsmap_size;
    float *scores; // by id, owned
    size_t score_capacity;
} model_spec;

static lora_status add_piece(lora_tokenizer *tokenizer, model_spec *spec, const char *text, size_t length, float score,
                             uint64_t type)
{
    static const uint8_t flags[] = {
        0, LR_TOKEN_MODEL,        LR_TOKEN_SPECIAL | LR_TOKEN_ADDED, LR_TOKEN_SPECIAL | LR_TOKEN_ADDED, LR_TOKEN_ADDED,
        0, LR_TOKEN_BYTE_FALLBACK};
    const lora_allocator *allocator = &tokenizer->context->allocator;
    int32_t id = tokenizer->vocabulary.size;
    if (type < NORMAL || type > BYTE)
        return lr_fail(LORA_ERROR_FORMAT, "%s: piece %d \"%.*s\" has the type %llu; 1 to 6 are known", spec->path,
                       (int)id, (int)(length < 80 ? length : 80), text, (unsigned long long)type);
    LR_TRY(lr_vocabulary_put(&tokenizer->vocabulary, id, text, length, flags[type]));
    LR_TRY(lr_grow(allocator, (void **)&spec->scores, &spec->score_capacity, (size_t)id + 1, sizeof *spec->scores));
    spec->scores[id] = score == score ? score : 0;
    if (!(flags[type] & LR_TOKEN_ADDED)) return LORA_OK;
    lr_added_token token = {.id = id, .normalized = type == USER_DEFINED, .verbatim = true};
    return lr_added_tokens_add(&tokenizer->added, allocator, token, text, length);
}

static lora_status read_piece(lora_tokenizer *tokenizer, model_spec *spec, lr_protobuf message)
{
    lr_protobuf_field field;
    bool more;
    const char *text = "";
    size_t length = 0;
    float score = 0;
    uint64_t type = NORMAL;
    for (;;) {
        LR_TRY(lr_protobuf_next(&message, &field, &more));
        if (!more) return add_piece(tokenizer, spec, text, length, score, type);
        if (field.number == 1 && field.wire == 2) {
            text = (const char *)field.bytes;
            length = field.size;
        }
        if (field.number == 2 && field.wire == 5) score = lr_protobuf_float(&field);
        if (field.number == 3 && field.wire == 0) type = field.value;
    }
}

static lora_status read_trainer(model_spec *spec, lr_protobuf message)
{
    static const int32_t role_of[] = {LORA_TOKEN_UNKNOWN, LORA_TOKEN_BEGIN, LORA_TOKEN_END,
                                      LORA_TOKEN_PAD}; // fields 40..43
    lr_protobuf_field field;
    for (bool more = true;;) {
        LR_TRY(lr_protobuf_next(&message, &field, &more));
        if (!more) return LORA_OK;
        if (field.wire != 0) continue;
        if (field.number == 3) spec->model_type = field.value;
        if (field.number == 24) spec->suffix_space = field.value != 0;
        if (field.number == 35) spec->byte_fallback = field.value != 0;
        if (field.number >= 40 && field.number <= 43)
            spec->roles[role_of[field.number - 40]] = (int32_t)(uint32_t)field.value;
    }
}

static lora_status read_normalizer(model_spec *spec, lr_protobuf message)
{
    lr_protobuf_field field;
    for (bool more = true;;) {
        LR_TRY(lr_protobuf_next(&message, &field, &more));
        if (!more) return LORA_OK;
        if (field.number == 2 && field.wire == 2) {
            spec->charsmap = field.bytes;
            spec->charsmap_size = field.size;
        }
        if (field.wire != 0) continue;
        if (field.number == 3) spec->dummy_prefix = field.value != 0;
        if (field.number == 4) spec->collapse = field.value != 0;
        if (field.number == 5) spec->escape = field.value != 0;
    }
}

static lora_status read_model(lora_tokenizer *tokenizer, model_spec *spec, const char *path, const char *bytes,
                              size_t size)
{
    lr_protobuf reader = {(const uint8_t *)bytes, (const uint8_t *)bytes + size, path};
    lr_protobuf_field field;
    for (bool more = true;;) {
        LR_TRY(lr_protobuf_next(&reader, &field, &more));
        if (!more) break;
        if (field.wire != 2) continue;
        lr_protobuf message = lr_protobuf_message(&field, path);
        if (field.number == 1) LR_TRY(read_piece(tokenizer, spec, message));
        if (field.number == 2) LR_TRY(read_trainer(spec, message));
        if (field.number == 3) LR_TRY(read_normalizer(spec, message));
    }
    static const char *const types[] = {"?", "unigram", "bpe", "word", "char"};
    if (spec->model_type != TYPE_BPE)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: SentencePiece models of type '%s' are not supported; 'bpe' is",
                       path, types[spec->model_type <= TYPE_CHAR ? spec->model_type : 0]);
    if (spec->suffix_space || !spec->escape)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: the model writes spaces behind words or not at all; only U+2581 before "
                       "words is supported",
                       path);
    if (tokenizer->vocabulary.size == 0) return lr_fail(LORA_ERROR_FORMAT, "%s: the model has no pieces", path);
    return LORA_OK;
}

static lora_status set_steps(lora_tokenizer *tokenizer, const model_spec *spec, const lr_tokenizer_config *config)
{
    bool legacy;
    lr_charsmap *map = NULL;
    LR_TRY(lr_json_bool(config->config, config->name, "legacy", false, &legacy));
    if (spec->charsmap_size > 0)
        LR_TRY(lr_charsmap_create(&tokenizer->context->allocator, (const char *)spec->charsmap, spec->charsmap_size,
                                  &map));
    lr_prefix prefix = !spec->dummy_prefix ? LR_PREFIX_NEVER : legacy ? LR_PREFIX_ALWAYS : LR_PREFIX_FIRST;
    return lr_tokenizer_sentencepiece(tokenizer, prefix, spec->collapse, map);
}

static lora_status fill(lora_tokenizer *tokenizer, model_spec *spec, const lr_tokenizer_config *config,
                        const char *path)
{
    LR_TRY(lr_tokenizer_config_tokens(config, tokenizer));
    LR_TRY(lr_vocabulary_finish(&tokenizer->vocabulary));
    // Ids that the config added have no score and are never joined to.
    LR_TRY(lr_grow(&tokenizer->context->allocator, (void **)&spec->scores, &spec->score_capacity,
                   (size_t)tokenizer->vocabulary.size, sizeof *spec->scores));
    LR_TRY(lr_bpe_rank_scores(&tokenizer->bpe, &tokenizer->vocabulary, spec->scores, &tokenizer->context->allocator));
    for (int32_t role = 0; role < LR_ROLE_COUNT; role++)
        LR_TRY(lr_tokenizer_set_role_id(tokenizer, role, spec->roles[role]));
    tokenizer->bpe.unknown = tokenizer->roles[LORA_TOKEN_UNKNOWN];
    tokenizer->bpe.byte_fallback = spec->byte_fallback;
    LR_TRY(set_steps(tokenizer, spec, config));
    LR_TRY(lr_tokenizer_config_apply(config, tokenizer, path));
    LR_TRY(lr_tokenizer_config_surround(config, tokenizer, true, false));
    return lr_tokenizer_finish(tokenizer);
}

lora_status lr_load_sentencepiece(lora_tokenizer *tokenizer, const char *path, const char *bytes, size_t size)
{
    model_spec spec = {
        .path = path,
        .model_type = TYPE_UNIGRAM,
        .dummy_prefix = true,
        .collapse = true,
        .escape = true,
        .roles = {[LORA_TOKEN_BEGIN] = 1, [LORA_TOKEN_END] = 2, [LORA_TOKEN_PAD] = -1, [LORA_TOKEN_UNKNOWN] = 0}};
    lr_tokenizer_config config;
    lora_status status = lr_tokenizer_config_load(&config, tokenizer->context, path);
    if (status == LORA_OK) status = read_model(tokenizer, &spec, path, bytes, size);
    if (status == LORA_OK) status = fill(tokenizer, &spec, &config, path);
    lr_free(&tokenizer->context->allocator, spec.scores);
    lr_tokenizer_config_free(&config, tokenizer->context);
    return status;
}
