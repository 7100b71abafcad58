// lr_product and lr_product_sum against sums in double: every instruction set, storage type, orientation, odd sizes.
#include "product_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct test_term {
    stored_matrix a, b; // as they lie in memory
    bool a_transposed, b_transposed;
    int64_t k;
    float alpha;
} test_term;

static test_term term_random(int64_t m, int64_t n, int64_t k, lora_type type, bool a_transposed, bool b_transposed)
{
    test_term term = {.a_transposed = a_transposed, .b_transposed = b_transposed, .k = k};
    term.alpha = draw(2) ? 1.0f : -0.75f;
    term.a = a_transposed ? matrix_random(LORA_TYPE_F32, k, m, draw(3)) : matrix_random(LORA_TYPE_F32, m, k, draw(3));
    term.b = b_transposed ? matrix_random(type, n, k, draw(3)) : matrix_random(type, k, n, draw(3));
    return term;
}

static lr_product_term term_argument(const test_term *term)
{
    return (lr_product_term){matrix_operand(&term->a, term->a_transposed), matrix_operand(&term->b, term->b_transposed),
                             term->k, term->alpha, false, false};
}

static double value_of(const stored_matrix *matrix, bool transposed, int64_t i, int64_t j)
{
    return matrix->values[transposed ? j * matrix->cols + i : i * matrix->cols + j];
}

// Winograd's inner product adds up (a1 + b2)(a2 + b1), from minus the sums of a1 a2 and b1 b2 on. Scaled to norms in
// [1, 2), which differ by a factor of 2 at most, the partial sums, two for three of k numbers, have squares of at most
// (2^2 + 1/2^2) |a|^2 |b|^2 / 3k on average: their sum is below |a|^2 |b|^2.
static void check_product(const result_matrix *c, const test_term *terms, int32_t count, bool accumulate,
                          const lora_device *device, const char *what)
{
    for (int64_t i = 0; i < c->rows; i++) {
        for (int64_t j = 0; j < c->cols; j++) {
            double before = accumulate ? c->before[i * c->cols + j] : 0, sum = 0, squares = 0, partial = 0;
            double a_squares = 0, b_squares = 0;
            int64_t k = 0;
            for (int32_t t = 0; t < count; k += terms[t++].k) {
                for (int64_t p = 0; p < terms[t].k; p++) {
                    const double a = (double)terms[t].alpha * value_of(&terms[t].a, terms[t].a_transposed, i, p),
                                 b = value_of(&terms[t].b, terms[t].b_transposed, p, j);
                    sum += a * b;
                    squares += a * b * a * b;
                    partial += sum * sum;
                    a_squares += a * a;
                    b_squares += b * b;
                }
            }
            if (device->features & LORA_CPU_ADD_UNITS) partial += a_squares * b_squares;
            check_sum((double)c->data[i * c->stride + j], before + sum, before, squares, partial, k, what);
        }
    }
    result_check_guards(c);
}

static void run_case(lora_device *device, const char *set, int64_t m, int64_t n, int64_t k, lora_type type, bool at,
                     bool bt, bool accumulate)
{
    char what[160];
    snprintf(what, sizeof what, "%s, type %d, %lld x %lld x %lld, a%s, b%s%s", set, (int)type, (long long)m,
             (long long)n, (long long)k, at ? " transposed" : "", bt ? " transposed" : "", accumulate ? ", added" : "");
    test_term term = term_random(m, n, k, type, at, bt);
    result_matrix c = result_random(m, n);
    lr_product_term argument = term_argument(&term);
    lr_product(device, m, n, k, argument.alpha, argument.a, argument.b, accumulate, c.data, c.stride);
    check_product(&c, &term, 1, accumulate, device, what);
    result_free(&c);
    matrix_free(&term.a);
    matrix_free(&term.b);
}

static const lora_type types[] = {LORA_TYPE_F32,  LORA_TYPE_F16,  LORA_TYPE_BF16, LORA_TYPE_INT8, LORA_TYPE_NF4,
                                  LORA_TYPE_Q8_0, LORA_TYPE_Q4_0, LORA_TYPE_Q4_1, LORA_TYPE_Q5_0, LORA_TYPE_Q5_1,
                                  LORA_TYPE_Q4_K, LORA_TYPE_Q5_K, LORA_TYPE_Q6_K};
#define TYPES (sizeof types / sizeof *types)

#define LARGE 500000 // products: such sizes take each type in one way only

static void products_of_every_kind(void **unused)
{
    static const int64_t sizes[][3] = {
        {1, 1, 1},   {1, 7, 5},    {2, 33, 31},  {3, 64, 96},  {5, 4, 33},   {7, 130, 64}, {8, 65, 32},
        {9, 1, 17},  {14, 32, 64}, {15, 31, 33}, {28, 96, 40}, {29, 100, 7}, {43, 47, 53}, {64, 192, 129},
        {13, 3, 0},  {1, 40, 0},   {31, 16, 1},  {6, 16, 600}, {9, 33, 1100}, {3, 50, 64}, {16, 97, 576},
        {17, 49, 96}, {32, 112, 64}, {31, 600, 1536}, {33, 49, 64}};
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            lora_device device;
            device_open(&device, 2, set->features, m, n, k);
            for (size_t t = 0; t < TYPES; t++)
                for (uint32_t way = 0; way < 8; way++)
                    if (m * n * k < LARGE || way == (s + t) % 8)
                        run_case(&device, set->name, m, n, k, types[t], way & 1, way & 2, way & 4);
            device_close(&device);
        }
    }
}

static void random_sizes(void **unused)
{
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        draw_restart(7);
        for (int i = 0; i < 250; i++) {
            int64_t m = 1 + draw(70), n = 1 + draw(140), k = draw(200);
            lora_device device;
            device_open(&device, 1 + (int32_t)draw(3), set->features, m, n, k);
            lora_type type = types[draw(TYPES)];
            bool at = draw(2), bt = draw(2), accumulate = draw(2);
            run_case(&device, set->name, m, n, k, type, at, bt, accumulate);
            device_close(&device);
        }
    }
}

// More inner numbers than are packed at once, and more columns than the workspace holds.
static void stretches_and_chunks(void **unused)
{
    static const int64_t sizes[][3] = {{17, 37, 5000}, {20, 2100, 2050}, {3, 70, 4100}};
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        for (size_t s = 0; s < 3; s++) {
            int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            lora_device device;
            device_open(&device, 2, set->features, m, n, k);
            for (uint32_t way = 0; way < 4; way++)
                run_case(&device, set->name, m, n, k, types[(5 * s + 3 * way) % TYPES], way & 1, way & 2, way == 1);
            device_close(&device);
        }
    }
}

// A layer and two low-rank pairs in one pass, by the packed way and by the way for few rows.
static void sums_of_terms(void **unused)
{
    static const int64_t rows[] = {1, 8, 9, 40};
    static const int64_t inner[][3] = {{64, 8, 1}, {600, 16, 64}, {2048, 3, 5}, {33, 0, 7}};
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        for (int i = 0; i < 64; i++) {
            int64_t m = rows[i % 4], n = 1 + draw(100);
            const int64_t *k = inner[i / 4 % 4];
            bool bt = i & 16, accumulate = i & 32;
            test_term terms[3];
            lr_product_term arguments[3];
            for (int32_t t = 0; t < 3; t++) {
                terms[t] = term_random(m, n, k[t], t ? LORA_TYPE_F32 : types[draw(TYPES)], false, bt);
                arguments[t] = term_argument(&terms[t]);
            }
            result_matrix c = result_random(m, n);
            lora_device device;
            device_open(&device, 2, set->features, m, n, k[0] + k[1] + k[2]);
            lr_product_sum(&device, m, n, 3, arguments, accumulate, c.data, c.stride, NULL);
            check_product(&c, terms, 3, accumulate, &device, set->name);
            device_close(&device);
            result_free(&c);
            for (int32_t t = 0; t < 3; t++) {
                matrix_free(&terms[t].a);
                matrix_free(&terms[t].b);
            }
        }
    }
}

// Not even the number of threads changes a bit.
static void same_bits(void **unused)
{
    static const int64_t sizes[][3] = {{50, 130, 700}, {4, 300, 65}, {33, 5, 2500}};
    for (size_t s = 0; s < 3; s++) {
        int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        test_term term = term_random(m, n, k, LORA_TYPE_BF16, false, true);
        lr_product_term argument = term_argument(&term);
        result_matrix first = result_random(m, n);
        for (int32_t threads = 1; threads <= 5; threads++) {
            lora_device device;
            device_open(&device, threads, -1, m, n, k);
            result_matrix c = result_random(m, n);
            float *target = threads == 1 ? first.data : c.data;
            lr_product(&device, m, n, k, 1, argument.a, argument.b, false, target, c.stride);
            for (int64_t i = 0; i < m; i++)
                assert_memory_equal(target + i * c.stride, first.data + i * c.stride, (size_t)n * sizeof(float));
            result_free(&c);
            device_close(&device);
        }
        result_free(&first);
        matrix_free(&term.a);
        matrix_free(&term.b);
    }
}

// ---- what Winograd's inner product might lose ----------------------------------------------------------------------

static void fill_with(stored_matrix *matrix, int64_t row, int64_t col, float value)
{
    memcpy((float *)matrix->data + row * matrix->stride + col, &value, sizeof value);
    matrix->values[row * matrix->cols + col] = (double)value;
}

// Rows and columns of very different sizes, and a few numbers far larger than those beside them, as activations have.
static void check_sizes_far_apart(const instruction_set *set)
{
    const int64_t m = 101, n = 70, k = 301;
    lora_device device;
    device_open(&device, 2, set->features, m, n, k);
    test_term term = term_random(m, n, k, LORA_TYPE_F32, false, true);
    for (int64_t p = 0; p < k; p++) {
        for (int64_t i = 0; i < m; i++) {
            const double size = pow(10, (double)(i % 5 * 5 - 10)), outlier = p == 7 || p == 200 ? 1000 : 1;
            fill_with(&term.a, i, p, (float)(term.a.values[i * k + p] * size * outlier));
        }
        for (int64_t j = 0; j < n; j++)
            fill_with(&term.b, j, p, (float)(term.b.values[j * k + p] * pow(10, (double)(j % 3 * 4 - 8))));
    }
    result_matrix c = result_random(m, n);
    lr_product_term argument = term_argument(&term);
    lr_product(&device, m, n, k, argument.alpha, argument.a, argument.b, false, c.data, c.stride);
    check_product(&c, &term, 1, false, &device, set->name);
    result_free(&c);
    matrix_free(&term.a);
    matrix_free(&term.b);
    device_close(&device);
}

static void sizes_far_apart(void **unused)
{
    for (const instruction_set *set = instruction_sets(); set->name; set++) check_sizes_far_apart(set);
}

// Zeros stay exact, and what is not finite stays in its row and column.
static void check_zeros_and_infinities(const instruction_set *set)
{
    const int64_t m = 30, n = 65, k = 200;
    lora_device device;
    device_open(&device, 2, set->features, m, n, k);
    test_term term = term_random(m, n, k, LORA_TYPE_F32, false, false);
    for (int64_t p = 0; p < k; p++) {
        fill_with(&term.a, 3, p, 0);
        fill_with(&term.b, p, 40, 0);
    }
    fill_with(&term.a, 5, 20, INFINITY);
    fill_with(&term.b, 21, 12, NAN);
    result_matrix c = result_random(m, n);
    lr_product_term argument = term_argument(&term);
    lr_product(&device, m, n, k, 1, argument.a, argument.b, false, c.data, c.stride);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            const float got = c.data[i * c.stride + j];
            if (i == 5 || j == 12) assert_false(isfinite(got));
            else if (i == 3 || j == 40) assert_true(got == 0);
            else assert_true(isfinite(got));
        }
    result_free(&c);
    matrix_free(&term.a);
    matrix_free(&term.b);
    device_close(&device);
}

static void zeros_and_infinities(void **unused)
{
    for (const instruction_set *set = instruction_sets(); set->name; set++) check_zeros_and_infinities(set);
}

static double mean_square_error(int32_t features, const test_term *term, int64_t m, int64_t n)
{
    double sum = 0;
    lora_device device;
    device_open(&device, 2, features, m, n, term->k);
    result_matrix c = result_random(m, n);
    lr_product_term argument = term_argument(term);
    lr_product(&device, m, n, term->k, 1, argument.a, argument.b, false, c.data, c.stride);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double exact = 0;
            for (int64_t p = 0; p < term->k; p++)
                exact += value_of(&term->a, false, i, p) * value_of(&term->b, true, p, j);
            sum += pow((double)c.data[i * c.stride + j] - exact, 2);
        }
    result_free(&c);
    device_close(&device);
    return sum / (double)(m * n);
}

// With numbers of either sign, what is rounded has squares that add up to 0.5 |a|^2 |b|^2 in plain sums. Here those of
// partial sums, two for three numbers, add up to 0.56, those of the sums of a1 a2 and b1 b2 to 0.11; and twice as many
// numbers are added up without a break: an error 1.64 times as large, and a little more out of balance.
static void about_as_exact_as_plain_sums(void **unused)
{
    const int64_t m = 101, n = 96, k = 576;
    test_term term = term_random(m, n, k, LORA_TYPE_F32, false, true);
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        if (!(set->features & LORA_CPU_ADD_UNITS)) continue;
        const double plain = mean_square_error(set->features & ~LORA_CPU_ADD_UNITS, &term, m, n),
                     winograd = mean_square_error(set->features, &term, m, n);
        assert_true(plain > 0 && winograd > 0 && plain != winograd);
        if (sqrt(winograd / plain) > 2) fail_msg("%.3g instead of %.3g", sqrt(winograd), sqrt(plain));
    }
    matrix_free(&term.a);
    matrix_free(&term.b);
}

// ---- rounded to bf16 -----------------------------------------------------------------------------------------------

// To the nearest number of 8 bits, ties to even.
static double rounded(double x)
{
    int exponent;
    const double fraction = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(fraction, 8)), exponent - 8);
}

// A layer's term and a pair's, added up in double: the first with both sides rounded, the pair with each number the sum
// of two of 8 bits, without the product of the two smaller ones.
static double coarse_value(const test_term *layer, const test_term *pair, int64_t i, int64_t j, double *squares,
                           double *partial)
{
    double sum = 0;
    *squares = *partial = 0;
    for (int64_t p = 0; p < layer->k + pair->k; p++) {
        const test_term *term = p < layer->k ? layer : pair;
        const int64_t at = p < layer->k ? p : p - layer->k;
        const double x = (double)(term->alpha * (float)value_of(&term->a, term->a_transposed, i, at));
        const double y = value_of(&term->b, term->b_transposed, at, j), x1 = rounded(x), y1 = rounded((double)(float)y);
        double product = x1 * y1;
        if (term == pair) product += rounded(x - x1) * y1 + x1 * rounded(y - y1);
        sum += product;
        *squares += product * product;
        *partial += sum * sum;
    }
    return sum;
}

static void coarse_products(void **unused)
{
    static const int64_t sizes[][3] = {{16, 32, 32},  {17, 1, 1},   {31, 33, 100},
                                       {32, 64, 576}, {50, 70, 33}, {65, 40, 2500}};
    static const lora_type kinds[] = {LORA_TYPE_BF16, LORA_TYPE_NF4, LORA_TYPE_INT8, LORA_TYPE_Q4_K};
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        if (!(set->features & (LORA_CPU_AVX512_BF16 | LORA_CPU_AMX_BF16))) continue;
        for (int i = 0; i < 96; i++) {
            const int64_t *size = sizes[i % 6], m = size[0], n = size[1], k = size[2];
            const bool bt = i & 1, accumulate = i & 2;
            test_term terms[2] = {term_random(m, n, k, kinds[i / 6 % 4], false, bt),
                                  term_random(m, n, 1 + draw(64), LORA_TYPE_F32, false, bt)};
            lr_product_term arguments[2] = {term_argument(&terms[0]), term_argument(&terms[1])};
            arguments[0].coarse = LORA_COARSE_BF16;
            result_matrix c = result_random(m, n);
            lora_device device;
            device_open(&device, 2, set->features, m, n, k + terms[1].k);
            lr_product_sum(&device, m, n, 2, arguments, accumulate, c.data, c.stride, NULL);
            for (int64_t at = 0; at < m * n; at++) {
                double squares, partial, before = accumulate ? c.before[at] : 0;
                const double want = coarse_value(&terms[0], &terms[1], at / n, at % n, &squares, &partial);
                check_sum((double)c.data[at / n * c.stride + at % n], before + want, before, squares, partial,
                          k + 3 * terms[1].k, set->name);
            }
            result_check_guards(&c);
            device_close(&device);
            result_free(&c);
            for (int t = 0; t < 2; t++) {
                matrix_free(&terms[t].a);
                matrix_free(&terms[t].b);
            }
        }
    }
}

// Files put weights anywhere: rows of whole lines of the cache that begin within one, and others.
static void weights_anywhere_in_a_line(void **unused)
{
    static const struct {
        int64_t n, k;
        bool transposed;
    } kinds[] = {{70, 96, true}, {40, 32, true}, {33, 160, true}, {20, 70, true}, {96, 70, false}, {64, 33, false},
                 {32, 5, false}, {50, 40, false}};
    const int64_t m = 33;
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        if (!(set->features & (LORA_CPU_AVX512_BF16 | LORA_CPU_AMX_BF16))) continue;
        for (int i = 0; i < 8 * 32; i++) {
            const int64_t n = kinds[i % 8].n, k = kinds[i % 8].k, offset = i / 8 * 2;
            const bool bt = kinds[i % 8].transposed;
            const size_t bytes = (size_t)(n * k) * sizeof(uint16_t);
            test_term term = {.k = k, .alpha = 1, .b_transposed = bt, .a = matrix_random(LORA_TYPE_F32, m, k, 0)};
            term.b = matrix_random(LORA_TYPE_BF16, bt ? n : k, bt ? k : n, 0);
            const test_term none = {.k = 0};
            void *lines;
            assert_int_equal(posix_memalign(&lines, 64, (size_t)offset + bytes), 0);
            lr_product_term argument = term_argument(&term);
            argument.b.data = memcpy((uint8_t *)lines + offset, term.b.data, bytes);
            argument.coarse = LORA_COARSE_BF16;
            result_matrix c = result_random(m, n);
            lora_device device;
            device_open(&device, 2, set->features, m, n, k);
            lr_product_sum(&device, m, n, 1, &argument, false, c.data, c.stride, NULL);
            for (int64_t at = 0; at < m * n; at++) {
                double squares, partial;
                const double want = coarse_value(&term, &none, at / n, at % n, &squares, &partial);
                check_sum((double)c.data[at / n * c.stride + at % n], want, 0, squares, partial, k, set->name);
            }
            result_check_guards(&c);
            device_close(&device);
            result_free(&c);
            matrix_free(&term.a);
            matrix_free(&term.b);
            free(lines);
        }
    }
}

// Few rows, each number of A the sum of two of 8 bits at least, even where many rows may be rounded to 8; where that is
// not faster, as they are.
static void twice_coarse_products(void **unused)
{
    static const int64_t rows[] = {1, 12, 13, 15, 16, 17, 29, 31, 32, 33};
    static const int64_t sizes[][2] = {{16, 32}, {33, 64}, {100, 576}, {250, 96}, {49, 1024}};
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        if (!(set->features & (LORA_CPU_AVX512_BF16 | LORA_CPU_AMX_BF16))) continue;
        for (int i = 0; i < 100; i++) {
            const int64_t m = rows[i % 10], n = sizes[i / 10 % 5][0], k = sizes[i / 10 % 5][1];
            const bool accumulate = i >= 50;
            test_term term = term_random(m, n, k, LORA_TYPE_BF16, false, true);
            lr_product_term argument = term_argument(&term);
            argument.coarse = m < 16 && accumulate ? LORA_COARSE_BF16 : LORA_COARSE_BF16_TWICE;
            result_matrix c = result_random(m, n);
            lora_device device;
            device_open(&device, 1 + i % 3, set->features, m, n, k);
            lr_product_sum(&device, m, n, 1, &argument, accumulate, c.data, c.stride, NULL);
            for (int64_t at = 0; at < m * n; at++) {
                double exact = 0, split = 0, squares = 0, partial = 0, before = accumulate ? c.before[at] : 0;
                for (int64_t p = 0; p < k; p++) {
                    const double x = (double)(term.alpha * (float)value_of(&term.a, false, at / n, p)),
                                 y = value_of(&term.b, true, p, at % n), first = rounded(x);
                    exact += x * y;
                    split += (first + rounded(x - first)) * y;
                    squares += x * y * x * y;
                    partial += exact * exact;
                }
                const double got = (double)c.data[at / n * c.stride + at % n] - before;
                const bool is_split = fabs(got - split) < fabs(got - exact);
                check_sum(got + before, (is_split ? split : exact) + before, before, 2 * squares, 2 * partial, 2 * k,
                          set->name);
            }
            result_check_guards(&c);
            device_close(&device);
            result_free(&c);
            matrix_free(&term.a);
            matrix_free(&term.b);
        }
    }
}

// Used on processors without kernels of our own; here by hand.
static void products_by_openblas(void **unused)
{
    lora_device device;
    device_open(&device, 2, 0, 70, 140, 300);
    lr_openblas_open(&device.openblas);
    if (!device.openblas.library) {
        device_close(&device);
        skip();
    }
    for (int i = 0; i < 60; i++) {
        int64_t m = 10 + draw(60), n = 1 + draw(140), k = 1 + draw(300);
        bool at = draw(2), bt = draw(2), accumulate = draw(2);
        run_case(&device, "OpenBLAS", m, n, k, i % 6 ? LORA_TYPE_F32 : LORA_TYPE_BF16, at, bt, accumulate);
    }
    lr_openblas_close(&device.openblas);
    device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_every_kind), cmocka_unit_test(random_sizes),
        cmocka_unit_test(stretches_and_chunks), cmocka_unit_test(sums_of_terms),
        cmocka_unit_test(same_bits), cmocka_unit_test(sizes_far_apart),
        cmocka_unit_test(zeros_and_infinities), cmocka_unit_test(about_as_exact_as_plain_sums),
        cmocka_unit_test(coarse_products), cmocka_unit_test(weights_anywhere_in_a_line),
        cmocka_unit_test(twice_coarse_products), cmocka_unit_test(products_by_openblas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
