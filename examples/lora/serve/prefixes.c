#include "prefixes.h"

#include <stdlib.h>
#include <string.h>

#define MOST_KEPT 32
#define LEAST_TOKENS 16 // fewer are not worth a fork

typedef struct kept {
    lora_session *session;
    lora_adapter_use *uses; // the session holds their adapters
    size_t use_count;
    int32_t *ids;
    size_t count;
    uint64_t bytes, last_used;
} kept;

struct prefixes {
    kept list[MOST_KEPT];
    size_t count;
    uint64_t bytes, most_bytes, clock;
};

static void drop(prefixes *p, size_t index)
{
    kept *k = &p->list[index];
    p->bytes -= k->bytes;
    lora_session_free(k->session);
    free(k->uses);
    free(k->ids);
    *k = p->list[--p->count];
}

static void drop_oldest(prefixes *p)
{
    size_t oldest = 0;
    for (size_t i = 1; i < p->count; i++)
        if (p->list[i].last_used < p->list[oldest].last_used) oldest = i;
    drop(p, oldest);
}

prefixes *prefixes_create(uint64_t most_bytes)
{
    prefixes *p = calloc(1, sizeof *p);
    if (p) p->most_bytes = most_bytes;
    return p;
}

void prefixes_shrink(prefixes *p, uint64_t bytes)
{
    while (p->count > 0 && p->bytes > bytes) drop_oldest(p);
}

void prefixes_free(prefixes *p)
{
    if (!p) return;
    prefixes_shrink(p, 0);
    free(p);
}

static bool same_adapters(const kept *k, const prefix_key *key)
{
    if (k->use_count != key->use_count) return false;
    for (size_t i = 0; i < key->use_count; i++)
        if (k->uses[i].adapter != key->uses[i].adapter || k->uses[i].weight != key->uses[i].weight) return false;
    return true;
}

// Tokens that both begin with.
static size_t in_common(const kept *k, const prefix_key *key)
{
    size_t length = 0;
    if (!same_adapters(k, key)) return 0;
    while (length < k->count && length < key->count && k->ids[length] == key->ids[length]) length++;
    return length;
}

lora_status prefixes_fork(prefixes *p, const prefix_key *key, const lora_session_options *options, lora_session **out,
                          size_t *known)
{
    kept *best = NULL;
    *out = NULL;
    *known = 0;
    for (size_t i = 0; i < p->count; i++) {
        size_t length = in_common(&p->list[i], key);
        if (length == key->count) length--; // the last one is run for what comes next
        if (length > *known) *known = length, best = &p->list[i];
    }
    if (*known < LEAST_TOKENS) {
        *known = 0;
        return LORA_OK;
    }
    best->last_used = ++p->clock;
    return lora_session_fork(best->session, (int64_t)*known, options, out);
}

static bool fill(kept *k, const prefix_key *key, const lora_session *session)
{
    lora_session_options options;
    lora_session_info info = {.struct_size = sizeof info};
    lora_session_options_init(&options);
    options.context_length = (int64_t)key->count;
    *k = (kept){.use_count = key->use_count, .count = key->count};
    k->uses = malloc((key->use_count + 1) * sizeof *k->uses);
    k->ids = malloc(key->count * sizeof *k->ids);
    if (!k->uses || !k->ids || lora_session_fork(session, (int64_t)key->count, &options, &k->session) != LORA_OK ||
        lora_session_get_info(k->session, &info) != LORA_OK)
        return false;
    if (key->use_count) memcpy(k->uses, key->uses, key->use_count * sizeof *k->uses);
    memcpy(k->ids, key->ids, key->count * sizeof *k->ids);
    k->bytes = info.kv_cache_bytes;
    return true;
}

void prefixes_keep(prefixes *p, const prefix_key *key, const lora_session *session)
{
    if (key->count < LEAST_TOKENS || lora_session_length(session) != (int64_t)key->count) return;
    for (size_t i = p->count; i-- > 0;)
        if (in_common(&p->list[i], key) == p->list[i].count) drop(p, i);
    if (p->count == MOST_KEPT) drop_oldest(p);
    kept *k = &p->list[p->count++];
    if (!fill(k, key, session)) {
        drop(p, p->count - 1);
        return;
    }
    k->last_used = ++p->clock;
    p->bytes += k->bytes;
    prefixes_shrink(p, p->most_bytes);
}
