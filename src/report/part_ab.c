// A blind test: the sentence, the counts, the judges, every pair.
#include "src/report/report.h"

#include <math.h>
#include <string.h>

#define MOST_PAIRS 100

static const char *system_name(const json_t *document, const char *key)
{
    const char *name = json_string_value(json_object_get(json_object_get(document, key), "name"));
    return name ? name : key;
}

static double wins(const json_t *document, const char *key)
{
    return json_number_value(json_object_get(json_object_get(document, key), "wins"));
}

static void draw_wins(lr_page *page, const json_t *document)
{
    double a = wins(document, "a"), b = wins(document, "b");
    const lr_bar bars[] = {
        {system_name(document, "a"), a, NAN, NAN, a > b},
        {system_name(document, "b"), b, NAN, NAN, b > a},
        {lr_say(page, "ties", "平局"), json_number_value(json_object_get(document, "ties")), NAN, NAN, false}};
    lr_draw_bars(page, lr_say(page, "Pairs won", "获胜的组数"), bars, 3, 0);
}

static void show_judges(lr_page *page, const json_t *document)
{
    size_t index;
    json_t *judge;
    const char *const keys[] = {"count", "wins_a", "wins_b", "ties"};
    if (json_array_size(json_object_get(document, "judges")) == 0) return;
    lr_heading(page, "Judges", "评判者");
    lr_put(page, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">");
    lr_put(page, lr_say(page, "judge", "评判者"));
    lr_put(page, "</th><th scope=\"col\" class=\"n\">");
    lr_put(page, lr_say(page, "judged", "已评"));
    lr_put(page, "</th><th scope=\"col\" class=\"n\">");
    lr_put_text(page, system_name(document, "a"));
    lr_put(page, "</th><th scope=\"col\" class=\"n\">");
    lr_put_text(page, system_name(document, "b"));
    lr_put(page, "</th><th scope=\"col\" class=\"n\">");
    lr_put(page, lr_say(page, "ties", "平局"));
    lr_put(page, "</th></tr></thead><tbody>\n");
    json_array_foreach(json_object_get(document, "judges"), index, judge) {
        lr_put(page, "<tr><th scope=\"row\">");
        lr_put_words(page, json_object_get(judge, "name"));
        lr_put(page, "</th>");
        for (size_t i = 0; i < 4; i++) {
            lr_put(page, "<td class=\"n\">");
            lr_put_count(page, json_object_get(judge, keys[i]));
            lr_put(page, "</td>");
        }
        lr_put(page, "</tr>\n");
    }
    lr_put(page, "</tbody></table></div>\n");
}

static void show_answer(lr_page *page, const json_t *document, const json_t *pair, const char *key)
{
    const char *text = json_string_value(json_object_get(pair, key)),
               *winner = json_string_value(json_object_get(pair, "winner"));
    bool won = winner && strcmp(winner, key) == 0;
    if (!text) return;
    lr_put(page, won ? "<div class=\"quote after\"><b>" : "<div class=\"quote\"><b>");
    lr_put_text(page, system_name(document, key));
    if (won) lr_put(page, lr_say(page, " · chosen", " · 胜出"));
    lr_put(page, "</b><p>");
    lr_put_text(page, text);
    lr_put(page, "</p></div>\n");
}

void lr_show_ab(lr_page *page, const json_t *document)
{
    size_t index;
    json_t *pair;
    lr_begin_section(page, "Blind A/B test", "A/B 盲测");
    lr_put(page, "<p class=\"answer\">");
    lr_put_words(page, json_object_get(document, "sentence"));
    lr_put(page, "</p>\n");
    draw_wins(page, document);
    lr_begin_figures(page);
    lr_figure_real(page, "p (exact, two-sided)", "p 值（精确双侧）", json_object_get(document, "p_value"), 4);
    lr_figure(page, "agreement of judges", "评判者一致率", json_object_get(document, "agreement"), lr_put_share);
    lr_figure_real(page, "Krippendorff's alpha", "Krippendorff α", json_object_get(document, "alpha"), 2);
    lr_figure(page, "same text on both sides", "两边相同", json_object_get(document, "identical"), lr_put_count);
    lr_end_figures(page);
    show_judges(page, document);
    if (json_array_size(json_object_get(document, "pairs")) > 0) lr_heading(page, "Pairs", "各组");
    json_array_foreach(json_object_get(document, "pairs"), index, pair) {
        if (index == MOST_PAIRS) break;
        lr_put(page, "<div class=\"sample\">\n");
        lr_quote(page, "prompt", "Prompt", "提问", json_string_value(json_object_get(pair, "prompt")));
        show_answer(page, document, pair, "a");
        show_answer(page, document, pair, "b");
        lr_put(page, "</div>\n");
    }
    lr_end_section(page);
}
