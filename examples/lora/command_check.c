// lora check: what is wrong with data, as a table with row numbers, and a cleaned copy.
#include "options.h"
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define COLUMNS 80
#define INDENT 10

static const verb_help help = {
    .usage = "lora check --data DATA [MODEL] [options]",
    .english = "What is wrong with DATA, row by row, before a model learns it; --fix writes a\nclean copy.",
    .chinese = "训练之前逐行检查数据质量；--fix 写出清理后的副本。",
    .example = "lora check --data my.jsonl --validation heldout.jsonl --fix clean.jsonl",
    .arguments = 0, .most_arguments = 1,
};

typedef struct settings {
    text_list data, validation;
    const char *fix, *template_source;
    int64_t max_length;
    double near_duplicate;
    bool mask_personal;
} settings;

static const option options[] = {
    {"data", OPTION_TEXTS, offsetof(settings, data), "FILE", "rows to check", "要检查的数据"},
    {"validation", OPTION_TEXTS, offsetof(settings, validation), "FILE", "held-out rows, to find leaks",
     "留出数据，用于查找泄漏"},
    {"max-length", OPTION_INTEGER, offsetof(settings, max_length), "512", "tokens a row may have in training",
     "训练时每行最多的词元数"},
    {"near-duplicate", OPTION_REAL, offsetof(settings, near_duplicate), "0.8", "rows this similar are near duplicates",
     "相似度达到此值视为近似重复"},
    {"template", OPTION_TEMPLATE, offsetof(settings, template_source), "alpaca|chat|FILE", "how rows become text",
     "数据的文本模板"},
    {"fix", OPTION_TEXT, offsetof(settings, fix), "FILE", "write a clean copy, .jsonl or .json",
     "写出清理后的副本"},
    {"mask-personal", OPTION_FLAG, offsetof(settings, mask_personal), NULL, "with --fix: mask personal data",
     "与 --fix 合用：遮盖个人信息"},
    {0},
};

// ---- the report on a terminal ---------------------------------------------------------------------------------------

// Bytes of the character at `text`, and its columns.
static size_t next_character(const char *text, size_t *width)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code);
    *width = size > 0 ? (size_t)utf8proc_charwidth(code) : 1;
    return size > 0 ? (size_t)size : 1;
}

// Bytes of `text` that fit into `room` columns, cut at a space or beside a wide character where there is one.
static size_t fitting(const char *text, size_t room)
{
    size_t at = 0, used = 0, cut = 0, width;
    while (text[at]) {
        size_t size = next_character(text + at, &width);
        if (used + width > room) return cut ? cut : at;
        if (text[at] == ' ' || width == 2) cut = at + (text[at] == ' ' ? 0 : size);
        at += size;
        used += width;
    }
    return at;
}

// A paragraph behind an indent; `lead` stands at the end of the first one.
static void print_paragraph(const char *lead, const char *text)
{
    printf("%*s%s", INDENT - (int)text_width(lead), "", lead);
    for (bool first = true; *text; first = false) {
        size_t size = fitting(text, COLUMNS - INDENT);
        printf("%*s%.*s\n", first ? 0 : INDENT, "", (int)size, text);
        text += size;
        while (*text == ' ') text++;
    }
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}
static int64_t integer_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *in_language(const application *app, const json_t *texts)
{
    return text_of(texts, say(app, "en", "zh"));
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// "FILE:", where it is another than before.
static void put_file(const char *file, const char *before, char *out, size_t size)
{
    if (strcmp(file, before) == 0) *out = '\0';
    else snprintf(out, size, "%.100s:", base_name(file));
}

// "data.jsonl:3, 17 = 12 (0.93), 20, more.csv:4 ..." as far as three lines hold.
static void print_places(const application *app, const json_t *finding)
{
    const char *file = "";
    char line[512] = "";
    size_t i, at = 0;
    json_t *row;
    json_array_foreach(json_object_get(finding, "rows"), i, row)
    {
        char item[300], prefix[128], other[200] = "";
        const char *own = text_of(row, "file"), *twin = text_of(row, "other_file");
        double similarity = json_real_value(json_object_get(row, "similarity"));
        put_file(own, file, prefix, sizeof prefix);
        size_t used =
            (size_t)snprintf(item, sizeof item, "%s%s%" PRId64, i ? ", " : "", prefix, integer_of(row, "row"));
        if (twin) {
            put_file(twin, own, prefix, sizeof prefix);
            snprintf(other, sizeof other, " = %s%" PRId64, prefix, integer_of(row, "other_row"));
        }
        if (similarity > 0 && similarity < 1) snprintf(item + used, sizeof item - used, "%s (%.2f)", other, similarity);
        else snprintf(item + used, sizeof item - used, "%s", other);
        if (at > 0 && at + strlen(item) > 180) break;
        at += (size_t)snprintf(line + at, sizeof line - at, "%s", item);
        file = own;
    }
    int64_t more = integer_of(finding, "count") - (int64_t)i;
    if (more > 0) snprintf(line + at, sizeof line - at, say(app, " and %" PRId64 " more", " 等，另有 %" PRId64 " 行"), more);
    print_paragraph("", line);
}

static void print_finding(const application *app, const json_t *finding)
{
    const char *severity = text_of(finding, "severity"), *example = text_of(finding, "example");
    const char *detail = text_of(json_array_get(json_object_get(finding, "rows"), 0), "detail");
    const char *mark = strcmp(severity, "error") == 0 ? "!!" : strcmp(severity, "warning") == 0 ? "!" : "";
    printf("\n%-2s%6" PRId64 "  %s\n", mark, integer_of(finding, "count"),
           in_language(app, json_object_get(finding, "title")));
    print_places(app, finding);
    print_paragraph("", in_language(app, json_object_get(finding, "explanation")));
    print_paragraph("-> ", in_language(app, json_object_get(finding, "cure")));
    if (detail) print_paragraph("| ", detail);
    else if (example) print_paragraph("| ", example);
}

static void print_counts(const char *name, const json_t *counts)
{
    char line[400] = "";
    const char *key;
    json_t *count;
    size_t at = 0;
    json_object_foreach((json_t *)counts, key, count)
    {
        if (at + strlen(key) + 30 > sizeof line) break;
        at += (size_t)sprintf(line + at, "%s%s %" JSON_INTEGER_FORMAT, at ? ", " : "", key, json_integer_value(count));
    }
    if (!at) return;
    printf("%s\n", name);
    print_paragraph("", line);
}

static void print_summary(const application *app, const json_t *report)
{
    const json_t *lengths = json_object_get(report, "lengths"), *files = json_object_get(report, "files");
    const char *unit = json_is_true(json_object_get(lengths, "estimated")) ? say(app, "tokens, estimated", "词元，估计值")
                                                                           : say(app, "tokens", "词元");
    size_t i;
    json_t *file;
    json_array_foreach(files, i, file) printf("%s%s", i ? ", " : "", json_string_value(file));
    printf(say(app, ": %" PRId64 " rows", "：%" PRId64 " 行"), integer_of(report, "rows"));
    if (integer_of(report, "validation_rows") > 0)
        printf(say(app, ", %" PRId64 " held out", "，留出 %" PRId64 " 行"), integer_of(report, "validation_rows"));
    printf(say(app, "\nlengths (%s)\n", "\n长度（%s）\n"), unit);
    char line[256];
    snprintf(line, sizeof line,
             say(app,
                 "half up to %" PRId64 ", 95%% up to %" PRId64 ", longest %" PRId64 "; %" PRId64 " cuts %" PRId64
                 " rows",
                 "一半不超过 %" PRId64 "，95%% 不超过 %" PRId64 "，最长 %" PRId64 "；上限 %" PRId64 " 会截断 %" PRId64
                 " 行"),
             integer_of(lengths, "p50"), integer_of(lengths, "p95"), integer_of(lengths, "longest"),
             integer_of(lengths, "max_length"), integer_of(lengths, "too_long"));
    print_paragraph("", line);
    print_counts(say(app, "scripts", "文字"), json_object_get(report, "languages"));
    print_counts(say(app, "labels", "类别"), json_object_get(report, "labels"));
}

static void print_report(const application *app, const json_t *report)
{
    size_t i;
    json_t *finding;
    print_summary(app, report);
    json_array_foreach(json_object_get(report, "findings"), i, finding) print_finding(app, finding);
    if (i == 0) printf("%s\n", say(app, "\nNothing was found that needs a change.", "\n没有发现需要修改的地方。"));
    else printf(say(app, "\n!! errors: %" PRId64 "   ! warnings: %" PRId64 "   notes: %" PRId64 "\n",
                    "\n!! 错误：%" PRId64 " 类   ! 警告：%" PRId64 " 类   提示：%" PRId64 " 类\n"),
                integer_of(report, "errors"), integer_of(report, "warnings"), integer_of(report, "notes"));
}

// ---- running --------------------------------------------------------------------------------------------------------

static bool is_model(const char *path)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    size_t length = strlen(path);
    bool found = length > 5 && strcmp(path + length - 5, ".gguf") == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++) {
        char file[4096];
        found = snprintf(file, sizeof file, "%s/%s", path, names[i]) < (int)sizeof file && path_exists(file);
    }
    return found;
}

// A MODEL that follows --data or --validation's files without an option between them.
static void take_model(application *app, text_list *files)
{
    if (app->arguments.count > 0 || files->count < 2 || !is_model(files->items[files->count - 1])) return;
    app->arguments.items[app->arguments.count++] = files->items[--files->count];
}

static lora_status fix(const application *app, const settings *s, const lora_check *check, lora_check_fix_info *info)
{
    lora_check_fix_options o;
    lora_check_fix_options_init(&o);
    o.mask_personal = s->mask_personal;
    o.overwrite = app->force;
    return lora_check_fix(check, s->fix, &o, info);
}

static int print_result(const application *app, const settings *s, const lora_check *check,
                        const lora_check_fix_info *fixed)
{
    const char *text;
    size_t length;
    lora_check_report(check, &text, &length);
    json_t *report = json_loadb(text, length, 0, NULL);
    if (!report) return complain(app, EXIT_WORK, "%s", say(app, "no memory for the report", "内存不足，无法显示报告"));
    if (app->json) {
        if (s->fix)
            json_object_set_new(report, "fixed",
                                json_pack("{ss ss++ sI sI sI}", "path", s->fix, "changes", s->fix, ".changes.jsonl", "",
                                          "kept_rows", (json_int_t)fixed->kept_rows, "dropped_rows",
                                          (json_int_t)fixed->dropped_rows, "changed_rows",
                                          (json_int_t)fixed->changed_rows));
        return print_json(report);
    }
    print_report(app, report);
    json_decref(report);
    if (s->fix)
        printf(say(app,
                   "%s: %" PRId64 " rows kept, %" PRId64 " of them changed, %" PRId64
                   " left out\n%s.changes.jsonl: every change\n",
                   "%s：保留 %" PRId64 " 行，其中修改 %" PRId64 " 行，去掉 %" PRId64
                   " 行\n%s.changes.jsonl：全部修改记录\n"),
               s->fix, fixed->kept_rows, fixed->changed_rows, fixed->dropped_rows, s->fix);
    return EXIT_DONE;
}

static int run(application *app, const settings *s)
{
    lora_tokenizer *tokenizer = NULL;
    lora_check *check = NULL;
    lora_check_options o;
    lora_check_fix_info fixed = {.struct_size = sizeof fixed};
    lora_check_options_init(&o);
    o.max_length = (int32_t)s->max_length;
    o.near_duplicate = s->near_duplicate;
    o.template_source = s->template_source;
    lora_status status = open_context(app);
    if (status == LORA_OK && app->arguments.count > 0)
        status = lora_tokenizer_load(app->context, app->arguments.items[0], &tokenizer);
    if (status == LORA_OK)
        status = lora_check_create(app->context, tokenizer, s->data.items, s->data.count, s->validation.items,
                                   s->validation.count, &o, &check);
    if (status == LORA_OK && s->fix) status = fix(app, s, check, &fixed);
    int result = status == LORA_OK ? print_result(app, s, check, &fixed) : failed(app, status);
    lora_check_free(check);
    lora_tokenizer_free(tokenizer);
    return result;
}

int command_check(application *app, int count, char **words)
{
    settings s = {.max_length = 512, .near_duplicate = 0.8};
    int status = parse_options(app, &help, options, &s, count, words);
    if (status != EXIT_DONE) return status;
    take_model(app, &s.data);
    take_model(app, &s.validation);
    if (s.data.count == 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--data is missing: which rows to check?", "缺少 --data：要检查哪些数据？"));
    if (s.mask_personal && !s.fix)
        return complain(app, EXIT_USAGE,
                        say(app, "--mask-personal goes with --fix FILE", "--mask-personal 需要与 --fix FILE 合用"));
    return run(app, &s);
}
