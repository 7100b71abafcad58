// What is learnt of a row, and what is left when a row is too long.
#include "fixture.h"

#include <string.h>

#define HEAD "<|turn|>assistant\n"
#define USER(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define ANSWER(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"
#define MESSAGES(list) "[{\"messages\": [" list "]}]"

static void check(void **state, const char *chat_template, const char *content, const char *text, const char *learnt,
                  const char *prompt, const char *answer)
{
    fixture f;
    const char *fed, *expected;
    open_fixture(&f, state, chat_template, false);
    assert_ok(load(&f, state, "a.json", content, NULL));
    assert_string_equal(text_of_row(&f, 0), text);
    assert_string_equal(learnt_in_row(&f, 0), learnt);
    assert_aligned(&f, 0);
    assert_ok(lora_dataset_row_text(f.dataset, 0, &fed, &expected));
    assert_string_equal(fed, prompt);
    assert_string_equal(expected, answer);
    assert_int_equal(info_of(&f).terminated_rows, 1);
    assert_int_equal(info_of(&f).response_rows, 1);
    close_fixture(&f);
}

static void test_every_answer_is_learnt(void **state)
{
    check(state, chatml, MESSAGES(USER("a") "," ANSWER("one") "," USER("b") "," ANSWER("two")),
          "<|turn|>user\na<|end|>\n" HEAD "one<|end|>\n<|turn|>user\nb<|end|>\n" HEAD "two<|end|>",
          "one<|end|>two<|end|>", "<|turn|>user\na<|end|>\n" HEAD "one<|end|>\n<|turn|>user\nb<|end|>\n" HEAD, "two");
}

static void test_an_answer_of_weight_0_is_context(void **state)
{
    check(state, chatml,
          MESSAGES(USER("a") ","
                             "{\"role\": \"assistant\", \"content\": \"one\", \"weight\": 0}"
                             "," USER("b") "," ANSWER("two")),
          "<|turn|>user\na<|end|>\n" HEAD "one<|end|>\n<|turn|>user\nb<|end|>\n" HEAD "two<|end|>", "two<|end|>",
          "<|turn|>user\na<|end|>\n" HEAD "one<|end|>\n<|turn|>user\nb<|end|>\n" HEAD, "two");
}

// The padding token is the end token, and the text itself ends like one: what is learnt goes by place.
static void test_the_end_is_learnt_though_it_is_the_padding(void **state)
{
    static const char stop_template[] = "{% for m in messages %}{{ m.content + '<|stop|>' }}{% endfor %}{% if "
                                        "add_generation_prompt %}{{ '' }}{% endif %}";
    check(state, stop_template, MESSAGES(USER("q") "," ANSWER("a")), "q<|stop|>a<|stop|>", "a<|stop|>", "q<|stop|>",
          "a");
}

static void test_a_template_without_an_end_gets_one(void **state)
{
    static const char plain[] = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
                                "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    check(state, plain, MESSAGES(USER("q") "," ANSWER("a") "," USER("r") "," ANSWER("b")),
          "user: q\nassistant: a\nuser: r\nassistant: b<|stop|>", "ab<|stop|>",
          "user: q\nassistant: a\nuser: r\nassistant: ", "b");
}

// Phi's template ends a conversation with an end of text behind the end of the turn: generation stops at the first.
static void test_the_first_special_token_ends_an_answer(void **state)
{
    static const char phi[] =
        "{% for m in messages %}{{ '<|turn|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|turn|>assistant\\n' }}{% else %}{{ eos_token }}{% endif %}";
    check(state, phi, MESSAGES(USER("q") "," ANSWER("a")), "<|turn|>user\nq<|end|>\n" HEAD "a<|end|>", "a<|end|>",
          "<|turn|>user\nq<|end|>\n" HEAD, "a");
}

// A template that asks with an opened block which it does not show afterwards.
static void test_a_template_that_asks_with_more_than_it_shows(void **state)
{
    static const char opened[] =
        "{% for m in messages %}{{ '<|turn|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|turn|>assistant\\n<think>\\n' }}{% endif %}";
    check(state, opened, MESSAGES(USER("q") "," ANSWER("a")), "<|turn|>user\nq<|end|>\n" HEAD "a<|end|>", "a<|end|>",
          "<|turn|>user\nq<|end|>\n" HEAD "<think>\n", "a");
}

// Qwen3 shows the reasoning of the last answer alone.
static void test_an_earlier_answer_without_its_reasoning(void **state)
{
    static const char reasoning[] =
        "{% for m in messages %}{{ '<|turn|>' + m.role + '\\n' }}"
        "{{ m.content if loop.last else m.content.split('</think>')|last }}{{ '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|turn|>assistant\\n' }}{% endif %}";
    check(state, reasoning,
          MESSAGES(USER("a") "," ANSWER("<think>x</think>one") "," USER("b") "," ANSWER("<think>y</think>two")),
          "<|turn|>user\na<|end|>\n" HEAD "one<|end|>\n<|turn|>user\nb<|end|>\n" HEAD "<think>y</think>two<|end|>",
          "<think>y</think>two<|end|>", "<|turn|>user\na<|end|>\n" HEAD "one<|end|>\n<|turn|>user\nb<|end|>\n" HEAD,
          "<think>y</think>two");
}

// Mistral's template moves the system's words to the last message, if that is the user's: the prompt is what is served.
static void test_a_template_that_changes_what_was_said(void **state)
{
    static const char moved[] =
        "{% for m in messages %}{{ '<|turn|>' + m.content + '\n' }}{{ 'LAST\n' if loop.last and m.role == "
        "'user' }}{{ '<|end|>' if m.role == 'assistant' }}{% endfor %}";
    check(state, moved, MESSAGES(USER("a") "," ANSWER("one") "," USER("one") "," ANSWER(" one ")),
          "<|turn|>a\n<|turn|>one\n<|end|><|turn|>one\nLAST\none \n<|end|>", "one \n<|end|>",
          "<|turn|>a\n<|turn|>one\n<|end|><|turn|>one\nLAST\n", " one ");
}

static void test_templates_that_can_not_be_used(void **state)
{
    fixture f;
    open_fixture(&f, state, "{{ messages|length }}{% for m in messages %}{{ m.role }}{% endfor %}", false);
    assert_fails(LORA_ERROR_DATA, load(&f, state, "a.json", MESSAGES(USER("q") "," ANSWER("a b")), NULL),
                 "use another template");
    close_fixture(&f);
    open_fixture(&f, state, "\n{{ raise_exception('users only') }}", false);
    assert_fails(LORA_ERROR_DATA, load(&f, state, "a.json", MESSAGES(USER("q") "," ANSWER("a")), NULL),
                 "a.json: row 1: chat template:2: the template refuses this conversation: users only");
    close_fixture(&f);
}

static void test_an_empty_answer_teaches_to_stop(void **state)
{
    check(state, chatml, MESSAGES(USER("q") "," ANSWER("")), "<|turn|>user\nq<|end|>\n" HEAD "<|end|>", "<|end|>",
          "<|turn|>user\nq<|end|>\n" HEAD, "");
}

#define PREAMBLE \
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
#define PREAMBLE_INPUT \
    "Below is an instruction that describes a task, paired with an input that provides further context. " \
    "Write a response that appropriately completes the request.\n\n"

// Without a chat template: Stanford Alpaca's words.
static void test_alpaca(void **state)
{
    check(state, NULL, "[{\"instruction\": \"Add\", \"input\": \"1 2\", \"output\": \"3\"}]",
          PREAMBLE_INPUT "### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n3<|stop|>", "3<|stop|>",
          PREAMBLE_INPUT "### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n", "3");
    check(state, NULL, "[{\"instruction\": \"Add\", \"output\": \"3\"}]",
          PREAMBLE "### Instruction:\nAdd\n\n### Response:\n3<|stop|>", "3<|stop|>",
          PREAMBLE "### Instruction:\nAdd\n\n### Response:\n", "3");
    check(state, NULL,
          "[{\"instruction\": \"r\", \"output\": \"b\", \"history\": [[\"q\", \"a\"]], \"system\": \"S\"}]",
          "S\n\n### Instruction:\nq\n\n### Response:\na<|stop|>\n\n### Instruction:\nr\n\n### Response:\nb<|stop|>",
          "a<|stop|>b<|stop|>",
          "S\n\n### Instruction:\nq\n\n### Response:\na<|stop|>\n\n### Instruction:\nr\n\n### Response:\n", "b");
}

static void test_a_begin_token_comes_first(void **state)
{
    fixture f;
    open_fixture(&f, state, NULL, true);
    assert_ok(load(&f, state, "a.jsonl", "{\"text\": \"t\"}\n{\"instruction\": \"q\", \"output\": \"a\"}", NULL));
    assert_string_equal(text_of_row(&f, 0), "<|begin|>t<|stop|>");
    assert_string_equal(learnt_in_row(&f, 0), "t<|stop|>");
    assert_memory_equal(text_of_row(&f, 1), "<|begin|>Below", 14);
    close_fixture(&f);
}

static void test_options(void **state)
{
    fixture f;
    lora_dataset_options options;
    lora_dataset_options_init(&options);
    options.train_on_prompt = 1;
    options.template_source = "{% for m in messages %}[{{ m.content }}]{% endfor %}";
    open_fixture(&f, state, chatml, false);
    assert_ok(load(&f, state, "a.json", MESSAGES(USER("q") "," ANSWER("a")), &options));
    assert_string_equal(text_of_row(&f, 0), "[q][a]<|stop|>");
    assert_string_equal(learnt_in_row(&f, 0), "[q][a]<|stop|>");
    assert_int_equal(info_of(&f).label_tokens, 6); // the first id has nothing to be predicted from
    options.template_source = "alpaca";
    assert_ok(load(&f, state, "a.json", MESSAGES(USER("q") "," ANSWER("a")), &options));
    assert_memory_equal(text_of_row(&f, 0), "Below is", 8);
    options.template_source = "{% if %}";
    assert_fails(LORA_ERROR_FORMAT, load(&f, state, "a.json", MESSAGES(USER("q") "," ANSWER("a")), &options),
                 "chat template:1");
    close_fixture(&f);
    open_fixture(&f, state, NULL, false);
    options.template_source = "chat";
    assert_fails(LORA_ERROR_ARGUMENT, load(&f, state, "a.json", MESSAGES(USER("q") "," ANSWER("a")), &options),
                 "no chat template");
    close_fixture(&f);
}

static const char *cut_to(fixture *f, void **state, const char *content, int32_t max_length)
{
    lora_dataset_options options;
    lora_dataset_options_init(&options);
    options.max_length = max_length;
    assert_ok(load(f, state, "a.json", content, &options));
    assert_true(info_of(f).longest_row <= max_length);
    return text_of_row(f, 0);
}

// "<|turn|>user\nabcdef<|end|>\n<|turn|>assistant\nvwxyz<|end|>" has 31 ids, 6 of them the answer's.
static void test_cutting(void **state)
{
    fixture f;
    const char content[] = MESSAGES(USER("abcdef") "," ANSWER("vwxyz"));
    open_fixture(&f, state, chatml, false);
    assert_string_equal(cut_to(&f, state, content, 31), "<|turn|>user\nabcdef<|end|>\n" HEAD "vwxyz<|end|>");
    assert_int_equal(info_of(&f).cut_rows, 0);
    assert_string_equal(cut_to(&f, state, content, 30), "user\nabcdef<|end|>\n" HEAD "vwxyz<|end|>");
    assert_int_equal(info_of(&f).cut_rows, 1);
    assert_string_equal(cut_to(&f, state, content, 17), HEAD "vwxyz<|end|>");
    assert_string_equal(learnt_in_row(&f, 0), "vwxyz<|end|>");
    assert_string_equal(cut_to(&f, state, content, 7), "\nvwxyz<|end|>");
    assert_string_equal(cut_to(&f, state, content, 6), "\nvwxy<|end|>");
    assert_string_equal(learnt_in_row(&f, 0), "vwxy<|end|>");
    assert_string_equal(cut_to(&f, state, content, 2), "\n<|end|>");
    assert_string_equal(learnt_in_row(&f, 0), "<|end|>");
    assert_int_equal(info_of(&f).terminated_rows, 1);
    // An earlier answer is cut before the last one is.
    assert_string_equal(cut_to(&f, state, MESSAGES(USER("a") "," ANSWER("one") "," USER("b") "," ANSWER("two")), 27),
                        "e<|end|>\n<|turn|>user\nb<|end|>\n" HEAD "two<|end|>");
    close_fixture(&f);
}

static void test_cutting_keeps_a_begin_token(void **state)
{
    fixture f;
    static const char with_begin[] = "{{ bos_token }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}";
    open_fixture(&f, state, with_begin, true);
    assert_string_equal(cut_to(&f, state, MESSAGES(USER("abcdef") "," ANSWER("xyz")), 12),
                        "<|begin|>abcdef<|end|>xyz<|end|>");
    assert_string_equal(cut_to(&f, state, MESSAGES(USER("abcdef") "," ANSWER("xyz")), 8),
                        "<|begin|>ef<|end|>xyz<|end|>");
    assert_string_equal(cut_to(&f, state, MESSAGES(USER("abcdef") "," ANSWER("xyz")), 4), "<|begin|>xy<|end|>");
    close_fixture(&f);
}

static void test_long_text(void **state)
{
    fixture f;
    lora_dataset_options options;
    lora_dataset_options_init(&options);
    options.max_length = 4;
    open_fixture(&f, state, NULL, true);
    assert_ok(load(&f, state, "a.json", "[{\"text\": \"abcdefgh\"}]", &options));
    assert_int_equal(rows_in(&f), 3);
    assert_string_equal(text_of_row(&f, 0), "<|begin|>abc");
    assert_string_equal(text_of_row(&f, 1), "defg");
    assert_string_equal(text_of_row(&f, 2), "h<|stop|>");
    assert_string_equal(learnt_in_row(&f, 1), "efg");
    assert_int_equal(info_of(&f).terminated_rows, 1);
    assert_int_equal(info_of(&f).cut_rows, 0);
    options.raw_text_split = 0;
    assert_ok(load(&f, state, "a.json", "[{\"text\": \"abcdefgh\"}]", &options));
    assert_int_equal(rows_in(&f), 1);
    assert_string_equal(text_of_row(&f, 0), "<|begin|>ab<|stop|>");
    assert_int_equal(info_of(&f).cut_rows, 1);
    close_fixture(&f);
}

static void test_tools_reach_the_template(void **state)
{
    static const char tools[] =
        "{% if tools %}{{ tools|tojson }}{% endif %}{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}"
        "{% for c in m.tool_calls %}<call>{{ c.function.name }}{{ c.function.arguments|tojson }}{% endfor "
        "%}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}";
    check(state, tools,
          "[{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"function_call\", \"value\":"
          " \"{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": {\\\"x\\\": 1}}\"}, {\"from\": \"observation\", \"value\": "
          "\"r\"},"
          " {\"from\": \"gpt\", \"value\": \"a\"}], \"tools\": \"[{\\\"name\\\": \\\"f\\\"}]\"}]",
          "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]<|turn|>user\nq<|end|>\n" HEAD
          "<call>f{\"x\": 1}<|end|>\n<|turn|>tool\nr<|end|>\n" HEAD "a<|end|>",
          "<call>f{\"x\": 1}<|end|>a<|end|>",
          "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]<|turn|>user\nq<|end|>\n" HEAD
          "<call>f{\"x\": 1}<|end|>\n<|turn|>tool\nr<|end|>\n" HEAD,
          "a");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(test_every_answer_is_learnt),
        TEST(test_an_answer_of_weight_0_is_context),
        TEST(test_the_end_is_learnt_though_it_is_the_padding),
        TEST(test_a_template_without_an_end_gets_one),
        TEST(test_the_first_special_token_ends_an_answer),
        TEST(test_a_template_that_asks_with_more_than_it_shows),
        TEST(test_an_earlier_answer_without_its_reasoning),
        TEST(test_a_template_that_changes_what_was_said),
        TEST(test_templates_that_can_not_be_used),
        TEST(test_an_empty_answer_teaches_to_stop),
        TEST(test_alpaca),
        TEST(test_a_begin_token_comes_first),
        TEST(test_options),
        TEST(test_cutting),
        TEST(test_cutting_keeps_a_begin_token),
        TEST(test_long_text),
        TEST(test_tools_reach_the_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
