#include "src/eval/bootstrap.h"

#include "src/core/validate.h"
#include "src/eval/metric.h"

#include "lib/random.h"

#include <math.h>
#include <stdlib.h>

#define STREAM_ROWS 0x626F6F74u   // "boot"
#define STREAM_TOSSES 0x746F7373u // "toss"

void(lora_resampling_init)(lora_resampling *options, size_t struct_size)
{
    const lora_resampling defaults = {.samples = 1000, .trials = 10000, .seed = 12345, .confidence = 0.95};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

lora_status lr_take_resampling(lora_resampling *target, const lora_resampling *options, const char *function)
{
    lora_resampling_init(target);
    LR_TRY(lr_take_options(target, sizeof *target, options, function));
    LR_CHECK_ARGUMENT(target->samples > 0 && target->trials > 0 && target->confidence > 0 && target->confidence < 1,
                      "%s: samples and trials must be above 0, confidence between 0 and 1", function);
    return LORA_OK;
}

void lr_draw_rows(uint64_t seed, uint32_t stream, uint64_t draw, size_t rows, uint32_t *drawn)
{
    uint64_t blocks = (rows + 3) / 4;
    for (size_t i = 0; i < rows; i += 4) {
        lr_random_block block = lr_random_draw(seed, stream, draw * blocks + i / 4);
        for (size_t w = 0; w < 4 && i + w < rows; w++)
            drawn[i + w] = (uint32_t)(((uint64_t)block.word[w] * rows) >> 32);
    }
}

lora_status lr_bootstrap(const lora_allocator *allocator, size_t rows, size_t values, const lora_resampling *options,
                         lr_score_rows score, void *user, double **samples)
{
    size_t count = (size_t)options->samples;
    double *out = lr_alloc_array(allocator, values, sizeof *out);
    uint32_t *drawn = lr_alloc_array(allocator, rows, sizeof *drawn);
    *samples = lr_alloc_array(allocator, count, values * sizeof **samples);
    lora_status status = out && drawn && *samples ? LORA_OK : LORA_ERROR_MEMORY;
    for (size_t s = 0; s < count && status == LORA_OK; s++) {
        lr_draw_rows(options->seed, STREAM_ROWS, s, rows, drawn);
        score(drawn, rows, out, user);
        for (size_t v = 0; v < values; v++) (*samples)[v * count + s] = out[v];
    }
    lr_free(allocator, out);
    lr_free(allocator, drawn);
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void lr_sort_values(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
}

void lr_percentiles(double *samples, const lora_resampling *options, double *low, double *high)
{
    size_t count = (size_t)options->samples;
    size_t left_out = (size_t)((double)count * (1 - options->confidence) / 2 + 1e-9);
    lr_sort_values(samples, count);
    *low = samples[left_out];
    *high = samples[count - 1 - left_out];
}

double lr_mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return count ? sum / (double)count : 0;
}

// ---- of a metric ----------------------------------------------------------------------------------------------------

typedef struct systems {
    const lora_metric *metric;
    const double *statistics[2];
    size_t count; // of systems
} systems;

static void score_systems(const uint32_t *rows, size_t count, double *out, void *user)
{
    const systems *s = user;
    size_t width = s->metric->statistics;
    for (size_t k = 0; k < s->count; k++) {
        double sums[LR_MOST_STATISTICS];
        memset(sums, 0, width * sizeof *sums);
        for (size_t i = 0; i < count; i++) {
            const double *row = s->statistics[k] + rows[i] * width;
            for (size_t w = 0; w < width; w++) sums[w] += row[w];
        }
        out[k] = s->metric->kind->score(s->metric, sums);
    }
}

static lora_status check(const lora_metric *metric, const double *statistics, size_t rows)
{
    LR_CHECK_HANDLE(metric);
    LR_CHECK_ARGUMENT(statistics && rows > 0 && rows < UINT32_MAX, "statistics is NULL, or there are no rows");
    return LORA_OK;
}

lora_status lora_metric_interval(const lora_metric *metric, const double *statistics, size_t rows,
                                 const lora_resampling *options, lora_interval *interval)
{
    LR_TRY(check(metric, statistics, rows));
    const lora_allocator *allocator = &metric->context->allocator;
    lora_resampling taken;
    lora_interval found = {.score = lora_metric_score(metric, statistics, rows)};
    systems one = {metric, {statistics}, 1};
    double *samples = NULL;
    LR_TRY(lr_give_info(interval, &found, sizeof found, __func__));
    LR_TRY(lr_take_resampling(&taken, options, __func__));
    lora_status status = lr_bootstrap(allocator, rows, 1, &taken, score_systems, &one, &samples);
    if (status == LORA_OK) {
        found.mean = lr_mean(samples, (size_t)taken.samples);
        lr_percentiles(samples, &taken, &found.low, &found.high);
        status = lr_give_info(interval, &found, sizeof found, __func__);
    }
    lr_free(allocator, samples);
    return status;
}

// ---- two systems ----------------------------------------------------------------------------------------------------

// Whether a drawn difference is as large as the one found; sums in another order may differ in the last places.
static bool is_as_large(double drawn, double found) { return drawn >= fabs(found) * (1 - 1e-12); }

// samples[0] the system's, samples[1] the baseline's.
static void judge_samples(double *samples, const lora_resampling *options, lora_significance *found)
{
    size_t count = (size_t)options->samples, beyond = 0;
    double mean = 0;
    for (size_t i = 0; i < count; i++) {
        samples[i] -= samples[count + i];
        mean += fabs(samples[i]);
    }
    mean /= (double)count;
    for (size_t i = 0; i < count; i++) beyond += is_as_large(fabs(samples[i]) - mean, found->difference);
    found->p_bootstrap = (double)(beyond + 1) / (double)(count + 1);
    lr_percentiles(samples, options, &found->low, &found->high);
}

static double shuffled_difference(const systems *s, size_t rows, const lora_resampling *options, uint64_t trial)
{
    size_t width = s->metric->statistics;
    double sums[2][LR_MOST_STATISTICS];
    uint64_t words = (rows + 31) / 32;
    uint32_t tosses = 0;
    for (int side = 0; side < 2; side++) memset(sums[side], 0, width * sizeof(double));
    for (size_t i = 0; i < rows; i++) {
        tosses = i % 32 ? tosses >> 1 : lr_random_u32(options->seed, STREAM_TOSSES, trial * words + i / 32);
        uint32_t side = tosses & 1;
        const double *first = s->statistics[side] + i * width, *second = s->statistics[!side] + i * width;
        for (size_t w = 0; w < width; w++) {
            sums[0][w] += first[w];
            sums[1][w] += second[w];
        }
    }
    return s->metric->kind->score(s->metric, sums[0]) - s->metric->kind->score(s->metric, sums[1]);
}

static double randomise(const systems *s, size_t rows, const lora_resampling *options, double difference)
{
    size_t beyond = 0, trials = (size_t)options->trials;
    for (size_t t = 0; t < trials; t++)
        beyond += is_as_large(fabs(shuffled_difference(s, rows, options, t)), difference);
    return (double)(beyond + 1) / (double)(trials + 1);
}

lora_status lora_metric_compare(const lora_metric *metric, const double *system, const double *baseline, size_t rows,
                                const lora_resampling *options, lora_significance *significance)
{
    LR_TRY(check(metric, system, rows));
    LR_TRY(check(metric, baseline, rows));
    const lora_allocator *allocator = &metric->context->allocator;
    lora_resampling taken;
    lora_significance found = {.system = lora_metric_score(metric, system, rows),
                               .baseline = lora_metric_score(metric, baseline, rows)};
    systems two = {metric, {system, baseline}, 2};
    double *samples = NULL;
    found.difference = found.system - found.baseline;
    LR_TRY(lr_give_info(significance, &found, sizeof found, __func__));
    LR_TRY(lr_take_resampling(&taken, options, __func__));
    lora_status status = lr_bootstrap(allocator, rows, 2, &taken, score_systems, &two, &samples);
    if (status == LORA_OK) {
        judge_samples(samples, &taken, &found);
        found.p_randomisation = randomise(&two, rows, &taken, found.difference);
        status = lr_give_info(significance, &found, sizeof found, __func__);
    }
    lr_free(allocator, samples);
    return status;
}
