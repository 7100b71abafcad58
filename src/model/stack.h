// A model family in plain data. A family's file turns config.json or GGUF keys into this description; everything else
// reads the description and never asks which family it is.
#ifndef LR_STACK_H
#define LR_STACK_H

#include <lora/backend.h>
#include <stdbool.h>

#define LR_MAX_LAYERS 1024

typedef enum lr_rope_scaling {
    LR_ROPE_PLAIN,
    LR_ROPE_LINEAR,  // positions / factor
    LR_ROPE_LLAMA3,  // wavelength bands (Llama 3.1)
    LR_ROPE_LONGROPE // per-dimension factors (Phi-3)
} lr_rope_scaling;

typedef struct lr_rope {
    lr_rope_scaling scaling;
    double theta;
    double factor, low_frequency_factor, high_frequency_factor;
    int64_t original_context;
    int32_t dimensions; // columns of a head that turn
} lr_rope;

typedef struct lr_stack {
    const char *family;
    int64_t vocabulary, hidden, layers, heads, kv_heads, head_dim, intermediate, context_length;

    int32_t norm_kind;          // LORA_NORM_
    float norm_epsilon;
    float norm_weight_offset;
    bool qk_norm;               // q and k of each head are normalised before they turn
    bool qkv_bias, output_bias; // attention
    bool mlp_bias;
    int32_t activation;         // LORA_ACTIVATION_
    bool gated;                 // down(act(gate) * up), else down(act(up))
    bool tied;                  // the head is the embedding

    lr_rope rope;
    float attention_scale;
    float attention_softcap, logit_softcap; // 0: none
    float embedding_scale;      // 1: none
    int64_t window;             // 0: full attention
    bool *layer_is_windowed;    // [layers], NULL: all, where window > 0
    double initializer_range;

    int32_t begin_token;        // -1: unknown
    int32_t end_tokens[8];
    int32_t end_token_count;
} lr_stack;

// The tensors of a block and around it. Order matters: it is the order of modules and tensors in a model.
typedef enum lr_slot {
    LR_SLOT_EMBED,
    LR_SLOT_ATTENTION_NORM,
    LR_SLOT_Q,
    LR_SLOT_K,
    LR_SLOT_V,
    LR_SLOT_O,
    LR_SLOT_Q_NORM,
    LR_SLOT_K_NORM,
    LR_SLOT_MLP_NORM,
    LR_SLOT_GATE,
    LR_SLOT_UP,
    LR_SLOT_DOWN,
    LR_SLOT_FINAL_NORM,
    LR_SLOT_HEAD,
    LR_SLOT_COUNT
} lr_slot;

#endif
