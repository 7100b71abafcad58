// Backends that are found at run time. The plug-in is tests/core/fake_plugin.c.
#include "fake_backend.h"
#include "tests/lib/support.h"

#include <stdlib.h>
#include <string.h>

static char last_line[1024];

static void keep_line(int32_t level, const char *line, void *user)
{
    strncpy(last_line, line, sizeof last_line - 1);
}

static lora_status create(const char *backend, const char *mode, lora_context **out)
{
    lora_context_options options;
    lora_context_options_init(&options);
    options.backend = backend;
    options.log = keep_line;
    options.log_level = LORA_LOG_DEBUG;
    setenv("FAKE_PLUGIN", mode, 1);
    last_line[0] = '\0';
    return lora_context_create(out, &options);
}

static void loads_the_plugin(void **state)
{
    static const char *const names[] = {"cuda", "auto"};
    for (int i = 0; i < 2; i++) {
        lora_context *context;
        assert_int_equal(create(names[i], "", &context), LORA_OK);
        assert_string_equal(lora_context_backend(context), "cuda");
        assert_string_equal(lora_context_device(context), "a card");
        assert_string_equal(last_line, "the plug-in was opened");
        lora_context_free(context);
    }
}

static void refuses_another_abi(void **state)
{
    lora_context *context;
    assert_fails(LORA_ERROR_BACKEND, create("cuda", "refuses", &context), "does not serve backend ABI");
    assert_null(context);
    assert_fails(LORA_ERROR_BACKEND, create("cuda", "older", &context), "expected");
    assert_fails(LORA_ERROR_BACKEND, create("cuda", "no card", &context), "there is no graphics card");
}

static void auto_falls_back_to_the_cpu(void **state)
{
    static const char *const modes[] = {"refuses", "older", "no card"};
    for (int i = 0; i < 3; i++) {
        lora_context *context;
        assert_int_equal(create("auto", modes[i], &context), LORA_OK);
        assert_string_equal(lora_context_backend(context), "cpu");
        assert_true(last_line[0] != '\0'); // says why, to who asks for details
        lora_context_free(context);
    }
    assert_int_equal(fake.opened, fake.closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_the_plugin),
        cmocka_unit_test(refuses_another_abi),
        cmocka_unit_test(auto_falls_back_to_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
