// Every shape of row and every file format, and what is wrong with bad ones.
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define HEAD "<|turn|>assistant\n"

static void check_rows(void **state, const char *name, const char *content, const char *text, const char *learnt)
{
    fixture f;
    open_fixture(&f, state, chatml, false);
    assert_ok(load(&f, state, name, content, NULL));
    assert_int_equal(rows_in(&f), 1);
    assert_string_equal(text_of_row(&f, 0), text);
    assert_string_equal(learnt_in_row(&f, 0), learnt);
    assert_aligned(&f, 0);
    assert_int_equal(info_of(&f).terminated_rows, 1);
    close_fixture(&f);
}

static const char question[] = "<|turn|>user\nWhere?<|end|>\n" HEAD "Here.<|end|>";

static void test_json_shapes(void **state)
{
    check_rows(state, "a.json", "[{\"instruction\": \"Where?\", \"input\": \"\", \"output\": \"Here.\"}]", question,
               "Here.<|end|>");
    check_rows(state, "a.jsonl", "\xEF\xBB\xBF{\"prompt\": \"Where?\", \"completion\": \"Here.\"}\n\n", question,
               "Here.<|end|>");
    check_rows(state, "a.json", "[{\"text\": \"Where?\", \"label\": \"Here.\"}]", question, "Here.<|end|>");
    check_rows(state, "a.json", "[{\"prompt\": \"Where?\", \"chosen\": \"Here.\", \"rejected\": \"There.\"}]", question,
               "Here.<|end|>");
    check_rows(state, "a.json",
               "[{\"messages\": [{\"role\": \"user\", \"content\": \"Where?\"},"
               " {\"role\": \"assistant\", \"content\": \"Here.\"}]}]",
               question, "Here.<|end|>");
    check_rows(state, "a.json",
               "[{\"conversations\": [{\"from\": \"human\", \"value\": \"Where?\"},"
               " {\"from\": \"gpt\", \"value\": \"Here.\"}]}]",
               question, "Here.<|end|>");
    check_rows(state, "a.json",
               "[{\"conversations\": [{\"from\": \"human\", \"value\": \"Where?\"}],"
               " \"chosen\": {\"from\": \"gpt\", \"value\": \"Here.\"}, \"rejected\": {\"from\": \"gpt\", \"value\": "
               "\"No.\"}}]",
               question, "Here.<|end|>");
    check_rows(state, "a.json",
               "[{\"prompt\": [{\"role\": \"user\", \"content\": \"Where?\"}],"
               " \"completion\": [{\"role\": \"assistant\", \"content\": \"Here.\"}]}]",
               question, "Here.<|end|>");
    check_rows(state, "a.json",
               "[{\"chosen\": [{\"role\": \"user\", \"content\": \"Where?\"},"
               " {\"role\": \"assistant\", \"content\": \"Here.\"}], \"rejected\": []}]",
               question, "Here.<|end|>");
    check_rows(state, "a.json",
               "[{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"Whe\"},"
               " {\"type\": \"text\", \"value\": \"re?\"}]}, {\"role\": \"assistant\", \"content\": \"Here.\"},"
               " {\"role\": \"user\", \"content\": \"Thanks\"}]}]",
               question, "Here.<|end|>");
    check_rows(state, "a.json", "[{\"text\": \"n\", \"label\": 3}]", "<|turn|>user\nn<|end|>\n" HEAD "3<|end|>",
               "3<|end|>");
}

static void test_instruction_with_all_its_parts(void **state)
{
    check_rows(state, "a.json",
               "[{\"system\": \"Be kind.\", \"history\": [[\"q\", \"a\"]], \"instruction\": \"Add\","
               " \"input\": \"1 2\", \"output\": \"3\"}]",
               "<|turn|>system\nBe kind.<|end|>\n<|turn|>user\nq<|end|>\n" HEAD
               "a<|end|>\n<|turn|>user\nAdd\n1 2<|end|>\n" HEAD "3<|end|>",
               "a<|end|>3<|end|>");
}

static void test_plain_text(void **state)
{
    check_rows(state, "a.json", "[{\"text\": \"Once\\nupon\"}]", "Once\nupon<|stop|>", "nce\nupon<|stop|>");
    check_rows(state, "a.txt", "Once\nupon", "Once\nupon<|stop|>", "nce\nupon<|stop|>");
}

static void test_tables(void **state)
{
    check_rows(state, "a.csv", "instruction,input,output\r\nWhere?,,Here.\r\n", question, "Here.<|end|>");
    check_rows(state, "a.tsv", "text\tlabel\nWhere?\tHere.", question, "Here.<|end|>");
    check_rows(state, "a.csv", "\xEF\xBB\xBFprompt,\"completion\"\n\n\"a, \"\"b\"\"\nc\",\"d\r\ne\"\n",
               "<|turn|>user\na, \"b\"\nc<|end|>\n" HEAD "d\r\ne<|end|>", "d\r\ne<|end|>");
}

static void test_compressed(void **state)
{
    fixture f;
    open_fixture(&f, state, chatml, false);
    const char *path = in_directory(state, "a.jsonl.gz");
    gzFile file = gzopen(path, "wb");
    gzputs(file, "{\"prompt\": \"Where?\", \"completion\": \"Here.\"}\n{\"prompt\": \"b\", \"completion\": \"c\"}\n");
    gzclose(file);
    assert_ok(lora_dataset_load(f.context, f.tokenizer, &path, 1, NULL, &f.dataset));
    assert_int_equal(rows_in(&f), 2);
    assert_string_equal(text_of_row(&f, 0), question);
    close_fixture(&f);
}

static void test_ids(void **state)
{
    fixture f;
    const int32_t *ids, *labels;
    size_t count;
    open_fixture(&f, state, NULL, false);
    assert_ok(load(&f, state, "a.jsonl",
                   "{\"input_ids\": [5, 6, 7]}\n{\"input_ids\": [5, 6, 259], \"labels\": [-100, -100, 259]}", NULL));
    assert_ok(lora_dataset_row(f.dataset, 0, &ids, &labels, &count));
    assert_int_equal(count, 3);
    assert_memory_equal(ids, ((int32_t[]){5, 6, 7}), 12);
    assert_memory_equal(labels, ((int32_t[]){-100, 6, 7}), 12);
    assert_ok(lora_dataset_row(f.dataset, 1, &ids, &labels, &count));
    assert_memory_equal(labels, ((int32_t[]){-100, -100, 259}), 12);
    lora_dataset_info info = info_of(&f);
    assert_int_equal(info.rows, 2);
    assert_int_equal(info.tokens, 6);
    assert_int_equal(info.label_tokens, 3);
    assert_int_equal(info.terminated_rows, 1);
    assert_int_equal(info.longest_row, 3);
    assert_int_equal(info.response_rows, 0);
    const char *prompt = "", *path = in_directory(state, "a.jsonl");
    assert_ok(lora_dataset_row_text(f.dataset, 0, &prompt, NULL));
    assert_null(prompt);
    // Rows of ids need no tokenizer.
    lora_dataset_free(f.dataset);
    assert_ok(lora_dataset_load(f.context, NULL, &path, 1, NULL, &f.dataset));
    assert_int_equal(rows_in(&f), 2);
    close_fixture(&f);
}

static void test_bad_rows(void **state)
{
    static const struct {
        const char *name, *content;
        lora_status status;
        const char *message;
    } cases[] = {
        {"a.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"instruction\": \"a\"}", LORA_ERROR_DATA,
         "a.jsonl:2: the row has no 'output'"},
        {"a.json", "[{\"output\": \"a\"}]", LORA_ERROR_DATA, "a.json: row 1: the row has no 'instruction'"},
        {"a.json", "[{\"prompt\": \"a\"}]", LORA_ERROR_DATA, "has no 'completion'"},
        {"a.json", "[{\"instruction\": \"a\", \"output\": 5}]", LORA_ERROR_DATA, "other than a text in 'output'"},
        {"a.json", "[{\"colour\": \"a\", \"size\": 1}]", LORA_ERROR_DATA, "'colour', 'size'"},
        {"a.json", "[{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}]", LORA_ERROR_DATA, "nothing to learn"},
        {"a.json", "[{\"messages\": [{\"role\": \"user\"}]}]", LORA_ERROR_DATA, "without 'content'"},
        {"a.json", "[{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"value\": \"x\"}]}]}]",
         LORA_ERROR_DATA, "holds 'image'"},
        {"a.json", "[3]", LORA_ERROR_DATA, "row 1: the row is no object"},
        {"a.json", "[]", LORA_ERROR_DATA, "there are no rows"},
        {"a.jsonl", "\n \n", LORA_ERROR_DATA, "there are no rows"},
        {"a.txt", " \n", LORA_ERROR_DATA, "there are no rows"},
        {"a.csv", "", LORA_ERROR_DATA, "there are no rows"},
        {"a.json", "[{\"text\": \"\"}]", LORA_ERROR_DATA, "is empty"},
        {"a.json", "[{\"text\": \"a\\u0000b\"}]", LORA_ERROR_DATA, "zero character"},
        {"a.json", "[{\"input_ids\": [1, 300]}]", LORA_ERROR_DATA, "input_ids[1] is 300"},
        {"a.json", "[{\"input_ids\": [1, -1]}]", LORA_ERROR_DATA, "input_ids[1] is -1"},
        {"a.json", "[{\"input_ids\": [1, 1.5]}]", LORA_ERROR_DATA, "input_ids[1]"},
        {"a.json", "[{\"input_ids\": []}]", LORA_ERROR_DATA, "'input_ids'"},
        {"a.json", "[{\"input_ids\": [1, 2], \"labels\": [1]}]", LORA_ERROR_DATA, "1 labels for 2 ids"},
        {"a.json", "[{\"input_ids\": [1, 2], \"labels\": [-100, -7]}]", LORA_ERROR_DATA, "labels[1] is -7"},
        {"a.jsonl", "{\"text\": \"a\"}\n{\"text\": ", LORA_ERROR_FORMAT, "a.jsonl:2"},
        {"a.json", "[{\"text\": \"a\"}", LORA_ERROR_FORMAT, "a.json"},
        {"a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xE9t\xE9\"}", LORA_ERROR_DATA,
         "a.jsonl:2: the text is neither UTF-8"},
        {"a.jsonl", "{\"text\": \"你好你好\"}\n{\"text\": \"\xC4\xE3\"}", LORA_ERROR_DATA,
         "a.jsonl:2: the text is not UTF-8, but the rest"},
        {"a.json", "[{\"prompt\": \"a\", \"completion\": \"b\", \"images\": [\"c.jpg\"]}]", LORA_ERROR_DATA,
         "row 1: the row comes with 'images'"},
        {"a.json", "[{\"prompt\": \"a\", \"completion\": \"b\", \"label\": false}]", LORA_ERROR_DATA,
         "there are no rows"},
        {"a.json:b", "[]", LORA_ERROR_UNSUPPORTED, "a.json:b"},
        {"a.csv", "prompt,completion\na,b\nc", LORA_ERROR_DATA, "a.csv:3: 1 fields, but the first line names 2"},
        {"a.csv", "prompt,completion\na,\"b\n\nc", LORA_ERROR_FORMAT,
         "a.csv:2: a field that begins with a quote has no end"},
        {"a.csv", "Where?,Here.\nWho?,Me.\n", LORA_ERROR_DATA,
         "a.csv: the first line of the table names no known columns: it has 'Where?', 'Here.'; begin the file with"},
        {"a.xml", "<a/>", LORA_ERROR_UNSUPPORTED, "a.xml"},
    };
    fixture f;
    open_fixture(&f, state, chatml, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(cases[i].status, load(&f, state, cases[i].name, cases[i].content, NULL), cases[i].message);
    const char *missing = in_directory(state, "missing.json");
    assert_fails(LORA_ERROR_NOT_FOUND, lora_dataset_load(f.context, f.tokenizer, &missing, 1, NULL, &f.dataset),
                 "missing.json");
    const char *path = in_directory(state, "text.json");
    put_file(path, "[{\"text\": \"a\"}]", 15);
    assert_fails(LORA_ERROR_ARGUMENT, lora_dataset_load(f.context, NULL, &path, 1, NULL, &f.dataset),
                 "need a tokenizer");
    close_fixture(&f);
}

static void test_bad_options(void **state)
{
    fixture f;
    lora_dataset_options options;
    open_fixture(&f, state, chatml, false);
    lora_dataset_options_init(&options);
    options.max_length = 1;
    assert_fails(LORA_ERROR_ARGUMENT, load(&f, state, "a.json", "[]", &options), "max_length is 1: at least 2 ids");
    lora_dataset_options_init(&options);
    options.max_rows = -1;
    assert_fails(LORA_ERROR_ARGUMENT, load(&f, state, "a.json", "[]", &options), "max_rows is -1: expected 0 (all)");
    close_fixture(&f);
}

static void test_several_files_and_a_limit(void **state)
{
    fixture f;
    lora_dataset_options options;
    lora_dataset_options_init(&options);
    options.max_rows = 3;
    open_fixture(&f, state, chatml, false);
    const char *paths[] = {in_directory(state, "a.jsonl"), in_directory(state, "b.csv")};
    put_file(paths[0], "{\"text\": \"one\"}\n{\"text\": \"two\"}\n", 32);
    put_file(paths[1], "text\nthree\nfour\n", 16);
    assert_ok(lora_dataset_load(f.context, f.tokenizer, paths, 2, &options, &f.dataset));
    assert_int_equal(rows_in(&f), 3);
    assert_string_equal(text_of_row(&f, 2), "three<|stop|>");
    close_fixture(&f);
}

// Names of columns in use, in both languages; where one row has two questions, `query` is the input.
static void test_names_of_columns(void **state)
{
    static const char *const rows[] = {
        "{\"question\": \"Where?\", \"answer\": \"Here.\"}",       "{\"Query\": \"Where?\", \"Response\": \"Here.\"}",
        "{\"prompt\": \"Where?\", \"response\": \"Here.\"}",       "{\"问题\": \"Where?\", \"回答\": \"Here.\"}",
        "{\"指令\": \"Where?\", \"输入\": \"\", \"输出\": \"Here.\"}", "{\"input\": \"Where?\", \"target\": \"Here.\"}",
        "{\"文本\": \"Where?\", \"标签\": \"Here.\"}",             "{\"review\": \"Where?\", \"label\": \"Here.\"}",
        "{\"prompt\": null, \"question\": \"Where?\", \"output\": \"Here.\"}",
        ("{\"conversation\": [{\"role\": \"user\", \"content\": \"Where?\"}, "
         "{\"role\": \"assistant\", \"content\": \"Here.\"}]}"),
        "{\"instruction\": \"Where?\", \"response\": \"Here.\", \"label\": true}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_rows(state, "a.jsonl", rows[i], question, "Here.<|end|>");
    check_rows(state, "a.jsonl", "{\"prompt\": \"Add\", \"query\": \"1 2\", \"response\": \"3\"}",
               "<|turn|>user\nAdd\n1 2<|end|>\n" HEAD "3<|end|>", "3<|end|>");
}

static void test_delimiters(void **state)
{
    check_rows(state, "a.csv", "question;answer\nWhere?;Here.\n", question, "Here.<|end|>");
    check_rows(state, "a.csv", "问题\t回答\nWhere?\tHere.\n", question, "Here.<|end|>");
    check_rows(state, "a.tsv", "问题,回答\nWhere?,Here.\n", question, "Here.<|end|>");
    check_rows(state, "a.txt", "问题、回答\nWhere?、Here.\n", question, "Here.<|end|>");
    check_rows(state, "a.txt", "prompt|completion\n\"Where?\"|\"Here.\"\n", question, "Here.<|end|>");
    check_rows(state, "a.csv", "id;Question;Answer;source\n1;Where?;Here.;a,b\n", question, "Here.<|end|>");
    check_rows(state, "a.txt", "question, answer: what are they?", "question, answer: what are they?<|stop|>",
               "uestion, answer: what are they?<|stop|>");
}

typedef struct loading {
    const fixture *f;
    const char *path;
} loading;

static lora_status load_rows(lora_context *context, failing_allocator *memory, long n, void *user)
{
    const loading *l = user;
    lora_dataset *dataset = NULL;
    memory->until_failure = n;
    lora_status status = lora_dataset_load(context, l->f->tokenizer, &l->path, 1, NULL, &dataset);
    memory->until_failure = -1;
    lora_dataset_free(dataset);
    return status;
}

// Every allocation of a load fails once: the load says so, and nothing is left behind.
static void test_no_memory(void **state)
{
    fixture f;
    open_fixture(&f, state, chatml, false);
    const char *path = in_directory(state, "a.json");
    static const char content[] =
        "[{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"c\"}, {\"text\": \"d\"}, {\"input_ids\": [1]}]";
    put_file(path, content, strlen(content));
    loading l = {&f, path};
    fail_each_allocation(load_rows, &l);
    close_fixture(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_directory, remove_test_directory)
    const struct CMUnitTest tests[] = {
        TEST(test_json_shapes),      TEST(test_instruction_with_all_its_parts),
        TEST(test_plain_text),       TEST(test_tables),
        TEST(test_compressed),       TEST(test_ids),
        TEST(test_bad_rows),         TEST(test_bad_options),
        TEST(test_names_of_columns), TEST(test_several_files_and_a_limit),
        TEST(test_delimiters),       TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
