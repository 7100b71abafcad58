#include "src/eval/metric.h"

#include "src/core/validate.h"

#include <stdio.h>

static const lr_metric_kind kinds[] = {
    {"bleu", lr_bleu_row, lr_bleu_score},
    {"bleu4", lr_bleu4_row, lr_mean_score},
    {"chrf", lr_chrf_row, lr_chrf_score},
    {"rougeL", lr_rouge_l_row, lr_rouge_score},
    {"rougeLsum", lr_rouge_lsum_row, lr_rouge_score},
    {"rouge#", lr_rouge_n_row, lr_rouge_score},
    {"exact_match", lr_exact_row, lr_mean_score},
};

void(lora_metric_options_init)(lora_metric_options *options, size_t struct_size)
{
    const lora_metric_options defaults = {.tokenizer = "13a", .smoothing = "exp", .smoothing_value = -1, .beta = 2};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static bool name_fits(const char *pattern, const char *name)
{
    for (; *pattern && *name; pattern++, name++)
        if (*pattern == '#' ? *name < '1' || *name > '9' : *pattern != *name) return false;
    return !*pattern && !*name;
}

static lora_status choose_kind(lora_metric *m, const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!name_fits(kinds[i].name, name)) continue;
        m->kind = &kinds[i];
        snprintf(m->name, sizeof m->name, "%s", name);
        return LORA_OK;
    }
    return lr_fail(LORA_ERROR_ARGUMENT,
                   "there is no metric '%.40s': bleu, bleu4, chrf, rouge1 to rouge9, rougeL, rougeLsum, exact_match",
                   name);
}

static lora_status choose_smoothing(lora_metric *m)
{
    static const char *const names[] = {[LR_SMOOTH_EXP] = "exp",
                                        [LR_SMOOTH_FLOOR] = "floor",
                                        [LR_SMOOTH_ADD_K] = "add-k",
                                        [LR_SMOOTH_NONE] = "none"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], m->options.smoothing) != 0) continue;
        m->smooth = (lr_smoothing)i;
        snprintf(m->smoothing, sizeof m->smoothing, "%s", names[i]);
        if (!(m->options.smoothing_value >= 0)) m->options.smoothing_value = m->smooth == LR_SMOOTH_FLOOR ? 0.1 : 1;
        return LORA_OK;
    }
    return lr_fail(LORA_ERROR_ARGUMENT, "there is no smoothing '%.40s': exp, floor, add-k, none", m->options.smoothing);
}

static lora_status choose_tokenizer(lora_metric *m)
{
    m->steps.segmenter = lr_bleu_tokenizer(m->options.tokenizer);
    if (!m->steps.segmenter)
        return lr_fail(LORA_ERROR_ARGUMENT, "there is no tokenizer '%.40s': 13a, zh, char, intl, none",
                       m->options.tokenizer);
    snprintf(m->tokenizer, sizeof m->tokenizer, "%s", m->options.tokenizer);
    m->steps.strip = true;
    m->steps.lowercase = m->options.lowercase != 0;
    return choose_smoothing(m);
}

static lora_status settle(lora_metric *m)
{
    const lora_metric_options *o = &m->options;
    LR_CHECK_ARGUMENT(o->tokenizer && o->smoothing, "tokenizer or smoothing is NULL");
    LR_CHECK_ARGUMENT(o->order >= 0 && o->order <= LR_MOST_ORDER && o->word_order >= 0 &&
                          o->word_order <= LR_MOST_ORDER,
                      "order and word_order must be 0 to %d", LR_MOST_ORDER);
    LR_CHECK_ARGUMENT(o->beta > 0, "beta is %d; it must be above 0", o->beta);
    if (m->kind->row == lr_bleu_row) {
        m->order = o->order ? o->order : 4;
        m->statistics = 2 + 2 * (size_t)m->order;
        return choose_tokenizer(m);
    }
    if (m->kind->row == lr_chrf_row) {
        m->order = o->order ? o->order : 6;
        m->word_order = o->word_order;
        m->statistics = 3 * (size_t)(m->order + m->word_order);
        m->steps.lowercase = o->lowercase != 0;
        return LORA_OK;
    }
    m->statistics = m->kind->score == lr_rouge_score ? 4 : 2;
    m->order = m->kind->row == lr_rouge_n_row ? m->name[5] - '0' : 0;
    m->steps.segmenter =
        m->kind->row == lr_bleu4_row ? lr_words_every_character : lr_segmenter_of(o->words, o->stem != 0);
    LR_CHECK_ARGUMENT(m->steps.segmenter, "words is %d; it must be one of LORA_WORDS_", o->words);
    return LORA_OK;
}

static lora_status keep(const lora_metric *metric, lora_metric **out)
{
    *out = lr_alloc(&metric->context->allocator, sizeof **out);
    if (!*out) return LORA_ERROR_MEMORY;
    **out = *metric;
    lr_context_retain(metric->context);
    return LORA_OK;
}

lora_status lora_metric_create(lora_context *context, const char *name, const lora_metric_options *options,
                               lora_metric **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_ARGUMENT(name && out, "name or out is NULL");
    *out = NULL;
    lora_metric metric = {.context = context};
    lora_metric_options_init(&metric.options);
    LR_TRY(lr_take_options(&metric.options, sizeof metric.options, options, __func__));
    LR_TRY(choose_kind(&metric, name));
    LR_TRY(settle(&metric));
    metric.options.tokenizer = metric.options.smoothing = NULL;
    return keep(&metric, out);
}

lora_status lr_metric_of_kind(lora_context *context, const lr_metric_kind *kind, size_t statistics, int32_t order,
                              lora_metric **out)
{
    lora_metric metric = {.context = context, .kind = kind, .statistics = statistics, .order = order};
    snprintf(metric.name, sizeof metric.name, "%s", kind->name);
    return keep(&metric, out);
}

void lora_metric_free(lora_metric *metric)
{
    if (!metric) return;
    lora_context *context = metric->context;
    lr_free(&context->allocator, metric);
    lr_context_release(context);
}

size_t lora_metric_statistic_count(const lora_metric *metric) { return metric ? metric->statistics : 0; }

// ---- signature ------------------------------------------------------------------------------------------------------

static lora_status describe_bleu(const lora_metric *m, lr_bytes *out)
{
    LR_TRY(lr_bytes_append_format(out, "case:%s|eff:%s|tok:%s|smooth:%s", m->options.lowercase ? "lc" : "mixed",
                                  m->options.effective_order ? "yes" : "no", m->tokenizer, m->smoothing));
    if (m->smooth != LR_SMOOTH_FLOOR && m->smooth != LR_SMOOTH_ADD_K) return LORA_OK;
    return lr_bytes_append_format(out, "[%.2f]", m->options.smoothing_value);
}

static lora_status describe(const lora_metric *m, lr_bytes *out)
{
    static const char *const cuts[] = {[LORA_WORDS_LATIN] = "latin",
                                       [LORA_WORDS_CHARACTERS] = "characters",
                                       [LORA_WORDS_SPACES] = "spaces"};
    if (m->kind->row == lr_bleu_row) return describe_bleu(m, out);
    if (m->kind->row == lr_chrf_row)
        return lr_bytes_append_format(out, "case:%s|eff:%s|nc:%d|nw:%d|space:%s", m->options.lowercase ? "lc" : "mixed",
                                      m->options.epsilon ? "no" : "yes", m->order, m->word_order,
                                      m->options.whitespace ? "yes" : "no");
    if (m->kind->score == lr_rouge_score)
        return lr_bytes_append_format(out, "metric:%s|words:%s|stem:%s|count:%s", m->name, cuts[m->options.words],
                                      m->options.stem ? "yes" : "no", m->options.distinct ? "distinct" : "all");
    return lr_bytes_append_format(out, "metric:%s", m->name);
}

lora_status lora_metric_signature(const lora_metric *metric, int32_t references, char *text, size_t capacity,
                                  size_t *length)
{
    LR_CHECK_HANDLE(metric);
    LR_CHECK_ARGUMENT(length && (text || capacity == 0) && references >= 0,
                      "text or length is NULL, or references is below 0");
    lr_bytes out;
    lr_bytes_init(&out, &metric->context->allocator, 4096);
    lora_status status =
        references ? lr_bytes_append_format(&out, "nrefs:%d|", references) : lr_bytes_append_text(&out, "nrefs:var|");
    if (status == LORA_OK) status = describe(metric, &out);
    if (status == LORA_OK) status = lr_bytes_append_format(&out, "|version:liblora-%s", lora_version());
    if (status == LORA_OK) {
        *length = out.size;
        if (capacity) snprintf(text, capacity, "%s", out.data);
    }
    lr_bytes_free(&out);
    return status;
}

// ---- rows -----------------------------------------------------------------------------------------------------------

lora_status lr_row_grams(lr_grams *grams, const lora_allocator *allocator, const lr_text_steps *steps,
                         const char *prediction, const char *const *references, size_t count)
{
    lr_grams_init(grams, allocator);
    LR_TRY(lr_grams_add(grams, prediction, steps));
    for (size_t i = 0; i < count; i++)
        if (references[i]) LR_TRY(lr_grams_add(grams, references[i], steps));
    return lr_grams_number(grams);
}

lora_status lora_metric_rows(const lora_metric *metric, const char *const *predictions, const char *const *references,
                             size_t rows, size_t references_per_row, double *statistics, double *scores)
{
    LR_CHECK_HANDLE(metric);
    LR_CHECK_ARGUMENT(rows == 0 || (predictions && references && references_per_row > 0 && statistics),
                      "predictions, references or statistics is NULL, or references_per_row is 0");
    for (size_t i = 0; i < rows; i++) {
        const char *const *own = references + i * references_per_row;
        size_t there = 0;
        for (size_t k = 0; k < references_per_row; k++) there += own[k] != NULL;
        LR_CHECK_ARGUMENT(predictions[i] && there > 0, "row %zu has no %s", i,
                          predictions[i] ? "reference" : "prediction");
        double *row = statistics + i * metric->statistics;
        memset(row, 0, metric->statistics * sizeof *row);
        LR_TRY(metric->kind->row(metric, predictions[i], own, references_per_row, row));
        if (scores) scores[i] = metric->kind->score(metric, row);
    }
    return LORA_OK;
}

double lora_metric_score(const lora_metric *metric, const double *statistics, size_t rows)
{
    double sums[LR_MOST_STATISTICS];
    if (!metric || !statistics || rows == 0) return 0;
    memset(sums, 0, metric->statistics * sizeof *sums);
    for (size_t i = 0; i < rows; i++)
        for (size_t s = 0; s < metric->statistics; s++) sums[s] += statistics[i * metric->statistics + s];
    return metric->kind->score(metric, sums);
}

double lr_mean_score(const lora_metric *m, const double *sums)
{
    (void)m;
    return sums[1] > 0 ? 100 * sums[0] / sums[1] : 0;
}
