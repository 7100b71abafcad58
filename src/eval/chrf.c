// chrF and chrF++ (Popović 2015, 2017): F-beta of character n-grams, and of word n-grams, averaged over orders.
#include "src/eval/metric.h"

#include <string.h>

// An order's three numbers of a pair of texts: n-grams of the prediction (0 when the reference has none), of the
// reference, and those they share.
static void compare_order(lr_grams *g, size_t reference, double *three)
{
    const int32_t *own = lr_grams_count(g, 0), *other = lr_grams_count(g, reference);
    int64_t found = 0;
    for (int32_t i = 0; i < g->gram_count; i++) found += own[i] < other[i] ? own[i] : other[i];
    three[1] = (double)lr_grams_in(g, reference);
    three[0] = three[1] > 0 ? (double)lr_grams_in(g, 0) : 0;
    three[2] = (double)found;
}

// all[reference - 1, statistics]; the orders of `grams` go to place `first` of each.
static lora_status compare_orders(const lora_metric *m, lr_grams *g, int32_t orders, int32_t first, double *all)
{
    for (int32_t n = 0; n < orders; n++) {
        if (n > 0) LR_TRY(lr_grams_next(g));
        for (size_t t = 1; t < g->texts; t++)
            compare_order(g, t, all + (t - 1) * m->statistics + 3 * (size_t)(first + n));
    }
    return LORA_OK;
}

static lora_status compare(const lora_metric *m, lr_segmenter segmenter, int32_t orders, int32_t first,
                           const char *prediction, const char *const *references, size_t count, double *all)
{
    lr_grams grams;
    lr_text_steps steps = {.segmenter = segmenter, .lowercase = m->steps.lowercase};
    lora_status status = lr_row_grams(&grams, &m->context->allocator, &steps, prediction, references, count);
    if (status == LORA_OK) status = compare_orders(m, &grams, orders, first, all);
    lr_grams_free(&grams);
    return status;
}

lora_status lr_chrf_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                        double *statistics)
{
    const lora_allocator *allocator = &m->context->allocator;
    double *all = lr_alloc_zeroed(allocator, count, m->statistics * sizeof *all), best = -1;
    if (!all) return LORA_ERROR_MEMORY;
    lora_status status = compare(m, m->options.whitespace ? lr_words_every_character : lr_words_visible_characters,
                                 m->order, 0, prediction, references, count, all);
    if (status == LORA_OK && m->word_order > 0)
        status = compare(m, lr_words_punctuated, m->word_order, m->order, prediction, references, count, all);
    size_t there = 0;
    for (size_t i = 0; i < count; i++) there += references[i] != NULL;
    for (size_t i = 0; i < there && status == LORA_OK; i++) {
        double score = lr_chrf_score(m, all + i * m->statistics);
        if (score <= best) continue;
        best = score;
        memcpy(statistics, all + i * m->statistics, m->statistics * sizeof *all);
    }
    lr_free(allocator, all);
    return status;
}

// Without epsilon only the orders that both sides have count, and precision and recall are averaged before the F; with
// it every order counts and the F are averaged.
double lr_chrf_score(const lora_metric *m, const double *sums)
{
    const double epsilon = 1e-16, factor = (double)m->options.beta * (double)m->options.beta;
    double precision = 0, recall = 0, smoothed = 0;
    int32_t orders = m->order + m->word_order, effective = 0;
    for (int32_t n = 0; n < orders; n++) {
        const double *three = sums + 3 * n;
        double p = three[0] > 0 ? three[2] / three[0] : epsilon, r = three[1] > 0 ? three[2] / three[1] : epsilon;
        double divisor = factor * p + r;
        smoothed += divisor > 0 ? (1 + factor) * p * r / divisor : epsilon;
        if (!(three[0] > 0 && three[1] > 0)) continue;
        precision += p;
        recall += r;
        effective++;
    }
    if (m->options.epsilon) return 100 * smoothed / orders;
    if (effective == 0 || !(precision + recall > 0)) return 0;
    precision /= effective;
    recall /= effective;
    return 100 * (1 + factor) * precision * recall / (factor * precision + recall);
}
