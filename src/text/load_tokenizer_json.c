// tokenizer.json of Hugging Face's tokenizers: the BPE model, added tokens, steps, and what goes around a text.
#include "json_steps.h"
#include "merges.h"
#include "tokenizer_config.h"

#include <string.h>

// ---- the model --------------------------------------------------------------------------------------------------

static lora_status check_model(const json_t *model, const char *path)
{
    const char *type;
    double dropout;
    LR_TRY(lr_json_text(model, path, "type", json_object_get(model, "merges") ? "BPE" : "(none)", &type));
    if (strcmp(type, "BPE") != 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: tokenizer models of type '%s' are not supported; 'BPE' is", path,
                       type);
    LR_TRY(lr_json_real(model, path, "dropout", 0, &dropout));
    if (dropout != 0) return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: BPE dropout (%g) is not supported", path, dropout);
    if (!json_is_object(json_object_get(model, "vocab")))
        return lr_fail(LORA_ERROR_FORMAT, "%s: the model has no object 'vocab'", path);
    if (!json_is_array(json_object_get(model, "merges")))
        return lr_fail(LORA_ERROR_FORMAT, "%s: the model has no list 'merges'", path);
    return LORA_OK;
}

static lora_status read_vocabulary(lora_tokenizer *tokenizer, const json_t *model, const char *path)
{
    const char *key;
    size_t length;
    json_t *vocabulary = json_object_get(model, "vocab"), *id;
    LR_TRY(
        lr_vocabulary_reserve(&tokenizer->vocabulary, json_object_size(vocabulary), 8 * json_object_size(vocabulary)));
    json_object_keylen_foreach(vocabulary, key, length, id) {
        if (!json_is_integer(id))
            return lr_fail(LORA_ERROR_FORMAT, "%s: the id of the token \"%.80s\" is not an integer", path, key);
        LR_TRY(lr_vocabulary_put(&tokenizer->vocabulary, json_integer_value(id), key, length, LR_TOKEN_MODEL));
    }
    return LORA_OK;
}

static lora_status read_added_tokens(lora_tokenizer *tokenizer, const json_t *root, const char *path)
{
    size_t index;
    json_t *entry;
    json_array_foreach(json_object_get(root, "added_tokens"), index, entry) {
        int64_t id;
        LR_TRY(lr_json_int(entry, path, "id", -1, &id));
        LR_TRY(lr_tokenizer_add_json_token(tokenizer, path, entry, id));
    }
    return LORA_OK;
}

static lora_status read_affix(lora_tokenizer *tokenizer, const json_t *model, const char *path, const char *key,
                              char **out)
{
    const char *text;
    LR_TRY(lr_json_text(model, path, key, "", &text));
    if (!*text) return LORA_OK;
    *out = lr_duplicate(&tokenizer->context->allocator, text);
    return *out ? LORA_OK : LORA_ERROR_MEMORY;
}

static lora_status read_merge(lr_merges *merges, const json_t *merge)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_is_string(merge)) return lr_merges_add_line(merges, json_string_value(merge), json_string_length(merge));
    if (!json_is_string(left) || !json_is_string(right) || json_array_size(merge) != 2)
        return lr_fail(LORA_ERROR_FORMAT, "%s: merge %u is neither a text nor a pair of texts", merges->name,
                       merges->rank);
    return lr_merges_add(merges, json_string_value(left), json_string_length(left), json_string_value(right),
                         json_string_length(right));
}

static lora_status read_merges(lora_tokenizer *tokenizer, const json_t *model, const char *path)
{
    size_t index;
    json_t *merge, *list = json_object_get(model, "merges");
    lr_merges merges;
    lora_status status = lr_merges_begin(&merges, &tokenizer->bpe, &tokenizer->vocabulary, path,
                                         &tokenizer->context->allocator, json_array_size(list));
    json_array_foreach(list, index, merge) {
        if (status == LORA_OK) status = read_merge(&merges, merge);
    }
    lr_merges_end(&merges);
    return status;
}

static lora_status read_bpe(lora_tokenizer *tokenizer, const json_t *model, const char *path)
{
    lr_bpe *bpe = &tokenizer->bpe;
    const char *unknown;
    LR_TRY(lr_json_bool(model, path, "fuse_unk", false, &bpe->fuse_unknown));
    LR_TRY(lr_json_bool(model, path, "byte_fallback", false, &bpe->byte_fallback));
    LR_TRY(lr_json_bool(model, path, "ignore_merges", false, &bpe->ignore_merges));
    LR_TRY(read_affix(tokenizer, model, path, "continuing_subword_prefix", &bpe->prefix));
    LR_TRY(read_affix(tokenizer, model, path, "end_of_word_suffix", &bpe->suffix));
    LR_TRY(lr_json_text(model, path, "unk_token", NULL, &unknown));
    if (unknown) {
        bpe->unknown = lora_tokenizer_find(tokenizer, unknown);
        if (bpe->unknown < 0)
            return lr_fail(LORA_ERROR_FORMAT, "%s: the unk_token \"%s\" is not in the vocabulary", path, unknown);
        LR_TRY(lr_tokenizer_set_role_id(tokenizer, LORA_TOKEN_UNKNOWN, bpe->unknown));
    }
    return read_merges(tokenizer, model, path);
}

// ---- around the text --------------------------------------------------------------------------------------------

// The ids of a template's special token.
static lora_status template_token(lora_tokenizer *tokenizer, const json_t *processor, const char *path,
                                  const char *token, lr_ids *list)
{
    size_t index;
    json_t *id, *ids = json_object_get(json_object_get(json_object_get(processor, "special_tokens"), token), "ids");
    if (!json_is_array(ids))
        return lr_fail(LORA_ERROR_FORMAT, "%s: the template names the token \"%s\" without ids", path, token);
    json_array_foreach(ids, index, id) {
        if (!json_is_integer(id) || !lr_vocabulary_has(&tokenizer->vocabulary, json_integer_value(id)))
            return lr_fail(LORA_ERROR_FORMAT, "%s: the template's token \"%s\" has an id outside the vocabulary", path,
                           token);
        LR_TRY(lr_tokenizer_surround(tokenizer, list, (int32_t)json_integer_value(id)));
    }
    return LORA_OK;
}

static lora_status read_template(lora_tokenizer *tokenizer, const json_t *processor, const char *path)
{
    size_t index, texts = 0;
    json_t *item;
    json_array_foreach(json_object_get(processor, "single"), index, item) {
        const char *token = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (token)
            LR_TRY(template_token(tokenizer, processor, path, token, texts ? &tokenizer->after : &tokenizer->before));
        else
            texts++;
    }
    if (texts == 1) return LORA_OK;
    return lr_fail(LORA_ERROR_UNSUPPORTED,
                   "%s: the post-processor's template has the text %zu times; once is supported", path, texts);
}

// Bert's and Roberta's: ["[CLS]", 101] before, ["[SEP]", 102] after.
static lora_status read_cls_sep(lora_tokenizer *tokenizer, const json_t *processor, const char *path)
{
    static const char *const keys[] = {"cls", "sep"};
    lr_ids *lists[] = {&tokenizer->before, &tokenizer->after};
    for (int i = 0; i < 2; i++) {
        const json_t *id = json_array_get(json_object_get(processor, keys[i]), 1);
        if (!json_is_integer(id) || !lr_vocabulary_has(&tokenizer->vocabulary, json_integer_value(id)))
            return lr_fail(LORA_ERROR_FORMAT, "%s: '%s' of the post-processor is not in the vocabulary", path, keys[i]);
        LR_TRY(lr_tokenizer_surround(tokenizer, lists[i], (int32_t)json_integer_value(id)));
    }
    return LORA_OK;
}

static lora_status read_post_processor(lora_tokenizer *tokenizer, const json_t *processor, const char *path)
{
    size_t index;
    json_t *item;
    const char *type;
    if (!processor || json_is_null(processor)) return LORA_OK;
    LR_TRY(lr_json_text(processor, path, "type", "", &type));
    if (strcmp(type, "ByteLevel") == 0) return LORA_OK; // moves offsets only
    if (strcmp(type, "Sequence") == 0) {
        json_array_foreach(json_object_get(processor, "processors"), index, item) {
            const char *inner = json_string_value(json_object_get(item, "type"));
            if (inner && strcmp(inner, "Sequence") == 0)
                return lr_fail(LORA_ERROR_UNSUPPORTED,
                               "%s: post-processors in Sequences within Sequences are not supported", path);
            LR_TRY(read_post_processor(tokenizer, item, path));
        }
        return LORA_OK;
    }
    if (tokenizer->before.count + tokenizer->after.count > 0)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: two post-processors that add tokens are not supported", path);
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(tokenizer, processor, path);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return read_cls_sep(tokenizer, processor, path);
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: the post-processor '%s' is not supported", path, type);
}

// ---- the file ---------------------------------------------------------------------------------------------------

static lora_status read_steps(lora_tokenizer *tokenizer, const json_t *root, const char *path)
{
    lr_step_reader reader = {&tokenizer->context->allocator, path, &tokenizer->normalizers, 0};
    LR_TRY(lr_read_normalizer(&reader, json_object_get(root, "normalizer")));
    reader.steps = &tokenizer->pre_tokenizers;
    LR_TRY(lr_read_pre_tokenizer(&reader, json_object_get(root, "pre_tokenizer")));
    reader.steps = &tokenizer->decoders;
    return lr_read_decoder(&reader, json_object_get(root, "decoder"));
}

static lora_status read_root(lora_tokenizer *tokenizer, const json_t *root, const lr_tokenizer_config *config,
                             const char *path)
{
    const json_t *model = json_object_get(root, "model");
    LR_TRY(check_model(model, path));
    LR_TRY(read_vocabulary(tokenizer, model, path));
    LR_TRY(read_added_tokens(tokenizer, root, path));
    LR_TRY(lr_tokenizer_config_tokens(config, tokenizer));
    LR_TRY(lr_vocabulary_finish(&tokenizer->vocabulary));
    LR_TRY(read_bpe(tokenizer, model, path));
    LR_TRY(read_steps(tokenizer, root, path));
    LR_TRY(read_post_processor(tokenizer, json_object_get(root, "post_processor"), path));
    LR_TRY(lr_tokenizer_config_apply(config, tokenizer, path));
    LR_TRY(lr_tokenizer_config_surround(config, tokenizer, false, true));
    return lr_tokenizer_finish(tokenizer);
}

lora_status lr_load_tokenizer_json(lora_tokenizer *tokenizer, const char *path)
{
    lora_context *context = tokenizer->context;
    json_t *root = NULL;
    lr_tokenizer_config config;
    lora_status status = lr_tokenizer_config_load(&config, context, path);
    if (status == LORA_OK)
        status = lr_json_load(&context->allocator, &context->files, path, LR_MAX_TOKENIZER_FILE, &root);
    if (status == LORA_OK) status = read_root(tokenizer, root, &config, path);
    json_decref(root);
    lr_tokenizer_config_free(&config, context);
    return status;
}
