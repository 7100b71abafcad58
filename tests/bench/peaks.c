#include "peaks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5
#define STREAM_BYTES ((size_t)1 << 29) // far more than any cache

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// `work` on every thread at once; the best of some rounds, in units a second for all threads together.
typedef struct lane {
    pthread_t handle;
    void (*work)(void *argument);
    void *argument;
} lane;

static void *run_lane(void *argument)
{
    lane *l = argument;
    l->work(l->argument);
    return NULL;
}

static double best_rate(int32_t threads, void (*work)(void *argument), char *memory, size_t bytes, double units)
{
    lane lanes[64];
    double best = 0;
    if (threads > 64) threads = 64;
    for (int round = 0; round < ROUNDS; round++) {
        const double begin = seconds_now();
        for (int32_t i = 0; i < threads; i++) {
            lanes[i] = (lane){.work = work, .argument = memory ? memory + (size_t)i * bytes : NULL};
            pthread_create(&lanes[i].handle, NULL, run_lane, &lanes[i]);
        }
        for (int32_t i = 0; i < threads; i++) pthread_join(lanes[i].handle, NULL);
        const double rate = (double)threads * units / (seconds_now() - begin);
        if (rate > best) best = rate;
    }
    return best;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

#define TURNS 2000000 // of loops over registers

static bool has_leaf7(uint32_t sub, int reg, uint32_t bit)
{
    uint32_t r[4];
    return __get_cpuid_count(7, sub, &r[0], &r[1], &r[2], &r[3]) && (r[reg] >> bit & 1);
}

// Twelve independent sums hide the latency; inline assembly keeps the compiler from folding them.
#define CHAINS 12
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DECLARE(i) lanes sum##i = {0};
#define USE(i) __asm__ volatile("" : : "v"(sum##i));
#define REGISTER_LOOP(name, features, type, bytes, instruction)                                                        \
    __attribute__((target(features))) static void name(void *unused)                                                   \
    {                                                                                                                  \
        typedef type lanes __attribute__((vector_size(bytes)));                                                        \
        lanes a = {0}, b = {0};                                                                                        \
        (void)unused;                                                                                                  \
        TWELVE(DECLARE)                                                                                                \
        for (int t = 0; t < TURNS; t++) { TWELVE(instruction) }                                                        \
        TWELVE(USE)                                                                                                    \
    }
#define STEP(text, i) __asm__ volatile(text " %1, %2, %0" : "+v"(sum##i) : "v"(a), "v"(b));
#define FMA(i) STEP("vfmadd231ps", i)
#define DOT_BF16(i) STEP("vdpbf16ps", i)
#define DOT_INT8(i) STEP("vpdpbusd", i)

REGISTER_LOOP(fma_256, "avx2,fma", float, 32, FMA)
REGISTER_LOOP(fma_512, "avx512f", float, 64, FMA)
REGISTER_LOOP(dot_bf16, "avx512f,avx512bf16", float, 64, DOT_BF16)
REGISTER_LOOP(dot_int8, "avx512f,avx512vnni", int, 64, DOT_INT8)

__attribute__((target("avx512f"))) static void read_512(void *memory)
{
    const char *bytes = memory;
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t i = 0; i < STREAM_BYTES; i += 256)
        for (int j = 0; j < 4; j++)
            sum[j] = _mm512_or_si512(sum[j], _mm512_loadu_si512((const void *)(bytes + i + 64 * (size_t)j)));
    for (int j = 0; j < 4; j++) __asm__ volatile("" : : "v"(sum[j]));
}

#define TILE_TURNS 200000
#define FOUR_SUMS(instruction)                                                                                         \
    for (int t = 0; t < TILE_TURNS; t++) {                                                                             \
        instruction(0, 4, 6);                                                                                          \
        instruction(1, 4, 7);                                                                                          \
        instruction(2, 5, 6);                                                                                          \
        instruction(3, 5, 7);                                                                                          \
    }

static bool take_tiles(void)
{
#if defined(__linux__)
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
#else
    return false;
#endif
}

__attribute__((target("amx-tile"))) static void configure_tiles(void)
{
    _Alignas(64) struct {
        uint8_t palette, start, reserved[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } shape;
    memset(&shape, 0, sizeof shape);
    shape.palette = 1;
    for (int i = 0; i < 8; i++) shape.columns[i] = 64, shape.rows[i] = 16;
    __asm__ volatile("" : : "r"(&shape) : "memory"); // gcc's intrinsic names 8 of the 64 bytes
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

__attribute__((target("amx-tile,amx-bf16"))) static void tile_bf16(void *unused)
{
    (void)unused;
    configure_tiles();
    FOUR_SUMS(_tile_dpbf16ps)
    _tile_release();
}

__attribute__((target("amx-tile,amx-int8"))) static void tile_int8(void *unused)
{
    (void)unused;
    configure_tiles();
    FOUR_SUMS(_tile_dpbssd)
    _tile_release();
}

double peak_f32(int32_t threads)
{
    if (has_leaf7(0, 1, 16)) return best_rate(threads, fma_512, NULL, 0, (double)TURNS * CHAINS * 32);
    return has_leaf7(0, 1, 5) ? best_rate(threads, fma_256, NULL, 0, (double)TURNS * CHAINS * 16) : 0;
}

double peak_bf16_dot(int32_t threads)
{
    return has_leaf7(1, 0, 5) ? best_rate(threads, dot_bf16, NULL, 0, (double)TURNS * CHAINS * 64) : 0;
}

double peak_int8_dot(int32_t threads)
{
    return has_leaf7(0, 2, 11) ? best_rate(threads, dot_int8, NULL, 0, (double)TURNS * CHAINS * 128) : 0;
}

double peak_bf16_tile(int32_t threads)
{
    if (!has_leaf7(0, 3, 22) || !take_tiles()) return 0;
    return best_rate(threads, tile_bf16, NULL, 0, (double)TILE_TURNS * 4 * 16 * 16 * 32 * 2);
}

double peak_int8_tile(int32_t threads)
{
    if (!has_leaf7(0, 3, 25) || !take_tiles()) return 0;
    return best_rate(threads, tile_int8, NULL, 0, (double)TILE_TURNS * 4 * 16 * 16 * 64 * 2);
}

static void read_stream(void *memory)
{
    const uint64_t *words = memory;
    uint64_t sum = 0;
    for (size_t i = 0; i < STREAM_BYTES / sizeof *words; i++) sum |= words[i];
    __asm__ volatile("" : "+r"(sum));
}

static void (*stream_reader(void))(void *memory)
{
    return has_leaf7(0, 1, 16) ? read_512 : read_stream;
}
#else
double peak_f32(int32_t threads) { return 0; }
double peak_bf16_dot(int32_t threads) { return 0; }
double peak_int8_dot(int32_t threads) { return 0; }
double peak_bf16_tile(int32_t threads) { return 0; }
double peak_int8_tile(int32_t threads) { return 0; }

static void read_stream(void *memory)
{
    volatile uint64_t kept;
    const uint64_t *words = memory;
    uint64_t sum = 0;
    for (size_t i = 0; i < STREAM_BYTES / sizeof *words; i++) sum |= words[i];
    kept = sum;
    (void)kept;
}

static void (*stream_reader(void))(void *memory)
{
    return read_stream;
}
#endif

double memory_bandwidth(int32_t threads)
{
    char *memory = aligned_alloc(64, STREAM_BYTES * (size_t)threads);
    if (!memory) return 0;
    memset(memory, 1, STREAM_BYTES * (size_t)threads);
    const double rate = best_rate(threads, stream_reader(), memory, STREAM_BYTES, (double)STREAM_BYTES);
    free(memory);
    return rate;
}
