// The device itself: buffers, workspace, running out of memory, and that neither the order of pieces nor who runs them
// changes a bit.
#include "check_op.h"

#include <stdlib.h>
#include <string.h>

/* ---- an allocator that counts, and can fail ---- */

typedef struct counter {
    int64_t calls, live; // bytes are not known at release, so blocks are counted
    uint64_t largest;
    int64_t fail_at; // the call that gets no memory; 0: none
} counter;

static void *counted_allocate(size_t size, void *user)
{
    counter *n = user;
    if (++n->calls == n->fail_at) return NULL;
    if (size > n->largest) n->largest = size;
    n->live++;
    return malloc(size);
}

static void *counted_reallocate(void *block, size_t size, void *user)
{
    counter *n = user;
    if (++n->calls == n->fail_at) return NULL;
    return realloc(block, size);
}

static void counted_release(void *block, void *user)
{
    counter *n = user;
    n->live--;
    free(block);
}

static lora_backend_host counting_host(const check *c, counter *n)
{
    lora_backend_host host = *c->host;
    host.allocator = (lora_allocator){counted_allocate, counted_reallocate, counted_release, n};
    return host;
}

/* ---- a small training step, whose results are returned as bytes ---- */

enum { ROWS = 150, IN = 70, OUT = 64, RANK = 4, HEADS = 4, OUTPUTS = 5 };

static const lora_workspace_request small_request = {ROWS, 128, 128, RANK, 0, 0};

static void run_step(check *c, float *results, int64_t *calls, const counter *n)
{
    c->random = 77;
    tensor *x = tensor_random(c, LORA_TYPE_F32, ROWS, IN, TIGHT, 1),
           *w = tensor_random(c, LORA_TYPE_F32, OUT, IN, TIGHT, 0.2);
    tensor *a = tensor_random(c, LORA_TYPE_F32, RANK, IN, TIGHT, 1),
           *b = tensor_random(c, LORA_TYPE_F32, OUT, RANK, TIGHT, 1);
    tensor *hidden = tensor_zero(c, LORA_TYPE_F32, ROWS, RANK, TIGHT),
           *q = tensor_zero(c, LORA_TYPE_F32, ROWS, OUT, TIGHT);
    tensor *k = tensor_random(c, LORA_TYPE_F32, ROWS, OUT / 2, TIGHT, 1),
           *y = tensor_zero(c, LORA_TYPE_F32, ROWS, OUT, TIGHT);
    tensor *log_sum = tensor_zero(c, LORA_TYPE_F32, ROWS, HEADS, TIGHT),
           *gy = tensor_random(c, LORA_TYPE_F32, ROWS, OUT, TIGHT, 1);
    tensor *gq = tensor_zero(c, LORA_TYPE_F32, ROWS, OUT, TIGHT),
           *gk = tensor_zero(c, LORA_TYPE_F32, ROWS, OUT / 2, TIGHT);
    tensor *gx = tensor_zero(c, LORA_TYPE_F32, ROWS, IN, TIGHT);
    tensor *ga = tensor_zero(c, LORA_TYPE_F32, RANK, IN, TIGHT), *gb = tensor_zero(c, LORA_TYPE_F32, OUT, RANK, TIGHT);
    tensor *weight = tensor_random(c, LORA_TYPE_F32, 1, OUT, TIGHT, 1),
           *statistics = tensor_zero(c, LORA_TYPE_F32, ROWS, 2, TIGHT);
    lora_pair pair = {a->view, b->view, hidden->view, ga->view, gb->view, 2, {0.1f, 1, 5}, 0, ROWS};
    lora_linear linear = {w->view, absent(), absent(), absent(), 0, 1, &pair, 0, 0};
    lora_segment segment = {0, ROWS, k->view, k->view, ROWS, 0, NULL};
    lora_attention attention = {HEADS, HEADS / 2, OUT / HEADS, 1, 0.25f, 0, 0, &segment, 0, 0};
    lora_norm norm = {LORA_NORM_RMS, 1e-5f, 0, 0, weight->view, absent(), absent(), absent(), absent()};
    const int64_t before = n ? n->calls : 0;
    check_ok(c, c->backend->linear_forward(c->device, q->view, x->view, &linear, 0));
    check_ok(c, c->backend->attention_forward(c->device, y->view, log_sum->view, q->view, &attention));
    check_ok(c, c->backend->attention_backward(c->device, gq->view, gk->view, gk->view, gy->view, y->view,
                                               log_sum->view, q->view, &attention));
    check_ok(c, c->backend->linear_backward(c->device, gx->view, gq->view, x->view, &linear, 0));
    check_ok(c, c->backend->norm_forward(c->device, y->view, statistics->view, q->view, &norm));
    *calls = n ? n->calls - before : 0;
    tensor *const outputs[OUTPUTS] = {gx, ga, gb, gk, y};
    for (int o = 0; o < OUTPUTS; o++) {
        const double *values = tensor_read(c, outputs[o]);
        for (int64_t i = 0; i < outputs[o]->view.rows * outputs[o]->view.cols; i++) *results++ = (float)values[i];
    }
    tensor_read(c, q), tensor_read(c, hidden), tensor_read(c, log_sum), tensor_read(c, gq), tensor_read(c, statistics);
    case_end(c);
}

enum { RESULTS = ROWS * IN + RANK * IN + OUT * RANK + ROWS * OUT / 2 + ROWS * OUT };

// The step on a device of its own.
static void run_on(check *c, const lora_backend_host *host, float *results, int64_t *calls, const counter *n)
{
    lora_device *kept = c->device;
    check_ok(c, c->backend->open(host, &c->device));
    check_ok(c, c->backend->reserve(c->device, &small_request));
    run_step(c, results, calls, n);
    c->backend->close(c->device);
    c->device = kept;
}

static void backwards(int64_t count, void (*task)(int64_t index, void *argument), void *argument, void *user)
{
    (void)user;
    for (int64_t i = count - 1; i >= 0; i--) task(i, argument);
}

static void run_determinism(check *c)
{
    float *first = scratch(RESULTS, sizeof(float)), *other = scratch(RESULTS, sizeof(float));
    int64_t calls;
    case_begin(c, "the same step three times on the device's threads");
    run_on(c, c->host, first, &calls, NULL);
    for (int round = 0; round < 3; round++) {
        run_on(c, c->host, other, &calls, NULL);
        if (memcmp(first, other, RESULTS * sizeof(float)) != 0) fail_case(c, "other bits in round %d", round);
    }
    case_begin(c, "pieces run backwards by the host");
    lora_backend_host host = *c->host;
    host.parallel_for = backwards;
    run_on(c, &host, other, &calls, NULL);
    if (memcmp(first, other, RESULTS * sizeof(float)) != 0) fail_case(c, "other bits");
    case_begin(c, "ops allocate nothing");
    counter n = {0};
    host = counting_host(c, &n);
    run_on(c, &host, other, &calls, &n);
    if (calls != 0) fail_case(c, "%lld allocations", (long long)calls);
    if (n.live != 0) fail_case(c, "%lld blocks were not released", (long long)n.live);
    free(first);
    free(other);
}

static void run_memory(check *c)
{
    case_begin(c, "workspace");
    counter n = {0};
    lora_backend_host host = counting_host(c, &n);
    lora_device *device = NULL;
    check_ok(c, c->backend->open(&host, &device));
    const uint64_t bytes = c->backend->workspace_bytes(device, &small_request);
    n.largest = 0;
    check_ok(c, c->backend->reserve(device, &small_request));
    if (n.largest < bytes || n.largest > bytes + 128) // and what alignment takes
        fail_case(c, "workspace_bytes says %llu, reserve took %llu", (unsigned long long)bytes,
                  (unsigned long long)n.largest);
    const int64_t calls = n.calls;
    check_ok(c, c->backend->reserve(device, &small_request));
    if (n.calls != calls) fail_case(c, "a second reserve allocated");
    lora_workspace_request larger = small_request;
    larger.max_rows *= 100, larger.max_rank *= 8;
    n.fail_at = n.calls + 1;
    if (c->backend->reserve(device, &larger) != LORA_ERROR_MEMORY) fail_case(c, "a failed reserve was not reported");
    if (c->backend->workspace_bytes(device, &larger) <= bytes) fail_case(c, "a larger request is not larger");
    c->backend->close(device);
    if (n.live != 0) fail_case(c, "%lld blocks were not released", (long long)n.live);

    for (int64_t at = 1;; at++) {
        case_begin(c, "no memory at call %d of opening, reserving and a buffer", (int)at);
        n = (counter){.fail_at = at};
        lora_buffer *buffer = NULL;
        lora_status status = c->backend->open(&host, &device);
        if (status == LORA_OK) {
            status = c->backend->reserve(device, &small_request);
            if (status == LORA_OK) status = c->backend->buffer_create(device, 1000, &buffer);
            if (status == LORA_OK) c->backend->buffer_free(device, buffer);
            c->backend->close(device);
        }
        if (n.live != 0) fail_case(c, "%lld blocks were not released", (long long)n.live);
        if (status == LORA_OK) break;
        if (status != LORA_ERROR_MEMORY) fail_case(c, "status %d", (int)status);
    }
}

static void run_unreserved(check *c)
{
    case_begin(c, "no reserve");
    lora_device *kept = c->device, *device = NULL;
    check_ok(c, c->backend->open(c->host, &device));
    c->device = device;
    tensor *x = tensor_random(c, LORA_TYPE_F32, 2, 64, TIGHT, 1),
           *w = tensor_random(c, LORA_TYPE_F32, 64, 64, TIGHT, 1);
    tensor *y = tensor_zero(c, LORA_TYPE_F32, 2, 64, TIGHT);
    const lora_linear linear = {w->view, absent(), absent(), absent(), 0, 0, NULL, 0, 0};
    if (c->backend->linear_forward(device, y->view, x->view, &linear, 0) != LORA_ERROR_BACKEND ||
        !strstr(failure_text(), "reserve was not called"))
        fail_case(c, "the message is: %s", failure_text());
    case_end(c);
    c->backend->close(device);
    c->device = kept;
}

static void run_buffers(check *c)
{
    case_begin(c, "buffers");
    lora_buffer *buffer = NULL;
    uint8_t bytes[100], zero[100] = {0};
    memset(bytes, 1, sizeof bytes);
    check_ok(c, c->backend->buffer_create(c->device, sizeof bytes, &buffer));
    check_ok(c, c->backend->buffer_read(c->device, buffer, 0, bytes, sizeof bytes));
    if (memcmp(bytes, zero, sizeof bytes) != 0) fail_case(c, "a new buffer is not zeroed");
    if ((uintptr_t)c->backend->buffer_host(buffer) % 64) fail_case(c, "a new buffer is not aligned to 64 bytes");
    check_ok(c, c->backend->buffer_write(c->device, buffer, 7, "abc", 3));
    check_ok(c, c->backend->buffer_read(c->device, buffer, 8, bytes, 2));
    if (memcmp(bytes, "bc", 2) != 0) fail_case(c, "what was written did not come back");
    const uint64_t beyond[][2] = {{100, 1}, {99, 2}, {101, 0}, {UINT64_MAX, 2}, {1, UINT64_MAX}};
    for (int i = 0; i < 5; i++)
        if (c->backend->buffer_write(c->device, buffer, beyond[i][0], bytes, beyond[i][1]) != LORA_ERROR_ARGUMENT ||
            c->backend->buffer_read(c->device, buffer, beyond[i][0], bytes, beyond[i][1]) != LORA_ERROR_ARGUMENT)
            fail_case(c, "bytes beyond the end were not refused");
    check_ok(c, c->backend->buffer_read(c->device, buffer, 100, bytes, 0));
    c->backend->buffer_free(c->device, buffer);
    c->backend->buffer_free(c->device, NULL);
    if (c->backend->supports(c->device, LORA_OP_LINEAR, LORA_TYPE_I32) ||
        c->backend->supports(c->device, 0, LORA_TYPE_F32) || c->backend->supports(c->device, LORA_OP_LINEAR, -1) ||
        c->backend->supports(c->device, LORA_OP_LINEAR, 99) ||
        !c->backend->supports(c->device, LORA_OP_LINEAR, LORA_TYPE_F32))
        fail_case(c, "supports() is wrong");
    case_end(c);
}

static void run(check *c)
{
    run_buffers(c);
    run_unreserved(c);
    run_memory(c);
    run_determinism(c);
}

const op_check check_device = {"device", run, NULL};
