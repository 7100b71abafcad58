#include "outbox.h"

#include <stdlib.h>
#include <string.h>

void outbox_add(outbox *box, const char *text, size_t length)
{
    if (box->length + length > box->capacity) {
        size_t capacity = (box->length + length) * 2 + 256;
        char *grown = realloc(box->text, capacity);
        if (!grown) {
            box->failed = true;
            return;
        }
        box->text = grown;
        box->capacity = capacity;
    }
    memcpy(box->text + box->length, text, length);
    box->length += length;
}

void outbox_event(outbox *box, const char *name, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(data);
    if (!text) {
        box->failed = true;
        return;
    }
    if (name) {
        outbox_add(box, "event: ", 7);
        outbox_add(box, name, strlen(name));
        outbox_add(box, "\n", 1);
    }
    outbox_add(box, "data: ", 6);
    outbox_add(box, text, strlen(text));
    outbox_add(box, "\n\n", 2);
    free(text);
}

size_t outbox_waiting(const outbox *box)
{
    return box->length - box->sent;
}

size_t outbox_take(outbox *box, char *buffer, size_t capacity)
{
    size_t length = outbox_waiting(box) < capacity ? outbox_waiting(box) : capacity;
    if (length) memcpy(buffer, box->text + box->sent, length);
    box->sent += length;
    if (box->sent == box->length) box->sent = box->length = 0;
    return length;
}

void outbox_free(outbox *box)
{
    free(box->text);
}
