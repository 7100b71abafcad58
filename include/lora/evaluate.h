/** @file evaluate.h
 *  Measuring a model, with or without adapters, on data.
 */
#ifndef LORA_EVALUATE_H
#define LORA_EVALUATE_H

#include "adapter.h"
#include "dataset.h"

LORA_BEGIN_DECLS

/** Set struct_size first. */
typedef struct lora_loss {
    size_t struct_size;
    double loss;       /**< mean negative log-likelihood per label token, natural logarithm */
    double perplexity; /**< exp(loss) */
    int64_t rows;
    int64_t tokens;
    int64_t label_tokens;
} lora_loss;

/** One row's negative log-likelihood, summed over its label tokens. Return other than 0 to stop. */
typedef int32_t (*lora_row_loss_fn)(int64_t row, double nll, int64_t label_tokens, void *user);

/** Loss of `data`. `callback` may be NULL. Errors: MISMATCH, DATA, NOT_FINITE, MEMORY, CANCELLED. */
LORA_API lora_status lora_evaluate_loss(const lora_model *model, const lora_adapter_use *uses, size_t count,
                                        const lora_dataset *data, lora_row_loss_fn callback, void *user, lora_loss *loss);

/** Next-token log-probabilities at every position of one sequence: values[i * vocabulary + t] = log p(t | ids[0..i]).
 *  `value_count` must be id_count * vocabulary. */
LORA_API lora_status lora_evaluate_log_probabilities(const lora_model *model, const lora_adapter_use *uses, size_t count,
                                                     const int32_t *ids, size_t id_count, float *values, size_t value_count);

LORA_END_DECLS
#endif
