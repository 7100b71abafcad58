// Four sessions of one model, each in a thread of its own, with and without the adapter. To be run with the thread
// sanitizer too: meson setup DIR -Db_sanitize=thread.
#include "fixture.h"

#include <pthread.h>
#include <string.h>

#define SESSIONS 4
#define ROUNDS 3

static fixture f;

typedef struct worker {
    lora_session *session;
    int number;
    answer answers[ROUNDS];
    lora_status status;
} worker;

static lora_status work(worker *w)
{
    int32_t ids[40];
    make_prompt(ids, 40);
    for (int round = 0; round < ROUNDS; round++) {
        answer *a = &w->answers[round];
        lora_adapter_use use = {.adapter = f.adapter, .weight = (float)(round + w->number % 2)};
        lora_generate_options options = greedy(20);
        options.temperature = 1, options.seed = (uint64_t)w->number;
        lora_piece piece = {.struct_size = sizeof piece};
        lora_session_reset(w->session);
        lora_status status = lora_session_set_adapters(w->session, &use, 1);
        if (status == LORA_OK)
            status = lora_session_prompt(w->session, ids, 10 * (size_t)(w->number % 4 + 1), &options);
        while (status == LORA_OK && piece.finish == LORA_FINISH_NONE) {
            status = lora_session_next(w->session, &piece);
            if (status == LORA_OK && piece.id >= 0) a->ids[a->count++] = piece.id;
        }
        if (status != LORA_OK) return status;
    }
    return LORA_OK;
}

static void *run(void *user)
{
    worker *w = user;
    w->status = work(w);
    return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    static worker alone[SESSIONS], together[SESSIONS];
    pthread_t threads[SESSIONS];
    fixture_open(&f, 2);
    for (int i = 0; i < SESSIONS; i++) {
        alone[i] = (worker){.session = fixture_session(&f, 64, 16), .number = i};
        together[i] = (worker){.session = fixture_session(&f, 64, 16), .number = i};
        assert_ok(work(&alone[i]));
    }
    for (int i = 0; i < SESSIONS; i++) assert_int_equal(pthread_create(&threads[i], NULL, run, &together[i]), 0);
    for (int i = 0; i < SESSIONS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < SESSIONS; i++) {
        assert_ok(together[i].status);
        for (int round = 0; round < ROUNDS; round++) {
            assert_int_equal(alone[i].answers[round].count, 20);
            assert_memory_equal(alone[i].answers[round].ids, together[i].answers[round].ids, 20 * sizeof(int32_t));
        }
        lora_session_free(alone[i].session);
        lora_session_free(together[i].session);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_do_not_disturb_each_other)};
    return cmocka_run_group_tests_name("infer/threads", tests, NULL, NULL);
}
