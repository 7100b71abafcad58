// Contexts, their options, logs, views, names; over a fake backend.
#include "fake_backend.h"
#include "src/core/context.h"
#include "tests/lib/support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lora_context *new_context(void)
{
    lora_context *context;
    lora_context_options options;
    lora_context_options_init(&options);
    options.backend = "cpu";
    assert_int_equal(lora_context_create(&context, &options), LORA_OK);
    return context;
}

// ---- options ------------------------------------------------------------------------------------------------------

static void has_defaults(void **state)
{
    lora_context *context;
    memset(&fake, 0, sizeof fake);
    assert_int_equal(lora_context_create(&context, NULL), LORA_OK);
    assert_string_equal(lora_context_backend(context), "cpu");
    assert_string_equal(lora_context_device(context), "a fake device");
    assert_int_equal(fake.host.cpu_features, -1);
    assert_true(fake.host.threads >= 1);
    assert_null(fake.host.parallel_for);
    assert_non_null(fake.host.log);
    lora_context_free(context);
    assert_int_equal(fake.closed, 1);
    lora_context_free(NULL);
}

static void passes_options_on(void **state)
{
    lora_context *context;
    lora_context_options options;
    lora_context_options_init(&options);
    assert_int_equal(options.struct_size, sizeof options);
    assert_string_equal(options.backend, "auto");
    assert_int_equal(options.log_level, LORA_LOG_WARNING);
    options.backend = "cpu";
    options.threads = 3;
    options.cpu_features = LORA_CPU_AVX2;
    assert_int_equal(lora_context_create(&context, &options), LORA_OK);
    assert_int_equal(fake.host.threads, 3);
    assert_int_equal(fake.host.cpu_features, LORA_CPU_AVX2);
    lora_context_free(context);
}

static void refuses_bad_options(void **state)
{
    lora_context *context;
    lora_context_options good, options;
    lora_context_options_init(&good);
#define REFUSES(field, value, text)                                                                                    \
    options = good;                                                                                                    \
    options.field = value;                                                                                             \
    assert_fails(LORA_ERROR_ARGUMENT, lora_context_create(&context, &options), text);                                  \
    assert_null(context)
    REFUSES(struct_size, 0, "struct_size is 0");
    REFUSES(threads, -1, "threads is -1");
    REFUSES(threads, 100000, "threads is 100000");
    REFUSES(cpu_features, 512, "cpu_features is 512");
    REFUSES(cpu_features, -2, "cpu_features is -2");
    REFUSES(log_level, 4, "log_level is 4");
    REFUSES(backend, "tpu", "backend \"tpu\" is unknown");
    const lora_allocator half = {.allocate = lr_system_allocator.allocate};
    REFUSES(allocator, &half, "allocator needs");
    const lora_file_access none = {0};
    REFUSES(files, &none, "files needs");
    assert_fails(LORA_ERROR_ARGUMENT, lora_context_create(NULL, &good), "out is NULL");
}

static void says_that_the_plugin_is_missing(void **state)
{
    lora_context *context;
    lora_context_options options;
    lora_context_options_init(&options);
    options.backend = "cuda";
    assert_fails(LORA_ERROR_BACKEND, lora_context_create(&context, &options),
                 "install liblora-cuda.so.0 or use backend cpu");
    assert_null(context);
}

// A program built against an older release gives a shorter struct, one built against a newer release a longer one.
static void takes_structs_of_other_releases(void **state)
{
    lora_context *context;
    struct {
        size_t struct_size;
        const char *backend;
        int32_t threads;
        int32_t poison[64];
    } older = {.struct_size = 20, .backend = "cpu", .threads = 2};
    memset(older.poison, 0x77, sizeof older.poison);
    assert_int_equal(lora_context_create(&context, (const lora_context_options *)&older), LORA_OK);
    assert_int_equal(fake.host.threads, 2);
    assert_int_equal(fake.host.cpu_features, -1);
    lora_context_free(context);

    struct {
        lora_context_options options;
        int64_t unknown[4];
    } newer;
    lora_context_options_init(&newer.options);
    newer.options.struct_size = sizeof newer;
    newer.options.backend = "cpu";
    newer.options.threads = 4;
    memset(newer.unknown, 0x77, sizeof newer.unknown);
    assert_int_equal(lora_context_create(&context, &newer.options), LORA_OK);
    assert_int_equal(fake.host.threads, 4);
    lora_context_free(context);
}

static void reports_every_failed_allocation(void **state)
{
    long failures = 0;
    for (;; failures++) {
        failing_allocator self;
        failing_allocator_init(&self, failures);
        lora_context_options options;
        lora_context_options_init(&options);
        options.backend = "cpu";
        options.allocator = &self.allocator;
        lora_context *context;
        lora_status status = lora_context_create(&context, &options);
        if (status == LORA_OK) lora_context_free(context);
        assert_int_equal(self.live, 0);
        if (!self.failed) break;
        assert_int_equal(status, LORA_ERROR_MEMORY);
        assert_null(context);
    }
    assert_int_equal(failures, 2); // context, device
}

// ---- references, log ----------------------------------------------------------------------------------------------

static void *hold_and_release(void *context)
{
    for (int i = 0; i < 20000; i++) lr_context_release(lr_context_retain(context));
    lr_context_release(context);
    return NULL;
}

static void counts_references(void **state)
{
    pthread_t threads[4];
    memset(&fake, 0, sizeof fake);
    lora_context *context = new_context();
    for (int i = 0; i < 4; i++) {
        lr_context_retain(context);
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, context), 0);
    }
    lora_context_free(context);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(fake.closed, 1);
}

typedef struct log_record {
    int count;
    char last[64];
} log_record;

static void record_line(int32_t level, const char *line, void *user)
{
    log_record *record = user;
    record->count++;
    snprintf(record->last, sizeof record->last, "%d %s", level, line);
}

static void logs_up_to_the_level(void **state)
{
    lora_context *context;
    log_record record = {0};
    lora_context_options options;
    lora_context_options_init(&options);
    options.backend = "cpu";
    options.log = record_line;
    options.log_user = &record;
    assert_int_equal(lora_context_create(&context, &options), LORA_OK);
    lr_log(context, LORA_LOG_WARNING, "warned %d times", 2);
    assert_string_equal(record.last, "1 warned 2 times");
    lr_log(context, LORA_LOG_INFO, "not wanted");
    assert_int_equal(record.count, 1);
    fake.host.log(LORA_LOG_ERROR, "100% from the backend", fake.host.log_user);
    assert_string_equal(record.last, "0 100% from the backend");
    fake.host.log(LORA_LOG_DEBUG, "not wanted", fake.host.log_user);
    assert_int_equal(record.count, 2);
    assert_fails(LORA_ERROR_BACKEND, (fake.host.fail)(LORA_ERROR_BACKEND, "100%s broken"), "100%s broken");
    lora_context_free(context);
}

// ---- views --------------------------------------------------------------------------------------------------------

static void makes_and_moves_views(void **state)
{
    lora_context *context = new_context();
    lora_view view, absent = {0};
    assert_int_equal(lr_create_view(context, 3, 2, &view), LORA_OK);
    assert_int_equal(view.stride, 2);
    const float values[] = {1, 2, 3, 4, 5, 6};
    float back[6] = {0}, rows[4], ones[6];
    assert_int_equal(lr_view_write(context, view, values), LORA_OK);
    int before = fake.synchronized;
    assert_int_equal(lr_view_read(context, view, back), LORA_OK);
    assert_true(fake.synchronized > before);
    assert_memory_equal(back, values, sizeof values);
    assert_int_equal(lr_view_read(context, lr_view_rows(view, 1, 2), rows), LORA_OK);
    assert_memory_equal(rows, values + 2, sizeof rows);
    lora_view column = lr_view_columns(view, 1, 1);
    assert_int_equal(column.offset, 4);
    assert_int_equal(column.stride, 2);
    assert_int_equal(column.cols, 1);

    lora_view half = view; // the same memory as bf16 [3, 2]
    half.type = LORA_TYPE_BF16;
    assert_int_equal(lr_view_write(context, half, values), LORA_OK);
    assert_int_equal(lr_view_read(context, half, ones), LORA_OK);
    assert_memory_equal(ones, values, sizeof values); // small integers are exact in bf16
    assert_int_equal(lr_view_read(context, lr_view_rows(half, 2, 1), rows), LORA_OK);
    assert_true(rows[0] == 5 && rows[1] == 6);

    lr_free_view(context, &view);
    assert_false(lr_view_present(view));
    lr_free_view(context, &absent);
    assert_int_equal(fake.live_buffers, 0);
    assert_int_equal(lr_create_view(context, 0, 5, &view), LORA_OK);
    assert_int_equal(lr_view_read(context, view, NULL), LORA_OK);
    lr_free_view(context, &view);
    assert_fails(LORA_ERROR_MEMORY, lr_create_view(context, INT64_MAX / 2, 8, &view), "out of memory");
    assert_false(lr_view_present(view));
    lora_context_free(context);
}

// More numbers than are converted at a time.
static void converts_large_views_in_pieces(void **state)
{
    lora_context *context = new_context();
    lora_view view;
    int64_t rows = 1500, cols = 1000;
    float *values = malloc((size_t)(rows * cols) * sizeof *values),
          *back = malloc((size_t)(rows * cols) * sizeof *back);
    for (int64_t i = 0; i < rows * cols; i++) values[i] = (float)(i % 251);
    assert_int_equal(lr_create_view(context, rows, cols, &view), LORA_OK);
    view.type = LORA_TYPE_BF16;
    assert_int_equal(lr_view_write(context, view, values), LORA_OK);
    assert_int_equal(lr_view_read(context, view, back), LORA_OK);
    assert_memory_equal(back, values, (size_t)(rows * cols) * sizeof *values);
    lr_free_view(context, &view);
    assert_int_equal(fake.live_buffers, 0);
    free(values);
    free(back);
    lora_context_free(context);
}

// Offsets of rows in block types: 34 bytes per 32 numbers of q8_0; int8 and nf4 keep their scales apart.
static void cuts_rows_of_every_type(void **state)
{
    lora_view view = {.rows = 10, .cols = 128, .stride = 128, .type = LORA_TYPE_Q8_0, .offset = 1000};
    assert_int_equal(lr_view_rows(view, 3, 2).offset, 1000 + 3 * 4 * 34);
    assert_int_equal(lr_view_rows(view, 3, 2).rows, 2);
    view.type = LORA_TYPE_F16;
    assert_int_equal(lr_view_rows(view, 3, 2).offset, 1000 + 3 * 256);
    view.scale_buffer = (lora_buffer *)&view;
    view.type = LORA_TYPE_INT8;
    assert_int_equal(lr_view_rows(view, 3, 2).offset, 1000 + 3 * 128);
    assert_int_equal(lr_view_rows(view, 3, 2).scale_offset, 3 * 4);
    view.type = LORA_TYPE_NF4;
    assert_int_equal(lr_view_rows(view, 3, 2).offset, 1000 + 3 * 64);
    assert_int_equal(lr_view_rows(view, 3, 2).scale_offset, 3 * 2 * 4);
}

// ---- names --------------------------------------------------------------------------------------------------------

static void names_things(void **state)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", LORA_VERSION_MAJOR, LORA_VERSION_MINOR, LORA_VERSION_PATCH);
    assert_string_equal(lora_version(), version);
    assert_int_equal(lora_abi_version(), LORA_ABI_VERSION);
    assert_string_equal(lora_status_name(LORA_OK), "LORA_OK");
    assert_string_equal(lora_status_name(LORA_ERROR_NO_GRADIENT), "LORA_ERROR_NO_GRADIENT");
    assert_string_equal(lora_status_name(5), "unknown status");
    assert_string_equal(lora_type_name(LORA_TYPE_BF16), "bf16");
    assert_string_equal(lora_type_name(LORA_TYPE_Q6_K), "q6_k");
    assert_string_equal(lora_type_name(LORA_TYPE_COUNT), "unknown");
    assert_string_equal(lora_type_name(LORA_TYPE_KEEP), "unknown");
    for (lora_type type = 0; type < LORA_TYPE_COUNT; type++)
        for (lora_type other = 0; other < type; other++)
            assert_string_not_equal(lora_type_name(type), lora_type_name(other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(passes_options_on),
        cmocka_unit_test(refuses_bad_options),
        cmocka_unit_test(says_that_the_plugin_is_missing),
        cmocka_unit_test(takes_structs_of_other_releases),
        cmocka_unit_test(reports_every_failed_allocation),
        cmocka_unit_test(counts_references),
        cmocka_unit_test(logs_up_to_the_level),
        cmocka_unit_test(makes_and_moves_views),
        cmocka_unit_test(converts_large_views_in_pieces),
        cmocka_unit_test(cuts_rows_of_every_type),
        cmocka_unit_test(names_things),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
