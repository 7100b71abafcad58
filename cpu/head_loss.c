// The output layer and its loss in one, the way attention goes over its keys: logits exist for a block of the
// vocabulary at a time, while they are in the cache. With the greatest logit g of a row so far and s = sum exp(l - g):
//   loss = g + log s - l[label]
//   gx = grad_scale * (sum_j exp(l_j - g) l'_j W_j / s - l'_label W_label),   l' = 1, or 1 - (l / cap)^2
// Where a block raises g, what was added up before is scaled down.
#include "cpu/ops.h"
#include "cpu/product.h"

#include <math.h>

#define LABEL_IGNORED (-100)
#define BLOCK 2048          // of the vocabulary
#define STRIDE (BLOCK + 16) // of rows of logits; 16 more spread them over sets of the caches
#define PART 1024           // numbers of a row of the weight as f32

typedef struct head_job {
    const lora_device *device;
    lora_view losses, grad_hidden, weight;
    const int32_t *labels;
    float grad_scale, softcap;
    int64_t begin, count;        // the block
    float *logits;               // [rows, STRIDE]
    float *greatest, *sum, *own; // [rows]; own: the label's logit
    int64_t rows, piece;         // all; of a piece
} head_job;

static uint64_t product_bytes(const lora_device *device, int64_t rows, int64_t inner, bool only_f32)
{
    return lr_align64(lr_product_workspace(device, rows, lr_larger(BLOCK, inner), lr_larger(BLOCK, inner), only_f32));
}

uint64_t lr_head_loss_workspace(const lora_device *device, int64_t rows, int64_t inner, bool only_f32)
{
    return product_bytes(device, rows, inner, only_f32) + (uint64_t)(rows * (STRIDE + 3)) * sizeof(float);
}

static bool wants_gradient(const head_job *job)
{
    return lr_present(&job->grad_hidden);
}

// The block's logits of a row become what they weigh rows of the weight with.
static void add_row(const head_job *job, int64_t i)
{
    const lr_kernels *kernels = job->device->kernels;
    float *x = job->logits + i * STRIDE, *greatest = &job->greatest[i], *sum = &job->sum[i], factor;
    const int64_t own = job->labels[i] - job->begin;
    if (job->softcap != 0) kernels->softcap(x, job->softcap, job->count);
    if (own >= 0 && own < job->count) job->own[i] = x[own];
    if (job->softcap == 0) {
        factor = kernels->softmax_step(x, 1, greatest, sum, job->count);
    } else {
        const float before = *greatest;
        *greatest = fmaxf(before, kernels->maximum(x, job->count));
        factor = expf(before - *greatest);
        *sum = *sum * factor + kernels->exp_sum(x, *greatest, job->count);
        kernels->softmax_gradient(x, *greatest, 1, job->softcap, job->count);
    }
    if (wants_gradient(job) && job->begin > 0 && factor != 1)
        kernels->scale(lr_row(&job->grad_hidden, i), factor, job->grad_hidden.cols);
}

static void add_rows(int64_t index, void *argument)
{
    const head_job *job = argument;
    const int64_t end = lr_smaller(job->rows, (index + 1) * job->piece);
    for (int64_t i = index * job->piece; i < end; i++) add_row(job, i);
}

static void finish_gradient(const head_job *job, int64_t i)
{
    const lr_kernels *kernels = job->device->kernels;
    const int64_t n = job->grad_hidden.cols;
    float *gradient = lr_row(&job->grad_hidden, i), part[PART];
    if (job->labels[i] == LABEL_IGNORED) {
        kernels->fill(gradient, 0, n);
        return;
    }
    const float capped = job->softcap != 0 ? job->own[i] / job->softcap : 0;
    kernels->scale(gradient, job->grad_scale / job->sum[i], n);
    for (int64_t j = 0; j < n; j += PART) {
        const int64_t count = lr_smaller(PART, n - j);
        const float *own = lr_row_numbers(job->device, part, &job->weight, job->labels[i], j, count);
        kernels->add(gradient + j, own, -job->grad_scale * (1 - capped * capped), count);
    }
}

static void finish_rows(int64_t index, void *argument)
{
    const head_job *job = argument;
    const int64_t end = lr_smaller(job->rows, (index + 1) * job->piece);
    for (int64_t i = index * job->piece; i < end; i++) {
        const bool ignored = job->labels[i] == LABEL_IGNORED;
        *lr_row(&job->losses, i) = ignored ? 0 : logf(job->sum[i]) - (job->own[i] - job->greatest[i]);
        if (wants_gradient(job)) finish_gradient(job, i);
    }
}

lora_status lr_head_loss(lora_device *device, lora_view losses, lora_view grad_hidden, lora_view hidden,
                         const lora_linear *head, const int32_t *labels, float grad_scale, float softcap)
{
    const int64_t rows = hidden.rows, inner = hidden.cols, vocabulary = head->weight.rows;
    const bool only_f32 = head->weight.type == LORA_TYPE_F32;
    lr_cpu_lock(device);
    lora_status status =
        lr_need_workspace(device, "output layer", lr_head_loss_workspace(device, rows, inner, only_f32));
    if (status != LORA_OK) goto done;

    float *logits = (float *)(void *)(device->workspace + product_bytes(device, rows, inner, only_f32));
    head_job job = {device, losses, grad_hidden, head->weight, labels, grad_scale, softcap, .logits = logits,
                    .greatest = logits + rows * STRIDE, .rows = rows, .piece = lr_piece_rows(BLOCK)};
    job.sum = job.greatest + rows, job.own = job.sum + rows;
    for (int64_t i = 0; i < rows; i++) job.greatest[i] = -INFINITY, job.sum[i] = 0;
    for (; job.begin < vocabulary; job.begin += BLOCK) {
        job.count = lr_smaller(BLOCK, vocabulary - job.begin);
        lr_product_term term = {lr_operand_of(&hidden, 0, false), lr_operand_of(&head->weight, job.begin, true), inner,
                                1, head->coarse, false};
        lr_product_sum(device, rows, job.count, 1, &term, false, logits, STRIDE, NULL);
        lr_cpu_parallel(device, lr_pieces(rows, job.piece), add_rows, &job);
        if (!wants_gradient(&job)) continue;
        term.a = (lr_operand){.data = logits, .stride = STRIDE, .type = LORA_TYPE_F32};
        term.b.transposed = false, term.k = job.count;
        lr_product_sum(device, rows, inner, 1, &term, job.begin > 0, lr_row(&grad_hidden, 0), grad_hidden.stride, NULL);
    }
    job.piece = lr_piece_rows(inner);
    lr_cpu_parallel(device, lr_pieces(rows, job.piece), finish_rows, &job);
done:
    lr_cpu_unlock(device);
    return status;
}
