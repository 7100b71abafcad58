// gate_forward and gate_backward: three activations, with and without `up`, in place and not.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double activate(double x, int32_t activation)
{
    if (activation == LORA_ACTIVATION_SILU) return x / (1 + exp(-x));
    if (activation == LORA_ACTIVATION_GELU) return 0.5 * x * erfc(-x / sqrt(2));
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

typedef struct problem {
    int64_t n;
    int32_t activation;
    double *gate, *up, *gy; // up may be NULL
} problem;

static double loss(void *argument)
{
    const problem *p = argument;
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) sum += p->gy[i] * activate(p->gate[i], p->activation) * (p->up ? p->up[i] : 1);
    return sum;
}

// Forward and backward from gate and up in bf16 have the bits of the same numbers in f32.
static void run_bf16(check *c, int64_t rows, int64_t cols, int32_t activation, bool has_up, layout how)
{
    case_begin(c, "gate activation %d, %lldx%lld%s in bf16", (int)activation, (long long)rows, (long long)cols,
               has_up ? ", up" : "");
    const int64_t n = rows * cols;
    double *zero = scratch(n, sizeof(double));
    tensor *gate = tensor_random(c, LORA_TYPE_BF16, rows, cols, how, 2);
    tensor *gate_f32 = tensor_of(c, LORA_TYPE_F32, rows, cols, how, gate->value);
    tensor *up = has_up ? tensor_random(c, LORA_TYPE_BF16, rows, cols, how, 1) : NULL;
    tensor *up_f32 = has_up ? tensor_of(c, LORA_TYPE_F32, rows, cols, how, up->value) : NULL;
    tensor *gy = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1), *out[3], *want[3];
    for (int i = 0; i < 3; i++) {
        out[i] = tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
        want[i] = tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
    }
    const lora_view gu = has_up ? out[2]->view : absent(), want_gu = has_up ? want[2]->view : absent();
    check_ok(c, c->backend->gate_forward(c->device, out[0]->view, gate->view, view_of(up), absent(), absent(),
                                         activation));
    check_ok(c, c->backend->gate_forward(c->device, want[0]->view, gate_f32->view, view_of(up_f32), absent(), absent(),
                                         activation));
    check_ok(c, c->backend->gate_backward(c->device, out[1]->view, gu, gy->view, gate->view, view_of(up), activation));
    check_ok(c, c->backend->gate_backward(c->device, want[1]->view, want_gu, gy->view, gate_f32->view, view_of(up_f32),
                                          activation));
    const char *names[] = {"y", "grad_gate", "grad_up"};
    for (int i = 0; i < 3; i++) check_values(c, names[i], tensor_read(c, out[i]), tensor_read(c, want[i]), zero, n, 0);
    free(zero);
    case_end(c);
}

static void run_case(check *c, int64_t rows, int64_t cols, int32_t activation, bool has_up, bool in_place, layout how)
{
    case_begin(c, "gate activation %d, %lldx%lld%s%s", (int)activation, (long long)rows, (long long)cols,
               has_up ? ", up" : "", in_place ? ", in place" : "");
    const int64_t n = rows * cols;
    double *values = scratch(n, sizeof(double)), *want = scratch(n, sizeof(double)), *size = scratch(n, sizeof(double));
    for (int64_t i = 0; i < n; i++) values[i] = normal(c) * (i % 7 == 0 ? 30 : i % 5 == 0 ? 0.01 : 2);
    if (n > 20) values[3] = 0, values[5] = 200, values[6] = -200, values[8] = -88, values[9] = 1e-20;
    tensor *gate = tensor_of(c, LORA_TYPE_F32, rows, cols, how, values),
           *up = has_up ? tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1) : NULL;
    tensor *gy = tensor_random(c, LORA_TYPE_F32, rows, cols, how, 1);
    tensor *y = in_place ? gate : tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
    double *ups = has_up ? scratch(n, sizeof(double)) : NULL;
    if (ups) memcpy(ups, up->value, (size_t)n * sizeof(double));
    problem p = {n, activation, values, ups, gy->value};
    for (int64_t i = 0; i < n; i++) {
        const double factor = ups ? ups[i] : 1;
        want[i] = activate(values[i], activation) * factor;
        size[i] = fabs(values[i]) * fabs(factor) + 1e-30;
    }
    if (!in_place) {
        tensor *gate_copy = tensor_zero(c, LORA_TYPE_BF16, rows, cols, how);
        tensor *up_copy = has_up ? tensor_zero(c, LORA_TYPE_BF16, rows, cols, how) : NULL;
        check_ok(c, c->backend->gate_forward(c->device, y->view, gate->view, view_of(up), gate_copy->view,
                                             view_of(up_copy), activation));
        check_values(c, "y", tensor_read(c, y), want, size, n, 3 * EPSILON);
        check_copy(c, gate_copy, gate);
        if (has_up) check_copy(c, up_copy, up);
    }
    tensor *gg = in_place ? gate : tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
    tensor *gu = !has_up ? NULL : in_place ? up : tensor_zero(c, LORA_TYPE_F32, rows, cols, how);
    check_ok(
        c, c->backend->gate_backward(c->device, gg->view, view_of(gu), gy->view, gate->view, view_of(up), activation));
    check_gradient(c, "gate", tensor_read(c, gg), NULL, p.gate, n, loss, &p, 0.5, 8 * EPSILON);
    for (int64_t i = 0; gu && i < n; i++) {
        want[i] = activate(values[i], activation) * p.gy[i];
        size[i] = fabs(values[i] * p.gy[i]) + 1e-30;
    }
    if (gu) check_values(c, "grad_up", tensor_read(c, gu), want, size, n, 3 * EPSILON);
    case_end(c);
    if (in_place) {
        case_begin(c, "gate forward in place");
        gate = tensor_of(c, LORA_TYPE_F32, rows, cols, how, values);
        up = has_up ? tensor_of(c, LORA_TYPE_F32, rows, cols, how, ups) : NULL;
        for (int64_t i = 0; i < n; i++) {
            want[i] = activate(values[i], activation) * (ups ? ups[i] : 1);
            size[i] = fabs(values[i]) * (ups ? fabs(ups[i]) : 1) + 1e-30;
        }
        tensor *target = has_up ? up : gate;
        check_ok(c, c->backend->gate_forward(c->device, target->view, gate->view, view_of(up), absent(), absent(),
                                             activation));
        check_values(c, "y", tensor_read(c, target), want, size, n, 3 * EPSILON);
        case_end(c);
    }
    free(values);
    free(want);
    free(size);
    free(ups);
}

static void run(check *c)
{
    const int64_t shapes[][2] = {{1, 1}, {1, 16}, {5, 33}, {19, 257}};
    for (int s = 0; s < 4; s++)
        for (int32_t activation = LORA_ACTIVATION_SILU; activation <= LORA_ACTIVATION_GELU_TANH; activation++)
            for (int k = 0; k < 8; k++)
                run_case(c, shapes[s][0], shapes[s][1], activation, k & 1, k & 2, k & 4 ? PADDED : TIGHT);
    for (int32_t activation = LORA_ACTIVATION_SILU; activation <= LORA_ACTIVATION_GELU_TANH; activation++)
        for (int k = 0; k < 4; k++) run_bf16(c, 3, 1100, activation, k & 1, k & 2 ? PADDED : TIGHT);
}

typedef struct bench_job {
    tensor *y, *gate, *up, *gy;
    int32_t activation;
} bench_job;

static void bench_forward(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->gate_forward(c->device, job->y->view, job->gate->view, job->up->view, absent(), absent(),
                             job->activation);
}

static void bench_backward(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->gate_backward(c->device, job->y->view, job->y->view, job->gy->view, job->gate->view, job->up->view,
                              job->activation);
}

static void run_bench(check *c)
{
    const int64_t rows = 1024, cols = 1536;
    const char *names[][2] = {{"silu gate forward 1024x1536", "silu gate backward"},
                              {"gelu gate forward", "gelu gate backward"},
                              {"gelu tanh gate forward", "gelu tanh gate backward"}};
    bench_job job = {tensor_zero(c, LORA_TYPE_F32, rows, cols, TIGHT),
                     tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1),
                     tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1),
                     tensor_random(c, LORA_TYPE_F32, rows, cols, TIGHT, 1), 0};
    job.y->output = true;
    for (job.activation = 0; job.activation < 3; job.activation++) {
        bench(c, names[job.activation][0], 12.0 * rows * cols, "B", bench_forward, &job);
        bench(c, names[job.activation][1], 20.0 * rows * cols, "B", bench_backward, &job);
    }
    case_end(c);
}

const op_check check_gate = {"gate", run, run_bench};
