// merge: weight += scale * B A, both orientations.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>

static void run_case(check *c, int64_t out, int64_t in, int64_t rank, bool transposed, layout how)
{
    case_begin(c, "merge %lldx%lld, rank %lld%s", (long long)out, (long long)in, (long long)rank,
               transposed ? ", transposed" : "");
    tensor *w = tensor_random(c, LORA_TYPE_F32, transposed ? in : out, transposed ? out : in, how, 1);
    tensor *a = tensor_random(c, LORA_TYPE_F32, rank, in, how, 1),
           *b = tensor_random(c, LORA_TYPE_F32, out, rank, how, 0.1);
    double *want = scratch(in * out, sizeof(double)), *size = scratch(in * out, sizeof(double));
    for (int64_t o = 0; o < out; o++)
        for (int64_t l = 0; l < in; l++) {
            const int64_t at = transposed ? l * out + o : o * in + l;
            want[at] = w->value[at];
            size[at] = fabs(want[at]);
            for (int64_t r = 0; r < rank; r++) {
                const double term = 0.75 * b->value[o * rank + r] * a->value[r * in + l];
                want[at] += term;
                size[at] += fabs(term);
            }
        }
    check_ok(c, c->backend->merge(c->device, w->view, a->view, b->view, 0.75f, transposed));
    check_values(c, "weight", tensor_read(c, w), want, size, in * out, 2 * EPSILON);
    case_end(c);
    free(want);
    free(size);
}

static void run(check *c)
{
    const int64_t shapes[][3] = {{1, 1, 1}, {5, 3, 2}, {37, 64, 8}, {64, 37, 16}, {130, 257, 70}};
    for (int s = 0; s < 5; s++)
        for (int k = 0; k < 4; k++)
            run_case(c, shapes[s][0], shapes[s][1], shapes[s][2], k & 1, k & 2 ? PADDED : TIGHT);
}

typedef struct bench_job {
    tensor *w, *a, *b;
} bench_job;

static void bench_merge(check *c, void *argument)
{
    const bench_job *job = argument;
    c->backend->merge(c->device, job->w->view, job->a->view, job->b->view, 1e-6f, 0);
}

static void run_bench(check *c)
{
    bench_job job = {tensor_random(c, LORA_TYPE_F32, 1536, 576, TIGHT, 1),
                     tensor_random(c, LORA_TYPE_F32, 8, 576, TIGHT, 1),
                     tensor_random(c, LORA_TYPE_F32, 1536, 8, TIGHT, 1)};
    job.w->output = true;
    bench(c, "merge 1536x576, r=8", 2.0 * 1536 * 576 * 8, "flop", bench_merge, &job);
    case_end(c);
}

const op_check check_merge = {"merge", run, run_bench};
