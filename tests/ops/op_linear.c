// linear_forward and linear_backward: base weights of every type, low-rank pairs on all or some rows, dropout, bias.
#include "blocks.h"
#include "check_op.h"

#include "cpu/cpu.h"
#include "lib/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS 70 // at most, in a case

typedef struct setup {
    int64_t rows, in, out, rank;
    int32_t pairs;
    lora_type type;
    layout how;
    bool transposed, bias, partial, hidden, accumulate;
    int32_t coarse;
    float dropout;
} setup;

typedef struct problem {
    setup s;
    double *x, *w, *bias, *a[PAIRS], *b[PAIRS], *gy;
    float scale[PAIRS];
    lora_dropout dropout[PAIRS];
    int64_t begin[PAIRS], count[PAIRS];
    double *y, *size; // results of the reference
    double *hidden[PAIRS];
    double *kept[PAIRS]; // [rows, in] what dropout multiplies x by
} problem;

// By the contract of lora_dropout.
static void draw_kept(problem *p, int pair)
{
    const lora_dropout *d = &p->dropout[pair];
    for (int64_t i = 0; i < p->s.rows * p->s.in; i++) {
        const float u = lr_random_uniform(d->seed, d->stream, (uint64_t)i);
        p->kept[pair][i] = u >= d->p ? 1 / (1 - (double)d->p) : 0;
    }
}

static double weight(const problem *p, int64_t o, int64_t l)
{
    return p->s.transposed ? p->w[l * p->s.out + o] : p->w[o * p->s.in + l];
}

static void reference(problem *p)
{
    const setup *s = &p->s;
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t o = 0; o < s->out; o++) {
            double sum = p->bias ? p->bias[o] : 0, size = fabs(sum);
            for (int64_t l = 0; l < s->in; l++) {
                const double term = p->x[i * s->in + l] * weight(p, o, l);
                sum += term;
                size += fabs(term);
            }
            p->y[i * s->out + o] = sum;
            p->size[i * s->out + o] = size;
        }
    for (int k = 0; k < s->pairs; k++)
        for (int64_t i = p->begin[k]; i < p->begin[k] + p->count[k]; i++)
            for (int64_t r = 0; r < s->rank; r++) {
                double hidden = 0, size = 0;
                for (int64_t l = 0; l < s->in; l++) {
                    const double term = p->kept[k][i * s->in + l] * p->x[i * s->in + l] * p->a[k][r * s->in + l];
                    hidden += term;
                    size += fabs(term);
                }
                p->hidden[k][i * s->rank + r] = hidden;
                for (int64_t o = 0; o < s->out; o++) {
                    const double factor = (double)p->scale[k] * p->b[k][o * s->rank + r];
                    p->y[i * s->out + o] += factor * hidden;
                    p->size[i * s->out + o] += fabs(factor) * size;
                }
            }
}

static double loss(void *argument)
{
    problem *p = argument;
    reference(p);
    double sum = 0;
    for (int64_t i = 0; i < p->s.rows * p->s.out; i++) sum += p->gy[i] * p->y[i];
    return sum;
}

// grad_x = gy W + sum of mask(scale gy B A), with the sizes of its sums.
static void reference_grad_x(const problem *p, double *gx, double *size)
{
    const setup *s = &p->s;
    for (int64_t i = 0; i < s->rows; i++) {
        for (int64_t l = 0; l < s->in; l++)
            for (int64_t o = 0; o < s->out; o++) {
                const double term = p->gy[i * s->out + o] * weight(p, o, l);
                gx[i * s->in + l] += term;
                size[i * s->in + l] += fabs(term);
            }
        for (int k = 0; k < s->pairs; k++) {
            if (i < p->begin[k] || i >= p->begin[k] + p->count[k]) continue;
            for (int64_t r = 0; r < s->rank; r++) {
                double dh = 0, dh_size = 0;
                for (int64_t o = 0; o < s->out; o++) {
                    const double term = (double)p->scale[k] * p->gy[i * s->out + o] * p->b[k][o * s->rank + r];
                    dh += term;
                    dh_size += fabs(term);
                }
                for (int64_t l = 0; l < s->in; l++) {
                    const double kept = p->kept[k][i * s->in + l];
                    gx[i * s->in + l] += kept * dh * p->a[k][r * s->in + l];
                    size[i * s->in + l] += kept * dh_size * fabs(p->a[k][r * s->in + l]);
                }
            }
        }
    }
}

typedef struct tensors {
    tensor *x, *y, *w, *bias, *gy, *gx, *gw, *gbias;
    tensor *a[PAIRS], *b[PAIRS], *hidden[PAIRS], *ga[PAIRS], *gb[PAIRS];
    lora_pair pair[PAIRS];
    lora_linear linear;
} tensors;

static void make(check *c, problem *p, tensors *t)
{
    const setup *s = &p->s;
    const layout plain = s->how == TIGHT ? TIGHT : PADDED; // what is written, and activations
    t->x = tensor_random(c, LORA_TYPE_F32, s->rows, s->in, plain, 1);
    t->w = tensor_random(c, s->type, s->transposed ? s->in : s->out, s->transposed ? s->out : s->in, s->how, 0.3);
    t->bias = s->bias ? tensor_random(c, LORA_TYPE_F32, 1, s->out, s->how, 1) : NULL;
    t->y = tensor_random(c, LORA_TYPE_F32, s->rows, s->out, plain, 1);
    t->gy = tensor_random(c, LORA_TYPE_F32, s->rows, s->out, plain, 1);
    t->gx = tensor_random(c, LORA_TYPE_F32, s->rows, s->in, plain, 1);
    t->gw = tensor_random(c, LORA_TYPE_F32, t->w->view.rows, t->w->view.cols, plain, 1);
    t->gbias = tensor_random(c, LORA_TYPE_F32, 1, s->out, plain, 1);
    p->x = t->x->value, p->w = t->w->value, p->bias = t->bias ? t->bias->value : NULL, p->gy = t->gy->value;
    p->y = scratch(s->rows * s->out, sizeof(double));
    p->size = scratch(s->rows * s->out, sizeof(double));
    for (int k = 0; k < s->pairs; k++) {
        t->a[k] = tensor_random(c, LORA_TYPE_F32, s->rank, s->in, plain, 0.3);
        t->b[k] = tensor_random(c, LORA_TYPE_F32, s->out, s->rank, plain, 0.3);
        t->hidden[k] = s->hidden ? tensor_random(c, LORA_TYPE_F32, s->rows, s->rank, plain, 1) : NULL;
        t->ga[k] = tensor_random(c, LORA_TYPE_F32, s->rank, s->in, plain, 1);
        t->gb[k] = tensor_random(c, LORA_TYPE_F32, s->out, s->rank, plain, 1);
        p->a[k] = t->a[k]->value, p->b[k] = t->b[k]->value;
        p->hidden[k] = scratch(s->rows * s->rank, sizeof(double));
        p->scale[k] = 0.5f + (float)k;
        p->dropout[k] = (lora_dropout){k % 2 ? 0 : s->dropout, (uint32_t)(k + 3), 0x123456789ABCDEFu};
        p->kept[k] = scratch(s->rows * s->in, sizeof(double));
        draw_kept(p, k);
        p->begin[k] = s->partial ? s->rows * k / s->pairs : 0;
        p->count[k] = s->partial ? s->rows * (k + 1) / s->pairs - p->begin[k] : s->rows;
        t->pair[k] = (lora_pair){t->a[k]->view, t->b[k]->view, view_of(t->hidden[k]), t->ga[k]->view, t->gb[k]->view,
                                 p->scale[k], p->dropout[k], p->begin[k], p->count[k]};
    }
    t->linear =
        (lora_linear){t->w->view, view_of(t->bias), absent(), absent(), s->transposed, s->pairs, t->pair, s->coarse, 0};
}

static void forget(problem *p)
{
    for (int k = 0; k < p->s.pairs; k++) {
        free(p->hidden[k]);
        free(p->kept[k]);
    }
    free(p->y);
    free(p->size);
}

static double *copy_of(const double *values, int64_t n)
{
    double *copy = scratch(n, sizeof(double));
    memcpy(copy, values, (size_t)n * sizeof(double));
    return copy;
}

// Where it is allowed, activations are rounded to the 8 bits of bf16 when they meet bf16 weights in bf16 products: each
// term of a sum errs by 2^-9 of itself at most. With quantized weights, which are rounded too, it is the sum of two
// such. In answers it is the sum of two bf16 numbers, or 15 bits of the greatest of a group, eight times the usual one.
static double rounding(const check *c, const setup *s)
{
    if (s->coarse == LORA_COARSE_BF16_TWICE) return s->type == LORA_TYPE_BF16 ? 0x1p-17 : 0;
    if (s->coarse == LORA_COARSE_INT15) return s->type >= LORA_TYPE_INT8 ? 0x1p-12 : 0;
    const int32_t units = LORA_CPU_AMX_BF16 | LORA_CPU_AVX512_BF16;
    const bool suits = s->coarse && s->type != LORA_TYPE_F32 && s->type != LORA_TYPE_F16;
    if (!suits || !(c->host->cpu_features & lr_cpu_detect_features() & units)) return 0;
    return s->type == LORA_TYPE_BF16 ? 0x1p-9 : 2 * 0x1p-9 * (1 + 0x1p-9);
}

static void check_forward(check *c, problem *p, tensors *t)
{
    const int64_t n = p->s.rows * p->s.out;
    double *start = copy_of(t->y->value, n);
    check_ok(c, c->backend->linear_forward(c->device, t->y->view, t->x->view, &t->linear, p->s.accumulate));
    reference(p);
    for (int64_t i = 0; i < n && p->s.accumulate; i++) {
        p->y[i] += start[i];
        p->size[i] += fabs(start[i]);
    }
    check_values(c, "y", tensor_read(c, t->y), p->y, p->size, n, 4 * EPSILON + rounding(c, &p->s));
    for (int k = 0; k < p->s.pairs && p->s.hidden; k++) {
        const double *hidden = tensor_read(c, t->hidden[k]);
        const double size = 8 * sqrt((double)p->s.in); // of a sum of `in` products of deviation 0.3, amply
        for (int64_t i = p->begin[k] * p->s.rank; i < (p->begin[k] + p->count[k]) * p->s.rank; i++)
            check_values(c, "hidden", &hidden[i], &p->hidden[k][i], &size, 1, 4 * EPSILON);
    }
    free(start);
}

static void check_backward(check *c, problem *p, tensors *t)
{
    const setup *s = &p->s;
    const int64_t n = s->rows * s->in, weights = s->in * s->out;
    double *want = scratch(n, sizeof(double)), *size = scratch(n, sizeof(double)), *gx = copy_of(t->gx->value, n);
    double *gw = copy_of(t->gw->value, weights), *gbias = copy_of(t->gbias->value, s->out), *ga[PAIRS], *gb[PAIRS];
    for (int k = 0; k < s->pairs; k++) {
        ga[k] = copy_of(t->ga[k]->value, s->rank * s->in);
        gb[k] = copy_of(t->gb[k]->value, s->out * s->rank);
    }
    if (s->type == LORA_TYPE_F32) t->linear.grad_weight = t->gw->view;
    if (s->bias) t->linear.grad_bias = t->gbias->view;
    check_ok(c,
             c->backend->linear_backward(c->device, t->gx->view, t->gy->view, t->x->view, &t->linear, s->accumulate));
    reference_grad_x(p, want, size);
    for (int64_t i = 0; i < n && s->accumulate; i++) {
        want[i] += gx[i];
        size[i] += fabs(gx[i]);
    }
    check_values(c, "grad_x", tensor_read(c, t->gx), want, size, n, 4 * EPSILON + rounding(c, s));
    const double tolerance = EPSILON * (4 + sqrt((double)s->rows));
    c->samples = s->rows * s->in * s->out > 300000 ? 3 : 16;
    double terms = 0; // block types have numbers of one sign, whose sums cancel
    for (int64_t i = 0; i < n && s->type >= LORA_TYPE_INT8; i++) terms = fmax(terms, size[i]);
    check_gradient(c, "x", t->gx->value, s->accumulate ? gx : NULL, p->x, n, loss, p, terms,
                   EPSILON * (4 + sqrt((double)s->out)) + 4 * rounding(c, s)); // as many deviations
    for (int k = 0; k < s->pairs; k++) {
        check_gradient(c, "a", tensor_read(c, t->ga[k]), ga[k], p->a[k], s->rank * s->in, loss, p, 0, 2 * tolerance);
        check_gradient(c, "b", tensor_read(c, t->gb[k]), gb[k], p->b[k], s->out * s->rank, loss, p, 0, 2 * tolerance);
        free(ga[k]);
        free(gb[k]);
    }
    if (s->type == LORA_TYPE_F32)
        check_gradient(c, "weight", tensor_read(c, t->gw), gw, p->w, weights, loss, p, 0, tolerance);
    if (s->bias) check_gradient(c, "bias", tensor_read(c, t->gbias), gbias, p->bias, s->out, loss, p, 0, tolerance);
    free(want);
    free(size);
    free(gx);
    free(gw);
    free(gbias);
}

static void run_case(check *c, setup s)
{
    if (!c->backend->supports(c->device, LORA_OP_LINEAR, s.type)) return;
    case_begin(c, "linear %lld rows, %lld to %lld, type %d, %d pairs of rank %lld%s%s%s%s, dropout %g, layout %d",
               (long long)s.rows, (long long)s.in, (long long)s.out, (int)s.type, (int)s.pairs, (long long)s.rank,
               s.partial ? " on parts" : "", s.transposed ? ", transposed" : "", s.bias ? ", bias" : "",
               s.accumulate ? ", added" : "", (double)s.dropout, (int)s.how);
    problem p = {.s = s};
    tensors t = {0};
    make(c, &p, &t);
    check_forward(c, &p, &t);
    if (s.hidden || s.pairs == 0) check_backward(c, &p, &t);
    forget(&p);
    case_end(c);
}

// The generator's published example: Philox 4x32-10 with key and counter 0 (Random123's known answers).
static void run_known_dropout(check *c)
{
    case_begin(c, "philox known answer");
    const uint32_t words[] = {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8};
    for (uint64_t i = 0; i < 4; i++)
        if (lr_random_u32(0, 0, i) != words[i]) fail_case(c, "word %d differs", (int)i);
}

// Gradient sums must not depend on how threads happen to run.
static void run_repeat(check *c)
{
    problem p = {.s = {.rows = 300, .in = 130, .out = 90, .rank = 8, .pairs = 1, .hidden = true, .dropout = 0.1f}};
    double *first = NULL;
    for (int round = 0; round < 4; round++) {
        case_begin(c, "linear twice");
        const uint64_t random = c->random;
        tensors t = {0};
        make(c, &p, &t);
        check_ok(c, c->backend->linear_forward(c->device, t.y->view, t.x->view, &t.linear, 0));
        check_ok(c, c->backend->linear_backward(c->device, t.gx->view, t.gy->view, t.x->view, &t.linear, 0));
        tensor_read(c, t.y), tensor_read(c, t.gx), tensor_read(c, t.hidden[0]), tensor_read(c, t.gb[0]);
        const double *ga = tensor_read(c, t.ga[0]);
        if (!first) first = copy_of(ga, 8 * 130);
        if (memcmp(first, ga, 8 * 130 * sizeof(double)) != 0) fail_case(c, "other bits in round %d", round);
        forget(&p);
        case_end(c);
        c->random = random;
    }
    free(first);
}

// Rows that are computed together, as alone, and by themselves: the same bits. Also of accumulated sums and of pairs.
static void run_as_alone(check *c, setup s)
{
    if (!c->backend->supports(c->device, LORA_OP_LINEAR, s.type)) return;
    case_begin(c, "linear as alone, %lld to %lld, type %d, %d pairs%s", (long long)s.in, (long long)s.out, (int)s.type,
               (int)s.pairs, s.transposed ? ", transposed" : "");
    s.rows = LORA_ALONE_ROWS;
    problem p = {.s = s};
    tensors t = {0};
    make(c, &p, &t);
    const int64_t n = s.rows * s.out;
    double *start = copy_of(t.y->value, n), *zero = scratch(n, sizeof(double));
    tensor *alone = tensor_of(c, LORA_TYPE_F32, s.rows, s.out, TIGHT, start);
    for (int64_t i = 0; i < s.rows; i++) {
        lora_view y = alone->view, x = t.x->view;
        y.offset += (uint64_t)(i * y.stride) * sizeof(float), y.rows = 1;
        x.offset += (uint64_t)(i * x.stride) * sizeof(float), x.rows = 1;
        for (int k = 0; k < s.pairs; k++) t.pair[k].row_count = 1;
        check_ok(c, c->backend->linear_forward(c->device, y, x, &t.linear, s.accumulate));
    }
    const double *want = tensor_read(c, alone);
    t.linear.as_alone = 1;
    for (int64_t rows = 1; rows <= s.rows; rows++) {
        tensor *together = tensor_of(c, LORA_TYPE_F32, s.rows, s.out, PADDED, start);
        lora_view y = together->view, x = t.x->view;
        y.rows = x.rows = rows;
        for (int k = 0; k < s.pairs; k++) t.pair[k].row_count = rows;
        check_ok(c, c->backend->linear_forward(c->device, y, x, &t.linear, s.accumulate));
        check_values(c, "y", tensor_read(c, together), want, zero, rows * s.out, 0);
    }
    free(start);
    free(zero);
    forget(&p);
    case_end(c);
}

static int64_t whole_blocks(lora_type type, int64_t cols)
{
    const int64_t block = block_numbers(type);
    return (cols + block - 1) / block * block;
}

static void run(check *c)
{
    const int64_t shapes[][3] = {{1, 1, 1}, {1, 64, 64}, {3, 7, 5}, {17, 64, 33}, {64, 96, 128}, {131, 160, 97}};
    for (lora_type type = 0; type < LORA_TYPE_COUNT; type++)
        for (int i = 0; i < 6; i++)
            for (int how = TIGHT; how <= WRAPPED; how++) {
                if (type >= LORA_TYPE_INT8 && i == 5 && how != WRAPPED) continue; // they have long rows
                setup s = {shapes[i][0], shapes[i][1], shapes[i][2], .type = type, .how = (layout)how};
                s.in = whole_blocks(type, s.in);
                s.bias = i % 2, s.accumulate = (i + how) % 3 == 0;
                run_case(c, s);
                s.coarse = how != PADDED ? LORA_COARSE_BF16 : 0;
                s.pairs = 1, s.rank = 1 + (i * 5 + how) % 17, s.hidden = true, s.dropout = i % 2 ? 0.3f : 0;
                run_case(c, s);
                if (type < LORA_TYPE_INT8 || i % 2) continue;
                run_case(c, (setup){s.rows, s.out, s.in, .type = type, .how = s.how, .transposed = true});
            }
    run_case(c, (setup){1, 576, 1536, 8, 1, LORA_TYPE_F32, TIGHT, .hidden = false});
    run_case(c, (setup){1, 576, 576, 16, 3, LORA_TYPE_BF16, WRAPPED, .hidden = false});
    run_case(c, (setup){35, 2200, 45, 8, 1, LORA_TYPE_BF16, WRAPPED, .hidden = true, .accumulate = true,
                      .coarse = LORA_COARSE_BF16});
    run_case(c, (setup){33, 40, 300, 64, 2, LORA_TYPE_BF16, PADDED, .hidden = true, .dropout = 0.1f,
                      .coarse = LORA_COARSE_BF16});
    run_case(c,
             (setup){50, 67, 45, 20, 3, LORA_TYPE_BF16, PADDED, .transposed = true, .partial = true, .hidden = true});
    run_case(c, (setup){40, 100, 70, 64, 2, LORA_TYPE_BF16, WRAPPED, .hidden = true});
    run_case(c, (setup){40, 70, 50, 8, 3, LORA_TYPE_F32, PADDED, .partial = true, .hidden = true, .dropout = 0.5f});
    run_case(c, (setup){40, 70, 50, 8, 3, LORA_TYPE_F32, PADDED, .partial = true});
    run_case(c, (setup){16, 576, 300, 8, 8, LORA_TYPE_BF16, TIGHT, .partial = true, .bias = true, .accumulate = true,
                      .coarse = LORA_COARSE_BF16_TWICE});
    run_case(c, (setup){7, 288, 130, 16, 7, LORA_TYPE_Q8_0, TIGHT, .partial = true, .bias = true,
                      .coarse = LORA_COARSE_INT15});
    run_case(c, (setup){140, 40, 90, 2, 70, LORA_TYPE_F32, PADDED, .partial = true, .bias = true});
    run_case(c, (setup){23, 70, 50, 4, 10, LORA_TYPE_F32, PADDED, .hidden = true});
    run_case(c, (setup){23, 70, 50, 4, 10, LORA_TYPE_F32, TIGHT, .hidden = true, .dropout = 0.1f});
    run_case(c, (setup){530, 40, 48, 64, 1, LORA_TYPE_F32, TIGHT, .hidden = true, .dropout = 0.1f});
    run_case(c, (setup){29, 67, 45, 8, 2, LORA_TYPE_F32, PADDED, .transposed = true, .bias = true, .hidden = true});
    run_case(c, (setup){1, 67, 45, 8, 1, LORA_TYPE_F16, WRAPPED, .transposed = true, .bias = true});
    const int64_t alone[][2] = {{576, 200}, {45, 33}, {1100, 70}};
    for (lora_type type = 0; type < LORA_TYPE_COUNT; type++)
        for (int i = 0; i < 3; i++) {
            const setup one = {.in = whole_blocks(type, alone[i][0]), .out = alone[i][1], .rank = 8, .type = type,
                               .how = WRAPPED, .bias = i == 1, .accumulate = i != 1};
            setup with = one, across = one;
            with.pairs = i + 1;
            across.transposed = true, across.pairs = i, across.in = one.out, across.out = one.in;
            run_as_alone(c, one);
            run_as_alone(c, with);
            run_as_alone(c, across);
        }
    run_known_dropout(c);
    run_repeat(c);
}

static void bench_forward(check *c, void *argument)
{
    const tensors *t = argument;
    c->backend->linear_forward(c->device, t->y->view, t->x->view, &t->linear, 0);
}

static void bench_backward(check *c, void *argument)
{
    const tensors *t = argument;
    c->backend->linear_backward(c->device, t->gx->view, t->gy->view, t->x->view, &t->linear, 0);
}

static void run_bench(check *c)
{
    const float dropouts[] = {0, 0.1f};
    for (int pairs = 0; pairs <= 1; pairs++)
        for (int d = 0; d <= pairs; d++) {
            problem p = {.s = {1024, 576, 576, 8, pairs, LORA_TYPE_F32, TIGHT, .hidden = true, .dropout = dropouts[d]}};
            tensors t = {0};
            make(c, &p, &t);
            t.y->output = t.gx->output = true;
            if (pairs) t.hidden[0]->output = t.ga[0]->output = t.gb[0]->output = true;
            const double work = 2.0 * 1024 * 576 * 576;
            const char *names[][2] = {{"linear forward 1024x576x576", "linear backward 1024x576x576"},
                                      {"linear forward, r=8", "linear backward, r=8"},
                                      {"linear forward, r=8, dropout", "linear backward, r=8, dropout"}};
            bench(c, names[pairs + d][0], work, "flop", bench_forward, &t);
            bench(c, names[pairs + d][1], work, "flop", bench_backward, &t);
            forget(&p);
            case_end(c);
        }
}

const op_check check_linear = {"linear", run, run_bench};
