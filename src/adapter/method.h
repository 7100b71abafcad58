// An adapter method: what a module gets, how much of it is added, and how it starts. One method, one file in methods/.
#ifndef LR_ADAPTER_METHOD_H
#define LR_ADAPTER_METHOD_H

#include "config.h"

#include "src/model/model.h"

typedef struct lr_shape {
    int64_t rows, cols;
} lr_shape;

typedef struct lr_method {
    const char *peft_type;
    // Shapes of a module's pair.
    lr_shape (*shape_a)(const lr_module *module, int32_t rank);
    lr_shape (*shape_b)(const lr_module *module, int32_t rank);
    // The factor of B A.
    float (*scale)(const lr_adapter_config *config, int32_t rank, float alpha);
} lr_method;

extern const lr_method lr_method_lora; // and rsLoRA

// UNSUPPORTED, listing what there is. `name` is the file as messages call it.
lora_status lr_adapter_method_find(const char *name, const char *peft_type, const lr_method **out);

#endif
