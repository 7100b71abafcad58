// Rotary position embedding (Su et al. 2021): how far each pair of columns turns with a position, after scaling.
#include "source.h"

#include <math.h>

// Llama 3.1: long wavelengths are stretched by the factor, short ones kept, those between blended.
static float scale_llama3(const lr_rope *rope, float frequency)
{
    const float context = (float)rope->original_context;
    const float low = (float)rope->low_frequency_factor, high = (float)rope->high_frequency_factor;
    const float wavelength = 2.0f * (float)M_PI / frequency;
    if (wavelength < context / high) return frequency;
    if (wavelength > context / low) return frequency / (float)rope->factor;
    const float smooth = (context / wavelength - low) / (high - low);
    return (1.0f - smooth) * frequency / (float)rope->factor + smooth * frequency;
}

lora_status lr_model_compute_frequencies(lora_model *model, const float *factors)
{
    const lr_rope *rope = &model->stack.rope;
    const int32_t pairs = rope->dimensions / 2;
    model->frequencies = lr_alloc_array(&model->context->allocator, (size_t)pairs, sizeof(float));
    if (!model->frequencies) return LORA_ERROR_MEMORY;
    for (int32_t i = 0; i < pairs; i++) {
        // Rounded to f32 where the reference rounds.
        float frequency = 1.0f / (float)pow(rope->theta, (double)((float)(2 * i) / (float)rope->dimensions));
        if (factors) frequency /= factors[i];
        if (rope->scaling == LR_ROPE_LINEAR) frequency /= (float)rope->factor;
        if (rope->scaling == LR_ROPE_LLAMA3 && !factors) frequency = scale_llama3(rope, frequency);
        model->frequencies[i] = frequency;
    }
    return LORA_OK;
}
