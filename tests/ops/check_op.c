#include "check_op.h"

#include "blocks.h"

#include "cpu/cpu.h"

#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const op_check *const checks[] = {
    &check_device, &check_move, &check_linear, &check_norm, &check_rotary, &check_attention, &check_gate, &check_loss,
    &check_optimizer, &check_merge,
};
#define SKIPPED_SCALES 3 // before the first in their buffer
#define CHECKS ((int)(sizeof checks / sizeof checks[0]))

void *scratch(int64_t count, size_t size)
{
    void *block = calloc(count > 0 ? (size_t)count : 1, size);
    if (!block) {
        fprintf(stderr, "no memory for the test\n");
        exit(2);
    }
    return block;
}

/* ---- random numbers ---- */

static uint64_t next(check *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

double uniform(check *c)
{
    return (double)(next(c) >> 11) * 0x1p-53;
}

double normal(check *c)
{
    return sqrt(-2 * log(uniform(c) + 1e-300)) * cos(6.283185307179586 * uniform(c));
}

int64_t below(check *c, int64_t bound)
{
    return (int64_t)(next(c) % (uint64_t)bound);
}

/* ---- cases ---- */

void case_begin(check *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->label, sizeof c->label, format, arguments);
    va_end(arguments);
    c->failed = false;
    c->cases++;
}

void fail_case(check *c, const char *format, ...)
{
    if (c->failed) return;
    c->failed = true;
    c->failures++;
    printf("FAILED %s [%s]: ", c->label, c->backend->describe(c->device));
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

void check_ok(check *c, lora_status status)
{
    if (status != LORA_OK) fail_case(c, "status %d", (int)status);
}

static void read_image(check *c, const tensor *t, uint8_t *image)
{
    check_ok(c, c->backend->synchronize(c->device));
    check_ok(c, c->backend->buffer_read(c->device, t->view.buffer, 0, image, t->size));
}

static uint64_t row_size(lora_type type, int64_t numbers)
{
    return (uint64_t)(numbers / block_numbers(type) * block_bytes(type));
}

static void check_surroundings(check *c, const tensor *t)
{
    uint8_t *now = scratch((int64_t)t->size, 1);
    read_image(c, t, now);
    const uint64_t pitch = row_size(t->view.type, t->view.stride), width = row_size(t->view.type, t->view.cols);
    for (uint64_t i = 0; i < t->size; i++) {
        const bool after_begin = i >= t->view.offset && pitch > 0;
        const uint64_t row = after_begin ? (i - t->view.offset) / pitch : 0,
                       at = after_begin ? (i - t->view.offset) % pitch : 0;
        const bool inside = after_begin && row < (uint64_t)t->view.rows && at < width;
        if (now[i] != t->image[i] && !(inside && t->output)) {
            fail_case(c, "byte %llu of a [%lld, %lld] %s changed", (unsigned long long)i, (long long)t->view.rows,
                      (long long)t->view.cols, inside ? "input" : "tensor's surroundings");
            break;
        }
    }
    free(now);
}

void case_end(check *c)
{
    while (c->tensors) {
        tensor *t = c->tensors;
        c->tensors = t->next;
        check_surroundings(c, t);
        c->backend->buffer_free(c->device, t->view.buffer);
        if (t->scales) c->backend->buffer_free(c->device, t->view.scale_buffer);
        free(t->scales);
        free(t->value);
        free(t->image);
        free(t->host);
        free(t);
    }
}

/* ---- storage types, by arithmetic of its own ---- */

// The nearest number with `bits` bits of mantissa (ties to even) and no step below 2^lowest.
static double rounded(double value, int bits, int lowest)
{
    int exponent;
    if (value == 0) return 0;
    frexp(value, &exponent);
    const int step = exponent - bits > lowest ? exponent - bits : lowest;
    return ldexp(nearbyint(ldexp(value, -step)), step);
}

static uint16_t half_bits(double value)
{
    const uint16_t sign = value < 0 ? 0x8000 : 0;
    int exponent;
    const double fraction = frexp(fabs(value), &exponent); // in [0.5, 1)
    if (value == 0) return 0;
    if (exponent < -13) return (uint16_t)(sign | (uint16_t)ldexp(fabs(value), 24));
    return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) | (uint16_t)((fraction * 2 - 1) * 1024));
}

static void encode(uint8_t *row, lora_type type, double *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (type == LORA_TYPE_F32) {
            const float f = (float)values[i];
            memcpy(row + 4 * i, &f, 4);
            values[i] = (double)f;
        } else if (type == LORA_TYPE_F16) {
            values[i] = rounded(values[i], 11, -24);
            const uint16_t half = half_bits(values[i]);
            memcpy(row + 2 * i, &half, 2);
        } else {
            values[i] = rounded(values[i], 8, -133);
            const float f = (float)values[i];
            uint32_t bits;
            memcpy(&bits, &f, 4);
            memcpy(row + 2 * i, (uint16_t[]){(uint16_t)(bits >> 16)}, 2);
        }
    }
}

static uint32_t random_word(void *source)
{
    return (uint32_t)(next(source) >> 32);
}

// Random blocks whatever the values were to be; `scales`: of this row.
static void encode_blocks(check *c, uint8_t *row, const float *scales, lora_type type, double *values, int64_t n)
{
    const int64_t numbers = block_numbers(type);
    for (int64_t b = 0; b < n / numbers; b++) {
        uint8_t *block = row + b * block_bytes(type);
        block_random(type, block, random_word, c);
        const float scale = type == LORA_TYPE_INT8 ? scales[0] : type == LORA_TYPE_NF4 ? scales[b] : 0;
        for (int64_t i = 0; i < numbers; i++) values[b * numbers + i] = block_value(type, block, scale, i);
    }
}

// Of INT8 one for each row, of NF4 one for each block, padding included; a few numbers into their buffer.
static void make_scales(check *c, tensor *t)
{
    const lora_type type = t->view.type;
    if (type != LORA_TYPE_INT8 && type != LORA_TYPE_NF4) return;
    t->scales_a_row = type == LORA_TYPE_INT8 ? 1 : t->view.stride / 64;
    const int64_t count = SKIPPED_SCALES + t->view.rows * t->scales_a_row;
    t->scales = scratch(count, sizeof(float));
    for (int64_t i = 0; i < count; i++) t->scales[i] = (float)(0.1 + uniform(c));
    t->view.scale_offset = SKIPPED_SCALES * sizeof(float);
    check_ok(c, c->backend->buffer_wrap(c->device, t->scales, (uint64_t)count * sizeof(float), &t->view.scale_buffer));
}

static double decode(const uint8_t *row, lora_type type, int64_t i)
{
    if (type == LORA_TYPE_F32) {
        float f;
        memcpy(&f, row + 4 * i, 4);
        return (double)f;
    }
    uint16_t bits;
    memcpy(&bits, row + 2 * i, 2);
    if (type == LORA_TYPE_F16) return half_value(row + 2 * i);
    const uint32_t wide = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &wide, 4);
    return (double)f;
}

/* ---- tensors ---- */

static tensor *tensor_make(check *c, lora_type type, int64_t rows, int64_t cols, layout how, double *values)
{
    tensor *t = scratch(1, sizeof *t);
    const int64_t block = block_numbers(type);
    t->view = (lora_view){.rows = rows, .cols = cols, .stride = cols, .type = type};
    if (how == PADDED) {
        t->view.stride = cols + block * (1 + below(c, 5));
        t->view.offset =
            type == LORA_TYPE_F32 ? 4 * (uint64_t)(1 + 2 * below(c, 8)) : 2 * (uint64_t)(1 + 2 * below(c, 8));
    }
    if (how == WRAPPED) t->view.offset = 1 + 2 * (uint64_t)below(c, 4);
    t->size = t->view.offset + row_size(type, t->view.stride * rows) + (how == TIGHT ? 0 : 13);
    t->image = scratch((int64_t)t->size, 1);
    for (uint64_t i = 0; i < t->size; i++) t->image[i] = (uint8_t)(0x5A + i * 37);
    t->value = values;
    make_scales(c, t);
    for (int64_t i = 0; i < rows; i++) {
        uint8_t *row = t->image + t->view.offset + row_size(type, t->view.stride * i);
        const float *scales = t->scales ? t->scales + SKIPPED_SCALES + i * t->scales_a_row : NULL;
        if (type >= LORA_TYPE_INT8) encode_blocks(c, row, scales, type, values + i * cols, cols);
        else encode(row, type, values + i * cols, cols);
    }
    if (how == WRAPPED) {
        t->host = scratch((int64_t)t->size, 1);
        memcpy(t->host, t->image, t->size);
        check_ok(c, c->backend->buffer_wrap(c->device, t->host, t->size, &t->view.buffer));
    } else {
        check_ok(c, c->backend->buffer_create(c->device, t->size, &t->view.buffer));
        check_ok(c, c->backend->buffer_write(c->device, t->view.buffer, 0, t->image, t->size));
    }
    t->next = c->tensors;
    c->tensors = t;
    return t;
}

tensor *tensor_zero(check *c, lora_type type, int64_t rows, int64_t cols, layout how)
{
    return tensor_make(c, type, rows, cols, how, scratch(rows * cols, sizeof(double)));
}

tensor *tensor_random(check *c, lora_type type, int64_t rows, int64_t cols, layout how, double deviation)
{
    double *values = scratch(rows * cols, sizeof(double));
    for (int64_t i = 0; i < rows * cols; i++) values[i] = deviation * normal(c);
    return tensor_make(c, type, rows, cols, how, values);
}

tensor *tensor_of(check *c, lora_type type, int64_t rows, int64_t cols, layout how, double *values)
{
    double *copy = scratch(rows * cols, sizeof(double));
    memcpy(copy, values, (size_t)(rows * cols) * sizeof(double));
    tensor *t = tensor_make(c, type, rows, cols, how, copy);
    memcpy(values, copy, (size_t)(rows * cols) * sizeof(double));
    return t;
}

const double *tensor_read(check *c, tensor *t)
{
    t->output = true;
    uint8_t *now = scratch((int64_t)t->size, 1);
    read_image(c, t, now);
    for (int64_t i = 0; i < t->view.rows; i++)
        for (int64_t j = 0; j < t->view.cols; j++)
            t->value[i * t->view.cols + j] =
                decode(now + t->view.offset + row_size(t->view.type, t->view.stride * i), t->view.type, j);
    free(now);
    return t->value;
}

uint32_t tensor_bits(check *c, tensor *t, int64_t row, int64_t col)
{
    uint32_t bits = 0;
    t->output = true;
    const uint64_t width = t->view.type == LORA_TYPE_F32 ? 4 : 2;
    check_ok(c, c->backend->synchronize(c->device));
    check_ok(c, c->backend->buffer_read(c->device, t->view.buffer,
                                        t->view.offset + row_size(t->view.type, t->view.stride * row + col), &bits,
                                        width));
    return bits;
}

/* ---- comparing ---- */

void check_values(check *c, const char *name, const double *got, const double *want, const double *size, int64_t n,
                  double tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * size[i]) && got[i] != want[i] &&
            !(isnan(got[i]) && isnan(want[i]))) {
            fail_case(c, "%s[%lld] is %.9g, expected %.9g +- %.3g", name, (long long)i, got[i], want[i],
                      tolerance * size[i]);
            return;
        }
}

void check_copy(check *c, tensor *copy, const tensor *of)
{
    const int64_t n = of->view.rows * of->view.cols;
    double *want = scratch(n, sizeof(double)), *zero = scratch(n, sizeof(double));
    memcpy(want, of->value, (size_t)n * sizeof(double));
    tensor_of(c, copy->view.type, of->view.rows, of->view.cols, TIGHT, want); // rounds
    check_values(c, "copy", tensor_read(c, copy), want, zero, n, 0);
    free(want);
    free(zero);
}

#define SAMPLES 24

void check_gradient(check *c, const char *name, const double *got, const double *start, double *input, int64_t n,
                    double (*loss)(void *argument), void *argument, double size, double tolerance)
{
    const int64_t count = n <= c->samples ? n : c->samples;
    double want[SAMPLES], square = 0;
    int64_t at[SAMPLES];
    for (int64_t s = 0; s < count; s++) {
        at[s] = n <= c->samples ? s : s == 0 ? 0 : s == 1 ? n - 1 : below(c, n);
        const double kept = input[at[s]], step = 1e-4 * (1 + fabs(kept));
        double side[2];
        for (int k = 0; k < 2; k++) { // two steps, so that the error falls with the fourth power
            const double h = step * (k + 1);
            input[at[s]] = kept + h;
            const double above = loss(argument);
            input[at[s]] = kept - h;
            side[k] = (above - loss(argument)) / (2 * h);
        }
        input[at[s]] = kept;
        want[s] = (4 * side[0] - side[1]) / 3;
        square += want[s] * want[s];
    }
    const double typical = sqrt(square / (double)(count ? count : 1));
    for (int64_t s = 0; s < count; s++) {
        const double before = start ? start[at[s]] : 0;
        const double bound = tolerance * (fabs(want[s]) + typical + size) + EPSILON * fabs(before);
        if (!(fabs(got[at[s]] - before - want[s]) <= bound)) {
            fail_case(c, "gradient of %s[%lld] is %.9g, finite differences say %.9g +- %.3g", name, (long long)at[s],
                      got[at[s]] - before, want[s], bound);
            return;
        }
    }
}

/* ---- timing ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void bench(check *c, const char *name, double work, const char *unit, void (*run)(check *c, void *argument),
           void *argument)
{
    run(c, argument);
    check_ok(c, c->backend->synchronize(c->device));
    double best = 1e30, total = 0;
    for (int round = 0; total < 0.3 || round < 3; round++) {
        const double begin = seconds();
        run(c, argument);
        check_ok(c, c->backend->synchronize(c->device));
        const double taken = seconds() - begin;
        total += taken;
        if (taken < best) best = taken;
    }
    printf("%-44s %10.1f us %9.1f G%s/s\n", name, best * 1e6, work / best * 1e-9, unit);
}

/* ---- the program ---- */

static char last_message[1024];

static lora_status record_failure(lora_status status, const char *text)
{
    snprintf(last_message, sizeof last_message, "%s", text);
    return status;
}

const char *failure_text(void)
{
    const char *text = lr_error_text(); // the CPU backend's; a plug-in records its own through the host
    return *text ? text : last_message;
}

static void ignore_log(int32_t level, const char *line, void *user)
{
    (void)level, (void)line, (void)user;
}

typedef struct options {
    const char *backend;
    int threads;
    bool bench;
    char **names; // of ops; none: all
    int name_count;
} options;

static bool wanted(const options *o, const char *name)
{
    for (int i = 0; i < o->name_count; i++)
        if (strcmp(o->names[i], name) == 0) return true;
    return o->name_count == 0;
}

// All wanted ops on one device. Returns the number of failures.
static int run_device(const options *o, const lora_backend *backend, int32_t features, int threads)
{
    const lora_backend_host host = {
        .struct_size = sizeof host,
        .allocator = lr_system_allocator,
        .threads = threads,
        .cpu_features = features,
        .log = ignore_log,
        .fail = record_failure,
    };
    check c = {.backend = backend, .host = &host, .random = 0x9E3779B97F4A7C15u, .samples = SAMPLES};
    if (backend->open(&host, &c.device) != LORA_OK) {
        printf("the backend could not be opened: %s\n", last_message);
        return 1;
    }
    lora_workspace_request request = {.max_rows = 2048, .max_cols = 65536, .max_inner = 8192, .max_rank = 256};
    case_begin(&c, "reserve");
    check_ok(&c, backend->reserve(c.device, &request));
    request.head_loss = 1;
    check_ok(&c, backend->reserve(c.device, &request));
    if (o->bench) printf("--- %s\n", backend->describe(c.device));
    for (int i = 0; i < CHECKS; i++) {
        if (!wanted(o, checks[i]->name)) continue;
        const int cases = c.cases, failures = c.failures;
        if (!o->bench)
            checks[i]->run(&c);
        else if (checks[i]->bench)
            checks[i]->bench(&c);
        if (!o->bench)
            printf("%-10s %4d cases %3d failed  [%s]\n", checks[i]->name, c.cases - cases, c.failures - failures,
                   backend->describe(c.device));
    }
    backend->close(c.device);
    return c.failures;
}

static int run_cpu(const options *o)
{
    const int32_t has = lr_cpu_detect_features();
    const int32_t sets[] = {0, LORA_CPU_AVX2, LORA_CPU_AVX2 | LORA_CPU_AVX512, ~LORA_CPU_AMX_BF16, -1};
    int failures = 0;
    for (int i = 0; i < 5; i++) {
        if (sets[i] > 0 && (has & sets[i]) != sets[i]) continue; // not on this machine
        failures += run_device(o, lr_cpu_backend(), sets[i], o->threads ? o->threads : o->bench ? 2 : 1 + i);
    }
    return failures;
}

static int run_plugin(const options *o)
{
    void *handle = dlopen(o->backend, RTLD_NOW);
    void *symbol = handle ? dlsym(handle, LORA_BACKEND_ENTRY) : NULL;
    lora_backend_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    const lora_backend *backend = symbol ? entry(LORA_BACKEND_ABI) : NULL;
    if (!backend) {
        printf("%s is no backend of ABI %d: %s\n", o->backend, LORA_BACKEND_ABI, handle ? "no table" : dlerror());
        return 1;
    }
    return run_device(o, backend, -1, o->threads ? o->threads : 2);
}

int main(int argc, char **argv)
{
    options o = {.backend = "cpu", .names = scratch(argc, sizeof(char *))};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            o.bench = true;
        else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc)
            o.backend = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            o.threads = atoi(argv[++i]);
        else
            o.names[o.name_count++] = argv[i];
    }
    const int failures = strcmp(o.backend, "cpu") == 0 ? run_cpu(&o) : run_plugin(&o);
    free(o.names);
    return failures ? 1 : 0;
}
