// Checkpoints: what a resumed run ends with has the bits of one that never stopped, whatever happened in between.
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STEPS 12

static fixture f;
static char output[128];
static char last_line[1024];

static void keep_line(int32_t level, const char *line, void *user)
{
    (void)user;
    if (level <= LORA_LOG_WARNING) snprintf(last_line, sizeof last_line, "%s", line);
}

static int setup(void **state)
{
    (void)state;
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = 2;
    options.log = keep_line;
    last_line[0] = '\0';
    fixture_open(&f, &options);
    snprintf(output, sizeof output, "%s", fixture_path(&f, "out"));
    f.adapter_options.lora_dropout = 0.1f;
    f.options.max_steps = STEPS;
    f.options.gradient_accumulation = 2;
    f.options.weight_decay = 0.01;
    f.options.learning_rate = 0.05;
    f.options.warmup_steps = 2;
    f.options.validation = f.validation;
    f.options.eval_steps = 2;
    f.options.save_steps = 2;
    f.options.output = output;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static numbers finished(lora_trainer *trainer, lora_adapter *adapter)
{
    assert_ok(lora_trainer_run(trainer, NULL, NULL));
    lora_trainer_free(trainer);
    numbers result = read_numbers(adapter);
    lora_adapter_free(adapter);
    return result;
}

// The run that never stops, without an output.
static numbers straight(void)
{
    f.options.output = NULL;
    lora_adapter *adapter = fixture_adapter(&f);
    numbers result = finished(fixture_trainer(&f, adapter), adapter);
    f.options.output = output;
    return result;
}

// Trains `steps` steps and goes away.
static void begin(int64_t steps)
{
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    for (int64_t i = 0; i < steps; i++) {
        lora_step_info info = {.struct_size = sizeof info};
        assert_ok(lora_trainer_step(trainer, &info));
    }
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// A new adapter from another seed: everything comes from the checkpoint.
static lora_trainer *resumed(lora_adapter **adapter, int64_t expected_step)
{
    f.adapter_options.seed++;
    *adapter = fixture_adapter(&f);
    f.adapter_options.seed--;
    lora_trainer *trainer = fixture_trainer(&f, *adapter);
    int64_t step = -1;
    assert_ok(lora_trainer_resume(trainer, &step));
    assert_int_equal(step, expected_step);
    return trainer;
}

static void expect_same_end(int64_t expected_step)
{
    lora_adapter *adapter;
    lora_trainer *trainer = resumed(&adapter, expected_step);
    assert_same_bits(finished(trainer, adapter), straight());
}

static void resuming_gives_the_same_bits(void **state)
{
    (void)state;
    begin(7);
    expect_same_end(6);
}

static void with_packing_and_early_stopping_too(void **state)
{
    (void)state;
    f.options.packing = 1;
    f.options.early_stopping = 2;
    f.options.gradient_accumulation = 1;
    f.options.batch_size = 1;
    begin(5);
    expect_same_end(4);
}

static void full_training_too(void **state)
{
    (void)state;
    f.adapter_options.full = 1;
    f.options.learning_rate = 1e-3;
    begin(5);
    expect_same_end(4);
}

static void a_finished_run_resumes_to_its_end(void **state)
{
    (void)state;
    begin(STEPS);
    expect_same_end(STEPS);
}

static void without_a_checkpoint_it_starts(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    int64_t step = -1;
    assert_ok(lora_trainer_resume(trainer, &step));
    assert_int_equal(step, 0);
    assert_same_bits(finished(trainer, adapter), straight());
}

static void the_newest_and_the_best_are_kept(void **state)
{
    (void)state;
    f.options.keep = 2;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    int64_t best = 0;
    for (int i = 0; i < STEPS; i++) {
        lora_step_info info = {.struct_size = sizeof info};
        assert_ok(lora_trainer_step(trainer, &info));
        if (info.improved) best = info.step;
    }
    assert_true(best > 0);
    for (int64_t step = 1; step <= STEPS; step++) {
        char name[64];
        snprintf(name, sizeof name, "out/checkpoint-%d/trainer_state.json", (int)step);
        bool kept = step == STEPS || step == STEPS - 2 || step == best;
        assert_int_equal(lr_path_exists(fixture_path(&f, name)), kept);
    }
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// ---- damage --------------------------------------------------------------------------------------------------------

static void change_byte(const char *name)
{
    int file = open(fixture_path(&f, name), O_RDWR);
    assert_true(file >= 0);
    char byte;
    off_t middle = lseek(file, 0, SEEK_END) / 2;
    assert_int_equal(pread(file, &byte, 1, middle), 1);
    byte ^= 4;
    assert_int_equal(pwrite(file, &byte, 1, middle), 1);
    close(file);
}

static void damaged_checkpoints_are_passed_over(void **state)
{
    (void)state;
    static const char *const files[] = {"optimizer.safetensors", "adapter_model.safetensors", "trainer_state.json",
                                        "checksums.json"};
    f.options.keep = 10;
    begin(10);
    for (int i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "out/checkpoint-%d/%s", 10 - 2 * i, files[i]);
        if (i == 3) assert_int_equal(unlink(fixture_path(&f, name)), 0);
        else change_byte(name);
        lora_adapter *adapter;
        lora_trainer_free(resumed(&adapter, 8 - 2 * i));
        lora_adapter_free(adapter);
        assert_non_null(strstr(last_line, "damaged"));
    }
    expect_same_end(2);
}

static void leftovers_of_a_killed_run_go(void **state)
{
    (void)state;
    begin(3);
    assert_ok(lr_make_directories(fixture_path(&f, "out/checkpoint-4.tmp-1-1")));
    assert_ok(lr_write_file(&lr_system_allocator, fixture_path(&f, "out/checkpoint-4.tmp-1-1/optimizer.safetensors"),
                            false, "half", 4));
    expect_same_end(2);
    assert_false(lr_path_exists(fixture_path(&f, "out/checkpoint-4.tmp-1-1")));
}

// ---- refusals ------------------------------------------------------------------------------------------------------

static void other_settings_are_refused(void **state)
{
    (void)state;
    begin(2);
    lora_trainer_options options = f.options;
#define REFUSE(field, value, message)                                                                                  \
    do {                                                                                                               \
        f.options.field = value;                                                                                       \
        lora_adapter *adapter = fixture_adapter(&f);                                                                   \
        lora_trainer *trainer = fixture_trainer(&f, adapter);                                                          \
        numbers before = read_numbers(adapter);                                                                        \
        int64_t step;                                                                                                  \
        assert_status(lora_trainer_resume(trainer, &step), LORA_ERROR_MISMATCH);                                       \
        assert_message(message);                                                                                       \
        assert_same_bits(before, read_numbers(adapter));                                                               \
        lora_trainer_free(trainer);                                                                                    \
        lora_adapter_free(adapter);                                                                                    \
        f.options = options;                                                                                           \
    } while (0)
    REFUSE(learning_rate, 0.02, "'learning_rate' was 0.05 when the run began and is 0.02 now");
    REFUSE(max_steps, 13, "'total_steps' was 12 when the run began and is 13 now");
    REFUSE(seed, 1, "'seed'");
    REFUSE(validation, f.data, "'validation'");
    REFUSE(shuffle, 0, "'shuffle' was true when the run began and is false now");
    f.adapter_options.lora_alpha = 16;
    REFUSE(keep, 2, "'adapter'");
    f.adapter_options.lora_alpha = 8;
    lora_dataset *data = f.data;
    f.data = f.validation;
    REFUSE(keep, 2, "'data'");
    f.data = data;
    f.options.recompute = 1; // the same bits either way
    expect_same_end(2);
}

static void an_earlier_run_is_not_overwritten(void **state)
{
    (void)state;
    begin(2);
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_step_info info = {.struct_size = sizeof info};
    assert_status(lora_trainer_step(trainer, &info), LORA_ERROR_EXISTS);
    assert_status(lora_trainer_save(trainer), LORA_ERROR_EXISTS);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

static void resuming_in_the_middle_is_refused(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_step_info info = {.struct_size = sizeof info};
    int64_t step;
    assert_ok(lora_trainer_step(trainer, &info));
    assert_status(lora_trainer_resume(trainer, &step), LORA_ERROR_STATE);
    assert_ok(lora_trainer_run(trainer, NULL, NULL));
    assert_status(lora_trainer_save(trainer), LORA_ERROR_STATE); // it holds the best tensors, not the last
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// ---- a disk that is full -------------------------------------------------------------------------------------------

// Files can't grow beyond `bytes`: writing gives EFBIG.
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_does_not_end_the_run(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    numbers expected = straight();
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    for (int64_t step = 1; step <= 6; step++) {
        lora_step_info info = {.struct_size = sizeof info};
        if (step == 4) limit_files(2000);
        assert_status(lora_trainer_step(trainer, &info), step == 4 ? LORA_ERROR_IO : LORA_OK);
        assert_int_equal(info.step, step);
        limit_files(RLIM_INFINITY);
    }
    assert_true(lr_path_exists(fixture_path(&f, "out/checkpoint-2")));
    assert_false(lr_path_exists(fixture_path(&f, "out/checkpoint-4")));
    assert_true(lr_path_exists(fixture_path(&f, "out/checkpoint-6")));
    assert_same_bits(finished(trainer, adapter), expected);
}

// The loop logs it and goes on; its answer is that of the last checkpoint.
static void nor_that_of_the_loop(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    numbers expected = straight();
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    limit_files(2000);
    assert_status(lora_trainer_run(trainer, NULL, NULL), LORA_ERROR_IO);
    limit_files(RLIM_INFINITY);
    assert_non_null(strstr(last_line, "checkpoint after step"));
    lora_trainer_free(trainer);
    assert_same_bits(read_numbers(adapter), expected);
    lora_adapter_free(adapter);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(resuming_gives_the_same_bits),
        WITH_FIXTURE(with_packing_and_early_stopping_too),
        WITH_FIXTURE(full_training_too),
        WITH_FIXTURE(a_finished_run_resumes_to_its_end),
        WITH_FIXTURE(without_a_checkpoint_it_starts),
        WITH_FIXTURE(the_newest_and_the_best_are_kept),
        WITH_FIXTURE(damaged_checkpoints_are_passed_over),
        WITH_FIXTURE(leftovers_of_a_killed_run_go),
        WITH_FIXTURE(other_settings_are_refused),
        WITH_FIXTURE(an_earlier_run_is_not_overwritten),
        WITH_FIXTURE(resuming_in_the_middle_is_refused),
        WITH_FIXTURE(a_full_disk_does_not_end_the_run),
        WITH_FIXTURE(nor_that_of_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
