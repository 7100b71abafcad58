// The CPU device: threads, kernels chosen for this processor, workspaces. Ops of one device run one at a time (a lock),
// each on all threads, so any number of host threads may call.
#ifndef LR_CPU_H
#define LR_CPU_H

#include "cpu/openblas.h"
#include "lib/memory.h"
#include "lib/thread_pool.h"

#include <lora/backend.h>
#include <pthread.h>
#include <stdbool.h>

struct lora_buffer {
    uint8_t *bytes;
    uint64_t size;
    bool owned;
};

typedef struct lr_kernels lr_kernels; // cpu/kernels.h

struct lora_device {
    lora_allocator allocator;
    lora_backend_host host;
    lr_thread_pool *pool; // NULL: the host's parallel-for, or one thread
    int32_t threads;
    int32_t features; // LORA_CPU_ bits in use
    const lr_kernels *kernels;
    lr_openblas openblas; // only on processors without kernels of our own
    pthread_mutex_t lock; // held while an op runs
    uint8_t *workspace;   // 64-byte aligned, grown by reserve
    uint64_t workspace_size;
    char description[128];
};

// task(i, argument) for i in [0, count) on the device's threads. The op holds the lock.
void lr_cpu_parallel(lora_device *device, int64_t count, void (*task)(int64_t index, void *argument), void *argument);

// LORA_CPU_ bits of this processor and operating system.
int32_t lr_cpu_detect_features(void);

// The backend table (cpu/backend.c).
const lora_backend *lr_cpu_backend(void);

static inline void *lr_view_at(const lora_view *view, int64_t row) // plain types
{
    static const uint8_t size[] = {4, 2, 2, 4, 1};
    return view->buffer->bytes + view->offset + (uint64_t)(row * view->stride) * size[view->type];
}

#endif
