// Sessions forked from one another: the same tokens to the bit, memory held together, and each on its own from there.
#include "fixture.h"

#include <pthread.h>
#include <string.h>

#define PROMPT 150 // two pages and a part of one
#define BATCH 32
#define PAGE_BYTES (2 * 2 * 64 * 2 * 8 * 4) // keys and values, 2 layers, 64 tokens, 2 heads of 8 numbers, 4 bytes

static fixture f;
static int32_t prompt[PROMPT + 40];

static int open_all(void **state)
{
    (void)state;
    fixture_open(&f, 2);
    make_prompt(prompt, PROMPT + 40);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void give(lora_session *session, const int32_t *ids, size_t count)
{
    lora_generate_options options = greedy(20);
    assert_ok(lora_session_prompt(session, ids, count, &options));
}

static lora_session *prompted(size_t count)
{
    lora_session *session = fixture_session(&f, 256, BATCH);
    give(session, prompt, count);
    return session;
}

static lora_session *fork_at(const lora_session *session, int64_t length)
{
    lora_session *forked = NULL;
    assert_ok(lora_session_fork(session, length, NULL, &forked));
    assert_int_equal(lora_session_length(forked), length);
    return forked;
}

// Greedy answers with the log-probabilities of each step: the same bits.
static void assert_go_on_alike(lora_session *a, lora_session *b)
{
    float p[VOCABULARY], q[VOCABULARY];
    lora_generate_options options = greedy(20);
    lora_piece x = {.struct_size = sizeof x}, y = {.struct_size = sizeof y};
    assert_ok(lora_session_prompt(a, NULL, 0, &options));
    assert_ok(lora_session_prompt(b, NULL, 0, &options));
    do {
        assert_ok(lora_session_log_probabilities(a, p, VOCABULARY));
        assert_ok(lora_session_log_probabilities(b, q, VOCABULARY));
        assert_memory_equal(p, q, sizeof p);
        assert_ok(lora_session_next(a, &x));
        assert_ok(lora_session_next(b, &y));
        assert_int_equal(x.id, y.id);
        assert_int_equal(x.finish, y.finish);
    } while (x.finish == LORA_FINISH_NONE);
}

static void assert_same_as_fresh(lora_session *session, size_t count)
{
    lora_session *fresh = prompted(count);
    assert_go_on_alike(session, fresh);
    lora_session_free(fresh);
}

static uint64_t shared_bytes(const lora_session *session)
{
    lora_session_info info = {.struct_size = sizeof info};
    assert_ok(lora_session_get_info(session, &info));
    assert_int_equal(info.kv_cache_bytes, 4 * PAGE_BYTES);
    return info.kv_shared_bytes;
}

static void test_a_fork_goes_on_as_the_original(void **state)
{
    (void)state;
    lora_session *original = prompted(PROMPT), *forked = fork_at(original, PROMPT), *again = fork_at(forked, PROMPT);
    assert_same_as_fresh(forked, PROMPT);
    assert_same_as_fresh(original, PROMPT); // what the fork wrote is its own
    assert_same_as_fresh(again, PROMPT);
    lora_session_free(original);
    lora_session_free(forked);
    lora_session_free(again);
}

static void test_shared_tokens_exist_once(void **state)
{
    (void)state;
    lora_session *original = prompted(PROMPT);
    assert_int_equal(shared_bytes(original), 0);
    lora_session *forked = fork_at(original, PROMPT), *again = fork_at(forked, 100);
    assert_int_equal(shared_bytes(original), 2 * PAGE_BYTES);
    assert_int_equal(shared_bytes(forked), 2 * PAGE_BYTES);
    assert_int_equal(shared_bytes(again), PAGE_BYTES);
    lora_session_free(original);
    assert_int_equal(shared_bytes(forked), PAGE_BYTES);
    lora_session_free(again);
    assert_int_equal(shared_bytes(forked), 0);
    assert_same_as_fresh(forked, PROMPT);
    lora_session_free(forked);
}

// Cut back into what is shared, or emptied by other adapters: the others' tokens stay as they are.
static void test_what_is_shared_is_not_written(void **state)
{
    (void)state;
    const int32_t other[] = {7, 8, 9, 10};
    const lora_adapter_use use = {.adapter = f.adapter, .weight = 1};
    for (int cut = 0; cut < 2; cut++) { // the original, or the fork
        lora_session *sessions[2] = {prompted(PROMPT)};
        sessions[1] = fork_at(sessions[0], PROMPT);
        assert_ok(lora_session_truncate(sessions[cut], 70));
        give(sessions[cut], other, 4);
        assert_same_as_fresh(sessions[!cut], PROMPT);
        assert_ok(lora_session_set_adapters(sessions[cut], &use, 1));
        give(sessions[cut], other, 4);
        assert_ok(lora_session_truncate(sessions[!cut], PROMPT));
        lora_session *third = fork_at(sessions[!cut], PROMPT);
        lora_session_free(sessions[cut]);
        assert_go_on_alike(third, sessions[!cut]);
        lora_session_free(third);
        lora_session_free(sessions[!cut]);
    }
}

// Fewer tokens than the original has, and other ones after them. Slices of the fresh session end where the fork begins.
static void test_a_fork_takes_another_way(void **state)
{
    (void)state;
    static const size_t lengths[] = {32, 64, 96, 128};
    lora_session *original = prompted(PROMPT);
    for (int i = 0; i < 4; i++) {
        lora_session *forked = fork_at(original, (int64_t)lengths[i]), *fresh = prompted(lengths[i]);
        give(forked, prompt + 5, 33);
        give(fresh, prompt + 5, 33);
        assert_go_on_alike(forked, fresh);
        lora_session_free(forked);
        lora_session_free(fresh);
    }
    assert_same_as_fresh(original, PROMPT);
    lora_session_free(original);
}

static void test_a_fork_has_the_adapters(void **state)
{
    (void)state;
    const lora_adapter_use use = {.adapter = f.adapter, .weight = 1};
    lora_session *original = fixture_session(&f, 256, BATCH), *plain = prompted(PROMPT);
    assert_ok(lora_session_set_adapters(original, &use, 1));
    give(original, prompt, PROMPT);
    lora_session *forked = fork_at(original, PROMPT), *other = fork_at(original, PROMPT);
    assert_ok(lora_session_set_adapters(other, NULL, 0));
    assert_go_on_alike(forked, original);
    assert_go_on_alike(other, plain); // its tokens were run again
    lora_session_free(original);
    lora_session_free(forked);
    lora_session_free(other);
    lora_session_free(plain);
}

static void test_forks_in_a_batch(void **state)
{
    (void)state;
    lora_generate_options options = greedy(20);
    lora_batch_options batch_options;
    lora_batch *batch = NULL;
    lora_batch_options_init(&batch_options);
    assert_ok(lora_batch_create(f.model, &batch_options, &batch));
    lora_session *forked[3] = {prompted(PROMPT)};
    forked[1] = fork_at(forked[0], PROMPT);
    forked[2] = fork_at(forked[1], PROMPT);
    int32_t ids[3][20];
    for (int i = 0; i < 3; i++) assert_ok(lora_session_prompt_later(forked[i], NULL, 0, &options));
    for (int step = 0; step < 20; step++) {
        lora_status statuses[3];
        int64_t left[3];
        assert_ok(lora_batch_run(batch, forked, 3, statuses, left));
        for (int i = 0; i < 3; i++) {
            lora_piece piece = {.struct_size = sizeof piece};
            assert_ok(statuses[i]);
            assert_int_equal(left[i], 0);
            assert_ok(lora_session_next(forked[i], &piece));
            ids[i][step] = piece.id;
        }
    }
    answer alone;
    lora_session *fresh = fixture_session(&f, 256, BATCH);
    ask(fresh, prompt, PROMPT, &options, &alone);
    for (int i = 0; i < 3; i++) assert_memory_equal(ids[i], alone.ids, sizeof ids[i]);
    for (int i = 0; i < 3; i++) lora_session_free(forked[i]);
    lora_session_free(fresh);
    lora_batch_free(batch);
}

static void test_sizes(void **state)
{
    (void)state;
    lora_session *original = prompted(100), *forked = NULL;
    lora_session_options options;
    lora_session_options_init(&options);
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_fork(original, 101, NULL, &forked), "100 tokens");
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_fork(original, -1, NULL, &forked), "-1");
    options.context_length = 99;
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_fork(original, 100, &options, &forked), "context_length is 99");
    options.context_length = 300;
    assert_ok(lora_session_fork(original, 100, &options, &forked));
    give(forked, prompt, PROMPT);
    assert_int_equal(lora_session_length(forked), 100 + PROMPT);
    lora_session_free(forked);
    forked = fork_at(original, 0);
    give(forked, prompt, PROMPT);
    assert_same_as_fresh(forked, PROMPT);
    lora_session_free(forked);
    lora_session_free(original);
}

static void *go_on(void *session)
{
    static const lora_piece empty = {.struct_size = sizeof empty};
    lora_generate_options options = greedy(40);
    lora_session *forked = NULL;
    if (lora_session_fork(session, PROMPT, NULL, &forked) != LORA_OK) return NULL;
    lora_status status = lora_session_prompt(forked, NULL, 0, &options);
    for (lora_piece piece = empty; status == LORA_OK && piece.finish == LORA_FINISH_NONE;)
        status = lora_session_next(forked, &piece);
    if (status == LORA_OK) return forked;
    lora_session_free(forked);
    return NULL;
}

static void test_threads_fork_and_free(void **state)
{
    (void)state;
    lora_session *original = prompted(PROMPT), *forked = NULL;
    pthread_t threads[4];
    float expected[VOCABULARY], found[VOCABULARY];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, go_on, original), 0);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_non_null(result);
        lora_session_free(forked);
        forked = result;
        assert_ok(lora_session_log_probabilities(forked, i ? found : expected, VOCABULARY));
        if (i) assert_memory_equal(found, expected, sizeof found);
    }
    lora_session_free(original);
    lora_session_free(forked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fork_goes_on_as_the_original),
        cmocka_unit_test(test_shared_tokens_exist_once),
        cmocka_unit_test(test_what_is_shared_is_not_written),
        cmocka_unit_test(test_a_fork_takes_another_way),
        cmocka_unit_test(test_a_fork_has_the_adapters),
        cmocka_unit_test(test_forks_in_a_batch),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_threads_fork_and_free),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
