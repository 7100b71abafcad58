// General data among a user's rows, against forgetting.
#include "src/data/rows.h"

#include "lib/random.h"
#include "src/core/validate.h"

#include <math.h>

#define MIX_STREAM 0x6D697820u // "mix "

static lora_status copy_row(lora_dataset *to, const lora_dataset *from, const lr_row *row)
{
    return lr_dataset_append(to, &(lr_new_row){.ids = from->ids + row->begin,
                                               .labels = from->labels + row->begin,
                                               .count = (size_t)row->count,
                                               .prompt = row->prompt,
                                               .answer = row->answer,
                                               .cut = row->cut,
                                               .terminated = row->terminated});
}

// `wanted` rows of `general`, each set of them equally likely (Knuth's selection sampling).
static lora_status add_rows(lora_dataset *dataset, const lora_dataset *general, size_t part, size_t wanted,
                            uint64_t seed)
{
    size_t count = general->row_count;
    for (size_t i = 0; i < count; i++) {
        if (lr_random_below(seed, MIX_STREAM, ((uint64_t)part << 32) + i, count - i) >= wanted) continue;
        LR_TRY(copy_row(dataset, general, &general->rows[i]));
        wanted--;
    }
    return LORA_OK;
}

// Takes the rows from `count` on off again.
static void cut_back(lora_dataset *dataset, size_t count, size_t ids, int32_t largest, uint64_t fingerprint)
{
    const lora_allocator *allocator = &dataset->context->allocator;
    while (dataset->row_count > count) {
        lr_row *row = &dataset->rows[--dataset->row_count];
        lr_free(allocator, row->prompt);
        lr_free(allocator, row->answer);
    }
    dataset->id_count = ids;
    dataset->largest_id = largest;
    dataset->fingerprint = fingerprint;
}

static lora_status check_parts(const lora_dataset *dataset, const lora_mix *parts, size_t count, double *sum)
{
    *sum = 0;
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(parts[i].general && parts[i].general != dataset,
                          "lora_dataset_mix: part %zu has no data of its own", i);
        LR_CHECK_ARGUMENT(parts[i].fraction >= 0 && parts[i].fraction < 1,
                          "lora_dataset_mix: part %zu has fraction %g, not from 0 to below 1", i, parts[i].fraction);
        *sum += parts[i].fraction;
    }
    LR_CHECK_ARGUMENT(*sum < 1,
                      "lora_dataset_mix: the fractions come to %g: they must leave room for the data itself", *sum);
    return LORA_OK;
}

lora_status lora_dataset_mix(lora_dataset *dataset, const lora_mix *parts, size_t count, uint64_t seed, int64_t *added)
{
    LR_CHECK_HANDLE(dataset);
    LR_CHECK_ARGUMENT(parts || count == 0, "lora_dataset_mix: parts is NULL");
    double sum;
    LR_TRY(check_parts(dataset, parts, count, &sum));
    size_t rows = dataset->row_count, ids = dataset->id_count;
    int32_t largest = dataset->largest_id;
    uint64_t fingerprint = dataset->fingerprint;
    lora_status status = LORA_OK;
    for (size_t i = 0; i < count && status == LORA_OK; i++) {
        double wanted = round(parts[i].fraction / (1 - sum) * (double)rows);
        size_t there = parts[i].general->row_count;
        status = add_rows(dataset, parts[i].general, i, wanted < (double)there ? (size_t)wanted : there, seed);
    }
    if (status != LORA_OK) cut_back(dataset, rows, ids, largest, fingerprint);
    if (status == LORA_OK && added) *added = (int64_t)(dataset->row_count - rows);
    return status;
}
