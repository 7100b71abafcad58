// The paired bootstrap: rows are drawn with replacement, the same draw for every column, and a statistic of the
// columns' sums is taken of each draw.
#ifndef LR_RESAMPLE_H
#define LR_RESAMPLE_H

#include "lib/memory.h"

#include <stdint.h>

#define LR_RESAMPLE_DRAWS 2000
#define LR_RESAMPLE_CONFIDENCE 0.95

// sums[draw * columns + column]; totals[column] of the rows as they are.
typedef struct lr_resamples {
    size_t columns;
    double *sums, *totals; // NULL: not made
} lr_resamples;

typedef struct lr_interval {
    double low, high; // NaN: not known
} lr_interval;

// columns[c] has `rows` numbers, or is NULL: then its sums are NaN.
lora_status lr_resamples_create(const lora_allocator *allocator, const double *const *columns, size_t column_count,
                                size_t rows, lr_resamples *out);
void lr_resamples_free(const lora_allocator *allocator, lr_resamples *resamples);

// A statistic of the sums of up to four chosen columns.
typedef double (*lr_statistic)(const double *sums);
// The middle LR_RESAMPLE_CONFIDENCE of the statistic over the draws; NaN when it is not finite on one of them.
// `columns` are indices, ended by -1. `scratch` has LR_RESAMPLE_DRAWS numbers.
lr_interval lr_resamples_interval(const lr_resamples *resamples, const int64_t *columns, lr_statistic statistic,
                                  double *scratch);
double lr_resamples_value(const lr_resamples *resamples, const int64_t *columns, lr_statistic statistic);

#endif
