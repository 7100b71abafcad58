#include "eval_table.h"
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MOST_MATRIX 12    // classes whose confusion matrix fits a screen
#define SAMPLE_COLUMNS 70 // of an answer

typedef enum score_unit { PLAIN, HUNDRED, SHARE } score_unit; // as it is; 0 to 100; 0 to 1, shown as a percentage

static const struct {
    const char *name, *english, *chinese;
    score_unit unit;
} scores[] = {
    {"loss", "loss (lower is better)", "损失（越低越好）", PLAIN},
    {"perplexity", "perplexity (lower is better)", "困惑度（越低越好）", PLAIN},
    {"bleu", "BLEU", "BLEU", HUNDRED},
    {"bleu4", "BLEU-4 of characters (LLaMA-Factory's)", "BLEU-4 按字（LLaMA-Factory）", HUNDRED},
    {"chrf", "chrF", "chrF", HUNDRED},
    {"chrf++", "chrF++", "chrF++", HUNDRED},
    {"rouge1", "ROUGE-1", "ROUGE-1", HUNDRED},
    {"rouge2", "ROUGE-2", "ROUGE-2", HUNDRED},
    {"rougeL", "ROUGE-L", "ROUGE-L", HUNDRED},
    {"rougeLsum", "ROUGE-Lsum", "ROUGE-Lsum", HUNDRED},
    {"exact_match", "exactly the expected answer, %", "与参考完全一致，%", HUNDRED},
    {"accuracy", "accuracy", "准确率", SHARE},
    {"f1_macro", "F1, macro", "F1（宏平均）", SHARE},
    {"f1_micro", "F1, micro", "F1（微平均）", SHARE},
    {"f1_weighted", "F1, weighted", "F1（加权）", SHARE},
    {"distinct_1", "distinct words, %", "不同词占比，%", HUNDRED},
    {"distinct_2", "distinct word pairs, %", "不同词对占比，%", HUNDRED},
    {"repetition", "repeated 4-word runs, %", "重复的四词片段，%", HUNDRED},
};
#define SCORES (sizeof scores / sizeof *scores)

static const char *at(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }
static double number(const json_t *value) { return json_number_value(value); }

static const char *as_score(score_unit unit, double value, char text[static 32])
{
    if (unit == SHARE)
        snprintf(text, 32, "%.1f %%", 100 * value);
    else
        snprintf(text, 32, unit == PLAIN ? "%.4f" : "%.2f", value);
    return text;
}

static void add_score(table *t, score_unit unit, const json_t *value)
{
    char text[32];
    table_add(t, "%s", json_is_number(value) ? as_score(unit, number(value), text) : "");
}

static void add_interval(table *t, score_unit unit, const json_t *low, const json_t *high)
{
    char a[32], b[32];
    if (!json_is_number(low) || !json_is_number(high))
        table_add(t, "%s", "");
    else
        table_add(t, "%s – %s", as_score(unit, number(low), a), as_score(unit, number(high), b));
}

static void add_p(table *t, const json_t *value)
{
    double p = number(value);
    if (!json_is_number(value))
        table_add(t, "%s", "");
    else if (p < 0.001)
        table_add(t, "%s", "< 0.001");
    else
        table_add(t, "%.3f", p);
}

static void print_scores(const application *app, const json_t *document, bool texts)
{
    const json_t *intervals = json_object_get(document, "intervals"), *baseline = json_object_get(document, "baseline");
    const json_t *base_scores = json_object_get(baseline, "scores"),
                 *comparison = json_object_get(baseline, "comparison");
    table t = {.columns = baseline ? 6 : 3, .left = {true}};
    table_add(&t, "%s", say(app, "score", "指标"));
    table_add(&t, "%s", say(app, "value", "数值"));
    table_add(&t, "%s", say(app, "95 % interval", "95 % 区间"));
    if (baseline) {
        table_add(&t, "%s", say(app, "baseline", "对照"));
        table_add(&t, "%s", say(app, "difference, 95 %", "差值，95 %"));
        table_add(&t, "%s", say(app, "p", "p 值"));
    }
    for (size_t i = 0; i < SCORES; i++) {
        const json_t *value = json_object_get(document, scores[i].name),
                     *interval = json_object_get(intervals, scores[i].name);
        const json_t *pair = json_object_get(comparison, scores[i].name);
        if (!value || (!texts && scores[i].unit == HUNDRED)) continue;
        table_add(&t, "%s", say(app, scores[i].english, scores[i].chinese));
        add_score(&t, scores[i].unit, value);
        add_interval(&t, scores[i].unit, json_array_get(interval, 0), json_array_get(interval, 1));
        if (!baseline) continue;
        add_score(&t, scores[i].unit, json_object_get(base_scores, scores[i].name));
        add_interval(&t, scores[i].unit, json_object_get(pair, "low"), json_object_get(pair, "high"));
        add_p(&t, json_object_get(pair, "p_randomisation"));
    }
    table_print(&t);
    if (baseline)
        printf("%s\n",
               say(app,
                   "p: the chance of such a difference if the two were alike (approximate randomisation); below 0.05 "
                   "it is hardly luck.",
                   "p 值：如果两者其实一样好，出现这种差异的概率（近似随机化检验）；低于 0.05 说明基本不是运气。"));
}

// ---- classes --------------------------------------------------------------------------------------------------------

static void print_matrix(const application *app, const json_t *labels, const json_t *matrix)
{
    size_t count = json_array_size(labels);
    if (count > MOST_MATRIX || count + 1 > TABLE_COLUMNS) return;
    table t = {.columns = count + 1, .left = {true}};
    table_add(&t, "%s", say(app, "truth \\ said", "真实 \\ 预测"));
    for (size_t c = 0; c < count; c++) table_add(&t, "%s", json_string_value(json_array_get(labels, c)));
    for (size_t row = 0; row < count; row++) {
        table_add(&t, "%s", json_string_value(json_array_get(labels, row)));
        for (size_t c = 0; c < count; c++)
            table_add(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(json_array_get(matrix, row), c)));
    }
    printf("\n");
    table_print(&t);
}

static void print_classes(const application *app, const json_t *classes)
{
    static const char *const headings[][2] = {{"class", "类别"}, {"precision", "精确率"}, {"recall", "召回率"},
                                              {"F1", "F1"},      {"rows", "行数"},        {"said", "预测数"}};
    static const char *const keys[] = {"precision", "recall", "f1"};
    size_t i;
    json_t *score;
    table t = {.columns = 6, .left = {true}};
    for (size_t h = 0; h < 6; h++) table_add(&t, "%s", say(app, headings[h][0], headings[h][1]));
    json_array_foreach(json_object_get(classes, "scores"), i, score)
    {
        table_add(&t, "%s", at(score, "label"));
        for (size_t k = 0; k < 3; k++) add_score(&t, SHARE, json_object_get(score, keys[k]));
        table_add(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(score, "support")));
        table_add(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(score, "predicted")));
    }
    printf("\n");
    table_print(&t);
    print_matrix(app, json_object_get(classes, "labels"), json_object_get(classes, "confusion"));
    int64_t unknown = json_integer_value(json_object_get(classes, "unknown"));
    if (unknown)
        printf(say(app, "%" PRId64 " answers are none of the classes: they count as wrong\n",
                   "有 %" PRId64 " 个回答不属于任何类别，按错误计\n"),
               unknown);
}

// ---- checklist ------------------------------------------------------------------------------------------------------

// The text of a hint, from the first sample that has it.
static const char *hint_text(const application *app, const json_t *document, const char *id)
{
    size_t i, h;
    json_t *example, *entry, *hint;
    const char *question;
    json_array_foreach(json_object_get(document, "examples"), i,
                       example) json_object_foreach(json_object_get(example, "checklist"), question, entry)
        json_array_foreach(json_object_get(entry, "hints"), h,
                           hint) if (strcmp(at(hint, "id"), id) == 0) return say(app, at(hint, "en"), at(hint, "zh"));
    return id;
}

// An answer on one line, cut to what fits.
static void print_start(const char *text)
{
    size_t columns = 0;
    utf8proc_int32_t code;
    utf8proc_ssize_t used;
    for (; *text && (used = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code)) > 0; text += used) {
        if (code == '\n' || code == '\r' || code == '\t') code = ' ';
        columns += (size_t)utf8proc_charwidth(code);
        if (columns > SAMPLE_COLUMNS) break;
        if (code == ' ')
            putchar(' ');
        else if (code >= ' ' && code != 0x7F)
            fwrite(text, 1, (size_t)used, stdout);
    }
    printf("%s\n", *text ? " …" : "");
}

static void print_sample(const application *app, const json_t *example)
{
    const char *question;
    json_t *entry, *hint;
    size_t h;
    bool any = false;
    json_object_foreach(json_object_get(example, "checklist"), question, entry)
        json_array_foreach(json_object_get(entry, "hints"), h, hint)
    {
        if (!any)
            printf(say(app, "row %" JSON_INTEGER_FORMAT ": ", "第 %" JSON_INTEGER_FORMAT " 行："),
                   json_integer_value(json_object_get(example, "row")) + 1);
        printf("%s%s", any ? say(app, "; ", "；") : "", say(app, at(hint, "en"), at(hint, "zh")));
        any = true;
    }
    if (!any) return;
    printf("\n    ");
    print_start(at(example, "prediction"));
}

static void print_checklist(const application *app, const json_t *document, bool samples)
{
    json_t *hints = json_object_get(json_object_get(document, "checklist"), "hints"), *count, *example;
    const char *id;
    size_t i;
    if (json_object_size(hints) == 0) return;
    printf("\n%s\n", say(app, "Answers worth a look:", "值得看一看的回答数："));
    json_object_foreach(hints, id, count)
        printf("  %4" JSON_INTEGER_FORMAT "  %s\n", json_integer_value(count), hint_text(app, document, id));
    if (!samples) return;
    printf("\n");
    json_array_foreach(json_object_get(document, "examples"), i, example) print_sample(app, example);
}

void print_evaluation(const application *app, const json_t *document, bool all, bool samples)
{
    int64_t rows = json_integer_value(json_object_get(document, "rows")),
            labels = json_integer_value(json_object_get(document, "label_tokens"));
    if (labels)
        printf(say(app, "%" PRId64 " rows, %" PRId64 " label tokens\n", "%" PRId64 " 行，%" PRId64 " 个标签词元\n"),
               rows, labels);
    else
        printf(say(app, "%" PRId64 " rows\n", "%" PRId64 " 行\n"), rows);
    json_t *classes = json_object_get(document, "classes");
    print_scores(app, document, all || !classes);
    if (classes) print_classes(app, classes);
    print_checklist(app, document, samples);
}
