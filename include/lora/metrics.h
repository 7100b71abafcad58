/** @file metrics.h
 *  Scores of texts and classes, without a model: BLEU, chrF, ROUGE, exact match, F1, diversity; how sure they are, and
 *  whether two systems differ.
 *
 *  Every text metric works the same way: a row (a prediction with its references) gives a few numbers, its statistics;
 *  the score of any set of rows is a function of the sums of their statistics. So corpus scores, scores of single rows,
 *  bootstrap intervals and paired tests come from one array, and are right for metrics that are no mean over rows
 *  (corpus BLEU).
 *
 *  Texts are UTF-8 that ends with a zero; what is no UTF-8 counts as U+FFFD. Text scores run from 0 to 100. Functions
 *  without a handle are pure and may be called from any thread; a metric may be used from any number of threads at
 *  once.
 */
#ifndef LORA_METRICS_H
#define LORA_METRICS_H

#include "context.h"

LORA_BEGIN_DECLS

/** How a text is cut into words for ROUGE, distinct-n and repetition. */
#define LORA_WORDS_LATIN 0      /**< rouge_score's: lower case, runs of a-z and 0-9; other scripts vanish */
#define LORA_WORDS_CHARACTERS 1 /**< each Han, kana or Hangul character is a word; other letters, marks and digits:
                                     runs, lower case */
#define LORA_WORDS_SPACES 2     /**< what stands between white space, unchanged: for texts that the host has
                                     segmented */

typedef struct lora_metric_options {
    size_t struct_size;
    /** BLEU, as sacrebleu names them: "13a" (default), "zh", "char", "intl", "none" (white space only). */
    const char *tokenizer;
    /** BLEU: what stands in for an order without a match: "exp" (default), "floor", "add-k", "none" (Chen and Cherry
     *    2014). */
    const char *smoothing;
    double smoothing_value;  /**< of floor and add-k; below 0 (default): 0.1 and 1 */
    int32_t effective_order; /**< BLEU: 1: only the orders that the prediction is long enough for; usual for single
                                  rows. Default 0 */
    int32_t lowercase;       /**< BLEU, chrF. Default 0 */
    int32_t order;           /**< longest n-gram, at most 9: of words in BLEU (0, default: 4), of characters in chrF (0:
                                  6) */
    int32_t word_order;      /**< chrF: longest n-gram of words, at most 9: 0 (default) is chrF, 2 is chrF++ */
    int32_t beta;            /**< chrF: weight of recall. Default 2 */
    int32_t whitespace;      /**< chrF: 1: white space counts as characters. Default 0 */
    int32_t epsilon;         /**< chrF: 1: smoothing by an epsilon instead of effective order. Default 0 */
    int32_t words;           /**< ROUGE: LORA_WORDS_LATIN */
    int32_t stem;            /**< ROUGE with LORA_WORDS_LATIN: 1: Porter's stemmer with NLTK's extensions, as
                                  rouge_score. Default 0 */
    int32_t distinct;        /**< ROUGE-N: 1: an n-gram counts once however often it stands there, as in rouge and
                                  rouge_chinese. Default 0 */
    int32_t reserved;
} lora_metric_options;

LORA_API void lora_metric_options_init(lora_metric_options *options, size_t struct_size);
#define lora_metric_options_init(options) lora_metric_options_init(options, sizeof *(options))

typedef struct lora_metric lora_metric;

/** A metric by name:
 *    "bleu"         corpus BLEU (Papineni et al. 2002) with sacrebleu's numbers
 *    "bleu4"        mean over rows of BLEU-4 on characters, white space too, smoothed by NLTK's method 3: what
 *                   LLaMA-Factory reports (it rounds each row to four places, this does not)
 *    "chrf"         chrF and chrF++ (Popović 2015, 2017) with sacrebleu's numbers
 *    "rouge1" to "rouge9", "rougeL", "rougeLsum"   mean over rows of ROUGE's F1 (Lin 2004) with rouge_score's numbers;
 *                   of several references the best. rougeLsum takes lines as sentences
 *    "exact_match"  share of rows whose prediction is a reference, white space at both ends left out
 *  Errors: ARGUMENT (an unknown name, tokenizer or smoothing, an order out of range), MEMORY. */
LORA_API lora_status lora_metric_create(lora_context *context, const char *name, const lora_metric_options *options,
                                        lora_metric **out);
LORA_API void lora_metric_free(lora_metric *metric);

/** Numbers that a row gives. BLEU: length of the prediction and of the closest reference, matches and n-grams by order
 *  (2 + 2 * order). chrF: n-grams of the prediction, of the best reference, and matches, for each order. ROUGE:
 *  precision, recall, F1 and 1. The others: score and 1. */
LORA_API size_t lora_metric_statistic_count(const lora_metric *metric);

/** sacrebleu's signature for this metric ("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:..."; the version is
 *  this library's), or the name and settings of another metric. `references` 0: their number varies. Written with its
 *  zero to at most `capacity` bytes; `*length` is the number of bytes without it, so call with capacity 0 to ask. */
LORA_API lora_status lora_metric_signature(const lora_metric *metric, int32_t references, char *text, size_t capacity,
                                           size_t *length);

/** Statistics of `rows` rows, [rows, statistic_count], and, where `scores` is not NULL, the score of each row by
 *  itself. references[row * references_per_row + k]: NULL where a row has fewer; at least one is there. Errors:
 *  ARGUMENT, MEMORY. */
LORA_API lora_status lora_metric_rows(const lora_metric *metric, const char *const *predictions,
                                      const char *const *references, size_t rows, size_t references_per_row,
                                      double *statistics, double *scores);

/** The score of `rows` rows together, 0 to 100; 0 for no rows. */
LORA_API double lora_metric_score(const lora_metric *metric, const double *statistics, size_t rows);

/* ---- how sure ---------------------------------------------------------------------------------------------- */

typedef struct lora_resampling {
    size_t struct_size;
    int32_t samples;   /**< bootstrap samples; default 1000 */
    int32_t trials;    /**< of the randomisation test; default 10000 */
    uint64_t seed;     /**< default 12345; same seed, same result */
    double confidence; /**< default 0.95 */
} lora_resampling;

LORA_API void lora_resampling_init(lora_resampling *options, size_t struct_size);
#define lora_resampling_init(options) lora_resampling_init(options, sizeof *(options))

/** Set struct_size first. */
typedef struct lora_interval {
    size_t struct_size;
    double score;
    double low, high; /**< percentiles of the bootstrap samples */
    double mean;      /**< of the samples */
} lora_interval;

/** The bootstrap (Efron 1979; for BLEU Koehn 2004): rows are drawn with replacement, as many as there are, and scored
 *  together. Errors: ARGUMENT (no rows), MEMORY. */
LORA_API lora_status lora_metric_interval(const lora_metric *metric, const double *statistics, size_t rows,
                                          const lora_resampling *options, lora_interval *interval);

/** Set struct_size first. p is the chance of a difference as large as this if the two systems were alike. A tie counts
 *  as as large, so that systems that are alike get p = 1; sacrebleu, whose tests these are otherwise, does not count
 *  it. */
typedef struct lora_significance {
    size_t struct_size;
    double system, baseline;
    double difference;      /**< system - baseline */
    double low, high;       /**< bootstrap percentiles of the difference, the same rows drawn for both */
    double p_bootstrap;     /**< two-sided paired bootstrap (Koehn 2004): (1 + #{|d*| - mean|d*| >= |d|}) / (1 +
                                 samples) */
    double p_randomisation; /**< two-sided approximate randomisation (Riezler and Maxwell 2005): rows swap systems by
                                 the toss of a coin; (1 + #{|d*| >= |d|}) / (1 + trials) */
} lora_significance;

/** Two systems on the same rows. Errors as lora_metric_interval. */
LORA_API lora_status lora_metric_compare(const lora_metric *metric, const double *system, const double *baseline,
                                         size_t rows, const lora_resampling *options, lora_significance *significance);

/* ---- classes ----------------------------------------------------------------------------------------------- */

/** One class. A quotient whose divisor is 0 is 0. */
typedef struct lora_class_score {
    double precision, recall, f1;
    int64_t support;   /**< rows of this class */
    int64_t predicted; /**< rows said to be of it */
} lora_class_score;

/** Set struct_size first. Shares, 0 to 1. Averages are over the classes that occur, in truth or prediction:
 *  scikit-learn's. */
typedef struct lora_classification {
    size_t struct_size;
    int64_t rows;
    int64_t correct;
    int64_t unknown; /**< rows whose prediction is none of the classes: wrong */
    double accuracy;
    double precision_macro, recall_macro, f1_macro;          /**< each class alike */
    double precision_micro, recall_micro, f1_micro;          /**< each row alike */
    double precision_weighted, recall_weighted, f1_weighted; /**< each class by its support */
} lora_classification;

/** Classes are 0 to classes - 1; a prediction of -1 is none of them. `confusion` [classes, classes], truth by
 *  prediction, and `scores` [classes] may be NULL. Errors: ARGUMENT (a number out of range), MEMORY. */
LORA_API lora_status lora_classify(lora_context *context, const int32_t *truth, const int32_t *predicted, size_t rows,
                                   size_t classes, int64_t *confusion, lora_class_score *scores,
                                   lora_classification *result);

/** Intervals of accuracy and F1, 0 to 1. Each of them may be NULL. */
LORA_API lora_status lora_classify_interval(lora_context *context, const int32_t *truth, const int32_t *predicted,
                                            size_t rows, size_t classes, const lora_resampling *options,
                                            lora_interval *accuracy, lora_interval *f1_macro, lora_interval *f1_micro,
                                            lora_interval *f1_weighted);

/* ---- diversity --------------------------------------------------------------------------------------------- */

/** distinct-n (Li et al. 2016): different n-grams by all n-grams, over all texts together, 0 to 1; 0 where there are
 *  none. n is 1 to 9. Errors: ARGUMENT, MEMORY. */
LORA_API lora_status lora_text_distinct(lora_context *context, const char *const *texts, size_t count, int32_t n,
                                        int32_t words, double *share);

/** Set struct_size first. */
typedef struct lora_repetition {
    size_t struct_size;
    int64_t words;
    double share;          /**< of the n-grams, those that stood in the text before, 0 to 1 */
    int64_t longest;       /**< words of the longest run that stands in the text twice (the two may overlap) */
} lora_repetition;

/** How much a text repeats itself. n is 1 to 9; 4 is usual. Errors: ARGUMENT, MEMORY. */
LORA_API lora_status lora_text_repetition(lora_context *context, const char *text, int32_t n, int32_t words,
                                          lora_repetition *repetition);

LORA_END_DECLS
#endif
