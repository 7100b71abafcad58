// norm_forward and norm_backward: RMS and layer norm, whole rows and groups, weights of three types.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct problem {
    int64_t rows, cols, group;
    int32_t kind;
    float epsilon, offset;
    double *x, *w, *bias, *gy; // bias may be NULL
    double *y, *statistics;
} problem;

static void reference(problem *p)
{
    for (int64_t i = 0; i < p->rows * p->cols / p->group; i++) {
        const double *x = p->x + i * p->group;
        double mean = 0, square = 0;
        for (int64_t j = 0; j < p->group; j++) mean += x[j] / (double)p->group;
        if (p->kind == LORA_NORM_RMS) mean = 0;
        for (int64_t j = 0; j < p->group; j++) square += (x[j] - mean) * (x[j] - mean) / (double)p->group;
        const double inverse = 1 / sqrt(square + (double)p->epsilon);
        p->statistics[2 * i] = mean;
        p->statistics[2 * i + 1] = inverse;
        for (int64_t j = 0; j < p->group; j++)
            p->y[i * p->group + j] =
                (x[j] - mean) * inverse * (p->w[j] + (double)p->offset) + (p->bias ? p->bias[j] : 0);
    }
}

static double loss(void *argument)
{
    problem *p = argument;
    reference(p);
    double sum = 0;
    for (int64_t i = 0; i < p->rows * p->cols; i++) sum += p->gy[i] * p->y[i];
    return sum;
}

static void run_case(check *c, int64_t rows, int64_t cols, int64_t group, int32_t kind, lora_type type,
                     lora_type x_type, layout how, bool accumulate)
{
    case_begin(c, "norm kind %d, %lldx%lld in groups of %lld, weight type %d, x of type %d, layout %d", (int)kind,
               (long long)rows, (long long)cols, (long long)group, (int)type, (int)x_type, (int)how);
    const layout plain = how == TIGHT ? TIGHT : PADDED;
    const int64_t n = rows * cols, width = group ? group : cols, groups = cols / width;
    problem p = {
        .rows = rows, .cols = cols, .group = width, .kind = kind, .epsilon = 1e-5f, .offset = rows % 2 ? 1 : 0};
    tensor *x = tensor_random(c, x_type, rows, cols, plain, 2),
           *y = tensor_zero(c, LORA_TYPE_F32, rows, cols, plain);
    tensor *w = tensor_random(c, type, 1, width, how, 1);
    tensor *bias = kind == LORA_NORM_LAYER ? tensor_random(c, LORA_TYPE_F32, 1, width, how, 1) : NULL;
    tensor *statistics = tensor_zero(c, LORA_TYPE_F32, rows * groups, 2, plain);
    tensor *gy = tensor_random(c, LORA_TYPE_F32, rows, cols, plain, 1),
           *gx = tensor_random(c, LORA_TYPE_F32, rows, cols, plain, 1);
    tensor *gw = tensor_random(c, LORA_TYPE_F32, 1, width, plain, 1),
           *gb = tensor_random(c, LORA_TYPE_F32, 1, width, plain, 1);
    p.x = x->value, p.w = w->value, p.bias = bias ? bias->value : NULL, p.gy = gy->value;
    p.y = scratch(n, sizeof(double)), p.statistics = scratch(rows * groups * 2, sizeof(double));
    tensor *copy = rows % 3 ? tensor_zero(c, LORA_TYPE_BF16, rows, cols, plain) : NULL;
    lora_norm norm = {kind,       p.epsilon,     p.offset,      (int32_t)group, w->view,
                      view_of(bias), view_of(copy), gw->view, absent()};
    if (bias) norm.grad_bias = gb->view;

    check_ok(c, c->backend->norm_forward(c->device, y->view, statistics->view, x->view, &norm));
    reference(&p);
    double *size = scratch(n, sizeof(double)), *start_x = scratch(n, sizeof(double)),
           *start_w = scratch(width, sizeof(double));
    double *start_b = scratch(width, sizeof(double)), *one = scratch(rows * groups * 2, sizeof(double));
    for (int64_t i = 0; i < rows * groups * 2; i++)
        one[i] = 2 + fabs(p.statistics[i]); // deviation 2: the size of a mean's terms
    for (int64_t i = 0; i < n; i++) {
        const double *s = p.statistics + i / width * 2;
        size[i] = (fabs(x->value[i]) + fabs(s[0])) * s[1] * (fabs(w->value[i % width]) + 1) +
                  (bias ? fabs(bias->value[i % width]) : 0);
    }
    check_values(c, "y", tensor_read(c, y), p.y, size, n, 6 * EPSILON);
    if (copy) check_copy(c, copy, x);
    check_values(c, "statistics", tensor_read(c, statistics), p.statistics, one, rows * groups * 2, 4 * EPSILON);

    memcpy(start_x, gx->value, (size_t)n * sizeof(double));
    memcpy(start_w, gw->value, (size_t)width * sizeof(double));
    memcpy(start_b, gb->value, (size_t)width * sizeof(double));
    check_ok(c, c->backend->norm_backward(c->device, gx->view, gy->view, x->view, statistics->view, &norm, accumulate));
    double steepest = 0; // d y / d x
    for (int64_t i = 0; i < rows * groups; i++) steepest = fmax(steepest, p.statistics[2 * i + 1]);
    const double tolerance = EPSILON * 16, sums = EPSILON * (8 + sqrt((double)(rows * groups)));
    check_gradient(c, "x", tensor_read(c, gx), accumulate ? start_x : NULL, p.x, n, loss, &p, steepest, tolerance);
    check_gradient(c, "weight", tensor_read(c, gw), start_w, p.w, width, loss, &p, 0, sums);
    if (bias) check_gradient(c, "bias", tensor_read(c, gb), start_b, p.bias, width, loss, &p, 0, sums);
    free(size);
    free(start_x);
    free(start_w);
    free(start_b);
    free(one);
    free(p.y);
    free(p.statistics);
    case_end(c);
}

static void run(check *c)
{
    const int64_t shapes[][3] = {{1, 2, 0},   {3, 17, 0},   {5, 64, 16},  {7, 96, 32},
                                 {2, 576, 0}, {9, 129, 43}, {130, 100, 0}};
    const lora_type types[] = {LORA_TYPE_F32, LORA_TYPE_F16, LORA_TYPE_BF16};
    for (int s = 0; s < 7; s++)
        for (int how = TIGHT; how <= WRAPPED; how++)
            for (int t = 0; t < 3; t++)
                for (int32_t kind = LORA_NORM_RMS; kind <= LORA_NORM_LAYER; kind++)
                    run_case(c, shapes[s][0], shapes[s][1], shapes[s][2], kind, types[t],
                             (how + t) % 2 ? LORA_TYPE_BF16 : LORA_TYPE_F32, (layout)how, (s + t) % 2);
}

typedef struct bench_job {
    tensor *y, *statistics, *x, *gy;
    lora_norm norm;
} bench_job;

static void bench_forward(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->norm_forward(c->device, job->y->view, job->statistics->view, job->x->view, &job->norm);
}

static void bench_backward(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->norm_backward(c->device, job->y->view, job->gy->view, job->x->view, job->statistics->view, &job->norm,
                              1);
}

static void run_bench(check *c)
{
    const int64_t rows = 1024, cols = 576;
    bench_job job = {.y = tensor_zero(c, LORA_TYPE_F32, rows, cols, TIGHT),
                     .statistics = tensor_zero(c, LORA_TYPE_F32, rows, 2, TIGHT),
                     .x = tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1),
                     .gy = tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1)};
    job.norm =
        (lora_norm){LORA_NORM_RMS, 1e-5f,    0,       0, tensor_random(c, LORA_TYPE_F32, 1, cols, TIGHT, 1)->view,
                    absent(),      absent(), absent(), absent()};
    job.y->output = job.statistics->output = true;
    bench(c, "rms norm forward 1024x576", 8.0 * rows * cols, "B", bench_forward, &job);
    bench(c, "rms norm backward, added", 16.0 * rows * cols, "B", bench_backward, &job);
    case_end(c);
}

const op_check check_norm = {"norm", run, run_bench};
