// A job is open while pieces are left. A sleeping thread that wakes too late finds it closed and is not waited for,
// so a short job costs no wake-up latency; threads spin for a moment before they sleep, since ops follow one another
// closely.
#include "thread_pool.h"

#include "memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SPINS 2000 // some tens of microseconds

// `state` is generation << 32 | workers inside the job << 1 | open.
#define OPEN UINT64_C(1)
#define ONE_INSIDE UINT64_C(2)
#define INSIDE UINT64_C(0xFFFFFFFE)
#define ONE_GENERATION (UINT64_C(1) << 32)

struct lr_thread_pool {
    lora_allocator allocator;
    int32_t threads; // the caller of run included
    int32_t started;
    pthread_t *handles;

    // The job: written while it is closed and nobody is inside.
    void (*task)(int64_t index, void *argument);
    void *argument;
    int64_t count;
    _Alignas(64) atomic_int_fast64_t next;
    _Alignas(64) atomic_uint_fast64_t state;

    _Alignas(64) pthread_mutex_t lock;
    pthread_cond_t opened;
    pthread_cond_t left;
    atomic_int sleepers; // workers that wait for `opened`, or are about to
    atomic_bool caller_sleeps;
    atomic_bool ending;
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void work(lr_thread_pool *pool)
{
    for (;;) {
        int64_t index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (index >= pool->count) return;
        pool->task(index, pool->argument);
    }
}

// A job other than the one of generation `seen` is open, or the pool ends.
static bool wanted(lr_thread_pool *pool, uint64_t seen)
{
    uint64_t state = atomic_load(&pool->state);
    return ((state & OPEN) && state / ONE_GENERATION != seen) || atomic_load(&pool->ending);
}

static void wait_for_job(lr_thread_pool *pool, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (wanted(pool, seen)) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!wanted(pool, seen)) pthread_cond_wait(&pool->opened, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void leave(lr_thread_pool *pool)
{
    uint64_t state = atomic_fetch_sub(&pool->state, ONE_INSIDE) - ONE_INSIDE;
    if ((state & (INSIDE | OPEN)) || !atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->left);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker(void *argument)
{
    lr_thread_pool *pool = argument;
    uint64_t seen = 0;
    for (;;) {
        wait_for_job(pool, seen);
        if (atomic_load(&pool->ending)) return NULL;
        uint64_t state = atomic_load(&pool->state);
        while ((state & OPEN) && !atomic_compare_exchange_weak(&pool->state, &state, state + ONE_INSIDE)) {
        }
        if (!(state & OPEN)) continue;
        seen = state / ONE_GENERATION;
        work(pool);
        leave(pool);
    }
}

static void close_job(lr_thread_pool *pool)
{
    atomic_fetch_sub(&pool->state, OPEN);
    for (int i = 0; i < SPINS; i++) {
        if (!(atomic_load(&pool->state) & INSIDE)) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->state) & INSIDE) pthread_cond_wait(&pool->left, &pool->lock);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

void lr_thread_pool_run(lr_thread_pool *pool, int64_t count, void (*task)(int64_t index, void *argument),
                        void *argument)
{
    if (pool->threads == 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) task(i, argument);
        return;
    }
    pool->task = task;
    pool->argument = argument;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_fetch_add(&pool->state, ONE_GENERATION + OPEN);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->opened);
        pthread_mutex_unlock(&pool->lock);
    }
    work(pool);
    close_job(pool);
}

// The host's signals are not for these threads.
static lora_status start_workers(lr_thread_pool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = 0;
    while (pool->started < pool->threads - 1 && !failure) {
        failure = pthread_create(&pool->handles[pool->started], NULL, worker, pool);
        if (!failure) pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure) {
        return lr_fail(LORA_ERROR_MEMORY, "the system started only %d of %d threads (error %d): ask for fewer threads",
                       pool->started + 1, pool->threads, failure);
    }
    return LORA_OK;
}

lora_status lr_thread_pool_create(const lora_allocator *allocator, int32_t threads, lr_thread_pool **out)
{
    if (threads < 1) threads = 1;
    lr_thread_pool *pool = lr_alloc_aligned(allocator, sizeof *pool);
    if (!pool) return LORA_ERROR_MEMORY;
    *pool = (lr_thread_pool){.allocator = *allocator, .threads = threads};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->opened, NULL);
    pthread_cond_init(&pool->left, NULL);
    lora_status status = LORA_OK;
    if (threads > 1) {
        pool->handles = lr_alloc_array(allocator, (size_t)threads - 1, sizeof *pool->handles);
        status = pool->handles ? start_workers(pool) : LORA_ERROR_MEMORY;
    }
    if (status != LORA_OK) {
        lr_thread_pool_free(pool);
        return status;
    }
    *out = pool;
    return LORA_OK;
}

void lr_thread_pool_free(lr_thread_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->ending, true);
    pthread_cond_broadcast(&pool->opened);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->handles[i], NULL);
    pthread_cond_destroy(&pool->left);
    pthread_cond_destroy(&pool->opened);
    pthread_mutex_destroy(&pool->lock);
    lora_allocator allocator = pool->allocator;
    lr_free(&allocator, pool->handles);
    lr_free_aligned(&allocator, pool);
}

int32_t lr_thread_pool_threads(const lr_thread_pool *pool)
{
    return pool->threads;
}
