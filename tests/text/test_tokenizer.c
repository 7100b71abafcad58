// Tokenizers small enough that the expected ids can be worked out by hand, one for each kind of file, and what happens
// to files that are wrong.
#include "tests/lib/support.h"

#include "src/text/tokenizer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lora_context *new_context(const lora_allocator *allocator)
{
    lora_context *context;
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = 1;
    options.backend = "cpu";
    options.allocator = allocator;
    if (lora_context_create(&context, &options) != LORA_OK) fail_msg("%s", lora_error_message());
    return context;
}

static lora_tokenizer *load(const char *path)
{
    lora_context *context = new_context(NULL);
    lora_tokenizer *tokenizer;
    if (lora_tokenizer_load(context, path, &tokenizer) != LORA_OK) fail_msg("%s", lora_error_message());
    lora_context_free(context); // the tokenizer keeps it
    return tokenizer;
}

static void expect_load_fails(const char *path, lora_status status, const char *text)
{
    lora_context *context = new_context(NULL);
    lora_tokenizer *tokenizer = NULL;
    assert_fails(status, lora_tokenizer_load(context, path, &tokenizer), text);
    assert_null(tokenizer);
    lora_context_free(context);
}

#define EXPECT_IDS(tokenizer, text, special, ...)                                                                      \
    expect_ids(tokenizer, text, special, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

static void expect_ids(const lora_tokenizer *tokenizer, const char *text, int32_t special, const int32_t *ids,
                       size_t count)
{
    int32_t found[64];
    size_t needed;
    assert_int_equal(lora_tokenizer_encode(tokenizer, text, strlen(text), special, found, 64, &needed), LORA_OK);
    assert_int_equal(needed, count);
    assert_memory_equal(found, ids, count * sizeof *ids);
}

#define EXPECT_TEXT(tokenizer, skip, expected, ...)                                                                    \
    expect_text(tokenizer, skip, expected, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

static void expect_text(const lora_tokenizer *tokenizer, int32_t skip, const char *expected, const int32_t *ids,
                        size_t count)
{
    char text[256];
    size_t length;
    assert_int_equal(lora_tokenizer_decode(tokenizer, ids, count, skip, text, sizeof text - 1, &length), LORA_OK);
    text[length] = '\0';
    assert_string_equal(text, expected);
}

// ---- tokenizer.json ---------------------------------------------------------------------------------------------

#define MODEL                                                                                                          \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"\\u0120\": 3, \"\\u0120ab\": 4, "     \
    "\"c\": 5, \"abc\": 6, \"\\u00c3\": 7, \"\\u00a9\": 8}, \"merges\": [\"a b\", [\"\\u0120\", \"ab\"], \"ab c\"]}"
#define STEPS                                                                                                          \
    "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": "              \
    "\"ByteLevel\"}, "                                                                                                 \
    "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<e>\"}}, "      \
    "{\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {\"<e>\": {\"ids\": [9]}}}"
#define ADDED                                                                                                          \
    "\"added_tokens\": [{\"id\": 9, \"content\": \"<e>\", \"special\": true}, {\"id\": 12, \"content\": \"<ee>\"}]"
#define SMALL "{" ADDED ", " STEPS ", " MODEL "}"

static const char *write_small(void **state)
{
    const char *path = in_directory(state, "tokenizer.json");
    put_file(path, SMALL, strlen(SMALL));
    return path;
}

static void byte_level(void **state)
{
    lora_tokenizer *tokenizer = load(write_small(state));
    EXPECT_IDS(tokenizer, "abc ab", 0, 6, 4);
    EXPECT_IDS(tokenizer, " abc", 0, 4, 5); // "Ġ ab" comes before "ab c"
    EXPECT_IDS(tokenizer, "a<e>b<ee>", 0, 0, 9, 1, 12);
    EXPECT_IDS(tokenizer, "\xC3\xA9", 1, 9, 7, 8);
    EXPECT_IDS(tokenizer, "axb", 0, 2); // x has no token and no unknown token is set: it is left out
    EXPECT_TEXT(tokenizer, 0, "<e> abc", 9, 4, 5);
    EXPECT_TEXT(tokenizer, 1, " abc", 9, 4, 5);
    EXPECT_TEXT(tokenizer, 1, "\xEF\xBF\xBD<ee>", 7, 12);
    assert_int_equal(lora_tokenizer_vocabulary_size(tokenizer), 13);
    assert_string_equal(lora_tokenizer_token(tokenizer, 4), "\xC4\xA0"
                                                            "ab");
    assert_null(lora_tokenizer_token(tokenizer, 10)); // a hole
    assert_null(lora_tokenizer_token(tokenizer, -1));
    assert_int_equal(lora_tokenizer_find(tokenizer, "abc"), 6);
    assert_int_equal(lora_tokenizer_find(tokenizer, "nothing"), -1);
    assert_true(lora_tokenizer_is_special(tokenizer, 9) && !lora_tokenizer_is_special(tokenizer, 12));
    lora_tokenizer_free(tokenizer);
}

static void pieces(void **state)
{
    lora_tokenizer *tokenizer = load(write_small(state));
    char bytes[8];
    size_t length;
    assert_int_equal(lr_tokenizer_piece(tokenizer, 4, bytes, sizeof bytes, &length), LORA_OK);
    assert_true(length == 3 && memcmp(bytes, " ab", 3) == 0);
    assert_int_equal(lr_tokenizer_piece(tokenizer, 7, bytes, 0, &length), LORA_OK); // half of a character
    assert_int_equal(length, 1);
    assert_fails(LORA_ERROR_ARGUMENT, lr_tokenizer_piece(tokenizer, 10, bytes, sizeof bytes, &length), "10");
    lora_tokenizer_free(tokenizer);
}

static void says_how_much_is_needed(void **state)
{
    lora_tokenizer *tokenizer = load(write_small(state));
    int32_t ids[2] = {-7, -7};
    char text[4] = "zzz";
    size_t count;
    assert_int_equal(lora_tokenizer_encode(tokenizer, "aba", 3, 0, NULL, 0, &count), LORA_OK);
    assert_int_equal(count, 2);
    assert_int_equal(lora_tokenizer_encode(tokenizer, "aba", 3, 0, ids, 1, &count), LORA_OK);
    assert_true(count == 2 && ids[0] == 2 && ids[1] == -7);
    assert_int_equal(lora_tokenizer_decode(tokenizer, (const int32_t[]){6}, 1, 0, text, 2, &count), LORA_OK);
    assert_true(count == 3 && memcmp(text, "abz", 3) == 0);
    assert_int_equal(lora_tokenizer_encode(tokenizer, NULL, 0, 0, NULL, 0, &count), LORA_OK);
    assert_int_equal(count, 0);
    assert_fails(LORA_ERROR_ARGUMENT, lora_tokenizer_decode(tokenizer, (const int32_t[]){99}, 1, 0, NULL, 0, &count),
                 "99");
    assert_fails(LORA_ERROR_ARGUMENT, lora_tokenizer_encode(tokenizer, NULL, 1, 0, NULL, 0, &count), "text");
    assert_fails(LORA_ERROR_ARGUMENT, lora_tokenizer_encode(NULL, "", 0, 0, NULL, 0, &count), "tokenizer");
    assert_fails(LORA_ERROR_ARGUMENT, lora_tokenizer_load(NULL, "", &tokenizer), "context");
    lora_tokenizer_free(tokenizer);
    lora_tokenizer_free(NULL);
}

static void config_beside(void **state)
{
    static const char config[] =
        "{\"bos_token\": \"<e>\", \"eos_token\": {\"content\": \"<ee>\"}, \"add_eos_token\": true, "
        "\"chat_template\": [{\"name\": \"tool\", \"template\": \"T\"}, "
        "{\"name\": \"default\", \"template\": \"D\"}]}";
    write_small(state);
    put_file(in_directory(state, "tokenizer_config.json"), config, strlen(config));
    put_file(in_directory(state, "special_tokens_map.json"), "{\"pad_token\": \"<e>\"}", 20);
    lora_tokenizer *tokenizer = load(*state);
    assert_int_equal(lora_tokenizer_special_id(tokenizer, LORA_TOKEN_BEGIN), 9);
    assert_int_equal(lora_tokenizer_special_id(tokenizer, LORA_TOKEN_END), 12);
    assert_int_equal(lora_tokenizer_special_id(tokenizer, LORA_TOKEN_PAD), 9);
    assert_int_equal(lora_tokenizer_special_id(tokenizer, LORA_TOKEN_UNKNOWN), -1);
    assert_int_equal(lora_tokenizer_special_id(tokenizer, 7), -1);
    assert_string_equal(lr_tokenizer_special_token(tokenizer, LORA_TOKEN_END), "<ee>");
    assert_null(lr_tokenizer_special_token(tokenizer, LORA_TOKEN_UNKNOWN));
    assert_string_equal(lora_tokenizer_chat_template(tokenizer), "D");
    EXPECT_IDS(tokenizer, "a", 1, 0, 12); // the config's word on begin and end tokens counts more than the template
    lora_tokenizer_free(tokenizer);
    put_file(in_directory(state, "chat_template.jinja"), "J", 1);
    tokenizer = load(*state);
    assert_string_equal(lora_tokenizer_chat_template(tokenizer), "J");
    lora_tokenizer_free(tokenizer);
}

static void wrong_json(void **state)
{
    static const struct {
        const char *text;
        lora_status status;
        const char *message;
    } cases[] = {
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", LORA_ERROR_UNSUPPORTED, "Unigram"},
        {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", LORA_ERROR_UNSUPPORTED, "WordPiece"},
        {"{\"model\": {\"type\": \"BPE\"}}", LORA_ERROR_FORMAT, "vocab"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {}}}", LORA_ERROR_FORMAT, "merges"},
        {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}", LORA_ERROR_FORMAT, "\"b\""},
        {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", LORA_ERROR_FORMAT, "merge 0"},
        {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [7]}}", LORA_ERROR_FORMAT, "merge 0"},
        {"{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]}}", LORA_ERROR_FORMAT, "\"ab\""},
        {"{\"model\": {\"vocab\": {\"a\": \"0\"}, \"merges\": []}}", LORA_ERROR_FORMAT, "integer"},
        {"{\"model\": {\"vocab\": {\"a\": -5}, \"merges\": []}}", LORA_ERROR_FORMAT, "-5"},
        {"{\"model\": {\"vocab\": {\"a\": 99999999999}, \"merges\": []}}", LORA_ERROR_FORMAT, "99999999999"},
        {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"u\"}}", LORA_ERROR_FORMAT, "unk_token"},
        {"{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1}}", LORA_ERROR_UNSUPPORTED, "dropout"},
        {"{" MODEL ", \"normalizer\": {\"type\": \"Magic\"}}", LORA_ERROR_UNSUPPORTED, "Magic"},
        {"{" MODEL ", \"normalizer\": {\"no\": 1}}", LORA_ERROR_FORMAT, "type"},
        {"{" MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}}}", LORA_ERROR_FORMAT,
         "("},
        {"{" MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": 1}}", LORA_ERROR_FORMAT, "pattern"},
        {"{" MODEL ", \"pre_tokenizer\": {\"type\": \"Sequence\"}}", LORA_ERROR_FORMAT, "pretokenizers"},
        {"{" MODEL ", \"decoder\": {\"type\": \"CTC\"}}", LORA_ERROR_UNSUPPORTED, "CTC"},
        {"{" MODEL ", \"decoder\": {\"type\": \"Strip\", \"content\": \" \", \"start\": -1}}", LORA_ERROR_FORMAT,
         "Strip"},
        {"{" MODEL ", \"post_processor\": {\"type\": \"Other\"}}", LORA_ERROR_UNSUPPORTED, "Other"},
        {"{" MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}}", LORA_ERROR_UNSUPPORTED,
         "0 times"},
        {"{" MODEL ", \"added_tokens\": [{\"id\": 9}]}", LORA_ERROR_FORMAT, "content"},
        {"{" MODEL ", \"added_tokens\": [{\"content\": \"x\"}]}", LORA_ERROR_FORMAT, "-1"},
        {"[]", LORA_ERROR_UNSUPPORTED, "(none)"},
        {"{", LORA_ERROR_FORMAT, "JSON"}};
    const char *path = in_directory(state, "tokenizer.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(path, cases[i].text, strlen(cases[i].text));
        expect_load_fails(path, cases[i].status, cases[i].message);
    }
    expect_load_fails(in_directory(state, "absent"), LORA_ERROR_NOT_FOUND, "tokenizer.json");
}

// ---- vocab.json and merges.txt ----------------------------------------------------------------------------------

static void gpt2_files(void **state)
{
    static const char vocabulary[] = "{\"a\": 0, \"b\": 1, \"ab\": 2, \"\\u0120\": 3, \"<end>\": 4}";
    static const char merges[] = "#version: 0.2\r\na b\r\n\r\n";
    static const char config[] = "{\"tokenizer_class\": \"GPT2Tokenizer\", \"eos_token\": \"<end>\"}";
    put_file(in_directory(state, "vocab.json"), vocabulary, strlen(vocabulary));
    put_file(in_directory(state, "merges.txt"), merges, strlen(merges));
    put_file(in_directory(state, "tokenizer_config.json"), config, strlen(config));
    put_file(in_directory(state, "added_tokens.json"), "{\"<x>\": 6}", 10);
    lora_tokenizer *tokenizer = load(*state);
    EXPECT_IDS(tokenizer, "ab a<end><x>", 1, 2, 3, 0, 4, 6);
    EXPECT_TEXT(tokenizer, 1, "ab a", 2, 3, 0, 4, 6);
    lora_tokenizer_free(tokenizer);
    put_file(in_directory(state, "tokenizer_config.json"), "{\"tokenizer_class\": \"CLIPTokenizer\"}", 36);
    expect_load_fails(*state, LORA_ERROR_UNSUPPORTED, "CLIPTokenizer");
    remove(in_directory(state, "merges.txt"));
    expect_load_fails(*state, LORA_ERROR_NOT_FOUND, "merges.txt");
}

// ---- SentencePiece ----------------------------------------------------------------------------------------------

typedef struct proto {
    uint8_t bytes[4096];
    size_t size;
} proto;

static void put_piece(proto *model, const char *text, float score, uint8_t type)
{
    uint8_t *at = model->bytes + model->size;
    size_t length = strlen(text);
    *at++ = 0x0A;
    *at++ = (uint8_t)(length + 9);
    *at++ = 0x0A;
    *at++ = (uint8_t)length;
    memcpy(at, text, length);
    at += length;
    *at++ = 0x15;
    memcpy(at, &score, 4);
    at += 4;
    *at++ = 0x18;
    *at++ = type;
    model->size = (size_t)(at - model->bytes);
}

static void put_bytes(proto *model, const void *bytes, size_t size)
{
    memcpy(model->bytes + model->size, bytes, size);
    model->size += size;
}

#define META "\xE2\x96\x81"

static proto small_model(void)
{
    static const uint8_t trainer[] = {0x12, 5, 0x18, 2, 0x98, 0x02, 1}; // type bpe, byte fallback
    static const uint8_t normalizer[] = {0x1A, 4, 0x18, 1, 0x20, 0};    // dummy prefix, spaces are kept
    proto model = {.size = 0};
    put_piece(&model, "<unk>", 0, 2);
    put_piece(&model, "<s>", 0, 3);
    put_piece(&model, "</s>", 0, 3);
    put_piece(&model, "<0x21>", 0, 6); // !
    put_piece(&model, META, -9, 1);
    put_piece(&model, "a", -8, 1);
    put_piece(&model, "b", -7, 1);
    put_piece(&model, "ab", -1, 1);
    put_piece(&model, META "a", -2, 1);
    put_piece(&model, META "ab", -3, 1);
    put_piece(&model, "<u>", 0, 4);
    put_bytes(&model, trainer, sizeof trainer);
    put_bytes(&model, normalizer, sizeof normalizer);
    return model;
}

static void sentencepiece(void **state)
{
    proto model = small_model();
    put_file(in_directory(state, "tokenizer.model"), model.bytes, model.size);
    lora_tokenizer *tokenizer = load(*state);
    EXPECT_IDS(tokenizer, "ab", 1, 1, 9);                // "a b" scores best, then the mark joins
    EXPECT_IDS(tokenizer, "a  ab", 0, 8, 4, 9);          // no mark is inside a piece
    EXPECT_IDS(tokenizer, "!?", 0, 4, 3, 0);             // a byte, and what has none is unknown
    EXPECT_IDS(tokenizer, "</s>ab<u>b", 0, 2, 7, 10, 6); // no dummy prefix behind a special token
    EXPECT_TEXT(tokenizer, 0, "<s> ab a!", 1, 9, 8, 3);  // only a mark that begins the text is the dummy prefix
    EXPECT_TEXT(tokenizer, 0, "ab<unk> a", 9, 0, 8);
    EXPECT_TEXT(tokenizer, 1, "ab a", 9, 0, 8, 2);
    lora_tokenizer_free(tokenizer);
}

// Cut at every byte, and with every bit turned: an error or a tokenizer, never a crash.
static void damaged_models(void **state)
{
    lora_context *context = new_context(NULL);
    proto model = small_model();
    for (size_t i = 0; i < model.size * 9; i++) {
        size_t size = i < model.size ? i : model.size, bit = i - size;
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, model.bytes, size);
        if (i >= model.size) copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        lora_tokenizer *tokenizer;
        assert_int_equal(lr_tokenizer_create(context, &tokenizer), LORA_OK);
        lora_status status = lr_load_sentencepiece(tokenizer, "damaged.model", (const char *)copy, size);
        size_t count;
        if (status == LORA_OK) lora_tokenizer_encode(tokenizer, "ab <s> !", 8, 1, NULL, 0, &count);
        lora_tokenizer_free(tokenizer);
        free(copy);
    }
    lora_context_free(context);
}

static void refused_models(void **state)
{
    static const uint8_t unigram[] = {0x12, 2, 0x18, 1};
    proto model = {.size = 0};
    put_piece(&model, "<unk>", 0, 2);
    put_bytes(&model, unigram, sizeof unigram);
    const char *path = in_directory(state, "tokenizer.model");
    put_file(path, model.bytes, model.size);
    expect_load_fails(path, LORA_ERROR_UNSUPPORTED, "unigram");
    put_file(path, "# nothing of the kind\n", 22);
    expect_load_fails(path, LORA_ERROR_FORMAT, "neither");
}

// ---- llama2.c and tiktoken --------------------------------------------------------------------------------------

static size_t put_llama2c_token(uint8_t *at, const char *text, float score)
{
    int32_t length = (int32_t)strlen(text);
    memcpy(at, &score, 4);
    memcpy(at + 4, &length, 4);
    memcpy(at + 8, text, (size_t)length);
    return 8 + (size_t)length;
}

static void llama2c(void **state)
{
    static const char *const tokens[] = {" ", "a", "b", "ab", " ab"};
    uint8_t bytes[8192] = {7};
    char spelled[8];
    size_t size = 4;
    for (int i = 0; i < 3; i++) size += put_llama2c_token(bytes + size, "special", 0);
    for (int i = 0; i < 256; i++) {
        snprintf(spelled, sizeof spelled, "<0x%02X>", i);
        size += put_llama2c_token(bytes + size, spelled, 0);
    }
    for (int i = 0; i < 5; i++) size += put_llama2c_token(bytes + size, tokens[i], (float)i - 9);
    const char *path = in_directory(state, "tokenizer.bin");
    put_file(path, bytes, size);
    lora_tokenizer *tokenizer = load(path);
    EXPECT_IDS(tokenizer, "ab a!", 1, 1, 263, 259, 260, 3 + '!');
    EXPECT_TEXT(tokenizer, 1, "ab a!", 1, 263, 259, 260, 3 + '!');
    lora_tokenizer_free(tokenizer);
    put_file(path, bytes, size - 1);
    expect_load_fails(path, LORA_ERROR_FORMAT, "token 263");
    put_file(path, bytes, 100);
    expect_load_fails(path, LORA_ERROR_FORMAT, "tokenizer.bin");
}

static void tiktoken(void **state)
{
    static const char ranks[] = "YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n"; // a, b, ab, space
    const char *path = in_directory(state, "tokenizer.model");
    put_file(path, ranks, strlen(ranks));
    lora_tokenizer *tokenizer = load(path);
    EXPECT_IDS(tokenizer, "ab b", 1, 2, 3, 1);
    EXPECT_TEXT(tokenizer, 0, "ab b", 2, 3, 1);
    lora_tokenizer_free(tokenizer);
    put_file(path, "YQ== 0\nYg= x\n", 13);
    expect_load_fails(path, LORA_ERROR_FORMAT, "line 2");
}

// ---- GGUF -------------------------------------------------------------------------------------------------------

static lr_gguf_text text_of(const char *text) { return (lr_gguf_text){text, strlen(text)}; }

static const char *write_gguf(void **state, const char *model, const char *pre, bool scores, size_t type_count)
{
    const char *path = in_directory(state, "model.gguf");
    const lr_gguf_text tokens[] = {text_of("<unk>"),   text_of("<s>"),      text_of("a"),
                                   text_of("b"),       text_of("ab"),       text_of(META),
                                   text_of(META "ab"), text_of("\xC4\xA0"), text_of("<c>")};
    const float values[] = {0, 0, -1, -2, -3, -4, -5, -6, 0};
    const int32_t types[] = {2, 3, 1, 1, 1, 1, 1, 1, 3};
    const lr_gguf_text merge = text_of("a b");
    lr_gguf_writer *writer;
    assert_int_equal(lr_gguf_writer_create(&lr_system_allocator, path, true, &writer), LORA_OK);
    lr_gguf_writer_string(writer, "tokenizer.ggml.model", model, strlen(model));
    if (pre) lr_gguf_writer_string(writer, "tokenizer.ggml.pre", pre, strlen(pre));
    lr_gguf_writer_strings(writer, "tokenizer.ggml.tokens", tokens, 9);
    if (scores) lr_gguf_writer_f32s(writer, "tokenizer.ggml.scores", values, 9);
    lr_gguf_writer_i32s(writer, "tokenizer.ggml.token_type", types, type_count);
    lr_gguf_writer_strings(writer, "tokenizer.ggml.merges", &merge, 1);
    lr_gguf_writer_u32(writer, "tokenizer.ggml.bos_token_id", 1);
    lr_gguf_writer_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
    lr_gguf_writer_bool(writer, "tokenizer.ggml.add_bos_token", true);
    lr_gguf_writer_string(writer, "tokenizer.chat_template", "{{ x }}", 7);
    assert_int_equal(lr_gguf_writer_commit(writer), LORA_OK);
    return path;
}

static void gguf(void **state)
{
    lora_tokenizer *tokenizer = load(write_gguf(state, "llama", NULL, true, 9));
    EXPECT_IDS(tokenizer, "ab<c>ab", 1, 1, 6, 8, 6); // every rest has its own space in front
    EXPECT_IDS(tokenizer, "z", 0, 5, 0);
    EXPECT_TEXT(tokenizer, 1, "ab", 1, 6);
    assert_string_equal(lora_tokenizer_chat_template(tokenizer), "{{ x }}");
    lora_tokenizer_free(tokenizer);
    tokenizer = load(write_gguf(state, "gpt2", "qwen2", false, 9));
    EXPECT_IDS(tokenizer, "ab<c> b", 1, 1, 4, 8, 7, 3);
    EXPECT_TEXT(tokenizer, 0, "<s>ab<c> b", 1, 4, 8, 7, 3);
    lora_tokenizer_free(tokenizer);
    expect_load_fails(write_gguf(state, "gpt2", "unheard-of", false, 9), LORA_ERROR_UNSUPPORTED, "unheard-of");
    expect_load_fails(write_gguf(state, "bert", NULL, false, 9), LORA_ERROR_UNSUPPORTED, "bert");
    expect_load_fails(write_gguf(state, "llama", NULL, false, 9), LORA_ERROR_FORMAT, "scores");
    expect_load_fails(write_gguf(state, "llama", NULL, true, 8), LORA_ERROR_FORMAT, "8 types");
}

// ---- memory and threads -----------------------------------------------------------------------------------------

// The N-th allocation fails, for every N: the error is MEMORY, and nothing stays behind.
static void failing_memory(void **state)
{
    const char *path = write_small(state);
    for (long n = 0;; n++) {
        failing_allocator failing;
        failing_allocator_init(&failing, -1);
        lora_context *context = new_context(&failing.allocator);
        lora_tokenizer *tokenizer = NULL;
        int32_t ids[16];
        char text[32];
        size_t count, length;
        failing.until_failure = n;
        lora_status status = lora_tokenizer_load(context, path, &tokenizer);
        if (status == LORA_OK) status = lora_tokenizer_encode(tokenizer, "ab\xFF <e>abc", 10, 1, ids, 16, &count);
        if (status == LORA_OK) status = lora_tokenizer_decode(tokenizer, ids, count, 0, text, sizeof text, &length);
        failing.until_failure = -1;
        lora_tokenizer_free(tokenizer);
        lora_context_free(context);
        assert_int_equal(failing.live, 0);
        if (status == LORA_OK) break;
        assert_int_equal(status, LORA_ERROR_MEMORY);
        assert_true(n < 1000);
    }
}

static void *encode_often(void *argument)
{
    const lora_tokenizer *tokenizer = argument;
    int32_t ids[16];
    char text[32];
    size_t count, length, wrong = 0;
    for (int i = 0; i < 200; i++) {
        lora_status status = lora_tokenizer_encode(tokenizer, "abc ab <e>", 10, 0, ids, 16, &count);
        wrong += status != LORA_OK || count != 4 || ids[0] != 6 || ids[1] != 4 || ids[2] != 3 || ids[3] != 9;
        status = lora_tokenizer_decode(tokenizer, ids, count, 1, text, sizeof text, &length);
        wrong += status != LORA_OK || length != 7 || memcmp(text, "abc ab ", 7) != 0;
    }
    return (void *)wrong;
}

static void four_threads(void **state)
{
    lora_tokenizer *tokenizer = load(write_small(state));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_often, tokenizer), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    lora_tokenizer_free(tokenizer);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_test_directory, remove_test_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(byte_level),     IN_DIRECTORY(pieces),         IN_DIRECTORY(says_how_much_is_needed),
        IN_DIRECTORY(config_beside),  IN_DIRECTORY(wrong_json),     IN_DIRECTORY(gpt2_files),
        IN_DIRECTORY(sentencepiece),  IN_DIRECTORY(damaged_models), IN_DIRECTORY(refused_models),
        IN_DIRECTORY(llama2c),        IN_DIRECTORY(tiktoken),       IN_DIRECTORY(gguf),
        IN_DIRECTORY(failing_memory), IN_DIRECTORY(four_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
