// What surrounds the steps: evaluation, early stopping, cancelling, one writer at a time.
#include "fixture.h"

#include <math.h>
#include <stdio.h>

static fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_open(&f, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

// ---- evaluation ----------------------------------------------------------------------------------------------------

// The loss of the validation rows is what a step that learns nothing from all of them, one row a micro-batch, says.
static void evaluation_is_the_mean_over_label_tokens(void **state)
{
    (void)state;
    f.options.validation = f.validation;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_step_info info = {.struct_size = sizeof info};
    for (int i = 0; i < 3; i++) assert_ok(lora_trainer_step(trainer, &info));
    double loss;
    assert_ok(lora_trainer_evaluate(trainer, &loss));
    lora_trainer_free(trainer);
    f.options.learning_rate = 0;
    f.options.batch_size = 1;
    f.options.gradient_accumulation = 100;
    assert_ok(lora_trainer_create(adapter, f.validation, &f.options, &trainer));
    assert_ok(lora_trainer_step(trainer, &info));
    assert_true(fabs(loss - info.loss) < 1e-6 * loss);
    assert_true(fabs(info.eval_loss - info.loss) < 1e-6 * loss);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

static void evaluations_fall_due(void **state)
{
    (void)state;
    f.options.validation = f.validation;
    f.options.max_steps = 8; // an epoch has 6
    for (int64_t every = 0; every <= 3; every += 3) {
        f.options.eval_steps = every;
        lora_adapter *adapter = fixture_adapter(&f);
        lora_trainer *trainer = fixture_trainer(&f, adapter);
        for (int64_t step = 1; step <= 8; step++) {
            lora_step_info info = {.struct_size = sizeof info};
            assert_ok(lora_trainer_step(trainer, &info));
            bool due = step == 8 || step % (every ? every : 6) == 0;
            assert_int_equal(!isnan(info.eval_loss), due);
        }
        lora_trainer_free(trainer);
        lora_adapter_free(adapter);
    }
}

typedef struct watch {
    lora_adapter *adapter;
    numbers best;
    double best_loss;
    int evaluations, since_best;
    int64_t stop_at, steps;
} watch;

static int32_t watch_step(const lora_step_info *info, void *user)
{
    watch *w = user;
    w->steps = info->step;
    if (!isnan(info->eval_loss)) {
        w->evaluations++;
        w->since_best++;
        assert_int_equal(info->improved, w->evaluations == 1 || info->eval_loss < w->best_loss);
        if (info->improved) {
            free_numbers(w->best);
            w->best = read_numbers(w->adapter);
            w->best_loss = info->eval_loss;
            w->since_best = 0;
        }
    }
    return info->step == w->stop_at;
}

// Random rows can be learnt by heart but teach nothing about others: the validation loss soon rises.
static void early_stopping_keeps_the_best(void **state)
{
    (void)state;
    f.options.validation = f.validation;
    f.options.max_steps = 300;
    f.options.learning_rate = 0.05;
    f.options.eval_steps = 4;
    f.options.early_stopping = 3;
    watch w = {.adapter = fixture_adapter(&f)};
    lora_trainer *trainer = fixture_trainer(&f, w.adapter);
    assert_ok(lora_trainer_run(trainer, watch_step, &w));
    assert_true(w.steps < 300);
    assert_int_equal(w.since_best, 3);
    assert_same_bits(read_numbers(w.adapter), w.best);
    double loss;
    assert_ok(lora_trainer_evaluate(trainer, &loss));
    assert_true(loss == w.best_loss);
    lora_step_info info = {.struct_size = sizeof info};
    assert_status(lora_trainer_step(trainer, &info), LORA_ERROR_STATE);
    lora_trainer_free(trainer);
    lora_adapter_free(w.adapter);
}

static void a_callback_stops_the_run(void **state)
{
    (void)state;
    char output[128];
    snprintf(output, sizeof output, "%s", fixture_path(&f, "out"));
    f.options.output = output;
    watch w = {.adapter = fixture_adapter(&f), .stop_at = 4};
    lora_trainer *trainer = fixture_trainer(&f, w.adapter);
    assert_status(lora_trainer_run(trainer, watch_step, &w), LORA_ERROR_CANCELLED);
    assert_int_equal(w.steps, 4);
    assert_true(lr_path_exists(fixture_path(&f, "out/checkpoint-4/checksums.json")));
    w.stop_at = 0;
    assert_ok(lora_trainer_run(trainer, watch_step, &w)); // and goes on
    assert_int_equal(w.steps, 18);
    lora_trainer_free(trainer);
    lora_adapter_free(w.adapter);
}

// ---- cancelling ----------------------------------------------------------------------------------------------------

// The context's parallel-for, which cancels the trainer in the middle of its `at`-th job.
typedef struct canceller {
    lora_trainer *trainer;
    int64_t jobs, at;
} canceller;

static void run_and_cancel(int64_t count, void (*task)(int64_t index, void *argument), void *argument, void *user)
{
    canceller *c = user;
    for (int64_t i = 0; i < count; i++) {
        if (i == 0 && ++c->jobs == c->at) lora_trainer_cancel(c->trainer);
        task(i, argument);
    }
}

typedef struct cancels {
    int steps, evaluations;
} cancels;

// A run whose steps are cancelled at their `stride`-th job; stride 0: never.
static numbers run_cancelled(canceller *c, int64_t stride, cancels *count)
{
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    *c = (canceller){.trainer = trainer};
    int64_t step = 0, failures = 0;
    while (step < 7) {
        // Each failure postpones the next cancel, so that the step gets through in the end.
        c->at = stride ? c->jobs + stride * (1 + failures) : 0;
        lora_step_info info = {.struct_size = sizeof info};
        lora_status status = lora_trainer_step(trainer, &info);
        if (status == LORA_ERROR_CANCELLED) {
            failures++;
            if (trainer->progress.evaluation_due) count->evaluations++;
            else count->steps++;
            continue;
        }
        assert_ok(status);
        assert_int_equal(info.step, ++step);
        assert_int_equal(isnan(info.eval_loss), step % 2 != 0 && step != 7);
        failures = 0;
        c->at = 0;
    }
    lora_trainer_free(trainer);
    numbers result = read_numbers(adapter);
    lora_adapter_free(adapter);
    return result;
}

static void open_cancelling(canceller *c)
{
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = 2;
    options.parallel_for = run_and_cancel;
    options.parallel_for_user = c;
    fixture_close(&f);
    fixture_open(&f, &options);
    f.options.validation = f.validation;
    f.options.eval_steps = 2;
    f.options.max_steps = 7;
    f.options.gradient_accumulation = 2;
    f.adapter_options.lora_dropout = 0.1f;
}

static void a_cancelled_step_is_done_again_with_the_same_bits(void **state)
{
    (void)state;
    canceller c = {0};
    open_cancelling(&c);
    cancels none = {0}, count = {0};
    numbers expected = run_cancelled(&c, 0, &none);
    assert_int_equal(none.steps + none.evaluations, 0);
    int64_t jobs = c.jobs / 7; // of a step, the evaluation after every second shared out
    for (int64_t stride = 1; stride < jobs * 3 / 2; stride += jobs / 12 + 1) {
        numbers found = run_cancelled(&c, stride, &count);
        assert_int_equal(found.count, expected.count);
        assert_memory_equal(found.values, expected.values, found.count * sizeof(float));
        free_numbers(found);
    }
    assert_true(count.steps >= 20);
    assert_true(count.evaluations >= 3);
    free_numbers(expected);
}

// Stopped inside an evaluation: the checkpoint says that it is still due.
static void a_cancelled_evaluation_survives_a_resume(void **state)
{
    (void)state;
    canceller c = {0};
    char output[128];
    open_cancelling(&c);
    snprintf(output, sizeof output, "%s", fixture_path(&f, "out"));
    numbers expected = run_cancelled(&c, 0, &(cancels){0});
    f.options.output = output;
    bool due = false;
    for (int64_t at = 1; !due; at++) {
        assert_ok(lr_remove_tree(output));
        lora_adapter *adapter = fixture_adapter(&f);
        lora_trainer *trainer = fixture_trainer(&f, adapter);
        c = (canceller){.trainer = trainer, .at = at};
        assert_status(lora_trainer_run(trainer, NULL, NULL), LORA_ERROR_CANCELLED);
        due = trainer->progress.evaluation_due;
        lora_trainer_free(trainer);
        lora_adapter_free(adapter);
    }
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    int64_t step;
    assert_ok(lora_trainer_resume(trainer, &step));
    assert_int_equal(step, 2);
    lora_step_info info = {.struct_size = sizeof info};
    assert_ok(lora_trainer_step(trainer, &info));
    assert_int_equal(info.step, 2);
    assert_true(info.loss > 0 && info.eval_loss > 0);
    while (!info.done) assert_ok(lora_trainer_step(trainer, &info));
    lora_trainer_free(trainer);
    assert_same_bits(read_numbers(adapter), expected);
    lora_adapter_free(adapter);
}

static void a_cancel_between_steps_stops_the_next(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    numbers before = read_numbers(adapter);
    lora_trainer_cancel(trainer);
    assert_status(lora_trainer_run(trainer, NULL, NULL), LORA_ERROR_CANCELLED);
    assert_same_bits(before, read_numbers(adapter));
    assert_ok(lora_trainer_run(trainer, NULL, NULL));
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// ---- one at a time -------------------------------------------------------------------------------------------------

static void an_output_has_one_writer(void **state)
{
    (void)state;
    char output[128];
    snprintf(output, sizeof output, "%s", fixture_path(&f, "out"));
    f.options.output = output;
    lora_adapter *adapter = fixture_adapter(&f), *other = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter), *second;
    assert_status(lora_trainer_create(other, f.data, &f.options, &second), LORA_ERROR_BUSY);
    lora_trainer_free(trainer);
    assert_ok(lora_trainer_create(other, f.data, &f.options, &second));
    lora_trainer_free(second);
    lora_adapter_free(adapter);
    lora_adapter_free(other);
}

static void an_adapter_has_one_trainer(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter), *second;
    assert_status(lora_trainer_create(adapter, f.data, &f.options, &second), LORA_ERROR_BUSY);
    lora_trainer_free(trainer);
    trainer = fixture_trainer(&f, adapter);
    lora_adapter_free(adapter); // the trainer keeps what it was made from
    lora_step_info info = {.struct_size = sizeof info};
    assert_ok(lora_trainer_step(trainer, &info));
    lora_trainer_free(trainer);
}

static void data_that_changes_is_noticed(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_step_info info = {.struct_size = sizeof info};
    assert_ok(lora_trainer_step(trainer, &info));
    assert_ok(lora_dataset_add(f.data, (int32_t[]){1, 2}, NULL, 2));
    assert_status(lora_trainer_step(trainer, &info), LORA_ERROR_STATE);
    assert_message("data was changed");
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(evaluation_is_the_mean_over_label_tokens),
        WITH_FIXTURE(evaluations_fall_due),
        WITH_FIXTURE(early_stopping_keeps_the_best),
        WITH_FIXTURE(a_callback_stops_the_run),
        WITH_FIXTURE(a_cancelled_step_is_done_again_with_the_same_bits),
        WITH_FIXTURE(a_cancelled_evaluation_survives_a_resume),
        WITH_FIXTURE(a_cancel_between_steps_stops_the_next),
        WITH_FIXTURE(an_output_has_one_writer),
        WITH_FIXTURE(an_adapter_has_one_trainer),
        WITH_FIXTURE(data_that_changes_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
