// Model families. A family is plain data and its readers: it turns config.json or GGUF keys into an lr_stack and says
// how its tensors are called. To add one: a file that defines an lr_family, and a line in the table of families.c.
#ifndef LR_FAMILY_H
#define LR_FAMILY_H

#include "lib/gguf.h"
#include "lib/json.h"
#include "src/model/stack.h"

// Names of modules: inside a block "<block><number>.<slot>", outside "<slot>"; NULL: the family has no such module.
typedef struct lr_names {
    const char *block;
    const char *slot[LR_SLOT_COUNT];
} lr_names;

typedef struct lr_family {
    const char *name;         // config.json's model_type
    const char *architecture; // GGUF's general.architecture
    const lr_names *huggingface;
    const lr_names *gguf;
    bool gguf_interleaved; // GGUF files hold q and k with their rows ordered for rotary pairs (2i, 2i + 1)
    bool qk_norm;          // q and k of each head are normalised before they turn
    // Fills a stack that is zero but for the family's own marks; `file` is said in messages. layer_is_windowed comes
    // from the allocator.
    lora_status (*read_config)(const json_t *config, const char *file, const lora_allocator *allocator,
                               lr_stack *stack);
    // NULL: the keys of GGUF's llama under the family's own architecture (lr_read_llama_gguf) say it all.
    lora_status (*read_gguf)(const lr_gguf *gguf, const char *file, const lora_allocator *allocator, lr_stack *stack);
} lr_family;

const lr_family *lr_family_find(const char *name); // NULL: unknown
const lr_family *lr_family_of_architecture(const char *architecture, size_t length);
// "llama, mistral, ...": for messages.
void lr_family_list(char *text, size_t size);

// A module's name, from `allocator`; layer -1: outside the blocks.
char *lr_module_name(const lora_allocator *allocator, const lr_names *names, int64_t layer, lr_slot slot);

// ---- what Llama-like families share (common.c) ---------------------------------------------------------------------

extern const lr_names lr_llama_names;
extern const lr_names lr_llama_gguf_names;

lora_status lr_read_llama_config(const json_t *config, const char *file, lr_stack *stack);
lora_status lr_read_llama_gguf(const lr_gguf *gguf, const char *file, const char *architecture, lr_stack *stack);
// use_sliding_window, sliding_window, max_window_layers and layer_types, as Qwen's configs have them.
lora_status lr_read_layer_windows(const json_t *config, const char *file, const lora_allocator *allocator,
                                  lr_stack *stack);
// Refuses sizes that no model has or that do not fit each other.
lora_status lr_check_stack(const lr_stack *stack, const char *file);
// Adds ids to the stack's end tokens, each once.
void lr_add_end_token(lr_stack *stack, int64_t id);
void lr_add_end_tokens(lr_stack *stack, const json_t *value); // an integer or a list of them

#endif
