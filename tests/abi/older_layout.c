// Programs built against another release: option and info structs that are shorter (older) or longer (newer) than the
// library's. What lies behind the caller's struct is filled with 0xFF: read as settings it would be refused or crash,
// and a byte of it that changes was not ours.
#include "tests/fault/tiny.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    tiny tiny;
    lora_context *context;
    lora_model *model;
    lora_dataset *data;
    lora_adapter *adapter;
} fixture;

// A struct of `size` bytes as a caller of another release has it, with `guard` bytes of 0xFF behind.
#define GUARD 128
typedef struct foreign {
    _Alignas(16) unsigned char bytes[1024];
    size_t size;
} foreign;

#define END_OF(type, field) (offsetof(type, field) + sizeof((type){0}.field))
// To the next multiple of 8, as a compiler pads a struct that begins with a size_t.
#define OLD_SIZE(type, last) ((END_OF(type, last) + 7) / 8 * 8)

// The struct sizes tried: up to and with the field `last`, and 64 bytes more than today's.
#define OLDER_AND_NEWER(type, last) {OLD_SIZE(type, last), sizeof(type), sizeof(type) + 64}

static void *take(foreign *f, size_t size)
{
    assert_true(size + GUARD <= sizeof f->bytes);
    memset(f->bytes, 0xFF, sizeof f->bytes);
    f->size = size;
    return f->bytes;
}

static void assert_untouched(const foreign *f)
{
    for (size_t i = f->size; i < f->size + GUARD; i++)
        if (f->bytes[i] != 0xFF) fail_msg("byte %zu behind a struct of %zu was written", i - f->size, f->size);
    size_t size;
    memcpy(&size, f->bytes, sizeof size);
    assert_int_equal(size, f->size);
}

// Filled by the library's _init under the caller's size.
#define INIT(f, name, bytes)                                                                                           \
    (lora_##name##_options_init)(take(f, bytes), bytes);                                                               \
    assert_untouched(f)

// ---- options --------------------------------------------------------------------------------------------------------

static void context_options(void **state)
{
    (void)state;
    static const size_t tried[] = OLDER_AND_NEWER(lora_context_options, threads);
    for (int i = 0; i < 3; i++) {
        foreign f;
        lora_context *context;
        INIT(&f, context, tried[i]);
        lora_context_options *options = (void *)f.bytes;
        assert_string_equal(options->backend, "auto");
        options->threads = 3;
        assert_ok(lora_context_create(&context, options));
        assert_non_null(strstr(lora_context_device(context), "3 threads"));
        lora_context_free(context);
    }
}

static void model_options(void **state)
{
    fixture *x = *state;
    static const size_t tried[] = OLDER_AND_NEWER(lora_model_options, type);
    for (int i = 0; i < 3; i++) {
        foreign f;
        lora_model *model;
        INIT(&f, model, tried[i]);
        lora_model_options *options = (void *)f.bytes;
        assert_int_equal(options->type, LORA_TYPE_KEEP);
        options->type = LORA_TYPE_BF16;
        assert_ok(lora_model_load(x->context, tiny_path(&x->tiny, "base"), options, &model));
        lora_model_info info = {.struct_size = sizeof info};
        assert_ok(lora_model_get_info(model, &info));
        assert_int_equal(info.type, LORA_TYPE_BF16);
        lora_model_free(model);
    }
}

static void adapter_options(void **state)
{
    fixture *x = *state;
    static const size_t tried[] = OLDER_AND_NEWER(lora_adapter_options, lora_alpha);
    for (int i = 0; i < 3; i++) {
        foreign f;
        lora_adapter *adapter;
        INIT(&f, adapter, tried[i]);
        lora_adapter_options *options = (void *)f.bytes;
        assert_int_equal(options->r, 8);
        options->r = 3;
        assert_ok(lora_adapter_create(x->model, options, &adapter));
        lora_adapter_info info = {.struct_size = sizeof info};
        assert_ok(lora_adapter_get_info(adapter, &info));
        assert_int_equal(info.r, 3);
        assert_true(info.lora_dropout == 0 && info.modules == 4); // q_proj and v_proj of two layers: the defaults
        lora_adapter_free(adapter);
    }
}

static void dataset_options(void **state)
{
    fixture *x = *state;
    static const size_t tried[] = OLDER_AND_NEWER(lora_dataset_options, max_length);
    const char *path = tiny_path(&x->tiny, "rows.jsonl");
    for (int i = 0; i < 3; i++) {
        foreign f;
        lora_dataset *data;
        INIT(&f, dataset, tried[i]);
        lora_dataset_options *options = (void *)f.bytes;
        assert_int_equal(options->max_length, 512);
        options->max_length = 30;
        assert_ok(lora_dataset_load(x->context, lora_model_tokenizer(x->model), &path, 1, options, &data));
        lora_dataset_info info = {.struct_size = sizeof info};
        assert_ok(lora_dataset_get_info(data, &info));
        assert_int_equal(info.longest_row, 30);
        assert_int_equal(info.rows, 4);
        lora_dataset_free(data);
    }
}

static void trainer_options(void **state)
{
    fixture *x = *state;
    static const size_t tried[] = OLDER_AND_NEWER(lora_trainer_options, max_steps);
    for (int i = 0; i < 3; i++) {
        foreign f;
        lora_trainer *trainer;
        INIT(&f, trainer, tried[i]);
        lora_trainer_options *options = (void *)f.bytes;
        assert_true(options->epochs == 3);
        options->max_steps = 7;
        assert_ok(lora_trainer_create(x->adapter, x->data, options, &trainer));
        lora_step_info info = {.struct_size = sizeof info};
        assert_ok(lora_trainer_step(trainer, &info));
        assert_int_equal(info.total_steps, 7);
        assert_true(info.learning_rate == 2e-4);
        lora_memory_plan plan = {.struct_size = sizeof plan};
        assert_ok(lora_plan_training(x->model, NULL, options, 20, &plan));
        lora_trainer_free(trainer);
    }
}

static void session_and_generate_options(void **state)
{
    fixture *x = *state;
    static const size_t tried[] = OLDER_AND_NEWER(lora_session_options, context_length);
    static const size_t more[] = OLDER_AND_NEWER(lora_generate_options, temperature);
    static const int32_t prompt[] = {1, 40, 41};
    for (int i = 0; i < 3; i++) {
        foreign f, g;
        lora_session *session;
        INIT(&f, session, tried[i]);
        INIT(&g, generate, more[i]);
        lora_session_options *room = (void *)f.bytes;
        lora_generate_options *options = (void *)g.bytes;
        assert_int_equal(options->max_new_tokens, 256);
        room->context_length = 48;
        options->max_new_tokens = 2;
        options->temperature = 0;
        assert_ok(lora_session_create(x->model, room, &session));
        assert_ok(lora_session_prompt(session, prompt, 3, options));
        assert_ok(lora_session_generate(session, NULL, NULL));
        lora_session_info info = {.struct_size = sizeof info};
        assert_ok(lora_session_get_info(session, &info));
        assert_int_equal(info.context_length, 48);
        assert_true(info.generated_tokens >= 1 && info.generated_tokens <= 2);
        lora_session_free(session);
    }
}

// A size that no release can have says that _init was not called.
static void options_without_init(void **state)
{
    fixture *x = *state;
    lora_adapter_options options = {.struct_size = 0, .r = 4};
    lora_adapter *adapter;
    assert_status(LORA_ERROR_ARGUMENT, lora_adapter_create(x->model, &options, &adapter));
    assert_non_null(strstr(lora_error_message(), "struct_size is 0"));
    options.struct_size = 3;
    assert_status(LORA_ERROR_ARGUMENT, lora_adapter_create(x->model, &options, &adapter));
}

// ---- structs that the library fills ---------------------------------------------------------------------------------

// `call` is made with `info` of each size; `check` sees what an older program can see.
#define FILL(type, last, call, check)                                                                                  \
    do {                                                                                                               \
        static const size_t tried[] = OLDER_AND_NEWER(type, last);                                                     \
        for (int i = 0; i < 3; i++) {                                                                                  \
            foreign f;                                                                                                 \
            type *info = take(&f, tried[i]);                                                                           \
            info->struct_size = tried[i];                                                                              \
            assert_ok(call);                                                                                           \
            assert_true(check);                                                                                        \
            assert_untouched(&f);                                                                                      \
        }                                                                                                              \
    } while (0)

static void infos(void **state)
{
    fixture *x = *state;
    double loss;
    lora_adapter_use use = {.adapter = x->adapter, .weight = 1};
    FILL(lora_model_info, hidden, lora_model_get_info(x->model, info), info->hidden == 16);
    FILL(lora_adapter_info, r, lora_adapter_get_info(x->adapter, info), info->r == 2);
    FILL(lora_dataset_info, tokens, lora_dataset_get_info(x->data, info), info->rows == 4 && info->tokens > 4);
    FILL(lora_memory_plan, adapter, lora_plan_training(x->model, NULL, NULL, 20, info), info->weights > 0);
    FILL(lora_memory_plan, weights, lora_plan_inference(x->model, 20, info), info->weights > 0);
    FILL(lora_loss, loss, lora_evaluate_loss(x->model, &use, 1, x->data, NULL, NULL, info), info->loss > 0);

    lora_trainer *trainer;
    lora_trainer_options options;
    lora_trainer_options_init(&options);
    options.max_steps = 5;
    options.validation = x->data;
    assert_ok(lora_trainer_create(x->adapter, x->data, &options, &trainer));
    FILL(lora_step_info, total_steps, lora_trainer_step(trainer, info), info->step == i + 1 && info->total_steps == 5);
    FILL(lora_memory_plan, weights, lora_trainer_plan(trainer, info), info->weights > 0);
    assert_ok(lora_trainer_evaluate(trainer, &loss));
    lora_trainer_free(trainer);
}

static void merge_reports(void **state)
{
    fixture *x = *state;
    lora_adapter_use use = {.adapter = x->adapter, .weight = 1};
    lora_model *merged = NULL;
    FILL(lora_merge_report, merged_tensors,
         (lora_model_free(merged), lora_model_merge(x->model, &use, 1, LORA_TYPE_KEEP, info, &merged)),
         info->merged_tensors == 4);
    lora_model_free(merged);
}

static void pieces_and_session_infos(void **state)
{
    fixture *x = *state;
    static const int32_t prompt[] = {1, 40, 41};
    lora_session *session;
    lora_generate_options options;
    lora_generate_options_init(&options);
    options.ignore_end = 1;
    assert_ok(lora_session_create(x->model, NULL, &session));
    assert_ok(lora_session_prompt(session, prompt, 3, &options));
    FILL(lora_piece, finish, lora_session_next(session, info), info->id >= 0 && info->finish == LORA_FINISH_NONE);
    FILL(lora_session_info, length, lora_session_get_info(session, info), info->length >= 5);
    lora_session_free(session);
}

static int open_fixture(void **state)
{
    static fixture x;
    lora_adapter_options options;
    tiny_open(&x.tiny);
    x.context = tiny_context(2, NULL);
    x.model = tiny_model(&x.tiny, x.context);
    x.data = tiny_data(&x.tiny, x.context, x.model);
    lora_adapter_options_init(&options);
    options.r = 2;
    assert_ok(lora_adapter_create(x.model, &options, &x.adapter));
    *state = &x;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *x = *state;
    lora_adapter_free(x->adapter);
    lora_dataset_free(x->data);
    lora_model_free(x->model);
    lora_context_free(x->context);
    tiny_close(&x->tiny);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_options),      cmocka_unit_test(model_options),
        cmocka_unit_test(adapter_options),      cmocka_unit_test(dataset_options),
        cmocka_unit_test(trainer_options),      cmocka_unit_test(session_and_generate_options),
        cmocka_unit_test(options_without_init), cmocka_unit_test(infos),
        cmocka_unit_test(merge_reports),        cmocka_unit_test(pieces_and_session_infos),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
