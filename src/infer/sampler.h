// Choosing the next token from logits. The order of the steps is transformers': repetition penalty, temperature, top-k,
// top-p, min-p, then one draw.
#ifndef LR_SAMPLER_H
#define LR_SAMPLER_H

#include "src/core/context.h"
#include "src/model/pass.h"

#include <stdbool.h>

typedef struct lr_sampling {
    float temperature; // 0: greedy
    int32_t top_k;     // 0: off
    float top_p;       // 1: off
    float min_p;       // 0: off
    float repetition_penalty; // 1: off
    uint64_t seed;
} lr_sampling;

typedef struct lr_candidate {
    float score;
    int32_t id;
} lr_candidate;

typedef struct lr_sampler {
    const lora_allocator *allocator;
    int64_t vocabulary;
    float *scores;            // [vocabulary] logits after the penalty
    lr_candidate *candidates; // [vocabulary]
    uint8_t *seen;            // [vocabulary] 1: penalised already
} lr_sampler;

lora_status lr_sampler_init(lr_sampler *sampler, const lora_allocator *allocator, int64_t vocabulary);
void lr_sampler_free(lr_sampler *sampler);
// The token for logits[vocabulary] after `history`; draw number `draw` of the seed. NOT_FINITE when a logit is NaN or
// none is finite.
lora_status lr_sampler_choose(lr_sampler *sampler, const lr_sampling *sampling, const float *logits,
                              const lr_logits_summary *summary, const int32_t *history, size_t history_count,
                              uint64_t draw, int32_t *id);

#endif
