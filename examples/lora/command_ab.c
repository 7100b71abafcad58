// lora ab: base against adapter, or two adapters, judged blind.
#include "ab_keys.h"
#include "conversation.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const verb_help help = {
    .usage = "lora ab MODEL --adapter A [--adapter-b B] --data DATA --output FILE [options]\n"
             "lora ab FILE [--judge NAME]          judge a test that is there\n"
             "lora ab --merge FILE FILE... [--output FILE]",
    .english = "A blind test: both answer the same prompts, you choose the better answer without\n"
               "knowing whose it is. Keys: 1 or left, 2 or right, = a tie, u undo, q stop and go\n"
               "on later. Without a terminal the keys are read from standard input.",
    .chinese = "盲测：两个系统回答同样的问题，您在不知道是谁的情况下选出更好的回答。\n"
               "按键：1 或 ← 选左边，2 或 → 选右边，= 平局，u 撤销，q 停下、以后继续。\n"
               "没有终端时，从标准输入读取按键。",
    .example =
        "lora ab examples/base --adapter my-adapter --data heldout.jsonl \\\n      --judge me --output test.json",
    .common = "adapter adapter-b data output judge merge max-rows report sampled",
    .arguments = 0,
    .most_arguments = 1,
};

typedef struct settings {
    text_list adapters, adapters_b, data, merge;
    const char *output, *judge, *template_source, *report;
    int64_t max_rows, max_length;
    sampling_settings sampling;
    bool sampled;
} settings;

static const option options[] = {
    {"adapter", OPTION_TEXTS, offsetof(settings, adapters), "DIR[=WEIGHT]", "the one system", "一方使用的适配器"},
    {"adapter-b", OPTION_TEXTS, offsetof(settings, adapters_b), "DIR[=WEIGHT]", "the other (default: the base alone)",
     "另一方使用的适配器（默认只用底座）"},
    {"data", OPTION_TEXTS, offsetof(settings, data), "FILE", "rows whose prompts are answered", "用其中的问题来提问"},
    {"output", OPTION_TEXT, offsetof(settings, output), "FILE.json", "the test: answers and verdicts",
     "保存测试：回答和评判"},
    {"judge", OPTION_TEXT, offsetof(settings, judge), "NAME", "who judges (default: you)", "评判者的名字（默认 you）"},
    {"merge", OPTION_TEXTS, offsetof(settings, merge), "FILE", "put the judges of several files together",
     "合并多个文件里的评判"},
    {"max-rows", OPTION_INTEGER, offsetof(settings, max_rows), "N", "the first N prompts", "只用前 N 个问题"},
    {"max-length", OPTION_INTEGER, offsetof(settings, max_length), "512", "tokens of a row", "每行最多的词元数"},
    {"template", OPTION_TEMPLATE, offsetof(settings, template_source), "alpaca|chat|FILE", "how rows become text",
     "数据的文本模板"},
    {"sampled", OPTION_FLAG, offsetof(settings, sampled), NULL, "answers are drawn, not the likeliest",
     "随机采样回答（默认取最可能的）"},
    {"report", OPTION_TEXT, offsetof(settings, report), "FILE.html", "the result as a page", "把结果写成网页"},
    SAMPLING_OPTIONS(settings, sampling),
    {0},
};

typedef struct job {
    application *app;
    const settings *settings;
    lora_ab *test;
} job;

// ---- making a test --------------------------------------------------------------------------------------------------

static void join(const text_list *list, const char *none, char *text, size_t size)
{
    snprintf(text, size, "%s", list->count ? "" : none);
    for (size_t i = 0; i < list->count; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s%s", i ? "+" : "", list->items[i]);
}

// What a test is of: the same text, the same test.
static void describe(const job *j, char *text, size_t size)
{
    const settings *s = j->settings;
    char a[1024], b[1024], data[1024];
    join(&s->adapters, "base", a, sizeof a);
    join(&s->adapters_b, "base", b, sizeof b);
    join(&s->data, "", data, sizeof data);
    snprintf(text, size, "%s: %s against %s on %s, first %" PRId64 " rows, %" PRId64 " tokens, %s, seed %" PRId64,
             j->app->arguments.items[0], a, b, data, s->max_rows, s->sampling.max_new_tokens,
             s->sampled ? "sampled" : "greedy", j->app->seed);
}

static int32_t show_answers(int64_t done, int64_t total, void *user)
{
    const job *j = user;
    if (isatty(2) && !j->app->quiet)
        fprintf(stderr, say(j->app, "\ranswer %" PRId64 " of %" PRId64 "%s", "\r回答 %" PRId64 "/%" PRId64 "%s"), done,
                total, done == total ? "\n" : "");
    return interrupted();
}

static void no_handle(void *handle)
{
    (void)handle;
}

static lora_status prepare(job *j, const lora_model *model, const lora_dataset *data, const char *about)
{
    const settings *s = j->settings;
    adapter_set a = {.count = 0}, b = {.count = 0};
    char name_a[1024], name_b[1024];
    lora_ab_options o;
    lora_generate_options generate;
    make_generate_options(j->app, &s->sampling, &generate);
    if (!s->sampled) generate.temperature = 0;
    join(&s->adapters, "base", name_a, sizeof name_a);
    join(&s->adapters_b, "base", name_b, sizeof name_b);
    lora_ab_options_init(&o);
    o.name_a = name_a;
    o.name_b = name_b;
    o.seed = (uint64_t)j->app->seed;
    o.max_rows = (int32_t)s->max_rows;
    o.generate = &generate;
    o.about = about;
    lora_status status = open_adapters(model, &s->adapters, &a);
    if (status == LORA_OK) status = open_adapters(model, &s->adapters_b, &b);
    on_interrupt(no_handle, NULL);
    if (status == LORA_OK)
        status = lora_ab_prepare(model, a.uses, a.count, b.uses, b.count, data, &o, show_answers, j, &j->test);
    on_interrupt(NULL, NULL);
    close_adapters(&a);
    close_adapters(&b);
    return status;
}

static int make_test(job *j, const char *about)
{
    const settings *s = j->settings;
    lora_model *model = NULL;
    lora_dataset *data = NULL;
    lora_dataset_options o;
    lora_dataset_options_init(&o);
    o.max_length = (int32_t)s->max_length;
    o.template_source = s->template_source;
    lora_status status = open_model(j->app, j->app->arguments.items[0], NULL, &model);
    if (status == LORA_OK)
        status =
            lora_dataset_load(j->app->context, lora_model_tokenizer(model), s->data.items, s->data.count, &o, &data);
    if (status == LORA_OK) status = prepare(j, model, data, about);
    if (status == LORA_OK) status = lora_ab_save(j->test, s->output, j->app->force);
    lora_dataset_free(data);
    lora_model_free(model);
    return status == LORA_OK ? EXIT_DONE : failed(j->app, status);
}

// FILE of an earlier call: the same test goes on.
static int open_test(job *j, const char *about)
{
    const application *app = j->app;
    lora_status status = open_context(j->app);
    if (status == LORA_OK) status = lora_ab_load(app->context, j->settings->output, &j->test);
    if (status != LORA_OK) return failed(app, status);
    if (about && strcmp(lora_ab_about(j->test), about) != 0)
        return complain(app, EXIT_WORK,
                        say(app, "%s is another test (%s); choose another --output, or --force to overwrite",
                            "%s 是另一个测试（%s）；请换一个 --output，或用 --force 覆盖"),
                        j->settings->output, lora_ab_about(j->test));
    note(app, say(app, "going on with %s", "继续 %s"), j->settings->output);
    return EXIT_DONE;
}

// ---- the result -----------------------------------------------------------------------------------------------------

static int print_result(const job *j)
{
    const application *app = j->app;
    lora_ab_result result = {.struct_size = sizeof result};
    const char *text;
    lora_status status = lora_ab_json(j->test, &text);
    if (status == LORA_OK && j->settings->report) {
        report_part part = {"ab", text};
        int written = write_report(app, j->settings->report, &part, 1);
        if (written != EXIT_DONE) return written;
    }
    if (status == LORA_OK && app->json) return puts(text) < 0;
    if (status == LORA_OK) status = lora_ab_get_result(j->test, &result);
    if (status != LORA_OK) return failed(app, status);
    printf("%s\n", say(app, result.sentence_en, result.sentence_zh));
    if (result.identical)
        printf(say(app, "%" PRId64 " pairs were the same text twice: ties.\n",
                   "有 %" PRId64 " 组两边回答完全相同：计为平局。\n"),
               result.identical);
    if (!isnan(result.agreement))
        printf(say(app, "%" PRId64 " judges agree on %.0f%% of what two of them saw (Krippendorff's alpha %.2f).\n",
                   "%" PRId64 " 位评判者在共同评过的题上有 %.0f%% 一致（Krippendorff α 为 %.2f）。\n"),
               result.judges, 100 * result.agreement, result.alpha);
    return EXIT_DONE;
}

// ---- verbs ----------------------------------------------------------------------------------------------------------

static int judge(job *j)
{
    const application *app = j->app;
    const char *name = j->settings->judge ? j->settings->judge : "you";
    lora_ab_item item = {.struct_size = sizeof item};
    int status = judge_by_keys(app, j->test, name, j->settings->output);
    if (status != EXIT_DONE) return status;
    if (lora_ab_next(j->test, name, &item) != LORA_OK) return failed(app, LORA_ERROR_ARGUMENT);
    if (item.index >= 0)
        note(app,
             say(app, "%" PRId64 " of %" PRId64 " judged; `lora ab %s --judge %s` goes on",
                 "已评 %" PRId64 "/%" PRId64 "；用 `lora ab %s --judge %s` 继续"),
             item.done, item.total, j->settings->output, name);
    return print_result(j);
}

static int merge(job *j)
{
    const settings *s = j->settings;
    lora_status status = open_context(j->app);
    for (size_t i = 0; i < s->merge.count && status == LORA_OK; i++) {
        lora_ab *other = NULL;
        status = lora_ab_load(j->app->context, s->merge.items[i], &other);
        if (status == LORA_OK && !j->test) {
            j->test = other;
            continue;
        }
        if (status == LORA_OK) status = lora_ab_merge(j->test, other);
        lora_ab_free(other);
    }
    if (status == LORA_OK && s->output) status = lora_ab_save(j->test, s->output, j->app->force);
    return status == LORA_OK ? print_result(j) : failed(j->app, status);
}

static bool is_test(const char *path)
{
    size_t length = strlen(path);
    return length > 5 && strcmp(path + length - 5, ".json") == 0;
}

static int check(const application *app, const settings *s)
{
    if (s->adapters.count == 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--adapter is missing: what should be compared?", "缺少 --adapter：要比较什么？"));
    if (s->data.count == 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--data is missing: which prompts should be answered?", "缺少 --data：用哪些问题？"));
    if (!s->output)
        return complain(
            app, EXIT_USAGE,
            say(app, "--output is missing: where should the test be kept?", "缺少 --output：测试保存到哪里？"));
    return EXIT_DONE;
}

static int run(job *j, settings *s)
{
    const application *app = j->app;
    const char *model = app->arguments.count ? app->arguments.items[0] : NULL;
    char about[8192];
    int checked = check_report(app, s->report);
    if (checked != EXIT_DONE) return checked;
    if (s->merge.count) return merge(j);
    if (!model) return complain(app, EXIT_USAGE, say(app, "usage: %s", "用法：%s"), help.usage);
    if (is_test(model)) {
        s->output = model;
        int status = open_test(j, NULL);
        return status == EXIT_DONE ? judge(j) : status;
    }
    int status = check(app, s);
    if (status != EXIT_DONE) return status;
    describe(j, about, sizeof about);
    status = path_exists(s->output) && !app->force ? open_test(j, about) : make_test(j, about);
    return status == EXIT_DONE ? judge(j) : status;
}

int command_ab(application *app, int count, char **words)
{
    settings s = {.max_length = 512};
    job j = {.app = app, .settings = &s};
    sampling_settings_init(&s.sampling);
    s.sampling.max_new_tokens = 128;
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    status = run(&j, &s);
    lora_ab_free(j.test);
    return status;
}
