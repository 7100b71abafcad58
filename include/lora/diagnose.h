/** @file diagnose.h
 *  What the curves of a run say: has it learnt too little, too much, or enough, and what to change.
 */
#ifndef LORA_DIAGNOSE_H
#define LORA_DIAGNOSE_H

#include "context.h"

LORA_BEGIN_DECLS

/** One step of a run, in order. */
typedef struct lora_curve_point {
    int64_t step;
    double epoch;
    double loss;      /**< of the step */
    double eval_loss; /**< of the evaluation that followed; NaN: none */
} lora_curve_point;

#define LORA_FIT_UNKNOWN 0
#define LORA_FIT_GOOD 1
#define LORA_FIT_OVER 2     /**< learnt by heart: the held-out loss is past its best */
#define LORA_FIT_UNDER 3    /**< learnt too little: more was to be had */
#define LORA_FIT_UNSTABLE 4 /**< the loss rose */

/** Set struct_size first. */
typedef struct lora_diagnosis {
    size_t struct_size;
    int32_t fit;           /**< LORA_FIT_ */
    int32_t reserved;
    double first_loss;     /**< mean of the first tenth of the steps, at least one */
    double last_loss;      /**< of the last tenth */
    double best_eval_loss; /**< NaN: no evaluation */
    double last_eval_loss;
    double best_epoch;     /**< of the best evaluation */
    const char *english;   /**< one or two sentences: what it is and what to change; static */
    const char *chinese;
} lora_diagnosis;

/** Judges a curve. The first rule that holds decides:
 *    unknown   fewer than 4 steps
 *    unstable  last_loss > 1.05 first_loss while the second half of the steps has a higher mean loss than the first; or
 *              an evaluation that is not finite; or, in the first 50 steps, five with a mean above 1.4 times the first
 *              step's loss, and last_loss still above 1.1 times it
 *    over      last_eval_loss > 1.03 best_eval_loss; or last_loss < 0.5 last_eval_loss while the last evaluation is not
 *              at least 1 % better than the one before (or is the only one)
 *    under     last_loss > 0.9 first_loss: hardly anything was learnt
 *    under     the last evaluation is more than 2 % better than the one before; with fewer than two evaluations: the
 *              mean loss of the last quarter of the steps is more than 10 % below that of the quarter before
 *    unknown   no evaluation: whether it was learnt by heart cannot be seen
 *    good      else
 *  A mean counts as higher than another when they differ by more than twice the standard error of their difference.
 *  Steps whose loss is not finite are left out. Errors: ARGUMENT. */
LORA_API lora_status lora_diagnose(const lora_curve_point *points, size_t count, lora_diagnosis *diagnosis);

/** "unknown", "good", "overfitted", "underfitted", "unstable". Static; never NULL. */
LORA_API const char *lora_fit_name(int32_t fit);

LORA_END_DECLS
#endif
