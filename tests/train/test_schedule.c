// The schedules against values of transformers 5.23 (get_scheduler over a torch optimizer), and the log of a long run.
#include "fixture.h"

#include <math.h>

typedef struct expected_schedule {
    int32_t schedule;
    int64_t warmup, total;
    double factors[10];
} expected_schedule;

static const expected_schedule expected[] = {
    {LORA_SCHEDULE_CONSTANT, 0, 5, {1, 1, 1, 1, 1}},
    {LORA_SCHEDULE_CONSTANT, 2, 6, {0, 0.5, 1, 1, 1, 1}},
    {LORA_SCHEDULE_CONSTANT, 7, 4, {0, 0.14285714285714285, 0.2857142857142857, 0.42857142857142855}},
    {LORA_SCHEDULE_LINEAR, 0, 5, {1, 0.8, 0.6, 0.4, 0.2}},
    {LORA_SCHEDULE_LINEAR, 2, 6, {0, 0.5, 1, 0.75, 0.5, 0.25}},
    {LORA_SCHEDULE_LINEAR, 3, 10, {0, 0.3333333333333333, 0.6666666666666666, 1, 0.8571428571428571, 0.7142857142857143,
                                   0.5714285714285714, 0.42857142857142855, 0.2857142857142857, 0.14285714285714285}},
    {LORA_SCHEDULE_LINEAR, 5, 5, {0, 0.2, 0.4, 0.6, 0.8}},
    {LORA_SCHEDULE_LINEAR, 1, 1, {0}},
    {LORA_SCHEDULE_COSINE, 0, 5, {1, 0.9045084971874737, 0.6545084971874737, 0.34549150281252633, 0.09549150281252633}},
    {LORA_SCHEDULE_COSINE, 2, 6, {0, 0.5, 1, 0.8535533905932737, 0.5, 0.14644660940672627}},
    {LORA_SCHEDULE_COSINE, 3, 10, {0, 0.3333333333333333, 0.6666666666666666, 1, 0.9504844339512095, 0.8117449009293668,
                                   0.6112604669781572, 0.38873953302184283, 0.18825509907063326, 0.04951556604879048}},
    {LORA_SCHEDULE_COSINE, 7, 4, {0, 0.14285714285714285, 0.2857142857142857, 0.42857142857142855}},
};

static void schedules_are_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        for (int64_t step = 0; step < expected[i].total; step++) {
            double factor = lr_schedule_factor(expected[i].schedule, expected[i].warmup, expected[i].total, step);
            if (fabs(factor - expected[i].factors[step]) < 1e-14) continue;
            fail_msg("schedule %zu, step %d: %.17g, expected %.17g", i, (int)step, factor, expected[i].factors[step]);
        }
}

// transformers' get_warmup_steps: int(w) for w >= 1, else ceil(total * w).
static void warmup_is_steps_or_a_share(void **state)
{
    (void)state;
    assert_int_equal(lr_warmup_steps(0, 100), 0);
    assert_int_equal(lr_warmup_steps(0.03, 100), 3);
    assert_int_equal(lr_warmup_steps(0.05, 101), 6);
    assert_int_equal(lr_warmup_steps(1, 100), 1);
    assert_int_equal(lr_warmup_steps(2.5, 100), 2);
    assert_int_equal(lr_warmup_steps(500, 100), 500);
}

static void a_long_log_keeps_its_shape(void **state)
{
    (void)state;
    lr_history history;
    assert_ok(lr_history_create(&lr_system_allocator, &history));
    for (int64_t step = 1; step <= 50000; step++) {
        double eval_loss = step % 5000 == 0 ? 1.5 : NAN;
        lr_history_add(&history, &(lr_history_entry){.step = step, .loss = (double)step, .eval_loss = eval_loss});
    }
    assert_true(history.count <= LR_HISTORY_CAPACITY && history.count > LR_HISTORY_CAPACITY / 4);
    int evaluations = 0;
    for (size_t i = 0; i < history.count; i++) {
        assert_true(i == 0 || history.entries[i].step > history.entries[i - 1].step);
        evaluations += !isnan(history.entries[i].eval_loss);
    }
    assert_int_equal(evaluations, 10);
    lr_free(&lr_system_allocator, history.entries);
}

// A log of evaluations only has nothing else to drop.
static void a_log_of_evaluations_is_bounded(void **state)
{
    (void)state;
    lr_history history;
    assert_ok(lr_history_create(&lr_system_allocator, &history));
    for (int64_t step = 1; step <= 3 * LR_HISTORY_CAPACITY; step++)
        lr_history_add(&history, &(lr_history_entry){.step = step, .eval_loss = 1});
    assert_true(history.count <= LR_HISTORY_CAPACITY);
    assert_int_equal(history.entries[history.count - 1].step, 3 * LR_HISTORY_CAPACITY);
    lr_free(&lr_system_allocator, history.entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_are_transformers),
        cmocka_unit_test(warmup_is_steps_or_a_share),
        cmocka_unit_test(a_long_log_keeps_its_shape),
        cmocka_unit_test(a_log_of_evaluations_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
