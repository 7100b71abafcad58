#include "report.h"

#include <string.h>

int check_report(const application *app, const char *path)
{
    if (path && !path_ends_with(path, ".html") && !path_ends_with(path, ".htm"))
        return complain(app, EXIT_USAGE,
                        say(app, "--report %s: a report is a web page: choose a name that ends in .html",
                            "--report %s：报告是网页，请用以 .html 结尾的文件名"),
                        path);
    if (!path || app->force || !path_exists(path)) return EXIT_DONE;
    return complain(app, EXIT_WORK, say(app, "%s is there already; --force overwrites it", "%s 已存在；--force 可覆盖"), path);
}

int write_report(const application *app, const char *path, const report_part *parts, size_t count)
{
    lora_report *report = NULL;
    lora_report_options options;
    lora_report_options_init(&options);
    options.language = app->chinese ? "zh" : "en";
    lora_status status = lora_report_create(app->context, &options, &report);
    for (size_t i = 0; i < count && status == LORA_OK; i++)
        if (parts[i].json) status = lora_report_add(report, parts[i].kind, parts[i].json, strlen(parts[i].json));
    if (status == LORA_OK) status = lora_report_save(report, path, 1);
    lora_report_free(report);
    if (status != LORA_OK) return failed(app, status);
    note(app, say(app, "report: %s", "报告：%s"), path);
    return EXIT_DONE;
}
