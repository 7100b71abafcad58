#include "fixture.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char chatml[] = "{% for m in messages %}{{ '<|turn|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
                      "{% if add_generation_prompt %}{{ '<|turn|>assistant\\n' }}{% endif %}";

static const char *const special[] = {"<|begin|>", "<|stop|>", "<|turn|>", "<|end|>"};

// GPT-2's letters for bytes: those that print are themselves, the others follow from U+0100.
static json_t *byte_vocabulary(void)
{
    json_t *vocabulary = json_object();
    int next = 256;
    for (int byte = 0; byte < 256; byte++) {
        bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        int code = prints ? byte : next++;
        char text[3] = {(char)code, 0, 0};
        if (code >= 128) {
            text[0] = (char)(0xC0 | code >> 6);
            text[1] = (char)(0x80 | (code & 63));
        }
        json_object_set_new(vocabulary, text, json_integer(byte));
    }
    return vocabulary;
}

static json_t *post_processor(bool with_begin)
{
    if (!with_begin) return json_null();
    return json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[], s:{s:{s:s, s:[i], s:[s]}}}", "type",
                     "TemplateProcessing", "single", "SpecialToken", "id", "<|begin|>", "type_id", 0, "Sequence", "id",
                     "A", "type_id", 0, "pair", "special_tokens", "<|begin|>", "id", "<|begin|>", "ids", BEGIN,
                     "tokens", "<|begin|>");
}

static void write_json(const char *path, json_t *value)
{
    assert_non_null(value);
    assert_int_equal(json_dump_file(value, path, 0), 0);
    json_decref(value);
}

void open_fixture(fixture *f, void **state, const char *chat_template, bool with_begin)
{
    json_t *added = json_array();
    for (int i = 0; i < 4; i++)
        json_array_append_new(added,
                              json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", BEGIN + i, "content", special[i],
                                        "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    json_t *byte_level = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets",
                                   1, "use_regex", 1);
    write_json(in_directory(state, "tokenizer.json"),
               json_pack("{s:s, s:o, s:n, s:O, s:o, s:o, s:{s:s, s:o, s:[]}}", "version", "1.0", "added_tokens", added,
                         "normalizer", "pre_tokenizer", byte_level, "post_processor", post_processor(with_begin),
                         "decoder", byte_level, "model", "type", "BPE", "vocab", byte_vocabulary(), "merges"));
    json_t *config =
        json_pack("{s:s, s:s, s:s}", "bos_token", "<|begin|>", "eos_token", "<|stop|>", "pad_token", "<|stop|>");
    if (chat_template) json_object_set_new(config, "chat_template", json_string(chat_template));
    write_json(in_directory(state, "tokenizer_config.json"), config);
    *f = (fixture){0};
    assert_ok(lora_context_create(&f->context, NULL));
    assert_ok(lora_tokenizer_load(f->context, *state, &f->tokenizer));
    assert_int_equal(lora_tokenizer_vocabulary_size(f->tokenizer), SIZE);
}

void close_fixture(fixture *f)
{
    lora_dataset_free(f->dataset);
    lora_tokenizer_free(f->tokenizer);
    lora_context_free(f->context);
}

lora_status load(fixture *f, void **state, const char *name, const char *content, const lora_dataset_options *options)
{
    const char *path = in_directory(state, name);
    lora_dataset_free(f->dataset);
    f->dataset = NULL;
    put_file(path, content, strlen(content));
    return lora_dataset_load(f->context, f->tokenizer, &path, 1, options, &f->dataset);
}

lora_dataset_info info_of(const fixture *f)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    assert_ok(lora_dataset_get_info(f->dataset, &info));
    return info;
}

size_t rows_in(const fixture *f) { return (size_t)info_of(f).rows; }

// Room for a few results, so that several can be compared in one place.
static char *next_buffer(void)
{
    static char buffers[4][65536];
    static int next;
    char *buffer = buffers[next++ % 4];
    buffer[0] = '\0';
    return buffer;
}

static void append_id(char *text, int32_t id)
{
    size_t length = strlen(text);
    assert_true(length < 65500 && id >= 0 && id < SIZE);
    if (id >= BEGIN)
        strcpy(text + length, special[id - BEGIN]);
    else
        text[length] = (char)id, text[length + 1] = '\0';
}

const char *text_of_row(const fixture *f, size_t row)
{
    const int32_t *ids, *labels;
    size_t count;
    char *text = next_buffer();
    assert_ok(lora_dataset_row(f->dataset, row, &ids, &labels, &count));
    for (size_t i = 0; i < count; i++) append_id(text, ids[i]);
    return text;
}

const char *learnt_in_row(const fixture *f, size_t row)
{
    const int32_t *ids, *labels;
    size_t count;
    char *text = next_buffer();
    assert_ok(lora_dataset_row(f->dataset, row, &ids, &labels, &count));
    for (size_t i = 0; i < count; i++)
        if (labels[i] != LORA_LABEL_IGNORED) append_id(text, labels[i]);
    return text;
}

void assert_aligned(const fixture *f, size_t row)
{
    const int32_t *ids, *labels;
    size_t count;
    assert_ok(lora_dataset_row(f->dataset, row, &ids, &labels, &count));
    for (size_t i = 0; i < count; i++) assert_true(labels[i] == LORA_LABEL_IGNORED || labels[i] == ids[i]);
}

void fail_each_allocation(allocating_call call, void *user)
{
    bool failed = true;
    for (long n = 0; failed; n++) {
        failing_allocator memory;
        failing_allocator_init(&memory, -1);
        lora_context_options options;
        lora_context_options_init(&options);
        options.allocator = &memory.allocator;
        lora_context *context;
        assert_ok(lora_context_create(&context, &options));
        lora_status status = call(context, &memory, n, user);
        failed = memory.failed;
        assert_int_equal(status, failed ? LORA_ERROR_MEMORY : LORA_OK);
        lora_context_free(context);
        assert_int_equal(memory.live, 0);
        assert_true(n < 10000);
    }
}
