// A page under construction: HTML with every foreign text escaped, in one of two languages.
#ifndef LR_PAGE_H
#define LR_PAGE_H

#include "lib/json.h"
#include "lib/memory.h"

#include <stdbool.h>

typedef struct lr_page {
    lr_bytes out;
    bool chinese;
    int charts;         // so far: ids of drawings
    bool diagnosed;     // what a run's end said has been shown
    lora_status status; // the first failure; what is put after it is dropped
} lr_page;

void lr_page_init(lr_page *page, const lora_allocator *allocator, bool chinese);
// The page's language.
const char *lr_say(const lr_page *page, const char *english, const char *chinese)
    __attribute__((format_arg(2))) __attribute__((format_arg(3)));

// Markup of our own, as it stands.
void lr_put(lr_page *page, const char *markup);
void lr_put_format(lr_page *page, const char *format, ...) LR_PRINTF(2, 3);
// A foreign text: & < > " ' escaped, control characters and what is no UTF-8 replaced. NULL: nothing.
void lr_put_text(lr_page *page, const char *text);
// The text of {"en", "zh"} in the page's language, or of a plain text.
void lr_put_words(lr_page *page, const json_t *words);

// 1,234,567; 1.2 GB; 1:02:03; 0.1234 with few digits. A number that is not there or not finite: "–".
void lr_put_count(lr_page *page, const json_t *value);
void lr_put_bytes(lr_page *page, const json_t *value);
void lr_put_time(lr_page *page, const json_t *value);
void lr_put_real(lr_page *page, const json_t *value, int digits);
void lr_put_share(lr_page *page, const json_t *value); // 0.123 as 12.3%

// <section> with a heading, and a row of figures in it.
void lr_begin_section(lr_page *page, const char *english, const char *chinese);
void lr_end_section(lr_page *page);
void lr_heading(lr_page *page, const char *english, const char *chinese);
void lr_begin_figures(lr_page *page);
void lr_end_figures(lr_page *page);
typedef void (*lr_put_fn)(lr_page *page, const json_t *value);
// Left out when the value is missing or null.
void lr_figure(lr_page *page, const char *english, const char *chinese, const json_t *value, lr_put_fn put);
void lr_figure_real(lr_page *page, const char *english, const char *chinese, const json_t *value, int digits);
// A table of an object's plain values; nothing when there is none.
void lr_settings_table(lr_page *page, const char *english, const char *chinese, const json_t *object);
// A foreign text as a block that keeps its line breaks.
void lr_quote(lr_page *page, const char *kind, const char *label_en, const char *label_zh, const char *text);

bool lr_is_finite(const json_t *value); // a number that is one

#endif
