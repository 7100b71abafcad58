// The rows of the table, from what the runs left.
#include "src/compare/comparison.h"

#include <math.h>
#include <string.h>

static double mean_loss(const double *sums) { return sums[1] / sums[0]; }

// (base - loss) / (base - full): tokens cancel.
static double gain_share(const double *sums)
{
    double gain = sums[0] - sums[2];
    return gain > 0 ? (sums[0] - sums[1]) / gain : NAN;
}

// ---- runs ----------------------------------------------------------------------------------------------------------

const char *lr_setting_failure(const lr_setting *setting)
{
    for (size_t i = 0; i < json_array_size(setting->runs); i++) {
        const char *failure = json_string_value(json_object_get(json_array_get(setting->runs, i), "failure"));
        if (failure) return failure;
    }
    return NULL;
}

static int32_t setting_state(const lora_comparison *c, const lr_setting *setting)
{
    if (lr_setting_failure(setting)) return LORA_SETTING_FAILED;
    size_t needed = setting->runnable ? (size_t)c->seeds : 1;
    return json_array_size(setting->runs) >= needed ? LORA_SETTING_DONE : LORA_SETTING_WAITING;
}

static double number(const json_t *run, const char *key)
{
    const json_t *value = json_object_get(run, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

// The mean of a number over a setting's runs; NaN when one lacks it.
static double mean_of(const lr_setting *setting, const char *key)
{
    double sum = 0;
    size_t count = json_array_size(setting->runs);
    for (size_t i = 0; i < count; i++) sum += number(json_array_get(setting->runs, i), key);
    return count ? sum / (double)count : NAN;
}

static int64_t integer_of_first(const lr_setting *setting, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(json_array_get(setting->runs, 0), key));
}

int64_t lr_setting_parameters(const lr_setting *setting)
{
    return integer_of_first(setting, "trainable_parameters");
}

// Mean loss per label token; NaN when there is none.
static double loss_of_run(const lora_comparison *c, const json_t *run)
{
    const json_t *nll = json_object_get(run, "nll");
    double sum = 0, tokens = 0;
    if (json_array_size(nll) != c->validation->row_count) return NAN;
    for (size_t i = 0; i < c->validation->row_count; i++) {
        sum += json_number_value(json_array_get(nll, i));
        tokens += c->validation->rows[i].label_count;
    }
    return sum / tokens;
}

// Sample standard deviation of the loss over seeds.
static double spread(const lora_comparison *c, const lr_setting *setting)
{
    size_t count = json_array_size(setting->runs);
    double mean = 0, sum = 0;
    if (count < 2) return NAN;
    for (size_t i = 0; i < count; i++) mean += loss_of_run(c, json_array_get(setting->runs, i)) / (double)count;
    for (size_t i = 0; i < count; i++) {
        double d = loss_of_run(c, json_array_get(setting->runs, i)) - mean;
        sum += d * d;
    }
    return sqrt(sum / (double)(count - 1));
}

// ---- the bootstrap -------------------------------------------------------------------------------------------------

static void add_run(const lora_comparison *c, const json_t *run, double weight, double *column)
{
    const json_t *nll = json_object_get(run, "nll");
    for (size_t i = 0; i < c->validation->row_count; i++)
        column[i] += weight * json_number_value(json_array_get(nll, i));
}

static void fill_columns(const lora_comparison *c, double *values, const double **columns)
{
    size_t rows = c->validation->row_count;
    for (size_t i = 0; i < rows; i++) values[i] = c->validation->rows[i].label_count;
    columns[LR_COLUMN_TOKENS] = values;
    columns[LR_COLUMN_BASE] = c->base ? values + rows : NULL;
    if (c->base) add_run(c, c->base, 1, values + rows);
    for (size_t s = 0; s < c->setting_count; s++) {
        const lr_setting *setting = &c->settings[s];
        size_t runs = json_array_size(setting->runs), column = LR_COLUMN_SETTINGS + s;
        columns[column] = runs && !lr_setting_failure(setting) ? values + column * rows : NULL;
        for (size_t i = 0; i < runs && columns[column]; i++)
            add_run(c, json_array_get(setting->runs, i), 1 / (double)runs, values + column * rows);
    }
}

lora_status lr_comparison_resample(lora_comparison *c)
{
    const lora_allocator *allocator = &c->context->allocator;
    size_t count = LR_COLUMN_SETTINGS + c->setting_count, rows = c->validation->row_count;
    if (c->resamples.sums) return LORA_OK;
    const double **columns = lr_alloc_array(allocator, count, sizeof *columns);
    double *values = lr_alloc_zeroed(allocator, count * rows, sizeof *values);
    lora_status status = columns && values ? LORA_OK : LORA_ERROR_MEMORY;
    if (status == LORA_OK) {
        fill_columns(c, values, columns);
        status = lr_resamples_create(allocator, columns, count, rows, &c->resamples);
    }
    lr_free(allocator, values);
    lr_free(allocator, (void *)(uintptr_t)columns);
    return status;
}

double lr_setting_loss(const lora_comparison *c, const lr_setting *setting)
{
    const int64_t columns[] = {LR_COLUMN_TOKENS, LR_COLUMN_SETTINGS + (setting - c->settings), -1};
    return lr_resamples_value(&c->resamples, columns, mean_loss);
}

int64_t lr_comparison_full(const lora_comparison *c)
{
    int64_t best = -1;
    for (size_t i = 0; i < c->setting_count; i++) {
        const lr_setting *setting = &c->settings[i];
        double loss = lr_setting_loss(c, setting);
        if (!json_is_true(json_object_get(json_object_get(setting->options, "adapter"), "full")) || isnan(loss))
            continue;
        if (best < 0 || loss < lr_setting_loss(c, &c->settings[best])) best = (int64_t)i;
    }
    return best;
}

// ---- rows ----------------------------------------------------------------------------------------------------------

static void fill_loss(const lora_comparison *c, int64_t column, double *scratch, lora_comparison_row *row)
{
    const int64_t columns[] = {LR_COLUMN_TOKENS, column, -1};
    lr_interval interval = lr_resamples_interval(&c->resamples, columns, mean_loss, scratch);
    row->loss = lr_resamples_value(&c->resamples, columns, mean_loss);
    row->loss_low = interval.low;
    row->loss_high = interval.high;
}

static void fill_share(const lora_comparison *c, int64_t column, double *scratch, lora_comparison_row *row)
{
    int64_t full = lr_comparison_full(c);
    row->gain_share = row->gain_share_low = row->gain_share_high = NAN;
    if (full < 0) return;
    const int64_t columns[] = {LR_COLUMN_BASE, column, LR_COLUMN_SETTINGS + full, -1};
    lr_interval interval = lr_resamples_interval(&c->resamples, columns, gain_share, scratch);
    row->gain_share = lr_resamples_value(&c->resamples, columns, gain_share);
    row->gain_share_low = interval.low;
    row->gain_share_high = interval.high;
}

static void fill_scores(const json_t *run, lora_comparison_row *row)
{
    const json_t *scores = json_object_get(run, "scores");
    row->bleu = number(scores, "bleu");
    row->rouge_l = number(scores, "rougeL");
    row->chrf = number(scores, "chrf");
}

static lora_status begin_row(lora_comparison *c, double **scratch)
{
    LR_TRY(lr_comparison_resample(c));
    *scratch = lr_alloc_array(&c->context->allocator, LR_RESAMPLE_DRAWS, sizeof **scratch);
    return *scratch ? LORA_OK : LORA_ERROR_MEMORY;
}

static void fill_costs(const lora_comparison *c, const lr_setting *setting, lora_comparison_row *row)
{
    lora_model_info model = {.struct_size = sizeof model};
    lora_model_get_info(c->model, &model);
    row->trainable_parameters = lr_setting_parameters(setting);
    row->parameter_share = (double)row->trainable_parameters / (double)model.parameters;
    row->file_bytes = integer_of_first(setting, "file_bytes");
    row->steps = integer_of_first(setting, "steps");
    row->seconds = mean_of(setting, "seconds");
    row->tokens_per_second = mean_of(setting, "tokens") / row->seconds;
    row->peak_source = LORA_PEAK_MEASURED;
    for (size_t i = 0; i < json_array_size(setting->runs); i++) {
        const json_t *run = json_array_get(setting->runs, i);
        const char *source = json_string_value(json_object_get(run, "peak_memory_source"));
        int64_t bytes = (int64_t)json_integer_value(json_object_get(run, "peak_memory_bytes"));
        if (!source || strcmp(source, "measured") != 0) row->peak_source = LORA_PEAK_PLANNED;
        if (bytes > row->peak_memory_bytes) row->peak_memory_bytes = bytes;
    }
}

lora_status lr_comparison_fill_row(lora_comparison *c, size_t index, lora_comparison_row *row)
{
    const lr_setting *setting = &c->settings[index];
    double *scratch;
    LR_TRY(begin_row(c, &scratch));
    row->name = setting->name;
    row->full = json_is_true(json_object_get(json_object_get(setting->options, "adapter"), "full"));
    row->failure = lr_setting_failure(setting);
    row->state = setting_state(c, setting);
    row->loss_spread = row->failure ? NAN : spread(c, setting);
    row->general_loss = mean_of(setting, "general_loss");
    fill_loss(c, LR_COLUMN_SETTINGS + (int64_t)index, scratch, row);
    fill_share(c, LR_COLUMN_SETTINGS + (int64_t)index, scratch, row);
    fill_scores(json_array_get(setting->runs, 0), row);
    fill_costs(c, setting, row);
    lr_free(&c->context->allocator, scratch);
    lr_free(&c->context->allocator, c->row_path);
    c->row_path = lr_comparison_path(c, row->full ? "models" : "adapters", setting, 0);
    row->path = c->row_path;
    return row->path ? LORA_OK : LORA_ERROR_MEMORY;
}

lora_status lr_comparison_fill_base(lora_comparison *c, lora_comparison_row *row)
{
    double *scratch;
    LR_TRY(begin_row(c, &scratch));
    row->name = "base";
    row->path = c->model->path;
    row->state = LORA_SETTING_DONE;
    row->loss_spread = NAN;
    row->general_loss = number(c->base, "general_loss");
    row->seconds = row->tokens_per_second = NAN;
    fill_loss(c, LR_COLUMN_BASE, scratch, row);
    fill_share(c, LR_COLUMN_BASE, scratch, row);
    fill_scores(c->base, row);
    lr_free(&c->context->allocator, scratch);
    return LORA_OK;
}
