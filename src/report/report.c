#include "src/report/report.h"

#include "lib/file.h"
#include "src/core/context.h"
#include "src/core/validate.h"

#include <lora/report.h>
#include <string.h>

typedef struct kind {
    const char *name;
    void (*show)(lr_page *page, const json_t *document);
    bool list;  // the document is a list, not an object
    bool lines; // JSON lines, kept as a list
    const char *english, *chinese; // of the page's title
} kind;

static const kind kinds[] = {
    {"train", lr_show_train, false, false, "Training run", "训练结果"},
    {"log", lr_show_log, true, true, "Training run", "训练结果"},
    {"samples", lr_show_samples, true, false, "Answers", "回答示例"},
    {"evaluate", lr_show_evaluate, false, false, "Evaluation", "评估结果"},
    {"compare", lr_show_compare, false, false, "Comparison of settings", "设置对比"},
    {"ab", lr_show_ab, false, false, "Blind A/B test", "A/B 盲测"},
    {"check", lr_show_check, false, false, "Data check", "数据检查"},
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

typedef struct part {
    const kind *kind;
    json_t *document;
} part;

struct lora_report {
    lora_context *context;
    char *title; // or NULL
    bool chinese;
    part *parts;
    size_t part_count, part_capacity;
    lr_page page; // lent
};

void(lora_report_options_init)(lora_report_options *options, size_t struct_size)
{
    const lora_report_options defaults = {.language = "en"};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

lora_status lora_report_create(lora_context *context, const lora_report_options *options, lora_report **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(out);
    lora_report_options o;
    lora_report_options_init(&o);
    LR_TRY(lr_take_options(&o, sizeof o, options, __func__));
    LR_CHECK_ARGUMENT(o.language && (strcmp(o.language, "en") == 0 || strcmp(o.language, "zh") == 0),
                      "language '%.20s': expected \"en\" or \"zh\"", o.language ? o.language : "");
    lora_report *report = lr_alloc_zeroed(&context->allocator, 1, sizeof *report);
    if (!report) return LORA_ERROR_MEMORY;
    report->context = lr_context_retain(context);
    report->chinese = strcmp(o.language, "zh") == 0;
    lr_page_init(&report->page, &context->allocator, report->chinese);
    if (o.title && !(report->title = lr_duplicate(&context->allocator, o.title))) {
        lora_report_free(report);
        return LORA_ERROR_MEMORY;
    }
    *out = report;
    return LORA_OK;
}

void lora_report_free(lora_report *report)
{
    if (!report) return;
    lora_context *context = report->context;
    for (size_t i = 0; i < report->part_count; i++) json_decref(report->parts[i].document);
    lr_free(&context->allocator, report->parts);
    lr_free(&context->allocator, report->title);
    lr_bytes_free(&report->page.out);
    lr_free(&context->allocator, report);
    lr_context_release(context);
}

// ---- parts ---------------------------------------------------------------------------------------------------------

// A last line that was cut off (a run that was killed) is passed over.
static lora_status parse_lines(const char *text, size_t length, json_t **out)
{
    json_t *list = json_array();
    lora_status status = list ? LORA_OK : lr_fail_memory(64);
    for (size_t at = 0, end; at < length && status == LORA_OK; at = end + 1) {
        const char *newline = memchr(text + at, '\n', length - at);
        end = newline ? (size_t)(newline - text) : length;
        json_t *line;
        if (end == at) continue;
        status = lr_json_parse("log", text + at, end - at, &line);
        if (status != LORA_OK && !newline) status = LORA_OK;
        else if (status == LORA_OK && json_array_append_new(list, line) != 0) status = lr_fail_memory(64);
    }
    *out = list;
    if (status != LORA_OK) json_decref(list);
    return status;
}

static const kind *find_kind(const char *name)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

lora_status lora_report_add(lora_report *report, const char *name, const char *json, size_t length)
{
    LR_CHECK_HANDLE(report);
    LR_CHECK_HANDLE(json);
    const kind *found = name ? find_kind(name) : NULL;
    LR_CHECK_ARGUMENT(found,
                      "a report has no part of the kind '%.40s': train, log, samples, evaluate, compare, ab, check",
                      name ? name : "");
    json_t *document;
    LR_TRY(found->lines ? parse_lines(json, length, &document) : lr_json_parse(name, json, length, &document));
    lora_status status = LORA_OK;
    if (found->list != json_is_array(document) || (!found->list && !json_is_object(document)))
        status = lr_fail(LORA_ERROR_FORMAT, "the document of kind '%s' is no JSON %s", name,
                         found->list ? "list" : "object");
    if (status == LORA_OK)
        status = lr_grow(&report->context->allocator, (void **)&report->parts, &report->part_capacity,
                         report->part_count + 1, sizeof *report->parts);
    if (status != LORA_OK) json_decref(document);
    else report->parts[report->part_count++] = (part){found, document};
    return status;
}

// ---- the page ------------------------------------------------------------------------------------------------------

static void put_title(const lora_report *report, lr_page *page)
{
    if (report->title) lr_put_text(page, report->title);
    else lr_put(page, lr_say(page, report->parts[0].kind->english, report->parts[0].kind->chinese));
}

static lora_status make_page(lora_report *report)
{
    lr_page *page = &report->page;
    lr_bytes_free(&page->out);
    lr_page_init(page, &report->context->allocator, report->chinese);
    lr_put(page, "<!DOCTYPE html>\n<html lang=\"");
    lr_put(page, lr_say(page, "en", "zh-CN"));
    lr_put(page, "\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    put_title(report, page);
    lr_put(page, "</title>\n<style>\n");
    for (const char *const *line = lr_report_style; *line; line++) lr_put(page, *line);
    lr_put(page, "</style>\n</head>\n<body>\n<header>\n<h1>");
    put_title(report, page);
    lr_put(page, "</h1>\n</header>\n<main>\n");
    for (size_t i = 0; i < report->part_count; i++) report->parts[i].kind->show(page, report->parts[i].document);
    lr_put(page, "</main>\n<footer>");
    lr_put(page, lr_say(page, "Made by liblora. This file needs no network.", "由 liblora 生成。本文件不需要网络。"));
    lr_put(page, "</footer>\n</body>\n</html>\n");
    return page->status;
}

lora_status lora_report_html(lora_report *report, const char **html, size_t *length)
{
    LR_CHECK_HANDLE(report);
    LR_CHECK_HANDLE(html);
    if (report->part_count == 0)
        return lr_fail(LORA_ERROR_STATE, "the report has no part yet: call lora_report_add first");
    LR_TRY(make_page(report));
    *html = report->page.out.data;
    if (length) *length = report->page.out.size;
    return LORA_OK;
}

lora_status lora_report_save(lora_report *report, const char *path, int32_t overwrite)
{
    const char *html;
    size_t length;
    LR_CHECK_ARGUMENT(path && *path, "%s: path is missing", __func__);
    LR_TRY(lora_report_html(report, &html, &length));
    return lr_write_file(&report->context->allocator, path, overwrite != 0, html, length);
}
