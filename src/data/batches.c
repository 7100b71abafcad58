// The order of rows in an epoch, and their packing into micro-batches.
#include "src/data/dataset.h"

#include "lib/random.h"

#include <stdlib.h>

#define ORDER_STREAM 0x6F726465u // "orde"
#define WINDOW 1024              // rows that are packed together

// Fisher and Yates' shuffle. Each epoch draws from its own range of the stream.
void lr_dataset_order(const lora_dataset *dataset, bool shuffle, uint64_t seed, int64_t epoch, uint32_t *order)
{
    for (size_t i = 0; i < dataset->row_count; i++) order[i] = (uint32_t)i;
    if (!shuffle) return;
    for (size_t i = dataset->row_count; i > 1; i--) {
        size_t other = (size_t)lr_random_below(seed, ORDER_STREAM, ((uint64_t)epoch << 32) + i, i);
        uint32_t row = order[i - 1];
        order[i - 1] = order[other];
        order[other] = row;
    }
}

static void plain_batches(lr_batch_plan *plan, size_t rows, size_t batch_size)
{
    for (size_t begin = 0; begin < rows; begin += batch_size) plan->batch_begin[plan->batch_count++] = (uint32_t)begin;
    plan->batch_begin[plan->batch_count] = (uint32_t)rows;
}

// A row of a window on its way into a bin.
typedef struct item {
    int32_t length;
    uint32_t position; // in the window
    uint32_t row;
    uint32_t bin;
} item;

static int longest_first(const void *a, const void *b)
{
    const item *left = a, *right = b;
    if (left->length != right->length) return left->length > right->length ? -1 : 1;
    return left->position < right->position ? -1 : 1;
}

static int by_position(const void *a, const void *b)
{
    const item *left = a, *right = b;
    return left->position < right->position ? -1 : 1;
}

typedef struct packing_window {
    item items[WINDOW];
    int64_t room[WINDOW];    // tokens left in each bin
    uint32_t rank[WINDOW];   // of each bin, by its first row
    uint32_t filled[WINDOW]; // of each rank: its rows, then where the next one goes
} packing_window;

// Best fit decreasing: each row, the longest first, goes where the least room stays. Returns the number of bins.
static size_t fill_bins(packing_window *window, size_t count, int64_t capacity)
{
    size_t bins = 0;
    qsort(window->items, count, sizeof *window->items, longest_first);
    for (size_t i = 0; i < count; i++) {
        size_t best = bins;
        for (size_t bin = 0; bin < bins; bin++)
            if (window->room[bin] >= window->items[i].length &&
                (best == bins || window->room[bin] < window->room[best]))
                best = bin;
        if (best == bins) window->room[bins++] = capacity;
        window->room[best] -= window->items[i].length;
        window->items[i].bin = (uint32_t)best;
    }
    return bins;
}

// Writes the bins in the order of their first rows, and each bin's rows in theirs.
static void emit_bins(packing_window *window, size_t count, size_t bins, uint32_t begin, lr_batch_plan *plan)
{
    uint32_t next = 0;
    qsort(window->items, count, sizeof *window->items, by_position);
    for (size_t bin = 0; bin < bins; bin++) window->rank[bin] = UINT32_MAX, window->filled[bin] = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t *rank = &window->rank[window->items[i].bin];
        if (*rank == UINT32_MAX) *rank = next++;
        window->filled[*rank]++;
    }
    for (uint32_t bin = 0, at = begin; bin < bins; bin++) {
        plan->batch_begin[plan->batch_count++] = at;
        uint32_t rows = window->filled[bin];
        window->filled[bin] = at;
        at += rows;
    }
    for (size_t i = 0; i < count; i++)
        plan->rows[window->filled[window->rank[window->items[i].bin]]++] = window->items[i].row;
}

static void packed_batches(const lora_dataset *dataset, int64_t capacity, const uint32_t *order, packing_window *window,
                           lr_batch_plan *plan)
{
    for (size_t begin = 0; begin < dataset->row_count; begin += WINDOW) {
        size_t count = dataset->row_count - begin < WINDOW ? dataset->row_count - begin : WINDOW;
        for (size_t i = 0; i < count; i++) {
            uint32_t row = order[begin + i];
            window->items[i] = (item){.length = dataset->rows[row].count, .position = (uint32_t)i, .row = row};
        }
        emit_bins(window, count, fill_bins(window, count, capacity), (uint32_t)begin, plan);
    }
    plan->batch_begin[plan->batch_count] = (uint32_t)dataset->row_count;
}

static lora_status check_fits(const lora_dataset *dataset, int64_t capacity)
{
    for (size_t i = 0; i < dataset->row_count; i++)
        if (dataset->rows[i].count > capacity)
            return lr_fail(LORA_ERROR_ARGUMENT, "row %zu has %d ids, but a packed batch holds %lld: raise pack_length",
                           i, dataset->rows[i].count, (long long)capacity);
    return LORA_OK;
}

lora_status lr_batch_plan_create(const lora_dataset *dataset, bool shuffle, uint64_t seed, int64_t epoch,
                                 int32_t batch_size, bool packing, int64_t capacity, lr_batch_plan *out)
{
    const lora_allocator *allocator = &dataset->context->allocator;
    lr_batch_plan plan = {0};
    if (packing) LR_TRY(check_fits(dataset, capacity));
    plan.rows = lr_alloc_array(allocator, dataset->row_count, sizeof *plan.rows);
    plan.batch_begin = lr_alloc_array(allocator, dataset->row_count + 1, sizeof *plan.batch_begin);
    uint32_t *order = packing ? lr_alloc_array(allocator, dataset->row_count, sizeof *order) : NULL;
    packing_window *scratch = packing ? lr_alloc(allocator, sizeof *scratch) : NULL;
    bool complete = plan.rows && plan.batch_begin && (!packing || (order && scratch));
    if (complete && packing) {
        lr_dataset_order(dataset, shuffle, seed, epoch, order);
        packed_batches(dataset, capacity, order, scratch, &plan);
    } else if (complete) {
        lr_dataset_order(dataset, shuffle, seed, epoch, plan.rows);
        plain_batches(&plan, dataset->row_count, (size_t)batch_size);
    }
    lr_free(allocator, scratch);
    lr_free(allocator, order);
    if (!complete) {
        lr_batch_plan_free(allocator, &plan);
        return LORA_ERROR_MEMORY;
    }
    *out = plan;
    return LORA_OK;
}

void lr_batch_plan_free(const lora_allocator *allocator, lr_batch_plan *plan)
{
    lr_free(allocator, plan->rows);
    lr_free(allocator, plan->batch_begin);
    *plan = (lr_batch_plan){0};
}
