#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 260, \"hidden_size\": 32,"
    " \"intermediate_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\","
    " \"initializer_range\": 0.3, \"tie_word_embeddings\": false, \"bos_token_id\": 256, \"eos_token_id\": 257}";

void check_status(lora_status expected, lora_status status, const char *call, const char *file, int line)
{
    if (status == expected) return;
    print_error("%s:%d: %s gave %s (%s)\n", file, line, call, lora_status_name(status), lora_error_message());
    fail();
}

// Byte-level BPE without merges. GPT-2 writes a byte that cannot be printed as a character from U+0100 on.
static void put_tokenizer(const char *path)
{
    static const char *const special[] = {"<s>", "</s>", "<|im_start|>", "<pad>"};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"added_tokens\": [", file);
    for (int i = 0; i < 4; i++)
        fprintf(file,
                "%s{\"id\": %d, \"content\": \"%s\", \"special\": true, \"single_word\": false, \"lstrip\": false,"
                " \"rstrip\": false, \"normalized\": false}",
                i ? ", " : "", 256 + i, special[i]);
    fputs("], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false,"
          " \"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null,"
          " \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {", file);
    int next = 256;
    for (int byte = 0; byte < 256; byte++) {
        bool printed = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        fprintf(file, "%s\"\\u%04x\": %d", byte ? ", " : "", printed ? byte : next, byte);
        next += !printed;
    }
    fputs("}}}", file);
    assert_int_equal(fclose(file), 0);
}

static lora_adapter *make_adapter(const lora_model *model)
{
    lora_adapter_options options;
    lora_adapter_options_init(&options);
    lora_adapter *adapter = NULL;
    assert_ok(lora_adapter_create(model, &options, &adapter));
    srand(5);
    for (size_t t = 0; t < lora_adapter_tensor_count(adapter); t++) {
        int64_t rows, cols;
        float values[4096];
        assert_ok(lora_adapter_tensor_shape(adapter, t, &rows, &cols));
        assert_true(rows * cols <= 4096);
        for (int64_t i = 0; i < rows * cols; i++) values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        assert_ok(lora_adapter_tensor_write(adapter, t, values, (size_t)(rows * cols)));
    }
    return adapter;
}

void fixture_open(fixture *f, int32_t threads)
{
    assert_int_equal(make_test_directory(&f->directory), 0);
    put_file(in_directory(&f->directory, "config.json"), config, sizeof config - 1);
    put_tokenizer(in_directory(&f->directory, "tokenizer.json"));
    static const char names[] = "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";
    put_file(in_directory(&f->directory, "tokenizer_config.json"), names, sizeof names - 1);
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = threads;
    lora_model_options model_options;
    lora_model_options_init(&model_options);
    model_options.initialize = 1;
    model_options.seed = 11;
    assert_ok(lora_context_create(&f->context, &options));
    assert_ok(lora_model_load(f->context, f->directory, &model_options, &f->model));
    f->adapter = make_adapter(f->model);
}

void fixture_close(fixture *f)
{
    lora_adapter_free(f->adapter);
    lora_model_free(f->model);
    lora_context_free(f->context);
    remove_test_directory(&f->directory);
}

lora_session *fixture_session(const fixture *f, int64_t context_length, int32_t prefill_batch)
{
    lora_session_options options;
    lora_session_options_init(&options);
    options.context_length = context_length;
    options.prefill_batch = prefill_batch;
    lora_session *session = NULL;
    assert_ok(lora_session_create(f->model, &options, &session));
    return session;
}

void make_prompt(int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)((i * i * 31 + i * 17 + 65) % 256);
}

lora_generate_options greedy(int32_t max_new_tokens)
{
    lora_generate_options options;
    lora_generate_options_init(&options);
    options.max_new_tokens = max_new_tokens;
    options.temperature = 0;
    options.ignore_end = 1;
    return options;
}

void ask(lora_session *session, const int32_t *ids, size_t count, const lora_generate_options *options, answer *out)
{
    lora_piece piece = {.struct_size = sizeof piece};
    *out = (answer){0};
    assert_ok(lora_session_prompt(session, ids, count, options));
    do {
        assert_ok(lora_session_next(session, &piece));
        if (piece.id >= 0) out->ids[out->count++] = piece.id;
        assert_true(out->length + piece.text_length < sizeof out->text);
        memcpy(out->text + out->length, piece.text, piece.text_length);
        out->length += piece.text_length;
    } while (piece.finish == LORA_FINISH_NONE);
    out->finish = piece.finish;
}

void assert_same_answer(const answer *a, const answer *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, a->count * sizeof *a->ids);
    assert_int_equal(a->length, b->length);
    assert_memory_equal(a->text, b->text, a->length);
    assert_int_equal(a->finish, b->finish);
}
