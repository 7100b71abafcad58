// A text metric: how a row becomes statistics, and sums of statistics a score.
#ifndef LR_METRIC_H
#define LR_METRIC_H

#include "src/eval/grams.h"

#include "src/core/context.h"

#include <lora/metrics.h>

#define LR_MOST_ORDER 9
#define LR_MOST_STATISTICS 768 // 3 for each of 256 classes

typedef enum lr_smoothing { LR_SMOOTH_EXP, LR_SMOOTH_FLOOR, LR_SMOOTH_ADD_K, LR_SMOOTH_NONE } lr_smoothing;

typedef struct lr_metric_kind {
    const char *name; // "rouge#": a digit stands for #
    // Statistics of one row into zeroed numbers.
    lora_status (*row)(const lora_metric *metric, const char *prediction, const char *const *references, size_t count,
                       double *statistics);
    double (*score)(const lora_metric *metric, const double *sums);
} lr_metric_kind;

struct lora_metric {
    lora_context *context;
    const lr_metric_kind *kind;
    lora_metric_options options; // its texts: those of `name`, `tokenizer`, `smoothing` below
    char name[16];
    char tokenizer[8], smoothing[8];
    lr_smoothing smooth;
    int32_t order;      // BLEU, chrF's characters, ROUGE-N
    int32_t word_order; // chrF
    size_t statistics;
    lr_text_steps steps;
};

lora_status lr_bleu_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                        double *statistics);
double lr_bleu_score(const lora_metric *m, const double *sums);
lora_status lr_bleu4_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                         double *statistics);
lora_status lr_chrf_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                        double *statistics);
double lr_chrf_score(const lora_metric *m, const double *sums);
lora_status lr_rouge_n_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                           double *statistics);
lora_status lr_rouge_l_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                           double *statistics);
lora_status lr_rouge_lsum_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                              double *statistics);
double lr_rouge_score(const lora_metric *m, const double *sums);
lora_status lr_exact_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                         double *statistics);
double lr_mean_score(const lora_metric *m, const double *sums);

// A metric of the library's own, whose statistics come from elsewhere.
lora_status lr_metric_of_kind(lora_context *context, const lr_metric_kind *kind, size_t statistics, int32_t order,
                              lora_metric **out);

// A prediction (text 0) and its references, numbered. Free in either case.
lora_status lr_row_grams(lr_grams *grams, const lora_allocator *allocator, const lr_text_steps *steps,
                         const char *prediction, const char *const *references, size_t count);

#endif
