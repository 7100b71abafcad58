#include "src/train/trainer.h"

#include <math.h>

lora_status lr_history_create(const lora_allocator *allocator, lr_history *out)
{
    *out = (lr_history){.entries = lr_alloc_array(allocator, LR_HISTORY_CAPACITY, sizeof *out->entries), .stride = 1};
    return out->entries ? LORA_OK : LORA_ERROR_MEMORY;
}

// Doubles the stride. Evaluations stay, unless they alone fill the log.
static void thin(lr_history *history)
{
    history->stride *= 2;
    size_t kept = 0;
    for (size_t i = 0; i < history->count; i++) {
        const lr_history_entry *entry = &history->entries[i];
        if (entry->step % history->stride == 0 || !isnan(entry->eval_loss)) history->entries[kept++] = *entry;
    }
    history->count = kept;
    if (kept < LR_HISTORY_CAPACITY) return;
    for (kept = 0; 2 * kept + 1 < history->count; kept++) history->entries[kept] = history->entries[2 * kept + 1];
    history->count = kept;
}

void lr_history_add(lr_history *history, const lr_history_entry *entry)
{
    if (entry->step % history->stride != 0 && isnan(entry->eval_loss)) return;
    if (history->count == LR_HISTORY_CAPACITY) thin(history);
    history->entries[history->count++] = *entry;
}
