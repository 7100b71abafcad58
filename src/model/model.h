// A loaded model: the description of its stack, its tensors, and its modules by slot.
#ifndef LR_MODEL_H
#define LR_MODEL_H

#include "src/core/context.h"
#include "src/model/stack.h"

#include <lora/model.h>

// One stored tensor, by its Hugging Face name. Vectors (norms, biases) have one row.
typedef struct lr_tensor {
    char *name;         // "model.layers.0.self_attn.q_proj.weight"
    lora_view view;
    int32_t dimensions; // 1 or 2
    lora_type stored;   // its type in the file: biases are widened to f32 when loaded, and saved as they were
    int32_t shard;      // index into lora_model.shards
    bool owned;         // the buffer is freed with this model; false: it is the base's
    atomic_int finite;  // 0: not looked at, 1: all finite
} lr_tensor;

// A linear layer, embedding or norm: what adapters and passes name.
typedef struct lr_module {
    char *name;    // without ".weight"
    int32_t layer; // -1 outside the blocks
    lr_slot slot;
    int32_t weight; // index into tensors
    int32_t bias;   // or -1
    int64_t out_features, in_features;
} lr_module;

struct lora_model {
    atomic_int references;
    lora_context *context;
    lora_model *base;    // a merged model keeps the one it shares tensors with; else NULL
    lr_stack stack;
    lr_tensor *tensors;
    size_t tensor_count;
    lr_module *modules;  // embedding, then per block in slot order, then final norm, head (a tied head is a module
                         // whose weight
    size_t module_count; // is the embedding's tensor)
    int32_t *slots;      // [layers + 1][LR_SLOT_COUNT] module index or -1; row `layers` is for what is outside the
                         // blocks
    int32_t *linear;     // [linear_count] modules that are linear layers, in order: what the public header lists
    size_t linear_count;
    float *frequencies;  // [rope dimensions / 2] radians a position, scaling included; passes make cosines and sines of
                         // them
    lora_tokenizer *tokenizer; // or NULL
    char *path;
    char *config_text;   // config.json as it was read, or NULL (GGUF)
    char **shards;       // file names in their order, for saving alike
    size_t shard_count;
    struct lr_source *source; // opened files that mapped views point into (src/model/source.h); NULL: none
    uint64_t fingerprint;
};

lora_model *lr_model_retain(lora_model *model);
void lr_model_release(lora_model *model);
// Lets go of the pages of a mapped tensor that will not be looked at again soon.
void lr_model_forget(const lora_model *model, const lr_tensor *tensor);

// A model that shares everything with its base, which it keeps alive: every tensor has the base's view and is not
// owned. The caller puts views of its own in place of some (`owned` true) and then calls lr_model_finish.
lora_status lr_model_derive(const lora_model *base, lora_model **out);
// Computes the fingerprint, once every tensor has its view.
lora_status lr_model_finish(lora_model *model);

// The module in a slot of a layer (-1: outside the blocks), or NULL.
const lr_module *lr_model_module(const lora_model *model, int64_t layer, lr_slot slot);
const lr_module *lr_model_find_module(const lora_model *model, const char *name); // NULL: none
static inline bool lr_slot_is_linear(lr_slot slot)
{
    return (slot >= LR_SLOT_Q && slot <= LR_SLOT_O) || (slot >= LR_SLOT_GATE && slot <= LR_SLOT_DOWN) ||
           slot == LR_SLOT_HEAD;
}
// NOT_FINITE, naming the tensor, when it holds a NaN or infinity; looked at once.
lora_status lr_model_check_finite(const lora_model *model, size_t tensor);

#endif
