// rotary: both kinds, partial rotation, and that the inverse undoes it.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void run_case(check *c, int64_t rows, int64_t heads, int64_t dim, int64_t turned, int32_t kind, layout how)
{
    case_begin(c, "rotary kind %d, %lld rows, %lld heads of %lld, %lld turned", (int)kind, (long long)rows,
               (long long)heads, (long long)dim, (long long)turned);
    const int64_t cols = heads * dim, positions = 40, half = turned / 2;
    double *cosine = scratch(positions * half, sizeof(double)), *sine = scratch(positions * half, sizeof(double));
    for (int64_t i = 0; i < positions * half; i++) {
        const double angle = (double)(i / half) * pow(10000, -(double)(i % half) / (double)half);
        cosine[i] = cos(angle);
        sine[i] = sin(angle);
    }
    tensor *x = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1);
    tensor *ct = tensor_of(c, LORA_TYPE_F32, positions, half, how, cosine),
           *st = tensor_of(c, LORA_TYPE_F32, positions, half, how, sine);
    int32_t *at = scratch(rows, sizeof(int32_t));
    double *want = scratch(rows * cols, sizeof(double)), *size = scratch(rows * cols, sizeof(double));
    double *start = scratch(rows * cols, sizeof(double));
    memcpy(start, x->value, (size_t)(rows * cols) * sizeof(double));
    memcpy(want, x->value, (size_t)(rows * cols) * sizeof(double));
    for (int64_t i = 0; i < rows; i++) {
        at[i] = (int32_t)below(c, positions);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < half; j++) {
                const int64_t first = i * cols + h * dim + (kind == LORA_ROTARY_HALF ? j : 2 * j);
                const int64_t second = first + (kind == LORA_ROTARY_HALF ? half : 1);
                const double co = cosine[at[i] * half + j], si = sine[at[i] * half + j];
                want[first] = start[first] * co - start[second] * si;
                want[second] = start[second] * co + start[first] * si;
                size[first] = size[second] = fabs(start[first]) + fabs(start[second]);
            }
    }
    lora_rotary rotary = {kind, (int32_t)dim, (int32_t)turned, 0, ct->view, st->view, at};
    check_ok(c, c->backend->rotary(c->device, x->view, &rotary));
    check_values(c, "x", tensor_read(c, x), want, size, rows * cols, 2 * EPSILON);
    rotary.inverse = 1;
    check_ok(c, c->backend->rotary(c->device, x->view, &rotary));
    check_values(c, "x turned back", tensor_read(c, x), start, size, rows * cols, 4 * EPSILON);
    case_end(c);
    free(cosine);
    free(sine);
    free(at);
    free(want);
    free(size);
    free(start);
}

static void run(check *c)
{
    for (int32_t kind = LORA_ROTARY_HALF; kind <= LORA_ROTARY_INTERLEAVED; kind++)
        for (int how = TIGHT; how <= PADDED; how++) {
            run_case(c, 1, 1, 2, 2, kind, (layout)how);
            run_case(c, 5, 3, 16, 16, kind, (layout)how);
            run_case(c, 37, 9, 64, 64, kind, (layout)how);
            run_case(c, 11, 2, 80, 20, kind, (layout)how);
            run_case(c, 300, 4, 38, 26, kind, (layout)how);
        }
}

typedef struct bench_job {
    tensor *x;
    lora_rotary rotary;
} bench_job;

static void bench_rotary(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->rotary(c->device, job->x->view, &job->rotary);
}

static void run_bench(check *c)
{
    enum { ROWS = 1024 };
    int32_t at[ROWS];
    for (int i = 0; i < ROWS; i++) at[i] = i;
    bench_job job = {.x = tensor_random(c, LORA_TYPE_F32, ROWS, 576, TIGHT, 1)};
    job.x->output = true;
    tensor *angles = tensor_zero(c, LORA_TYPE_F32, ROWS, 32, TIGHT);
    job.rotary = (lora_rotary){LORA_ROTARY_HALF, 64, 64, 0, angles->view, angles->view, at};
    bench(c, "rotary 1024x576", 8.0 * ROWS * 576, "B", bench_rotary, &job);
    case_end(c);
}

const op_check check_rotary = {"rotary", run, run_bench};
