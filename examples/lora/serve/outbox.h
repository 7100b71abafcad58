// Text that waits to be sent.
#ifndef SERVE_OUTBOX_H
#define SERVE_OUTBOX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct outbox {
    char *text;
    size_t length, sent, capacity;
    bool failed; // out of memory
} outbox;

void outbox_add(outbox *box, const char *text, size_t length);
// One server-sent event; `name` NULL: without one. Takes the reference.
void outbox_event(outbox *box, const char *name, json_t *data);
size_t outbox_waiting(const outbox *box);
// Moves at most `capacity` bytes out; returns how many.
size_t outbox_take(outbox *box, char *buffer, size_t capacity);
void outbox_free(outbox *box);

#endif
