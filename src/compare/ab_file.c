// The test as a file: pairs as shown, judges, and at the end, masked, whose side is which.
#include "src/compare/ab.h"

#include "lib/random.h"
#include "src/core/validate.h"

#include <string.h>

#define FILE_LIMIT ((size_t)256 << 20)
#define VERSION 1
#define MASK_STREAM 0x6D61736Bu // "mask"

static const char *const choices[] = {"", "left", "right", "tie"};

static bool mask(uint64_t fingerprint, size_t pair)
{
    return lr_random_u32(fingerprint, MASK_STREAM, pair) & 1;
}

// ---- writing -------------------------------------------------------------------------------------------------------

static json_t *make_pairs(const lora_ab *ab)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ab->pair_count; i++) {
        const lr_pair *pair = &ab->pairs[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "prompt", pair->prompt, "left",
                                        pair->a_left ? pair->a : pair->b, "right", pair->a_left ? pair->b : pair->a));
    }
    return list;
}

static json_t *make_judges(const lora_ab *ab)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ab->judge_count; i++) {
        const lr_ab_judge *judge = &ab->judges[i];
        json_t *verdicts = json_array();
        for (size_t v = 0; v < judge->count; v++)
            json_array_append_new(verdicts, json_pack("{s:I, s:s}", "pair", (json_int_t)judge->verdicts[v].pair,
                                                      "choice", choices[judge->verdicts[v].choice]));
        json_array_append_new(list, json_pack("{s:s, s:o}", "name", judge->name, "verdicts", verdicts));
    }
    return list;
}

static json_t *make_key(const lora_ab *ab)
{
    const lora_allocator *allocator = &ab->context->allocator;
    char *sides = lr_alloc_zeroed(allocator, ab->pair_count + 1, 1);
    if (!sides) return NULL;
    uint64_t fingerprint = lr_ab_fingerprint(ab);
    for (size_t i = 0; i < ab->pair_count; i++) sides[i] = ab->pairs[i].a_left != mask(fingerprint, i) ? '1' : '0';
    json_t *key = json_pack("{s:s, s:s, s:s}", "a", ab->name_a, "b", ab->name_b, "sides", sides);
    lr_free(allocator, sides);
    return key;
}

lora_status lora_ab_save(const lora_ab *ab, const char *path, int32_t overwrite)
{
    LR_CHECK_HANDLE(ab);
    LR_CHECK_ARGUMENT(path && *path, "%s: path is missing", __func__);
    const lora_allocator *allocator = &ab->context->allocator;
    json_t *file = json_pack("{s:s, s:i, s:s, s:o, s:o, s:o}", "kind", "blind test", "version", VERSION, "about",
                             ab->about, "pairs", make_pairs(ab), "judges", make_judges(ab), "key", make_key(ab));
    char *text = NULL;
    size_t length;
    lora_status status = file ? lr_json_dump(allocator, file, 1, false, &text, &length) : lr_fail_memory(4096);
    if (status == LORA_OK) status = lr_write_file(allocator, path, overwrite != 0, text, length);
    json_decref(file);
    lr_free(allocator, text);
    return status;
}

// ---- reading -------------------------------------------------------------------------------------------------------

typedef struct reader {
    const char *path;
    lora_ab *ab;
} reader;

static lora_status damaged(const reader *r, const char *key)
{
    return lr_fail(LORA_ERROR_FORMAT,
                   "%s: '%s' is missing or not of its kind: it is no blind test of this release, or it is damaged",
                   r->path, key);
}

static const char *text_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static lora_status read_pairs(const reader *r, const json_t *pairs)
{
    if (!json_is_array(pairs)) return damaged(r, "pairs");
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *prompt = text_at(pair, "prompt"), *left = text_at(pair, "left"), *right = text_at(pair, "right");
        if (!prompt || !left || !right) return damaged(r, "pairs");
        LR_TRY(lr_ab_append(r->ab, prompt, left, right, true)); // until the key is read, A stands on the left
    }
    return LORA_OK;
}

static lora_status read_sides(const reader *r, const char *sides)
{
    lora_ab *ab = r->ab;
    if (!sides || strlen(sides) != ab->pair_count || strspn(sides, "01") != ab->pair_count) return damaged(r, "sides");
    uint64_t fingerprint = lr_ab_fingerprint(ab);
    for (size_t i = 0; i < ab->pair_count; i++) {
        lr_pair *pair = &ab->pairs[i];
        if ((sides[i] == '1') != mask(fingerprint, i)) continue;
        char *left = pair->a;
        pair->a = pair->b;
        pair->b = left;
        pair->a_left = false;
    }
    return LORA_OK;
}

static lora_status read_verdict(const reader *r, const char *judge, const json_t *verdict)
{
    const json_t *pair = json_object_get(verdict, "pair");
    const char *choice = text_at(verdict, "choice");
    if (!json_is_integer(pair) || !choice) return damaged(r, "verdicts");
    for (int32_t c = LORA_AB_LEFT; c <= LORA_AB_TIE; c++)
        if (strcmp(choice, choices[c]) == 0)
            return lora_ab_verdict(r->ab, judge, json_integer_value(pair), c) == LORA_ERROR_MEMORY ? LORA_ERROR_MEMORY
                 : lr_ab_find_verdict(lr_ab_find_judge(r->ab, judge), json_integer_value(pair))
                     ? LORA_OK
                     : damaged(r, "verdicts");
    return damaged(r, "choice");
}

static lora_status read_judges(const reader *r, const json_t *judges)
{
    if (!json_is_array(judges)) return damaged(r, "judges");
    for (size_t i = 0; i < json_array_size(judges); i++) {
        const json_t *judge = json_array_get(judges, i), *verdicts = json_object_get(judge, "verdicts");
        const char *name = text_at(judge, "name");
        if (!name || !*name || !json_is_array(verdicts)) return damaged(r, "judges");
        for (size_t v = 0; v < json_array_size(verdicts); v++)
            LR_TRY(read_verdict(r, name, json_array_get(verdicts, v)));
    }
    return LORA_OK;
}

static lora_status read(lora_context *context, const char *path, const json_t *file, lora_ab **out)
{
    reader r = {.path = path};
    const json_t *key = json_object_get(file, "key");
    lora_ab_options options;
    lora_ab_options_init(&options);
    options.name_a = text_at(key, "a");
    options.name_b = text_at(key, "b");
    options.about = text_at(file, "about") ? text_at(file, "about") : "";
    if (json_integer_value(json_object_get(file, "version")) != VERSION) return damaged(&r, "version");
    if (!options.name_a || !options.name_b || strcmp(options.name_a, options.name_b) == 0) return damaged(&r, "key");
    LR_TRY(lora_ab_create(context, &options, &r.ab));
    lora_status status = read_pairs(&r, json_object_get(file, "pairs"));
    if (status == LORA_OK) status = read_sides(&r, text_at(key, "sides"));
    if (status == LORA_OK) status = read_judges(&r, json_object_get(file, "judges"));
    if (status == LORA_OK) *out = r.ab;
    else lora_ab_free(r.ab);
    return status;
}

lora_status lora_ab_load(lora_context *context, const char *path, lora_ab **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(out);
    LR_CHECK_ARGUMENT(path && *path, "%s: path is missing", __func__);
    json_t *file;
    LR_TRY(lr_json_load(&context->allocator, &context->files, path, FILE_LIMIT, &file));
    lora_status status = read(context, path, file, out);
    json_decref(file);
    return status;
}
