// Optimizer steps: what a step's loss is, and what leaves the tensors as they were.
#include "fixture.h"

#include <math.h>
#include <string.h>

static fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_open(&f, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

// Trains `steps` steps with the fixture's options; losses[steps] may be NULL.
static numbers train(int steps, double *losses)
{
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    for (int i = 0; i < steps; i++) {
        lora_step_info info = {.struct_size = sizeof info};
        assert_ok(lora_trainer_step(trainer, &info));
        assert_int_equal(info.step, i + 1);
        if (losses) losses[i] = info.loss;
    }
    lora_trainer_free(trainer);
    numbers result = read_numbers(adapter);
    lora_adapter_free(adapter);
    return result;
}

static void accumulation_is_a_larger_batch(void **state)
{
    (void)state;
    double whole[4], parts[4];
    f.options.batch_size = 4;
    numbers expected = train(4, whole);
    f.options.batch_size = 1;
    f.options.gradient_accumulation = 4;
    assert_true(relative_difference(train(4, parts), expected) < 1e-4);
    for (int i = 0; i < 4; i++) assert_true(fabs(whole[i] - parts[i]) < 1e-5 * whole[i]);
}

// 22 rows in micro-batches of 4, 3 a step: 6 micro-batches; 5 a step: a step of 5 and one of 1.
static void a_partial_accumulation_is_a_step(void **state)
{
    (void)state;
    f.options.batch_size = 4;
    f.options.gradient_accumulation = 5;
    f.options.epochs = 1.5;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    const double epochs[] = {5.0 / 6, 1, 1 + 5.0 / 6};
    int64_t tokens = 0;
    for (int i = 0; i < 3; i++) {
        lora_step_info info = {.struct_size = sizeof info};
        assert_ok(lora_trainer_step(trainer, &info));
        assert_int_equal(info.total_steps, 3);
        assert_true(fabs(info.epoch - epochs[i]) < 1e-12);
        assert_int_equal(info.done, i == 2);
        if (i < 2) tokens += info.tokens;
    }
    lora_dataset_info info = {.struct_size = sizeof info};
    assert_ok(lora_dataset_get_info(f.data, &info));
    assert_int_equal(tokens, info.tokens);
    lora_step_info more = {.struct_size = sizeof more};
    assert_status(lora_trainer_step(trainer, &more), LORA_ERROR_STATE);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// The loss of the data does not depend on how rows are put together.
static void packed_rows_do_not_see_each_other(void **state)
{
    (void)state;
    double apart, packed;
    f.options.learning_rate = 0;
    f.options.max_steps = 1;
    f.options.batch_size = 1;
    f.options.gradient_accumulation = 100;
    free_numbers(train(1, &apart));
    f.options.batch_size = 3;
    f.options.packing = 1;
    free_numbers(train(1, &packed));
    assert_true(fabs(apart - packed) < 1e-5 * apart);
}

static void recomputation_gives_the_same_bits(void **state)
{
    (void)state;
    f.adapter_options.lora_dropout = 0.2f;
    for (int32_t recompute = LORA_RECOMPUTE_ALL; recompute <= LORA_RECOMPUTE_MLP; recompute++) {
        f.options.recompute = LORA_RECOMPUTE_NONE;
        numbers kept = train(5, NULL);
        f.options.recompute = recompute;
        assert_same_bits(train(5, NULL), kept);
    }
}

static void the_same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    f.adapter_options.lora_dropout = 0.2f;
    numbers first = train(5, NULL), second = train(5, NULL);
    f.options.seed = 43;
    numbers other = train(5, NULL);
    assert_memory_not_equal(first.values, other.values, first.count * sizeof(float));
    free_numbers(other);
    assert_same_bits(first, second);
}

static void the_loss_falls(void **state)
{
    (void)state;
    static const char *const all[] = {"all-linear"};
    double losses[60];
    f.adapter_options.target_modules = all;
    f.adapter_options.target_module_count = 1;
    f.options.max_steps = 60;
    f.options.schedule = LORA_SCHEDULE_COSINE;
    f.options.warmup_steps = 5;
    free_numbers(train(60, losses));
    assert_true(losses[59] < 0.9 * losses[0]);
    f.adapter_options.full = 1;
    free_numbers(train(60, losses));
    assert_true(losses[59] < 0.5 * losses[0]);
}

static void a_step_without_labels_only_counts(void **state)
{
    (void)state;
    const int32_t ids[] = {5, 6, 7}, none[] = {-100, -100, -100};
    lora_dataset_free(f.data);
    assert_ok(lora_dataset_create(f.context, &f.data));
    assert_ok(lora_dataset_add(f.data, ids, none, 3));
    assert_ok(lora_dataset_add(f.data, ids, NULL, 3));
    f.options.batch_size = 1;
    f.options.shuffle = 0;
    f.options.epochs = 1;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    numbers before = read_numbers(adapter);
    lora_step_info info = {.struct_size = sizeof info};
    assert_ok(lora_trainer_step(trainer, &info));
    assert_int_equal(info.label_tokens, 0);
    assert_same_bits(before, read_numbers(adapter));
    assert_ok(lora_trainer_step(trainer, &info));
    assert_int_equal(info.label_tokens, 2);
    assert_true(info.gradient_norm > 0);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

// ---- failures ------------------------------------------------------------------------------------------------------

// Sets every number of tensors whose name holds `part`.
static void set_tensors(lora_adapter *adapter, const char *part, float value)
{
    static float values[96 * 48];
    for (size_t i = 0; i < lora_adapter_tensor_count(adapter); i++) {
        int64_t rows, cols;
        if (!strstr(lora_adapter_tensor_name(adapter, i), part)) continue;
        assert_ok(lora_adapter_tensor_shape(adapter, i, &rows, &cols));
        for (int64_t n = 0; n < rows * cols; n++) values[n] = value;
        assert_ok(lora_adapter_tensor_write(adapter, i, values, (size_t)(rows * cols)));
    }
}

static void not_finite_changes_nothing(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    set_tensors(adapter, "lora_A", 1e30f);
    set_tensors(adapter, "lora_B", 1e30f);
    numbers before = read_numbers(adapter);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_step_info info = {.struct_size = sizeof info};
    for (int i = 0; i < 2; i++) {
        assert_status(lora_trainer_step(trainer, &info), LORA_ERROR_NOT_FINITE);
        assert_message("step 1");
    }
    lora_trainer_free(trainer);
    assert_same_bits(before, read_numbers(adapter));
    lora_adapter_free(adapter);
}

static void a_b_without_gradient_is_named(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    set_tensors(adapter, "layers.1.self_attn.v_proj.lora_A", 0); // so that B's gradient is zero
    numbers before = read_numbers(adapter);
    lora_trainer *trainer = fixture_trainer(&f, adapter);
    lora_step_info info = {.struct_size = sizeof info};
    assert_status(lora_trainer_step(trainer, &info), LORA_ERROR_NO_GRADIENT);
    assert_message("layers.1.self_attn.v_proj.lora_B.weight");
    lora_trainer_free(trainer);
    assert_same_bits(before, read_numbers(adapter));
    lora_adapter_free(adapter);
}

static void a_nan_weight_is_found_before_the_run(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lr_tensor *tensor = &f.model->tensors[3];
    float *values = f.context->backend->buffer_host(tensor->view.buffer);
    values[tensor->view.offset / sizeof(float) + 5] = NAN;
    tensor->finite = 0;
    lora_trainer *trainer;
    assert_status(lora_trainer_create(adapter, f.data, &f.options, &trainer), LORA_ERROR_NOT_FINITE);
    assert_message(tensor->name);
    lora_adapter_free(adapter);
}

static void refuse_data(const int32_t *ids, const int32_t *labels, size_t count, const char *message)
{
    lora_dataset *data;
    lora_trainer *trainer;
    assert_ok(lora_dataset_create(f.context, &data));
    if (count) assert_ok(lora_dataset_add(data, ids, labels, count));
    lora_adapter *adapter = fixture_adapter(&f);
    assert_status(lora_trainer_create(adapter, data, &f.options, &trainer), LORA_ERROR_DATA);
    assert_message(message);
    f.options.validation = data;
    assert_status(lora_trainer_create(adapter, f.data, &f.options, &trainer), LORA_ERROR_DATA);
    assert_message("validation");
    f.options.validation = NULL;
    lora_adapter_free(adapter);
    lora_dataset_free(data);
}

static void unusable_data_is_refused(void **state)
{
    (void)state;
    refuse_data(NULL, NULL, 0, "no rows");
    refuse_data((int32_t[]){1, 2, FIXTURE_VOCABULARY}, NULL, 3, "id 96");
    refuse_data((int32_t[]){1, 2, 3}, (int32_t[]){-100, 500, -100}, 3, "id 500");
    refuse_data((int32_t[]){1, 2, 3}, (int32_t[]){3, -100, -100}, 3, "no label token");
    refuse_data((int32_t[65]){1}, NULL, 65, "the model's context is 64");
}

static void unusable_options_are_refused(void **state)
{
    (void)state;
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer;
#define REFUSE(field, value)                                                                                           \
    do {                                                                                                               \
        lora_trainer_options options = f.options;                                                                      \
        options.field = value;                                                                                         \
        assert_status(lora_trainer_create(adapter, f.data, &options, &trainer), LORA_ERROR_ARGUMENT);                  \
        assert_message(#field);                                                                                        \
    } while (0)
    REFUSE(struct_size, 3);
    REFUSE(epochs, 0);
    REFUSE(epochs, NAN);
    REFUSE(max_steps, -1);
    REFUSE(batch_size, 0);
    REFUSE(gradient_accumulation, 0);
    REFUSE(learning_rate, -1);
    REFUSE(learning_rate, NAN);
    REFUSE(schedule, 3);
    REFUSE(warmup_steps, -0.5);
    REFUSE(weight_decay, INFINITY);
    REFUSE(max_grad_norm, -1);
    REFUSE(beta1, 1);
    REFUSE(beta2, -0.1);
    REFUSE(epsilon, 0);
    REFUSE(pack_length, -1);
    REFUSE(eval_steps, -1);
    REFUSE(early_stopping, 2); // without validation
    REFUSE(save_steps, -1);
    REFUSE(keep, 0);
    REFUSE(output, "");
    lora_adapter_free(adapter);
}

// A caller of an older release has a shorter struct: what it does not know keeps its default.
static void an_older_option_struct_works(void **state)
{
    (void)state;
    lora_trainer_options old = f.options;
    old.struct_size = offsetof(lora_trainer_options, weight_decay);
    old.keep = -5; // beyond the old struct's end: not read
    lora_adapter *adapter = fixture_adapter(&f);
    lora_trainer *trainer;
    assert_ok(lora_trainer_create(adapter, f.data, &old, &trainer));
    struct {
        size_t struct_size;
        int64_t step;
        uint64_t guard;
    } info = {.struct_size = offsetof(lora_step_info, total_steps), .guard = 77};
    assert_ok(lora_trainer_step(trainer, (lora_step_info *)&info));
    assert_int_equal(info.step, 1);
    assert_int_equal(info.guard, 77);
    lora_trainer_free(trainer);
    lora_adapter_free(adapter);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(accumulation_is_a_larger_batch),
        WITH_FIXTURE(a_partial_accumulation_is_a_step),
        WITH_FIXTURE(packed_rows_do_not_see_each_other),
        WITH_FIXTURE(recomputation_gives_the_same_bits),
        WITH_FIXTURE(the_same_seed_gives_the_same_bits),
        WITH_FIXTURE(the_loss_falls),
        WITH_FIXTURE(a_step_without_labels_only_counts),
        WITH_FIXTURE(not_finite_changes_nothing),
        WITH_FIXTURE(a_b_without_gradient_is_named),
        WITH_FIXTURE(a_nan_weight_is_found_before_the_run),
        WITH_FIXTURE(unusable_data_is_refused),
        WITH_FIXTURE(unusable_options_are_refused),
        WITH_FIXTURE(an_older_option_struct_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
