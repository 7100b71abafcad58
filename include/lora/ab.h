/** @file ab.h
 *  A blind A/B test: two systems answer the same prompts, people choose the better answer without knowing whose it is.
 *
 *      lora_ab_prepare (or _create and _add) -> _next, _verdict, _undo -> _result, _json
 *      lora_ab_save, lora_ab_load: a test in one file; lora_ab_merge: the judges of another copy of it
 *
 *  Half of the pairs, drawn by the seed, show A on the left; the draw does not look at the answers and is the same for
 *  every judge. The file lists the pairs as they are shown. Which side is whose stands in a section of its own at the
 *  end, masked with a hash of the test, so that nobody sees it by reading the file; it is no secret to a program.
 *  A pair whose two answers are the same text is not shown and counts as a tie.
 *
 *  With several judges a pair goes to the answer that more of them chose, so that a pair counts once. The test is the
 *  exact two-sided binomial test (sign test) over the pairs that are no ties; the interval for the share that A wins is
 *  Clopper and Pearson's (1934), 95 %. Agreement is the share of equal choices over all two judges of a pair, and
 *  Krippendorff's alpha for names (1 perfect, 0 as by chance).
 */
#ifndef LORA_AB_H
#define LORA_AB_H

#include "adapter.h"
#include "dataset.h"
#include "session.h"

LORA_BEGIN_DECLS

typedef struct lora_ab lora_ab;

typedef struct lora_ab_options {
    size_t struct_size;
    const char *name_a;  /**< how results call the systems; default "A" and "B". Copied */
    const char *name_b;
    uint64_t seed;       /**< of the sides; default 42 */
    int32_t max_rows;    /**< the first so many rows that have a prompt; 0 (default): all */
    int32_t reserved;
    const lora_generate_options *generate; /**< how both answer; NULL: greedily, at most 128 tokens */
    const char *about;   /**< any text that the file keeps for the host (what was compared); default "". Copied */
} lora_ab_options;

LORA_API void lora_ab_options_init(lora_ab_options *options, size_t struct_size);
#define lora_ab_options_init(options) lora_ab_options_init(options, sizeof *(options))

/** Called after each of the 2 * rows answers. Return other than 0 to stop. */
typedef int32_t (*lora_ab_fn)(int64_t done, int64_t total, void *user);

/** A test without pairs, for a host that has its answers from elsewhere. Errors: ARGUMENT, MEMORY. */
LORA_API lora_status lora_ab_create(lora_context *context, const lora_ab_options *options, lora_ab **out);
/** Adds a pair; texts are copied. Sides are drawn anew. Errors: ARGUMENT (no UTF-8), STATE (somebody has judged),
 *  MEMORY. */
LORA_API lora_status lora_ab_add(lora_ab *ab, const char *prompt, const char *answer_a, const char *answer_b);
/** A test with the answers of `model` to the prompts of `data`, once with the adapters `a` and once with `b` (count 0:
 *  the base). Errors: ARGUMENT, DATA (no row has a prompt), MISMATCH, OVERFLOW, CANCELLED, MEMORY. */
LORA_API lora_status lora_ab_prepare(const lora_model *model, const lora_adapter_use *a, size_t a_count,
                                     const lora_adapter_use *b, size_t b_count, const lora_dataset *data,
                                     const lora_ab_options *options, lora_ab_fn callback, void *user, lora_ab **out);
LORA_API void lora_ab_free(lora_ab *ab);

/** Errors: NOT_FOUND, IO, FORMAT (names the key), MEMORY. */
LORA_API lora_status lora_ab_load(lora_context *context, const char *path, lora_ab **out);
/** Written whole or not at all. Errors: EXISTS (without `overwrite`), IO, MEMORY. */
LORA_API lora_status lora_ab_save(const lora_ab *ab, const char *path, int32_t overwrite);

/** One pair as shown; set struct_size first. Texts are lent by the test. */
typedef struct lora_ab_item {
    size_t struct_size;
    int64_t index;        /**< -1: this judge has seen all */
    int64_t done, total;  /**< pairs that this judge has judged, and that are shown at all */
    const char *prompt, *left, *right;
} lora_ab_item;

#define LORA_AB_LEFT 1
#define LORA_AB_RIGHT 2
#define LORA_AB_TIE 3

LORA_API size_t lora_ab_count(const lora_ab *ab);
/** As given in the options. */
LORA_API const char *lora_ab_about(const lora_ab *ab);
/** Pair `index`. */
LORA_API lora_status lora_ab_item_at(const lora_ab *ab, const char *judge, size_t index, lora_ab_item *item);
/** The first pair that `judge` (1 to 64 bytes) has not judged. */
LORA_API lora_status lora_ab_next(const lora_ab *ab, const char *judge, lora_ab_item *item);
/** A second verdict on a pair takes the place of the first. Errors: ARGUMENT (no such pair or choice, or one that is
 *  not shown), MEMORY. */
LORA_API lora_status lora_ab_verdict(lora_ab *ab, const char *judge, int64_t index, int32_t choice);
/** Takes the judge's last verdict back; *index is its pair, or -1 when there is none. */
LORA_API lora_status lora_ab_undo(lora_ab *ab, const char *judge, int64_t *index);
/** Adds the judges of `other`, a copy of the same test. Errors: MISMATCH (another test; or the same judge's name with
 *  other verdicts: one of the two needs another name), MEMORY. Nothing changes on failure. */
LORA_API lora_status lora_ab_merge(lora_ab *ab, const lora_ab *other);

/** Set struct_size first. Texts are lent by the test until its next call. */
typedef struct lora_ab_result {
    size_t struct_size;
    const char *name_a, *name_b;
    int64_t judges, verdicts;
    int64_t pairs;             /**< judged by somebody, or the same text */
    int64_t wins_a, wins_b, ties; /**< pairs; same texts are ties */
    int64_t identical;         /**< of the ties */
    double share;              /**< wins_a / (wins_a + wins_b); NaN: nothing is decided */
    double share_low, share_high; /**< Clopper-Pearson, 95 % */
    double p_value;            /**< exact binomial, two-sided, ties left out; 1 when nothing is decided */
    double agreement;          /**< NaN with one judge a pair */
    double alpha;
    const char *sentence_en, *sentence_zh;
} lora_ab_result;

LORA_API lora_status lora_ab_get_result(lora_ab *ab, lora_ab_result *result);
/** The result, each judge's counts, and every pair with whose answer is whose, as one JSON document, lent until the
 *  test's next call. */
LORA_API lora_status lora_ab_json(lora_ab *ab, const char **text);

/** P(|X - n/2| >= |wins - n/2|) for X ~ Binomial(n, 1/2), exactly; 1 for n = 0. */
LORA_API double lora_binomial_two_sided(int64_t wins, int64_t n);
/** Clopper and Pearson's interval for wins of n with `confidence` (0.95). */
LORA_API void lora_binomial_interval(int64_t wins, int64_t n, double confidence, double *low, double *high);

LORA_END_DECLS
#endif
