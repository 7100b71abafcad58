// Rows of token ids with labels, in one flat run of memory.
#ifndef LR_DATASET_H
#define LR_DATASET_H

#include "src/core/context.h"

#include <lora/dataset.h>

typedef struct lr_row {
    uint64_t begin; // into ids and labels
    int32_t count;
    int32_t label_count; // of labels[1..]: what the loss will see
    char *prompt;        // or NULL
    char *answer;
    bool cut, terminated;
} lr_row;

struct lora_dataset {
    atomic_int references;
    lora_context *context;
    lr_row *rows;
    size_t row_count, row_capacity;
    int32_t *ids, *labels; // labels aligned with ids, not shifted
    size_t id_count, id_capacity;
    size_t label_capacity;
    int32_t largest_id;
    int64_t skipped_rows;
    uint64_t fingerprint; // of all ids and labels, for resuming
};

lora_dataset *lr_dataset_retain(lora_dataset *dataset);
void lr_dataset_release(lora_dataset *dataset);

// The order of rows in an epoch: a permutation from seed and epoch, or 0..n-1.
void lr_dataset_order(const lora_dataset *dataset, bool shuffle, uint64_t seed, int64_t epoch, uint32_t *order);

// Micro-batches of an epoch: runs of rows. Without packing: batch_size rows each. With packing: best-fit-decreasing of
// rows into bins of `capacity` tokens, over windows of the shuffled order, bins in order of their first row.
typedef struct lr_batch_plan {
    uint32_t *rows;       // row indices, bin after bin
    uint32_t *batch_begin; // [batch_count + 1]
    size_t batch_count;
} lr_batch_plan;
lora_status lr_batch_plan_create(const lora_dataset *dataset, bool shuffle, uint64_t seed, int64_t epoch,
                                 int32_t batch_size, bool packing, int64_t capacity, lr_batch_plan *out);
void lr_batch_plan_free(const lora_allocator *allocator, lr_batch_plan *plan);

#endif
