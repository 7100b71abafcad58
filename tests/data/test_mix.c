// Mixing general data in: how many rows, which, and that own rows stay.
#include "fixture.h"

#include <math.h>
#include <stdlib.h>

static lora_dataset *rows_of(lora_context *context, int32_t first, int count)
{
    lora_dataset *dataset;
    assert_ok(lora_dataset_create(context, &dataset));
    for (int i = 0; i < count; i++) {
        int32_t ids[3] = {1, first + i, 2}, labels[3] = {LORA_LABEL_IGNORED, first + i, 2};
        assert_ok(lora_dataset_add(dataset, ids, labels, 3));
    }
    return dataset;
}

static int64_t rows_in_dataset(const lora_dataset *dataset)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    assert_ok(lora_dataset_get_info(dataset, &info));
    return info.rows;
}

static int32_t mark_of(const lora_dataset *dataset, size_t row)
{
    const int32_t *ids;
    assert_ok(lora_dataset_row(dataset, row, &ids, NULL, NULL));
    return ids[1];
}

static lora_context *open_context(void)
{
    lora_context *context;
    assert_ok(lora_context_create(&context, NULL));
    return context;
}

static void test_shares(void **state)
{
    (void)state;
    lora_context *context = open_context();
    lora_dataset *general = rows_of(context, 1000, 200), *other = rows_of(context, 2000, 200);
    static const struct {
        int own;
        double first, second;
        int64_t added[2];
    } cases[] = {{90, 0.1, 0, {10, 0}},
                 {100, 0.5, 0, {100, 0}},
                 {60, 0.1, 0.3, {10, 30}},
                 {10, 0, 0, {0, 0}},
                 {100, 0.9, 0, {200, 0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lora_dataset *own = rows_of(context, 10, cases[i].own);
        int64_t added, counts[2] = {0};
        bool seen[3000] = {false};
        lora_mix parts[] = {{general, cases[i].first}, {other, cases[i].second}};
        assert_ok(lora_dataset_mix(own, parts, 2, 42, &added));
        assert_int_equal(added, cases[i].added[0] + cases[i].added[1]);
        for (size_t row = 0; row < (size_t)rows_in_dataset(own); row++) {
            int32_t mark = mark_of(own, row);
            if (row < (size_t)cases[i].own) assert_int_equal(mark, 10 + (int32_t)row);
            else counts[mark >= 2000]++;
            assert_false(seen[mark]);
            seen[mark] = true;
        }
        assert_int_equal(counts[0], cases[i].added[0]);
        assert_int_equal(counts[1], cases[i].added[1]);
        lora_dataset_free(own);
    }
    assert_int_equal(rows_in_dataset(general), 200);
    lora_dataset_free(general);
    lora_dataset_free(other);
    lora_context_free(context);
}

// Another seed takes other rows; every row has the same chance. Of 200 rows 100 are taken 400 times: a row is taken
// 200 times on average, with a standard deviation of 10.
static void test_seeds(void **state)
{
    (void)state;
    lora_context *context = open_context();
    lora_dataset *general = rows_of(context, 1000, 200);
    int taken[200] = {0};
    for (uint64_t seed = 0; seed < 400; seed++) {
        lora_dataset *own = rows_of(context, 10, 100);
        assert_ok(lora_dataset_mix(own, &(lora_mix){general, 0.5}, 1, seed, NULL));
        for (size_t row = 100; row < 200; row++) taken[mark_of(own, row) - 1000]++;
        lora_dataset_free(own);
    }
    for (int i = 0; i < 200; i++) assert_true(abs(taken[i] - 200) < 50);
    lora_dataset_free(general);
    lora_context_free(context);
}

static void test_refusals(void **state)
{
    (void)state;
    lora_context *context = open_context();
    lora_dataset *own = rows_of(context, 10, 5), *general = rows_of(context, 1000, 5);
    lora_mix halves[] = {{general, 0.5}, {general, 0.5}};
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_mix(own, halves, 2, 0, NULL), "come to 1");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_mix(own, &(lora_mix){own, 0.1}, 1, 0, NULL), "no data of its own");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_mix(own, &(lora_mix){general, NAN}, 1, 0, NULL), "fraction nan");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_mix(own, &(lora_mix){general, -0.1}, 1, 0, NULL), "fraction -0.1");
    assert_int_equal(rows_in_dataset(own), 5);
    lora_dataset_free(own);
    lora_dataset_free(general);
    lora_context_free(context);
}

static lora_status mix(lora_context *context, failing_allocator *memory, long n, void *user)
{
    (void)user;
    lora_dataset *own = rows_of(context, 10, 40), *general = rows_of(context, 1000, 40);
    memory->until_failure = n;
    lora_status status = lora_dataset_mix(own, &(lora_mix){general, 0.5}, 1, 0, NULL);
    memory->until_failure = -1;
    assert_int_equal(rows_in_dataset(own), memory->failed ? 40 : 80);
    lora_dataset_free(own);
    lora_dataset_free(general);
    return status;
}

// A mix that runs out of memory leaves the data as it was.
static void test_no_memory(void **state)
{
    (void)state;
    fail_each_allocation(mix, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares), cmocka_unit_test(test_seeds),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
