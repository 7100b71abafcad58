#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const option shared_options[] = {
    {"threads", OPTION_INTEGER, offsetof(application, threads), "N", "processors to use (default: all)",
     "使用的处理器数（默认全部）"},
    {"backend", OPTION_TEXT, offsetof(application, backend), "auto|cpu|cuda", "where to compute", "计算设备"},
    {"seed", OPTION_SEED, offsetof(application, seed), "N", "random seed (default 42)", "随机种子（默认 42）"},
    {"json", OPTION_FLAG, offsetof(application, json), NULL, "one JSON object as the result",
     "以一个 JSON 对象输出结果"},
    {"quiet", OPTION_FLAG, offsetof(application, quiet), NULL, "no progress", "不显示进度"},
    {"force", OPTION_FLAG, offsetof(application, force), NULL, "overwrite the output", "覆盖已有输出"},
    {"lang", OPTION_TEXT, offsetof(application, language), "en|zh", "language of messages", "界面语言"},
    {"help", OPTION_FLAG, offsetof(application, help), NULL, "what is used most", "显示常用选项"},
    {"help-all", OPTION_FLAG, offsetof(application, help_all), NULL, "every option", "显示全部选项"},
    {0},
};

static const option *find_option(const option *table, const char *name, size_t length)
{
    for (; table->name; table++)
        if (strlen(table->name) == length && memcmp(table->name, name, length) == 0) return table;
    return NULL;
}

// ---- the nearest name, for a misspelt one ---------------------------------------------------------------------------

static size_t edit_distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 63) return 63;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < change) change = row[j] + 1;
            if (row[j - 1] + 1 < change) change = row[j - 1] + 1;
            row[j] = change;
        }
    }
    return row[n];
}

static const char *nearest(const option *table, const char *name, const char *best, size_t *distance)
{
    for (; table->name; table++) {
        size_t d = edit_distance(name, table->name);
        if (d < *distance) *distance = d, best = table->name;
    }
    return best;
}

static int unknown_option(const application *app, const option *options, const char *name)
{
    size_t distance = 4;
    const char *best = nearest(options, name, NULL, &distance);
    best = nearest(shared_options, name, best, &distance);
    if (best) return complain(app, EXIT_USAGE, say(app, "unknown option --%s; did you mean --%s?",
                                                   "没有选项 --%s；您是指 --%s 吗？"), name, best);
    return complain(app, EXIT_USAGE, say(app, "unknown option --%s; --help-all lists all",
                                         "没有选项 --%s；用 --help-all 查看全部选项"), name);
}

// ---- values ---------------------------------------------------------------------------------------------------------

static bool read_integer(const char *text, int64_t most, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = value;
    return errno == 0 && end != text && *end == '\0' && value <= most && value >= -most;
}

static bool read_real(const char *text, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *out - *out == 0;
}

bool read_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},        {"B", 1},        {"K", 1 << 10}, {"KB", 1 << 10},
                 {"M", 1 << 20}, {"MB", 1 << 20}, {"G", 1 << 30}, {"GB", 1 << 30}};
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value > 0) || value > 1e15) return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].name) == 0) {
            *out = (uint64_t)(value * units[i].factor);
            return true;
        }
    return false;
}

bool read_share(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text) return false;
    if (*end == '%') *out /= 100, end++;
    return *end == '\0';
}

const char *describe_value(const application *app, const option *o, char *text)
{
    const char *kind = o->kind == OPTION_INTEGER || o->kind == OPTION_SEED ? say(app, "a whole number", "整数")
                     : o->kind == OPTION_REAL                              ? say(app, "a number", "数值")
                                                                           : NULL;
    const char *value = o->value ? o->value : "true|false";
    if (!kind) snprintf(text, 128, "%s", value);
    else if (*value < '0' || *value > '9') snprintf(text, 128, "%s", kind);
    else snprintf(text, 128, say(app, "%s, like %s", "%s，例如 %s"), kind, value);
    return text;
}

static bool add_text(text_list *list, const char *text)
{
    if (list->count == sizeof list->items / sizeof *list->items) return false;
    list->items[list->count++] = text;
    return true;
}

// Cuts in place: command-line words are the program's own.
static bool add_names(text_list *list, char *text)
{
    for (char *rest = text; (rest = strchr(text, ',')); text = rest + 1) {
        *rest = '\0';
        if (*text && !add_text(list, text)) return false;
    }
    return *text ? add_text(list, text) : true;
}

static bool store(const option *o, char *text, void *place)
{
    switch (o->kind) {
    case OPTION_INTEGER: return read_integer(text, INT32_MAX, place);
    case OPTION_SEED: return read_integer(text, INT64_MAX, place);
    case OPTION_REAL: return read_real(text, place);
    case OPTION_SIZE: return read_size(text, place);
    case OPTION_TEXT: *(const char **)place = text; return true;
    case OPTION_TEXTS: return add_text(place, text);
    case OPTION_NAMES: return add_names(place, text);
    case OPTION_SWITCH:
        *(bool *)place = strcmp(text, "true") == 0;
        return *(bool *)place || strcmp(text, "false") == 0;
    default: return false;
    }
}

// A file's text, kept in `app`.
static int read_template(application *app, const char *name, const char **out)
{
    enum { MOST = 1 << 20 };
    *out = name;
    if (strcmp(name, "alpaca") == 0 || strcmp(name, "chat") == 0) return EXIT_DONE;
    FILE *file = fopen(name, "rb");
    int error = errno;
    char *text = file ? calloc(1, MOST) : NULL;
    size_t length = text ? fread(text, 1, MOST - 1, file) : 0;
    if (file) fclose(file);
    free(app->template_text);
    *out = app->template_text = text;
    if (length > 0) return EXIT_DONE;
    return complain(app, EXIT_USAGE, say(app, "--template %s: expected alpaca, chat or a file of Jinja text (%s)",
                                         "--template %s：应为 alpaca、chat 或 Jinja 模板文件（%s）"),
                    name, file ? say(app, "nothing could be read", "读不到内容") : strerror(error));
}

// ---- help -----------------------------------------------------------------------------------------------------------

static void print_option(const application *app, const option *o)
{
    char left[80];
    if (o->kind == OPTION_REFUSED) return;
    snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    printf("  %-32s %s\n", left, say(app, o->english, o->chinese));
}

// Whether `name` is one of the words of `names`; NULL: it is.
static bool is_common(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names; at; at = *at ? at + 1 : NULL) {
        size_t word = strcspn(at, " ");
        if (word == length && memcmp(at, name, length) == 0) return true;
        at += word;
    }
    return !names;
}

static void print_help(const application *app, const verb_help *help, const option *options)
{
    const char *names = app->help_all ? NULL : help->common;
    printf("%s\n%s\n\n", help->usage, say(app, help->english, help->chinese));
    for (const option *o = options; o->name; o++)
        if (is_common(names, o->name)) print_option(app, o);
    if (names) printf("  --help-all                       %s\n", say(app, "the other options too", "连同其余选项"));
    printf("  --threads N  --backend auto|cpu|cuda  --seed N  --lang en|zh\n  --json  --quiet  --force\n");
    printf("\n%s\n  %s\n", say(app, "Example:", "例如："), help->example);
}

// ---- parsing --------------------------------------------------------------------------------------------------------

static int take_option(application *app, const option *options, void *settings, int count, char **words, int *at,
                       const option **last_list)
{
    char *name = words[*at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const option *o = find_option(options, name, length);
    void *base = o ? settings : app;
    if (!o) o = find_option(shared_options, name, length);
    if (!o) {
        name[length] = '\0';
        return unknown_option(app, options, name);
    }
    if (o->kind == OPTION_REFUSED)
        return complain(app, EXIT_USAGE, say(app, "--%s is not available: %s",
                                             "--%s 暂不可用：%s"), o->name, say(app, o->english, o->chinese));
    void *place = (char *)base + o->offset;
    *last_list = NULL;
    if (o->kind == OPTION_FLAG) {
        if (equals) return complain(app, EXIT_USAGE, say(app, "--%s takes no value", "--%s 不需要值"), o->name);
        *(bool *)place = true;
        return EXIT_DONE;
    }
    char *value = equals ? equals + 1 : *at + 1 < count ? words[++*at] : NULL;
    char expected[128];
    if (!value) return complain(app, EXIT_USAGE, say(app, "--%s needs a value: %s", "--%s 需要一个值：%s"), o->name,
                                describe_value(app, o, expected));
    if (o->kind == OPTION_TEMPLATE) return read_template(app, value, place);
    if (!store(o, value, place))
        return complain(app, EXIT_USAGE, say(app, "--%s %s: expected %s", "--%s %s：应为 %s"), o->name, value,
                        describe_value(app, o, expected));
    if (o->kind == OPTION_TEXTS || o->kind == OPTION_NAMES) *last_list = o;
    return EXIT_DONE;
}

int parse_options(application *app, const verb_help *help, const option *options, void *settings, int count,
                  char **words)
{
    const option *last_list = NULL;
    for (int i = 0; i < count; i++) {
        if (strncmp(words[i], "--", 2) == 0 && words[i][2]) {
            int status = take_option(app, options, settings, count, words, &i, &last_list);
            if (status != EXIT_DONE) return status;
        } else if (last_list && app->arguments.count >= help->arguments) {
            if (!store(last_list, words[i], (char *)settings + last_list->offset))
                return complain(app, EXIT_USAGE, say(app, "too many values for --%s",
                                                     "--%s 的值太多"), last_list->name);
        } else if (!add_text(&app->arguments, words[i])) {
            return complain(app, EXIT_USAGE, say(app, "too many arguments", "参数太多"));
        }
    }
    if (app->language && strncmp(app->language, "en", 2) != 0 && strncmp(app->language, "zh", 2) != 0)
        return complain(app, EXIT_USAGE, say(app, "--lang %s: choose en or zh", "--lang %s：可选 en、zh"), app->language);
    if (app->language) app->chinese = strncmp(app->language, "zh", 2) == 0;
    if (app->help || app->help_all) {
        print_help(app, help, options);
        return -1;
    }
    if (app->arguments.count < help->arguments || app->arguments.count > help->most_arguments)
        return complain(app, EXIT_USAGE, say(app, "usage: %s", "用法：%s"), help->usage);
    return EXIT_DONE;
}

int choose(const application *app, const char *option_name, const char *text, const char *const *names, int32_t *out)
{
    char all[256] = "";
    for (int32_t i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) return *out = i, EXIT_DONE;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
    }
    return complain(app, EXIT_USAGE, say(app, "--%s %s: choose one of %s", "--%s %s：可选 %s"), option_name, text, all);
}
