// Memory plans: what is planned is what is allocated, and a budget is kept without changing what is learnt.
#include "fixture.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fixture f;

// ---- an allocator that counts, and fails when told to --------------------------------------------------------------

static atomic_llong calls, fail_at, blocks;
static atomic_ullong held, most;

static bool refused(void)
{
    long long at = atomic_load(&fail_at);
    return at > 0 && atomic_fetch_add(&calls, 1) + 1 >= at;
}

static void hold(size_t size)
{
    unsigned long long now = atomic_fetch_add(&held, size) + size, before = atomic_load(&most);
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) continue;
}

static void *counted_allocate(size_t size, void *user)
{
    (void)user;
    if (refused()) return NULL;
    size_t *block = malloc(size + 16);
    *block = size;
    hold(size);
    atomic_fetch_add(&blocks, 1);
    return (char *)block + 16;
}

static void counted_release(void *block, void *user)
{
    (void)user;
    size_t *start = (size_t *)(void *)((char *)block - 16);
    atomic_fetch_sub(&held, *start);
    atomic_fetch_sub(&blocks, 1);
    free(start);
}

static void *counted_reallocate(void *block, size_t size, void *user)
{
    size_t old = *(size_t *)(void *)((char *)block - 16);
    void *grown = counted_allocate(size, user);
    if (!grown) return NULL;
    memcpy(grown, block, old < size ? old : size);
    counted_release(block, user);
    return grown;
}

static const lora_allocator counting = {counted_allocate, counted_reallocate, counted_release, NULL};

static void open_counting(void)
{
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = 2;
    options.allocator = &counting;
    fail_at = 0;
    fixture_open(&f, &options);
    f.options.batch_size = 8;
    f.options.max_steps = 3;
}

static int setup(void **state)
{
    (void)state;
    open_counting();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    assert_int_equal(blocks, 0);
    return 0;
}

static lora_memory_plan plan_of(const lora_trainer *trainer)
{
    lora_memory_plan plan = {.struct_size = sizeof plan};
    assert_ok(lora_trainer_plan(trainer, &plan));
    assert_int_equal(plan.total, plan.weights + plan.adapter + plan.gradients + plan.optimizer + plan.activations +
                                     plan.workspace + plan.kv_cache + plan.other);
    return plan;
}

// ---- what is planned -----------------------------------------------------------------------------------------------

// Of the planned bytes, those that creating a trainer and training take.
static void the_plan_is_what_is_allocated(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++)
        for (int recompute = LORA_RECOMPUTE_NONE; recompute <= LORA_RECOMPUTE_MLP; recompute++) {
            fixture_close(&f); // a new context: the device keeps its workspace
            open_counting();
            f.adapter_options.full = full;
            f.options.recompute = recompute;
            lora_adapter *adapter = fixture_adapter(&f);
            uint64_t before = atomic_load(&held);
            atomic_store(&most, before);
            lora_trainer *trainer = fixture_trainer(&f, adapter);
            uint64_t created = atomic_load(&held);
            lora_memory_plan plan = plan_of(trainer);
            double planned = (double)(plan.gradients + plan.optimizer + plan.activations + plan.workspace);
            double taken = (double)(created - before) - LR_HISTORY_CAPACITY * (double)sizeof(lr_history_entry);
            if (fabs(taken - planned) > 0.05 * planned + 65536) fail_msg("planned %.0f, took %.0f", planned, taken);
            lora_step_info info = {.struct_size = sizeof info};
            for (int i = 0; i < 3; i++) assert_ok(lora_trainer_step(trainer, &info));
            assert_true(atomic_load(&most) <= created + 4096); // nothing grows but an epoch's order of rows
            lora_trainer_free(trainer);
            lora_adapter_free(adapter);
        }
}

static void compare_outline(void)
{
    lora_adapter *adapter = fixture_adapter(&f);
    lr_tensor_set set;
    lr_binding *binding;
    assert_ok(lr_tensor_set_create(adapter, &set));
    assert_ok(lr_binding_create_training(adapter, set.views, &binding));
    lr_plan_request request = {.model = f.model};
    assert_ok(lr_plan_outline(f.model, &f.adapter_options, &request));
    assert_int_equal(request.numbers, lr_tensor_set_numbers(adapter));
    assert_int_equal(request.pass.max_rank, binding->max_rank);
    assert_int_equal(request.pass.trains_pairs, binding->trains_pairs);
    assert_int_equal(request.pass.trains_tensors, binding->trains_tensors);
    assert_int_equal(request.pass.plain_head, binding->plain_head);
    assert_int_equal(request.pass.first_trained_layer, binding->first_trained_layer);
    lr_binding_free(binding);
    lr_tensor_set_free(adapter, &set);
    lora_adapter_free(adapter);
}

static void an_outline_is_the_adapter(void **state)
{
    (void)state;
    static const char *const all[] = {"all-linear"}, *const saved[] = {"lm_head"},
                             *const embedding[] = {"embed_tokens"};
    static const int32_t second[] = {1};
    static const lora_pattern ranks[] = {{"v_proj", 9}};
    compare_outline();
    f.adapter_options.rank_pattern = ranks;
    f.adapter_options.rank_pattern_count = 1;
    f.adapter_options.layers_to_transform = second;
    f.adapter_options.layer_count = 1;
    compare_outline();
    f.adapter_options.target_modules = all;
    f.adapter_options.target_module_count = 1;
    compare_outline();
    f.adapter_options.modules_to_save = saved;
    f.adapter_options.module_to_save_count = 1;
    compare_outline();
    f.adapter_options.modules_to_save = embedding;
    f.adapter_options.bias = LORA_BIAS_ALL;
    compare_outline();
    f.adapter_options.full = 1;
    compare_outline();
}

// With rows that are all as long as is said, the plan before loading data is the trainer's, but for the data itself.
static void planning_ahead_agrees_with_the_trainer(void **state)
{
    (void)state;
    int32_t ids[16];
    for (int i = 0; i < 16; i++) ids[i] = i;
    lora_dataset_free(f.data);
    assert_ok(lora_dataset_create(f.context, &f.data));
    for (int row = 0; row < 16; row++) assert_ok(lora_dataset_add(f.data, ids, NULL, 16));
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_memory_plan plan = plan_of(trainer), ahead = {.struct_size = sizeof ahead};
    assert_ok(lora_plan_training(f.model, &f.adapter_options, &f.options, 16, &ahead));
    plan.total -= plan.other;
    ahead.total -= ahead.other;
    plan.other = ahead.other;
    assert_memory_equal(&plan, &ahead, sizeof plan);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

static void inference_is_planned(void **state)
{
    (void)state;
    lora_memory_plan plan = {.struct_size = sizeof plan};
    assert_ok(lora_plan_inference(f.model, 40, &plan));
    // keys and values, layers, tokens of a page, heads, numbers, bytes
    assert_int_equal(plan.kv_cache, 2 * 2 * 64 * 2 * 8 * 4);
    lora_session_options options;
    lora_session_options_init(&options);
    options.context_length = 64, options.cache_type = LORA_TYPE_F16;
    lora_memory_plan half = {.struct_size = sizeof half};
    assert_ok(lora_plan_session(f.model, &options, &half));
    assert_int_equal(half.kv_cache, plan.kv_cache / 2);
    assert_int_equal(plan.gradients, 0);
    assert_true(plan.total > plan.weights + plan.kv_cache);
    assert_status(lora_plan_inference(f.model, 65, &plan), LORA_ERROR_ARGUMENT);
    assert_status(lora_plan_training(f.model, NULL, NULL, 65, &plan), LORA_ERROR_ARGUMENT);
}

// ---- budgets -------------------------------------------------------------------------------------------------------

static numbers train(lora_memory_plan *plan)
{
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    *plan = plan_of(trainer);
    assert_ok(lora_trainer_run(trainer, NULL, NULL));
    lora_trainer_free(trainer);
    numbers result = read_numbers(adapter);
    lora_adapter_free(adapter);
    return result;
}

static void a_budget_splits_the_batch(void **state)
{
    (void)state;
    lora_memory_plan plan;
    numbers expected = train(&plan);
    assert_int_equal(plan.micro_batch, 8);
    assert_int_equal(plan.recompute, 0);
    int32_t micro_batch = 8, recompute = 0;
    uint64_t total = plan.total;
    lora_status status = LORA_OK;
    while (!(micro_batch == 1 && recompute == LORA_RECOMPUTE_ALL)) {
        f.options.memory_budget = total - 1;
        lora_adapter *adapter = fixture_adapter(&f);
        lora_trainer *trainer;
        status = lora_trainer_create(adapter, f.data, &f.options, &trainer);
        if (status == LORA_OK) lora_trainer_free(trainer);
        lora_adapter_free(adapter);
        if (status != LORA_OK) break;
        numbers found = train(&plan);
        assert_true(plan.total < total);
        assert_true(recompute != plan.recompute || plan.micro_batch < micro_batch);
        numbers copy = {malloc(expected.count * sizeof(float)), expected.count};
        memcpy(copy.values, expected.values, expected.count * sizeof(float));
        assert_true(relative_difference(found, copy) < 1e-4);
        total = plan.total;
        micro_batch = plan.micro_batch;
        recompute = plan.recompute;
    }
    assert_true(micro_batch < 8);
    free_numbers(expected);
    f.options.memory_budget = 1000;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer;
    assert_status(lora_trainer_create(adapter, f.data, &f.options, &trainer), LORA_ERROR_BUDGET);
    assert_message("the least that this run can do with");
    lora_adapter_free(adapter);
    lora_memory_plan ahead = {.struct_size = sizeof ahead};
    assert_status(lora_plan_training(f.model, NULL, &f.options, 16, &ahead), LORA_ERROR_BUDGET);
}

// ---- no memory -----------------------------------------------------------------------------------------------------

// A short run with checkpoint, resume and evaluation, in which every allocation from the n-th on fails.
static lora_status short_run(const char *output)
{
    f.options.output = output;
    f.options.validation = f.validation;
    lora_adapter *adapter;
    lora_trainer *trainer = NULL;
    int64_t step;
    lora_status status = lora_adapter_create(f.model, &f.adapter_options, &adapter);
    if (status != LORA_OK) return status;
    status = lora_trainer_create(adapter, f.data, &f.options, &trainer);
    if (status == LORA_OK) status = lora_trainer_resume(trainer, &step);
    if (status == LORA_OK) status = lora_trainer_run(trainer, NULL, NULL);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
    return status;
}

static void every_failing_allocation_is_an_error(void **state)
{
    (void)state;
    char output[128];
    snprintf(output, sizeof output, "%s", fixture_path(&f, "out"));
    f.options.max_steps = 1;
    assert_ok(short_run(output)); // the device keeps its workspace
    long long before = atomic_load(&blocks);
    for (long long n = 1;; n++) {
        assert_ok(lr_remove_tree(output));
        atomic_store(&calls, 0);
        atomic_store(&fail_at, n);
        lora_status status = short_run(output);
        atomic_store(&fail_at, 0);
        assert_int_equal(atomic_load(&blocks), before);
        if (atomic_load(&calls) < n) {
            check_status(status, LORA_OK, "short_run", __FILE__, __LINE__);
            assert_true(n > 50);
            break;
        }
        // Removing old checkpoints and leftovers may fail without harm.
        if (status != LORA_OK) check_status(status, LORA_ERROR_MEMORY, "short_run", __FILE__, __LINE__);
    }
    assert_ok(short_run(output)); // resumes
    assert_int_equal(atomic_load(&blocks), before);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(the_plan_is_what_is_allocated),
        WITH_FIXTURE(an_outline_is_the_adapter),
        WITH_FIXTURE(planning_ahead_agrees_with_the_trainer),
        WITH_FIXTURE(inference_is_planned),
        WITH_FIXTURE(a_budget_splits_the_batch),
        WITH_FIXTURE(every_failing_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
