// Every allocation of a small load, tokenise, train, resume, merge, save and generate fails in turn. Each call must
// then answer MEMORY (or succeed, where it can do without), give back every block, leave the handles it was given as
// they were, and leave outputs that are whole or absent.
#include "tiny.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// The disk is not what is tested here: without this, waiting for it would be nearly all of the time.
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    (void)descriptor;
    return 0;
}

// ---- an allocator that fails once -----------------------------------------------------------------------------------

static atomic_long until_failure = -1; // so many calls succeed, the next fails; negative: none fails
static atomic_long live;
static atomic_bool failed;

static bool may_allocate(void)
{
    if (atomic_load(&until_failure) < 0 || atomic_fetch_sub(&until_failure, 1) > 0) return true;
    atomic_store(&until_failure, -1);
    atomic_store(&failed, true);
    return false;
}

static void *allocate(size_t size, void *user)
{
    (void)user;
    void *block = may_allocate() ? malloc(size) : NULL;
    if (block) atomic_fetch_add(&live, 1);
    return block;
}

static void *reallocate(void *block, size_t size, void *user)
{
    (void)user;
    return may_allocate() ? realloc(block, size) : NULL;
}

static void release(void *block, void *user)
{
    (void)user;
    atomic_fetch_sub(&live, 1);
    free(block);
}

static const lora_allocator counting = {allocate, reallocate, release, NULL};

// ---- what is done ---------------------------------------------------------------------------------------------------

typedef struct world {
    tiny tiny;
    lora_context *context;
    lora_model *model;
    lora_dataset *data;
    lora_adapter *adapter; // trained
    double loss;           // of `adapter`
    char answer[64];       // of `adapter`
    uint64_t fingerprint;  // of the base in int8
} world;

typedef lora_status (*phase_fn)(world *w);
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if (status == LORA_OK) status = (call);                                                                        \
    } while (0)

static lora_status load(world *w)
{
    lora_context *context = NULL;
    lora_model *model = NULL;
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = 2;
    options.allocator = &counting;
    lora_status status = lora_context_create(&context, &options);
    TRY(lora_model_load(context, tiny_path(&w->tiny, "base"), NULL, &model));
    if (status == LORA_OK) assert_non_null(lora_model_tokenizer(model));
    lora_model_free(model);
    lora_context_free(context);
    return status;
}

static lora_status load_converted(world *w)
{
    lora_model_options options;
    lora_model *model = NULL;
    lora_model_options_init(&options);
    options.type = LORA_TYPE_BF16;
    options.check_finite = 2;
    lora_status status = lora_model_load(w->context, tiny_path(&w->tiny, "base"), &options, &model);
    lora_model_free(model);
    return status;
}

// Quantized and kept, then mapped.
static lora_status load_cached(world *w)
{
    lora_model_options options;
    lora_model_info info = {.struct_size = sizeof info};
    lora_model_options_init(&options);
    options.type = LORA_TYPE_INT8;
    options.cache_quantized = 1;
    lora_status status = lora_model_save(w->model, tiny_path(&w->tiny, "out"), 0);
    for (int i = 0; i < 2; i++) {
        lora_model *model = NULL;
        TRY(lora_model_load(w->context, tiny_path(&w->tiny, "out"), &options, &model));
        TRY(lora_model_get_info(model, &info));
        lora_model_free(model);
        if (status == LORA_OK && !w->fingerprint) w->fingerprint = info.fingerprint;
        if (status == LORA_OK) assert_true(info.fingerprint == w->fingerprint); // also where it was not kept
    }
    return status;
}

static lora_status read_data(world *w)
{
    const char *path = tiny_path(&w->tiny, "rows.jsonl");
    lora_dataset *data = NULL, *part = NULL;
    const int32_t ids[] = {1, 5, 6, 2};
    lora_status status = lora_dataset_load(w->context, lora_model_tokenizer(w->model), &path, 1, NULL, &data);
    TRY(lora_dataset_add(data, ids, NULL, 4));
    TRY(lora_dataset_split(data, 0.4, 1, &part));
    lora_dataset_free(part);
    lora_dataset_free(data);
    return status;
}

static lora_status save_and_load_adapter(world *w)
{
    lora_adapter *loaded = NULL;
    lora_status status = lora_adapter_save(w->adapter, tiny_path(&w->tiny, "out"), 0);
    TRY(lora_adapter_load(w->model, tiny_path(&w->tiny, "out"), 0, &loaded));
    lora_adapter_free(loaded);
    return status;
}

static lora_trainer_options settings(const world *w)
{
    lora_trainer_options options;
    lora_trainer_options_init(&options);
    options.max_steps = 3;
    options.batch_size = 2;
    options.learning_rate = 1e-2;
    options.recompute = 1;
    options.validation = w->data;
    options.eval_steps = 2;
    options.save_steps = 1;
    return options;
}

static lora_status new_adapter(const world *w, lora_adapter **adapter)
{
    lora_adapter_options options;
    lora_adapter_options_init(&options);
    options.r = 2;
    options.lora_dropout = 0.1f;
    options.bias = LORA_BIAS_LORA_ONLY;
    static const lora_pattern ranks[] = {{"v_proj", 3}};
    options.rank_pattern = ranks;
    options.rank_pattern_count = 1;
    return lora_adapter_create(w->model, &options, adapter);
}

static lora_status train(world *w)
{
    lora_adapter *adapter = NULL;
    lora_trainer *trainer = NULL;
    lora_trainer_options options = settings(w);
    options.output = tiny_path(&w->tiny, "out");
    lora_step_info info = {.struct_size = sizeof info};
    lora_status status = new_adapter(w, &adapter);
    TRY(lora_trainer_create(adapter, w->data, &options, &trainer));
    for (int step = 0; step < 3; step++) TRY(lora_trainer_step(trainer, &info));
    if (status == LORA_OK) assert_int_equal(info.done, 1);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
    return status;
}

// From the checkpoints in "run". One that cannot be read for want of memory must not be taken for a damaged one.
static lora_status resume(world *w)
{
    lora_adapter *adapter = NULL;
    lora_trainer *trainer = NULL;
    lora_trainer_options options = settings(w);
    options.output = tiny_path(&w->tiny, "run");
    int64_t step = 0;
    lora_status status = new_adapter(w, &adapter);
    TRY(lora_trainer_create(adapter, w->data, &options, &trainer));
    TRY(lora_trainer_resume(trainer, &step));
    if (status == LORA_OK) assert_int_equal(step, 2);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
    return status;
}

static lora_status merge(world *w)
{
    lora_model *merged = NULL;
    lora_adapter_use use = {.adapter = w->adapter, .weight = 1};
    lora_merge_report report = {.struct_size = sizeof report};
    lora_status status = lora_model_merge(w->model, &use, 1, LORA_TYPE_KEEP, &report, &merged);
    TRY(lora_model_save(merged, tiny_path(&w->tiny, "out"), 0));
    lora_model_free(merged);
    return status;
}

static lora_status save_gguf(world *w)
{
    lora_model *loaded = NULL;
    lora_status status = lora_model_save(w->model, tiny_path(&w->tiny, "out.gguf"), 0);
    TRY(lora_model_load(w->context, tiny_path(&w->tiny, "out.gguf"), NULL, &loaded));
    lora_model_free(loaded);
    return status;
}

static int32_t collect(const lora_piece *piece, void *user)
{
    strncat(user, piece->text, piece->text_length);
    return 0;
}

static lora_status generate(world *w)
{
    static const char *const stop[] = {"~~~"};
    static const int32_t prompt[] = {1, 40, 41, 42};
    char answer[64] = "";
    lora_session *session = NULL, *forked = NULL;
    lora_session_options room;
    lora_generate_options options;
    lora_session_options_init(&room);
    lora_generate_options_init(&options);
    room.context_length = 32;
    options.max_new_tokens = 6;
    options.ignore_end = 1;
    options.seed = 3;
    options.repetition_penalty = 1.1f;
    options.stop = stop;
    options.stop_count = 1;
    lora_adapter_use use = {.adapter = w->adapter, .weight = 1};
    lora_status status = lora_session_create(w->model, &room, &session);
    TRY(lora_session_set_adapters(session, &use, 1));
    TRY(lora_session_prompt(session, prompt, 4, &options));
    TRY(lora_session_fork(session, 4, NULL, &forked));
    TRY(lora_session_generate(session, collect, answer));
    lora_session_free(session);
    if (status == LORA_OK && !w->answer[0]) strcpy(w->answer, answer);
    if (status == LORA_OK) assert_string_equal(answer, w->answer);
    answer[0] = 0;
    TRY(lora_session_prompt(forked, NULL, 0, &options));
    TRY(lora_session_generate(forked, collect, answer));
    lora_session_free(forked);
    if (status == LORA_OK) assert_string_equal(answer, w->answer);
    return status;
}

static lora_status evaluate(world *w)
{
    lora_adapter_use use = {.adapter = w->adapter, .weight = 1};
    lora_loss loss = {.struct_size = sizeof loss};
    lora_status status = lora_evaluate_loss(w->model, &use, 1, w->data, NULL, NULL, &loss);
    if (status == LORA_OK && isnan(w->loss)) w->loss = loss.loss;
    if (status == LORA_OK) assert_true(loss.loss == w->loss); // the handles are as they were
    return status;
}

// Answers from a file and a baseline's, with all scores, classes, tests and the checklist.
static lora_status judge(world *w)
{
    static const char *const answers[] = {"yes\nno", "no",
                                          "a list of things that repeats, a list of things that repeats", "da"};
    static const char *const references[] = {"yes", "no", "yes", "no"}, *const labels[] = {"yes", "no"};
    lora_resampling resampling;
    lora_evaluation_options options;
    lora_evaluation *evaluation = NULL;
    const char *text = NULL;
    lora_resampling_init(&resampling);
    lora_evaluation_options_init(&options);
    resampling.samples = resampling.trials = 3;
    options.resampling = &resampling;
    options.labels = labels;
    options.label_count = 2;
    lora_status status = lora_evaluation_create(w->context, &options, &evaluation);
    for (int32_t system = LORA_SYSTEM; system <= LORA_SYSTEM_BASELINE; system++)
        for (size_t i = 0; i < 4; i++) {
            lora_evaluation_row row = {.struct_size = sizeof row, .prompt = "say it in JSON", .prediction = answers[i],
                                       .references = &references[i], .reference_count = 1};
            TRY(lora_evaluation_add(evaluation, system, &row));
        }
    TRY(lora_evaluation_json(evaluation, 1, &text));
    if (status == LORA_OK) assert_non_null(strstr(text, "\"accuracy\""));
    lora_evaluation_free(evaluation);
    return status;
}

// A model's own answers, and its likeliest labels.
static lora_status judge_model(world *w)
{
    lora_generate_options generation;
    lora_evaluation_options options;
    lora_evaluation *evaluation = NULL;
    lora_scores scores = {.struct_size = sizeof scores};
    lora_generate_options_init(&generation);
    lora_evaluation_options_init(&options);
    generation.max_new_tokens = 2;
    options.generation = &generation;
    options.classify = LORA_CLASSIFY_BY_LIKELIHOOD;
    lora_adapter_use use = {.adapter = w->adapter, .weight = 1};
    lora_status status = lora_evaluation_create(w->context, &options, &evaluation);
    TRY(lora_evaluation_run(evaluation, LORA_SYSTEM, w->model, &use, 1, w->data, NULL, NULL));
    TRY(lora_evaluation_get_scores(evaluation, LORA_SYSTEM, &scores));
    lora_evaluation_free(evaluation);
    return status;
}

static lora_status render(world *w)
{
    const lora_tokenizer *tokenizer = lora_model_tokenizer(w->model);
    char text[256];
    size_t length, count;
    int32_t ids[256];
    lora_status status = lora_tokenizer_render_chat(
        tokenizer, "{% for m in messages %}{{ m.role | upper }}: {{ m['content'] + '\\n' }}{% endfor %}",
        "[{\"role\": \"user\", \"content\": \"Hi\"}]", NULL, 1, text, sizeof text, &length);
    TRY(lora_tokenizer_encode(tokenizer, text, length, 1, ids, 256, &count));
    TRY(lora_tokenizer_decode(tokenizer, ids, count, 0, text, sizeof text, &length));
    return status;
}

// ---- the test -------------------------------------------------------------------------------------------------------

// An output that stands is one that loads.
static void check_outputs(const world *w)
{
    struct stat info;
    lora_adapter *adapter = NULL;
    lora_model *model = NULL;
    if (stat(tiny_path(&w->tiny, "out/adapter_config.json"), &info) == 0)
        assert_ok(lora_adapter_load(w->model, tiny_path(&w->tiny, "out"), 0, &adapter));
    else if (stat(tiny_path(&w->tiny, "out/config.json"), &info) == 0)
        assert_ok(lora_model_load(w->context, tiny_path(&w->tiny, "out"), NULL, &model));
    if (stat(tiny_path(&w->tiny, "out.gguf"), &info) == 0 && !model)
        assert_ok(lora_model_load(w->context, tiny_path(&w->tiny, "out.gguf"), NULL, &model));
    if (model) assert_non_null(lora_model_tokenizer(model)); // nor is a part of it missing
    lora_adapter_free(adapter);
    lora_model_free(model);
}

// Fails allocation 0, 1, 2, ... of the phase until it needs no more of them.
static void fail_each(world *w, phase_fn phase, const char *name, long at_least)
{
    const long before = atomic_load(&live);
    const size_t entries = tiny_count(&w->tiny, "");
    long n = 0, survived = 0;
    for (;; n++) {
        tiny_remove(&w->tiny, "out");
        tiny_remove(&w->tiny, "out.gguf");
        atomic_store(&failed, false);
        atomic_store(&until_failure, n);
        const lora_status status = phase(w);
        atomic_store(&until_failure, -1);
        if (!atomic_load(&failed)) break;
        survived += status == LORA_OK;
        if (status != LORA_OK && status != LORA_ERROR_MEMORY)
            print_error("%s: allocation %ld failed: %s: %s\n", name, n, lora_status_name(status), lora_error_message());
        assert_true(status == LORA_OK || status == LORA_ERROR_MEMORY);
        if (status != LORA_OK && !strstr(lora_error_message(), "memory"))
            print_error("%s: allocation %ld failed: '%s' does not say so\n", name, n, lora_error_message());
        if (status != LORA_OK) assert_non_null(strstr(lora_error_message(), "memory"));
        if (atomic_load(&live) != before) print_error("%s: allocation %ld failed: blocks were lost\n", name, n);
        assert_int_equal(atomic_load(&live), before);
        check_outputs(w);
        tiny_remove(&w->tiny, "out");
        tiny_remove(&w->tiny, "out.gguf");
        assert_int_equal(tiny_count(&w->tiny, ""), entries); // no temporary, no lock
    }
    tiny_remove(&w->tiny, "out");
    tiny_remove(&w->tiny, "out.gguf");
    assert_int_equal(atomic_load(&live), before);
    print_message("%s: %ld allocations failed in turn, %ld of them harmless\n", name, n, survived);
    assert_true(n >= at_least);
}

static int open_world(void **state)
{
    static world w;
    w = (world){.loss = NAN};
    tiny_open(&w.tiny);
    w.context = tiny_context(1, &counting);
    w.model = tiny_model(&w.tiny, w.context);
    w.data = tiny_data(&w.tiny, w.context, w.model);
    assert_ok(new_adapter(&w, &w.adapter));
    lora_trainer *trainer;
    lora_trainer_options options = settings(&w);
    options.output = tiny_path(&w.tiny, "run");
    lora_step_info info = {.struct_size = sizeof info};
    assert_ok(lora_trainer_create(w.adapter, w.data, &options, &trainer));
    for (int step = 0; step < 2; step++) assert_ok(lora_trainer_step(trainer, &info));
    lora_trainer_free(trainer);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    lora_adapter_free(w->adapter);
    lora_dataset_free(w->data);
    lora_model_free(w->model);
    lora_context_free(w->context);
    tiny_close(&w->tiny);
    return atomic_load(&live) == 0 ? 0 : -1;
}

#define PHASE(phase, at_least)                                                                                         \
    static void survives_##phase(void **state) { fail_each(*state, phase, #phase, at_least); }
PHASE(load, 50)
PHASE(load_converted, 50)
PHASE(load_cached, 200)
PHASE(read_data, 20)
PHASE(render, 10)
PHASE(save_and_load_adapter, 20)
PHASE(train, 50)
PHASE(resume, 50)
PHASE(merge, 20)
PHASE(save_gguf, 20)
PHASE(generate, 5)
PHASE(evaluate, 2)
PHASE(judge, 500)
PHASE(judge_model, 100)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_load),           cmocka_unit_test(survives_load_converted),
        cmocka_unit_test(survives_load_cached),    cmocka_unit_test(survives_read_data),
        cmocka_unit_test(survives_render),
        cmocka_unit_test(survives_save_and_load_adapter),
        cmocka_unit_test(survives_train),          cmocka_unit_test(survives_resume),
        cmocka_unit_test(survives_merge),          cmocka_unit_test(survives_save_gguf),
        cmocka_unit_test(survives_generate),       cmocka_unit_test(survives_evaluate),
        cmocka_unit_test(survives_judge),          cmocka_unit_test(survives_judge_model),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
