#include "src/train/feed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Row visits that measuring a run may take (about 0.1 s); past it the largest micro-batch is bounded instead.
#define MEASURE_LIMIT 10000000

void lr_feed_init(lr_feed *feed, const lora_dataset *data, const lora_trainer_options *options)
{
    *feed = (lr_feed){
        .allocator = &data->context->allocator,
        .data = data,
        .shuffle = options->shuffle != 0,
        .packing = options->packing != 0,
        .seed = options->seed,
        .batch_size = options->batch_size,
        .pack_length = options->pack_length,
        .micro_rows = options->batch_size,
        .epoch = -1,
    };
    int32_t longest = 1;
    for (size_t i = 0; i < data->row_count; i++)
        if (data->rows[i].count > longest) longest = data->rows[i].count;
    if (feed->pack_length < longest) feed->pack_length = longest;
}

static lora_status make_plan(const lr_feed *feed, int64_t epoch, lr_batch_plan *plan)
{
    return lr_batch_plan_create(feed->data, feed->shuffle, feed->seed, epoch, feed->batch_size, feed->packing,
                                feed->batch_size * feed->pack_length, plan);
}

lora_status lr_feed_begin_epoch(lr_feed *feed, int64_t epoch)
{
    if (feed->epoch == epoch) return LORA_OK;
    lr_batch_plan plan = {0};
    LR_TRY(make_plan(feed, epoch, &plan));
    lr_batch_plan_free(feed->allocator, &feed->plan);
    feed->plan = plan;
    feed->epoch = epoch;
    return LORA_OK;
}

void lr_feed_free(lr_feed *feed)
{
    if (!feed->allocator) return;
    lr_batch_plan_free(feed->allocator, &feed->plan);
    lr_free(feed->allocator, feed->ids);
    lr_free(feed->allocator, feed->labels);
    lr_free(feed->allocator, feed->spans);
    *feed = (lr_feed){0};
}

lora_status lr_feed_reserve(lr_feed *feed, int32_t micro_rows, int64_t max_tokens, int64_t max_spans)
{
    feed->micro_rows = micro_rows;
    feed->max_tokens = max_tokens;
    feed->max_spans = max_spans;
    feed->ids = lr_alloc_array(feed->allocator, (size_t)max_tokens, sizeof *feed->ids);
    feed->labels = lr_alloc_array(feed->allocator, (size_t)max_tokens, sizeof *feed->labels);
    feed->spans = lr_alloc_array(feed->allocator, (size_t)max_spans, sizeof *feed->spans);
    return feed->ids && feed->labels && feed->spans ? LORA_OK : LORA_ERROR_MEMORY;
}

// ---- measuring -----------------------------------------------------------------------------------------------------

static int compare_lengths(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

// Bounds that hold for every order of the rows: the longest rows together, or with packing as many of the shortest as
// fit.
static void bound_batches(const lr_feed *feed, const int32_t *ascending, lr_feed_measure *out)
{
    size_t count = feed->data->row_count;
    for (size_t s = 0; s < out->splits; s++) {
        int64_t tokens = 0, spans = 0;
        if (feed->packing) {
            int64_t limit = out->micro_rows[s] * feed->pack_length;
            for (size_t i = 0; i < count && tokens + ascending[i] <= limit; i++) tokens += ascending[i], spans++;
            tokens = limit < (int64_t)feed->data->id_count ? limit : (int64_t)feed->data->id_count;
        } else {
            for (; spans < out->micro_rows[s] && (size_t)spans < count; spans++)
                tokens += ascending[count - 1 - (size_t)spans];
        }
        out->max_tokens[s] = tokens;
        out->max_spans[s] = spans;
    }
}

// The largest runs of micro_rows rows in the batches of a plan.
static void measure_plan(const lr_feed *feed, const lr_batch_plan *plan, lr_feed_measure *out)
{
    for (size_t s = 0; s < out->splits; s++) {
        for (size_t b = 0; b < plan->batch_count; b++) {
            for (uint32_t i = plan->batch_begin[b]; i < plan->batch_begin[b + 1];) {
                int64_t tokens = 0;
                for (int32_t n = 0; n < out->micro_rows[s] && i < plan->batch_begin[b + 1]; n++, i++)
                    tokens += feed->data->rows[plan->rows[i]].count;
                if (tokens > out->max_tokens[s]) out->max_tokens[s] = tokens;
            }
        }
    }
}

static int64_t steps_of(int64_t batches, const lora_trainer_options *options)
{
    return (batches + options->gradient_accumulation - 1) / options->gradient_accumulation;
}

// With packing each epoch has its own number of micro-batches. A share of the last epoch is rounded up to whole steps.
static lora_status count_packed_steps(const lr_feed *feed, const lora_trainer_options *options, int64_t *total)
{
    double whole = floor(options->epochs);
    *total = 0;
    for (int64_t epoch = 0; (double)epoch < options->epochs; epoch++) {
        lr_batch_plan plan = {0};
        LR_TRY(make_plan(feed, epoch, &plan));
        int64_t steps = steps_of((int64_t)plan.batch_count, options);
        lr_batch_plan_free(feed->allocator, &plan);
        *total +=
            (double)epoch < whole ? steps : (int64_t)(ceil(options->epochs * (double)steps) - whole * (double)steps);
    }
    return LORA_OK;
}

// Looks at every micro-batch of the run.
static lora_status measure_epochs(const lr_feed *feed, int64_t epochs, lr_feed_measure *out)
{
    memset(out->max_tokens, 0, sizeof out->max_tokens);
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        lr_batch_plan plan = {0};
        LR_TRY(make_plan(feed, epoch, &plan));
        measure_plan(feed, &plan, out);
        lr_batch_plan_free(feed->allocator, &plan);
    }
    return LORA_OK;
}

size_t lr_feed_splits(int32_t batch_size, int32_t micro_rows[LR_FEED_SPLITS])
{
    size_t count = 0;
    for (int32_t rows = batch_size;; rows = rows / 2 + rows % 2) {
        micro_rows[count++] = rows;
        if (rows == 1) return count;
    }
}

lora_status lr_feed_measure_run(const lr_feed *feed, const lora_trainer_options *options, lr_feed_measure *out)
{
    *out = (lr_feed_measure){.total_steps = options->max_steps};
    out->splits = lr_feed_splits(feed->batch_size, out->micro_rows);
    size_t count = feed->data->row_count;
    int32_t *lengths = lr_alloc_array(feed->allocator, count, sizeof *lengths);
    if (!lengths) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) lengths[i] = feed->data->rows[i].count;
    qsort(lengths, count, sizeof *lengths, compare_lengths);
    bound_batches(feed, lengths, out);
    lr_free(feed->allocator, lengths);
    if (feed->packing) return options->max_steps ? LORA_OK : count_packed_steps(feed, options, &out->total_steps);

    // Without packing every epoch has the same number of steps; what its micro-batches hold differs with the order.
    int64_t steps = steps_of(((int64_t)count + feed->batch_size - 1) / feed->batch_size, options);
    if (options->max_steps == 0) out->total_steps = (int64_t)ceil(options->epochs * (double)steps);
    int64_t epochs = feed->shuffle ? (out->total_steps + steps - 1) / steps : 1;
    if (epochs > MEASURE_LIMIT / (int64_t)count && epochs > 1) return LORA_OK;
    return measure_epochs(feed, epochs, out);
}

// ---- batches -------------------------------------------------------------------------------------------------------

// Copies a row behind what is in the batch; the label of each position is the id of the next. Returns its label tokens.
static int64_t append_row(lr_feed *feed, const lora_dataset *data, const lr_row *row, lr_batch *batch)
{
    const int32_t *ids = data->ids + row->begin, *labels = data->labels + row->begin;
    int32_t *to = feed->labels + batch->tokens;
    memcpy(feed->ids + batch->tokens, ids, (size_t)row->count * sizeof *ids);
    memcpy(to, labels + 1, (size_t)(row->count - 1) * sizeof *labels);
    to[row->count - 1] = LORA_LABEL_IGNORED;
    feed->spans[batch->span_count++] = (lr_span){.begin = batch->tokens, .count = row->count};
    batch->tokens += row->count;
    return row->label_count;
}

int64_t lr_feed_next(lr_feed *feed, const lora_dataset *data, const uint32_t *rows, int64_t *cursor, int64_t end,
                     int64_t row_limit, int64_t token_limit, lr_batch *batch)
{
    *batch = (lr_batch){.ids = feed->ids, .labels = feed->labels, .spans = feed->spans};
    if (row_limit == 0 || row_limit > feed->max_spans) row_limit = feed->max_spans;
    if (token_limit == 0 || token_limit > feed->max_tokens) token_limit = feed->max_tokens;
    int64_t label_tokens = 0;
    for (; *cursor < end && batch->span_count < row_limit; ++*cursor) {
        const lr_row *row = &data->rows[rows ? rows[*cursor] : (uint32_t)*cursor];
        if (batch->tokens + row->count > token_limit) break;
        label_tokens += append_row(feed, data, row, batch);
    }
    return label_tokens;
}
