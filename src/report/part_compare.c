// A comparison of settings: the sentences, the table, losses with their intervals, curves, answers.
#include "src/report/report.h"

#include <math.h>
#include <string.h>

#define MOST_BARS 40
#define SHOWN_ANSWERS 5

static const json_t *figure(const json_t *setting, const char *key)
{
    return json_object_get(json_object_get(setting, "figures"), key);
}

static const char *name_of(const json_t *setting)
{
    const char *name = json_string_value(json_object_get(setting, "name"));
    return name ? name : "?";
}

static bool is_recommended(const json_t *document, const json_t *setting)
{
    const char *name = json_string_value(json_object_get(json_object_get(document, "verdict"), "recommended"));
    return name && strcmp(name, name_of(setting)) == 0;
}

static double number(const json_t *value)
{
    return lr_is_finite(value) ? json_number_value(value) : NAN;
}

// ---- the table -----------------------------------------------------------------------------------------------------

typedef struct column {
    const char *key, *english, *chinese;
    lr_put_fn put; // NULL: a real number
    int digits;
} column;

static const column columns[] = {
    {"loss", "held-out loss", "留出损失", NULL, 4},
    {"bleu", "BLEU", "BLEU", NULL, 1},
    {"rougeL", "ROUGE-L", "ROUGE-L", NULL, 1},
    {"chrf", "chrF", "chrF", NULL, 1},
    {"general_loss", "general loss", "通用损失", NULL, 4},
    {"gain_share", "of full's gain", "占全量收益", lr_put_share, 0},
    {"trainable_parameters", "trained", "训练参数", lr_put_count, 0},
    {"parameter_share", "share", "占比", lr_put_share, 0},
    {"file_bytes", "file", "文件", lr_put_bytes, 0},
    {"peak_memory_bytes", "peak memory", "内存峰值", lr_put_bytes, 0},
    {"seconds", "time", "用时", lr_put_time, 0},
};
#define COLUMN_COUNT (sizeof columns / sizeof *columns)

static bool is_used(const json_t *document, const column *c)
{
    size_t index;
    json_t *setting;
    json_array_foreach(json_object_get(document, "settings"), index, setting)
        if (lr_is_finite(figure(setting, c->key))) return true;
    return false;
}

static void put_cells(lr_page *page, const json_t *document, const json_t *setting, bool trained)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        const column *c = &columns[i];
        const json_t *value = figure(setting, c->key);
        if (!is_used(document, c)) continue;
        lr_put(page, "<td class=\"n\">");
        if (!lr_is_finite(value) || (!trained && i >= 5)) lr_put(page, "–");
        else if (c->put) c->put(page, value);
        else lr_put_real(page, value, c->digits);
        lr_put(page, "</td>");
    }
    lr_put(page, "</tr>\n");
}

static void put_row(lr_page *page, const json_t *document, const json_t *setting)
{
    const json_t *failure = figure(setting, "failure");
    lr_put(page,
           is_recommended(document, setting) ? "<tr class=\"chosen\"><th scope=\"row\">" : "<tr><th scope=\"row\">");
    lr_put_text(page, name_of(setting));
    if (json_is_string(failure)) {
        lr_put(page, "<br><span class=\"error\">");
        lr_put_words(page, failure);
        lr_put(page, "</span>");
    }
    lr_put(page, "</th>");
    put_cells(page, document, setting, true);
}

static void put_table(lr_page *page, const json_t *document)
{
    size_t index;
    json_t *setting;
    lr_put(page, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">");
    lr_put(page, lr_say(page, "setting", "设置"));
    lr_put(page, "</th>");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (!is_used(document, &columns[i])) continue;
        lr_put(page, "<th scope=\"col\" class=\"n\">");
        lr_put(page, lr_say(page, columns[i].english, columns[i].chinese));
        lr_put(page, "</th>");
    }
    lr_put(page, "</tr></thead><tbody>\n");
    if (json_is_object(json_object_get(document, "base"))) {
        lr_put(page, "<tr><th scope=\"row\">");
        lr_put(page, lr_say(page, "base, untrained", "底座（未训练）"));
        lr_put(page, "</th>");
        put_cells(page, document, json_object_get(document, "base"), false);
    }
    json_array_foreach(json_object_get(document, "settings"), index, setting) put_row(page, document, setting);
    lr_put(page, "</tbody></table></div>\n");
}

// ---- drawings ------------------------------------------------------------------------------------------------------

static void draw_losses(lr_page *page, const json_t *document)
{
    lr_bar bars[MOST_BARS];
    size_t index, count = 0;
    json_t *setting;
    json_array_foreach(json_object_get(document, "settings"), index, setting) {
        const json_t *interval = figure(setting, "loss_interval");
        if (count == MOST_BARS || !lr_is_finite(figure(setting, "loss"))) continue;
        bars[count++] = (lr_bar){name_of(setting), number(figure(setting, "loss")), number(json_array_get(interval, 0)),
                                 number(json_array_get(interval, 1)), is_recommended(document, setting)};
    }
    if (count == 0) return;
    lr_heading(page, "Held-out loss, lower is better", "留出损失（越低越好）");
    lr_draw_bars(page,
                 lr_say(page, "Held-out loss of each setting with its 95% interval", "各设置的留出损失及 95% 区间"),
                 bars, count, 4);
}

static void draw_curves(lr_page *page, const json_t *document, const char *key, const char *title_en,
                        const char *title_zh)
{
    const lora_allocator *allocator = page->out.allocator;
    lr_series series[LR_CHART_SERIES];
    double *xs[LR_CHART_SERIES] = {0}, *ys[LR_CHART_SERIES] = {0};
    size_t index, used = 0, longest = 0;
    json_t *setting;
    json_array_foreach(json_object_get(document, "settings"), index, setting) {
        const json_t *curve = json_object_get(json_array_get(json_object_get(setting, "runs"), 0), "curve");
        size_t points;
        if (used == LR_CHART_SERIES || page->status != LORA_OK || !json_is_array(curve)) continue;
        page->status = lr_curve_of(allocator, curve, "step", key, &xs[used], &ys[used], &points);
        series[used] = (lr_series){name_of(setting), xs[used], ys[used], points, points <= 40};
        longest = points > longest ? points : longest;
        used++;
    }
    if (longest > 1 && page->status == LORA_OK) {
        lr_heading(page, title_en, title_zh);
        lr_draw_lines(page, lr_say(page, title_en, title_zh), lr_say(page, "step", "步"), lr_say(page, "loss", "损失"),
                      series, used);
    }
    for (size_t i = 0; i < LR_CHART_SERIES; i++) {
        lr_free(allocator, xs[i]);
        lr_free(allocator, ys[i]);
    }
}

// ---- answers -------------------------------------------------------------------------------------------------------

static const json_t *answers_of(const json_t *setting)
{
    return json_object_get(json_array_get(json_object_get(setting, "runs"), 0), "answers");
}

static void show_answers(lr_page *page, const json_t *document, const json_t *prompt, size_t number_)
{
    size_t index;
    json_t *setting;
    const json_t *base = json_object_get(json_object_get(document, "base"), "answers");
    lr_put(page, "<div class=\"sample\">\n");
    lr_quote(page, "prompt", "Prompt", "提问", json_string_value(json_object_get(prompt, "prompt")));
    lr_quote(page, "reference", "Expected", "期望", json_string_value(json_object_get(prompt, "reference")));
    lr_quote(page, "before", "Base", "底座", json_string_value(json_array_get(base, number_)));
    json_array_foreach(json_object_get(document, "settings"), index, setting) {
        const char *answer = json_string_value(json_array_get(answers_of(setting), number_));
        if (!answer) continue;
        lr_put(page, is_recommended(document, setting) ? "<div class=\"quote after\"><b>" : "<div class=\"quote\"><b>");
        lr_put_text(page, name_of(setting));
        lr_put(page, "</b><p>");
        lr_put_text(page, answer);
        lr_put(page, "</p></div>\n");
    }
    lr_put(page, "</div>\n");
}

static void show_options(lr_page *page, const json_t *document)
{
    size_t index;
    json_t *setting;
    const json_t *about = json_object_get(document, "about");
    lr_begin_section(page, "Settings and data", "设置与数据");
    lr_settings_table(page, "Training data", "训练数据", json_object_get(about, "data"));
    lr_settings_table(page, "Held-out data", "留出数据", json_object_get(about, "validation"));
    lr_settings_table(page, "Model", "模型", json_object_get(about, "model"));
    json_array_foreach(json_object_get(document, "settings"), index, setting) {
        const json_t *options = json_object_get(setting, "options");
        lr_put(page, "<h3>");
        lr_put_text(page, name_of(setting));
        lr_put(page, "</h3>\n");
        lr_settings_table(page, "Adapter", "适配器", json_object_get(options, "adapter"));
        lr_settings_table(page, "Run", "训练", json_object_get(options, "trainer"));
    }
    lr_end_section(page);
}

void lr_show_compare(lr_page *page, const json_t *document)
{
    size_t index;
    json_t *prompt;
    const json_t *verdict = json_object_get(document, "verdict"),
                 *claim = json_object_get(json_object_get(verdict, "claim"), "sentence");
    const char *claim_text = json_string_value(json_object_get(claim, "en"));
    lr_begin_section(page, "Comparison", "对比");
    lr_put(page, "<p class=\"answer\">");
    lr_put_words(page, json_object_get(verdict, "sentence"));
    lr_put(page, "</p>\n");
    if (claim_text && *claim_text) {
        lr_put(page, "<p class=\"answer\">");
        lr_put_words(page, claim);
        lr_put(page, "</p>\n");
    }
    put_table(page, document);
    draw_losses(page, document);
    draw_curves(page, document, "eval_loss", "Held-out loss during training", "训练中的留出损失");
    draw_curves(page, document, "loss", "Training loss", "训练损失");
    lr_end_section(page);
    if (json_array_size(json_object_get(document, "prompts")) > 0) {
        lr_begin_section(page, "Answers", "回答");
        json_array_foreach(json_object_get(document, "prompts"), index, prompt)
            if (index < SHOWN_ANSWERS) show_answers(page, document, prompt, index);
        lr_end_section(page);
    }
    show_options(page, document);
}
