// LoRA (Hu et al. 2021): scale = alpha / r; rsLoRA (Kalajdzievski 2023): alpha / sqrt(r).
#include "src/adapter/method.h"

#include <math.h>

static lr_shape shape_a(const lr_module *module, int32_t rank)
{
    return (lr_shape){rank, module->in_features};
}

static lr_shape shape_b(const lr_module *module, int32_t rank)
{
    return (lr_shape){module->out_features, rank};
}

static float scale(const lr_adapter_config *config, int32_t rank, float alpha)
{
    return (float)(config->use_rslora ? alpha / sqrt(rank) : (double)alpha / rank);
}

const lr_method lr_method_lora = {"LORA", shape_a, shape_b, scale};
