// The model's handle and the pass, where no reference is needed: memory that runs out, plans that are kept, cancelling,
// threads.
#include "../lib/support.h"
#include "binding.h"

#include "lib/safetensors.h"
#include "lib/thread_pool.h"
#include "src/model/source.h"

#include <lora/trainer.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
    "{\"model_type\": \"qwen3\", \"vocab_size\": 50, \"hidden_size\": 16, \"intermediate_size\": 24, "
    "\"num_hidden_layers\": 2,"
    " \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8, \"max_position_embeddings\": 64,"
    " \"attention_bias\": true, \"use_sliding_window\": true, \"sliding_window\": 6, \"max_window_layers\": 1,"
    " \"initializer_range\": 0.3, \"eos_token_id\": [3, 4]}";

#define TOKENS 20
#define VOCABULARY 50

static lora_context *make_context(const lora_allocator *allocator, int threads)
{
    lora_context *context = NULL;
    lora_context_options options;
    lora_context_options_init(&options);
    options.allocator = allocator;
    options.threads = threads;
    assert_int_equal(lora_context_create(&context, &options), LORA_OK);
    return context;
}

static lora_model *make_model(lora_context *context, void **state)
{
    lora_model *model = NULL;
    lora_model_options options;
    lora_model_options_init(&options);
    options.initialize = 1;
    put_file(in_directory(state, "config.json"), config, strlen(config));
    assert_int_equal(lora_model_load(context, *state, &options, &model), LORA_OK);
    return model;
}

static lora_status write_tensor(const lora_model *model, size_t index, lr_safetensors_writer *writer)
{
    int64_t rows, cols;
    LR_TRY(lora_model_tensor_shape(model, index, &rows, &cols));
    float *values = malloc((size_t)(rows * cols) * sizeof *values);
    lora_status status = lora_model_tensor_read(model, index, values, (size_t)(rows * cols));
    if (status == LORA_OK) status = lr_safetensors_writer_write(writer, values, (size_t)(rows * cols) * sizeof *values);
    free(values);
    return status;
}

// config.json and model.safetensors of a random model.
static void put_model(void **state)
{
    lora_context *context = make_context(NULL, 1);
    lora_model *model = make_model(context, state);
    const size_t count = lora_model_tensor_count(model);
    lr_safetensors_tensor *tensors = calloc(count, sizeof *tensors);
    lr_safetensors_writer *writer = NULL;
    for (size_t i = 0; i < count; i++) {
        const lr_tensor *tensor = &model->tensors[i];
        tensors[i] =
            (lr_safetensors_tensor){.name = tensor->name, .type = LORA_TYPE_F32, .dimensions = tensor->dimensions};
        tensors[i].shape[0] = tensor->dimensions == 2 ? tensor->view.rows : tensor->view.cols;
        tensors[i].shape[1] = tensor->view.cols;
    }
    assert_int_equal(lr_safetensors_writer_create(&lr_system_allocator, in_directory(state, "model.safetensors"), true,
                                                  tensors, count, NULL, &writer),
                     LORA_OK);
    for (size_t i = 0; i < count; i++) assert_int_equal(write_tensor(model, i, writer), LORA_OK);
    assert_int_equal(lr_safetensors_writer_commit(writer), LORA_OK);
    free(tensors);
    lora_model_free(model);
    lora_context_free(context);
}

// ---- a training run on it -------------------------------------------------------------------------------------------

typedef struct sample {
    int32_t ids[TOKENS], labels[TOKENS];
    lr_span spans[2];
    lr_batch batch;
} sample;

static void make_sample(sample *s)
{
    for (int i = 0; i < TOKENS; i++) {
        s->ids[i] = (i * 7 + 3) % VOCABULARY;
        s->labels[i] = i % 3 ? (i * 11) % VOCABULARY : -100;
    }
    s->spans[0] = (lr_span){.begin = 0, .count = 12};
    s->spans[1] = (lr_span){.begin = 12, .count = TOKENS - 12};
    s->batch = (lr_batch){.tokens = TOKENS, .ids = s->ids, .labels = s->labels, .span_count = 2, .spans = s->spans};
}

static lr_pass_options training_options(const lr_binding *binding)
{
    return (lr_pass_options){.max_tokens = TOKENS,
                             .max_spans = 2,
                             .max_rank = binding->max_rank,
                             .training = true,
                             .trains_tensors = binding->trains_tensors,
                             .trains_pairs = binding->trains_pairs,
                             .plain_head = binding->plain_head,
                             .first_trained_layer = binding->first_trained_layer};
}

static lora_status train_once(const lora_model *model, int32_t recompute, const atomic_int *cancel, float *losses,
                              float *gradient)
{
    test_binding binding;
    lr_pass *pass = NULL;
    sample s;
    make_sample(&s);
    lora_status status = test_binding_create(model, NULL, 0, true, &binding);
    lr_pass_options options = training_options(&binding.binding);
    options.recompute = recompute;
    if (status == LORA_OK) status = lr_pass_create(model, &options, &pass);
    if (status == LORA_OK) {
        lr_pass_set_cancel(pass, cancel);
        status = lr_pass_train(pass, &binding.binding, &s.batch, 1.0f, 0, losses);
    }
    if (status == LORA_OK) status = lr_view_read(model->context, binding.binding.gradients[0], gradient);
    lr_pass_free(pass);
    test_binding_free(&binding);
    return status;
}

static lora_status decode_once(const lora_model *model, float *logits)
{
    test_binding binding;
    lr_pass *pass = NULL;
    lr_kv_cache *cache = NULL;
    sample s;
    make_sample(&s);
    const lr_pass_options options = {.max_tokens = TOKENS, .max_spans = 1};
    lora_status status = test_binding_create(model, NULL, 0, false, &binding);
    if (status == LORA_OK) status = lr_pass_create(model, &options, &pass);
    if (status == LORA_OK) status = lr_kv_cache_create(model, LORA_TYPE_F32, TOKENS + 1, &cache);
    for (int i = 0; status == LORA_OK && i < 2; i++) {
        const lr_span span = {.count = i ? 1 : TOKENS, .cache = cache};
        const lr_batch batch = {.tokens = span.count, .ids = s.ids, .span_count = 1, .spans = &span};
        const int64_t last = span.count - 1;
        status = lr_pass_logits(pass, &binding.binding, &batch, &last, 1, logits, NULL);
    }
    lr_kv_cache_free(cache);
    lr_pass_free(pass);
    test_binding_free(&binding);
    return status;
}

// ---- tests ----------------------------------------------------------------------------------------------------------

static lora_status load_and_run(lora_context *context, const char *directory, lora_type type)
{
    lora_model *model = NULL, *derived = NULL;
    float losses[TOKENS], gradient[VOCABULARY * 16], logits[VOCABULARY];
    lora_model_options options;
    lora_model_options_init(&options);
    options.type = type;
    lora_status status = lora_model_load(context, directory, &options, &model);
    if (status == LORA_OK) status = lr_model_derive(model, &derived);
    if (status == LORA_OK) status = lr_model_finish(derived);
    if (status == LORA_OK && type == LORA_TYPE_KEEP)
        status = train_once(derived, LORA_RECOMPUTE_NONE, NULL, losses, gradient);
    if (status == LORA_OK) status = decode_once(derived, logits);
    lora_model_free(model);
    lora_model_free(derived);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    put_model(state);
    for (int pass = 0; pass < 2; pass++) {
        lora_status status = LORA_ERROR_MEMORY;
        for (long n = 0; status != LORA_OK; n++) {
            failing_allocator allocator;
            failing_allocator_init(&allocator, -1);
            lora_context *context = make_context(&allocator.allocator, 1);
            const long before = allocator.live;
            allocator.until_failure = n;
            status = load_and_run(context, *state, pass ? LORA_TYPE_BF16 : LORA_TYPE_KEEP);
            if (status != (allocator.failed ? LORA_ERROR_MEMORY : LORA_OK))
                fail_msg("call %ld: %s", n, lora_error_message());
            allocator.until_failure = -1;
            assert_true(allocator.live - before <= 1); // the device keeps its workspace
            lora_context_free(context);
            assert_int_equal(allocator.live, 0);
        }
    }
}

typedef struct counting_allocator {
    lora_allocator allocator;
    size_t bytes, live;
} counting_allocator;

static void *count_allocate(size_t size, void *user)
{
    counting_allocator *self = user;
    size_t *block = malloc(size + 16);
    *block = size;
    self->bytes += size;
    self->live += size;
    return (char *)block + 16;
}

static void count_release(void *block, void *user)
{
    counting_allocator *self = user;
    size_t *start = (size_t *)(void *)((char *)block - 16);
    self->live -= *start;
    free(start);
}

static void *count_reallocate(void *block, size_t size, void *user)
{
    void *larger = count_allocate(size, user);
    const size_t old = *(size_t *)(void *)((char *)block - 16);
    memcpy(larger, block, old < size ? old : size);
    count_release(block, user);
    return larger;
}

// What lr_pass_bytes says is what create takes, beside a few small arrays, and a run takes no more.
static void plans_are_kept(void **state)
{
    counting_allocator counter = {.allocator = {count_allocate, count_reallocate, count_release, &counter}};
    lora_context *context = make_context(&counter.allocator, 1);
    lora_model_options bf16;
    lora_model_options_init(&bf16);
    bf16.type = LORA_TYPE_BF16;
    lora_model *models[2] = {make_model(context, state)};
    put_model(state);
    assert_int_equal(lora_model_load(context, *state, &bf16, &models[1]), LORA_OK);
    for (int kind = 0; kind < 10; kind++) {
        static const int32_t recomputes[] = {0, LORA_RECOMPUTE_NONE, LORA_RECOMPUTE_ALL, LORA_RECOMPUTE_MLP, 0};
        const lora_model *model = models[kind / 5];
        const bool training = kind % 5 > 0;
        test_binding binding;
        lr_pass *pass = NULL;
        sample s;
        float losses[TOKENS];
        uint64_t activations, workspace;
        make_sample(&s);
        assert_int_equal(test_binding_create(model, NULL, 0, training, &binding), LORA_OK);
        lr_pass_options options = training_options(&binding.binding);
        options.training = training;
        options.recompute = recomputes[kind % 5];
        options.activations = LORA_TYPE_KEEP;
        options.max_tokens = kind % 5 == 4 ? 3000 : TOKENS;
        lr_pass_bytes(model, &options, &activations, &workspace);
        const size_t before = counter.bytes;
        assert_int_equal(lr_pass_create(model, &options, &pass), LORA_OK);
        const size_t taken = counter.bytes - before;
        const size_t small =
            16384 + (size_t)options.max_tokens * (4 * sizeof(int32_t) + 8 * sizeof(float) + 2 * sizeof(float *));
        assert_true(taken >= activations);
        assert_true(taken <= activations + workspace + small);
        const size_t at_rest = counter.bytes;
        if (training)
            assert_int_equal(lr_pass_train(pass, &binding.binding, &s.batch, 1, 0, losses), LORA_OK);
        else
            assert_int_equal(lr_pass_losses(pass, &binding.binding, &s.batch, losses), LORA_OK);
        assert_int_equal(counter.bytes, at_rest);
        lr_pass_free(pass);
        test_binding_free(&binding);
    }
    lora_model_free(models[0]);
    lora_model_free(models[1]);
    lora_context_free(context);
    assert_int_equal(counter.live, 0);
}

static void cancelling_leaves_the_model_usable(void **state)
{
    lora_context *context = make_context(NULL, 2);
    lora_model *model = make_model(context, state);
    float losses[2][TOKENS], gradient[2][VOCABULARY * 16];
    atomic_int flag = 1;
    assert_int_equal(train_once(model, false, NULL, losses[0], gradient[0]), LORA_OK);
    assert_fails(LORA_ERROR_CANCELLED, train_once(model, false, &flag, losses[1], gradient[1]), "cancelled");
    flag = 0;
    assert_int_equal(train_once(model, true, &flag, losses[1], gradient[1]), LORA_OK);
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
    lora_model_free(model);
    lora_context_free(context);
}

typedef struct worker {
    const lora_model *model;
    float losses[TOKENS], gradient[VOCABULARY * 16], logits[VOCABULARY];
    lora_status status;
} worker;

static void *work(void *argument)
{
    worker *self = argument;
    for (int i = 0; i < 5 && self->status == LORA_OK; i++) {
        self->status = train_once(self->model, i % 2, NULL, self->losses, self->gradient);
        if (self->status == LORA_OK) self->status = decode_once(self->model, self->logits);
    }
    return NULL;
}

static void passes_run_side_by_side(void **state)
{
    lora_context *context = make_context(NULL, 2);
    lora_model *model = make_model(context, state);
    static worker workers[5];
    pthread_t threads[4];
    for (int i = 0; i < 5; i++) workers[i] = (worker){.model = model};
    work(&workers[4]);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].status, LORA_OK);
        assert_memory_equal(workers[i].losses, workers[4].losses, sizeof workers[4].losses);
        assert_memory_equal(workers[i].gradient, workers[4].gradient, sizeof workers[4].gradient);
        assert_memory_equal(workers[i].logits, workers[4].logits, sizeof workers[4].logits);
    }
    lora_model_free(model);
    lora_context_free(context);
}

typedef struct progress {
    double last;
    int calls, stop_at;
} progress;

static int32_t note_progress(double fraction, void *user)
{
    progress *self = user;
    assert_true(fraction > self->last && fraction <= 1.0);
    self->last = fraction;
    return ++self->calls == self->stop_at;
}

static void loading_reports_and_stops(void **state)
{
    put_model(state);
    lora_context *context = make_context(NULL, 1);
    lora_model *model = NULL;
    progress whole = {0}, cut = {.stop_at = 5};
    lora_model_options options;
    lora_model_options_init(&options);
    options.progress = note_progress;
    options.progress_user = &cut;
    assert_fails(LORA_ERROR_CANCELLED, lora_model_load(context, *state, &options, &model), "cancelled");
    assert_null(model);
    options.progress_user = &whole;
    assert_int_equal(lora_model_load(context, *state, &options, &model), LORA_OK);
    assert_true(whole.last == 1.0 && whole.calls > 5);
    lora_model_free(model);
    lora_context_free(context);
}

// The handle and what the header says of it; a base may be freed before the model that was derived from it.
static void handles_and_accessors(void **state)
{
    lora_context *context = make_context(NULL, 1);
    lora_model *model = make_model(context, state), *derived = NULL;
    int64_t a, b;
    float one;
    lora_model_info info = {.struct_size = sizeof info};
    assert_int_equal(lora_model_get_info(model, &info), LORA_OK);
    assert_string_equal(info.family, "qwen3");
    assert_int_equal(info.head_dim, 8);
    assert_int_equal(model->stack.window, 6);
    assert_false(model->stack.layer_is_windowed[0]);
    assert_true(model->stack.layer_is_windowed[1]);
    assert_int_equal(model->stack.end_token_count, 2);
    assert_int_equal(lora_model_module_count(model), 2 * 7 + 1);
    assert_string_equal(lora_model_module_name(model, 1), "model.layers.0.self_attn.k_proj");
    assert_int_equal(lora_model_module_shape(model, 1, &a, &b), LORA_OK);
    assert_int_equal(a, 16);
    assert_int_equal(b, 16);
    assert_null(lora_model_module_name(model, 15));
    assert_null(lora_model_tensor_name(model, 10000));
    assert_null(lora_model_tokenizer(model));
    assert_fails(LORA_ERROR_ARGUMENT, lora_model_module_shape(model, 15, &a, &b), "has 15 linear layers");
    assert_fails(LORA_ERROR_ARGUMENT, lora_model_tensor_shape(NULL, 0, &a, &b), "NULL");
    assert_fails(LORA_ERROR_ARGUMENT, lora_model_tensor_read(model, 0, &one, 1), "50 x 16");
    assert_fails(LORA_ERROR_ARGUMENT, lora_model_load(context, "", NULL, &model), "empty");
    assert_fails(LORA_ERROR_ARGUMENT, lora_model_load(NULL, "x", NULL, &model), "NULL");

    float losses[2][TOKENS], gradient[2][VOCABULARY * 16];
    assert_int_equal(train_once(model, false, NULL, losses[0], gradient[0]), LORA_OK);
    assert_int_equal(lr_model_derive(model, &derived), LORA_OK);
    assert_int_equal(lr_model_finish(derived), LORA_OK);
    assert_true(derived->fingerprint == model->fingerprint);
    lora_model_free(model);
    lora_context_free(context);
    assert_int_equal(train_once(derived, LORA_RECOMPUTE_NONE, NULL, losses[1], gradient[1]), LORA_OK);
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
    lora_model_free(derived);
    lora_model_free(NULL);
}

// A program that was built against a release with fewer options.
static void older_options_are_taken(void **state)
{
    put_model(state);
    lora_context *context = make_context(NULL, 1);
    lora_model *model = NULL;
    lora_model_options options;
    lora_model_options_init(&options);
    options.struct_size = offsetof(lora_model_options, seed);
    options.check_finite = 77; // beyond the older struct: not looked at
    assert_int_equal(lora_model_load(context, *state, &options, &model), LORA_OK);
    lora_model_free(model);
    options.struct_size = 0;
    assert_fails(LORA_ERROR_ARGUMENT, lora_model_load(context, *state, &options, &model), "_init");
    lora_context_free(context);
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(every_allocation_may_fail),
        IN_DIRECTORY(plans_are_kept),
        IN_DIRECTORY(cancelling_leaves_the_model_usable),
        IN_DIRECTORY(passes_run_side_by_side),
        IN_DIRECTORY(loading_reports_and_stops),
        IN_DIRECTORY(handles_and_accessors),
        IN_DIRECTORY(older_options_are_taken),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
