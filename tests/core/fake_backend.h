// A backend of nothing but memory: enough for what the core does itself.
#ifndef TEST_FAKE_BACKEND_H
#define TEST_FAKE_BACKEND_H

#include <lora/backend.h>

extern lora_backend fake_backend;

// What happened to it so far, in this process.
typedef struct fake_record {
    int opened, closed;
    int live_buffers;
    int synchronized;
    lora_backend_host host; // as it was opened with
} fake_record;
extern fake_record fake;

#endif
