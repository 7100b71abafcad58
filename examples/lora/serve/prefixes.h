// Conversations that were answered, kept as sessions: a request that begins with the same tokens under the same
// adapters goes on from there. Bounded in bytes and number; the one that was not used for longest goes first. For one
// thread.
#ifndef SERVE_PREFIXES_H
#define SERVE_PREFIXES_H

#include <lora/lora.h>
#include <stdbool.h>

typedef struct prefixes prefixes;

typedef struct prefix_key {
    const lora_adapter_use *uses;
    size_t use_count;
    const int32_t *ids;
    size_t count;
} prefix_key;

prefixes *prefixes_create(uint64_t most_bytes); // NULL: out of memory
void prefixes_free(prefixes *p);

// A session for the key's tokens but the last, of which *known are there already; NULL and LORA_OK: nothing begins
// alike.
lora_status prefixes_fork(prefixes *p, const prefix_key *key, const lora_session_options *options, lora_session **out,
                          size_t *known);
// Keeps what `session` knows of the key's tokens; those that it continues are not needed any more.
void prefixes_keep(prefixes *p, const prefix_key *key, const lora_session *session);
// Lets go until at most `bytes` are held.
void prefixes_shrink(prefixes *p, uint64_t bytes);

#endif
