#include "fixture.h"

#include "lib/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 96, \"hidden_size\": 32,"
    " \"intermediate_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    " \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\","
    " \"initializer_range\": 0.1, \"tie_word_embeddings\": false, \"bos_token_id\": 1, \"eos_token_id\": 2}";

void check_status(lora_status status, lora_status expected, const char *call, const char *file, int line)
{
    if (status == expected) return;
    print_error("%s:%d: %s gave %s (%s), expected %s\n", file, line, call, lora_status_name(status),
                lora_error_message(), lora_status_name(expected));
    fail();
}

void assert_message(const char *part)
{
    if (strstr(lora_error_message(), part)) return;
    print_error("the message is '%s': expected '%s' in it\n", lora_error_message(), part);
    fail();
}

const char *fixture_path(fixture *f, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    return path;
}

void fixture_open(fixture *f, const lora_context_options *options)
{
    *f = (fixture){0};
    const char *base = getenv("TMPDIR");
    snprintf(f->directory, sizeof f->directory, "%.40s/train-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(f->directory));
    lora_context_options own;
    lora_context_options_init(&own);
    own.threads = 2;
    assert_ok(lora_context_create(&f->context, options ? options : &own));
    FILE *file = fopen(fixture_path(f, "config.json"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(config, 1, strlen(config), file), strlen(config));
    fclose(file);
    lora_model_options model;
    lora_model_options_init(&model);
    model.initialize = 1;
    model.seed = 7;
    assert_ok(lora_model_load(f->context, f->directory, &model, &f->model));
    f->data = fixture_rows(f->context, 22, 1);
    f->validation = fixture_rows(f->context, 5, 2);
    lora_adapter_options_init(&f->adapter_options);
    f->adapter_options.r = 4;
    f->adapter_options.seed = 3;
    lora_trainer_options_init(&f->options);
    f->options.learning_rate = 1e-2;
}

void fixture_close(fixture *f)
{
    lora_dataset_free(f->data);
    lora_dataset_free(f->validation);
    lora_model_free(f->model);
    lora_context_free(f->context);
    assert_ok(lr_remove_tree(f->directory));
}

lora_dataset *fixture_rows(lora_context *context, int rows, uint64_t seed)
{
    lora_dataset *data;
    assert_ok(lora_dataset_create(context, &data));
    for (int row = 0; row < rows; row++) {
        int32_t ids[32], labels[32];
        size_t count = 4 + (size_t)lr_random_below(seed, 9, (uint64_t)row, 20);
        for (size_t i = 0; i < count; i++) {
            ids[i] = (int32_t)lr_random_below(seed, 10, (uint64_t)row * 32 + i, FIXTURE_VOCABULARY);
            labels[i] = i < count / 3 ? LORA_LABEL_IGNORED : ids[i];
        }
        assert_ok(lora_dataset_add(data, ids, labels, count));
    }
    return data;
}

lora_adapter *fixture_adapter(fixture *f)
{
    lora_adapter *adapter;
    assert_ok(lora_adapter_create(f->model, &f->adapter_options, &adapter));
    return adapter;
}

lora_trainer *fixture_trainer(fixture *f, lora_adapter *adapter)
{
    lora_trainer *trainer;
    assert_ok(lora_trainer_create(adapter, f->data, &f->options, &trainer));
    return trainer;
}

numbers read_numbers(const lora_adapter *adapter)
{
    numbers n = {0};
    for (size_t i = 0; i < lora_adapter_tensor_count(adapter); i++) {
        int64_t rows, cols;
        assert_ok(lora_adapter_tensor_shape(adapter, i, &rows, &cols));
        size_t more = (size_t)(rows * cols);
        n.values = realloc(n.values, (n.count + more) * sizeof(float));
        assert_ok(lora_adapter_tensor_read(adapter, i, n.values + n.count, more));
        n.count += more;
    }
    return n;
}

void free_numbers(numbers n)
{
    free(n.values);
}

void assert_same_bits(numbers a, numbers b)
{
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.values, b.values, a.count * sizeof(float));
    free_numbers(a);
    free_numbers(b);
}

double relative_difference(numbers a, numbers b)
{
    double difference = 0, size = 0;
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        difference += pow((double)a.values[i] - (double)b.values[i], 2);
        size += pow((double)b.values[i], 2);
    }
    free_numbers(a);
    free_numbers(b);
    return sqrt(difference / size);
}
