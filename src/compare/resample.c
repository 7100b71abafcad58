#include "src/compare/resample.h"

#include "src/eval/bootstrap.h"

#include <math.h>

#define STREAM 0x62746F72u // "btor"
#define MOST_COLUMNS 4

static void add_up(const double *const *columns, size_t column_count, size_t rows, const uint32_t *drawn, double *sums)
{
    for (size_t c = 0; c < column_count; c++) {
        sums[c] = columns[c] ? 0 : NAN;
        for (size_t i = 0; columns[c] && i < rows; i++) sums[c] += columns[c][drawn ? drawn[i] : i];
    }
}

lora_status lr_resamples_create(const lora_allocator *allocator, const double *const *columns, size_t column_count,
                                size_t rows, lr_resamples *out)
{
    *out = (lr_resamples){.columns = column_count};
    out->sums = lr_alloc_zeroed(allocator, (size_t)LR_RESAMPLE_DRAWS * column_count, sizeof *out->sums);
    out->totals = lr_alloc_zeroed(allocator, column_count, sizeof *out->totals);
    uint32_t *drawn = lr_alloc_array(allocator, rows, sizeof *drawn);
    lora_status status = out->sums && out->totals && drawn ? LORA_OK : LORA_ERROR_MEMORY;
    for (size_t d = 0; d < LR_RESAMPLE_DRAWS && status == LORA_OK; d++) {
        lr_draw_rows(0, STREAM, d, rows, drawn);
        add_up(columns, column_count, rows, drawn, out->sums + d * column_count);
    }
    if (status == LORA_OK)
        add_up(columns, column_count, rows, NULL, out->totals);
    else
        lr_resamples_free(allocator, out);
    lr_free(allocator, drawn);
    return status;
}

void lr_resamples_free(const lora_allocator *allocator, lr_resamples *resamples)
{
    lr_free(allocator, resamples->sums);
    lr_free(allocator, resamples->totals);
    *resamples = (lr_resamples){0};
}

static double value_at(const double *sums, const int64_t *columns, lr_statistic statistic)
{
    double chosen[MOST_COLUMNS] = {0};
    for (size_t i = 0; i < MOST_COLUMNS && columns[i] >= 0; i++) chosen[i] = sums[columns[i]];
    return statistic(chosen);
}

double lr_resamples_value(const lr_resamples *resamples, const int64_t *columns, lr_statistic statistic)
{
    return value_at(resamples->totals, columns, statistic);
}

// The quantile of sorted values with linear interpolation (Hyndman and Fan 1996, type 7).
static double quantile(const double *sorted, size_t count, double p)
{
    double place = p * (double)(count - 1);
    size_t below = (size_t)place;
    if (below + 1 >= count) return sorted[count - 1];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

lr_interval lr_resamples_interval(const lr_resamples *resamples, const int64_t *columns, lr_statistic statistic,
                                  double *scratch)
{
    for (size_t d = 0; d < LR_RESAMPLE_DRAWS; d++) {
        scratch[d] = value_at(resamples->sums + d * resamples->columns, columns, statistic);
        if (!isfinite(scratch[d])) return (lr_interval){NAN, NAN};
    }
    lr_sort_values(scratch, LR_RESAMPLE_DRAWS);
    double tail = (1 - LR_RESAMPLE_CONFIDENCE) / 2;
    return (lr_interval){quantile(scratch, LR_RESAMPLE_DRAWS, tail),
                         quantile(scratch, LR_RESAMPLE_DRAWS, 1 - tail)};
}
