// An evaluation: scores with intervals and the baseline, classes, checklist, answers.
#include "src/report/report.h"

#include <math.h>
#include <string.h>

#define MOST_EXAMPLES 50
#define MOST_CLASSES 30

typedef struct score {
    const char *key, *english, *chinese;
    int digits;
} score;

static const score scores[] = {
    {"loss", "loss", "损失", 4},
    {"perplexity", "perplexity", "困惑度", 3},
    {"bleu", "BLEU", "BLEU", 2},
    {"bleu4", "BLEU-4", "BLEU-4", 2},
    {"rouge1", "ROUGE-1", "ROUGE-1", 2},
    {"rouge2", "ROUGE-2", "ROUGE-2", 2},
    {"rougeL", "ROUGE-L", "ROUGE-L", 2},
    {"rougeLsum", "ROUGE-Lsum", "ROUGE-Lsum", 2},
    {"chrf", "chrF", "chrF", 2},
    {"chrf++", "chrF++", "chrF++", 2},
    {"exact_match", "exact match", "完全一致", 2},
    {"accuracy", "accuracy", "准确率", 4},
    {"f1_macro", "F1, macro", "宏平均 F1", 4},
    {"f1_micro", "F1, micro", "微平均 F1", 4},
    {"f1_weighted", "F1, weighted", "加权 F1", 4},
    {"distinct_1", "distinct-1", "distinct-1", 2},
    {"distinct_2", "distinct-2", "distinct-2", 2},
    {"repetition", "repetition", "重复率", 2},
};
#define SCORE_COUNT (sizeof scores / sizeof *scores)

static void put_row(lr_page *page, const json_t *d, const score *s)
{
    const json_t *interval = json_object_get(json_object_get(d, "intervals"), s->key),
                 *baseline = json_object_get(d, "baseline");
    const json_t *test = json_object_get(json_object_get(baseline, "comparison"), s->key);
    lr_put(page, "<tr><th scope=\"row\">");
    lr_put(page, lr_say(page, s->english, s->chinese));
    lr_put(page, "</th><td class=\"n\">");
    lr_put_real(page, json_object_get(d, s->key), s->digits);
    lr_put(page, "</td><td class=\"n\">");
    if (json_is_array(interval)) {
        lr_put_real(page, json_array_get(interval, 0), s->digits);
        lr_put(page, " – ");
        lr_put_real(page, json_array_get(interval, 1), s->digits);
    }
    if (baseline) {
        lr_put(page, "</td><td class=\"n\">");
        lr_put_real(page, json_object_get(json_object_get(baseline, "scores"), s->key), s->digits);
        lr_put(page, "</td><td class=\"n\">");
        lr_put_real(page, json_object_get(test, "p_randomisation"), 4);
    }
    lr_put(page, "</td></tr>\n");
}

static void put_heading(lr_page *page, const char *english, const char *chinese)
{
    lr_put(page, "<th scope=\"col\" class=\"n\">");
    lr_put(page, lr_say(page, english, chinese));
    lr_put(page, "</th>");
}

static void put_scores(lr_page *page, const json_t *d)
{
    lr_put(page, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">");
    lr_put(page, lr_say(page, "score", "指标"));
    lr_put(page, "</th>");
    put_heading(page, "value", "数值");
    put_heading(page, "95% interval", "95% 区间");
    if (json_object_get(d, "baseline")) {
        put_heading(page, "baseline", "基线");
        put_heading(page, "p", "p 值");
    }
    lr_put(page, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < SCORE_COUNT; i++)
        if (lr_is_finite(json_object_get(d, scores[i].key))) put_row(page, d, &scores[i]);
    lr_put(page, "</tbody></table></div>\n");
}

// ---- classes -------------------------------------------------------------------------------------------------------

static void put_confusion(lr_page *page, const json_t *classes)
{
    const json_t *labels = json_object_get(classes, "labels"), *confusion = json_object_get(classes, "confusion");
    size_t count = json_array_size(labels);
    if (count == 0 || count > MOST_CLASSES || json_array_size(confusion) == 0) return;
    lr_heading(page, "Confusion: rows are the truth, columns what was predicted", "混淆矩阵：行为真实类别，列为预测类别");
    lr_put(page, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><td></td>");
    for (size_t i = 0; i < count; i++) {
        lr_put(page, "<th scope=\"col\" class=\"n\">");
        lr_put_words(page, json_array_get(labels, i));
        lr_put(page, "</th>");
    }
    lr_put(page, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(confusion, i);
        lr_put(page, "<tr><th scope=\"row\">");
        lr_put_words(page, json_array_get(labels, i));
        lr_put(page, "</th>");
        for (size_t j = 0; j < count; j++) {
            lr_put(page, i == j ? "<td class=\"n\"><b>" : "<td class=\"n\">");
            lr_put_count(page, json_array_get(row, j));
            lr_put(page, i == j ? "</b></td>" : "</td>");
        }
        lr_put(page, "</tr>\n");
    }
    lr_put(page, "</tbody></table></div>\n");
}

// ---- checklist -----------------------------------------------------------------------------------------------------

static const json_t *find_question(const json_t *questions, const char *id)
{
    size_t index;
    json_t *question;
    json_array_foreach(questions, index, question) {
        const char *name = json_string_value(json_object_get(question, "id"));
        if (name && strcmp(name, id) == 0) return question;
    }
    return NULL;
}

static void put_form(lr_page *page, const json_t *d, const json_t *form)
{
    const json_t *questions = json_object_get(json_object_get(d, "checklist"), "questions");
    const char *id;
    json_t *answer, *hint;
    size_t index;
    if (json_object_size(form) == 0) return;
    lr_put(page, "<ul>\n");
    json_object_foreach((json_t *)(uintptr_t)form, id, answer) {
        const json_t *question = find_question(questions, id), *verdict = json_object_get(answer, "verdict");
        lr_put(page, "<li>");
        if (question) lr_put_words(page, question);
        else lr_put_text(page, id);
        lr_put(page, ": ");
        if (json_is_boolean(verdict))
            lr_put(page, json_is_true(verdict)
                             ? lr_say(page, "<b class=\"done\">yes</b>", "<b class=\"done\">是</b>")
                             : lr_say(page, "<b class=\"error\">no</b>", "<b class=\"error\">否</b>"));
        else if (json_is_string(verdict)) lr_put_words(page, verdict);
        else lr_put(page, lr_say(page, "<span class=\"soft\">not filled in</span>", "<span class=\"soft\">未填写</span>"));
        json_array_foreach(json_object_get(answer, "hints"), index, hint) {
            lr_put(page, " <span class=\"hint\">");
            lr_put_words(page, hint);
            lr_put(page, "</span>");
        }
        if (json_string_length(json_object_get(answer, "note")) > 0) {
            lr_put(page, " — ");
            lr_put_words(page, json_object_get(answer, "note"));
        }
        lr_put(page, "</li>\n");
    }
    lr_put(page, "</ul>\n");
}

static void put_example(lr_page *page, const json_t *d, const json_t *example)
{
    const char *reference = json_string_value(json_object_get(example, "reference"));
    if (!reference) reference = json_string_value(json_array_get(json_object_get(example, "references"), 0));
    if (!json_object_get(example, "prediction")) return;
    lr_put(page, "<div class=\"sample\">\n");
    lr_quote(page, "prompt", "Prompt", "提问", json_string_value(json_object_get(example, "prompt")));
    lr_quote(page, "reference", "Expected", "期望", reference);
    lr_quote(page, "before", "Baseline", "基线", json_string_value(json_object_get(example, "baseline")));
    lr_quote(page, "after", "Answer", "回答", json_string_value(json_object_get(example, "prediction")));
    put_form(page, d, json_object_get(example, "checklist"));
    lr_put(page, "</div>\n");
}

void lr_show_evaluate(lr_page *page, const json_t *d)
{
    size_t index;
    json_t *example;
    const json_t *examples = json_object_get(d, "examples");
    lr_begin_section(page, "Evaluation", "评估");
    lr_begin_figures(page);
    lr_figure(page, "rows", "行数", json_object_get(d, "rows"), lr_put_count);
    lr_figure(page, "tokens of the answers", "回答的词元数", json_object_get(d, "label_tokens"), lr_put_count);
    lr_end_figures(page);
    put_scores(page, d);
    put_confusion(page, json_object_get(d, "classes"));
    lr_settings_table(page, "Settings", "设置", json_object_get(d, "settings"));
    lr_end_section(page);
    if (json_array_size(examples) == 0) return;
    lr_begin_section(page, "Answers", "回答");
    json_array_foreach(examples, index, example)
        if (index < MOST_EXAMPLES) put_example(page, d, example);
    if (json_array_size(examples) > MOST_EXAMPLES) {
        lr_put(page, "<p class=\"soft\">");
        lr_put_format(page, lr_say(page, "%zu more rows are not shown.", "另有 %zu 行未显示。"),
                      json_array_size(examples) - MOST_EXAMPLES);
        lr_put(page, "</p>\n");
    }
    lr_end_section(page);
}
