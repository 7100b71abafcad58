// The bootstrap over rows: drawn with replacement, scored together, sorted, cut at both ends.
#ifndef LR_BOOTSTRAP_H
#define LR_BOOTSTRAP_H

#include "lib/memory.h"

#include <lora/metrics.h>

// Scores of the rows drawn: `values` of them, into out.
typedef void (*lr_score_rows)(const uint32_t *rows, size_t count, double *out, void *user);

lora_status lr_take_resampling(lora_resampling *target, const lora_resampling *options, const char *function);
// Row numbers of one draw with replacement: each draw has its own run of the sequence of seed and stream.
void lr_draw_rows(uint64_t seed, uint32_t stream, uint64_t draw, size_t rows, uint32_t *drawn);
void lr_sort_values(double *values, size_t count);
// samples[value, options->samples] in order of drawing. Free with lr_free in either case.
lora_status lr_bootstrap(const lora_allocator *allocator, size_t rows, size_t values, const lora_resampling *options,
                         lr_score_rows score, void *user, double **samples);
// Sorts the samples of one value. The share (1 - confidence) / 2 of them is left out at either end, as sacrebleu does.
void lr_percentiles(double *samples, const lora_resampling *options, double *low, double *high);
double lr_mean(const double *values, size_t count);

#endif
