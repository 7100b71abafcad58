// cross_entropy: losses and gradients, ignored labels, soft caps, large logits; head_loss: the same of hidden rows and
// a weight of any type, over one block of the vocabulary and several.
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

/* ---- head_loss ---- */

typedef struct head_setup {
    int64_t rows, inner, vocabulary;
    lora_type type;
    layout how;
    float softcap;
    bool coarse;
} head_setup;

// Row i by the definition: the loss, and its gradient by x with the sizes of the gradient's terms. Returns the size of
// the terms of a logit.
static double head_reference(const head_setup *s, const double *x, const double *w, int32_t label, double scale,
                             double *loss, double *gradient, double *size)
{
    double *logits = scratch(s->vocabulary, sizeof(double)), greatest = -INFINITY, sum = 0, largest = 0;
    const double cap = (double)s->softcap;
    for (int64_t j = 0; j < s->vocabulary; j++) {
        double terms = 0;
        for (int64_t l = 0; l < s->inner; l++) {
            logits[j] += x[l] * w[j * s->inner + l];
            terms += fabs(x[l] * w[j * s->inner + l]);
        }
        if (cap != 0) logits[j] = cap * tanh(logits[j] / cap);
        greatest = fmax(greatest, logits[j]);
        largest = fmax(largest, terms);
    }
    for (int64_t j = 0; j < s->vocabulary; j++) sum += exp(logits[j] - greatest);
    *loss = label == -100 ? 0 : greatest + log(sum) - logits[label];
    for (int64_t j = 0; j < s->vocabulary && label != -100; j++) {
        const double slope = cap != 0 ? 1 - logits[j] * logits[j] / (cap * cap) : 1;
        const double p = exp(logits[j] - greatest) / sum, by_logit = scale * slope * (p - (j == label));
        for (int64_t l = 0; l < s->inner; l++) {
            gradient[l] += by_logit * w[j * s->inner + l];
            size[l] += scale * (p + (j == label)) * fabs(w[j * s->inner + l]);
        }
    }
    free(logits);
    return largest;
}

static void run_head(check *c, head_setup s)
{
    if (!c->backend->head_loss || !c->backend->supports(c->device, LORA_OP_LINEAR, s.type)) return;
    case_begin(c, "head loss %lld rows, %lld to %lld, type %d, softcap %g%s, layout %d", (long long)s.rows,
               (long long)s.inner, (long long)s.vocabulary, (int)s.type, (double)s.softcap, s.coarse ? ", coarse" : "",
               (int)s.how);
    const float scale = 0.125f;
    const layout plain = s.how == TIGHT ? TIGHT : PADDED;
    tensor *x = tensor_random(c, LORA_TYPE_F32, s.rows, s.inner, plain, 1);
    tensor *w = tensor_random(c, s.type, s.vocabulary, s.inner, s.how, 0.3);
    tensor *losses = tensor_random(c, LORA_TYPE_F32, s.rows, 1, plain, 1);
    tensor *gx = tensor_random(c, LORA_TYPE_F32, s.rows, s.inner, plain, 1);
    int32_t *labels = scratch(s.rows, sizeof(int32_t));
    const int64_t n = s.rows * s.inner;
    double *loss = scratch(s.rows, sizeof(double)), *loss_size = scratch(s.rows, sizeof(double));
    double *want = scratch(n, sizeof(double)), *size = scratch(n, sizeof(double));
    for (int64_t i = 0; i < s.rows; i++) {
        const int64_t at = i * s.inner;
        labels[i] = i % 4 == 2 ? -100 : (int32_t)below(c, s.vocabulary);
        const double terms = head_reference(&s, x->value + at, w->value, labels[i], (double)scale, &loss[i], want + at,
                                            size + at);
        if (labels[i] != -100) loss_size[i] = 8 + terms + fabs(loss[i]);
        for (int64_t l = 0; l < s.inner; l++) size[at + l] *= 8 + terms; // what a logit errs by, a probability does
    }
    const double rounding = s.coarse ? 0x1p-8 : 0; // of bf16, of each operand
    const lora_linear head = {.weight = w->view, .coarse = s.coarse ? LORA_COARSE_BF16 | LORA_COARSE_INT8 : 0};
    check_ok(c, c->backend->head_loss(c->device, losses->view, gx->view, x->view, &head, labels, scale, s.softcap));
    check_values(c, "losses", tensor_read(c, losses), loss, loss_size, s.rows, 2 * EPSILON + rounding);
    check_values(c, "gradient", tensor_read(c, gx), want, size, n, 2 * EPSILON + rounding);

    tensor *alone = tensor_random(c, LORA_TYPE_F32, s.rows, 1, plain, 1);
    check_ok(c, c->backend->head_loss(c->device, alone->view, absent(), x->view, &head, labels, 0, s.softcap));
    const double *again = tensor_read(c, alone);
    if (memcmp(again, losses->value, (size_t)s.rows * sizeof(double)) != 0) fail_case(c, "losses alone differ");
    case_end(c);
    free(labels);
    free(loss);
    free(loss_size);
    free(want);
    free(size);
}

static void run_heads(check *c)
{
    for (int how = TIGHT; how <= WRAPPED; how++) {
        run_head(c, (head_setup){1, 1, 1, LORA_TYPE_F32, (layout)how, 0, false});
        run_head(c, (head_setup){5, 33, 70, LORA_TYPE_F32, (layout)how, 0, false});
        run_head(c, (head_setup){37, 64, 2500, LORA_TYPE_F32, (layout)how, 0, false});
        run_head(c, (head_setup){19, 40, 2070, LORA_TYPE_F32, (layout)how, 5, false});
        run_head(c, (head_setup){37, 64, 1500, LORA_TYPE_BF16, (layout)how, 0, false});
    }
    run_head(c, (head_setup){37, 64, 3000, LORA_TYPE_BF16, TIGHT, 30, true});
    run_head(c, (head_setup){37, 64, 1500, LORA_TYPE_NF4, TIGHT, 0, true});
    for (int type = LORA_TYPE_F16; type < LORA_TYPE_COUNT; type++)
        run_head(c, (head_setup){18, 256, 2100, (lora_type)type, TIGHT, 0, false});
}

/* ---- summarise_logits ---- */

// The greatest stands twice in every row, and the last row has a NaN.
static void run_summary(check *c, int64_t rows, int64_t vocabulary, float softcap, double deviation, layout how)
{
    case_begin(c, "summary of logits %lldx%lld, softcap %g, deviation %g", (long long)rows, (long long)vocabulary,
               (double)softcap, deviation);
    const int64_t n = rows * vocabulary;
    tensor *logits = tensor_random(c, LORA_TYPE_F32, rows, vocabulary, how, deviation);
    double *capped = scratch(n, sizeof(double)), *size = scratch(n, sizeof(double));
    double *values = scratch(n, sizeof(double)), *want = scratch(rows, sizeof(double));
    int64_t *first = scratch(rows, sizeof(int64_t));
    memcpy(values, logits->value, (size_t)n * sizeof(double));
    for (int64_t i = 0; i < rows; i++) {
        double *x = values + i * vocabulary, greatest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < vocabulary; j++)
            if (x[j] > greatest) greatest = x[j], first[i] = j;
        const int64_t again = first[i] + below(c, vocabulary - first[i]);
        x[again] = x[first[i]];
        if (i == rows - 1 && rows > 1) x[below(c, vocabulary)] = NAN;
        for (int64_t j = 0; j < vocabulary; j++) {
            capped[i * vocabulary + j] = softcap != 0 ? (double)softcap * tanh(x[j] / (double)softcap) : x[j];
            size[i * vocabulary + j] = fabs(capped[i * vocabulary + j]);
        }
        greatest = capped[i * vocabulary + first[i]];
        for (int64_t j = 0; j < vocabulary; j++) sum += exp(capped[i * vocabulary + j] - greatest);
        want[i] = greatest + log(sum);
    }
    tensor *given = tensor_of(c, LORA_TYPE_F32, rows, vocabulary, how, values);
    tensor *log_sum = tensor_zero(c, LORA_TYPE_F32, rows, 1, how), *best = tensor_zero(c, LORA_TYPE_F32, rows, 1, how);
    lora_view ids = best->view;
    ids.type = LORA_TYPE_I32;
    check_ok(c, c->backend->summarise_logits(c->device, ids, log_sum->view, given->view, softcap));
    const double *found = tensor_read(c, log_sum), *after = tensor_read(c, given);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t id = tensor_bits(c, best, i, 0);
        if (i == rows - 1 && rows > 1) {
            if (!isnan(found[i])) fail_case(c, "a NaN in row %d was not seen", (int)i);
            continue;
        }
        if (id != first[i]) fail_case(c, "row %d: best is %d, expected %d", (int)i, (int)id, (int)first[i]);
        const double terms = 8 + fabs(want[i]);
        check_values(c, "log sum", &found[i], &want[i], &terms, 1, EPSILON);
        check_values(c, "capped", after + i * vocabulary, capped + i * vocabulary, size + i * vocabulary, vocabulary,
                     softcap != 0 ? 4 * EPSILON : 0);
    }
    case_end(c);
    free(capped);
    free(size);
    free(values);
    free(want);
    free(first);
}

static void run(check *c)
{
    run_heads(c);
    for (int how = TIGHT; how <= PADDED; how++) {
        run_summary(c, 1, 1, 0, 1, (layout)how);
        run_summary(c, 5, 33, 0, 3, (layout)how);
        run_summary(c, 3, 1024, 0, 40, (layout)how);
        run_summary(c, 4, 4099, 0, 2, (layout)how);
        run_summary(c, 6, 100, 30, 20, (layout)how);
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
