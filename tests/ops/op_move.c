// fill, add, convert, embed_forward, embed_backward.
#include "blocks.h"
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int64_t shapes[][2] = {{1, 1}, {1, 33}, {7, 16}, {13, 67}, {64, 256}, {301, 1023}};
#define SHAPES ((int)(sizeof shapes / sizeof shapes[0]))

static void run_fill_and_add(check *c, int64_t rows, int64_t cols, layout how)
{
    case_begin(c, "fill %lldx%lld", (long long)rows, (long long)cols);
    tensor *t = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1);
    double *want = scratch(rows * cols, sizeof(double)), *size = scratch(rows * cols, sizeof(double));
    check_ok(c, c->backend->fill(c->device, t->view, -1.5f));
    for (int64_t i = 0; i < rows * cols; i++) want[i] = -1.5;
    check_values(c, "target", tensor_read(c, t), want, size, rows * cols, 0);
    case_end(c);

    case_begin(c, "add %lldx%lld", (long long)rows, (long long)cols);
    t = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1);
    tensor *s = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1);
    for (int64_t i = 0; i < rows * cols; i++) {
        want[i] = t->value[i] + 0.75 * s->value[i];
        size[i] = fabs(t->value[i]) + fabs(s->value[i]);
    }
    check_ok(c, c->backend->add(c->device, t->view, s->view, 0.75f));
    check_values(c, "target", tensor_read(c, t), want, size, rows * cols, EPSILON);
    case_end(c);
    free(want);
    free(size);
}

static void run_convert(check *c, lora_type type, int64_t rows, int64_t cols, layout how)
{
    case_begin(c, "convert from type %d %lldx%lld", (int)type, (long long)rows, (long long)cols);
    tensor *from = tensor_random(c, type, rows, cols, how, 3);
    tensor *to = tensor_zero(c, LORA_TYPE_F32, rows, cols, how == WRAPPED ? PADDED : how);
    double *size = scratch(rows * cols, sizeof(double));
    for (int64_t i = 0; i < rows * cols; i++) size[i] = fabs(from->value[i]);
    check_ok(c, c->backend->convert(c->device, to->view, from->view));
    // Exact, but for the product of a block's scale and number.
    check_values(c, "target", tensor_read(c, to), from->value, size, rows * cols,
                 type >= LORA_TYPE_INT8 ? 2 * EPSILON : 0);
    free(size);
    case_end(c);
}

// The f16 and bf16 nearest to a float, ties to even, computed in double.
static uint32_t nearest_bits(lora_type type, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    const uint32_t sign = bits >> 16 & 0x8000;
    const double magnitude = fabs((double)value);
    const int mantissa = type == LORA_TYPE_F16 ? 11 : 8, lowest = type == LORA_TYPE_F16 ? -24 : -133;
    const int fields = mantissa - 1, bias = type == LORA_TYPE_F16 ? 15 : 127;
    const uint32_t infinite = (uint32_t)(2 * bias + 1) << fields;
    if (isinf(value)) return sign | infinite;
    if (magnitude == 0) return sign;
    int exponent;
    frexp(magnitude, &exponent);
    const int step = exponent - mantissa > lowest ? exponent - mantissa : lowest;
    const uint32_t steps = (uint32_t)nearbyint(ldexp(magnitude, -step)); // a carry runs into the exponent's field
    const uint32_t result = steps + ((uint32_t)(step - lowest) << fields);
    return sign | (result > infinite ? infinite : result);
}

static void run_round(check *c, lora_type type)
{
    enum { COLS = 4099 };
    case_begin(c, "convert f32 to type %d", (int)type);
    float *values = scratch(COLS, sizeof(float));
    const float special[] = {0.0f,         -0.0f,           INFINITY,        -INFINITY,       65504.0f,
                             65519.9961f,  65520.0f,        -65520.0f,       1e-8f,           0x1p-24f,
                             0x1p-25f,     0x1.000002p-25f, 0x1.8p-24f,      0x1p-14f,        0x1.ffcp-15f,
                             0x1.ffep-15f, 1.0f + 0x1p-11f, 1.0f + 0x3p-11f, 0x1.fffffep127f, 0x1p-126f,
                             0x1p-149f,    0x1.01p0f,       0x1.03p0f,       0x1.01p-130f};
    for (int i = 0; i < COLS; i++) {
        if (i < (int)(sizeof special / sizeof special[0])) {
            values[i] = special[i];
            continue;
        }
        const uint32_t bits = (uint32_t)below(c, (int64_t)1 << 32);
        memcpy(&values[i], &bits, 4);
        if (isnan(values[i]) || i % 2) values[i] = (float)(normal(c) * pow(2, (double)below(c, 40) - 30));
    }
    double *wide = scratch(COLS, sizeof(double));
    for (int i = 0; i < COLS; i++) wide[i] = (double)values[i];
    wide[COLS - 1] = (double)NAN;
    wide[COLS - 20] = (double)-NAN;
    tensor *from = tensor_of(c, LORA_TYPE_F32, 1, COLS, PADDED, wide), *to = tensor_zero(c, type, 1, COLS, PADDED);
    check_ok(c, c->backend->convert(c->device, to->view, from->view));
    tensor_read(c, to);
    for (int i = 0; i < COLS; i++) {
        const uint32_t got = tensor_bits(c, to, 0, i);
        if (isnan(wide[i]) ? !isnan(to->value[i]) : got != nearest_bits(type, values[i])) {
            fail_case(c, "%a became %04x, expected %04x", (double)values[i], got, nearest_bits(type, values[i]));
            break;
        }
    }
    free(values);
    free(wide);
    case_end(c);
}

// Every one of the 65,536 numbers there and back.
static void run_all_halves(check *c, lora_type type)
{
    enum { ROWS = 256 };
    case_begin(c, "all numbers of type %d", (int)type);
    uint16_t *bits = scratch(ROWS * ROWS, 2);
    for (int i = 0; i < ROWS * ROWS; i++) bits[i] = (uint16_t)i;
    lora_buffer *buffer;
    check_ok(c, c->backend->buffer_wrap(c->device, bits, (uint64_t)ROWS * ROWS * 2, &buffer));
    const lora_view from = {.buffer = buffer, .rows = ROWS, .cols = ROWS, .stride = ROWS, .type = type};
    tensor *middle = tensor_zero(c, LORA_TYPE_F32, ROWS, ROWS, PADDED), *to = tensor_zero(c, type, ROWS, ROWS, TIGHT);
    check_ok(c, c->backend->convert(c->device, middle->view, from));
    check_ok(c, c->backend->convert(c->device, to->view, middle->view));
    tensor_read(c, middle);
    tensor_read(c, to);
    for (int i = 0; i < ROWS * ROWS; i++) {
        const double value = middle->value[i];
        const bool right = isnan(value) ? isnan(to->value[i]) : tensor_bits(c, to, i / ROWS, i % ROWS) == bits[i];
        const int exponent_bits = type == LORA_TYPE_F16 ? 0x7C00 : 0x7F80;
        const bool special = (bits[i] & exponent_bits) == exponent_bits;
        if (!right || special != (isnan(value) || isinf(value))) {
            fail_case(c, "%04x became %g and came back otherwise", bits[i], value);
            break;
        }
    }
    case_end(c);
    c->backend->buffer_free(c->device, buffer);
    free(bits);
}

static void run_embed(check *c, lora_type type, int64_t tokens, int64_t cols, layout how)
{
    const int64_t vocabulary = 37;
    case_begin(c, "embed type %d %lldx%lld", (int)type, (long long)tokens, (long long)cols);
    tensor *table = tensor_random(c, type, vocabulary, cols, how, 1);
    tensor *y = tensor_zero(c, LORA_TYPE_F32, tokens, cols, PADDED),
           *g = tensor_random(c, LORA_TYPE_F32, tokens, cols, PADDED, 1);
    tensor *gt = tensor_random(c, LORA_TYPE_F32, vocabulary, cols, PADDED, 1);
    int32_t *ids = scratch(tokens, sizeof(int32_t));
    double *want = scratch(tokens * cols, sizeof(double)), *size = scratch(tokens * cols, sizeof(double));
    double *sum = scratch(vocabulary * cols, sizeof(double)), *sum_size = scratch(vocabulary * cols, sizeof(double));
    memcpy(sum, gt->value, (size_t)(vocabulary * cols) * sizeof(double));
    for (int64_t i = 0; i < vocabulary * cols; i++) sum_size[i] = fabs(sum[i]);
    for (int64_t i = 0; i < tokens; i++) {
        ids[i] = (int32_t)below(c, vocabulary);
        for (int64_t j = 0; j < cols; j++) {
            want[i * cols + j] = 1.25 * table->value[ids[i] * cols + j];
            size[i * cols + j] = fabs(want[i * cols + j]);
            sum[ids[i] * cols + j] += 1.25 * g->value[i * cols + j];
            sum_size[ids[i] * cols + j] += 1.25 * fabs(g->value[i * cols + j]);
        }
    }
    check_ok(c, c->backend->embed_forward(c->device, y->view, table->view, ids, 1.25f));
    check_ok(c, c->backend->embed_backward(c->device, gt->view, g->view, ids, 1.25f));
    check_values(c, "target", tensor_read(c, y), want, size, tokens * cols, 2 * EPSILON);
    check_values(c, "grad_table", tensor_read(c, gt), sum, sum_size, vocabulary * cols, 4 * EPSILON);
    case_end(c);
    free(ids);
    free(want);
    free(size);
    free(sum);
    free(sum_size);
}

static void run(check *c)
{
    for (int s = 0; s < SHAPES; s++) {
        for (int how = TIGHT; how <= PADDED; how++) run_fill_and_add(c, shapes[s][0], shapes[s][1], (layout)how);
        for (lora_type type = 0; type < LORA_TYPE_COUNT; type++) {
            const int64_t block = block_numbers(type), cols = (shapes[s][1] + block - 1) / block * block;
            if (!c->backend->supports(c->device, LORA_OP_CONVERT, type)) continue;
            for (int how = TIGHT; how <= WRAPPED; how++) {
                run_convert(c, type, shapes[s][0], cols, (layout)how);
                if (c->backend->supports(c->device, LORA_OP_EMBED, type))
                    run_embed(c, type, shapes[s][0], cols, (layout)how);
            }
        }
    }
    run_round(c, LORA_TYPE_F16);
    run_round(c, LORA_TYPE_BF16);
    run_all_halves(c, LORA_TYPE_F16);
    run_all_halves(c, LORA_TYPE_BF16);
}

typedef struct bench_job {
    tensor *target, *source;
} bench_job;

static void bench_convert(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->convert(c->device, job->target->view, job->source->view);
}

static void bench_add(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->add(c->device, job->target->view, job->source->view, 1);
}

static void run_bench(check *c)
{
    const int64_t rows = 1024, cols = 1536;
    tensor *target = tensor_zero(c, LORA_TYPE_F32, rows, cols, TIGHT);
    tensor *f32 = tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1),
           *bf16 = tensor_random(c, LORA_TYPE_BF16, rows, cols, TIGHT, 1);
    tensor *f16 = tensor_random(c, LORA_TYPE_F16, rows, cols, TIGHT, 1),
           *q8 = tensor_random(c, LORA_TYPE_Q8_0, rows, cols, TIGHT, 1);
    tensor *q4_0 = tensor_zero(c, LORA_TYPE_Q4_0, rows, cols, TIGHT),
           *q4_k = tensor_zero(c, LORA_TYPE_Q4_K, rows, cols, TIGHT);
    const double n = (double)(rows * cols);
    target->output = bf16->output = q4_0->output = q4_k->output = true;
    bench(c, "add f32 1024x1536", 12 * n, "B", bench_add, &(bench_job){target, f32});
    bench(c, "convert bf16 to f32", 6 * n, "B", bench_convert, &(bench_job){target, bf16});
    bench(c, "convert f16 to f32", 6 * n, "B", bench_convert, &(bench_job){target, f16});
    bench(c, "convert q8_0 to f32", 5 * n, "B", bench_convert, &(bench_job){target, q8});
    bench(c, "convert f32 to bf16", 6 * n, "B", bench_convert, &(bench_job){bf16, f32});
    bench(c, "convert f32 to q4_0", 4.5625 * n, "B", bench_convert, &(bench_job){q4_0, f32});
    bench(c, "convert f32 to q4_k", 4.5625 * n, "B", bench_convert, &(bench_job){q4_k, f32});
    case_end(c);
}

const op_check check_move = {"move", run, run_bench};
