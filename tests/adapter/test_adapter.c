// The adapter room without a reference: options of other releases, bindings, sharing, and what is left behind when
// memory runs out. What PEFT has a word in is tested against PEFT (test_*.py).
#include "tests/lib/support.h"

#include "lib/file.h"
#include "src/adapter/adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tied_config[] = "{\"model_type\": \"llama\", \"vocab_size\": 24, \"hidden_size\": 8, "
                                  "\"intermediate_size\": 12, \"num_hidden_layers\": 2,"
                                  " \"num_attention_heads\": 2, \"max_position_embeddings\": 32, \"attention_bias\": "
                                  "true, \"tie_word_embeddings\": true}";
static const char untied_config[] = "{\"model_type\": \"llama\", \"vocab_size\": 24, \"hidden_size\": 8, "
                                    "\"intermediate_size\": 12, \"num_hidden_layers\": 2,"
                                    " \"num_attention_heads\": 2, \"max_position_embeddings\": 32}";

typedef struct bench {
    failing_allocator memory;
    lora_context *context;
    lora_model *model;
} bench;

static void open_setting(bench *setting, void **state, const char *config)
{
    lora_context_options options;
    lora_model_options model;
    put_file(in_directory(state, "config.json"), config, strlen(config));
    failing_allocator_init(&setting->memory, -1);
    lora_context_options_init(&options);
    options.allocator = &setting->memory.allocator;
    options.threads = 1;
    assert_int_equal(lora_context_create(&setting->context, &options), LORA_OK);
    lora_model_options_init(&model);
    model.initialize = 1;
    assert_int_equal(lora_model_load(setting->context, *state, &model, &setting->model), LORA_OK);
}

static void close_setting(bench *setting)
{
    lora_model_free(setting->model);
    lora_context_free(setting->context);
    assert_int_equal(setting->memory.live, 0);
}

static void fill_b(lora_adapter *adapter, float value)
{
    float values[64];
    for (size_t i = 0; i < 64; i++) values[i] = value;
    for (size_t i = 0; i < adapter->tensor_count; i++)
        if (adapter->tensors[i].module >= 0 && !adapter->tensors[i].is_a)
            assert_int_equal(lora_adapter_tensor_write(adapter, i, values, 64), LORA_OK);
}

static void test_options(void **state)
{
    bench setting;
    lora_adapter *adapter;
    lora_adapter_options options;
    lora_adapter_info info = {.struct_size = sizeof info};
    open_setting(&setting, state, untied_config);
    assert_int_equal(lora_adapter_create(setting.model, NULL, &adapter), LORA_OK);
    assert_int_equal(lora_adapter_get_info(adapter, &info), LORA_OK);
    assert_int_equal(info.r, 8);
    assert_int_equal(info.modules, 4); // q_proj and v_proj of two layers
    assert_int_equal(info.parameters, 4 * 2 * 8 * 8);
    assert_string_equal(info.base_name, *state);
    lora_adapter_free(adapter);

    // A caller that knows r and lora_alpha only.
    memset(&options, 0xA5, sizeof options);
    options.struct_size = offsetof(lora_adapter_options, lora_dropout);
    options.r = 3;
    options.lora_alpha = 6;
    assert_int_equal(lora_adapter_create(setting.model, &options, &adapter), LORA_OK);
    assert_int_equal(lora_adapter_get_info(adapter, &info), LORA_OK);
    assert_int_equal(info.r, 3);
    assert_true(adapter->pairs[0].scale == 2);
    assert_true(info.lora_dropout == 0);
    lora_adapter_free(adapter);

    options.struct_size = 0;
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_create(setting.model, &options, &adapter), "struct_size is 0");
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_create(NULL, NULL, &adapter), "model is NULL");
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_load(setting.model, "", 0, &adapter), "path is empty");
    lora_adapter_options_init(&options);
    options.bias = 9;
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_create(setting.model, &options, &adapter), "bias is 9");
    options.bias = 0;
    options.target_module_count = 1;
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_create(setting.model, &options, &adapter), "target_modules is NULL");
    close_setting(&setting);
}

static void test_tensor_access(void **state)
{
    bench setting;
    lora_adapter *adapter;
    int64_t rows, cols;
    float values[64] = {0};
    open_setting(&setting, state, untied_config);
    assert_int_equal(lora_adapter_create(setting.model, NULL, &adapter), LORA_OK);
    assert_int_equal(lora_adapter_tensor_count(adapter), 8);
    assert_string_equal(lora_adapter_tensor_name(adapter, 3),
                        "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight");
    assert_null(lora_adapter_tensor_name(adapter, 8));
    assert_int_equal(lora_adapter_tensor_shape(adapter, 0, &rows, &cols), LORA_OK);
    assert_true(rows == 8 && cols == 8);
    for (int i = 0; i < 64; i++) values[i] = (float)i;
    assert_int_equal(lora_adapter_tensor_write(adapter, 2, values, 64), LORA_OK);
    memset(values, 0, sizeof values);
    assert_int_equal(lora_adapter_tensor_read(adapter, 2, values, 64), LORA_OK);
    for (int i = 0; i < 64; i++) assert_true(values[i] == (float)i);
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_tensor_read(adapter, 2, values, 63),
                 "63 values were given room for, it has 64");
    assert_fails(LORA_ERROR_ARGUMENT, lora_adapter_tensor_read(adapter, 8, values, 64),
                 "tensor 8 of an adapter that has 8");
    adapter->trainers = 1;
    assert_fails(LORA_ERROR_STATE, lora_adapter_tensor_write(adapter, 2, values, 64), "a trainer holds this adapter");
    adapter->trainers = 0;
    lora_adapter_free(adapter);
    close_setting(&setting);
}

// Where the backward has to begin, and which tensors it is given.
static void test_training_binding(void **state)
{
    bench setting;
    lora_adapter *adapter;
    lora_adapter_options options;
    lr_binding *binding;
    lora_view gradients[16];
    const int32_t layers[] = {1};
    const char *const saved[] = {"lm_head"};
    open_setting(&setting, state, untied_config);
    lora_adapter_options_init(&options);
    options.layers_to_transform = layers;
    options.layer_count = 1;
    options.lora_dropout = 0.25f;
    options.modules_to_save = saved;
    options.module_to_save_count = 1;
    assert_int_equal(lora_adapter_create(setting.model, &options, &adapter), LORA_OK);
    assert_int_equal(adapter->tensor_count, 5);
    for (size_t i = 0; i < 5; i++) {
        lora_view value = adapter->tensors[i].value;
        assert_int_equal(lr_create_view(setting.context, value.rows, value.cols, &gradients[i]), LORA_OK);
    }
    assert_int_equal(lr_binding_create_training(adapter, gradients, &binding), LORA_OK);
    const lr_module *q = lr_model_module(setting.model, 1, LR_SLOT_Q),
                    *v = lr_model_module(setting.model, 1, LR_SLOT_V);
    const lr_module *head = lr_model_module(setting.model, -1, LR_SLOT_HEAD);
    ptrdiff_t first = q - setting.model->modules, second = v - setting.model->modules;
    assert_true(binding->trains_pairs && binding->trains_tensors);
    assert_int_equal(binding->first_trained_layer, 1);
    assert_int_equal(binding->max_rank, 8);
    assert_int_equal(binding->pair_begin[first + 1] - binding->pair_begin[first], 1);
    assert_int_equal(binding->pair_begin[setting.model->module_count], 2);
    const lora_pair *pair = &binding->pairs[binding->pair_begin[second]];
    assert_ptr_equal(pair->a.buffer, adapter->tensors[2].value.buffer);
    assert_ptr_equal(pair->grad_a.buffer, gradients[2].buffer);
    assert_ptr_equal(pair->grad_b.buffer, gradients[3].buffer);
    assert_true(pair->dropout.p == 0.25f && pair->dropout.stream == (uint32_t)second && pair->scale == 1);
    assert_ptr_equal(binding->values[head->weight].buffer, adapter->tensors[4].value.buffer);
    assert_ptr_equal(binding->gradients[head->weight].buffer, gradients[4].buffer);
    assert_null(binding->gradients[q->weight].buffer);
    assert_ptr_equal(binding->values[q->weight].buffer, setting.model->tensors[q->weight].view.buffer);
    lr_binding_free(binding);

    assert_int_equal(lr_binding_create_training(adapter, NULL, &binding), LORA_OK);
    assert_false(binding->trains_pairs || binding->trains_tensors);
    assert_int_equal(binding->first_trained_layer, 2);
    // The binding keeps what it was made from.
    lora_adapter_free(adapter);
    assert_true(binding->pairs[0].scale == 1);
    lr_binding_free(binding);
    for (size_t i = 0; i < 5; i++) lr_free_view(setting.context, &gradients[i]);
    close_setting(&setting);
}

// The tied embedding is one tensor, and training it reaches below every block.
static void test_full_binding(void **state)
{
    bench setting;
    lora_adapter *adapter;
    lora_adapter_options options;
    lr_binding *binding;
    open_setting(&setting, state, tied_config);
    lora_adapter_options_init(&options);
    options.full = 1;
    assert_int_equal(lora_adapter_create(setting.model, &options, &adapter), LORA_OK);
    assert_true(lr_adapter_is_full(adapter));
    assert_int_equal(adapter->tensor_count, setting.model->tensor_count);
    lora_view *gradients = calloc(adapter->tensor_count, sizeof *gradients);
    for (size_t i = 0; i < adapter->tensor_count; i++) gradients[i] = adapter->tensors[i].value;
    assert_int_equal(lr_binding_create_training(adapter, gradients, &binding), LORA_OK);
    assert_int_equal(binding->first_trained_layer, -1);
    assert_false(binding->trains_pairs);
    lr_binding_free(binding);
    free(gradients);
    lora_adapter_free(adapter);
    close_setting(&setting);
}

static void test_uses(void **state)
{
    bench setting, other;
    lora_adapter *adapter, *foreign;
    lr_binding *binding;
    open_setting(&setting, state, untied_config);
    open_setting(&other, state, untied_config);
    assert_int_equal(lora_adapter_create(setting.model, NULL, &adapter), LORA_OK);
    assert_int_equal(lora_adapter_create(other.model, NULL, &foreign), LORA_OK);
    lora_adapter_use uses[2] = {{adapter, 2, 0}, {adapter, -0.5f, 0}};
    assert_int_equal(lr_binding_create(setting.model, uses, 2, &binding), LORA_OK);
    assert_int_equal(binding->pair_begin[setting.model->module_count], 8);
    assert_int_equal(binding->max_rank, 16);
    assert_true(binding->pairs[0].scale == 2 && binding->pairs[1].scale == -0.5f);
    lr_binding_free(binding);
    uses[1].adapter = foreign;
    assert_fails(LORA_ERROR_MISMATCH, lr_binding_create(setting.model, uses, 2, &binding),
                 "loaded for another model handle");
    uses[1] = (lora_adapter_use){adapter, 0.0f / 0.0f, 0};
    assert_fails(LORA_ERROR_ARGUMENT, lr_binding_create(setting.model, uses, 2, &binding), "not finite");
    uses[1].adapter = NULL;
    assert_fails(LORA_ERROR_ARGUMENT, lr_binding_create(setting.model, uses, 2, &binding), "adapter 2 of 2 is NULL");
    lora_adapter_free(adapter);
    lora_adapter_free(foreign);
    close_setting(&other);
    close_setting(&setting);
}

static void test_merged_model_shares_with_its_base(void **state)
{
    bench setting;
    lora_adapter *adapter;
    lora_model *merged;
    open_setting(&setting, state, untied_config);
    assert_int_equal(lora_adapter_create(setting.model, NULL, &adapter), LORA_OK);
    fill_b(adapter, 0.5f);
    lora_adapter_use use = {adapter, 1, 0};
    assert_int_equal(lora_model_merge(setting.model, &use, 1, LORA_TYPE_KEEP, NULL, &merged), LORA_OK);
    size_t own = 0;
    for (size_t i = 0; i < merged->tensor_count; i++)
        own += merged->tensors[i].view.buffer != setting.model->tensors[i].view.buffer;
    assert_int_equal(own, 4);
    // In any order: the merged model keeps its base.
    lora_model_free(setting.model);
    lora_adapter_free(adapter);
    setting.model = merged;
    lora_model_info info = {.struct_size = sizeof info};
    assert_int_equal(lora_model_get_info(merged, &info), LORA_OK);
    assert_int_equal(info.layers, 2);
    float values[24 * 8];
    assert_int_equal(lora_model_tensor_read(merged, 0, values, 24 * 8), LORA_OK);
    close_setting(&setting);
}

// ---- memory that runs out -------------------------------------------------------------------------------------------

static lora_status make_and_save(const bench *setting, void **state)
{
    lora_adapter *adapter = NULL;
    lora_adapter_options options;
    const char *const targets[] = {"q_proj", "up_proj"}, *const saved[] = {"embed_tokens"};
    const lora_pattern ranks[] = {{"up_proj", 3}};
    lora_adapter_options_init(&options);
    options.r = 2;
    options.bias = LORA_BIAS_ALL;
    options.target_modules = targets;
    options.target_module_count = 2;
    options.modules_to_save = saved;
    options.module_to_save_count = 1;
    options.rank_pattern = ranks;
    options.rank_pattern_count = 1;
    LR_TRY(lora_adapter_create(setting->model, &options, &adapter));
    lora_status status = lora_adapter_save(adapter, in_directory(state, "adapter"), 0);
    lora_adapter_free(adapter);
    return status;
}

static lora_status load_and_merge(const bench *setting, void **state)
{
    lora_adapter *adapter = NULL;
    lora_model *merged = NULL;
    lora_merge_report report = {.struct_size = sizeof report};
    LR_TRY(lora_adapter_load(setting->model, in_directory(state, "adapter"), 1, &adapter));
    lora_adapter_use use = {adapter, 1, 0};
    lora_status status = lora_model_merge(setting->model, &use, 1, LORA_TYPE_BF16, &report, &merged);
    lora_adapter_free(adapter);
    if (status == LORA_OK) status = lora_model_save(merged, in_directory(state, "merged"), 0);
    if (status == LORA_OK) status = lora_model_save(merged, in_directory(state, "merged.gguf"), 0);
    lora_model_free(merged);
    return status;
}

static void remove_outputs(void **state, bool with_adapter)
{
    if (with_adapter) lr_remove_tree(in_directory(state, "adapter"));
    lr_remove_tree(in_directory(state, "merged"));
    lr_remove_tree(in_directory(state, "merged.gguf"));
}

// The n-th allocation fails, for every n: the call says so, gives everything back and leaves no file half written.
static void fail_each(bench *setting, void **state, lora_status (*work)(const bench *, void **), bool makes_adapter)
{
    assert_int_equal(work(setting, state), LORA_OK); // the backend has its workspaces from here on
    remove_outputs(state, makes_adapter);
    long live = setting->memory.live, n = 0;
    for (bool done = false; !done; n++) {
        size_t files = count_entries(*state);
        setting->memory.until_failure = n;
        setting->memory.failed = false;
        lora_status status = work(setting, state);
        done = !setting->memory.failed;
        setting->memory.until_failure = -1;
        assert_int_equal(setting->memory.live, live);
        if (done) {
            assert_int_equal(status, LORA_OK);
            break;
        }
        if (status != LORA_OK) assert_int_equal(status, LORA_ERROR_MEMORY);
        remove_outputs(state, makes_adapter);
        assert_int_equal(count_entries(*state), files);
    }
    assert_true(n > 100);
}

static void test_every_allocation(void **state)
{
    bench setting;
    open_setting(&setting, state, tied_config);
    fail_each(&setting, state, make_and_save, true);
    fail_each(&setting, state, load_and_merge, false);
    close_setting(&setting);
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_options),
        IN_DIRECTORY(test_tensor_access),
        IN_DIRECTORY(test_training_binding),
        IN_DIRECTORY(test_full_binding),
        IN_DIRECTORY(test_uses),
        IN_DIRECTORY(test_merged_model_shares_with_its_base),
        IN_DIRECTORY(test_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
