// Which rows a step sees, in which order, as batches for a pass.
#ifndef LR_FEED_H
#define LR_FEED_H

#include "src/data/dataset.h"
#include "src/model/pass.h"

#include <lora/trainer.h>

// batch_size, then halved down to 1: as many as a 31-bit number can be halved.
#define LR_FEED_SPLITS 32

typedef struct lr_feed {
    const lora_allocator *allocator;
    const lora_dataset *data;
    bool shuffle, packing;
    uint64_t seed;
    int32_t batch_size;
    int64_t pack_length; // with packing a micro-batch holds batch_size * pack_length tokens
    int32_t micro_rows;  // what is run at once: so many rows of a batch, with packing so many times pack_length tokens
    int64_t epoch;       // of `plan`; -1: none yet
    lr_batch_plan plan;
    int64_t max_tokens, max_spans; // of one batch
    int32_t *ids, *labels;
    lr_span *spans;
} lr_feed;

// What a run over the data comes to, before it starts.
typedef struct lr_feed_measure {
    int64_t total_steps;
    size_t splits; // ways to run a batch: rows at once, from batch_size down to 1
    int32_t micro_rows[LR_FEED_SPLITS];
    int64_t max_tokens[LR_FEED_SPLITS], max_spans[LR_FEED_SPLITS];
} lr_feed_measure;

// Ways to split a batch: batch_size, and halved again and again down to 1. Returns how many.
size_t lr_feed_splits(int32_t batch_size, int32_t micro_rows[LR_FEED_SPLITS]);

void lr_feed_init(lr_feed *feed, const lora_dataset *data, const lora_trainer_options *options);
lora_status lr_feed_measure_run(const lr_feed *feed, const lora_trainer_options *options, lr_feed_measure *out);
// Memory for batches of at most so much.
lora_status lr_feed_reserve(lr_feed *feed, int32_t micro_rows, int64_t max_tokens, int64_t max_spans);
void lr_feed_free(lr_feed *feed);

// Makes `plan` that of `epoch`. On failure the old one stays.
lora_status lr_feed_begin_epoch(lr_feed *feed, int64_t epoch);

// The next rows to run at once out of rows [*cursor, end) of a run of row indices: fills ids, labels and spans, moves
// the cursor. `row_limit` 0: only max_tokens and max_spans limit the batch. Returns the label tokens in it.
int64_t lr_feed_next(lr_feed *feed, const lora_dataset *data, const uint32_t *rows, int64_t *cursor, int64_t end,
                     int64_t row_limit, int64_t token_limit, lr_batch *batch);

#endif
