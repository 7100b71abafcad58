// The handle itself, the order of rows, and packing.
#include "fixture.h"

#include "src/data/dataset.h"

#include <stdlib.h>
#include <string.h>

static lora_dataset *rows_of(lora_context *context, size_t count, int32_t longest)
{
    lora_dataset *dataset;
    int32_t ids[64];
    uint32_t draw = 1;
    assert_ok(lora_dataset_create(context, &dataset));
    for (size_t i = 0; i < count; i++) {
        draw = draw * 1664525u + 1013904223u;
        int32_t length = 1 + (int32_t)((draw >> 16) % (uint32_t)longest);
        for (int32_t j = 0; j < length; j++) ids[j] = (int32_t)i;
        assert_ok(lora_dataset_add(dataset, ids, NULL, (size_t)length));
    }
    return dataset;
}

// Each row once.
static void assert_permutation(const uint32_t *order, size_t count)
{
    char *seen = calloc(count, 1);
    for (size_t i = 0; i < count; i++) {
        assert_true(order[i] < count && !seen[order[i]]);
        seen[order[i]] = 1;
    }
    free(seen);
}

static void test_add(void **state)
{
    lora_context *context;
    lora_dataset *dataset;
    const int32_t *ids, *labels;
    size_t count;
    (void)state;
    assert_ok(lora_context_create(&context, NULL));
    assert_ok(lora_dataset_create(context, &dataset));
    lora_context_free(context); // the dataset keeps it
    assert_ok(lora_dataset_add(dataset, (int32_t[]){3, 4, 5}, NULL, 3));
    assert_ok(lora_dataset_add(dataset, (int32_t[]){6, 7}, (int32_t[]){-100, 9}, 2));
    assert_ok(lora_dataset_row(dataset, 1, &ids, &labels, &count));
    assert_int_equal(count, 2);
    assert_int_equal(labels[1], 9);
    assert_int_equal(dataset->largest_id, 9);
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_add(dataset, (int32_t[]){-1}, NULL, 1), "negative");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_add(dataset, (int32_t[]){1}, (int32_t[]){-5}, 1), "-5");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_add(dataset, NULL, NULL, 0), "at least one");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_row(dataset, 2, &ids, &labels, &count), "row 2 of 2");
    assert_int_equal(dataset->row_count, 2);
    lora_dataset_free(dataset);
    lora_dataset_free(NULL);
}

static void test_fingerprint_tells_data_apart(void **state)
{
    lora_context *context;
    lora_dataset *a, *b, *c;
    (void)state;
    assert_ok(lora_context_create(&context, NULL));
    assert_ok(lora_dataset_create(context, &a));
    assert_ok(lora_dataset_create(context, &b));
    assert_ok(lora_dataset_create(context, &c));
    assert_ok(lora_dataset_add(a, (int32_t[]){1, 2, 3}, NULL, 3));
    assert_ok(lora_dataset_add(b, (int32_t[]){1, 2, 3}, NULL, 3));
    assert_ok(lora_dataset_add(c, (int32_t[]){1, 2, 3}, (int32_t[]){-100, -100, 3}, 3));
    assert_true(a->fingerprint == b->fingerprint && a->fingerprint != c->fingerprint);
    assert_ok(lora_dataset_add(a, (int32_t[]){4, 5}, NULL, 2));
    assert_ok(lora_dataset_add(b, (int32_t[]){4}, NULL, 1));
    assert_ok(lora_dataset_add(b, (int32_t[]){5}, NULL, 1));
    assert_true(a->fingerprint != b->fingerprint);
    lora_dataset_free(a);
    lora_dataset_free(b);
    lora_dataset_free(c);
    lora_context_free(context);
}

static void test_split(void **state)
{
    fixture f;
    lora_dataset *part;
    const int32_t *ids;
    const char *prompt;
    open_fixture(&f, state, chatml, false);
    static const char content[] =
        "[{\"prompt\": \"a\", \"completion\": \"A\"}, {\"prompt\": \"b\", \"completion\": \"B\"}, {\"prompt\": \"c\", "
        "\"completion\": \"C\"},"
        " {\"prompt\": \"d\", \"completion\": \"D\"}, {\"prompt\": \"e\", \"completion\": \"E\"}]";
    assert_ok(load(&f, state, "a.json", content, NULL));
    assert_fails(LORA_ERROR_DATA, lora_dataset_split(f.dataset, 0.05, 1, &part), "leaves one part empty");
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_split(f.dataset, 1.5, 1, &part), "1.5");
    assert_int_equal(rows_in(&f), 5);
    assert_ok(lora_dataset_split(f.dataset, 0.4, 7, &part));
    assert_int_equal(f.dataset->row_count, 3);
    assert_int_equal(part->row_count, 2);
    // Every row is in one of both, in its old order, with its own ids and texts.
    int32_t before[2] = {0, 0}, letters = 0;
    for (size_t i = 0; i < 5; i++) {
        lora_dataset *from = i < 3 ? f.dataset : part;
        assert_ok(lora_dataset_row(from, i < 3 ? i : i - 3, &ids, NULL, NULL));
        assert_ok(lora_dataset_row_text(from, i < 3 ? i : i - 3, &prompt, NULL));
        int32_t letter = ids[6]; // behind "<|turn|>user\n"
        assert_int_equal(prompt[strlen("<|turn|>user\n")], letter);
        assert_true(letter > before[i < 3 ? 0 : 1]);
        before[i < 3 ? 0 : 1] = letter;
        letters |= 1 << (letter - 'a');
    }
    assert_int_equal(letters, 31);
    lora_dataset_free(part);
    close_fixture(&f);
}

static void test_order(void **state)
{
    lora_context *context;
    uint32_t first[500], again[500], second[500], plain[500];
    (void)state;
    assert_ok(lora_context_create(&context, NULL));
    lora_dataset *dataset = rows_of(context, 500, 3);
    lr_dataset_order(dataset, true, 42, 0, first);
    lr_dataset_order(dataset, true, 42, 0, again);
    lr_dataset_order(dataset, true, 42, 1, second);
    lr_dataset_order(dataset, false, 42, 0, plain);
    assert_permutation(first, 500);
    assert_permutation(second, 500);
    assert_memory_equal(first, again, sizeof first);
    size_t fixed = 0, in_place = 0;
    for (size_t i = 0; i < 500; i++) {
        assert_int_equal(plain[i], i);
        fixed += first[i] == second[i];
        in_place += first[i] == i;
    }
    // A random permutation leaves one row in its place on average.
    assert_true(fixed < 10 && in_place < 10);
    lr_dataset_order(dataset, true, 43, 0, again);
    assert_memory_not_equal(first, again, sizeof first);
    lora_dataset_free(dataset);
    lora_context_free(context);
}

static void test_plain_batches(void **state)
{
    lora_context *context;
    lr_batch_plan plan;
    (void)state;
    assert_ok(lora_context_create(&context, NULL));
    lora_dataset *dataset = rows_of(context, 10, 3);
    assert_ok(lr_batch_plan_create(dataset, true, 1, 0, 4, false, 0, &plan));
    assert_int_equal(plan.batch_count, 3);
    assert_memory_equal(plan.batch_begin, ((uint32_t[]){0, 4, 8, 10}), 16);
    assert_permutation(plan.rows, 10);
    lr_batch_plan_free(&context->allocator, &plan);
    lora_dataset_free(dataset);
    lora_context_free(context);
}

static int64_t tokens_in(const lora_dataset *dataset, const lr_batch_plan *plan, size_t batch)
{
    int64_t tokens = 0;
    for (uint32_t i = plan->batch_begin[batch]; i < plan->batch_begin[batch + 1]; i++)
        tokens += dataset->rows[plan->rows[i]].count;
    return tokens;
}

static void test_packing(void **state)
{
    lora_context *context;
    lr_batch_plan plan;
    (void)state;
    assert_ok(lora_context_create(&context, NULL));
    lora_dataset *dataset = rows_of(context, 3000, 50);
    assert_ok(lr_batch_plan_create(dataset, true, 9, 2, 1, true, 64, &plan));
    assert_int_equal(plan.batch_begin[0], 0);
    assert_int_equal(plan.batch_begin[plan.batch_count], 3000);
    assert_permutation(plan.rows, 3000);
    for (size_t i = 0; i < plan.batch_count; i++) {
        assert_true(plan.batch_begin[i] < plan.batch_begin[i + 1]);
        assert_true(tokens_in(dataset, &plan, i) <= 64);
    }
    // Best fit decreasing needs at most 11/9 of the best possible and one bin, for each of the three windows.
    size_t least = (dataset->id_count + 63) / 64;
    assert_true(plan.batch_count <= least * 11 / 9 + 3);
    lr_batch_plan_free(&context->allocator, &plan);
    assert_fails(LORA_ERROR_ARGUMENT, lr_batch_plan_create(dataset, true, 9, 2, 1, true, 49, &plan),
                 "raise pack_length");
    lora_dataset_free(dataset);
    lora_context_free(context);
}

// Lengths 5, 6, 4, 2, 3 into bins of 10: longest first, 6 takes 4, 5 takes 3 and 2. The bin of row 0 comes first.
static void test_packing_by_hand(void **state)
{
    lora_context *context;
    lora_dataset *dataset;
    lr_batch_plan plan;
    int32_t ids[8] = {0};
    (void)state;
    assert_ok(lora_context_create(&context, NULL));
    assert_ok(lora_dataset_create(context, &dataset));
    for (size_t i = 0; i < 5; i++) assert_ok(lora_dataset_add(dataset, ids, NULL, ((size_t[]){5, 6, 4, 2, 3})[i]));
    assert_ok(lr_batch_plan_create(dataset, false, 0, 0, 1, true, 10, &plan));
    assert_int_equal(plan.batch_count, 2);
    assert_memory_equal(plan.batch_begin, ((uint32_t[]){0, 3, 5}), 12);
    assert_memory_equal(plan.rows, ((uint32_t[]){0, 3, 4, 1, 2}), 20);
    lr_batch_plan_free(&context->allocator, &plan);
    lora_dataset_free(dataset);
    lora_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_fingerprint_tells_data_apart),
        cmocka_unit_test_setup_teardown(test_split, make_test_directory, remove_test_directory),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_plain_batches),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_packing_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
