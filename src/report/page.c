#include "src/report/page.h"

#include "lib/unicode.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 30)

void lr_page_init(lr_page *page, const lora_allocator *allocator, bool chinese)
{
    *page = (lr_page){.chinese = chinese};
    lr_bytes_init(&page->out, allocator, MOST_BYTES);
}

const char *lr_say(const lr_page *page, const char *english, const char *chinese)
{
    return page->chinese ? chinese : english;
}

// ---- text ----------------------------------------------------------------------------------------------------------

static void put_bytes(lr_page *page, const char *bytes, size_t size)
{
    if (page->status == LORA_OK) page->status = lr_bytes_append(&page->out, bytes, size);
}

void lr_put(lr_page *page, const char *markup)
{
    put_bytes(page, markup, strlen(markup));
}

void lr_put_format(lr_page *page, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lr_put(page, text);
}

static void put_text_length(lr_page *page, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        int32_t code;
        char bytes[4];
        size_t used = lr_utf8_next(text + at, length - at, &code);
        bool control = (code < 32 && code != '\n' && code != '\t') || (code >= 127 && code < 160) ||
                       (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
        if (code == '&') lr_put(page, "&amp;");
        else if (code == '<') lr_put(page, "&lt;");
        else if (code == '>') lr_put(page, "&gt;");
        else if (code == '"') lr_put(page, "&quot;");
        else if (code == '\'') lr_put(page, "&#39;");
        else put_bytes(page, bytes, lr_utf8_put(control ? LR_REPLACEMENT : code, bytes));
        at += used;
    }
}

void lr_put_text(lr_page *page, const char *text)
{
    if (text) put_text_length(page, text, strlen(text));
}

void lr_put_words(lr_page *page, const json_t *words)
{
    if (json_is_object(words)) words = json_object_get(words, lr_say(page, "en", "zh"));
    if (json_is_string(words)) put_text_length(page, json_string_value(words), json_string_length(words));
}

// ---- numbers -------------------------------------------------------------------------------------------------------

bool lr_is_finite(const json_t *value)
{
    return json_is_number(value) && isfinite(json_number_value(value));
}

void lr_put_count(lr_page *page, const json_t *value)
{
    char digits[32], text[48], *out = text;
    if (!lr_is_finite(value) || fabs(json_number_value(value)) > 9e18) {
        lr_put(page, "–");
        return;
    }
    int length = snprintf(digits, sizeof digits, "%" PRId64, (int64_t)json_number_value(value));
    for (int i = 0; i < length; i++) {
        *out++ = digits[i];
        if (i + 1 < length && (length - 1 - i) % 3 == 0 && digits[i] != '-') *out++ = ',';
    }
    *out = '\0';
    lr_put(page, text);
}

void lr_put_bytes(lr_page *page, const json_t *value)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double bytes = json_number_value(value);
    size_t unit = 0;
    if (!lr_is_finite(value)) {
        lr_put(page, "–");
        return;
    }
    while (bytes >= 1024 && unit < 4) bytes /= 1024, unit++;
    lr_put_format(page, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

void lr_put_time(lr_page *page, const json_t *value)
{
    double seconds = json_number_value(value);
    if (!lr_is_finite(value) || seconds < 0 || seconds > 1e12) {
        lr_put(page, "–");
        return;
    }
    int64_t s = (int64_t)(seconds + 0.5);
    if (s < 60) lr_put_format(page, "%.3g s", seconds);
    else if (s < 3600) lr_put_format(page, "%" PRId64 ":%02" PRId64, s / 60, s % 60);
    else lr_put_format(page, "%" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
}

void lr_put_real(lr_page *page, const json_t *value, int digits)
{
    if (lr_is_finite(value)) lr_put_format(page, "%.*f", digits, json_number_value(value));
    else lr_put(page, "–");
}

void lr_put_share(lr_page *page, const json_t *value)
{
    double share = 100 * json_number_value(value);
    if (!lr_is_finite(value)) lr_put(page, "–");
    else lr_put_format(page, share < 1 ? "%.2f%%" : share < 10 ? "%.1f%%" : "%.0f%%", share);
}

// Any plain value of a JSON document.
static void put_value(lr_page *page, const json_t *value)
{
    size_t index;
    json_t *item;
    if (json_is_string(value)) lr_put_words(page, value);
    else if (json_is_integer(value)) lr_put_format(page, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value)) lr_put_format(page, "%.6g", json_real_value(value));
    else if (json_is_boolean(value))
        lr_put(page, json_is_true(value) ? lr_say(page, "yes", "是") : lr_say(page, "no", "否"));
    else if (json_is_object(value)) lr_put_words(page, value);
    else if (json_is_array(value))
        json_array_foreach(value, index, item) {
            if (index) lr_put(page, ", ");
            if (json_is_array(item)) lr_put(page, "…");
            else put_value(page, item);
        }
    else lr_put(page, "–");
}

// ---- parts of a page -----------------------------------------------------------------------------------------------

void lr_begin_section(lr_page *page, const char *english, const char *chinese)
{
    lr_put(page, "<section>\n<h2>");
    lr_put(page, lr_say(page, english, chinese));
    lr_put(page, "</h2>\n");
}

void lr_end_section(lr_page *page)
{
    lr_put(page, "</section>\n");
}

void lr_heading(lr_page *page, const char *english, const char *chinese)
{
    lr_put(page, "<h3>");
    lr_put(page, lr_say(page, english, chinese));
    lr_put(page, "</h3>\n");
}

void lr_begin_figures(lr_page *page)
{
    lr_put(page, "<dl class=\"figures\">\n");
}

void lr_end_figures(lr_page *page)
{
    lr_put(page, "</dl>\n");
}

static void begin_figure(lr_page *page, const char *english, const char *chinese)
{
    lr_put(page, "<div><dt>");
    lr_put(page, lr_say(page, english, chinese));
    lr_put(page, "</dt><dd>");
}

void lr_figure(lr_page *page, const char *english, const char *chinese, const json_t *value, lr_put_fn put)
{
    if (!value || json_is_null(value)) return;
    begin_figure(page, english, chinese);
    put(page, value);
    lr_put(page, "</dd></div>\n");
}

void lr_figure_real(lr_page *page, const char *english, const char *chinese, const json_t *value, int digits)
{
    if (!lr_is_finite(value)) return;
    begin_figure(page, english, chinese);
    lr_put_real(page, value, digits);
    lr_put(page, "</dd></div>\n");
}

static bool is_shown(const json_t *value)
{
    return value && !json_is_null(value) && !json_is_object(value) &&
           !(json_is_array(value) && json_array_size(value) == 0);
}

void lr_settings_table(lr_page *page, const char *english, const char *chinese, const json_t *object)
{
    const char *key;
    json_t *value;
    size_t shown = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) shown += is_shown(value);
    if (shown == 0) return;
    lr_put(page, "<details open><summary>");
    lr_put(page, lr_say(page, english, chinese));
    lr_put(page, "</summary>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"settings\">\n");
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (!is_shown(value)) continue;
        lr_put(page, "<tr><th scope=\"row\">");
        lr_put_text(page, key);
        lr_put(page, "</th><td>");
        put_value(page, value);
        lr_put(page, "</td></tr>\n");
    }
    lr_put(page, "</table></div></details>\n");
}

void lr_quote(lr_page *page, const char *kind, const char *label_en, const char *label_zh, const char *text)
{
    if (!text) return;
    lr_put_format(page, "<div class=\"quote %s\"><b>", kind);
    lr_put(page, lr_say(page, label_en, label_zh));
    lr_put(page, "</b><p>");
    if (*text) lr_put_text(page, text);
    else {
        lr_put(page, "<i>");
        lr_put(page, lr_say(page, "(empty)", "（空）"));
        lr_put(page, "</i>");
    }
    lr_put(page, "</p></div>\n");
}
