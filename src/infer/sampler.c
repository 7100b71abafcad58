#include "sampler.h"

#include "lib/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAW_STREAM 0x53414D50u

lora_status lr_sampler_init(lr_sampler *sampler, const lora_allocator *allocator, int64_t vocabulary)
{
    size_t count = (size_t)vocabulary;
    *sampler = (lr_sampler){.allocator = allocator, .vocabulary = vocabulary};
    sampler->scores = lr_alloc_array(allocator, count, sizeof *sampler->scores);
    sampler->candidates = lr_alloc_array(allocator, count, sizeof *sampler->candidates);
    sampler->seen = lr_alloc_zeroed(allocator, count, 1);
    if (sampler->scores && sampler->candidates && sampler->seen) return LORA_OK;
    lr_sampler_free(sampler);
    return LORA_ERROR_MEMORY;
}

void lr_sampler_free(lr_sampler *sampler)
{
    if (!sampler->allocator) return;
    lr_free(sampler->allocator, sampler->scores);
    lr_free(sampler->allocator, sampler->candidates);
    lr_free(sampler->allocator, sampler->seen);
    *sampler = (lr_sampler){0};
}

// Every token of the history once: score / penalty where positive, score * penalty where negative (Keskar et al. 2019).
static void penalise(lr_sampler *sampler, float penalty, const int32_t *history, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t id = history[i];
        if (sampler->seen[id]) continue;
        sampler->seen[id] = 1;
        float *score = &sampler->scores[id];
        *score = *score < 0 ? *score * penalty : *score / penalty;
    }
    for (size_t i = 0; i < count; i++) sampler->seen[history[i]] = 0;
}

static int32_t best_token(const float *scores, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (scores[i] > scores[best]) best = i;
    return (int32_t)best;
}

static int by_score(const void *a, const void *b)
{
    const lr_candidate *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

// A heap of the k best so far, worst on top.
static void sift_down(lr_candidate *heap, int64_t count, int64_t i)
{
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= count) return;
        if (child + 1 < count && heap[child + 1].score < heap[child].score) child++;
        if (heap[i].score <= heap[child].score) return;
        lr_candidate moved = heap[i];
        heap[i] = heap[child], heap[child] = moved;
        i = child;
    }
}

static float kth_score(lr_candidate *heap, int64_t k, const float *scores, int64_t count)
{
    for (int64_t i = 0; i < k; i++) heap[i] = (lr_candidate){scores[i], (int32_t)i};
    for (int64_t i = k / 2; i-- > 0;) sift_down(heap, k, i);
    for (int64_t i = k; i < count; i++) {
        if (scores[i] <= heap[0].score) continue;
        heap[0] = (lr_candidate){scores[i], (int32_t)i};
        sift_down(heap, k, 0);
    }
    return heap[0].score;
}

// Candidates in falling order; ties with the k-th stay in.
static int64_t take_top_k(lr_sampler *sampler, int32_t k)
{
    const float *scores = sampler->scores;
    int64_t count = sampler->vocabulary, taken = 0;
    float least = k > 0 && k < count ? kth_score(sampler->candidates, k, scores, count) : -INFINITY;
    for (int64_t i = 0; i < count; i++)
        if (scores[i] >= least && scores[i] > -INFINITY)
            sampler->candidates[taken++] = (lr_candidate){scores[i], (int32_t)i};
    qsort(sampler->candidates, (size_t)taken, sizeof *sampler->candidates, by_score);
    return taken;
}

static double weight_of(const lr_sampler *sampler, int64_t i, double temperature)
{
    return exp(((double)sampler->candidates[i].score - (double)sampler->candidates[0].score) / temperature);
}

static double total_weight(const lr_sampler *sampler, int64_t count, double temperature)
{
    double total = 0;
    for (int64_t i = 0; i < count; i++) total += weight_of(sampler, i, temperature);
    return total;
}

// The smallest set of best tokens whose probability reaches p (Holtzman et al. 2019); at least one.
static int64_t take_top_p(const lr_sampler *sampler, int64_t count, double temperature, double p)
{
    double total = total_weight(sampler, count, temperature), above = 0;
    int64_t kept = 0;
    while (kept < count && (kept == 0 || above < p * total)) above += weight_of(sampler, kept++, temperature);
    return kept;
}

// Tokens of at least min_p times the best one's probability; the best one's weight is 1.
static int64_t take_min_p(const lr_sampler *sampler, int64_t count, double temperature, double min_p)
{
    while (count > 1 && weight_of(sampler, count - 1, temperature) < min_p) count--;
    return count;
}

lora_status lr_sampler_choose(lr_sampler *sampler, const lr_sampling *sampling, const float *logits,
                              const lr_logits_summary *summary, const int32_t *history, size_t history_count,
                              uint64_t draw, int32_t *id)
{
    if (summary->log_sum != summary->log_sum)
        return lr_fail(LORA_ERROR_NOT_FINITE,
                       "the model gave NaN for the next token: its weights or adapters are damaged");
    if (sampling->temperature == 0 && sampling->repetition_penalty == 1) {
        *id = summary->best;
        return LORA_OK;
    }
    memcpy(sampler->scores, logits, (size_t)sampler->vocabulary * sizeof *logits);
    if (sampling->repetition_penalty != 1) penalise(sampler, sampling->repetition_penalty, history, history_count);
    if (sampling->temperature == 0) {
        *id = best_token(sampler->scores, sampler->vocabulary);
        return LORA_OK;
    }
    double temperature = sampling->temperature;
    int64_t count = take_top_k(sampler, sampling->top_k);
    if (count == 0) return lr_fail(LORA_ERROR_NOT_FINITE, "the model gave no finite score for the next token");
    if (sampling->top_p < 1) count = take_top_p(sampler, count, temperature, sampling->top_p);
    if (sampling->min_p > 0) count = take_min_p(sampler, count, temperature, sampling->min_p);

    double left =
        (double)lr_random_u32(sampling->seed, DRAW_STREAM, draw) * 0x1p-32 * total_weight(sampler, count, temperature);
    int64_t chosen = 0;
    while (chosen < count - 1 && (left -= weight_of(sampler, chosen, temperature)) >= 0) chosen++;
    *id = sampler->candidates[chosen].id;
    return LORA_OK;
}
