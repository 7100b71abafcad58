#include "src/adapter/adapter.h"
#include "src/core/validate.h"
#include "src/model/pass.h"

#include <lora/evaluate.h>

#define ROWS_PER_PASS 256

// The sequence in slices through a cache, so that logits of a long one need no second copy.
static lora_status run(lr_pass *pass, const lr_binding *binding, lr_kv_cache *cache, const int32_t *ids, int64_t count,
                       float *values)
{
    lr_logits_summary summaries[ROWS_PER_PASS];
    int64_t rows[ROWS_PER_PASS], vocabulary = binding->model->stack.vocabulary;
    for (int64_t i = 0; i < ROWS_PER_PASS; i++) rows[i] = i;
    for (int64_t begin = 0; begin < count; begin += ROWS_PER_PASS) {
        int64_t tokens = count - begin < ROWS_PER_PASS ? count - begin : ROWS_PER_PASS;
        lr_span span = {.begin = 0, .count = tokens, .cache = cache};
        lr_batch batch = {.tokens = tokens, .ids = ids + begin, .span_count = 1, .spans = &span};
        float *row = values + begin * vocabulary;
        LR_TRY(lr_pass_logits(pass, binding, &batch, rows, tokens, row, summaries));
        for (int64_t i = 0; i < tokens; i++, row += vocabulary)
            for (int64_t t = 0; t < vocabulary; t++) row[t] -= summaries[i].log_sum;
    }
    return LORA_OK;
}

lora_status lora_evaluate_log_probabilities(const lora_model *model, const lora_adapter_use *uses, size_t count,
                                            const int32_t *ids, size_t id_count, float *values, size_t value_count)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(uses || count == 0, "uses is NULL");
    LR_CHECK_ARGUMENT(ids && values, "ids or values is NULL");
    LR_CHECK_ARGUMENT(id_count > 0 && id_count <= (size_t)model->stack.context_length,
                      "id_count is %zu; it must be 1 to %lld", id_count, (long long)model->stack.context_length);
    for (size_t i = 0; i < id_count; i++)
        LR_CHECK_ARGUMENT(ids[i] >= 0 && ids[i] < model->stack.vocabulary,
                          "id %d at place %zu is outside the vocabulary of %lld", ids[i], i,
                          (long long)model->stack.vocabulary);
    LR_CHECK_ARGUMENT(value_count / (size_t)model->stack.vocabulary == id_count &&
                          value_count % (size_t)model->stack.vocabulary == 0,
                      "value_count is %zu; it must be id_count x vocabulary = %zu x %lld", value_count, id_count,
                      (long long)model->stack.vocabulary);
    lr_binding *binding = NULL;
    lr_pass *pass = NULL;
    lr_kv_cache *cache = NULL;
    lora_status status;
    LR_GOTO(done, status, lr_binding_create(model, uses, count, &binding));
    lr_pass_options options = {.max_tokens = ROWS_PER_PASS,
                               .max_spans = 1,
                               .max_rank = binding->max_rank,
                               .first_trained_layer = (int32_t)model->stack.layers};
    LR_GOTO(done, status, lr_pass_create(model, &options, &pass));
    LR_GOTO(done, status, lr_kv_cache_create(model, LORA_TYPE_F32, (int64_t)id_count, &cache));
    status = run(pass, binding, cache, ids, (int64_t)id_count, values);
done:
    lr_kv_cache_free(cache);
    lr_pass_free(pass);
    lr_binding_free(binding);
    return status;
}
