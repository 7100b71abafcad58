// Draws tokens. Standard input: temperature top_k top_p min_p repetition_penalty draws vocabulary history_count, then
// the logits and the history. Standard output: one id a line.
#include "src/infer/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static lr_logits_summary summary_of(const float *logits, int64_t vocabulary)
{
    int32_t best = 0;
    double sum = 0;
    for (int32_t i = 1; i < vocabulary; i++) best = logits[i] > logits[best] ? i : best;
    for (int64_t i = 0; i < vocabulary; i++) sum += exp((double)logits[i] - (double)logits[best]);
    return (lr_logits_summary){best, (float)((double)logits[best] + log(sum))};
}

static lora_status draw(const lr_sampling *sampling, const float *logits, int64_t vocabulary, const int32_t *history,
                        size_t history_count, int64_t draws)
{
    lora_context *context;
    lr_sampler sampler;
    const lr_logits_summary summary = summary_of(logits, vocabulary);
    lora_status status = lora_context_create(&context, NULL);
    if (status != LORA_OK) return status;
    status = lr_sampler_init(&sampler, &context->allocator, vocabulary);
    for (int64_t i = 0; status == LORA_OK && i < draws; i++) {
        int32_t id;
        status = lr_sampler_choose(&sampler, sampling, logits, &summary, history, history_count, (uint64_t)i, &id);
        if (status == LORA_OK) printf("%d\n", id);
    }
    lr_sampler_free(&sampler);
    lora_context_free(context);
    return status;
}

int main(void)
{
    lr_sampling s = {.seed = 3};
    long long draws, vocabulary;
    size_t history_count;
    if (scanf("%f %d %f %f %f %lld %lld %zu", &s.temperature, &s.top_k, &s.top_p, &s.min_p, &s.repetition_penalty,
              &draws, &vocabulary, &history_count) != 8)
        return 2;
    float *logits = calloc((size_t)vocabulary, sizeof *logits);
    int32_t *history = calloc(history_count + 1, sizeof *history);
    int complete = logits && history;
    for (long long i = 0; complete && i < vocabulary; i++) complete = scanf("%f", &logits[i]) == 1;
    for (size_t i = 0; complete && i < history_count; i++) complete = scanf("%d", &history[i]) == 1;
    lora_status status = complete ? draw(&s, logits, vocabulary, history, history_count, draws) : LORA_ERROR_ARGUMENT;
    if (status != LORA_OK) fprintf(stderr, "%s\n", lora_error_message());
    free(logits);
    free(history);
    return status != LORA_OK;
}
