#include "samples.h"

#include "config.h"
#include "lib/random.h"
#include "peft_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 48
#define UNIT 1e-6f          // samples are whole millionths: no decimal point, so no locale
#define LARGEST_SHARE 0.1   // of squared difference in squared size; 4-bit rounding gives 0.01, other weights about 2

// The base weight that the i-th sample is taken from: those that the adapter works on, in turn.
static int32_t sampled_tensor(const lora_adapter *adapter, size_t i)
{
    if (adapter->pair_count) return adapter->model->modules[adapter->pairs[i % adapter->pair_count].module].weight;
    return adapter->tensors[i % adapter->tensor_count].tensor;
}

static lora_status read_samples(const lora_adapter *adapter, int64_t values[SAMPLES])
{
    lora_context *context = adapter->model->context;
    for (size_t i = 0; i < SAMPLES; i++) {
        lora_view source = adapter->model->tensors[sampled_tensor(adapter, i)].view;
        int64_t row = (int64_t)lr_random_below(1, 0, 2 * i, (uint64_t)source.rows);
        int64_t column = (int64_t)lr_random_below(1, 0, 2 * i + 1, (uint64_t)source.cols);
        float *numbers = lr_alloc_array(&context->allocator, (size_t)source.cols, sizeof *numbers);
        if (!numbers) return LORA_ERROR_MEMORY;
        lora_status status = lr_view_read(context, lr_view_rows(source, row, 1), numbers);
        if (status == LORA_OK) values[i] = (int64_t)fmaxf(-1e15f, fminf(1e15f, roundf(numbers[column] / UNIT)));
        lr_free(&context->allocator, numbers);
        LR_TRY(status);
    }
    return LORA_OK;
}

lora_status lr_samples_write(const lora_adapter *adapter, char text[LR_SAMPLE_TEXT])
{
    int64_t values[SAMPLES];
    LR_TRY(read_samples(adapter, values));
    size_t used = 0;
    for (size_t i = 0; i < SAMPLES; i++)
        used += (size_t)snprintf(text + used, LR_SAMPLE_TEXT - used, "%s%lld", i ? " " : "", (long long)values[i]);
    return LORA_OK;
}

lora_status lr_samples_compare(const lora_adapter *adapter, const char *file, const char *text)
{
    int64_t values[SAMPLES];
    double size = 0, difference = 0;
    LR_TRY(read_samples(adapter, values));
    const char *at = text;
    for (size_t i = 0; i < SAMPLES; i++) {
        char *end;
        double there = (double)strtoll(at, &end, 10), here = (double)values[i];
        if (end == at) return lr_fail(LORA_ERROR_FORMAT, "%s: metadata '" LR_PEFT_SAMPLES "' is damaged", file);
        at = end;
        size += there * there;
        difference += (there - here) * (there - here);
    }
    if (difference <= LARGEST_SHARE * size + SAMPLES) return LORA_OK;
    return lr_fail(
        LORA_ERROR_MISMATCH,
        "%s: the adapter was made on other weights than this model's: its base is '%s', this is '%s' (samples of the "
        "weights differ by %.0f %%); load the base that it was trained on",
        file, adapter->config->base_name, adapter->model->path ? adapter->model->path : "",
        100 * sqrt(difference / (size > 0 ? size : 1)));
}
