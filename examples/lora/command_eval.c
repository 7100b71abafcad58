// lora eval: how well a model answers held-out rows, or how good answers in a file are.
#include "eval_settings.h"
#include "eval_table.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const verb_help help = {
    .usage = "lora eval MODEL [--adapter ADAPTER[=WEIGHT]]... --data DATA [options]\n       lora eval --predictions "
             "FILE [options]",
    .english = "Loss on DATA; then each prompt is answered, and the answers are scored against\nthose expected. FILE "
               "holds rows of prediction and reference.",
    .chinese = "先算损失，再逐条回答 DATA 里的提问，并与参考答案比较打分。\nFILE 的每行有 prediction 和 reference。",
    .example = "lora eval examples/base --adapter my-adapter --baseline base \\\n      --data "
               "examples/data/weekly_report.heldout.jsonl",
    .common =
        "adapter data predictions baseline metrics labels classify max-new-tokens checklist per-example output report",
    .arguments = 1,
    .most_arguments = 1,
};

typedef struct settings {
    eval_settings eval;
    text_list adapters, data;
    const char *predictions, *baseline, *per_example, *output, *report;
    bool checklist;
} settings;

static const option options[] = {
    {"adapter", OPTION_TEXTS, offsetof(settings, adapters), "DIR[=WEIGHT]", "adapters in use", "使用的适配器"},
    {"data", OPTION_TEXTS, offsetof(settings, data), "FILE", "rows to measure on", "用于评估的数据"},
    {"predictions", OPTION_TEXT, offsetof(settings, predictions), "FILE", "score these answers; no model",
     "给现成的回答打分，不用模型"},
    {"baseline", OPTION_TEXT, offsetof(settings, baseline), "FILE|base", "compare with other answers, or the base",
     "与另一份回答或基础模型比较"},
    EVAL_OPTIONS(settings, eval),
    {"checklist", OPTION_FLAG, offsetof(settings, checklist), NULL, "show the samples worth a look",
     "列出值得看的样例"},
    {"per-example", OPTION_TEXT, offsetof(settings, per_example), "FILE", "one JSON object a row", "每行写一个 JSON"},
    {"output", OPTION_TEXT, offsetof(settings, output), "FILE", "everything, checklist forms too, as JSON",
     "全部结果和检查表，JSON"},
    {"report", OPTION_TEXT, offsetof(settings, report), "FILE.html", "the result as a page", "把结果写成网页"},
    {0},
};

typedef struct job {
    application *app;
    const settings *s;
    eval_plan plan;
    lora_evaluation *evaluation;
    lora_model *model;
    lora_dataset *data;
    adapter_set adapters;
    double last_line;
} job;

// ---- answers in a file ---------------------------------------------------------------------------------------------

typedef struct reader {
    job *j;
    const char *path;
    int32_t system;
    lora_status status; // of adding a row
    int result;         // EXIT_ after complaining
    int64_t rows;
} reader;

static const char *text_at(const json_t *row, const char *const *keys)
{
    for (; *keys; keys++)
        if (json_object_get(row, *keys)) return json_string_value(json_object_get(row, *keys));
    return NULL;
}

static size_t take_references(const json_t *row, const char **references, size_t most)
{
    static const char *const keys[] = {"reference", "label", "answer", NULL};
    const json_t *list = json_object_get(row, "references");
    size_t count = 0;
    if (json_is_array(list))
        for (; count < json_array_size(list) && count < most; count++)
            references[count] = json_string_value(json_array_get(list, count));
    else if ((references[0] = text_at(row, keys)))
        count = 1;
    for (size_t i = 0; i < count; i++)
        if (!references[i]) return 0;
    return count;
}

// The names that LLaMA-Factory gives its predictions stand beside ours.
static int32_t take_row(const char *json, size_t length, int64_t line, void *user)
{
    static const char *const prediction_keys[] = {"prediction", "predict", NULL}, *const prompt_keys[] = {"prompt",
                                                                                                          NULL};
    reader *r = user;
    const application *app = r->j->app;
    const char *references[64];
    if (r->j->s->eval.max_rows > 0 && r->rows == r->j->s->eval.max_rows) return 1;
    json_t *object = json_loadb(json, length, 0, NULL);
    lora_evaluation_row row = {.struct_size = sizeof row,
                               .prediction = text_at(object, prediction_keys),
                               .prompt = text_at(object, prompt_keys),
                               .references = references,
                               .reference_count = take_references(object, references, 64)};
    const char *missing = !row.prediction                                        ? "prediction"
                          : r->system == LORA_SYSTEM && row.reference_count == 0 ? "reference"
                                                                                 : NULL;
    if (missing)
        r->result =
            complain(app, EXIT_WORK, say(app, "%s:%lld: the row has no text under '%s'", "%s:%lld：这一行没有“%s”文本"),
                     r->path, (long long)line, missing);
    else
        r->status = lora_evaluation_add(r->j->evaluation, r->system, &row);
    json_decref(object);
    r->rows++;
    return missing || r->status != LORA_OK;
}

static int read_answers(job *j, const char *path, int32_t system)
{
    reader r = {.j = j, .path = path, .system = system};
    lora_status status = lora_dataset_read_rows(j->app->context, path, take_row, &r);
    if (r.result != EXIT_DONE) return r.result;
    if (r.status == LORA_ERROR_STATE)
        return complain(j->app, EXIT_WORK,
                        say(j->app, "%s holds more rows than were scored: both need the same rows in the same order",
                            "%s 的行数比被评估的多：两者须是同样的行、同样的顺序"),
                        path);
    if (r.status != LORA_OK) return failed(j->app, r.status);
    return status == LORA_OK || status == LORA_ERROR_CANCELLED ? EXIT_DONE : failed(j->app, status);
}

// ---- a model's answers ---------------------------------------------------------------------------------------------

static int32_t show_progress(const lora_evaluation_progress *p, void *user)
{
    static const char *const english[] = {"loss", "answers", "labels"}, *const chinese[] = {"损失", "回答", "类别"};
    job *j = user;
    double time = now();
    bool terminal = isatty(2) != 0, last = p->row + 1 == p->rows;
    if (j->app->quiet || p->phase == LORA_EVALUATION_LOSS || (time - j->last_line < (terminal ? 0.1 : 5) && !last))
        return 0;
    j->last_line = time;
    fprintf(stderr, "%s%s%s %lld/%lld%s", terminal ? "\r" : "",
            p->system == LORA_SYSTEM_BASELINE ? say(j->app, "base: ", "基础模型：") : "",
            say(j->app, english[p->phase], chinese[p->phase]), (long long)p->row + 1, (long long)p->rows,
            terminal && !last ? "\033[K" : "\n");
    return 0;
}

static lora_status load(job *j)
{
    const settings *s = j->s;
    lora_status status = open_model(j->app, j->app->arguments.items[0], NULL, &j->model);
    if (status == LORA_OK)
        status = lora_dataset_load(j->app->context, lora_model_tokenizer(j->model), s->data.items, s->data.count,
                                   &j->plan.dataset, &j->data);
    return status == LORA_OK ? open_adapters(j->model, &s->adapters, &j->adapters) : status;
}

static int measure(job *j)
{
    bool base = j->s->baseline && strcmp(j->s->baseline, "base") == 0;
    lora_status status = load(j);
    if (status != LORA_OK) return failed(j->app, status);
    on_interrupt((void (*)(void *))lora_evaluation_cancel, j->evaluation);
    status = lora_evaluation_run(j->evaluation, LORA_SYSTEM, j->model, j->adapters.uses, j->adapters.count, j->data,
                                 show_progress, j);
    if (status == LORA_OK && base)
        status = lora_evaluation_run(j->evaluation, LORA_SYSTEM_BASELINE, j->model, NULL, 0, j->data, show_progress, j);
    on_interrupt(NULL, NULL);
    if (status != LORA_OK) return failed(j->app, status);
    return j->s->baseline && !base ? read_answers(j, j->s->baseline, LORA_SYSTEM_BASELINE) : EXIT_DONE;
}

static int score_file(job *j)
{
    int result = read_answers(j, j->s->predictions, LORA_SYSTEM);
    return result == EXIT_DONE && j->s->baseline ? read_answers(j, j->s->baseline, LORA_SYSTEM_BASELINE) : result;
}

// ---- results -------------------------------------------------------------------------------------------------------

static bool write_rows(FILE *file, const json_t *document, bool checklist)
{
    size_t i;
    json_t *example;
    json_array_foreach(json_object_get(document, "examples"), i, example)
    {
        json_t *row = json_copy(example);
        if (!checklist) json_object_del(row, "checklist");
        bool written = row && json_dumpf(row, file, 0) == 0 && fputc('\n', file) != EOF;
        json_decref(row);
        if (!written) return false;
    }
    return true;
}

// A file that appears whole: `rows` of the document, or (false) all of it.
static int write_file(const application *app, const char *path, const json_t *document, bool rows, bool checklist)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return complain(app, EXIT_USAGE, say(app, "%s: the path is too long", "%s：路径太长"), path);
    FILE *file = fopen(part, "w");
    bool written =
        file && (rows ? write_rows(file, document, checklist) : json_dumpf(document, file, JSON_INDENT(1)) == 0);
    if (file && fclose(file) != 0) written = false;
    if (written && rename(part, path) == 0) return EXIT_DONE;
    int result =
        complain(app, EXIT_WORK, say(app, "%s: could not be written: %s", "%s：写入失败：%s"), path, strerror(errno));
    if (file) remove(part);
    return result;
}

static int give_results(job *j)
{
    const settings *s = j->s;
    const application *app = j->app;
    const char *text;
    lora_status status = lora_evaluation_json(j->evaluation, 1, &text);
    if (status != LORA_OK) return failed(app, status);
    json_t *document = json_loads(text, 0, NULL);
    if (!document) return complain(app, EXIT_WORK, "%s", say(app, "out of memory", "内存不足"));
    const report_part part = {"evaluate", text};
    int result = s->report ? write_report(app, s->report, &part, 1) : EXIT_DONE;
    if (result == EXIT_DONE)
        result = s->per_example ? write_file(app, s->per_example, document, true, s->checklist) : EXIT_DONE;
    if (result == EXIT_DONE && s->output) result = write_file(app, s->output, document, false, true);
    if (result == EXIT_DONE && !app->json) {
        print_evaluation(app, document, s->eval.metrics.count > 0, s->checklist);
        if (s->per_example) printf("%s\n", s->per_example);
        if (s->output) printf("%s\n", s->output);
    }
    json_object_del(document, "examples");
    if (result == EXIT_DONE && app->json &&
        (json_dumpf(document, stdout, 0) != 0 || putchar('\n') < 0 || fflush(stdout) != 0))
        result = EXIT_WORK;
    json_decref(document);
    return result;
}

// ---- what was asked for --------------------------------------------------------------------------------------------

static int make_evaluation(job *j)
{
    int result = make_eval_plan(j->app, &j->s->eval, &j->plan);
    if (result != EXIT_DONE) return result;
    lora_status status = open_context(j->app);
    if (status == LORA_OK) status = lora_evaluation_create(j->app->context, &j->plan.evaluation, &j->evaluation);
    if (status == LORA_ERROR_ARGUMENT) return complain(j->app, EXIT_USAGE, "%s", lora_error_message());
    return status == LORA_OK ? EXIT_DONE : failed(j->app, status);
}

static int check_settings(const application *app, const settings *s)
{
    const char *outputs[] = {s->per_example, s->output};
    if (s->predictions && (s->data.count || s->adapters.count))
        return complain(app, EXIT_USAGE, "%s",
                        say(app, "--predictions scores answers that are there: without a model, --adapter and --data",
                            "--predictions 给现成的回答打分：不能同时指定模型、--adapter 或 --data"));
    if (!s->predictions && s->data.count == 0)
        return complain(app, EXIT_USAGE, "%s",
                        say(app, "--data is missing: what to measure on?", "缺少 --data：用什么数据评估？"));
    if (s->predictions && s->baseline && strcmp(s->baseline, "base") == 0)
        return complain(app, EXIT_USAGE, "%s",
                        say(app, "--baseline base needs a model; name a file of answers",
                            "--baseline base 需要模型；请改为另一份回答文件"));
    if (s->predictions && s->eval.classify && strcmp(s->eval.classify, "likelihood") == 0)
        return complain(app, EXIT_USAGE, "%s",
                        say(app, "--classify likelihood needs a model", "--classify likelihood 需要模型"));
    for (size_t i = 0; i < 2; i++)
        if (outputs[i] && path_exists(outputs[i]) && !app->force)
            return complain(app, EXIT_WORK,
                            say(app, "%s is there already; --force overwrites it", "%s 已存在；--force 可覆盖"),
                            outputs[i]);
    return check_report(app, s->report);
}

static bool names_predictions(int count, char **words)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], "--predictions") == 0 || strncmp(words[i], "--predictions=", 14) == 0) return true;
    return false;
}

int command_eval(application *app, int count, char **words)
{
    settings s = {0};
    verb_help own = help;
    eval_settings_init(&s.eval);
    if (names_predictions(count, words)) own.arguments = own.most_arguments = 0;
    int result = parse_options(app, &own, options, &s, count, words);
    if (result == EXIT_DONE) result = check_settings(app, &s);
    if (result != EXIT_DONE) return result;
    job j = {.app = app, .s = &s};
    result = make_evaluation(&j);
    if (result == EXIT_DONE) result = s.predictions ? score_file(&j) : measure(&j);
    if (result == EXIT_DONE) result = give_results(&j);
    lora_evaluation_free(j.evaluation);
    close_adapters(&j.adapters);
    lora_dataset_free(j.data);
    lora_model_free(j.model);
    return result;
}
