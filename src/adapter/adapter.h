// An adapter: low-rank pairs on linear modules, and replacements of whole tensors (trained biases, modules_to_save,
// full fine-tuning). Everything it trains is one flat list of f32 tensors.
#ifndef LR_ADAPTER_H
#define LR_ADAPTER_H

#include "src/model/model.h"
#include "src/model/pass.h"

#include <lora/adapter.h>

// One trainable tensor.
typedef struct lr_adapter_tensor {
    char *name;     // PEFT's key in the file
    lora_view value; // f32 [rows, cols], owned
    int32_t dimensions;
    int32_t module; // of a pair; -1
    int32_t tensor; // the model's tensor that is replaced; -1 for a pair
    bool is_a;      // of a pair: A or B
    bool decay;     // weight decay applies (not to biases and norms)
} lr_adapter_tensor;

// A pair as configured: tensors a and b are indices into the list.
typedef struct lr_adapter_pair {
    int32_t module;
    int32_t a, b;
    int32_t rank;
    float alpha;
    float scale; // alpha / r or alpha / sqrt(r)
} lr_adapter_pair;

// What adapter_config.json says, owned by the adapter; texts and lists deep-copied.
typedef struct lr_adapter_config lr_adapter_config;

struct lora_adapter {
    atomic_int references;
    lora_model *model;
    lr_adapter_config *config;
    lr_adapter_tensor *tensors;
    size_t tensor_count;
    lr_adapter_pair *pairs; // in module order
    size_t pair_count;
    float dropout;
    atomic_int trainers; // 1 while a trainer changes it
};

lora_adapter *lr_adapter_retain(lora_adapter *adapter);
void lr_adapter_release(lora_adapter *adapter);
bool lr_adapter_is_full(const lora_adapter *adapter);

// The binding of a model with adapters in use (inference, evaluation): pairs' scale is multiplied by each use's weight.
// Replacements: at most one of the uses may hold them, with weight 1 (UNSUPPORTED otherwise). MISMATCH: of another
// model.
lora_status lr_binding_create(const lora_model *model, const lora_adapter_use *uses, size_t count, lr_binding **out);
// The binding that trains one adapter: gradients[i] of adapter->tensors[i], f32 of the same shape, owned by the caller.
// With `gradients` NULL nothing is trained but dropout is on only in training passes (lr_pass_train).
lora_status lr_binding_create_training(lora_adapter *adapter, const lora_view *gradients, lr_binding **out);
lr_binding *lr_binding_retain(lr_binding *binding);
void lr_binding_free(lr_binding *binding); // gives one reference back
// The adapter that replaces whole tensors, or NULL: bindings that agree in it have the same values.
const lora_adapter *lr_binding_replacing(const lr_binding *binding);
// The same adapters with the same weights, in the same order.
bool lr_binding_is_same(const lr_binding *a, const lr_binding *b);

// The files of a PEFT directory into an existing directory (a stage or a checkpoint).
lora_status lr_adapter_write(const lora_adapter *adapter, const char *directory);
// Reads tensors from a PEFT directory into an adapter of the same settings (resume); every tensor must match.
lora_status lr_adapter_read_values(lora_adapter *adapter, const char *directory);

#endif
