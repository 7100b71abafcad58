// square_sum and adamw over several tensors at once.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS 4
static const int64_t shapes[TENSORS][2] = {{1, 1}, {8, 67}, {33, 5}, {1, 40000}};

static void run_square_sum(check *c, layout how)
{
    case_begin(c, "square sum");
    lora_view views[TENSORS];
    double want = 0, got = 0, again = 0;
    for (int t = 0; t < TENSORS; t++) {
        const tensor *x = tensor_random(c, LORA_TYPE_F32, shapes[t][0], shapes[t][1], how, 1);
        views[t] = x->view;
        for (int64_t i = 0; i < shapes[t][0] * shapes[t][1]; i++) want += x->value[i] * x->value[i];
    }
    check_ok(c, c->backend->square_sum(c->device, views, TENSORS, &got));
    check_ok(c, c->backend->square_sum(c->device, views, TENSORS, &again));
    if (got != again) fail_case(c, "two calls differ");
    check_values(c, "sum", &got, &want, &want, 1, 1e-12);
    check_ok(c, c->backend->square_sum(c->device, views, 0, &got));
    if (got != 0) fail_case(c, "the sum of nothing is %g", got);
    case_end(c);
}

static void run_adamw(check *c, layout how, bool zero)
{
    case_begin(c, "adamw%s", zero ? ", zeroing" : "");
    lora_parameter parameters[TENSORS];
    tensor *p[TENSORS], *g[TENSORS], *m[TENSORS], *v[TENSORS];
    double *want_p[TENSORS], *want_m[TENSORS], *want_v[TENSORS], *size[TENSORS];
    lora_adamw settings = {0.9f, 0.999f, 1e-8f, 1, 0.5f, zero};
    for (int t = 0; t < TENSORS; t++) {
        const int64_t rows = shapes[t][0], cols = shapes[t][1], n = rows * cols;
        p[t] = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1);
        g[t] = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 0.1);
        m[t] = tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
        v[t] = tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
        parameters[t] =
            (lora_parameter){p[t]->view, g[t]->view, m[t]->view, v[t]->view, 0.01f * (float)(t + 1), t % 2 ? 0.1f : 0};
        want_p[t] = scratch(n, sizeof(double)), want_m[t] = scratch(n, sizeof(double));
        want_v[t] = scratch(n, sizeof(double)), size[t] = scratch(n, sizeof(double));
        memcpy(want_p[t], p[t]->value, (size_t)n * sizeof(double));
    }
    const double beta1 = (double)settings.beta1, beta2 = (double)settings.beta2;
    for (int step = 1; step <= 3; step++) {
        settings.step = step;
        check_ok(c, c->backend->adamw(c->device, parameters, TENSORS, &settings));
        for (int t = 0; t < TENSORS; t++) {
            const int64_t n = shapes[t][0] * shapes[t][1];
            const double rate = (double)parameters[t].learning_rate, decay = (double)parameters[t].weight_decay;
            tensor_read(c, p[t]), tensor_read(c, m[t]), tensor_read(c, v[t]);
            for (int64_t i = 0; i < n; i++) {
                const double gradient = zero && step > 1 ? 0 : 0.5 * g[t]->value[i]; // never read back
                want_m[t][i] = beta1 * want_m[t][i] + (1 - beta1) * gradient;
                want_v[t][i] = beta2 * want_v[t][i] + (1 - beta2) * gradient * gradient;
                const double first = want_m[t][i] / (1 - pow(beta1, step)),
                             second = want_v[t][i] / (1 - pow(beta2, step));
                want_p[t][i] -= rate * decay * want_p[t][i];
                want_p[t][i] -= rate * first / (sqrt(second) + 1e-8);
                size[t][i] = fabs(want_p[t][i]) + 10 * rate;
            }
            check_values(c, "parameter", p[t]->value, want_p[t], size[t], n, 4 * EPSILON);
            for (int64_t i = 0; i < n; i++) size[t][i] = fabs(want_m[t][i]) + 0.1;
            check_values(c, "first moment", m[t]->value, want_m[t], size[t], n, 2 * EPSILON);
            check_values(c, "second moment", v[t]->value, want_v[t], want_v[t], n, 1e-6);
        }
    }
    for (int t = 0; t < TENSORS; t++) {
        const double *gradient = zero ? tensor_read(c, g[t]) : NULL;
        for (int64_t i = 0; zero && i < shapes[t][0] * shapes[t][1]; i++)
            if (gradient[i] != 0) fail_case(c, "a gradient was not zeroed");
        free(want_p[t]);
        free(want_m[t]);
        free(want_v[t]);
        free(size[t]);
    }
    case_end(c);
}

static void run(check *c)
{
    for (int how = TIGHT; how <= PADDED; how++) {
        run_square_sum(c, (layout)how);
        run_adamw(c, (layout)how, false);
        run_adamw(c, (layout)how, true);
    }
}

static void bench_adamw(check *c, void *argument)
{
    const lora_adamw settings = {0.9f, 0.999f, 1e-8f, 1, 1, 1};
    c->backend->adamw(c->device, argument, 1, &settings);
}

static void bench_square_sum(check *c, void *argument)
{
    double sum;
    c->backend->square_sum(c->device, argument, 1, &sum);
}

static void run_bench(check *c)
{
    const int64_t rows = 1024, cols = 1024;
    tensor *t[4];
    for (int i = 0; i < 4; i++) {
        t[i] = tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1);
        t[i]->output = true;
    }
    lora_parameter parameter = {t[0]->view, t[1]->view, t[2]->view, t[3]->view, 1e-4f, 0};
    bench(c, "adamw 1M numbers", 32.0 * rows * cols, "B", bench_adamw, &parameter);
    bench(c, "square sum 1M numbers", 4.0 * rows * cols, "B", bench_square_sum, &t[0]->view);
    case_end(c);
}

const op_check check_optimizer = {"optimizer", run, run_bench};
