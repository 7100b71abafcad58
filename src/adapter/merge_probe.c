#include "merge_probe.h"

#include "adapter.h"
#include "lib/random.h"

#include <math.h>

#define PROBE_TOKENS 16

// Logits [PROBE_TOKENS, vocabulary] of a binding on the probe's ids.
static lora_status run(const lr_binding *binding, float *logits)
{
    const lora_model *model = binding->model;
    int64_t tokens = model->stack.context_length < PROBE_TOKENS ? model->stack.context_length : PROBE_TOKENS;
    int32_t ids[PROBE_TOKENS];
    int64_t rows[PROBE_TOKENS];
    for (int64_t i = 0; i < tokens; i++) {
        ids[i] = (int32_t)lr_random_below(7, 0, (uint64_t)i, (uint64_t)model->stack.vocabulary);
        rows[i] = i;
    }
    lr_pass_options options = {.max_tokens = tokens, .max_spans = 1, .max_rank = binding->max_rank};
    lr_pass *pass = NULL;
    lr_kv_cache *cache = NULL;
    lora_status status;
    LR_GOTO(done, status, lr_kv_cache_create(model, LORA_TYPE_F32, tokens, &cache));
    LR_GOTO(done, status, lr_pass_create(model, &options, &pass));
    lr_span span = {.begin = 0, .count = tokens, .cache = cache};
    lr_batch batch = {.tokens = tokens, .ids = ids, .span_count = 1, .spans = &span};
    status = lr_pass_logits(pass, binding, &batch, rows, tokens, logits, NULL);
done:
    lr_pass_free(pass);
    lr_kv_cache_free(cache);
    return status;
}

static double log_sum(const float *logits, int64_t count)
{
    double largest = logits[0], sum = 0;
    for (int64_t i = 1; i < count; i++) largest = logits[i] > largest ? logits[i] : largest;
    for (int64_t i = 0; i < count; i++) sum += exp(logits[i] - largest);
    return largest + log(sum);
}

static void compare(const float *attached, const float *merged, int64_t rows, int64_t vocabulary,
                    lora_merge_report *report)
{
    double divergence = 0;
    for (int64_t row = 0; row < rows; row++, attached += vocabulary, merged += vocabulary) {
        double a = log_sum(attached, vocabulary), m = log_sum(merged, vocabulary);
        for (int64_t i = 0; i < vocabulary; i++) {
            double p = attached[i] - a, difference = p - (merged[i] - m);
            divergence += exp(p) * difference;
            if (fabs(difference) > report->probe_max_difference) report->probe_max_difference = fabs(difference);
        }
    }
    report->probe_mean_divergence = divergence / (double)rows;
}

lora_status lr_merge_probe(const lr_binding *attached, const lora_model *merged, lora_merge_report *report)
{
    const lora_allocator *allocator = &merged->context->allocator;
    int64_t vocabulary = merged->stack.vocabulary;
    int64_t rows = merged->stack.context_length < PROBE_TOKENS ? merged->stack.context_length : PROBE_TOKENS;
    lr_binding *plain = NULL;
    float *logits = NULL;
    lora_status status = LORA_ERROR_MEMORY;
    logits = lr_alloc_array(allocator, 2 * PROBE_TOKENS, (size_t)vocabulary * sizeof *logits);
    if (!logits) return status;
    LR_GOTO(done, status, lr_binding_create(merged, NULL, 0, &plain));
    LR_GOTO(done, status, run(attached, logits));
    LR_GOTO(done, status, run(plain, logits + rows * vocabulary));
    compare(logits, logits + rows * vocabulary, rows, vocabulary, report);
done:
    lr_binding_free(plain);
    lr_free(allocator, logits);
    return status;
}
