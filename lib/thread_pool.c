// The pieces of a job are dealt out to lanes, one a thread: a thread takes those of its own lane, in order, then what
// others have left. Each writes to its own lane's cache line, as between distant cores a line takes longer to move than
// a small piece to run. A sleeping thread that wakes too late finds nothing left and is not waited for, so a short job
// costs no wake-up latency; threads spin for a moment before they sleep, since ops follow one another closely.
#include "thread_pool.h"

#include "memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SPINS 2000 // some tens of microseconds
#define MOST_TAKEN 65535 // of a lane
#define ONE_JOB UINT64_C(65536)

typedef struct lane {
    _Alignas(64) atomic_uint_fast64_t next; // ONE_JOB * the last job that took from it + what that has taken
    atomic_int_fast64_t finished; // pieces of any lane that its thread has run, in all jobs
} lane;

struct lr_thread_pool {
    lora_allocator allocator;
    int32_t threads; // the caller of run included
    int32_t started;
    pthread_t *handles;
    lane *lanes; // [threads], the caller's first
    atomic_int joined;
    int64_t given; // pieces, in all jobs

    // Written while no piece is left; who comes too late may read it then.
    _Alignas(64) atomic_uint_fast64_t job; // its number, even; odd while the rest is written
    void (*_Atomic task)(int64_t index, void *argument);
    void *_Atomic argument;
    atomic_int_fast64_t count;

    _Alignas(64) pthread_mutex_t lock;
    pthread_cond_t opened;
    pthread_cond_t finished;
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

// The next of `size` of a lane, or -1: all are taken, or the job is over.
static int64_t take(lane *from, uint64_t job, int64_t size)
{
    uint64_t next = atomic_load(&from->next);
    for (;;) {
        const int64_t taken = next / ONE_JOB == job ? (int64_t)(next % ONE_JOB) : 0;
        if (next / ONE_JOB > job || taken >= size) return -1;
        if (atomic_compare_exchange_weak(&from->next, &next, job * ONE_JOB + (uint64_t)taken + 1)) return taken;
    }
}

static void work(lr_thread_pool *pool, int32_t thread, uint64_t job)
{
    void (*task)(int64_t index, void *argument) = atomic_load(&pool->task);
    void *argument = atomic_load(&pool->argument);
    const int64_t count = atomic_load(&pool->count), threads = pool->threads;
    if (job % 2 || atomic_load(&pool->job) != job) return; // that was of the next one; from here on all is of this job
    const int64_t run = count / (threads * MOST_TAKEN) + 1; // pieces taken at once
    for (int64_t i = 0; i < threads; i++) {
        const int64_t at = (thread + i) % threads;
        const int64_t begin = (at * count + threads - 1) / threads, end = ((at + 1) * count + threads - 1) / threads;
        int64_t finished = 0;
        for (int64_t taken; (taken = take(&pool->lanes[at], job, (end - begin + run - 1) / run)) >= 0;)
            for (int64_t k = 0; k < run && begin + taken * run + k < end; k++, finished++)
                task(begin + taken * run + k, argument);
        if (finished == 0) continue;
        atomic_fetch_add(&pool->lanes[thread].finished, finished);
        if (!atomic_load(&pool->caller_sleeps)) continue;
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->lock);
    }
}

// A job other than `seen` is there, or the pool ends.
static bool wanted(lr_thread_pool *pool, uint64_t seen)
{
    return atomic_load(&pool->job) != seen || atomic_load(&pool->ending);
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

static void *worker(void *argument)
{
    lr_thread_pool *pool = argument;
    const int32_t thread = atomic_fetch_add(&pool->joined, 1) + 1;
    uint64_t seen = 0;
    for (;;) {
        wait_for_job(pool, seen);
        if (atomic_load(&pool->ending)) return NULL;
        seen = atomic_load(&pool->job);
        work(pool, thread, seen);
    }
}

static bool all_finished(const lr_thread_pool *pool)
{
    int64_t finished = 0;
    for (int32_t i = 0; i < pool->threads; i++) finished += atomic_load(&pool->lanes[i].finished);
    return finished == pool->given;
}

static void wait_until_finished(lr_thread_pool *pool)
{
    for (int i = 0; i < SPINS; i++) {
        if (all_finished(pool)) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, true);
    while (!all_finished(pool)) pthread_cond_wait(&pool->finished, &pool->lock);
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
    const uint64_t job = atomic_load(&pool->job) + 2;
    pool->given += count;
    atomic_store_explicit(&pool->job, job - 1, memory_order_release);
    atomic_store_explicit(&pool->task, task, memory_order_release);
    atomic_store_explicit(&pool->argument, argument, memory_order_release);
    atomic_store_explicit(&pool->count, count, memory_order_release);
    atomic_store(&pool->job, job);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->opened);
        pthread_mutex_unlock(&pool->lock);
    }
    work(pool, 0, job);
    wait_until_finished(pool);
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
    pthread_cond_init(&pool->finished, NULL);
    lora_status status = LORA_OK;
    if (threads > 1) {
        pool->lanes = lr_alloc_aligned(allocator, (size_t)threads * sizeof *pool->lanes);
        pool->handles = lr_alloc_array(allocator, (size_t)threads - 1, sizeof *pool->handles);
        for (int32_t i = 0; pool->lanes && i < threads; i++) pool->lanes[i] = (lane){0};
        status = pool->handles && pool->lanes ? start_workers(pool) : LORA_ERROR_MEMORY;
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
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->opened);
    pthread_mutex_destroy(&pool->lock);
    lora_allocator allocator = pool->allocator;
    lr_free_aligned(&allocator, pool->lanes);
    lr_free(&allocator, pool->handles);
    lr_free_aligned(&allocator, pool);
}

int32_t lr_thread_pool_threads(const lr_thread_pool *pool)
{
    return pool->threads;
}
