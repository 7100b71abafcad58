// What forward and backward of attention share: blocks of queries and keys, and which keys a query sees.
#ifndef LR_ATTENTION_H
#define LR_ATTENTION_H

#include "cpu/product.h"

#define LR_QUERY_BLOCK 64
#define LR_KEY_BLOCK 64
#define LR_HEAD_DIM 512 // at most
_Static_assert(LORA_PAGE_KEYS % LR_KEY_BLOCK == 0, "a block of keys lies in one page");

// Where a segment's keys or values from `*key` up to the end of its block are; *key becomes their row there.
static inline lora_view lr_key_page(const lora_segment *segment, const lora_view *view, int64_t *key)
{
    lora_view page = *view;
    if (!segment->pages) return page;
    page.buffer = segment->pages[*key / LORA_PAGE_KEYS];
    *key %= LORA_PAGE_KEYS;
    return page;
}

// Rows of one head from `row` and `column` on.
static inline lr_operand lr_head_operand(const lora_view *view, int64_t row, int64_t column, bool transposed)
{
    lr_operand operand = lr_operand_of(view, row, transposed);
    operand.data = (const uint8_t *)operand.data + lr_row_bytes(operand.type, column);
    return operand;
}

// The keys that query `i` of a segment sees: [0, prefix) and [begin, end).
typedef struct lr_visible {
    int64_t prefix, begin, end;
} lr_visible;

static inline lr_visible lr_visible_keys(const lora_attention *attention, const lora_segment *segment, int64_t i)
{
    const int64_t at = segment->key_count - segment->query_count + i;
    lr_visible keys = {lr_smaller(segment->prefix, segment->key_count), 0, at + 1};
    if (attention->window > 0) keys.begin = lr_larger(0, at - attention->window + 1);
    return keys;
}

// Whether some query of [first, last] sees some key of [begin, end); the queries' windows move on with them.
static inline bool lr_block_visible(const lora_attention *attention, const lora_segment *segment, int64_t first,
                                    int64_t last, int64_t begin, int64_t end)
{
    const lr_visible low = lr_visible_keys(attention, segment, first), high = lr_visible_keys(attention, segment, last);
    return begin < low.prefix || (begin < high.end && end > low.begin);
}

// Prepares scores q . k of keys [begin, begin + count): capped if there is a cap, and -inf where the query does not see
// the key. Returns the factor that is still to be applied.
float lr_attention_scores(const lora_device *device, const lora_attention *attention, lr_visible keys, int64_t begin,
                          int64_t count, float *scores);

// Each query of a segment against a long run of keys: the pieces are key heads times stretches of keys. The op holds
// the lock.
void lr_attention_decode_many(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                              const lora_attention *attention); // all segments of one query
void lr_attention_decode(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                         const lora_attention *attention, const lora_segment *segment);
// Where its partial results lie, behind the lanes' rooms.
#define LR_DECODE_BYTES (256 << 10)
uint64_t lr_attention_rooms(int32_t threads);

lora_status lr_attention_check(const lora_device *device, const lora_attention *attention);

#endif
