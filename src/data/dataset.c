// The dataset handle: rows of ids and labels in one flat run of memory, and what can be asked of them.
//
// How a file gets here: sources.c finds the files that a name means; load.c opens them; encoding.c makes UTF-8 of them;
// rows_*.c read the formats; shapes.c turns a row into a conversation, by its columns (columns.c); tokenise.c turns
// that into ids and labels; this file keeps them. batches.c orders and packs them for training.
#include "src/data/rows.h"

#include "lib/file.h"
#include "lib/random.h"
#include "src/core/validate.h"

#include <math.h>

#define SPLIT_STREAM 0x73706C69u // "spli"

static uint64_t fingerprint_of(const lora_dataset *dataset, uint64_t seed, const lr_row *row)
{
    size_t bytes = (size_t)row->count * sizeof(int32_t);
    seed = lr_hash64(seed, &row->count, sizeof row->count);
    seed = lr_hash64(seed, dataset->ids + row->begin, bytes);
    return lr_hash64(seed, dataset->labels + row->begin, bytes);
}

lora_status lora_dataset_create(lora_context *context, lora_dataset **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(out);
    lora_dataset *dataset = lr_alloc_zeroed(&context->allocator, 1, sizeof *dataset);
    if (!dataset) return LORA_ERROR_MEMORY;
    dataset->references = 1;
    dataset->context = lr_context_retain(context);
    dataset->largest_id = -1;
    *out = dataset;
    return LORA_OK;
}

lora_dataset *lr_dataset_retain(lora_dataset *dataset)
{
    atomic_fetch_add(&dataset->references, 1);
    return dataset;
}

void lr_dataset_release(lora_dataset *dataset)
{
    if (!dataset || atomic_fetch_sub(&dataset->references, 1) != 1) return;
    lora_context *context = dataset->context;
    const lora_allocator *allocator = &context->allocator;
    for (size_t i = 0; i < dataset->row_count; i++) {
        lr_free(allocator, dataset->rows[i].prompt);
        lr_free(allocator, dataset->rows[i].answer);
    }
    lr_free(allocator, dataset->rows);
    lr_free(allocator, dataset->ids);
    lr_free(allocator, dataset->labels);
    lr_free(allocator, dataset);
    lr_context_release(context);
}

void lora_dataset_free(lora_dataset *dataset) { lr_dataset_release(dataset); }

static lora_status reserve(lora_dataset *dataset, size_t ids)
{
    const lora_allocator *allocator = &dataset->context->allocator;
    uint64_t needed;
    if (!lr_add(dataset->id_count, ids, &needed) || needed > SIZE_MAX / sizeof(int32_t))
        return lr_fail_memory(SIZE_MAX);
    if (dataset->row_count == UINT32_MAX)
        return lr_fail(LORA_ERROR_DATA, "a dataset holds at most %u rows", UINT32_MAX);
    LR_TRY(lr_grow(allocator, (void **)&dataset->rows, &dataset->row_capacity, dataset->row_count + 1, sizeof(lr_row)));
    LR_TRY(lr_grow(allocator, (void **)&dataset->ids, &dataset->id_capacity, (size_t)needed, sizeof(int32_t)));
    return lr_grow(allocator, (void **)&dataset->labels, &dataset->label_capacity, (size_t)needed, sizeof(int32_t));
}

static lora_status copy_text(const lora_allocator *allocator, const char *text, char **out)
{
    *out = NULL;
    if (!text) return LORA_OK;
    *out = lr_duplicate(allocator, text);
    return *out ? LORA_OK : LORA_ERROR_MEMORY;
}

// Takes room for the row, then writes it: nothing can fail in between.
static void store(lora_dataset *dataset, const lr_new_row *row, char *prompt, char *answer)
{
    lr_row *kept = &dataset->rows[dataset->row_count];
    *kept = (lr_row){.begin = dataset->id_count,
                     .count = (int32_t)row->count,
                     .prompt = prompt,
                     .answer = answer,
                     .cut = row->cut,
                     .terminated = row->terminated};
    int32_t *ids = dataset->ids + kept->begin, *labels = dataset->labels + kept->begin;
    for (size_t i = 0; i < row->count; i++) {
        ids[i] = row->ids[i];
        labels[i] = row->labels ? row->labels[i] : i > 0 ? row->ids[i] : LORA_LABEL_IGNORED;
        if (i > 0 && labels[i] != LORA_LABEL_IGNORED) kept->label_count++;
        if (ids[i] > dataset->largest_id) dataset->largest_id = ids[i];
        if (labels[i] > dataset->largest_id) dataset->largest_id = labels[i];
    }
    dataset->id_count += row->count;
    dataset->row_count++;
    dataset->fingerprint = fingerprint_of(dataset, dataset->fingerprint, kept);
}

lora_status lr_dataset_append(lora_dataset *dataset, const lr_new_row *row)
{
    const lora_allocator *allocator = &dataset->context->allocator;
    if (row->count > INT32_MAX) return lr_fail(LORA_ERROR_DATA, "a row of %zu ids is too long", row->count);
    LR_TRY(reserve(dataset, row->count));
    char *prompt, *answer;
    LR_TRY(copy_text(allocator, row->prompt, &prompt));
    if (copy_text(allocator, row->answer, &answer) != LORA_OK) {
        lr_free(allocator, prompt);
        return LORA_ERROR_MEMORY;
    }
    store(dataset, row, prompt, answer);
    return LORA_OK;
}

lora_status lora_dataset_add(lora_dataset *dataset, const int32_t *ids, const int32_t *labels, size_t count)
{
    LR_CHECK_HANDLE(dataset);
    LR_CHECK_ARGUMENT(ids && count > 0, "lora_dataset_add: a row needs at least one id");
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(ids[i] >= 0, "lora_dataset_add: id %d at position %zu is negative", ids[i], i);
        LR_CHECK_ARGUMENT(!labels || labels[i] >= 0 || labels[i] == LORA_LABEL_IGNORED,
                          "lora_dataset_add: label %d at position %zu is neither an id nor %d", labels[i], i,
                          LORA_LABEL_IGNORED);
    }
    return lr_dataset_append(dataset, &(lr_new_row){.ids = ids, .labels = labels, .count = count});
}

// ---- splitting ----------------------------------------------------------------------------------------------------

// Marks `wanted` rows of `count`, each set of them equally likely (Knuth's selection sampling).
static void choose(bool *chosen, size_t count, size_t wanted, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        chosen[i] = lr_random_below(seed, SPLIT_STREAM, i, count - i) < wanted;
        if (chosen[i]) wanted--;
    }
}

// Room for the chosen rows, so that moving them can't fail.
static lora_status reserve_moved(lora_dataset *to, const lora_dataset *from, const bool *chosen)
{
    const lora_allocator *allocator = &to->context->allocator;
    size_t rows = 0, ids = 0;
    for (size_t i = 0; i < from->row_count; i++) {
        if (!chosen[i]) continue;
        rows++;
        ids += (size_t)from->rows[i].count;
    }
    LR_TRY(lr_grow(allocator, (void **)&to->rows, &to->row_capacity, rows, sizeof(lr_row)));
    LR_TRY(lr_grow(allocator, (void **)&to->ids, &to->id_capacity, ids, sizeof(int32_t)));
    return lr_grow(allocator, (void **)&to->labels, &to->label_capacity, ids, sizeof(int32_t));
}

// Puts a row of `from` at the end of `to`, which may be `from` itself on its way to being compacted.
static void move_row(lora_dataset *to, lora_dataset *from, const lr_row *row)
{
    lr_row moved = *row;
    moved.begin = to->id_count;
    memmove(to->ids + moved.begin, from->ids + row->begin, (size_t)row->count * sizeof(int32_t));
    memmove(to->labels + moved.begin, from->labels + row->begin, (size_t)row->count * sizeof(int32_t));
    for (int32_t i = 0; i < row->count; i++) {
        if (to->ids[moved.begin + (size_t)i] > to->largest_id) to->largest_id = to->ids[moved.begin + (size_t)i];
        if (to->labels[moved.begin + (size_t)i] > to->largest_id) to->largest_id = to->labels[moved.begin + (size_t)i];
    }
    to->id_count += (size_t)row->count;
    to->rows[to->row_count++] = moved;
    to->fingerprint = fingerprint_of(to, to->fingerprint, &moved);
}

static void move_chosen(lora_dataset *from, lora_dataset *to, const bool *chosen)
{
    size_t count = from->row_count;
    from->row_count = from->id_count = 0;
    from->largest_id = -1;
    from->fingerprint = 0;
    for (size_t i = 0; i < count; i++) {
        lr_row row = from->rows[i];
        move_row(chosen[i] ? to : from, from, &row);
    }
}

lora_status lora_dataset_split(lora_dataset *dataset, double fraction, uint64_t seed, lora_dataset **out)
{
    LR_CHECK_HANDLE(dataset);
    LR_CHECK_HANDLE(out);
    LR_CHECK_ARGUMENT(fraction > 0 && fraction < 1, "lora_dataset_split: fraction is %g, not between 0 and 1",
                      fraction);
    size_t count = dataset->row_count, wanted = (size_t)llround(fraction * (double)count);
    if (wanted == 0 || wanted >= count)
        return lr_fail(LORA_ERROR_DATA, "%g of %zu rows leaves one part empty: give more rows or another fraction",
                       fraction, count);
    const lora_allocator *allocator = &dataset->context->allocator;
    lora_dataset *split = NULL;
    bool *chosen = lr_alloc_zeroed(allocator, count, sizeof *chosen);
    if (!chosen) return LORA_ERROR_MEMORY;
    lora_status status = lora_dataset_create(dataset->context, &split);
    if (status == LORA_OK) {
        choose(chosen, count, wanted, seed);
        status = reserve_moved(split, dataset, chosen);
    }
    if (status == LORA_OK) {
        move_chosen(dataset, split, chosen);
        *out = split;
    } else {
        lr_dataset_release(split);
    }
    lr_free(allocator, chosen);
    return status;
}

// ---- asking -------------------------------------------------------------------------------------------------------

lora_status lora_dataset_get_info(const lora_dataset *dataset, lora_dataset_info *info)
{
    LR_CHECK_HANDLE(dataset);
    lora_dataset_info all = {.rows = (int64_t)dataset->row_count, .tokens = (int64_t)dataset->id_count,
                             .skipped_rows = dataset->skipped_rows};
    for (size_t i = 0; i < dataset->row_count; i++) {
        const lr_row *row = &dataset->rows[i];
        all.label_tokens += row->label_count;
        all.cut_rows += row->cut;
        all.terminated_rows += row->terminated;
        all.response_rows += row->answer != NULL;
        if (row->count > all.longest_row) all.longest_row = row->count;
    }
    return lr_give_info(info, &all, sizeof all, __func__);
}

lora_status lora_dataset_row(const lora_dataset *dataset, size_t index, const int32_t **ids, const int32_t **labels,
                             size_t *count)
{
    LR_CHECK_HANDLE(dataset);
    LR_CHECK_ARGUMENT(index < dataset->row_count, "lora_dataset_row: row %zu of %zu", index, dataset->row_count);
    const lr_row *row = &dataset->rows[index];
    if (ids) *ids = dataset->ids + row->begin;
    if (labels) *labels = dataset->labels + row->begin;
    if (count) *count = (size_t)row->count;
    return LORA_OK;
}

lora_status lora_dataset_row_text(const lora_dataset *dataset, size_t index, const char **prompt, const char **answer)
{
    LR_CHECK_HANDLE(dataset);
    LR_CHECK_ARGUMENT(index < dataset->row_count, "lora_dataset_row_text: row %zu of %zu", index, dataset->row_count);
    if (prompt) *prompt = dataset->rows[index].prompt;
    if (answer) *answer = dataset->rows[index].answer;
    return LORA_OK;
}
