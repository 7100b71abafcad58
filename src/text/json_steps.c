#include "json_steps.h"

#include "tokenizer.h"

#include <string.h>

#define MAX_DEPTH 16

typedef lora_status (*read_fn)(lr_step_reader *reader, const json_t *value);

// Every item of the array `key` in turn.
static lora_status read_sequence(lr_step_reader *reader, const json_t *value, const char *key, read_fn read)
{
    size_t index;
    json_t *item, *items = json_object_get(value, key);
    if (!json_is_array(items)) return lr_fail(LORA_ERROR_FORMAT, "%s: a Sequence has no list '%s'", reader->name, key);
    if (++reader->depth > MAX_DEPTH)
        return lr_fail(LORA_ERROR_FORMAT, "%s: Sequences are nested too deep", reader->name);
    json_array_foreach(items, index, item) LR_TRY(read(reader, item));
    reader->depth--;
    return LORA_OK;
}

static lora_status add(lr_step_reader *reader, lr_step step)
{
    return lr_steps_add(reader->steps, reader->allocator, step);
}

// Takes the step over, with a copy of the text under `key`.
static lora_status add_text(lr_step_reader *reader, lr_step step, const json_t *value, const char *key)
{
    const json_t *text = json_object_get(value, key);
    if (json_is_string(text))
        return lr_steps_add_text(reader->steps, reader->allocator, step, json_string_value(text),
                                 json_string_length(text));
    lr_step_clear(&step, reader->allocator);
    return lr_fail(LORA_ERROR_FORMAT, "%s: '%s' of a step is not a text", reader->name, key);
}

static lora_status read_type(const lr_step_reader *reader, const json_t *value, const char *what, const char **type)
{
    LR_TRY(lr_json_text(value, reader->name, "type", NULL, type));
    return *type ? LORA_OK : lr_fail(LORA_ERROR_FORMAT, "%s: a %s has no 'type'", reader->name, what);
}

static lora_status refuse(const lr_step_reader *reader, const char *what, const char *type)
{
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: the %s '%s' is not supported", reader->name, what, type);
}

// {"Regex": ...} or {"String": ...}, or a bare text.
static lora_status read_pattern(const lr_step_reader *reader, const json_t *value, lr_pattern **out)
{
    const json_t *pattern = json_object_get(value, "pattern"), *regex = json_object_get(pattern, "Regex");
    const json_t *literal = json_is_string(pattern) ? pattern : json_object_get(pattern, "String");
    if (json_is_string(regex))
        return lr_pattern_compile(reader->allocator, json_string_value(regex), json_string_length(regex), out);
    if (json_is_string(literal))
        return lr_pattern_literal(reader->allocator, json_string_value(literal), json_string_length(literal), out);
    return lr_fail(LORA_ERROR_FORMAT, "%s: a pattern is neither 'Regex' nor 'String'", reader->name);
}

// ---- normalizers ------------------------------------------------------------------------------------------------

static lora_status read_strip(lr_step_reader *reader, const json_t *value)
{
    bool left, right;
    LR_TRY(lr_json_bool(value, reader->name, "strip_left", false, &left));
    LR_TRY(lr_json_bool(value, reader->name, "strip_right", false, &right));
    return add(reader, (lr_step){.kind = LR_NORMALIZE_STRIP, .left = left, .right = right});
}

static lora_status read_replace(lr_step_reader *reader, const json_t *value, lr_step_kind kind)
{
    lr_step step = {.kind = kind};
    LR_TRY(read_pattern(reader, value, &step.pattern));
    return add_text(reader, step, value, "content");
}

lora_status lr_read_normalizer(lr_step_reader *reader, const json_t *value)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type;
    if (!value || json_is_null(value)) return LORA_OK;
    LR_TRY(read_type(reader, value, "normalizer", &type));
    for (int form = 0; form < 4; form++)
        if (strcmp(type, forms[form]) == 0)
            return add(reader, (lr_step){.kind = LR_NORMALIZE_FORM, .form = (lr_unicode_form)form});
    if (strcmp(type, "Sequence") == 0) return read_sequence(reader, value, "normalizers", lr_read_normalizer);
    if (strcmp(type, "Lowercase") == 0) return add(reader, (lr_step){.kind = LR_NORMALIZE_LOWER});
    if (strcmp(type, "StripAccents") == 0) return add(reader, (lr_step){.kind = LR_NORMALIZE_STRIP_ACCENTS});
    if (strcmp(type, "Strip") == 0) return read_strip(reader, value);
    if (strcmp(type, "Prepend") == 0)
        return add_text(reader, (lr_step){.kind = LR_NORMALIZE_PREPEND}, value, "prepend");
    if (strcmp(type, "Replace") == 0) return read_replace(reader, value, LR_NORMALIZE_REPLACE);
    return refuse(reader, "normalizer", type);
}

// ---- pre-tokenizers ---------------------------------------------------------------------------------------------

static lora_status read_behaviour(const lr_step_reader *reader, const json_t *value, lr_behaviour *out)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name;
    LR_TRY(lr_json_text(value, reader->name, "behavior", "Isolated", &name));
    for (int i = 0; i < 5; i++) {
        *out = (lr_behaviour)i;
        if (strcmp(name, names[i]) == 0) return LORA_OK;
    }
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: the split behavior '%s' is not supported", reader->name, name);
}

static lora_status read_split(lr_step_reader *reader, const json_t *value)
{
    lr_step step = {.kind = LR_CUT_PATTERN};
    LR_TRY(read_behaviour(reader, value, &step.behaviour));
    LR_TRY(lr_json_bool(value, reader->name, "invert", false, &step.invert));
    LR_TRY(read_pattern(reader, value, &step.pattern));
    return add(reader, step);
}

static lora_status read_byte_level(lr_step_reader *reader, const json_t *value)
{
    bool prefix, regex;
    lr_step step = {.kind = LR_CUT_BYTE_LEVEL};
    LR_TRY(lr_json_bool(value, reader->name, "add_prefix_space", true, &prefix));
    LR_TRY(lr_json_bool(value, reader->name, "use_regex", true, &regex));
    step.prefix = prefix ? LR_PREFIX_ALWAYS : LR_PREFIX_NEVER;
    if (regex) LR_TRY(lr_pattern_compile(reader->allocator, lr_pattern_gpt2, strlen(lr_pattern_gpt2), &step.pattern));
    return add(reader, step);
}

// Old files say add_prefix_space where new ones say prepend_scheme.
static lora_status read_scheme(const lr_step_reader *reader, const json_t *value, lr_prefix *out)
{
    bool prefix;
    const char *scheme;
    LR_TRY(lr_json_bool(value, reader->name, "add_prefix_space", true, &prefix));
    LR_TRY(lr_json_text(value, reader->name, "prepend_scheme", prefix ? "always" : "never", &scheme));
    *out = strcmp(scheme, "first") == 0   ? LR_PREFIX_FIRST
           : strcmp(scheme, "never") == 0 ? LR_PREFIX_NEVER
                                          : LR_PREFIX_ALWAYS;
    return LORA_OK;
}

static lora_status read_metaspace(lr_step_reader *reader, const json_t *value)
{
    const char *mark;
    lr_step step = {.kind = LR_CUT_METASPACE};
    LR_TRY(lr_json_text(value, reader->name, "replacement", LR_META, &mark));
    LR_TRY(read_scheme(reader, value, &step.prefix));
    LR_TRY(lr_json_bool(value, reader->name, "split", true, &step.split));
    LR_TRY(lr_pattern_literal(reader->allocator, mark, strlen(mark), &step.pattern));
    return lr_steps_add_text(reader->steps, reader->allocator, step, mark, strlen(mark));
}

static lora_status read_digits(lr_step_reader *reader, const json_t *value)
{
    bool each;
    LR_TRY(lr_json_bool(value, reader->name, "individual_digits", false, &each));
    return add(
        reader,
        (lr_step){.kind = LR_CUT_CLASS, .in_class = lr_is_numeric, .behaviour = each ? LR_ISOLATED : LR_CONTIGUOUS});
}

static lora_status read_punctuation(lr_step_reader *reader, const json_t *value)
{
    lr_step step = {.kind = LR_CUT_CLASS, .in_class = lr_is_punctuation};
    LR_TRY(read_behaviour(reader, value, &step.behaviour));
    return add(reader, step);
}

// Words and runs of other visible characters.
static lora_status read_whitespace(lr_step_reader *reader)
{
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"
    static const char pattern[] = "[" WORD "]+|[^" WORD "\\s]+";
    lr_step step = {.kind = LR_CUT_PATTERN, .behaviour = LR_REMOVED, .invert = true};
    LR_TRY(lr_pattern_compile(reader->allocator, pattern, strlen(pattern), &step.pattern));
    return add(reader, step);
}

static lora_status read_delimiter(lr_step_reader *reader, const json_t *value)
{
    const char *text;
    lr_step step = {.kind = LR_CUT_PATTERN, .behaviour = LR_REMOVED};
    LR_TRY(lr_json_text(value, reader->name, "delimiter", "", &text));
    LR_TRY(lr_pattern_literal(reader->allocator, text, strlen(text), &step.pattern));
    return add(reader, step);
}

lora_status lr_read_pre_tokenizer(lr_step_reader *reader, const json_t *value)
{
    static const lr_step spaces = {.kind = LR_CUT_CLASS, .in_class = lr_is_space, .behaviour = LR_REMOVED};
    static const lr_step marks = {.kind = LR_CUT_CLASS, .in_class = lr_is_punctuation, .behaviour = LR_ISOLATED};
    const char *type;
    if (!value || json_is_null(value)) return LORA_OK;
    LR_TRY(read_type(reader, value, "pre-tokenizer", &type));
    if (strcmp(type, "Sequence") == 0) return read_sequence(reader, value, "pretokenizers", lr_read_pre_tokenizer);
    if (strcmp(type, "Split") == 0) return read_split(reader, value);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(reader, value);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(reader, value);
    if (strcmp(type, "Digits") == 0) return read_digits(reader, value);
    if (strcmp(type, "Punctuation") == 0) return read_punctuation(reader, value);
    if (strcmp(type, "Whitespace") == 0) return read_whitespace(reader);
    if (strcmp(type, "WhitespaceSplit") == 0) return add(reader, spaces);
    if (strcmp(type, "CharDelimiterSplit") == 0) return read_delimiter(reader, value);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        LR_TRY(add(reader, spaces));
        return add(reader, marks);
    }
    return refuse(reader, "pre-tokenizer", type);
}

// ---- decoders ---------------------------------------------------------------------------------------------------

static lora_status read_decoder_strip(lr_step_reader *reader, const json_t *value)
{
    int64_t start, stop;
    LR_TRY(lr_json_int(value, reader->name, "start", 0, &start));
    LR_TRY(lr_json_int(value, reader->name, "stop", 0, &stop));
    if (start < 0 || stop < 0 || start > INT32_MAX || stop > INT32_MAX)
        return lr_fail(LORA_ERROR_FORMAT, "%s: the decoder Strip has start %lld and stop %lld", reader->name,
                       (long long)start, (long long)stop);
    lr_step step = {.kind = LR_DECODE_STRIP, .left = (int32_t)start, .right = (int32_t)stop};
    return add_text(reader, step, value, "content");
}

static lora_status read_decoder_metaspace(lr_step_reader *reader, const json_t *value)
{
    lr_step step = {.kind = LR_DECODE_METASPACE};
    LR_TRY(read_scheme(reader, value, &step.prefix));
    return add_text(reader, step, value, "replacement");
}

static lora_status read_decoder_word_piece(lr_step_reader *reader, const json_t *value)
{
    lr_step step = {.kind = LR_DECODE_WORDPIECE};
    LR_TRY(lr_json_bool(value, reader->name, "cleanup", true, &step.cleanup));
    return add_text(reader, step, value, "prefix");
}

lora_status lr_read_decoder(lr_step_reader *reader, const json_t *value)
{
    const char *type;
    if (!value || json_is_null(value)) return LORA_OK;
    LR_TRY(read_type(reader, value, "decoder", &type));
    if (strcmp(type, "Sequence") == 0) return read_sequence(reader, value, "decoders", lr_read_decoder);
    if (strcmp(type, "ByteLevel") == 0) return add(reader, (lr_step){.kind = LR_DECODE_BYTE_LEVEL});
    if (strcmp(type, "ByteFallback") == 0) return add(reader, (lr_step){.kind = LR_DECODE_BYTE_FALLBACK});
    if (strcmp(type, "Fuse") == 0) return add(reader, (lr_step){.kind = LR_DECODE_FUSE});
    if (strcmp(type, "Replace") == 0) return read_replace(reader, value, LR_DECODE_REPLACE);
    if (strcmp(type, "Strip") == 0) return read_decoder_strip(reader, value);
    if (strcmp(type, "Metaspace") == 0) return read_decoder_metaspace(reader, value);
    if (strcmp(type, "WordPiece") == 0) return read_decoder_word_piece(reader, value);
    if (strcmp(type, "BPEDecoder") == 0) return add_text(reader, (lr_step){.kind = LR_DECODE_SUFFIX}, value, "suffix");
    return refuse(reader, "decoder", type);
}
