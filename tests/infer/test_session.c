// Sessions: what they generate, what they keep, and how they end.
#include "fixture.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static fixture f;

static int open_all(void **state)
{
    (void)state;
    fixture_open(&f, 2);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static int32_t collect(const lora_piece *piece, void *user)
{
    answer *a = user;
    if (piece->id >= 0) a->ids[a->count++] = piece->id;
    memcpy(a->text + a->length, piece->text, piece->text_length);
    a->length += piece->text_length;
    a->finish = piece->finish;
    return 0;
}

static int32_t stop_at_third(const lora_piece *piece, void *user)
{
    (void)piece;
    return ++*(int *)user == 3;
}

// The reference of everything below: log p(next | ids), by one run over all of them.
static void expected_log_probabilities(const lora_adapter_use *uses, size_t count, const int32_t *ids, size_t id_count,
                                       float *out)
{
    static float all[128 * VOCABULARY];
    assert_true(id_count <= 128);
    assert_ok(lora_evaluate_log_probabilities(f.model, uses, count, ids, id_count, all, id_count * VOCABULARY));
    memcpy(out, all + (id_count - 1) * VOCABULARY, VOCABULARY * sizeof *out);
}

static void assert_near(const float *a, const float *b, float tolerance)
{
    for (int i = 0; i < VOCABULARY; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance)) fail_msg("token %d: %.9g and %.9g", i, (double)a[i], (double)b[i]);
}

static void test_pull_equals_callback(void **state)
{
    (void)state;
    int32_t ids[10];
    make_prompt(ids, 10);
    lora_generate_options options = greedy(40);
    options.temperature = 1;
    lora_session *session = fixture_session(&f, 256, 256);
    answer pulled, called = {0};
    ask(session, ids, 10, &options, &pulled);
    lora_session_reset(session);
    assert_ok(lora_session_prompt(session, ids, 10, &options));
    assert_ok(lora_session_generate(session, collect, &called));
    assert_int_equal(pulled.count, 40);
    assert_same_answer(&pulled, &called);
    int calls = 0;
    lora_session_reset(session);
    assert_ok(lora_session_prompt(session, ids, 10, &options));
    assert_fails(LORA_ERROR_CANCELLED, lora_session_generate(session, stop_at_third, &calls), "callback");
    assert_int_equal(lora_session_length(session), 13);
    lora_session_free(session);
}

static void test_cached_decoding_equals_one_run(void **state)
{
    (void)state;
    const lora_adapter_use half = {.adapter = f.adapter, .weight = 0.5f};
    for (size_t count = 0; count < 2; count++) {
        int32_t ids[64];
        float expected[VOCABULARY], found[VOCABULARY];
        make_prompt(ids, 20);
        lora_generate_options options = greedy(30);
        options.temperature = 1, options.top_k = 0, options.top_p = 1;
        lora_session *session = fixture_session(&f, 64, 7);
        assert_ok(lora_session_set_adapters(session, &half, count));
        assert_ok(lora_session_prompt(session, ids, 20, &options));
        for (size_t length = 20; length < 50; length++) {
            lora_piece piece = {.struct_size = sizeof piece};
            assert_ok(lora_session_log_probabilities(session, found, VOCABULARY));
            expected_log_probabilities(&half, count, ids, length, expected);
            assert_near(found, expected, 2e-5f);
            assert_ok(lora_session_next(session, &piece));
            assert_true(fabsf(piece.log_probability - expected[piece.id]) <= 2e-5f);
            ids[length] = piece.id;
        }
        lora_session_free(session);
    }
}

// A cache of 16 bits: half the bytes, and what rounding of keys and values to them may change; of a fork too.
static void test_a_small_cache(void **state)
{
    (void)state;
    // Of log-probabilities down to -16: f16 keeps 11 bits, bf16 8.
    const float tolerance[] = {2e-5f, 16 * 0x1p-11f, 16 * 0x1p-8f};
    int32_t ids[90];
    float expected[VOCABULARY], found[VOCABULARY];
    uint64_t bytes[3];
    make_prompt(ids, 90);
    expected_log_probabilities(NULL, 0, ids, 90, expected);
    for (lora_type type = LORA_TYPE_F32; type <= LORA_TYPE_BF16; type++) {
        lora_session_options so;
        lora_session_options_init(&so);
        so.context_length = 128, so.cache_type = type;
        lora_session *session, *fork;
        const lora_generate_options options = greedy(1);
        lora_session_info info = {.struct_size = sizeof info};
        lora_memory_plan plan = {.struct_size = sizeof plan};
        assert_ok(lora_session_create(f.model, &so, &session));
        assert_ok(lora_session_prompt(session, ids, 80, &options));
        assert_ok(lora_session_fork(session, 80, NULL, &fork));
        lora_session_free(session);
        for (int i = 80; i < 90; i++) assert_ok(lora_session_prompt(fork, ids + i, 1, &options)); // one by one
        assert_ok(lora_session_log_probabilities(fork, found, VOCABULARY));
        assert_near(found, expected, tolerance[type]);
        if (type != LORA_TYPE_F32) assert_memory_not_equal(found, expected, sizeof found);
        assert_ok(lora_session_get_info(fork, &info));
        assert_ok(lora_plan_session(f.model, &so, &plan));
        assert_int_equal(plan.kv_cache, info.kv_cache_bytes);
        bytes[type] = info.kv_cache_bytes;
        lora_session_free(fork);
    }
    assert_int_equal(bytes[LORA_TYPE_F16], bytes[LORA_TYPE_F32] / 2);
    assert_int_equal(bytes[LORA_TYPE_BF16], bytes[LORA_TYPE_F32] / 2);
}

static void test_greedy_takes_the_likeliest(void **state)
{
    (void)state;
    int32_t ids[64];
    answer first, second;
    make_prompt(ids, 16);
    lora_generate_options options = greedy(24);
    lora_session *session = fixture_session(&f, 64, 256), *slices = fixture_session(&f, 64, 5);
    ask(session, ids, 16, &options, &first);
    ask(slices, ids, 16, &options, &second);
    assert_same_answer(&first, &second);
    assert_int_equal(first.finish, LORA_FINISH_LENGTH);
    for (size_t i = 0; i < 24; i++) {
        float expected[VOCABULARY];
        expected_log_probabilities(NULL, 0, ids, 16 + i, expected);
        for (int t = 0; t < VOCABULARY; t++) assert_true(expected[t] <= expected[first.ids[i]] + 1e-5f);
        ids[16 + i] = first.ids[i];
    }
    lora_session_free(session);
    lora_session_free(slices);
}

static void test_a_seed_repeats_an_answer(void **state)
{
    (void)state;
    int32_t ids[8];
    answer first, second, third;
    make_prompt(ids, 8);
    lora_generate_options options = greedy(30);
    options.temperature = 1.2f;
    options.seed = 77;
    lora_session *session = fixture_session(&f, 64, 256);
    ask(session, ids, 8, &options, &first);
    lora_session_reset(session);
    ask(session, ids, 8, &options, &second);
    assert_same_answer(&first, &second);
    options.seed = 78;
    lora_session_reset(session);
    ask(session, ids, 8, &options, &third);
    assert_memory_not_equal(first.ids, third.ids, sizeof first.ids);
    lora_session_free(session);
}

static void test_adapters_switch_and_switch_back(void **state)
{
    (void)state;
    int32_t ids[40];
    float base[VOCABULARY], adapted[VOCABULARY], found[VOCABULARY];
    make_prompt(ids, 40);
    lora_generate_options options = greedy(4);
    const lora_adapter_use whole = {.adapter = f.adapter, .weight = 1}, none = {.adapter = f.adapter, .weight = 0};
    lora_session *session = fixture_session(&f, 64, 256);
    assert_ok(lora_session_prompt(session, ids, 40, &options));
    assert_ok(lora_session_log_probabilities(session, base, VOCABULARY));
    assert_ok(lora_session_set_adapters(session, &whole, 1));
    assert_int_equal(lora_session_length(session), 40);
    assert_ok(lora_session_log_probabilities(session, found, VOCABULARY));
    expected_log_probabilities(&whole, 1, ids, 40, adapted);
    assert_near(found, adapted, 2e-5f);
    float largest = 0;
    for (int i = 0; i < VOCABULARY; i++) largest = fmaxf(largest, fabsf(found[i] - base[i]));
    assert_true(largest > 0.01f);
    assert_ok(lora_session_set_adapters(session, &none, 1));
    assert_ok(lora_session_log_probabilities(session, found, VOCABULARY));
    assert_near(found, base, 1e-6f);
    assert_ok(lora_session_set_adapters(session, NULL, 0));
    assert_ok(lora_session_log_probabilities(session, found, VOCABULARY));
    assert_memory_equal(found, base, sizeof base);
    lora_session_free(session);
}

static void test_truncation_keeps_the_beginning(void **state)
{
    (void)state;
    int32_t ids[40];
    float expected[VOCABULARY], found[VOCABULARY];
    answer fresh, further;
    make_prompt(ids, 40);
    lora_generate_options options = greedy(8);
    lora_session *session = fixture_session(&f, 64, 256), *other = fixture_session(&f, 64, 256);
    ask(session, ids, 30, &options, &further);
    assert_int_equal(lora_session_length(session), 38);
    assert_ok(lora_session_truncate(session, 10));
    assert_ok(lora_session_log_probabilities(session, found, VOCABULARY));
    expected_log_probabilities(NULL, 0, ids, 10, expected);
    assert_near(found, expected, 2e-5f);
    ask(session, ids + 10, 30, &options, &further);
    ask(other, ids, 40, &options, &fresh);
    assert_same_answer(&further, &fresh);
    lora_piece piece = {.struct_size = sizeof piece};
    assert_ok(lora_session_truncate(session, 10));
    assert_fails(LORA_ERROR_STATE, lora_session_next(session, &piece), "lora_session_prompt");
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_truncate(session, 11), "10 tokens");
    lora_session_free(session);
    lora_session_free(other);
}

static void test_overflow_says_how_much_fits(void **state)
{
    (void)state;
    int32_t ids[33];
    make_prompt(ids, 33);
    lora_generate_options options = greedy(10);
    lora_session *session = fixture_session(&f, 32, 256);
    lora_piece piece = {.struct_size = sizeof piece};
    assert_fails(LORA_ERROR_OVERFLOW, lora_session_prompt(session, ids, 33, &options),
                 "prompt of 33 do not fit into 32");
    assert_int_equal(lora_session_length(session), 0);
    assert_ok(lora_session_prompt(session, ids, 28, &options));
    for (int i = 0; i < 4; i++) assert_ok(lora_session_next(session, &piece));
    assert_int_equal(piece.finish, LORA_FINISH_NONE);
    assert_fails(LORA_ERROR_OVERFLOW, lora_session_next(session, &piece), "context of 32 tokens is full");
    assert_int_equal(lora_session_length(session), 32);
    assert_fails(LORA_ERROR_OVERFLOW, lora_session_prompt(session, ids, 1, &options), "32 tokens");
    assert_ok(lora_session_truncate(session, 20));
    assert_ok(lora_session_prompt(session, ids, 5, &options));
    lora_session_free(session);
}

static void test_a_failed_prompt_changes_nothing(void **state)
{
    (void)state;
    int32_t ids[20], wrong[] = {1, 2, VOCABULARY};
    float before[VOCABULARY], after[VOCABULARY];
    static const char *const empty[] = {""};
    make_prompt(ids, 20);
    lora_generate_options options = greedy(8), refused = greedy(8);
    lora_session *session = fixture_session(&f, 32, 256);
    assert_ok(lora_session_prompt(session, ids, 20, &options));
    assert_ok(lora_session_log_probabilities(session, before, VOCABULARY));
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_prompt(session, wrong, 3, &options), "id 260 at place 2");
    assert_fails(LORA_ERROR_OVERFLOW, lora_session_prompt(session, ids, 20, &options), "20 tokens");
    refused.stop = empty, refused.stop_count = 1;
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_prompt(session, ids, 2, &refused), "stop text 1");
    refused = greedy(0);
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_prompt(session, ids, 2, &refused), "max_new_tokens");
    assert_int_equal(lora_session_length(session), 20);
    assert_ok(lora_session_log_probabilities(session, after, VOCABULARY));
    assert_memory_equal(before, after, sizeof before);
    lora_piece piece = {.struct_size = sizeof piece}; // the answer goes on
    for (int i = 0; i < 8; i++) assert_ok(lora_session_next(session, &piece));
    assert_int_equal(piece.finish, LORA_FINISH_LENGTH);
    assert_fails(LORA_ERROR_STATE, lora_session_next(session, &piece), "lora_session_prompt");
    lora_session_free(session);
}

typedef struct canceller {
    lora_session *session;
    atomic_int over;
} canceller;

static void *keep_cancelling(void *user)
{
    canceller *c = user;
    while (!atomic_load(&c->over)) lora_session_cancel(c->session);
    return NULL;
}

static void test_cancel_from_another_thread(void **state)
{
    (void)state;
    static int32_t ids[2000];
    float before[VOCABULARY], after[VOCABULARY];
    make_prompt(ids, 2000);
    lora_generate_options options = greedy(8);
    lora_session *session = fixture_session(&f, CONTEXT, 16);
    lora_status status = LORA_OK;
    for (int attempt = 0; attempt < 500 && status == LORA_OK; attempt++) { // the other thread may come too late
        lora_session_reset(session);
        assert_ok(lora_session_prompt(session, ids, 10, &options));
        assert_ok(lora_session_log_probabilities(session, before, VOCABULARY));
        canceller c = {.session = session};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, keep_cancelling, &c), 0);
        status = lora_session_prompt(session, ids, 2000, &options);
        atomic_store(&c.over, 1);
        pthread_join(thread, NULL);
    }
    assert_fails(LORA_ERROR_CANCELLED, status, "cancelled");
    assert_int_equal(lora_session_length(session), 10);
    assert_ok(lora_session_prompt(session, NULL, 0, &options));
    assert_ok(lora_session_log_probabilities(session, after, VOCABULARY));
    for (int i = 0; i < VOCABULARY; i++) assert_true(fabsf(before[i] - after[i]) <= 1e-5f);
    lora_piece piece = {.struct_size = sizeof piece};
    lora_session_cancel(session);
    assert_fails(LORA_ERROR_CANCELLED, lora_session_next(session, &piece), "cancelled");
    assert_int_equal(lora_session_length(session), 10);
    assert_ok(lora_session_prompt(session, NULL, 0, &options));
    assert_ok(lora_session_next(session, &piece));
    lora_session_free(session);
}

static void test_a_stop_text_ends_the_answer_before_it(void **state)
{
    (void)state;
    int32_t ids[12];
    answer whole, cut;
    make_prompt(ids, 12);
    lora_generate_options options = greedy(60);
    options.temperature = 0.7f;
    lora_session *session = fixture_session(&f, 128, 256);
    ask(session, ids, 12, &options, &whole);
    size_t at = 5;
    while (at + 3 < whole.length && memchr(whole.text + at, 0, 3)) at++;
    char stop[4] = {whole.text[at], whole.text[at + 1], whole.text[at + 2], 0};
    const char *stops[] = {"never in it", stop};
    options.stop = stops, options.stop_count = 2;
    lora_session_reset(session);
    ask(session, ids, 12, &options, &cut);
    const char *place = memmem(whole.text, whole.length, stop, 3);
    assert_int_equal(cut.finish, LORA_FINISH_STOP);
    assert_int_equal(cut.length, place - whole.text);
    assert_memory_equal(cut.text, whole.text, cut.length);
    assert_true(cut.count < whole.count);
    assert_memory_equal(cut.ids, whole.ids, cut.count * sizeof *cut.ids);
    assert_int_equal(lora_session_length(session), 12 + cut.count);
    lora_session_free(session);
}

static void test_an_end_token_ends_the_answer(void **state)
{
    (void)state;
    int32_t ids[12];
    answer whole, cut;
    make_prompt(ids, 12);
    lora_generate_options options = greedy(30);
    options.temperature = 1;
    lora_session *session = fixture_session(&f, 128, 256);
    ask(session, ids, 12, &options, &whole);
    size_t first = 0; // the first place of the tenth token
    while (whole.ids[first] != whole.ids[9]) first++;
    options.end_tokens = &whole.ids[9], options.end_token_count = 1, options.ignore_end = 0;
    lora_session_reset(session);
    ask(session, ids, 12, &options, &cut);
    assert_int_equal(cut.finish, LORA_FINISH_END);
    assert_int_equal(cut.count, first + 1);
    assert_memory_equal(cut.ids, whole.ids, cut.count * sizeof *cut.ids);
    lora_session_free(session);
}

// Random bytes are mostly no UTF-8: what comes out piece by piece is still what the tokenizer says of all of them.
static void test_pieces_join_to_the_decoded_answer(void **state)
{
    (void)state;
    int32_t ids[12];
    make_prompt(ids, 12);
    lora_session *session = fixture_session(&f, 512, 256);
    for (uint64_t seed = 0; seed < 12; seed++) {
        static answer a;
        char text[4096];
        size_t length;
        lora_generate_options options = greedy(300);
        options.temperature = 2, options.top_k = 0, options.top_p = 1, options.seed = seed;
        lora_session_reset(session);
        ask(session, ids, 12, &options, &a);
        assert_ok(lora_tokenizer_decode(lora_model_tokenizer(f.model), a.ids, a.count, 1, text, sizeof text, &length));
        assert_int_equal(length, a.length);
        assert_memory_equal(text, a.text, length);
    }
    lora_session_free(session);
}

// Proposals are right often in a text that repeats itself, and never in a draw at high temperature; the answer is the
// same.
static void test_lookahead_changes_no_answer(void **state)
{
    (void)state;
    static const char *const stops[] = {"zz", "Q"};
    int32_t ids[60];
    make_prompt(ids, 60);
    for (int i = 20; i < 60; i++) ids[i] = ids[i % 10];
    lora_session *plain = fixture_session(&f, 256, 32), *ahead = fixture_session(&f, 256, 32);
    for (int kind = 0; kind < 6; kind++) {
        answer expected, found;
        lora_generate_options options = greedy(70);
        if (kind % 3 == 1) options.repetition_penalty = 0.5f; // repeats itself
        if (kind % 3 == 2) options.temperature = 1.5f, options.top_k = 0, options.seed = (uint64_t)kind;
        if (kind > 2) options.stop = stops, options.stop_count = 2;
        lora_session_reset(plain);
        lora_session_reset(ahead);
        for (int turn = 0; turn < 2; turn++) { // the second goes on where the first left off
            options.lookahead = 0;
            ask(plain, ids, 50, &options, &expected);
            options.lookahead = kind < 3 ? 4 : 13 + 20 * turn;
            ask(ahead, ids, 50, &options, &found);
            assert_same_answer(&found, &expected);
            assert_int_equal(lora_session_length(ahead), lora_session_length(plain));
        }
    }
    float a[VOCABULARY], b[VOCABULARY];
    assert_ok(lora_session_log_probabilities(plain, a, VOCABULARY));
    assert_ok(lora_session_log_probabilities(ahead, b, VOCABULARY));
    assert_memory_equal(a, b, sizeof a);
    lora_generate_options options = greedy(4);
    options.lookahead = 65;
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_prompt(ahead, ids, 1, &options), "lookahead is 65");
    lora_session_free(plain);
    lora_session_free(ahead);
}

static void test_information(void **state)
{
    (void)state;
    int32_t ids[12];
    answer a;
    make_prompt(ids, 12);
    lora_generate_options options = greedy(5);
    lora_session *session = fixture_session(&f, 100, 256);
    ask(session, ids, 12, &options, &a);
    lora_session_info info = {.struct_size = sizeof info};
    assert_ok(lora_session_get_info(session, &info));
    assert_int_equal(info.length, 17);
    assert_int_equal(info.context_length, 100);
    assert_int_equal(info.prompt_tokens, 12);
    assert_int_equal(info.generated_tokens, 5);
    // keys and values, 2 layers, 100 tokens in pages of 64, 2 heads of 8 numbers, 4 bytes
    assert_int_equal(info.kv_cache_bytes, 2 * 2 * 128 * 2 * 8 * 4);
    assert_int_equal(info.kv_shared_bytes, 0);
    assert_true(info.prefill_seconds > 0 && info.decode_seconds > 0);
    lora_session_options so;
    lora_session_options_init(&so);
    so.context_length = CONTEXT + 1;
    lora_session *refused = NULL;
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_create(f.model, &so, &refused), "4096");
    lora_session_options_init(&so);
    so.cache_type = LORA_TYPE_INT8;
    assert_fails(LORA_ERROR_ARGUMENT, lora_session_create(f.model, &so, &refused), "cache_type");
    assert_fails(LORA_ERROR_ARGUMENT, lora_plan_session(f.model, &so, &(lora_memory_plan){0}), "cache_type");
    lora_session_free(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pull_equals_callback),
        cmocka_unit_test(test_cached_decoding_equals_one_run),
        cmocka_unit_test(test_a_small_cache),
        cmocka_unit_test(test_greedy_takes_the_likeliest),
        cmocka_unit_test(test_a_seed_repeats_an_answer),
        cmocka_unit_test(test_adapters_switch_and_switch_back),
        cmocka_unit_test(test_truncation_keeps_the_beginning),
        cmocka_unit_test(test_overflow_says_how_much_fits),
        cmocka_unit_test(test_a_failed_prompt_changes_nothing),
        cmocka_unit_test(test_cancel_from_another_thread),
        cmocka_unit_test(test_a_stop_text_ends_the_answer_before_it),
        cmocka_unit_test(test_an_end_token_ends_the_answer),
        cmocka_unit_test(test_pieces_join_to_the_decoded_answer),
        cmocka_unit_test(test_lookahead_changes_no_answer),
        cmocka_unit_test(test_information),
    };
    return cmocka_run_group_tests_name("infer/session", tests, open_all, close_all);
}
