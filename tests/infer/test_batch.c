// Sessions advanced together against the same sessions alone: ids, text and log-probabilities, whatever else runs
// beside them.
#include "fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS 6
#define PIECES 64
// Of log-probabilities: prompts that run in other parts are summed up in another order. 16 units in the last place of
// logits up to 16.
#define NEAR 0x1p-16f

static fixture f;
static lora_adapter *adapters[3];

static lora_adapter *random_adapter(const char *target, int32_t rank, unsigned seed)
{
    lora_adapter_options options;
    lora_adapter_options_init(&options);
    options.r = rank;
    options.target_modules = &target;
    options.target_module_count = 1;
    lora_adapter *adapter = NULL;
    assert_ok(lora_adapter_create(f.model, &options, &adapter));
    srand(seed);
    for (size_t t = 0; t < lora_adapter_tensor_count(adapter); t++) {
        int64_t rows, cols;
        static float values[1 << 14];
        assert_ok(lora_adapter_tensor_shape(adapter, t, &rows, &cols));
        assert_true(rows * cols <= 1 << 14);
        for (int64_t i = 0; i < rows * cols; i++) values[i] = ((float)rand() / (float)RAND_MAX - 0.5f) / 2;
        assert_ok(lora_adapter_tensor_write(adapter, t, values, (size_t)(rows * cols)));
    }
    return adapter;
}

static int open_all(void **state)
{
    (void)state;
    fixture_open(&f, 2);
    adapters[0] = f.adapter;
    adapters[1] = random_adapter("all-linear", 3, 21);
    adapters[2] = random_adapter("lm_head", 5, 22);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    lora_adapter_free(adapters[1]);
    lora_adapter_free(adapters[2]);
    fixture_close(&f);
    return 0;
}

// What a session is asked: adapters, prompt and sampling differ from one to the next.
typedef struct question {
    lora_adapter_use uses[2];
    size_t use_count;
    int32_t ids[300];
    size_t count;
    lora_generate_options options;
} question;

static question make_question(int index)
{
    static const size_t lengths[] = {5, 40, 1, 290, 17, 64};
    question q = {.count = lengths[index % 6], .options = greedy(10 + 3 * index)};
    for (size_t i = 0; i < q.count; i++) q.ids[i] = (int32_t)((i * i * 7 + i * 13 + (size_t)index * 29 + 40) % 256);
    switch (index % 5) {
    case 0: q.uses[q.use_count++] = (lora_adapter_use){.adapter = adapters[0], .weight = 1}; break;
    case 1: q.uses[q.use_count++] = (lora_adapter_use){.adapter = adapters[1], .weight = 0.5f}; break;
    case 2:
        q.uses[q.use_count++] = (lora_adapter_use){.adapter = adapters[2], .weight = 1};
        q.uses[q.use_count++] = (lora_adapter_use){.adapter = adapters[1], .weight = -0.25f};
        break;
    case 3: break;
    default: q.uses[q.use_count++] = (lora_adapter_use){.adapter = adapters[0], .weight = 1}; break;
    }
    if (index % 2) q.options.temperature = 0.9f, q.options.seed = 5, q.options.repetition_penalty = 1.1f;
    return q;
}

typedef struct record {
    answer answer;
    float log_probabilities[PIECES];
} record;

static void note(record *r, const lora_piece *piece)
{
    if (piece->id >= 0) {
        r->log_probabilities[r->answer.count] = piece->log_probability;
        r->answer.ids[r->answer.count++] = piece->id;
    }
    memcpy(r->answer.text + r->answer.length, piece->text, piece->text_length);
    r->answer.length += piece->text_length;
    r->answer.finish = piece->finish;
}

static lora_session *open_session(const question *q)
{
    lora_session *session = fixture_session(&f, 400, 64);
    assert_ok(lora_session_set_adapters(session, q->uses, q->use_count));
    return session;
}

static void ask_alone(const question *q, record *r)
{
    lora_session *session = open_session(q);
    lora_piece piece = {.struct_size = sizeof piece};
    *r = (record){0};
    assert_ok(lora_session_prompt(session, q->ids, q->count, &q->options));
    do {
        assert_ok(lora_session_next(session, &piece));
        note(r, &piece);
    } while (piece.finish == LORA_FINISH_NONE);
    lora_session_free(session);
}

static lora_batch *make_batch(int32_t sessions, int32_t prompt_tokens)
{
    lora_batch_options options;
    lora_batch_options_init(&options);
    options.max_sessions = sessions;
    options.prompt_tokens = prompt_tokens;
    lora_batch *batch = NULL;
    assert_ok(lora_batch_create(f.model, &options, &batch));
    return batch;
}

static void assert_same_record(const record *a, const record *b)
{
    assert_same_answer(&a->answer, &b->answer);
    for (size_t i = 0; i < a->answer.count; i++)
        if (!(fabsf(a->log_probabilities[i] - b->log_probabilities[i]) <= NEAR))
            fail_msg("piece %zu: %.9g and %.9g", i, (double)a->log_probabilities[i], (double)b->log_probabilities[i]);
}

// Session i joins in call i * `apart`, and leaves when it has finished.
static void run_together(int32_t prompt_tokens, size_t apart)
{
    static record alone[SESSIONS], joint[SESSIONS];
    question questions[SESSIONS];
    lora_session *sessions[SESSIONS], *now[SESSIONS];
    bool over[SESSIONS] = {false};
    lora_batch *batch = make_batch(SESSIONS, prompt_tokens);
    for (int i = 0; i < SESSIONS; i++) {
        questions[i] = make_question(i);
        ask_alone(&questions[i], &alone[i]);
        sessions[i] = open_session(&questions[i]);
        joint[i] = (record){0};
    }
    size_t left = SESSIONS;
    for (size_t call = 0; left > 0; call++) {
        size_t which[SESSIONS], count = 0;
        lora_status statuses[SESSIONS];
        int64_t rest[SESSIONS];
        assert_true(call < 2000);
        for (size_t i = 0; i < SESSIONS; i++) {
            if (over[i] || call < i * apart) continue;
            if (call == i * apart)
                assert_ok(lora_session_prompt_later(sessions[i], questions[i].ids, questions[i].count,
                                                    &questions[i].options));
            which[count] = i;
            now[count++] = sessions[i];
        }
        assert_ok(lora_batch_run(batch, now, count, statuses, rest));
        for (size_t k = 0; k < count; k++) {
            lora_piece piece = {.struct_size = sizeof piece};
            assert_int_equal(statuses[k], LORA_OK);
            if (rest[k]) continue;
            assert_ok(lora_session_next(now[k], &piece));
            note(&joint[which[k]], &piece);
            over[which[k]] = piece.finish != LORA_FINISH_NONE;
            left -= over[which[k]];
        }
    }
    for (int i = 0; i < SESSIONS; i++) {
        assert_same_record(&joint[i], &alone[i]);
        lora_session_info info = {.struct_size = sizeof info};
        assert_ok(lora_session_get_info(sessions[i], &info));
        assert_int_equal(info.generated_tokens, alone[i].answer.count);
        assert_int_equal(info.prompt_tokens, questions[i].count);
        lora_session_free(sessions[i]);
    }
    lora_batch_free(batch);
}

static void test_together_is_alone(void **state)
{
    (void)state;
    run_together(512, 0);
    run_together(7, 0);
    run_together(1, 0);
}

static void test_sessions_join_and_leave(void **state)
{
    (void)state;
    run_together(64, 4);
    run_together(5, 9);
}

// A prompt of 290 beside a session in the middle of its answer: that one gets a piece in every call.
static void test_a_long_prompt_does_not_stall_others(void **state)
{
    (void)state;
    question writing = make_question(0), waiting = make_question(3);
    lora_session *sessions[2] = {open_session(&writing), open_session(&waiting)};
    lora_batch *batch = make_batch(2, 32);
    lora_piece piece = {.struct_size = sizeof piece};
    lora_status statuses[2];
    int64_t left[2];
    writing.options.max_new_tokens = 50;
    assert_ok(lora_session_prompt(sessions[0], writing.ids, writing.count, &writing.options));
    assert_ok(lora_session_prompt_later(sessions[1], waiting.ids, waiting.count, &waiting.options));
    for (int64_t call = 1; call <= 10; call++) {
        assert_ok(lora_batch_run(batch, sessions, 2, statuses, left));
        assert_true(statuses[0] == LORA_OK && statuses[1] == LORA_OK);
        assert_int_equal(left[0], 0);
        assert_int_equal(left[1], call < 10 ? 290 - 32 * call : 0);
        assert_ok(lora_session_next(sessions[0], &piece));
    }
    assert_ok(lora_session_next(sessions[1], &piece));
    for (int i = 0; i < 2; i++) lora_session_free(sessions[i]);
    lora_batch_free(batch);
}

static void test_a_failure_touches_no_one_else(void **state)
{
    (void)state;
    record alone, joint = {0};
    question q = make_question(1);
    ask_alone(&q, &alone);
    lora_session *small = fixture_session(&f, 8, 64), *idle = fixture_session(&f, 8, 64), *cancelled = open_session(&q),
                 *good = open_session(&q);
    lora_session *sessions[] = {small, idle, cancelled, good}, *twice[] = {good, small, good};
    lora_batch *batch = make_batch(4, 64);
    lora_generate_options options = greedy(40);
    lora_piece piece = {.struct_size = sizeof piece};
    lora_status statuses[5];
    int64_t left[5];
    assert_ok(lora_session_prompt_later(small, q.ids, 6, &options));
    assert_ok(lora_session_prompt_later(cancelled, q.ids, 6, &options));
    assert_ok(lora_session_prompt_later(good, q.ids, q.count, &q.options));
    lora_session_cancel(cancelled);
    for (int call = 0; joint.answer.finish == LORA_FINISH_NONE; call++) {
        assert_ok(lora_batch_run(batch, sessions, 4, statuses, left));
        assert_int_equal(statuses[0], LORA_OK);
        assert_int_equal(statuses[1], LORA_ERROR_STATE);
        assert_int_equal(statuses[2], LORA_ERROR_CANCELLED);
        assert_int_equal(statuses[3], LORA_OK);
        if (call < 2) assert_ok(lora_session_next(small, &piece)); // 6 + 2 fill its 8
        else assert_fails(LORA_ERROR_OVERFLOW, lora_session_next(small, &piece), "context of 8 tokens is full");
        assert_ok(lora_session_next(good, &piece));
        note(&joint, &piece);
    }
    assert_same_record(&joint, &alone);
    assert_int_equal(lora_session_length(small), 8);
    lora_session *five[5] = {small, idle, cancelled, good, NULL};
    assert_fails(LORA_ERROR_ARGUMENT, lora_batch_run(batch, five, 5, statuses, left), "made for 4");
    assert_fails(LORA_ERROR_ARGUMENT, lora_batch_run(batch, five + 3, 2, statuses, left), "session 2 of 2 is NULL");
    assert_fails(LORA_ERROR_ARGUMENT, lora_batch_run(batch, twice, 3, statuses, left),
                 "session 3 of 3 was given twice");
    lora_session_free(small), lora_session_free(idle), lora_session_free(cancelled), lora_session_free(good);
    lora_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_together_is_alone),
        cmocka_unit_test(test_sessions_join_and_leave),
        cmocka_unit_test(test_a_long_prompt_does_not_stall_others),
        cmocka_unit_test(test_a_failure_touches_no_one_else),
    };
    return cmocka_run_group_tests_name("infer/batch", tests, open_all, close_all);
}
