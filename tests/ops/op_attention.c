// attention_forward and attention_backward: grouped heads, packed segments, windows, prefixes, soft caps, long caches.
#include "check_op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS 4

typedef struct setup {
    int32_t heads, kv_heads, head_dim;
    int64_t lengths[SEGMENTS]; // queries of each segment; 0: no more
    int64_t past;              // keys before the first query, in each segment
    int64_t window, prefix;
    float softcap;
    bool coarse;
    layout how;
} setup;

typedef struct problem {
    setup s;
    int64_t tokens, keys; // of all segments
    int64_t segments;
    double scale;
    double *q, *k, *v, *gy; // k, v: [keys, kv_heads * head_dim], segment after segment
    double *y, *log_sum;
} problem;

static void reference(problem *p)
{
    const setup *s = &p->s;
    const int64_t dim = s->head_dim, q_cols = s->heads * dim, k_cols = s->kv_heads * dim;
    int64_t row = 0, key_row = 0;
    for (int64_t g = 0; g < p->segments; g++) {
        const int64_t keys = s->past + s->lengths[g];
        double *score = scratch(keys, sizeof(double));
        for (int64_t i = 0; i < s->lengths[g]; i++)
            for (int64_t h = 0; h < s->heads; h++) {
                const double *q = p->q + (row + i) * q_cols + h * dim;
                const int64_t column = h / (s->heads / s->kv_heads) * dim, at = s->past + i;
                double greatest = -INFINITY, sum = 0;
                for (int64_t j = 0; j < keys; j++) {
                    const bool causal = j <= at && (s->window == 0 || j > at - s->window);
                    score[j] = -INFINITY;
                    if (!causal && j >= s->prefix) continue;
                    score[j] = 0;
                    for (int64_t d = 0; d < dim; d++) score[j] += q[d] * p->k[(key_row + j) * k_cols + column + d];
                    score[j] *= p->scale;
                    if (s->softcap != 0) score[j] = (double)s->softcap * tanh(score[j] / (double)s->softcap);
                    greatest = fmax(greatest, score[j]);
                }
                double *y = p->y + (row + i) * q_cols + h * dim;
                memset(y, 0, (size_t)dim * sizeof(double));
                for (int64_t j = 0; j < keys; j++) {
                    if (score[j] == -INFINITY) continue;
                    const double e = exp(score[j] - greatest);
                    sum += e;
                    for (int64_t d = 0; d < dim; d++) y[d] += e * p->v[(key_row + j) * k_cols + column + d];
                }
                for (int64_t d = 0; d < dim; d++) y[d] /= sum;
                p->log_sum[(row + i) * s->heads + h] = greatest + log(sum);
            }
        free(score);
        row += s->lengths[g];
        key_row += keys;
    }
}

static double loss(void *argument)
{
    problem *p = argument;
    reference(p);
    double sum = 0;
    for (int64_t i = 0; i < p->tokens * p->s.heads * p->s.head_dim; i++) sum += p->gy[i] * p->y[i];
    return sum;
}

typedef struct tensors {
    tensor *q, *k, *v, *y, *log_sum, *gy, *gq, *gk, *gv;
    lora_segment segments[SEGMENTS];
    lora_attention attention;
} tensors;

// Segment after segment in the rows of q, k and v.
static void lay_segments(const problem *p, tensors *t)
{
    const setup *s = &p->s;
    const uint64_t size = t->k->view.type == LORA_TYPE_F32 ? 4 : 2;
    int64_t row = 0, key_row = 0;
    for (int64_t g = 0; g < p->segments; g++) {
        const int64_t keys = s->past + s->lengths[g];
        lora_segment *segment = &t->segments[g];
        *segment = (lora_segment){row, s->lengths[g], t->k->view, t->v->view, keys, s->prefix, NULL};
        segment->keys.offset += (uint64_t)(key_row * segment->keys.stride) * size;
        segment->values.offset += (uint64_t)(key_row * segment->values.stride) * size;
        segment->keys.rows = segment->values.rows = keys;
        row += s->lengths[g];
        key_row += keys;
    }
}

static void make(check *c, problem *p, tensors *t)
{
    const setup *s = &p->s;
    const int64_t q_cols = s->heads * s->head_dim, k_cols = s->kv_heads * s->head_dim;
    for (; p->segments < SEGMENTS && s->lengths[p->segments]; p->segments++) p->tokens += s->lengths[p->segments];
    p->keys = p->tokens + p->segments * s->past;
    p->scale = (double)(float)(1 / sqrt((double)s->head_dim));
    t->q = tensor_random(c, LORA_TYPE_F32, p->tokens, q_cols, s->how, 1.5);
    t->k = tensor_random(c, LORA_TYPE_F32, p->keys, k_cols, s->how, 1.5);
    t->v = tensor_random(c, LORA_TYPE_F32, p->keys, k_cols, s->how, 1);
    t->y = tensor_random(c, LORA_TYPE_F32, p->tokens, q_cols, s->how, 1);
    t->log_sum = tensor_random(c, LORA_TYPE_F32, p->tokens, s->heads, s->how, 1);
    lay_segments(p, t);
    t->attention = (lora_attention){s->heads,        s->kv_heads, s->head_dim, (int32_t)p->segments,
                                    (float)p->scale, s->softcap,  s->window,   t->segments, 0, 0};
    if (s->coarse) t->attention.coarse = LORA_COARSE_BF16;
    p->q = t->q->value, p->k = t->k->value, p->v = t->v->value;
    p->y = scratch(p->tokens * q_cols, sizeof(double)), p->log_sum = scratch(p->tokens * s->heads, sizeof(double));
}

// f16 has 11 bits down to 2^-14, bf16 has 8.
static double rounded_to(lora_type type, double x)
{
    int exponent;
    frexp(x, &exponent);
    if (type == LORA_TYPE_F16 && exponent < -13) exponent = -13;
    const int last = exponent - (type == LORA_TYPE_F16 ? 11 : 8);
    return ldexp(nearbyint(ldexp(x, -last)), last); // to even
}

// As numbers of type `to`, in a tensor of `type`.
static tensor *rounded(check *c, lora_type type, const tensor *t, lora_type to)
{
    const int64_t n = t->view.rows * t->view.cols;
    double *values = scratch(n, sizeof(double));
    for (int64_t i = 0; i < n; i++) values[i] = rounded_to(to, t->value[i]);
    tensor *made = tensor_of(c, type, t->view.rows, t->view.cols, PADDED, values);
    free(values);
    return made;
}

static void round_tensor(check *c, tensor **t)
{
    *t = rounded(c, LORA_TYPE_F32, *t, LORA_TYPE_BF16);
}

static void check_backward(check *c, problem *p, tensors *t)
{
    const setup *s = &p->s;
    const int64_t q_cols = s->heads * s->head_dim, k_cols = s->kv_heads * s->head_dim, n = p->keys * k_cols;
    t->gy = tensor_random(c, LORA_TYPE_F32, p->tokens, q_cols, s->how, 1);
    if (s->coarse) round_tensor(c, &t->gy);
    t->gq = tensor_random(c, LORA_TYPE_F32, p->tokens, q_cols, s->how, 1);
    t->gk = tensor_random(c, LORA_TYPE_F32, p->tokens, k_cols, s->how, 1);
    t->gv = tensor_random(c, LORA_TYPE_F32, p->tokens, k_cols, s->how, 1);
    p->gy = t->gy->value;
    double *start_k = scratch(n, sizeof(double)), *start_v = scratch(n, sizeof(double));
    memcpy(start_k, t->gk->value, (size_t)n * sizeof(double));
    memcpy(start_v, t->gv->value, (size_t)n * sizeof(double));
    check_ok(c, c->backend->attention_backward(c->device, t->gq->view, t->gk->view, t->gv->view, t->gy->view,
                                               t->y->view, t->log_sum->view, t->q->view, &t->attention));
    const bool coarse = s->coarse && c->backend->supports(c->device, LORA_OP_ATTENTION, LORA_TYPE_BF16);
    const double tolerance = coarse ? ldexp(1, -8) : EPSILON * 4 * (2 + sqrt((double)s->head_dim));
    check_gradient(c, "q", tensor_read(c, t->gq), NULL, p->q, p->tokens * q_cols, loss, p, 1, tolerance);
    check_gradient(c, "k", tensor_read(c, t->gk), start_k, p->k, n, loss, p, 1, tolerance);
    check_gradient(c, "v", tensor_read(c, t->gv), start_v, p->v, n, loss, p, 1, tolerance);
    free(start_k);
    free(start_v);
}

// Page `index` of a segment: its keys above its values. What lies behind the last key must not be read.
static tensor *make_page(check *c, const problem *p, lora_type type, int64_t key_row, int64_t keys, int64_t index)
{
    const int64_t cols = p->s.kv_heads * p->s.head_dim;
    double *values = scratch(2 * LORA_PAGE_KEYS * cols, sizeof(double));
    for (int64_t i = 0; i < 2 * LORA_PAGE_KEYS * cols; i++) {
        const int64_t row = i / cols % LORA_PAGE_KEYS, key = index * LORA_PAGE_KEYS + row;
        const double *from = i < LORA_PAGE_KEYS * cols ? p->k : p->v;
        values[i] = key < keys ? from[(key_row + key) * cols + i % cols] : (double)NAN;
    }
    tensor *page = tensor_of(c, type, 2 * LORA_PAGE_KEYS, cols, TIGHT, values); // one layout for all
    free(values);
    return page;
}

// y and log_sum of the same keys and values in pages of `type`, the last made first.
static void run_pages(check *c, const problem *p, const tensors *t, lora_type type, const tensor *y,
                      const tensor *log_sum)
{
    lora_segment segments[SEGMENTS];
    lora_attention attention = t->attention;
    attention.segments = segments;
    int64_t key_row = 0;
    for (int64_t g = 0; g < p->segments; g++) {
        lora_segment *segment = &segments[g];
        *segment = t->segments[g];
        const int64_t count = (segment->key_count + LORA_PAGE_KEYS - 1) / LORA_PAGE_KEYS;
        lora_buffer **pages = scratch(count, sizeof *pages);
        for (int64_t i = count; i-- > 0;) {
            const tensor *page = make_page(c, p, type, key_row, segment->key_count, i);
            pages[i] = page->view.buffer;
            segment->keys = segment->values = page->view;
        }
        segment->keys.rows = segment->values.rows = LORA_PAGE_KEYS;
        const uint64_t size = type == LORA_TYPE_F32 ? 4 : 2;
        segment->values.offset += (uint64_t)(LORA_PAGE_KEYS * segment->values.stride) * size;
        segment->pages = pages;
        key_row += segment->key_count;
    }
    check_ok(c, c->backend->attention_forward(c->device, y->view, log_sum->view, t->q->view, &attention));
    for (int64_t g = 0; g < p->segments; g++) free((void *)segments[g].pages);
}

// The bits are the same.
static void check_pages(check *c, const problem *p, const tensors *t)
{
    const setup *s = &p->s;
    tensor *y = tensor_zero(c, LORA_TYPE_F32, p->tokens, s->heads * s->head_dim, s->how);
    tensor *log_sum = tensor_zero(c, LORA_TYPE_F32, p->tokens, s->heads, s->how);
    run_pages(c, p, t, LORA_TYPE_F32, y, log_sum);
    const int64_t n = p->tokens * s->heads * s->head_dim;
    double *zero = scratch(n, sizeof(double));
    check_values(c, "y in pages", tensor_read(c, y), t->y->value, zero, n, 0);
    check_values(c, "log_sum in pages", tensor_read(c, log_sum), t->log_sum->value, zero, p->tokens * s->heads, 0);
    free(zero);
}

// Against the reference, of values that were rounded if any were.
static void check_result(check *c, problem *p, tensor *y, tensor *log_sum)
{
    const setup *s = &p->s;
    const int64_t n = p->tokens * s->heads * s->head_dim;
    double *size = scratch(n, sizeof(double)), *log_size = scratch(p->tokens * s->heads, sizeof(double));
    reference(p);
    // A mean of numbers of deviation 1, with weights whose scores are sums of head_dim products.
    for (int64_t i = 0; i < n; i++) size[i] = 2 + sqrt((double)s->head_dim);
    for (int64_t i = 0; i < p->tokens * s->heads; i++) log_size[i] = 4 + fabs(p->log_sum[i]);
    check_values(c, "y", tensor_read(c, y), p->y, size, n, 4 * EPSILON);
    check_values(c, "log_sum", tensor_read(c, log_sum), p->log_sum, log_size, p->tokens * s->heads, 4 * EPSILON);
    free(size);
    free(log_size);
}

static void run_case(check *c, setup s)
{
    problem p = {.s = s};
    tensors t = {0};
    make(c, &p, &t);
    case_begin(
        c,
        "attention %d/%d heads of %d, %lld queries in %lld segments, %lld past, window %lld, prefix %lld, softcap %g, "
        "layout %d",
        (int)s.heads, (int)s.kv_heads, (int)s.head_dim, (long long)p.tokens, (long long)p.segments, (long long)s.past,
        (long long)s.window, (long long)s.prefix, (double)s.softcap, (int)s.how);
    check_ok(c, c->backend->attention_forward(c->device, t.y->view, t.log_sum->view, t.q->view, &t.attention));
    check_result(c, &p, t.y, t.log_sum);
    check_pages(c, &p, &t);
    if (s.past == 0) check_backward(c, &p, &t);
    free(p.y);
    free(p.log_sum);
    case_end(c);
}

// A cache of 16 bits.
static void run_small_cache(check *c, lora_type type, setup s)
{
    problem p = {.s = s};
    tensors t = {0};
    case_begin(c, "attention to a cache of type %d, %d/%d heads of %d, %lld queries, %lld past, window %lld", (int)type,
               (int)s.heads, (int)s.kv_heads, (int)s.head_dim, (long long)s.lengths[0], (long long)s.past,
               (long long)s.window);
    make(c, &p, &t);
    p.k = rounded(c, LORA_TYPE_F32, t.k, type)->value, p.v = rounded(c, LORA_TYPE_F32, t.v, type)->value;
    run_pages(c, &p, &t, type, t.y, t.log_sum);
    check_result(c, &p, t.y, t.log_sum);
    free(p.y);
    free(p.log_sum);
    case_end(c);
}

// Queries of a segment together, as alone, and each as the only one of a segment: the same bits.
static void run_as_alone(check *c, setup s)
{
    problem p = {.s = s};
    tensors t = {0};
    case_begin(c, "attention as alone, %d/%d heads of %d, %lld queries, %lld past, window %lld", (int)s.heads,
               (int)s.kv_heads, (int)s.head_dim, (long long)s.lengths[0], (long long)s.past, (long long)s.window);
    make(c, &p, &t);
    const int64_t n = p.tokens * s.heads * s.head_dim;
    tensor *y = tensor_zero(c, LORA_TYPE_F32, p.tokens, s.heads * s.head_dim, s.how);
    tensor *log_sum = tensor_zero(c, LORA_TYPE_F32, p.tokens, s.heads, s.how);
    double *zero = scratch(n, sizeof(double));
    t.attention.as_alone = 1;
    check_ok(c, c->backend->attention_forward(c->device, t.y->view, t.log_sum->view, t.q->view, &t.attention));
    lora_segment one = t.segments[0];
    lora_attention alone = t.attention;
    alone.as_alone = 0, alone.segments = &one;
    for (int64_t i = 0; i < p.tokens; i++) {
        one.query_begin = i, one.query_count = 1, one.key_count = s.past + i + 1;
        check_ok(c, c->backend->attention_forward(c->device, y->view, log_sum->view, t.q->view, &alone));
    }
    const double *want = tensor_read(c, y), *want_log = tensor_read(c, log_sum);
    check_values(c, "y", tensor_read(c, t.y), want, zero, n, 0);
    check_values(c, "log_sum", tensor_read(c, t.log_sum), want_log, zero, p.tokens * s.heads, 0);
    free(zero);
    free(p.y);
    free(p.log_sum);
    case_end(c);
}

// Coarse attention is that of q, keys and values rounded to bf16, to the bit; beyond that only probabilities and their
// gradients are rounded, by 2^-9 of each at most. On a device that has no such attention it is exact.
static void run_coarse(check *c, setup s)
{
    problem p = {.s = s};
    tensors t = {0};
    case_begin(c, "coarse attention, %d/%d heads of %d, %lld queries, %lld past, window %lld", (int)s.heads,
               (int)s.kv_heads, (int)s.head_dim, (long long)s.lengths[0], (long long)s.past, (long long)s.window);
    make(c, &p, &t);
    check_ok(c, c->backend->attention_forward(c->device, t.y->view, t.log_sum->view, t.q->view, &t.attention));
    const int64_t n = p.tokens * s.heads * s.head_dim, sums = p.tokens * s.heads;
    double *y = scratch(n, sizeof(double)), *log_sum = scratch(sums, sizeof(double));
    double *zero = scratch(n, sizeof(double));
    memcpy(y, tensor_read(c, t.y), (size_t)n * sizeof(double));
    memcpy(log_sum, tensor_read(c, t.log_sum), (size_t)sums * sizeof(double));
    round_tensor(c, &t.q), round_tensor(c, &t.k), round_tensor(c, &t.v);
    p.q = t.q->value, p.k = t.k->value, p.v = t.v->value;
    lay_segments(&p, &t);
    check_ok(c, c->backend->attention_forward(c->device, t.y->view, t.log_sum->view, t.q->view, &t.attention));
    check_values(c, "y of rounded", tensor_read(c, t.y), y, zero, n, 0);
    check_values(c, "log_sum of rounded", tensor_read(c, t.log_sum), log_sum, zero, sums, 0);
    reference(&p);
    double *size = scratch(n, sizeof(double)), *log_size = scratch(sums, sizeof(double));
    for (int64_t i = 0; i < n; i++) size[i] = 1; // of a value
    for (int64_t i = 0; i < sums; i++) log_size[i] = 4 + fabs(p.log_sum[i]);
    check_values(c, "y", tensor_read(c, t.y), p.y, size, n, 4 * ldexp(1, -9));
    check_values(c, "log_sum", tensor_read(c, t.log_sum), p.log_sum, log_size, sums, 4 * EPSILON);
    if (s.past == 0) check_backward(c, &p, &t);
    free(y), free(log_sum), free(zero), free(size), free(log_size), free(p.y), free(p.log_sum);
    case_end(c);
}

// What attention makes of q, keys and values, and of y in the backward, that are kept in bf16: the bits that it makes
// of the same numbers in f32.
static void run_kept(check *c, setup s)
{
    const int64_t q_cols = s.heads * s.head_dim, k_cols = s.kv_heads * s.head_dim;
    problem p = {.s = s};
    tensors t = {0};
    case_begin(c, "attention of what is kept in bf16, %d/%d heads of %d, %lld queries, coarse %d", (int)s.heads,
               (int)s.kv_heads, (int)s.head_dim, (long long)s.lengths[0], s.coarse);
    make(c, &p, &t);
    const tensor *const q = t.q, *const k = t.k, *const v = t.v;
    const tensor *const y = tensor_random(c, LORA_TYPE_F32, p.tokens, q_cols, s.how, 1);
    t.gy = tensor_random(c, LORA_TYPE_F32, p.tokens, q_cols, s.how, 1);
    double *want[5] = {0}, *zero = scratch(p.keys * (q_cols + k_cols), sizeof(double));
    for (int kept = 0; kept < 2; kept++) {
        const lora_type type = kept ? LORA_TYPE_BF16 : LORA_TYPE_F32;
        t.q = rounded(c, type, q, LORA_TYPE_BF16);
        t.k = rounded(c, type, k, LORA_TYPE_BF16), t.v = rounded(c, type, v, LORA_TYPE_BF16);
        lay_segments(&p, &t);
        t.gq = tensor_zero(c, LORA_TYPE_F32, p.tokens, q_cols, s.how);
        t.gk = tensor_zero(c, LORA_TYPE_F32, p.tokens, k_cols, s.how);
        t.gv = tensor_zero(c, LORA_TYPE_F32, p.tokens, k_cols, s.how);
        check_ok(c, c->backend->attention_forward(c->device, t.y->view, t.log_sum->view, t.q->view, &t.attention));
        check_ok(c,
                 c->backend->attention_backward(c->device, t.gq->view, t.gk->view, t.gv->view, t.gy->view,
                                                rounded(c, type, y, LORA_TYPE_BF16)->view, t.log_sum->view, t.q->view,
                                                &t.attention));
        tensor *const results[5] = {t.y, t.log_sum, t.gq, t.gk, t.gv};
        for (int i = 0; i < 5; i++) {
            const int64_t n = results[i]->view.rows * results[i]->view.cols;
            const double *got = tensor_read(c, results[i]);
            if (kept) check_values(c, "result", got, want[i], zero, n, 0);
            else memcpy(want[i] = scratch(n, sizeof(double)), got, (size_t)n * sizeof(double));
        }
    }
    for (int i = 0; i < 5; i++) free(want[i]);
    free(zero), free(p.y), free(p.log_sum);
    case_end(c);
}

static void run(check *c)
{
    for (int how = TIGHT; how <= PADDED; how++) {
        const layout l = (layout)how;
        run_case(c, (setup){1, 1, 1, {1}, .how = l});
        run_case(c, (setup){2, 1, 5, {3}, .how = l});
        run_case(c, (setup){4, 2, 16, {7, 1, 12}, .how = l});
        run_case(c, (setup){3, 3, 24, {67}, .how = l});
        run_case(c, (setup){4, 2, 32, {130, 65}, .how = l});
        run_case(c, (setup){2, 1, 64, {150}, .window = 20, .how = l});
        run_case(c, (setup){2, 2, 16, {140}, .window = 1, .how = l});
        run_case(c, (setup){2, 1, 16, {139}, .prefix = 70, .how = l});
        run_case(c, (setup){2, 1, 16, {139}, .window = 10, .prefix = 5, .how = l});
        run_case(c, (setup){2, 1, 16, {90}, .softcap = 2, .how = l});
        run_case(c, (setup){1, 1, 256, {70}, .how = l});
        run_case(c, (setup){9, 3, 64, {1, 1}, .past = 777, .how = l});
        run_case(c, (setup){8, 2, 48, {1}, .past = 64, .how = l});
        run_case(c, (setup){4, 1, 128, {1}, .past = 3000, .window = 1000, .softcap = 5, .how = l});
        run_case(c, (setup){6, 2, 40, {3, 2}, .past = 333, .how = l});
        run_case(c, (setup){4, 2, 32, {70}, .past = 100, .window = 50, .how = l});
        run_case(c, (setup){2, 1, 16, {5}, .past = 100, .window = 7, .prefix = 10, .how = l});
        for (lora_type type = LORA_TYPE_F16; type <= LORA_TYPE_BF16; type++) {
            run_small_cache(c, type, (setup){1, 1, 1, {1}, .how = l});
            run_small_cache(c, type, (setup){4, 2, 16, {7, 1, 12}, .past = 61, .how = l});
            run_small_cache(c, type, (setup){9, 3, 64, {1, 1, 1, 1}, .past = 777, .how = l});
            run_small_cache(c, type, (setup){6, 2, 40, {67, 2}, .past = 333, .window = 50, .prefix = 5, .how = l});
            run_small_cache(c, type, (setup){4, 1, 128, {1}, .past = 3000, .window = 1000, .softcap = 5, .how = l});
            run_small_cache(c, type, (setup){1, 1, 512, {1}, .past = 70, .how = l});
        }
        for (int64_t queries = 1; queries <= LORA_ALONE_ROWS; queries += 5) {
            run_as_alone(c, (setup){9, 3, 64, {queries}, .past = 505, .how = l}); // into a third stretch
            run_as_alone(c, (setup){6, 2, 40, {queries}, .past = 3, .how = l});
            run_as_alone(c, (setup){32, 8, 128, {queries}, .past = 4090, .how = l});
            run_as_alone(c, (setup){4, 1, 24, {queries}, .past = 700, .window = 500, .softcap = 5, .how = l});
        }
        for (int coarse = 0; coarse < 2; coarse++) {
            run_kept(c, (setup){3, 1, 24, {67, 3}, .coarse = coarse, .how = l});
            run_kept(c, (setup){4, 2, 64, {150}, .coarse = coarse, .how = l});
        }
        if (!c->backend->supports(c->device, LORA_OP_ATTENTION, LORA_TYPE_BF16)) {
            run_case(c, (setup){6, 2, 64, {130, 65, 1}, .coarse = true, .how = l});
            continue;
        }
        run_coarse(c, (setup){2, 1, 5, {3}, .coarse = true, .how = l});
        run_coarse(c, (setup){4, 2, 16, {7, 1, 12}, .coarse = true, .how = l});
        run_coarse(c, (setup){3, 3, 24, {67}, .coarse = true, .how = l});
        run_coarse(c, (setup){6, 2, 64, {130, 65}, .coarse = true, .how = l});
        run_coarse(c, (setup){2, 1, 64, {150}, .window = 20, .coarse = true, .how = l});
        run_coarse(c, (setup){2, 1, 16, {139}, .window = 10, .prefix = 5, .coarse = true, .how = l});
        run_coarse(c, (setup){2, 1, 48, {90}, .softcap = 2, .coarse = true, .how = l});
        run_coarse(c, (setup){1, 1, 512, {70}, .coarse = true, .how = l});
        run_coarse(c, (setup){9, 3, 64, {33, 1, 1, 1}, .past = 777, .coarse = true, .how = l});
    }
}

static void bench_forward(check *c, void *argument)
{
    const tensors *t = argument;
    c->backend->attention_forward(c->device, t->y->view, t->log_sum->view, t->q->view, &t->attention);
}

static void bench_backward(check *c, void *argument)
{
    const tensors *t = argument;
    c->backend->attention_backward(c->device, t->gq->view, t->gk->view, t->gv->view, t->gy->view, t->y->view,
                                   t->log_sum->view, t->q->view, &t->attention);
}

static void run_bench(check *c)
{
    const struct {
        setup s;
        const char *forward, *backward; // backward NULL: inference
    } shapes[] = {
        {{9, 3, 64, {256, 256, 256, 256}, .coarse = true}, "attention forward 4x256 in bf16", "attention backward"},
        {{32, 8, 64, {256}, .coarse = true}, "attention forward 1x256 in bf16, 32/8 heads of 64", "attention backward"},
        {{9, 3, 64, {256, 256, 256, 256}, .past = 0}, "attention forward 4x256, 9/3 heads of 64", "attention backward"},
        {{9, 3, 64, {2048}, .past = 0}, "attention forward 1x2048, 9/3 heads of 64", "attention backward"},
        {{9, 3, 64, {1}, .past = 2047}, "attention decode, 2048 keys, 9/3 heads of 64", NULL},
        {{32, 8, 128, {1}, .past = 8191}, "attention decode, 8192 keys, 32/8 heads of 128", NULL},
    };
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++) {
        problem p = {.s = shapes[i].s};
        tensors t = {0};
        make(c, &p, &t);
        t.y->output = t.log_sum->output = true;
        double pairs = 0; // of a query and a key that it sees
        for (int64_t g = 0; g < p.segments; g++) {
            const double n = (double)p.s.lengths[g];
            pairs += n * (double)p.s.past + n * (n + 1) / 2;
        }
        const double work = 4 * pairs * p.s.heads * p.s.head_dim;
        bench(c, shapes[i].forward, work, "flop", bench_forward, &t);
        if (shapes[i].backward) {
            t.gy = tensor_random(c, LORA_TYPE_F32, p.tokens, t.q->view.cols, TIGHT, 1);
            t.gq = tensor_zero(c, LORA_TYPE_F32, p.tokens, t.q->view.cols, TIGHT);
            t.gk = tensor_zero(c, LORA_TYPE_F32, p.tokens, t.k->view.cols, TIGHT);
            t.gv = tensor_zero(c, LORA_TYPE_F32, p.tokens, t.k->view.cols, TIGHT);
            t.gq->output = t.gk->output = t.gv->output = true;
            bench(c, shapes[i].backward, 2.5 * work, "flop", bench_backward, &t);
        }
        free(p.y);
        free(p.log_sum);
        case_end(c);
    }
}

const op_check check_attention = {"attention", run, run_bench};
