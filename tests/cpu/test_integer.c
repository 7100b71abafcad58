// Products whose A may be rounded to 8 or 15 bits, against sums in double. What rounding may do follows from the
// groups: a number of a group whose greatest magnitude is g errs by g / 254 (g / 32512) at most, and evenly below that.
#include "product_fixture.h"

#include "cpu/integer_dots.h"
#include "cpu/integer_product.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

static const lora_type types[] = {LORA_TYPE_INT8, LORA_TYPE_Q8_0, LORA_TYPE_Q4_0, LORA_TYPE_Q4_1, LORA_TYPE_Q5_0,
                                  LORA_TYPE_Q5_1, LORA_TYPE_Q4_K, LORA_TYPE_Q5_K, LORA_TYPE_Q6_K};
#define TYPES (sizeof types / sizeof *types)

typedef struct problem {
    int64_t m, n, k;
    lora_type type;
    bool transposed, accumulate;
    int32_t coarse;
    int64_t int8_group; // of A's numbers that share a scale, where B is of INT8
    float alpha;
    stored_matrix a, b;
    result_matrix c;
} problem;

static double weight(const problem *p, int64_t q, int64_t j)
{
    return p->b.values[p->transposed ? j * p->b.cols + q : q * p->b.cols + j];
}

// What A's column q is multiplied by before it is rounded: INT8's scale, where its rows run along the inner dimension.
static double folded(const problem *p, int64_t q)
{
    return p->type == LORA_TYPE_INT8 && !p->transposed ? fabs((double)p->b.scales[q]) : 1;
}

// Greatest error of C[i, j], and its variance.
static double error_of(const problem *p, int64_t i, int64_t j, double *variance)
{
    const bool fine = p->coarse == LORA_COARSE_INT15;
    const bool rounds_again = !fine && p->type != LORA_TYPE_INT8 && (!p->transposed || p->type == LORA_TYPE_Q6_K);
    const int64_t group = fine ? 64 : p->type == LORA_TYPE_INT8 ? p->int8_group : 32;
    const double steps = fine ? 32512 : 254;
    double bound = 0;
    *variance = 0;
    for (int64_t begin = 0; begin < p->k; begin += group) {
        const int64_t end = begin + group < p->k ? begin + group : p->k;
        double greatest_x = 0, greatest_w = 0;
        for (int64_t q = begin; q < end; q++) {
            greatest_x = fmax(greatest_x, fabs((double)p->alpha * p->a.values[i * p->a.cols + q] * folded(p, q)));
            greatest_w = fmax(greatest_w, fabs(weight(p, q, j)));
        }
        for (int64_t q = begin; q < end; q++) {
            const double x = fabs((double)p->alpha * p->a.values[i * p->a.cols + q]), w = fabs(weight(p, q, j));
            const double x_error = folded(p, q) > 0 ? greatest_x / steps / folded(p, q) : 0;
            const double w_error = rounds_again ? greatest_w / 254 : 0;
            bound += x_error * w + (x + x_error) * w_error + 2e-6 * x * w;
            *variance += (x_error * x_error * w * w + x * x * w_error * w_error) / 3;
        }
    }
    return bound;
}

static void check(const problem *p, const char *what)
{
    double squares = 0, expected = 0;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double want = p->accumulate ? p->c.before[i * p->n + j] : 0, variance;
            for (int64_t q = 0; q < p->k; q++)
                want += (double)p->alpha * p->a.values[i * p->a.cols + q] * weight(p, q, j);
            const double error = fabs((double)p->c.data[i * p->c.stride + j] - want);
            const double bound = error_of(p, i, j, &variance);
            if (!(error <= bound + 1e-6 * fabs(want) + 1e-6))
                fail_msg("%s: [%d, %d] errs by %g, at most %g", what, (int)i, (int)j, error, bound);
            squares += error * error;
            expected += variance;
        }
    }
    if (p->m * p->k >= 2000 && p->coarse == LORA_COARSE_INT8 && squares > 1.3 * expected + 1e-9)
        fail_msg("%s: errors are %.2f times what rounding explains", what, sqrt(squares / expected));
    result_check_guards(&p->c);
}

static void run_case(lora_device *device, int64_t m, int64_t n, int64_t k, lora_type type, bool transposed,
                     bool accumulate, int32_t coarse)
{
    char what[120];
    snprintf(what, sizeof what, "type %d, %d x %d x %d, b%s%s", (int)type, (int)m, (int)n, (int)k,
             transposed ? " transposed" : "", accumulate ? ", added" : "");
    problem p = {.m = m, .n = n, .k = k, .type = type, .transposed = transposed, .accumulate = accumulate,
                 .coarse = coarse, .int8_group = device->features & LORA_CPU_AMX_BF16 ? 128 : 64,
                 .alpha = draw(2) ? 1.0f : -0.75f};
    p.a = matrix_random(LORA_TYPE_F32, m, k, draw(3));
    p.b = transposed ? matrix_random(type, n, k, draw(3)) : matrix_random(type, k, n, draw(3));
    p.c = result_random(m, n);
    const lr_product_term term = {
        matrix_operand(&p.a, false), matrix_operand(&p.b, transposed), k, p.alpha, coarse, false};
    assert_true((coarse == LORA_COARSE_INT8 ? lr_integer_product_suits : lr_integer_dots_suit)(device, m, &term));
    lr_product_sum(device, m, n, 1, &term, accumulate, p.c.data, p.c.stride, NULL);
    check(&p, what);
    result_free(&p.c);
    matrix_free(&p.a);
    matrix_free(&p.b);
}

#define LARGE 500000 // products: such sizes take each type in one way only

static void products_of_every_kind(void **state)
{
    const int32_t features = *(const int32_t *)*state;
    static const int64_t sizes[][3] = {{16, 1, 1},    {17, 33, 31},  {16, 64, 96},   {18, 31, 33},   {25, 130, 64},
                                       {29, 100, 65}, {43, 47, 127}, {64, 192, 129}, {16, 16, 600},  {33, 97, 576},
                                       {61, 50, 1100}, {20, 70, 4200}, {17, 300, 256}, {100, 32, 512}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        lora_device device;
        device_open(&device, 2, features, m, n, k);
        for (size_t t = 0; t < TYPES; t++)
            for (uint32_t way = 0; way < 4; way++)
                if (m * n * k < LARGE || way == (s + t) % 4)
                    run_case(&device, m, n, k, types[t], way & 1, way & 2, LORA_COARSE_INT8);
        device_close(&device);
    }
}

static void few_rows(void **state)
{
    const int32_t features = *(const int32_t *)*state;
    static const int64_t sizes[][3] = {{1, 1, 1},     {1, 33, 31},   {2, 64, 96},  {3, 31, 33},
                                       {4, 130, 64},  {5, 100, 65},  {7, 47, 127}, {1, 192, 576},
                                       {16, 16, 600}, {9, 97, 1100}, {1, 70, 4200}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        lora_device device;
        device_open(&device, 2, features, m, n, k);
        for (size_t t = 0; t < TYPES; t++)
            for (uint32_t way = 0; way < 2; way++)
                if (m * n * k < LARGE || way == (s + t) % 2)
                    run_case(&device, m, n, k, types[t], true, way, LORA_COARSE_INT15);
        device_close(&device);
    }
}

// The integers of a group are multiplied without error: whole numbers give the very sum.
static void whole_numbers(void **state)
{
    const int32_t features = *(const int32_t *)*state;
    enum { M = 19, N = 40, K = 192 };
    lora_device device;
    device_open(&device, 2, features, M, N, K);
    static float a[M * K], scales[N], c[M * N];
    static int8_t b[N * K];
    for (int i = 0; i < M * K; i++) a[i] = i % 32 ? (float)(int)draw(255) - 127 : 127; // 127 in each group of 64
    for (int i = 0; i < N * K; i++) b[i] = (int8_t)((int)draw(256) - 128);
    for (int j = 0; j < N; j++) scales[j] = 127;
    const lr_product_term term = {
        {.data = a, .stride = K, .type = LORA_TYPE_F32},
        {.data = b, .scales = scales, .stride = K, .type = LORA_TYPE_INT8, .transposed = true},
        K,
        127,
        LORA_COARSE_INT8,
        false}; // 127 cancels the rounding of 1 / 127
    lr_product_sum(&device, M, N, 1, &term, false, c, N, NULL);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double want = 0;
            for (int q = 0; q < K; q++) want += 127.0 * (double)a[i * K + q] * b[j * K + q];
            assert_true(fabs((double)c[i * N + j] - want) <= 1e-6 * fabs(want) + 64);
        }
    device_close(&device);
}

// The greatest numbers of 4 bits times the greatest of 8, of one sign throughout: no sum overflows.
static void greatest_sums(void **state)
{
    const int32_t features = *(const int32_t *)*state;
    enum { M = 18, N = 33, K = 320, BYTES = 20 };
    lora_device device;
    device_open(&device, 1, features, M, N, K);
    static float a[M * K], c[M * N];
    static uint8_t b[N * K / 32 * BYTES];
    for (int i = 0; i < M * K; i++) a[i] = i / K % 2 ? -127.0f : 127.0f;
    for (int i = 0; i < N * K / 32; i++) memcpy(b + i * BYTES, (uint8_t[4]){0x00, 0x3C}, 4); // a scale of 1, no minimum
    for (int i = 0; i < N * K / 32; i++) memset(b + i * BYTES + 4, 0xFF, 16);
    const lr_product_term term = {{.data = a, .stride = K, .type = LORA_TYPE_F32},
                                  {.data = b, .stride = K, .type = LORA_TYPE_Q4_1, .transposed = true},
                                  K, 1, LORA_COARSE_INT8, false};
    lr_product_sum(&device, M, N, 1, &term, false, c, N, NULL);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) assert_float_equal(c[i * N + j], (i % 2 ? -127.0 : 127.0) * 15 * K, 1);
    device_close(&device);
}

// The bits depend neither on the number of threads nor on how many other rows there are.
static void same_bits(void **state)
{
    const int32_t features = *(const int32_t *)*state;
    static float one[40 * 130], three[40 * 130], fewer[17 * 130];
    for (size_t t = 0; t < TYPES; t++)
        for (uint32_t way = 0; way < 2; way++) {
            stored_matrix a = matrix_random(LORA_TYPE_F32, 40, 512, 0);
            stored_matrix b = way ? matrix_random(types[t], 130, 512, 0) : matrix_random(types[t], 512, 130, 0);
            const lr_product_term term = {
                matrix_operand(&a, false), matrix_operand(&b, way), 512, 1, LORA_COARSE_INT8, false};
            for (int32_t threads = 1; threads <= 3; threads += 2) {
                lora_device device;
                device_open(&device, threads, features, 40, 130, 512);
                lr_product_sum(&device, 40, 130, 1, &term, false, threads == 1 ? one : three, 130, NULL);
                if (threads == 1) lr_product_sum(&device, 17, 130, 1, &term, false, fewer, 130, NULL);
                device_close(&device);
            }
            assert_memory_equal(one, three, sizeof one);
            assert_memory_equal(one, fewer, sizeof fewer);
            for (int64_t rows = 1; way && rows <= 16; rows++) { // of few rows, as of the last one alone
                lr_product_term few = term, last = term;
                few.coarse = last.coarse = LORA_COARSE_INT15;
                last.a.data = (const float *)last.a.data + (rows - 1) * last.a.stride;
                lora_device device;
                device_open(&device, 2, features, 16, 130, 512);
                lr_product_sum(&device, rows, 130, 1, &few, false, one, 130, NULL);
                lr_product_sum(&device, 1, 130, 1, &last, false, three, 130, NULL);
                device_close(&device);
                assert_memory_equal(one + (rows - 1) * 130, three, 130 * sizeof *one);
            }
            matrix_free(&a);
            matrix_free(&b);
        }
}

int main(void)
{
    static const instruction_set sets[] = {
        {"avx2", LORA_CPU_AVX2},
        {"avx512_vnni", LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_AVX512_VNNI},
        {"amx", LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_AVX512_VNNI | LORA_CPU_AMX_BF16},
        {"neon_dotprod", LORA_CPU_NEON | LORA_CPU_NEON_DOTPROD},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        int32_t features = sets[i].features;
        if ((lr_cpu_detect_features() & features) != features) continue;
        const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(products_of_every_kind, &features),
                                           cmocka_unit_test_prestate(few_rows, &features),
                                           cmocka_unit_test_prestate(whole_numbers, &features),
                                           cmocka_unit_test_prestate(greatest_sums, &features),
                                           cmocka_unit_test_prestate(same_bits, &features)};
        failed += cmocka_run_group_tests_name(sets[i].name, tests, NULL, NULL);
    }
    return failed;
}
