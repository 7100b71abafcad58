// BLEU (Papineni et al. 2002): the geometric mean of n-gram precisions, each n-gram counted at most as often as in a
// reference, times exp(1 - reference length / length) where the prediction is shorter.
#include "src/eval/metric.h"

#include <math.h>
#include <stdlib.h>

// The reference nearest in length, of two the shorter.
static size_t closest_length(const lr_grams *g)
{
    size_t words = lr_grams_words(g, 0), closest = 0, least = SIZE_MAX;
    for (size_t t = 1; t < g->texts; t++) {
        size_t length = lr_grams_words(g, t), distance = length > words ? length - words : words - length;
        if (distance > least || (distance == least && length >= closest)) continue;
        closest = length;
        least = distance;
    }
    return closest;
}

// n-grams of the prediction that stand in a reference as well, in the order that stands.
static int64_t matches(lr_grams *g)
{
    int64_t found = 0;
    const int32_t *own = lr_grams_count(g, 0);
    int32_t *most = lr_grams_count(g, 1);
    for (size_t t = 2; t < g->texts; t++) {
        const int32_t *counts = lr_grams_count(g, t);
        for (int32_t i = 0; i < g->gram_count; i++)
            if (counts[i] > most[i]) most[i] = counts[i];
    }
    for (int32_t i = 0; i < g->gram_count; i++) found += own[i] < most[i] ? own[i] : most[i];
    return found;
}

// [length, closest reference's length, matches by order, n-grams by order]
static lora_status count_orders(lr_grams *g, int32_t orders, double *statistics)
{
    statistics[0] = (double)lr_grams_words(g, 0);
    statistics[1] = (double)closest_length(g);
    for (int32_t n = 0; n < orders; n++) {
        if (n > 0) LR_TRY(lr_grams_next(g));
        statistics[2 + n] = (double)matches(g);
        statistics[2 + orders + n] = (double)lr_grams_in(g, 0);
    }
    return LORA_OK;
}

lora_status lr_bleu_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                        double *statistics)
{
    lr_grams grams;
    lora_status status = lr_row_grams(&grams, &m->context->allocator, &m->steps, prediction, references, count);
    if (status == LORA_OK) status = count_orders(&grams, m->order, statistics);
    lr_grams_free(&grams);
    return status;
}

static double brevity(double length, double reference)
{
    if (length >= reference) return 1;
    return length > 0 ? exp(1 - reference / length) : 0;
}

// sacrebleu's smoothing: exp halves a match for each order without one, floor takes a small number in its place, add-k
// adds to matches and n-grams of the orders above the first.
double lr_bleu_score(const lora_metric *m, const double *sums)
{
    const double *correct = sums + 2, *total = correct + m->order;
    double log_sum = 0, halving = 1;
    bool any = false;
    int32_t effective = m->options.effective_order ? 0 : m->order, n;
    for (n = 0; n < m->order; n++) any |= correct[n] > 0;
    if (!any) return 0;
    for (n = 0; n < m->order; n++) {
        double added = m->smooth == LR_SMOOTH_ADD_K && n > 0 ? m->options.smoothing_value : 0;
        double found = correct[n] + added, all = total[n] + added, precision = 0;
        if (!(all > 0)) break;
        if (m->options.effective_order) effective = n + 1;
        if (found > 0)
            precision = 100 * found / all;
        else if (m->smooth == LR_SMOOTH_EXP)
            precision = 100 / ((halving *= 2) * all);
        else if (m->smooth == LR_SMOOTH_FLOOR)
            precision = 100 * m->options.smoothing_value / all;
        if (!(precision > 0)) return 0;
        log_sum += log(precision);
    }
    if (n < m->order && !m->options.effective_order) return 0;
    return brevity(sums[0], sums[1]) * exp(log_sum / effective);
}

// NLTK's sentence_bleu with smoothing method 3: the k-th order without a match counts 1 / 2^k matches of its n-grams,
// of which there is at least one.
lora_status lr_bleu4_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                         double *statistics)
{
    double sums[10] = {0}, log_sum = 0, halving = 1;
    lr_grams grams;
    lora_status status = lr_row_grams(&grams, &m->context->allocator, &m->steps, prediction, references, count);
    if (status == LORA_OK) status = count_orders(&grams, 4, sums);
    lr_grams_free(&grams);
    statistics[1] = 1;
    if (status != LORA_OK || !(sums[2] > 0)) return status;
    for (int n = 0; n < 4; n++) {
        double all = sums[6 + n] > 0 ? sums[6 + n] : 1;
        log_sum += 0.25 * log(sums[2 + n] > 0 ? sums[2 + n] / all : 1 / ((halving *= 2) * all));
    }
    statistics[0] = brevity(sums[0], sums[1]) * exp(log_sum);
    return LORA_OK;
}
