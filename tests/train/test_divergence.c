// An absurd learning rate: where the run stops, what the message says, and what is kept.
#include "fixture.h"

#include "lib/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f, NULL);
    f.options.output = fixture_path(&f, "run");
    f.options.max_steps = 40;
    f.options.schedule = LORA_SCHEDULE_CONSTANT;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

// Checkpoints under the output: the last one's step, or -1, and how many there are.
static int64_t last_checkpoint(const lora_trainer *trainer, size_t *count)
{
    int64_t *steps, last = -1;
    assert_ok(lr_checkpoint_list(trainer, &steps, count));
    if (*count > 0) last = steps[*count - 1];
    lr_free(&trainer->context->allocator, steps);
    return last;
}

static void assert_finite(const lora_adapter *adapter)
{
    numbers n = read_numbers(adapter);
    for (size_t i = 0; i < n.count; i++) assert_true(isfinite(n.values[i]));
    free_numbers(n);
}

// The tensors before the first update are the last good ones: they are what they were, in the adapter and in a
// checkpoint that loads.
static void nothing_good_but_the_beginning(void **state)
{
    (void)state;
    size_t count;
    f.options.learning_rate = 3e38;
    lora_adapter *adapter = fixture_adapter(&f), *loaded;
    numbers before = read_numbers(adapter);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_status status = lora_trainer_run(trainer, NULL, NULL);
    assert_true(status == LORA_ERROR_NOT_FINITE || status == LORA_ERROR_DIVERGED);
    assert_message("step 2: ");
    assert_message("learning_rate (now 3e+38) is too high");
    assert_message("try learning_rate 0.0002");
    assert_message("/checkpoint-0");
    assert_int_equal(last_checkpoint(trainer, &count), 0);
    assert_status(lora_trainer_run(trainer, NULL, NULL), LORA_ERROR_STATE);
    lora_trainer_free(trainer);
    numbers after = read_numbers(adapter);
    assert_int_equal(before.count, after.count);
    assert_memory_equal(before.values, after.values, before.count * sizeof *before.values);
    free_numbers(before);
    assert_ok(lora_adapter_load(f.model, fixture_path(&f, "run/checkpoint-0"), 1, &loaded));
    assert_same_bits(after, read_numbers(loaded));
    lora_adapter_free(loaded);
    lora_adapter_free(adapter);
}

static int32_t spoil_at_ten(const lora_step_info *info, void *user)
{
    if (info->step == 10) ((lora_trainer *)user)->options.learning_rate = 3e38;
    return 0;
}

// A run that went well at first keeps the checkpoint from then, and loses those from after the last good step.
static void checkpoints_from_before_stay(void **state)
{
    (void)state;
    size_t count;
    f.options.learning_rate = 1e-3;
    f.options.save_steps = 4;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_status status = lora_trainer_run(trainer, spoil_at_ten, trainer);
    assert_true(status == LORA_ERROR_NOT_FINITE || status == LORA_ERROR_DIVERGED);
    assert_message("/checkpoint-8");
    assert_int_equal(last_checkpoint(trainer, &count), 8);
    assert_int_equal(count, 2);
    assert_finite(adapter);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// The limit: twice ln(vocabulary) = 9.13 where the first loss is below ln(vocabulary); and the fifth loss beyond 1.2 of
// it.
static void where_the_limit_is(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    double ignorant = log(FIXTURE_VOCABULARY);
    assert_ok(lr_divergence_check(trainer, 1e6)); // a first loss may be anything
    assert_ok(lr_divergence_keep(trainer, 1));
    trainer->progress.updates = 1;
    assert_ok(lr_divergence_check(trainer, 1.99 * ignorant));
    assert_status(lr_divergence_check(trainer, 2 * ignorant), LORA_ERROR_DIVERGED);
    assert_message("it began at 1)");
    assert_status(lr_divergence_check(trainer, NAN), LORA_ERROR_NOT_FINITE);
    assert_message("not a number");
    for (int i = 0; i < 4; i++) {
        assert_ok(lr_divergence_check(trainer, 1.3 * ignorant));
        assert_ok(lr_divergence_keep(trainer, 1.3 * ignorant));
    }
    assert_status(lr_divergence_check(trainer, 1.3 * ignorant), LORA_ERROR_DIVERGED);
    assert_ok(lr_divergence_check(trainer, 1.1 * ignorant));
    assert_ok(lr_divergence_keep(trainer, 1.1 * ignorant));
    assert_ok(lr_divergence_check(trainer, 1.3 * ignorant));
    trainer->progress.first_loss = 2 * ignorant; // a model that begins worse than ignorant
    assert_ok(lr_divergence_check(trainer, 3.9 * ignorant));
    assert_status(lr_divergence_check(trainer, 4 * ignorant), LORA_ERROR_DIVERGED);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// Without an output nothing is written and the adapter is as before the step.
static void without_an_output(void **state)
{
    (void)state;
    f.options.output = NULL;
    f.options.learning_rate = 3e38;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_status status = lora_trainer_run(trainer, NULL, NULL);
    assert_true(status == LORA_ERROR_NOT_FINITE || status == LORA_ERROR_DIVERGED);
    assert_message("step 2: ");
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(nothing_good_but_the_beginning), TEST(checkpoints_from_before_stay),
                                       TEST(where_the_limit_is), TEST(without_an_output)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
