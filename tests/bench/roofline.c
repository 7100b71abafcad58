// Peaks of this machine, and what the CPU backend's matrix products reach of them: one JSON object.
//     roofline [THREADS [peaks]]
#include "cpu/product.h"
#include "lib/memory.h"
#include "peaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 7
#define ROUND_SECONDS 0.1

typedef struct shape {
    int64_t m, n, k;
    lora_type type;
    bool transposed; // B lies as [n, k]: the forward of a linear layer; else [k, n]: its backward
} shape;

static const shape SHAPES[] = {
    {1024, 576, 576, LORA_TYPE_F32, true},     {1024, 1536, 576, LORA_TYPE_F32, true},
    {1024, 576, 1536, LORA_TYPE_F32, true},    {1024, 1536, 576, LORA_TYPE_F32, false},
    {1024, 2048, 2048, LORA_TYPE_F32, true},   {1024, 2048, 2048, LORA_TYPE_BF16, true},
    {1024, 2048, 2048, LORA_TYPE_BF16, false}, {256, 576, 1536, LORA_TYPE_BF16, true},
    {256, 576, 1536, LORA_TYPE_BF16, false},   {256, 8192, 2048, LORA_TYPE_BF16, true},
};

static void open_device(lora_device *device, int32_t threads)
{
    memset(device, 0, sizeof *device);
    device->allocator = lr_system_allocator;
    device->threads = threads;
    device->features = lr_cpu_detect_features();
    device->workspace_size = lr_product_workspace(device, 8192, 8192, 8192, false);
    device->workspace = lr_alloc_aligned(&lr_system_allocator, (size_t)device->workspace_size);
    if (!device->workspace || lr_thread_pool_create(&lr_system_allocator, threads, &device->pool) != LORA_OK) exit(1);
}

static float *random_floats(int64_t count)
{
    float *numbers = lr_alloc_aligned(&lr_system_allocator, (size_t)count * sizeof *numbers);
    if (!numbers) exit(1);
    uint32_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (float)(int32_t)state * 0x1p-31f;
    }
    return numbers;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Operations a second, the median of some rounds.
static double product_rate(lora_device *device, const shape *s)
{
    float *a = random_floats(s->m * s->k), *c = random_floats(s->m * s->n), *b = random_floats(s->n * s->k);
    uint16_t *halves = (uint16_t *)(void *)b;
    if (s->type == LORA_TYPE_BF16)
        for (int64_t i = 0; i < s->n * s->k; i++) {
            uint32_t bits;
            memcpy(&bits, &b[i], sizeof bits);
            halves[i] = (uint16_t)(bits >> 16);
        }
    const lr_operand left = {.data = a, .stride = s->k, .type = LORA_TYPE_F32};
    const lr_operand right = {
        .data = b, .stride = s->transposed ? s->k : s->n, .type = s->type, .transposed = s->transposed};
    const lr_product_term term = {left, right, s->k, 1, true, false};
    double rates[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        int64_t count = 0;
        const double begin = seconds_now();
        double passed;
        do {
            lr_product_sum(device, s->m, s->n, 1, &term, false, c, s->n, NULL);
            count++;
        } while ((passed = seconds_now() - begin) < ROUND_SECONDS);
        rates[round] = 2.0 * (double)(s->m * s->n * s->k) * (double)count / passed;
    }
    qsort(rates, ROUNDS, sizeof *rates, compare);
    lr_free_aligned(&lr_system_allocator, a);
    lr_free_aligned(&lr_system_allocator, b);
    lr_free_aligned(&lr_system_allocator, c);
    return rates[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    const int32_t threads = argc > 1 ? atoi(argv[1]) : 2;
    const double f32 = peak_f32(threads), dot = peak_bf16_dot(threads), tile = peak_bf16_tile(threads);
    const double bf16 = tile > 0 ? tile : dot > 0 ? dot : f32;
    printf("{\"threads\": %d, \"f32\": %.4g, \"bf16_dot\": %.4g, \"bf16_tile\": %.4g, \"int8_dot\": %.4g, "
           "\"int8_tile\": %.4g, \"bytes\": %.4g, \"products\": [",
           (int)threads, f32, dot, tile, peak_int8_dot(threads), peak_int8_tile(threads), memory_bandwidth(threads));
    lora_device device;
    open_device(&device, threads);
    const size_t count = argc > 2 ? 0 : sizeof SHAPES / sizeof *SHAPES;
    for (size_t i = 0; i < count; i++) {
        const shape *s = &SHAPES[i];
        const double rate = product_rate(&device, s), peak = s->type == LORA_TYPE_BF16 ? bf16 : f32;
        printf("%s\n  {\"m\": %d, \"n\": %d, \"k\": %d, \"type\": \"%s\", \"transposed\": %s, \"flops\": %.4g, "
               "\"of_peak\": %.3f}",
               i ? "," : "", (int)s->m, (int)s->n, (int)s->k, s->type == LORA_TYPE_BF16 ? "bf16" : "f32",
               s->transposed ? "true" : "false", rate, peak > 0 ? rate / peak : 0);
    }
    printf("]}\n");
    lr_thread_pool_free(device.pool);
    lr_free_aligned(&lr_system_allocator, device.workspace);
    return 0;
}
