// Every piece runs exactly once, in jobs of any size, after sleeping too; no thread is left after free.
#include "lib/thread_pool.h"

#include "lib/memory.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define MOST 1000

typedef struct tally {
    int32_t runs[MOST]; // written by whoever has the piece: a data race if two had it
} tally;

static void count_piece(int64_t index, void *argument)
{
    tally *t = argument;
    t->runs[index]++;
}

static void rest(long milliseconds)
{
    struct timespec time = {0, milliseconds * 1000000};
    nanosleep(&time, NULL);
}

static void run_jobs(int32_t threads, int jobs)
{
    lr_thread_pool *pool;
    assert_int_equal(lr_thread_pool_create(&lr_system_allocator, threads, &pool), LORA_OK);
    assert_int_equal(lr_thread_pool_threads(pool), threads < 1 ? 1 : threads);
    static const int64_t counts[] = {0, 1, 2, 3, 7, 64, MOST};
    for (int job = 0; job < jobs; job++) {
        tally t = {0};
        int64_t count = counts[job % 7];
        lr_thread_pool_run(pool, count, count_piece, &t);
        for (int64_t i = 0; i < MOST; i++) assert_int_equal(t.runs[i], i < count);
        if (job % 97 == 0) rest(2); // the workers fall asleep
    }
    lr_thread_pool_free(pool);
}

static void every_piece_once(void **unused)
{
    static const int32_t threads[] = {0, 1, 2, 3, 8};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) run_jobs(threads[i], 2000);
}

static void slow_piece(int64_t index, void *argument)
{
    rest(index % 2 ? 3 : 0);
    atomic_fetch_add((atomic_int *)argument, 1);
}

// The caller is done first and has to wait.
static void waits_for_slow_pieces(void **unused)
{
    lr_thread_pool *pool;
    assert_int_equal(lr_thread_pool_create(&lr_system_allocator, 3, &pool), LORA_OK);
    for (int i = 0; i < 20; i++) {
        atomic_int done = 0;
        lr_thread_pool_run(pool, 4, slow_piece, &done);
        assert_int_equal(atomic_load(&done), 4);
    }
    lr_thread_pool_free(pool);
}

static int threads_of_this_process(void)
{
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(tasks));) count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void leaves_no_thread(void **unused)
{
    int before = threads_of_this_process();
    if (before < 0) skip();
    lr_thread_pool *pool;
    assert_int_equal(lr_thread_pool_create(&lr_system_allocator, 4, &pool), LORA_OK);
    assert_int_equal(threads_of_this_process(), before + 3);
    lr_thread_pool_free(pool);
    for (int i = 0; i < 100 && threads_of_this_process() != before; i++) rest(10); // joined, but the kernel may lag
    assert_int_equal(threads_of_this_process(), before);
    lr_thread_pool_free(NULL);
}

typedef struct limited {
    int left, live;
} limited;

static void *limited_allocate(size_t size, void *user)
{
    limited *l = user;
    if (l->left-- <= 0) return NULL;
    l->live++;
    return malloc(size);
}

static void *limited_reallocate(void *block, size_t size, void *user)
{
    return ((limited *)user)->left-- <= 0 ? NULL : realloc(block, size);
}

static void limited_release(void *block, void *user)
{
    ((limited *)user)->live--;
    free(block);
}

static void out_of_memory(void **unused)
{
    lora_status status = LORA_ERROR_MEMORY;
    for (int allowed = 0; status != LORA_OK; allowed++) {
        limited l = {allowed, 0};
        lora_allocator allocator = {limited_allocate, limited_reallocate, limited_release, &l};
        lr_thread_pool *pool = NULL;
        status = lr_thread_pool_create(&allocator, 3, &pool);
        if (status == LORA_OK) {
            lr_thread_pool_free(pool);
        } else {
            assert_int_equal(status, LORA_ERROR_MEMORY);
            assert_null(pool);
        }
        assert_int_equal(l.live, 0);
        assert_true(allowed < 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_once), cmocka_unit_test(waits_for_slow_pieces),
        cmocka_unit_test(leaves_no_thread), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
