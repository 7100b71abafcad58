// cross_entropy: losses and gradients, ignored labels, soft caps, large logits.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct problem {
    int64_t rows, vocabulary;
    const int32_t *labels;
    double softcap;
    double *logits, *losses;
} problem;

static double reference(void *argument)
{
    problem *p = argument;
    double total = 0;
    for (int64_t i = 0; i < p->rows; i++) {
        const double *x = p->logits + i * p->vocabulary;
        p->losses[i] = 0;
        if (p->labels[i] == -100) continue;
        double greatest = -INFINITY, sum = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < p->vocabulary; j++) {
                const double v = p->softcap != 0 ? p->softcap * tanh(x[j] / p->softcap) : x[j];
                if (pass == 0) greatest = fmax(greatest, v);
                if (pass == 1) sum += exp(v - greatest);
            }
        const double v = x[p->labels[i]], own = p->softcap != 0 ? p->softcap * tanh(v / p->softcap) : v;
        p->losses[i] = greatest + log(sum) - own;
        total += p->losses[i];
    }
    return total;
}

static double scaled_loss(void *argument)
{
    return 0.125 * reference(argument);
}

static void run_case(check *c, int64_t rows, int64_t vocabulary, float softcap, double deviation, layout how)
{
    case_begin(c, "cross entropy %lldx%lld, softcap %g, deviation %g", (long long)rows, (long long)vocabulary,
               (double)softcap, deviation);
    const int64_t n = rows * vocabulary;
    int32_t *labels = scratch(rows, sizeof(int32_t));
    for (int64_t i = 0; i < rows; i++) labels[i] = i % 4 == 2 ? -100 : (int32_t)below(c, vocabulary);
    tensor *logits = tensor_random(c, LORA_TYPE_F32, rows, vocabulary, how, deviation);
    tensor *losses = tensor_random(c, LORA_TYPE_F32, rows, 1, how, 1);
    double *start = scratch(n, sizeof(double)), *size = scratch(rows, sizeof(double));
    memcpy(start, logits->value, (size_t)n * sizeof(double));
    problem p = {rows, vocabulary, labels, (double)softcap, start, scratch(rows, sizeof(double))};
    reference(&p);
    for (int64_t i = 0; i < rows; i++) size[i] = labels[i] == -100 ? 0 : 8 + 3 * deviation + fabs(p.losses[i]);

    check_ok(c, c->backend->cross_entropy(c->device, losses->view, logits->view, labels, 0.125f, softcap));
    check_values(c, "losses", tensor_read(c, losses), p.losses, size, rows, 2 * EPSILON);
    const double *gradient = tensor_read(c, logits);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < vocabulary && labels[i] == -100; j++)
            if (gradient[i * vocabulary + j] != 0) fail_case(c, "an ignored row has a gradient");
    // A softmax of numbers of this size is right to about their own rounding.
    const double tolerance = EPSILON * (16 + 4 * deviation) * (softcap != 0 ? 4 : 1);
    check_gradient(c, "logits", gradient, NULL, p.logits, n, scaled_loss, &p, 0.125, tolerance);
    reference(&p);

    tensor *again = tensor_of(c, LORA_TYPE_F32, rows, vocabulary, how, start); // losses only
    check_ok(c, c->backend->cross_entropy(c->device, losses->view, again->view, labels, 0, softcap));
    tensor_read(c, again);
    check_values(c, "losses alone", tensor_read(c, losses), p.losses, size, rows, 2 * EPSILON);
    case_end(c);
    free(labels);
    free(start);
    free(size);
    free(p.losses);
}

static void run(check *c)
{
    for (int how = TIGHT; how <= PADDED; how++) {
        run_case(c, 1, 1, 0, 1, (layout)how);
        run_case(c, 1, 2, 0, 1, (layout)how);
        run_case(c, 5, 33, 0, 3, (layout)how);
        run_case(c, 9, 515, 0, 40, (layout)how);
        run_case(c, 3, 4099, 0, 2, (layout)how);
        run_case(c, 6, 100, 30, 20, (layout)how);
        run_case(c, 7, 259, 5, 3, (layout)how);
    }
}

typedef struct bench_job {
    tensor *losses, *logits;
    int32_t *labels;
} bench_job;

static void bench_loss(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->cross_entropy(c->device, job->losses->view, job->logits->view, job->labels, 1, 0);
}

static void run_bench(check *c)
{
    int32_t labels[128] = {0};
    bench_job job = {tensor_zero(c, LORA_TYPE_F32, 128, 1, TIGHT),
                     tensor_random(c, LORA_TYPE_F32, 128, 49152, TIGHT, 1), labels};
    job.losses->output = job.logits->output = true;
    bench(c, "cross entropy 128x49152", 128.0 * 49152, "logit", bench_loss, &job);
    case_end(c);
}

const op_check check_loss = {"loss", run, run_bench};
