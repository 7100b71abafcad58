#include "src/compare/resample.h"

#include "lib/random.h"

#include <math.h>
#include <stdlib.h>

#define STREAM 0x62746F72u // "boot"
#define MOST_COLUMNS 4

static void draw_sums(const double *const *columns, size_t column_count, size_t rows, uint64_t first, double *sums)
{
    for (size_t c = 0; c < column_count; c++) sums[c] = columns[c] ? 0 : NAN;
    for (size_t i = 0; i < rows; i += 4) {
        lr_random_block block = lr_random_draw(0, STREAM, first + i / 4);
        for (size_t w = 0; w < 4 && i + w < rows; w++) {
            size_t row = (size_t)(((uint64_t)block.word[w] * rows) >> 32);
            for (size_t c = 0; c < column_count; c++)
                if (columns[c]) sums[c] += columns[c][row];
        }
    }
}

lora_status lr_resamples_create(const lora_allocator *allocator, const double *const *columns, size_t column_count,
                                size_t rows, lr_resamples *out)
{
    *out = (lr_resamples){.columns = column_count};
    out->sums = lr_alloc_zeroed(allocator, (size_t)LR_RESAMPLE_DRAWS * column_count, sizeof *out->sums);
    out->totals = lr_alloc_zeroed(allocator, column_count, sizeof *out->totals);
    if (!out->sums || !out->totals) {
        lr_resamples_free(allocator, out);
        return LORA_ERROR_MEMORY;
    }
    uint64_t blocks = (rows + 3) / 4;
    for (size_t d = 0; d < LR_RESAMPLE_DRAWS; d++)
        draw_sums(columns, column_count, rows, d * blocks, out->sums + d * column_count);
    for (size_t c = 0; c < column_count; c++) {
        if (!columns[c]) out->totals[c] = NAN;
        for (size_t i = 0; columns[c] && i < rows; i++) out->totals[c] += columns[c][i];
    }
    return LORA_OK;
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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lr_quantile(const double *sorted, size_t count, double p)
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
    qsort(scratch, LR_RESAMPLE_DRAWS, sizeof *scratch, by_value);
    double tail = (1 - LR_RESAMPLE_CONFIDENCE) / 2;
    return (lr_interval){lr_quantile(scratch, LR_RESAMPLE_DRAWS, tail),
                         lr_quantile(scratch, LR_RESAMPLE_DRAWS, 1 - tail)};
}
