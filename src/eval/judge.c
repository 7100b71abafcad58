// The scores of an evaluation: each measure as statistics of rows, so that all of them have intervals and paired tests.
#include "src/eval/classes.h"
#include "src/eval/evaluation.h"

#include "src/core/validate.h"

#include <math.h>

// ---- measures of the library's own ----------------------------------------------------------------------------------

static double score_loss(const lora_metric *m, const double *sums)
{
    (void)m;
    return sums[1] > 0 ? sums[0] / sums[1] : NAN;
}
static double score_perplexity(const lora_metric *m, const double *sums) { return exp(score_loss(m, sums)); }
static double score_accuracy(const lora_metric *m, const double *sums)
{
    return lr_summarise_counts(sums, (size_t)m->order).accuracy;
}
static double score_f1_macro(const lora_metric *m, const double *sums)
{
    return lr_summarise_counts(sums, (size_t)m->order).f1_macro;
}
static double score_f1_micro(const lora_metric *m, const double *sums)
{
    return lr_summarise_counts(sums, (size_t)m->order).f1_micro;
}
static double score_f1_weighted(const lora_metric *m, const double *sums)
{
    return lr_summarise_counts(sums, (size_t)m->order).f1_weighted;
}

static const lr_metric_kind loss_kinds[] = {{"loss", NULL, score_loss}, {"perplexity", NULL, score_perplexity}};
static const lr_metric_kind class_kinds[] = {{"accuracy", NULL, score_accuracy},
                                             {"f1_macro", NULL, score_f1_macro},
                                             {"f1_micro", NULL, score_f1_micro},
                                             {"f1_weighted", NULL, score_f1_weighted}};
static const lr_metric_kind repetition_kind = {"repetition", NULL, lr_mean_score};

// ---- filling them ---------------------------------------------------------------------------------------------------

typedef struct filler {
    lr_judgement *j;
    lr_measure *measure;
    int32_t system;
} filler;

// Statistics of one row into zeroed numbers; false where the row has none.
typedef lora_status (*fill_row)(const filler *f, size_t row, double *statistics, bool *there);

static lora_status fill_loss(const filler *f, size_t row, double *statistics, bool *there)
{
    const lr_outcome *o = &f->j->e->outcomes[f->system][row];
    *there = !isnan(o->nll) && o->label_tokens > 0;
    if (*there) statistics[0] = o->nll, statistics[1] = (double)o->label_tokens;
    return LORA_OK;
}

static bool is_answered(const lr_judgement *j, int32_t system, size_t row)
{
    return j->e->outcomes[system][row].text && j->e->examples[row].reference_count > 0;
}

static lora_status fill_text(const filler *f, size_t row, double *statistics, bool *there)
{
    const lr_example *x = &f->j->e->examples[row];
    const char *text = f->j->e->outcomes[f->system][row].text;
    *there = is_answered(f->j, f->system, row);
    if (!*there) return LORA_OK;
    return lora_metric_rows(f->measure->metric, &text, (const char *const *)x->references, 1, x->reference_count,
                            statistics, NULL);
}

static lora_status fill_classes(const filler *f, size_t row, double *statistics, bool *there)
{
    size_t classes = f->j->labels.count;
    int32_t truth = f->j->truth[row], predicted = f->j->predicted[f->system][row];
    *there = truth >= 0;
    if (!*there) return LORA_OK;
    if (truth == predicted) statistics[truth] = 1;
    statistics[classes + (size_t)truth] = 1;
    if (predicted >= 0) statistics[2 * classes + (size_t)predicted] = 1;
    return LORA_OK;
}

#define REPEATED 4 // words

static lora_status fill_repetition(const filler *f, size_t row, double *statistics, bool *there)
{
    lora_repetition r = {.struct_size = sizeof r};
    const char *text = f->j->e->outcomes[f->system][row].text;
    *there = text != NULL;
    if (!*there) return LORA_OK;
    LR_TRY(lora_text_repetition(f->j->e->context, text, REPEATED, f->j->words, &r));
    statistics[0] = r.share;
    statistics[1] = 1;
    return LORA_OK;
}

// A measure over both systems; it is kept where some row of the first has it. Takes the metric in either case.
static lora_status add_measure(lr_judgement *j, const char *name, lora_metric *metric, fill_row fill, bool by_row)
{
    const lora_allocator *allocator = &j->e->context->allocator;
    lr_measure *m = &j->measures[j->measure_count++];
    bool any = false;
    *m = (lr_measure){.name = name, .metric = metric, .value = {NAN, NAN}, .by_row = by_row};
    for (int32_t s = 0; s < j->systems; s++) {
        bool some = false;
        m->statistics[s] = lr_alloc_zeroed(allocator, j->e->count, metric->statistics * sizeof(double));
        if (!m->statistics[s]) return LORA_ERROR_MEMORY;
        filler f = {j, m, s};
        for (size_t row = 0; row < j->e->count; row++) {
            bool there;
            LR_TRY(fill(&f, row, m->statistics[s] + row * metric->statistics, &there));
            some |= there;
        }
        if (some) m->value[s] = lora_metric_score(metric, m->statistics[s], j->e->count);
        any |= some && s == LORA_SYSTEM;
    }
    if (any) return LORA_OK;
    j->measure_count--;
    for (int32_t s = 0; s < LR_SYSTEMS; s++) lr_free(allocator, m->statistics[s]);
    lora_metric_free(metric);
    return LORA_OK;
}

static lora_status add_own(lr_judgement *j, const lr_metric_kind *kind, size_t statistics, fill_row fill, bool by_row)
{
    lora_metric *metric;
    if (!lr_evaluation_wants(j->e, kind->name)) return LORA_OK;
    LR_TRY(lr_metric_of_kind(j->e->context, kind, statistics, (int32_t)j->labels.count, &metric));
    return add_measure(j, kind->name, metric, fill, by_row);
}

static lora_status add_texts(lr_judgement *j)
{
    static const struct {
        const char *measure, *metric;
        int32_t word_order;
    } table[] = {{"bleu", "bleu", 0},     {"bleu4", "bleu4", 0},         {"chrf", "chrf", 0},
                 {"chrf++", "chrf", 2},   {"rouge1", "rouge1", 0},       {"rouge2", "rouge2", 0},
                 {"rougeL", "rougeL", 0}, {"rougeLsum", "rougeLsum", 0}, {"exact_match", "exact_match", 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!lr_evaluation_wants(j->e, table[i].measure)) continue;
        lora_metric *metric;
        lora_metric_options options;
        lora_metric_options_init(&options);
        options.tokenizer = j->tokenizer;
        options.words = j->words;
        options.stem = j->e->options.stem;
        options.word_order = table[i].word_order;
        LR_TRY(lora_metric_create(j->e->context, table[i].metric, &options, &metric));
        LR_TRY(add_measure(j, table[i].measure, metric, fill_text, true));
    }
    return LORA_OK;
}

static lora_status add_distinct(lr_judgement *j, int32_t n, const char *name)
{
    lora_evaluation *e = j->e;
    if (!lr_evaluation_wants(e, name)) return LORA_OK;
    lr_measure m = {.name = name, .value = {NAN, NAN}};
    const char **texts = lr_alloc_array(&e->context->allocator, e->count, sizeof *texts);
    lora_status status = texts ? LORA_OK : LORA_ERROR_MEMORY;
    for (int32_t s = 0; s < j->systems && status == LORA_OK; s++) {
        size_t count = 0;
        for (size_t row = 0; row < e->count; row++)
            if (e->outcomes[s][row].text) texts[count++] = e->outcomes[s][row].text;
        if (count == 0) continue;
        status = lora_text_distinct(e->context, texts, count, n, j->words, &m.value[s]);
        m.value[s] *= 100;
    }
    lr_free(&e->context->allocator, texts);
    if (status == LORA_OK && !isnan(m.value[LORA_SYSTEM])) j->measures[j->measure_count++] = m;
    return status;
}

// ---- classes --------------------------------------------------------------------------------------------------------

static lora_status sort_rows(lr_judgement *j)
{
    lora_evaluation *e = j->e;
    const lora_allocator *allocator = &e->context->allocator;
    LR_TRY(lr_labels_find(e, &j->labels));
    if (j->labels.count == 0) return LORA_OK;
    j->truth = lr_alloc_array(allocator, e->count, sizeof *j->truth);
    for (int32_t s = 0; s < j->systems; s++)
        j->predicted[s] = lr_alloc_array(allocator, e->count, sizeof **j->predicted);
    if (!j->truth || !j->predicted[0] || (j->systems == 2 && !j->predicted[1])) return LORA_ERROR_MEMORY;
    for (size_t row = 0; row < e->count; row++) {
        const lr_example *x = &e->examples[row];
        bool measured = false;
        j->truth[row] = -1;
        for (int32_t s = 0; s < j->systems; s++) {
            const lr_outcome *o = &e->outcomes[s][row];
            j->predicted[s][row] = o->label;
            if (!j->by_likelihood && o->text)
                LR_TRY(lr_labels_match(allocator, &j->labels, o->text, &j->predicted[s][row]));
            measured |= s == LORA_SYSTEM && (j->by_likelihood ? o->label >= 0 : o->text != NULL);
        }
        if (!measured || x->reference_count == 0) continue;
        LR_TRY(lr_labels_match(allocator, &j->labels, x->references[0], &j->truth[row]));
        if (j->truth[row] < 0)
            return lr_fail(LORA_ERROR_DATA, "row %zu: the expected answer '%.40s' is none of the labels", row + 1,
                           x->references[0]);
    }
    return LORA_OK;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

static void choose_ways(lr_judgement *j)
{
    lr_letters letters = {0};
    for (size_t row = 0; row < j->e->count; row++)
        for (size_t r = 0; r < j->e->examples[row].reference_count; r++)
            lr_count_letters(j->e->examples[row].references[r], &letters);
    // On English both ways of either choice agree, but for accents; a tokenizer for English makes one word of a Chinese
    // sentence.
    bool chinese = letters.cjk * 4 > letters.latin + letters.other,
         latin = (letters.cjk + letters.other) * 20 <= letters.latin;
    j->tokenizer = j->e->bleu_tokenizer ? j->e->bleu_tokenizer : chinese ? "zh" : "13a";
    j->words = j->e->options.words >= 0 ? j->e->options.words : latin ? LORA_WORDS_LATIN : LORA_WORDS_CHARACTERS;
    j->by_likelihood = j->e->options.classify == LORA_CLASSIFY_BY_LIKELIHOOD;
}

static lora_status check_counts(const lora_evaluation *e, int32_t *systems)
{
    size_t baseline = e->outcome_count[LORA_SYSTEM_BASELINE];
    if (e->count == 0) return lr_fail(LORA_ERROR_STATE, "the evaluation has no rows");
    if (baseline > 0 && baseline != e->count)
        return lr_fail(LORA_ERROR_STATE, "the baseline has %zu rows, the system %zu: both need the same", baseline,
                       e->count);
    *systems = baseline ? 2 : 1;
    return LORA_OK;
}

lora_status lr_judge(lora_evaluation *e, lr_judgement *j)
{
    *j = (lr_judgement){.e = e};
    LR_TRY(check_counts(e, &j->systems));
    choose_ways(j);
    LR_TRY(sort_rows(j));
    for (size_t i = 0; i < 2; i++) LR_TRY(add_own(j, &loss_kinds[i], 2, fill_loss, false));
    LR_TRY(add_texts(j));
    for (size_t i = 0; i < 4 && j->labels.count; i++)
        LR_TRY(add_own(j, &class_kinds[i], 3 * j->labels.count, fill_classes, false));
    LR_TRY(add_distinct(j, 1, "distinct_1"));
    LR_TRY(add_distinct(j, 2, "distinct_2"));
    return add_own(j, &repetition_kind, 2, fill_repetition, true);
}

void lr_judgement_free(lr_judgement *j)
{
    const lora_allocator *allocator = &j->e->context->allocator;
    for (size_t i = 0; i < j->measure_count; i++) {
        for (int32_t s = 0; s < LR_SYSTEMS; s++) lr_free(allocator, j->measures[i].statistics[s]);
        lora_metric_free(j->measures[i].metric);
    }
    for (int32_t s = 0; s < LR_SYSTEMS; s++) lr_free(allocator, j->predicted[s]);
    lr_free(allocator, j->truth);
    lr_labels_free(j->e, &j->labels);
}

// BLEU of a short row counts the orders that there are.
double lr_measure_row(const lr_measure *m, int32_t system, size_t row)
{
    if (!m->by_row || !m->statistics[system]) return NAN;
    lora_metric alone = *m->metric;
    const double *statistics = m->statistics[system] + row * alone.statistics;
    alone.options.effective_order = 1;
    return alone.kind->score(&alone, statistics);
}
