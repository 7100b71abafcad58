// How varied texts are, and how much one repeats itself.
#include "src/eval/metric.h"

#include "src/core/validate.h"

static lora_status check(const lora_context *context, int32_t n, lr_segmenter segmenter)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_ARGUMENT(n >= 1 && n <= LR_MOST_ORDER, "n is %d; it must be 1 to %d", n, LR_MOST_ORDER);
    LR_CHECK_ARGUMENT(segmenter, "words must be one of LORA_WORDS_");
    return LORA_OK;
}

static lora_status open_grams(lr_grams *g, const char *const *texts, size_t count, lr_segmenter segmenter)
{
    lr_text_steps steps = {.segmenter = segmenter};
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(texts && texts[i], "text %zu is NULL", i);
        LR_TRY(lr_grams_add(g, texts[i], &steps));
    }
    return lr_grams_number(g);
}

// Of the texts' n-grams, how many there are and how many different ones.
static lora_status count_grams(lr_grams *g, int32_t n, int64_t *all, int64_t *different)
{
    while (g->order < n) LR_TRY(lr_grams_next(g));
    *all = 0;
    for (size_t t = 0; t < g->texts; t++) *all += (int64_t)lr_grams_in(g, t);
    *different = g->gram_count;
    return LORA_OK;
}

lora_status lora_text_distinct(lora_context *context, const char *const *texts, size_t count, int32_t n, int32_t words,
                               double *share)
{
    lr_segmenter segmenter = lr_segmenter_of(words, false);
    LR_TRY(check(context, n, segmenter));
    LR_CHECK_ARGUMENT(share, "share is NULL");
    int64_t all = 0, different = 0;
    lr_grams grams;
    lr_grams_init(&grams, &context->allocator);
    lora_status status = open_grams(&grams, texts, count, segmenter);
    if (status == LORA_OK) status = count_grams(&grams, n, &all, &different);
    lr_grams_free(&grams);
    *share = all > 0 ? (double)different / (double)all : 0;
    return status;
}

// ---- longest repeat -------------------------------------------------------------------------------------------------

#define MOST_POWERS 31

// Runs of one length, as numbers: equal runs have equal numbers.
typedef struct runs {
    int32_t *ids;
    size_t count, length;
    bool repeated; // some run stands twice
} runs;

// Runs of `a` followed by runs of `b`.
static lora_status join(const lora_allocator *allocator, const runs *a, const runs *b, size_t words, runs *out)
{
    lr_pair_map map = {0};
    int32_t different = 0;
    *out = (runs){.length = a->length + b->length};
    out->count = words >= out->length ? words - out->length + 1 : 0;
    out->ids = lr_alloc_array(allocator, out->count, sizeof *out->ids);
    if (!out->ids) return LORA_ERROR_MEMORY;
    LR_TRY(lr_pair_map_init(&map, allocator, out->count));
    for (size_t i = 0; i < out->count; i++) {
        int32_t first = a->ids[i], second = b->ids[i + a->length];
        const lr_pair_slot *slot = lr_pair_map_get(&map, first, second);
        out->ids[i] = slot ? slot->id : different++;
        if (!slot) lr_pair_map_put(&map, first, second, 0, out->ids[i]);
    }
    out->repeated = out->count > (size_t)different;
    lr_pair_map_free(&map, allocator);
    return LORA_OK;
}

// A run that stands twice holds shorter ones that do. Lengths double while that is so; then what can still be added is,
// largest power first.
static lora_status longest_repeat(const lr_grams *g, runs *powers, size_t *power_count, runs *longest)
{
    size_t words = lr_grams_words(g, 0);
    for (bool repeated = powers[0].repeated; repeated && *power_count < MOST_POWERS; ++*power_count) {
        const runs *last = &powers[*power_count - 1];
        LR_TRY(join(g->allocator, last, last, words, &powers[*power_count]));
        repeated = powers[*power_count].repeated;
    }
    *longest = (runs){.ids = powers[*power_count - 2].ids, .length = powers[*power_count - 2].length};
    for (size_t p = *power_count - 2; p > 0; p--) {
        runs longer;
        lora_status status = join(g->allocator, longest, &powers[p - 1], words, &longer);
        if (status != LORA_OK || !longer.repeated) {
            lr_free(g->allocator, longer.ids);
            LR_TRY(status);
            continue;
        }
        if (longest->ids != powers[*power_count - 2].ids) lr_free(g->allocator, longest->ids);
        *longest = longer;
    }
    return LORA_OK;
}

static lora_status find_longest_repeat(const lr_grams *g, bool repeated, int64_t *length)
{
    runs powers[MOST_POWERS + 1] = {{.ids = g->ids, .count = g->words.count, .length = 1, .repeated = repeated}},
                              longest = {0};
    size_t count = 1;
    *length = 0;
    if (!repeated) return LORA_OK;
    lora_status status = longest_repeat(g, powers, &count, &longest);
    *length = (int64_t)longest.length;
    bool borrowed = false;
    for (size_t i = 0; i < count; i++) borrowed |= longest.ids == powers[i].ids;
    if (!borrowed) lr_free(g->allocator, longest.ids);
    for (size_t i = 1; i <= count && i <= MOST_POWERS; i++) lr_free(g->allocator, powers[i].ids);
    return status;
}

static lora_status measure(lr_grams *g, int32_t n, lora_repetition *found)
{
    int64_t all, different;
    found->words = (int64_t)lr_grams_words(g, 0);
    LR_TRY(find_longest_repeat(g, found->words > g->gram_count, &found->longest));
    LR_TRY(count_grams(g, n, &all, &different));
    found->share = all > 0 ? (double)(all - different) / (double)all : 0;
    return LORA_OK;
}

lora_status lora_text_repetition(lora_context *context, const char *text, int32_t n, int32_t words,
                                 lora_repetition *repetition)
{
    lr_segmenter segmenter = lr_segmenter_of(words, false);
    LR_TRY(check(context, n, segmenter));
    lora_repetition found = {0};
    lr_grams grams;
    lr_grams_init(&grams, &context->allocator);
    lora_status status = open_grams(&grams, &text, 1, segmenter);
    if (status == LORA_OK) status = measure(&grams, n, &found);
    lr_grams_free(&grams);
    return status == LORA_OK ? lr_give_info(repetition, &found, sizeof found, __func__) : status;
}
