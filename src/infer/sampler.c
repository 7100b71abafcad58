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

// A vocabulary is gone through many times a second, in vectors.
#define LANES 4
#define VECTORS 4     // at a time
#define STRETCH 1024  // numbers added up in f32

typedef float lanes __attribute__((vector_size(LANES * 4)));
typedef int32_t whole_lanes __attribute__((vector_size(LANES * 4)));

static inline lanes load(const float *from)
{
    lanes x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline lanes choose(whole_lanes mask, lanes yes, lanes no)
{
    return (lanes)((mask & (whole_lanes)yes) | (~mask & (whole_lanes)no));
}

static float greatest(const float *values, int64_t count)
{
    lanes most[VECTORS];
    float all = values[0];
    for (int v = 0; v < VECTORS; v++) most[v] = all - (lanes){0};
    int64_t i = 0;
    for (; i + VECTORS * LANES <= count; i += VECTORS * LANES)
        for (int v = 0; v < VECTORS; v++) {
            const lanes x = load(values + i + v * LANES);
            most[v] = choose(x > most[v], x, most[v]);
        }
    for (int v = 0; v < VECTORS; v++)
        for (int j = 0; j < LANES; j++) all = most[v][j] > all ? most[v][j] : all;
    for (; i < count; i++) all = values[i] > all ? values[i] : all;
    return all;
}

// e^x for x <= 0 to 1e-7 of it, 0 far below: 2^n e^r with |r| <= ln(2) / 2, Taylor's series to r^6.
static inline lanes exp_below(lanes x)
{
    const lanes lowest = -87.0f - (lanes){0}, shift = 12582912.0f - (lanes){0}; // 1.5 * 2^23: n in the low bits
    const lanes clamped = choose(x > lowest, x, lowest), shifted = clamped * 1.44269504f + shift, n = shifted - shift;
    const lanes r = (clamped - n * 0.693145752f) - n * 1.42860677e-6f;
    const lanes p =
        1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f))))));
    const lanes y = (lanes)((whole_lanes)p + ((whole_lanes)shifted << 23));
    return choose(x > lowest, y, (lanes){0});
}

double lr_log_sum_exp(const float *values, int64_t count)
{
    const float largest = greatest(values, count);
    double sum = 0;
    for (int64_t begin = 0; begin < count; begin += STRETCH) {
        const int64_t end = begin + STRETCH < count ? begin + STRETCH : count;
        lanes some[VECTORS] = {{0}};
        int64_t i = begin;
        for (; i + VECTORS * LANES <= end; i += VECTORS * LANES)
            for (int v = 0; v < VECTORS; v++) some[v] += exp_below(load(values + i + v * LANES) - largest);
        for (; i < end; i++) some[0][0] += exp_below(values[i] - largest - (lanes){0})[0];
        for (int v = 0; v < VECTORS; v++)
            for (int j = 0; j < LANES; j++) sum += (double)some[v][j];
    }
    return (double)largest + log(sum);
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
    const float score = greatest(scores, count);
    int64_t best = 0;
    while (best < count - 1 && scores[best] != score) best++;
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
                              const int32_t *history, size_t history_count, uint64_t draw, int32_t *id)
{
    int32_t wrong = 0;
    for (int64_t i = 0; i < sampler->vocabulary; i++) wrong |= logits[i] != logits[i];
    if (wrong)
        return lr_fail(LORA_ERROR_NOT_FINITE,
                       "the model gave NaN for the next token: its weights or adapters are damaged");
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
