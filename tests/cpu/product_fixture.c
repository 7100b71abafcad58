#include "product_fixture.h"

#include "tests/ops/blocks.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUARD 4711.0f

void device_open(lora_device *device, int32_t threads, int32_t features, int64_t max_rows, int64_t max_cols,
                 int64_t max_inner)
{
    memset(device, 0, sizeof *device);
    device->allocator = lr_system_allocator;
    device->threads = threads;
    const int32_t faster = LORA_CPU_ADD_UNITS | LORA_CPU_FETCH_AHEAD; // any processor can do as if it had these
    device->features = (lr_cpu_detect_features() | faster) & features;
    assert_int_equal(lr_thread_pool_create(&lr_system_allocator, threads, &device->pool), LORA_OK);
    device->workspace_size = lr_product_workspace(device, max_rows, max_cols, max_inner, false);
    device->workspace = lr_alloc_aligned(&lr_system_allocator, (size_t)device->workspace_size);
    assert_non_null(device->workspace);
}

void device_close(lora_device *device)
{
    lr_thread_pool_free(device->pool);
    lr_free_aligned(&lr_system_allocator, device->workspace);
}

const instruction_set *instruction_sets(void)
{
    static instruction_set found[7];
    int32_t have = lr_cpu_detect_features(), count = 0;
    found[count++] = (instruction_set){"plain", 0};
    if (have & LORA_CPU_AVX2) found[count++] = (instruction_set){"avx2", LORA_CPU_AVX2 | LORA_CPU_FETCH_AHEAD};
    if (have & LORA_CPU_AVX512)
        found[count++] = (instruction_set){"avx512", LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_FETCH_AHEAD};
    if (have & LORA_CPU_AVX512)
        found[count++] = (instruction_set){"winograd", LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_ADD_UNITS};
    if (have & LORA_CPU_NEON) found[count++] = (instruction_set){"neon", LORA_CPU_NEON};
    if (have & LORA_CPU_AVX512_BF16)
        found[count++] = (instruction_set){"bf16", LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_AVX512_BF16};
    if (have & LORA_CPU_AMX_BF16)
        found[count++] = (instruction_set){"amx", LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_AMX_BF16};
    found[count] = (instruction_set){NULL, 0};
    return found;
}

static uint32_t state = 1;

void draw_restart(uint32_t seed)
{
    state = seed * 2 + 1;
}

uint32_t draw(uint32_t bound)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(state >> 4) * bound >> 28);
}

static float draw_float(void)
{
    return (float)draw(1 << 20) / (1 << 19) - 1;
}

static uint16_t draw_half(void)
{
    return (uint16_t)(draw(2) << 15 | draw(16) << 10 | draw(1024)); // below 2, subnormals among them
}

static void draw_number(stored_matrix *matrix, int64_t i, int64_t j)
{
    double *value = &matrix->values[i * matrix->cols + j];
    char *row = matrix->data;
    if (matrix->type == LORA_TYPE_F32) {
        float f = draw_float();
        memcpy(row + (i * matrix->stride + j) * 4, &f, 4);
        *value = (double)f;
    } else if (matrix->type == LORA_TYPE_BF16) {
        float f = draw_float();
        uint32_t bits;
        memcpy(&bits, &f, 4);
        bits &= 0xFFFF0000;
        uint16_t high = (uint16_t)(bits >> 16);
        memcpy(row + (i * matrix->stride + j) * 2, &high, 2);
        memcpy(&f, &bits, 4);
        *value = (double)f;
    } else if (matrix->type == LORA_TYPE_F16) {
        uint16_t half = draw_half();
        memcpy(row + (i * matrix->stride + j) * 2, &half, 2);
        *value = half_value((const uint8_t *)&half);
    }
}

static uint32_t random_word(void *unused)
{
    return draw(1u << 28) << 4;
}

// Row i of a block type.
static void draw_blocks(stored_matrix *matrix, int64_t i)
{
    const int64_t numbers = block_numbers(matrix->type), bytes = block_bytes(matrix->type);
    uint8_t *row = (uint8_t *)matrix->data + i * matrix->stride / numbers * bytes;
    for (int64_t begin = 0; begin < matrix->cols; begin += numbers, row += bytes) {
        const int64_t rest = matrix->cols - begin, scale = matrix->type == LORA_TYPE_INT8 ? 0 : begin / numbers;
        const float *scales = matrix->scales + i * matrix->scales_a_row;
        block_random(matrix->type, row, random_word, NULL);
        for (int64_t j = 0; j < numbers && j < rest; j++)
            matrix->values[i * matrix->cols + begin + j] = block_value(matrix->type, row, scales[scale], j);
    }
}

stored_matrix matrix_random(lora_type type, int64_t rows, int64_t cols, int64_t padding)
{
    const int64_t numbers = block_numbers(type), bytes = block_bytes(type), blocks = (cols + numbers - 1) / numbers;
    stored_matrix matrix = {.rows = rows, .cols = cols, .type = type, .stride = (blocks + padding) * numbers};
    // The last row ends where the block ends, so that reading past it is seen by a sanitizer.
    size_t row_size = (size_t)((blocks + padding) * bytes);
    size_t size = rows ? (size_t)(rows - 1) * row_size + (size_t)(blocks * bytes) : 0;
    size_t shift = type == LORA_TYPE_F32 ? 4 : 2;
    matrix.scales_a_row = type == LORA_TYPE_INT8 ? 1 : blocks + padding;
    matrix.scales = calloc((size_t)(rows * matrix.scales_a_row) + 1, sizeof *matrix.scales);
    matrix.block = calloc(1, size + shift);
    matrix.values = calloc((size_t)(rows * cols) + 1, sizeof *matrix.values);
    assert_non_null(matrix.scales);
    assert_non_null(matrix.block);
    assert_non_null(matrix.values);
    matrix.data = (char *)matrix.block + shift;
    for (int64_t i = 0; i < rows * matrix.scales_a_row; i++) matrix.scales[i] = draw_float();
    for (int64_t i = 0; i < rows; i++) {
        if (type >= LORA_TYPE_INT8) draw_blocks(&matrix, i);
        for (int64_t j = 0; j < cols && type < LORA_TYPE_INT8; j++) draw_number(&matrix, i, j);
    }
    return matrix;
}

void matrix_free(stored_matrix *matrix)
{
    free(matrix->scales);
    free(matrix->block);
    free(matrix->values);
}

lr_operand matrix_operand(const stored_matrix *matrix, bool transposed)
{
    return (lr_operand){.data = matrix->data,
                        .scales = matrix->scales,
                        .stride = matrix->stride,
                        .type = matrix->type,
                        .transposed = transposed};
}

result_matrix result_random(int64_t rows, int64_t cols)
{
    result_matrix result = {.rows = rows, .cols = cols, .stride = cols + 3};
    size_t count = (size_t)(rows * result.stride + 8);
    result.block = malloc(count * sizeof(float));
    result.before = malloc(((size_t)(rows * cols) + 1) * sizeof(double));
    assert_non_null(result.block);
    assert_non_null(result.before);
    for (size_t i = 0; i < count; i++) result.block[i] = GUARD;
    result.data = result.block + 5;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            float value = draw_float();
            result.data[i * result.stride + j] = value;
            result.before[i * cols + j] = (double)value;
        }
    }
    return result;
}

void result_check_guards(const result_matrix *result)
{
    for (int64_t i = 0; i < 5; i++) assert_true(result->block[i] == GUARD);
    for (int64_t i = 0; i < result->rows; i++)
        for (int64_t j = result->cols; j < result->stride; j++)
            assert_true(result->data[i * result->stride + j] == GUARD);
}

void result_free(result_matrix *result)
{
    free(result->block);
    free(result->before);
}

// Each rounding errs by at most eps / 2 of its result, evenly: by eps / sqrt(12) of it in the mean square. Seven
// times that is 2 eps. Roundings are of the partial sums and, without FMA, of the terms; in another order, the
// partial sums are a random walk of the terms, with mean squares that add up to count / 2 * squares. The last
// roundings are counted in full.
void check_sum(double got, double want, double before, double squares, double partial, int64_t count, const char *what)
{
    double walk = partial + squares * (1 + (double)count / 2);
    double bound = (double)FLT_EPSILON * (2 * sqrt(walk) + fabs(before) + fabs(want));
    if (!(fabs(got - want) <= bound)) fail_msg("%s: %.9g instead of %.9g (bound %.3g)", what, got, want, bound);
}
