// Classes: the confusion matrix and what follows from it.
#include "src/eval/bootstrap.h"
#include "src/eval/classes.h"

#include "src/core/context.h"
#include "src/core/validate.h"

typedef struct answers {
    const int32_t *truth, *predicted;
    size_t classes;
    double *counts; // of a draw: see classes.h
} answers;

static lora_status open_answers(answers *a, const lora_allocator *allocator, const int32_t *truth,
                                const int32_t *predicted, size_t rows, size_t classes)
{
    *a = (answers){.truth = truth, .predicted = predicted, .classes = classes};
    LR_CHECK_ARGUMENT(rows == 0 || (truth && predicted), "truth or predicted is NULL");
    LR_CHECK_ARGUMENT(classes > 0 && classes <= INT32_MAX && rows < UINT32_MAX,
                      "there are no classes, or too many rows");
    for (size_t i = 0; i < rows; i++)
        LR_CHECK_ARGUMENT(truth[i] >= 0 && (size_t)truth[i] < classes && predicted[i] >= -1 &&
                              predicted[i] < (int32_t)classes,
                          "row %zu: classes are 0 to %zu, and -1 for a prediction that is none of them", i,
                          classes - 1);
    a->counts = lr_alloc_zeroed(allocator, classes, 3 * sizeof *a->counts);
    return a->counts ? LORA_OK : LORA_ERROR_MEMORY;
}

// rows NULL: the first `count`, as they are.
static void tally(answers *a, const uint32_t *rows, size_t count)
{
    double *hits = a->counts, *support = hits + a->classes, *said = support + a->classes;
    memset(hits, 0, 3 * a->classes * sizeof *hits);
    for (size_t i = 0; i < count; i++) {
        size_t row = rows ? rows[i] : i;
        int32_t truth = a->truth[row], predicted = a->predicted[row];
        support[truth]++;
        if (predicted >= 0) said[predicted]++;
        if (truth == predicted) hits[truth]++;
    }
}

static double quotient(double a, double b) { return b > 0 ? a / b : 0; }

lora_class_score lr_score_class(const double *counts, size_t classes, size_t class)
{
    double hits = counts[class], support = counts[classes + class], said = counts[2 * classes + class];
    return (lora_class_score){
        .precision = quotient(hits, said),
        .recall = quotient(hits, support),
        .f1 = quotient(2 * hits, said + support),
        .support = (int64_t)support,
        .predicted = (int64_t)said,
    };
}

lora_classification lr_summarise_counts(const double *counts, size_t classes)
{
    lora_classification r = {0};
    double occurring = 0, hits = 0, all = 0, said = 0;
    for (size_t c = 0; c < classes; c++) {
        lora_class_score s = lr_score_class(counts, classes, c);
        double support = (double)s.support;
        hits += counts[c];
        all += support;
        said += (double)s.predicted;
        occurring += s.support > 0 || s.predicted > 0;
        r.precision_macro += s.precision;
        r.recall_macro += s.recall;
        r.f1_macro += s.f1;
        r.precision_weighted += support * s.precision;
        r.recall_weighted += support * s.recall;
        r.f1_weighted += support * s.f1;
    }
    double *macro[] = {&r.precision_macro, &r.recall_macro, &r.f1_macro};
    double *weighted[] = {&r.precision_weighted, &r.recall_weighted, &r.f1_weighted};
    for (size_t i = 0; i < 3; i++) {
        *macro[i] = quotient(*macro[i], occurring);
        *weighted[i] = quotient(*weighted[i], all);
    }
    r.rows = (int64_t)all;
    r.correct = (int64_t)hits;
    r.unknown = (int64_t)(all - said);
    r.accuracy = r.recall_micro = quotient(hits, all);
    r.precision_micro = quotient(hits, said);
    r.f1_micro = quotient(2 * hits, all + said);
    return r;
}

lora_status lora_classify(lora_context *context, const int32_t *truth, const int32_t *predicted, size_t rows,
                          size_t classes, int64_t *confusion, lora_class_score *scores, lora_classification *result)
{
    LR_CHECK_HANDLE(context);
    answers a;
    LR_TRY(open_answers(&a, &context->allocator, truth, predicted, rows, classes));
    tally(&a, NULL, rows);
    for (size_t c = 0; scores && c < classes; c++) scores[c] = lr_score_class(a.counts, classes, c);
    if (confusion) memset(confusion, 0, classes * classes * sizeof *confusion);
    for (size_t i = 0; confusion && i < rows; i++)
        if (predicted[i] >= 0) confusion[(size_t)truth[i] * classes + (size_t)predicted[i]]++;
    lora_classification found = lr_summarise_counts(a.counts, classes);
    lr_free(&context->allocator, a.counts);
    return lr_give_info(result, &found, sizeof found, __func__);
}

enum { ACCURACY, MACRO, MICRO, WEIGHTED, VALUES };

static void four_scores(const lora_classification *r, double *out)
{
    out[ACCURACY] = r->accuracy;
    out[MACRO] = r->f1_macro;
    out[MICRO] = r->f1_micro;
    out[WEIGHTED] = r->f1_weighted;
}

static void score_draw(const uint32_t *rows, size_t count, double *out, void *user)
{
    answers *a = user;
    tally(a, rows, count);
    lora_classification r = lr_summarise_counts(a->counts, a->classes);
    four_scores(&r, out);
}

static lora_status give_intervals(double *samples, const lora_resampling *options, const double *scores,
                                  lora_interval *const *wanted)
{
    size_t count = (size_t)options->samples;
    for (size_t v = 0; v < VALUES; v++) {
        if (!wanted[v]) continue;
        double *own = samples + v * count;
        lora_interval found = {.score = scores[v], .mean = lr_mean(own, count)};
        lr_percentiles(own, options, &found.low, &found.high);
        LR_TRY(lr_give_info(wanted[v], &found, sizeof found, "lora_classify_interval"));
    }
    return LORA_OK;
}

lora_status lora_classify_interval(lora_context *context, const int32_t *truth, const int32_t *predicted, size_t rows,
                                   size_t classes, const lora_resampling *options, lora_interval *accuracy,
                                   lora_interval *f1_macro, lora_interval *f1_micro, lora_interval *f1_weighted)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_ARGUMENT(rows > 0, "there are no rows");
    lora_interval *const wanted[VALUES] = {[ACCURACY] = accuracy,
                                           [MACRO] = f1_macro,
                                           [MICRO] = f1_micro,
                                           [WEIGHTED] = f1_weighted};
    const lora_allocator *allocator = &context->allocator;
    lora_resampling taken;
    answers a;
    double scores[VALUES], *samples = NULL;
    LR_TRY(lr_take_resampling(&taken, options, __func__));
    LR_TRY(open_answers(&a, allocator, truth, predicted, rows, classes));
    score_draw(NULL, rows, scores, &a);
    lora_status status = lr_bootstrap(allocator, rows, VALUES, &taken, score_draw, &a, &samples);
    if (status == LORA_OK) status = give_intervals(samples, &taken, scores, wanted);
    lr_free(allocator, samples);
    lr_free(allocator, a.counts);
    return status;
}
