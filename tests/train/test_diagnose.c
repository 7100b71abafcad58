// Verdicts on curves made by hand: each rule with a curve that it decides, and one beside its threshold.
#include "tests/lib/support.h"

#include <lora/diagnose.h>
#include <math.h>

#define MOST 400

typedef struct curve {
    lora_curve_point points[MOST];
    size_t count;
} curve;

// Steps with losses that go in a line from `from` to `to`, with a saw of `noise` on them.
static void add(curve *c, size_t steps, double from, double to, double noise)
{
    for (size_t i = 0; i < steps; i++, c->count++) {
        double share = steps > 1 ? (double)i / (double)(steps - 1) : 1;
        c->points[c->count] = (lora_curve_point){.step = (int64_t)c->count + 1,
                                                 .epoch = (double)(c->count + 1) / 10,
                                                 .loss = from + share * (to - from) + (i % 2 ? noise : -noise),
                                                 .eval_loss = NAN};
    }
}

static void evaluated(curve *c, double loss) { c->points[c->count - 1].eval_loss = loss; }

static lora_diagnosis judge(const curve *c)
{
    lora_diagnosis d = {.struct_size = sizeof d};
    assert_int_equal(lora_diagnose(c->points, c->count, &d), LORA_OK);
    assert_non_null(d.english);
    assert_non_null(d.chinese);
    return d;
}

static void test_good(void **state)
{
    curve c = {.count = 0};
    add(&c, 20, 3, 2, 0.05), evaluated(&c, 2.2);
    add(&c, 20, 2, 1.6, 0.05), evaluated(&c, 2.0);
    add(&c, 20, 1.6, 1.5, 0.05), evaluated(&c, 1.99);
    lora_diagnosis d = judge(&c);
    assert_int_equal(d.fit, LORA_FIT_GOOD);
    assert_true(fabs(d.best_eval_loss - 1.99) < 1e-12);
    assert_true(fabs(d.best_epoch - 6) < 1e-12);
    assert_string_equal(lora_fit_name(d.fit), "good");
    // The mean of the first six losses: 3 down to 3 - 5/19, the saw cancels.
    assert_true(fabs(d.first_loss - (3 - 2.5 / 19)) < 1e-12);
}

static void test_overfitted(void **state)
{
    curve c = {.count = 0};
    add(&c, 20, 3, 2, 0), evaluated(&c, 2.0);
    add(&c, 20, 2, 1.6, 0), evaluated(&c, 2.05);
    assert_int_equal(judge(&c).fit, LORA_FIT_GOOD); // 2.5 % past the best
    evaluated(&c, 2.07);
    assert_int_equal(judge(&c).fit, LORA_FIT_OVER); // 3.5 %
    c.count = 0;
    add(&c, 20, 3, 1, 0), evaluated(&c, 2.0);
    add(&c, 20, 1, 0.2, 0), evaluated(&c, 1.99); // learnt by heart, and held-out rows gain nothing
    lora_diagnosis d = judge(&c);
    assert_int_equal(d.fit, LORA_FIT_OVER);
    assert_true(d.last_loss < 0.4);
    evaluated(&c, 1.9); // they still gain
    assert_int_equal(judge(&c).fit, LORA_FIT_UNDER);
}

static void test_underfitted(void **state)
{
    curve c = {.count = 0};
    add(&c, 40, 3, 2.9, 0.01);
    assert_int_equal(judge(&c).fit, LORA_FIT_UNDER); // hardly anything
    c.count = 0;
    add(&c, 40, 3, 1, 0.01);
    assert_int_equal(judge(&c).fit, LORA_FIT_UNDER); // still falling
    c.count = 0;
    add(&c, 20, 3, 2, 0), evaluated(&c, 2.4);
    add(&c, 20, 2, 1.6, 0), evaluated(&c, 2.36);
    assert_int_equal(judge(&c).fit, LORA_FIT_GOOD); // 1.7 % better than before
    evaluated(&c, 2.3);
    assert_int_equal(judge(&c).fit, LORA_FIT_UNDER); // 4.2 %
}

static void test_unstable(void **state)
{
    curve c = {.count = 0};
    add(&c, 40, 2, 3, 0.1);
    assert_int_equal(judge(&c).fit, LORA_FIT_UNSTABLE);
    c.count = 0;
    add(&c, 1, 6.5, 6.5, 0), add(&c, 10, 10, 10, 0), add(&c, 80, 9, 8, 0.2); // leapt, and not back
    assert_int_equal(judge(&c).fit, LORA_FIT_UNSTABLE);
    c.count = 0;
    add(&c, 20, 3, 2, 0), evaluated(&c, INFINITY);
    assert_int_equal(judge(&c).fit, LORA_FIT_UNSTABLE);
    c.count = 0;
    for (int i = 0; i < 10; i++) add(&c, 1, i % 3 ? 6.4 : 5.8, 0, i % 3 ? 6.6 : 6); // batches of unlike rows, no trend
    c.points[0].loss = 5.8, c.points[9].loss = 6.8;
    assert_int_not_equal(judge(&c).fit, LORA_FIT_UNSTABLE);
}

static void test_unknown(void **state)
{
    curve c = {.count = 0};
    assert_int_equal(judge(&c).fit, LORA_FIT_UNKNOWN);
    add(&c, 3, 3, 1, 0);
    assert_int_equal(judge(&c).fit, LORA_FIT_UNKNOWN);
    c.points[1].loss = NAN;
    c.count = 0;
    add(&c, 20, 3, 1, 0), add(&c, 40, 1, 0.95, 0.02);
    lora_diagnosis d = judge(&c);
    assert_int_equal(d.fit, LORA_FIT_UNKNOWN); // levelled off, but nobody looked at held-out rows
    assert_true(isnan(d.best_eval_loss));
    assert_int_equal(lora_diagnose(NULL, 3, &d), LORA_ERROR_ARGUMENT);
    assert_string_equal(lora_fit_name(77), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_overfitted),
                                       cmocka_unit_test(test_underfitted), cmocka_unit_test(test_unstable),
                                       cmocka_unit_test(test_unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
