// What the library leaves in its host: threads only while a context lives, and two contexts that do not disturb each
// other.
#include "tests/fault/tiny.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t thread_count(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

// A thread that was joined may be listed for a moment more.
static void assert_threads(size_t expected)
{
    for (int i = 0; i < 200 && thread_count() != expected; i++) usleep(10000);
    assert_int_equal(thread_count(), expected);
}

static void *nothing(void *argument)
{
    return argument;
}

static void threads_live_with_contexts(void **state)
{
    const tiny *t = *state;
    pthread_t first; // a sanitizer starts its own thread with the first one
    assert_int_equal(pthread_create(&first, NULL, nothing, NULL), 0);
    assert_int_equal(pthread_join(first, NULL), 0);
    usleep(20000);
    const size_t before = thread_count();
    assert_int_equal(lora_abi_version(), LORA_ABI_VERSION);
    assert_threads(before); // loaded and called, but nothing was made
    lora_context *one = tiny_context(3, NULL), *two = tiny_context(2, NULL);
    lora_model *model = tiny_model(t, one);
    assert_threads(before + 3); // the caller is one of each context's threads
    lora_context_free(one);
    lora_model_get_info(model, &(lora_model_info){.struct_size = sizeof(lora_model_info)});
    lora_model_free(model); // was the last to hold `one`
    lora_context_free(two);
    assert_threads(before);
}

// ---- two contexts ---------------------------------------------------------------------------------------------------

#define STEPS 6

typedef struct trained {
    const tiny *tiny;
    int32_t threads;
    uint64_t seed;
    double losses[STEPS];
    float *tensors;
    size_t count;
} trained;

static void keep_tensors(trained *run, const lora_adapter *adapter)
{
    run->count = 0;
    for (size_t i = 0; i < lora_adapter_tensor_count(adapter); i++) {
        int64_t rows, cols;
        assert_ok(lora_adapter_tensor_shape(adapter, i, &rows, &cols));
        const size_t more = (size_t)(rows * cols);
        run->tensors = realloc(run->tensors, (run->count + more) * sizeof(float));
        assert_ok(lora_adapter_tensor_read(adapter, i, run->tensors + run->count, more));
        run->count += more;
    }
}

static void *train(void *argument)
{
    trained *run = argument;
    lora_context *context = tiny_context(run->threads, NULL);
    lora_model *model = tiny_model(run->tiny, context);
    lora_dataset *data = tiny_data(run->tiny, context, model);
    lora_adapter *adapter;
    lora_trainer *trainer;
    lora_adapter_options options;
    lora_trainer_options settings;
    lora_adapter_options_init(&options);
    lora_trainer_options_init(&settings);
    options.r = 4;
    options.lora_dropout = 0.1f;
    options.seed = settings.seed = run->seed;
    settings.max_steps = STEPS;
    settings.batch_size = 2;
    settings.learning_rate = 1e-2;
    assert_ok(lora_adapter_create(model, &options, &adapter));
    assert_ok(lora_trainer_create(adapter, data, &settings, &trainer));
    for (int i = 0; i < STEPS; i++) {
        lora_step_info info = {.struct_size = sizeof info};
        assert_ok(lora_trainer_step(trainer, &info));
        run->losses[i] = info.loss;
    }
    keep_tensors(run, adapter);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
    lora_dataset_free(data);
    lora_model_free(model);
    lora_context_free(context);
    return NULL;
}

static void assert_same(const trained *a, const trained *b)
{
    assert_memory_equal(a->losses, b->losses, sizeof a->losses);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->tensors, b->tensors, a->count * sizeof(float));
}

// Two trainings at once, each in its own context, end with the bits that each has alone.
static void contexts_do_not_disturb_each_other(void **state)
{
    trained alone[2] = {{.tiny = *state, .threads = 2, .seed = 1}, {.tiny = *state, .threads = 1, .seed = 2}};
    trained together[2] = {alone[0], alone[1]};
    pthread_t handles[2];
    for (int i = 0; i < 2; i++) train(&alone[i]);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&handles[i], NULL, train, &together[i]), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(handles[i], NULL), 0);
    for (int i = 0; i < 2; i++) assert_same(&alone[i], &together[i]);
    assert_true(alone[0].losses[0] != alone[1].losses[0]);
    for (int i = 0; i < 2; i++) {
        free(alone[i].tensors);
        free(together[i].tensors);
    }
}

// The message belongs to the thread whose call failed.
static void *fail_elsewhere(void *argument)
{
    (void)argument;
    lora_model *model;
    lora_context *context = tiny_context(1, NULL);
    assert_status(LORA_ERROR_NOT_FOUND, lora_model_load(context, "/nowhere/elsewhere", NULL, &model));
    lora_context_free(context);
    return NULL;
}

static void messages_belong_to_threads(void **state)
{
    (void)state;
    lora_model *model;
    lora_context *context = tiny_context(1, NULL);
    assert_status(LORA_ERROR_NOT_FOUND, lora_model_load(context, "/nowhere/here", NULL, &model));
    pthread_t handle;
    assert_int_equal(pthread_create(&handle, NULL, fail_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(handle, NULL), 0);
    assert_non_null(strstr(lora_error_message(), "/nowhere/here"));
    lora_context_free(context);
}

static int open_tiny(void **state)
{
    static tiny t;
    tiny_open(&t);
    *state = &t;
    return 0;
}

static int close_tiny(void **state)
{
    tiny_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_live_with_contexts),
        cmocka_unit_test(contexts_do_not_disturb_each_other),
        cmocka_unit_test(messages_belong_to_threads),
    };
    return cmocka_run_group_tests(tests, open_tiny, close_tiny);
}
