#include "tiny.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 104, \"hidden_size\": 16,"
    " \"intermediate_size\": 24, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
    " \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\","
    " \"initializer_range\": 0.1, \"tie_word_embeddings\": true, \"bos_token_id\": 1, \"eos_token_id\": 2}";

static const char rows[] =
    "{\"instruction\": \"Say it\", \"input\": \"\", \"output\": \"It is said.\"}\n"
    "{\"instruction\": \"Count\", \"input\": \"three\", \"output\": \"1 2 3\"}\n"
    "{\"instruction\": \"Greet\", \"input\": \"the world\", \"output\": \"Hello, world\"}\n"
    "{\"instruction\": \"End\", \"input\": \"\", \"output\": \"Bye\"}\n";

void check_status(lora_status status, lora_status expected, const char *call, const char *file, int line)
{
    if (status == expected) return;
    print_error("%s:%d: %s gave %s (%s), expected %s\n", file, line, call, lora_status_name(status),
                lora_error_message(), lora_status_name(expected));
    fail();
}

const char *tiny_path(const tiny *t, const char *name)
{
    static _Thread_local char paths[16][300];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", t->directory, name);
    return path;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// Byte-level BPE without merges: the printable ASCII characters, space and newline as GPT-2 writes them.
static void put_tokenizer(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true, \"single_word\": false,"
          " \"lstrip\": false, \"rstrip\": false, \"normalized\": false}, {\"id\": 2, \"content\": \"</s>\","
          " \"special\": true, \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false}],"
          " \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false,"
          " \"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null,"
          " \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {"
          "\"<s>\": 1, \"</s>\": 2, \"\\u0120\": 3, \"\\u010a\": 4",
          file);
    for (int c = '!'; c <= '~'; c++) fprintf(file, ", \"\\u%04x\": %d", c, 5 + c - '!');
    fputs("}}}", file);
    assert_int_equal(fclose(file), 0);
}

void tiny_open(tiny *t)
{
    const char *base = getenv("TMPDIR");
    snprintf(t->directory, sizeof t->directory, "%.150s/lora-tiny-XXXXXX", base && *base ? base : P_tmpdir);
    assert_non_null(mkdtemp(t->directory));
    assert_int_equal(mkdir(tiny_path(t, "drawn"), 0700), 0);
    put(tiny_path(t, "drawn/config.json"), config);
    put_tokenizer(tiny_path(t, "drawn/tokenizer.json"));
    put(tiny_path(t, "drawn/tokenizer_config.json"), "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    put(tiny_path(t, "rows.jsonl"), rows);
    lora_context *context = tiny_context(1, NULL);
    lora_model_options options;
    lora_model_options_init(&options);
    options.initialize = 1;
    options.seed = 7;
    lora_model *drawn;
    assert_ok(lora_model_load(context, tiny_path(t, "drawn"), &options, &drawn));
    assert_ok(lora_model_save(drawn, tiny_path(t, "base"), 0));
    lora_model_free(drawn);
    lora_context_free(context);
    tiny_remove(t, "drawn");
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)info, (void)kind, (void)position;
    return remove(path);
}

void tiny_remove(const tiny *t, const char *name)
{
    nftw(tiny_path(t, name), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void tiny_close(tiny *t)
{
    tiny_remove(t, "");
}

size_t tiny_count(const tiny *t, const char *name)
{
    DIR *handle = opendir(tiny_path(t, name));
    assert_non_null(handle);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(handle));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(handle);
    return count;
}

lora_context *tiny_context(int32_t threads, const lora_allocator *allocator)
{
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = threads;
    options.allocator = allocator;
    lora_context *context = NULL;
    assert_ok(lora_context_create(&context, &options));
    return context;
}

lora_model *tiny_model(const tiny *t, lora_context *context)
{
    lora_model *model = NULL;
    assert_ok(lora_model_load(context, tiny_path(t, "base"), NULL, &model));
    return model;
}

lora_dataset *tiny_data(const tiny *t, lora_context *context, const lora_model *model)
{
    const char *path = tiny_path(t, "rows.jsonl");
    lora_dataset *data = NULL;
    assert_ok(lora_dataset_load(context, lora_model_tokenizer(model), &path, 1, NULL, &data));
    return data;
}
