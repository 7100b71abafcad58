// Proposals by prompt lookup: what followed the last few tokens where they stood before (Saxena 2023).
#include "session.h"

#include <string.h>

#define LONGEST_MATCH 3
#define SHORTEST_MATCH 2

// Where the last `n` tokens stood before, latest first: the place after them, or -1.
static int64_t find_before(const int32_t *history, int64_t length, int64_t n)
{
    const int32_t *last = history + length - n;
    for (int64_t at = length - n - 1; at >= 0; at--)
        if (memcmp(history + at, last, (size_t)n * sizeof *last) == 0) return at + n;
    return -1;
}

int64_t lr_session_propose(lora_session *session)
{
    int64_t most = session->lookahead, length = session->length, from = -1;
    if (session->generated_tokens == 0) return 0;
    if (most > session->max_new_tokens - session->generated_tokens - 1)
        most = session->max_new_tokens - session->generated_tokens - 1;
    if (most > session->cache->capacity - length) most = session->cache->capacity - length;
    if (most <= 0) return 0;
    for (int64_t n = LONGEST_MATCH; n >= SHORTEST_MATCH && from < 0 && n < length; n--)
        from = find_before(session->history, length, n);
    if (from < 0) return 0;
    for (int64_t i = 0; i < most; i++)
        session->history[length + i] = session->history[from + i]; // may go on into itself
    return most;
}
