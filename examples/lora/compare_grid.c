#include "compare_grid.h"

#include <stdlib.h>
#include <string.h>

#define MOST_OPTIONS 96
#define MOST_SETTINGS 256
#define MOST_TARGETS 8
#define AT(field) offsetof(compare_settings, field)

// ---- options -------------------------------------------------------------------------------------------------------

static const option own_options[] = {
    {"rank", OPTION_NAMES, AT(ranks), "4,8,16", "ranks to try", "要比较的秩"},
    {"alpha", OPTION_NAMES, AT(alphas), "32", "scales to try (alpha / r)", "要比较的 alpha（缩放为 alpha / r）"},
    {"learning-rate", OPTION_NAMES, AT(rates), "2e-4", "learning rates to try", "要比较的学习率"},
    {"dropout", OPTION_NAMES, AT(dropouts), "0.1", "dropouts to try", "要比较的 dropout"},
    {"epochs", OPTION_NAMES, AT(epochs), "3", "numbers of epochs to try", "要比较的训练轮数"},
    {"target-modules", OPTION_TEXT, AT(targets), "A,B;all-linear", "layers to adapt; \";\" between choices",
     "要适配的层；用“;”分隔多种选择"},
    {"full-learning-rate", OPTION_NAMES, AT(full_rates), "X", "of --full (default: a tenth of --learning-rate)",
     "--full 的学习率（默认为 --learning-rate 的十分之一）"},
    {"seeds", OPTION_INTEGER, AT(seeds), "1", "runs of each setting", "每个设置训练几次"},
    {"answers", OPTION_INTEGER, AT(answers), "16", "held-out rows answered in writing", "生成多少条留出数据的回答"},
    {"max-new-tokens", OPTION_INTEGER, AT(max_new_tokens), "128", "length of an answer", "回答的最大长度"},
    {"general", OPTION_TEXTS, AT(general), "FILE", "general rows, to see what is forgotten", "通用数据，用来看忘了多少"},
    {"report", OPTION_TEXT, AT(report), "FILE.html", "the result as a page", "把结果写成网页"},
    {0},
};

// Options of `lora train` that a comparison has no use for.
static bool is_dropped(const char *name)
{
    static const char *const dropped[] = {"init-adapter", "initialize", "method",   "resume",          "log",
                                          "save-dtype",   "keep",       "quantize", "cache-quantized", "use-dora"};
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        if (strcmp(name, dropped[i]) == 0) return true;
    for (const option *o = own_options; o->name; o++)
        if (strcmp(name, o->name) == 0) return true;
    return false;
}

const option *compare_options(void)
{
    static option table[MOST_OPTIONS];
    size_t count = 0;
    for (const option *o = train_options; o->name && count < MOST_OPTIONS; o++) {
        if (count == 3) // after data, output and validation
            for (const option *own = own_options; own->name && count + 1 < MOST_OPTIONS; own++) table[count++] = *own;
        if (!is_dropped(o->name) && count + 1 < MOST_OPTIONS) table[count++] = *o;
    }
    return table;
}

// ---- values --------------------------------------------------------------------------------------------------------

typedef struct values {
    double items[64];
    size_t count;
} values;

static int read_values(const application *app, const char *option_name, const text_list *texts, double fallback,
                       values *out)
{
    *out = (values){.items = {fallback}, .count = 1};
    for (size_t i = 0; i < texts->count; i++) {
        char *end;
        out->items[i] = strtod(texts->items[i], &end);
        if (end == texts->items[i] || *end || out->items[i] - out->items[i] != 0)
            return complain(app, EXIT_USAGE, say(app, "--%s %s: expected numbers with commas between them",
                                                 "--%s %s：应为用逗号分隔的数字"), option_name, texts->items[i]);
    }
    if (texts->count) out->count = texts->count;
    return EXIT_DONE;
}

typedef struct targets {
    text_list items[MOST_TARGETS];
    size_t count;
} targets;

// "q_proj,v_proj;all-linear": cuts the text in place.
static int read_targets(const application *app, char *text, targets *out)
{
    *out = (targets){.count = 1};
    for (char *item = text; item && *item;) {
        size_t length = strcspn(item, ",;");
        char end = item[length];
        text_list *list = &out->items[out->count - 1];
        item[length] = '\0';
        if (*item && list->count < 64) list->items[list->count++] = item;
        if (end == ';' && out->count++ == MOST_TARGETS)
            return complain(app, EXIT_USAGE,
                            say(app, "--target-modules: at most %d choices", "--target-modules：最多 %d 种选择"),
                            MOST_TARGETS);
        item = end ? item + length + 1 : NULL;
    }
    return EXIT_DONE;
}

// ---- combinations ---------------------------------------------------------------------------------------------------

typedef struct axes {
    values ranks, alphas, rates, full_rates, dropouts, epochs;
    targets targets;
} axes;

static int read_axes(const application *app, compare_settings *s, axes *a)
{
    int status = read_values(app, "rank", &s->ranks, 8, &a->ranks);
    if (status == EXIT_DONE) status = read_values(app, "alpha", &s->alphas, 32, &a->alphas);
    if (status == EXIT_DONE) status = read_values(app, "learning-rate", &s->rates, 2e-4, &a->rates);
    if (status == EXIT_DONE) status = read_values(app, "dropout", &s->dropouts, 0.1, &a->dropouts);
    if (status == EXIT_DONE) status = read_values(app, "epochs", &s->epochs, 3, &a->epochs);
    if (status == EXIT_DONE) status = read_values(app, "full-learning-rate", &s->full_rates, 0, &a->full_rates);
    if (status == EXIT_DONE) status = read_targets(app, (char *)(uintptr_t)s->targets, &a->targets);
    if (status != EXIT_DONE || s->full_rates.count) return status;
    a->full_rates = a->rates;
    for (size_t i = 0; i < a->full_rates.count; i++)
        a->full_rates.items[i] = s->rates.count ? a->rates.items[i] / 10 : 5e-5;
    return EXIT_DONE;
}

// Only what differs between settings is in their names.
static void add_part(char name[65], bool differs, const char *letter, double value)
{
    size_t length = strlen(name);
    if (!differs) return;
    snprintf(name + length, 65 - length, "-%s%g", letter, value);
    for (char *c = name + length; *c; c++)
        if (*c == '+') *c = '_';
}

static void add_target_part(char name[65], const axes *a, size_t choice)
{
    size_t length = strlen(name);
    if (a->targets.count < 2) return;
    const text_list *list = &a->targets.items[choice];
    for (size_t i = 0; i < list->count; i++) {
        snprintf(name + length, 65 - length, "-%s", list->items[i]);
        length = strlen(name);
    }
    for (char *c = name; *c; c++)
        if (!strchr("-_.", *c) && !((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z')))
            *c = '_';
}

static int add_entry(const application *app, grid *g, const grid_entry *entry)
{
    if (g->count == MOST_SETTINGS)
        return complain(app, EXIT_USAGE,
                        say(app, "more than %d settings: list fewer values", "设置超过 %d 个：请减少取值"),
                        MOST_SETTINGS);
    if (!g->entries) g->entries = calloc(MOST_SETTINGS, sizeof *g->entries);
    if (!g->entries) return complain(app, EXIT_WORK, say(app, "out of memory", "内存不足"));
    grid_entry *kept = &g->entries[g->count++];
    *kept = *entry;
    return make_train_plan(app, &kept->train, &kept->plan);
}

static int add_adapter(const application *app, const compare_settings *s, const axes *a, const size_t at[6], grid *g)
{
    grid_entry entry = {.train = s->train};
    train_settings *t = &entry.train;
    t->full = false;
    t->rank = (int64_t)a->ranks.items[at[0]];
    t->alpha = a->alphas.items[at[1]];
    t->learning_rate = a->rates.items[at[2]];
    t->dropout = a->dropouts.items[at[3]];
    t->epochs = a->epochs.items[at[4]];
    t->target_modules = a->targets.items[at[5]];
    snprintf(entry.name, sizeof entry.name, "r%lld", (long long)t->rank);
    add_part(entry.name, a->alphas.count > 1, "a", t->alpha);
    add_part(entry.name, a->rates.count > 1, "lr", t->learning_rate);
    add_part(entry.name, a->dropouts.count > 1, "d", t->dropout);
    add_part(entry.name, a->epochs.count > 1, "e", t->epochs);
    add_target_part(entry.name, a, at[5]);
    return add_entry(app, g, &entry);
}

static int add_full(const application *app, const compare_settings *s, const axes *a, grid *g)
{
    int status = EXIT_DONE;
    for (size_t r = 0; r < a->full_rates.count; r++)
        for (size_t e = 0; e < a->epochs.count && status == EXIT_DONE; e++) {
            grid_entry entry = {.name = "full", .train = s->train};
            entry.train.full = true;
            entry.train.learning_rate = a->full_rates.items[r];
            entry.train.epochs = a->epochs.items[e];
            add_part(entry.name, a->full_rates.count > 1, "lr", entry.train.learning_rate);
            add_part(entry.name, a->epochs.count > 1, "e", entry.train.epochs);
            status = add_entry(app, g, &entry);
        }
    return status;
}

// Counts `at` up like the digits of a number, the first the slowest; false after the last combination.
static bool advance(const axes *a, size_t at[6])
{
    const size_t sizes[6] = {a->ranks.count,    a->alphas.count, a->rates.count,
                             a->dropouts.count, a->epochs.count, a->targets.count};
    for (size_t i = 6; i-- > 0; at[i] = 0)
        if (++at[i] < sizes[i]) return true;
    return false;
}

int make_grid(const application *app, compare_settings *s, grid *out)
{
    axes a;
    size_t at[6] = {0};
    *out = (grid){0};
    int status = read_axes(app, s, &a);
    if (status != EXIT_DONE) return status;
    do status = add_adapter(app, s, &a, at, out);
    while (status == EXIT_DONE && advance(&a, at));
    return status == EXIT_DONE && s->train.full ? add_full(app, s, &a, out) : status;
}

void grid_free(grid *g)
{
    free(g->entries);
    *g = (grid){0};
}
