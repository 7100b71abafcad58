// A fixed set of threads that run the pieces of one job at a time. Which thread runs which piece does not matter to the
// result: work is cut by piece number, never by thread.
#ifndef LR_THREAD_POOL_H
#define LR_THREAD_POOL_H

#include <lora/context.h>

typedef struct lr_thread_pool lr_thread_pool;

// Starts threads - 1 threads: the caller of `run` works too.
lora_status lr_thread_pool_create(const lora_allocator *allocator, int32_t threads, lr_thread_pool **out);
void lr_thread_pool_free(lr_thread_pool *pool); // joins them; NULL is accepted
int32_t lr_thread_pool_threads(const lr_thread_pool *pool);

// task(i, argument) for every i in [0, count); returns when all are done. One job at a time: the owner serialises
// calls.
void lr_thread_pool_run(lr_thread_pool *pool, int64_t count, void (*task)(int64_t index, void *argument),
                        void *argument);

#endif
