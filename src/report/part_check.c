// A data check: counts, findings with their cure, lengths, languages, labels.
#include "src/report/report.h"

#include <string.h>

#define SHOWN_ROWS 20
#define MOST_BARS 30

static void show_rows(lr_page *page, const json_t *finding)
{
    size_t index, count = json_array_size(json_object_get(finding, "rows"));
    json_t *row;
    if (count == 0) return;
    lr_put(page, "<p class=\"soft\">");
    json_array_foreach(json_object_get(finding, "rows"), index, row) {
        if (index == SHOWN_ROWS) break;
        if (index) lr_put(page, ", ");
        lr_put_words(page, json_object_get(row, "place"));
    }
    if (count > SHOWN_ROWS) lr_put(page, " …");
    lr_put(page, "</p>\n");
}

static void show_finding(lr_page *page, const json_t *finding)
{
    const char *severity = json_string_value(json_object_get(finding, "severity"));
    bool error = severity && strcmp(severity, "error") == 0, warning = severity && strcmp(severity, "warning") == 0;
    lr_put_format(page, "<div class=\"sample\"><b class=\"%s\">", error ? "error" : warning ? "warning" : "soft");
    lr_put(page, error     ? lr_say(page, "Error", "错误")
                 : warning ? lr_say(page, "Warning", "警告")
                           : lr_say(page, "Note", "提示"));
    lr_put(page, "</b> · <b>");
    lr_put_words(page, json_object_get(finding, json_object_get(finding, "title") ? "title" : "kind"));
    lr_put(page, "</b> · ");
    lr_put_count(page, json_object_get(finding, "count"));
    lr_put(page, lr_say(page, " rows", " 行"));
    lr_put(page, "<p>");
    lr_put_words(page, json_object_get(finding, "explanation"));
    lr_put(page, " ");
    lr_put_words(page, json_object_get(finding, "cure"));
    lr_put(page, "</p>\n");
    lr_quote(page, "example", "Example", "例子", json_string_value(json_object_get(finding, "example")));
    show_rows(page, finding);
    lr_put(page, "</div>\n");
}

static void draw_counts(lr_page *page, const json_t *counts, const char *title_en, const char *title_zh)
{
    lr_bar bars[MOST_BARS];
    size_t used = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)counts, name, value)
        if (used < MOST_BARS && lr_is_finite(value))
            bars[used++] = (lr_bar){name, json_number_value(value), 0.0 / 0.0, 0.0 / 0.0, false};
    if (used == 0) return;
    lr_heading(page, title_en, title_zh);
    lr_draw_bars(page, lr_say(page, title_en, title_zh), bars, used, 0);
}

void lr_show_check(lr_page *page, const json_t *document)
{
    size_t index;
    json_t *finding;
    lr_begin_section(page, "Data check", "数据检查");
    lr_begin_figures(page);
    lr_figure(page, "rows", "行数", json_object_get(document, "rows"), lr_put_count);
    lr_figure(page, "held-out rows", "留出行数", json_object_get(document, "validation_rows"), lr_put_count);
    lr_figure(page, "kinds of errors", "错误种类", json_object_get(document, "errors"), lr_put_count);
    lr_figure(page, "kinds of warnings", "警告种类", json_object_get(document, "warnings"), lr_put_count);
    lr_figure(page, "kinds of notes", "提示种类", json_object_get(document, "notes"), lr_put_count);
    lr_end_figures(page);
    json_array_foreach(json_object_get(document, "findings"), index, finding) show_finding(page, finding);
    lr_settings_table(page, "Lengths", "长度", json_object_get(document, "lengths"));
    draw_counts(page, json_object_get(document, "languages"), "Rows by script", "按文字种类统计");
    draw_counts(page, json_object_get(document, "labels"), "Rows by label", "按标签统计");
    lr_end_section(page);
}
