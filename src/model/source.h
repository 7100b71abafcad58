// Where a model's weights come from while it is loaded: opened files, and a list of the tensors in them by the names
// that the files use. A loader (load_*.c) fills the list; weights.c takes each of the model's tensors from it.
#ifndef LR_SOURCE_H
#define LR_SOURCE_H

#include "lib/gguf.h"
#include "lib/safetensors.h"
#include "src/model/families/family.h"
#include "src/model/model.h"

// The opened files of a model; mapped views point into them.
struct lr_source {
    lr_safetensors *shards;
    size_t shard_count; // opened
    lr_gguf gguf;
    lr_file file; // llama2.c
};

void lr_source_free(const lora_allocator *allocator, struct lr_source *source); // NULL is accepted

// One tensor of a file.
typedef struct lr_weight {
    const char *name;
    const lr_tensor_entry *entry;
    const uint8_t *bytes; // where it lies
    int32_t shard;
    bool taken;
} lr_weight;

// A tensor as it is stored, its scales beside it where the type has them apart.
typedef struct lr_stored {
    lora_type type; // -1: one that is not read
    int32_t dimensions;
    int64_t rows, cols;
    const uint8_t *bytes;
    uint64_t size;
    const float *scales; // INT8, NF4: aligned; in the file or in `made`
    float *made;         // from the allocator, or NULL
} lr_stored;

typedef struct lr_weights {
    const lora_allocator *allocator;
    lr_weight *items; // sorted by name once lr_weights_sort has run
    size_t count, capacity;
    const lr_names *names; // how the files call modules
    bool interleaved;      // q and k have their rows ordered for rotary pairs (2i, 2i + 1)
} lr_weights;

lora_status lr_weights_add(lr_weights *weights, const lr_tensor_entry *entry, const uint8_t *bytes, int32_t shard);
// FORMAT when a name occurs twice.
lora_status lr_weights_sort(lr_weights *weights, const lora_model *model);
lr_weight *lr_weights_find(const lr_weights *weights, const char *name); // NULL: not there
void lr_weights_free(lr_weights *weights);

// Weights that bitsandbytes saved: replaces what `stored` says of the tensor `weight` where the file has 4-bit or 8-bit
// numbers with their scales in tensors of their own, and marks these as taken. The caller frees `stored->made`.
lora_status lr_bitsandbytes_read(const lr_weights *weights, const lr_weight *weight, const char *file,
                                 lr_stored *stored);

// ---- building a model, in this order -------------------------------------------------------------------------------

// A model with one reference, no stack and no tensors; lr_model_release frees it in any state.
lora_status lr_model_create(lora_context *context, const char *path, lora_model **out);
// Modules and tensors that the stack calls for, named but without views.
lora_status lr_model_build(lora_model *model, const lr_family *family);
// Adds a file's name to model->shards.
lora_status lr_model_add_shard(lora_model *model, const char *name);
// Views of every tensor: mapped in place, or converted where `options` or its kind demand it.
lora_status lr_model_take_weights(lora_model *model, lr_weights *weights, const lora_model_options *options);
// Views of every tensor, filled with random numbers.
lora_status lr_model_initialize(lora_model *model, uint64_t seed);
// model->frequencies from the stack; `factors` [dimensions / 2] divide them, or NULL.
lora_status lr_model_compute_frequencies(lora_model *model, const float *factors);

// Whether a directory has a file.
lora_status lr_find_in_directory(const lora_context *context, const char *directory, const char *name, bool *found);

// Lets go of file pages that will not be looked at again soon.
void lr_source_forget(const lora_model *model, const uint8_t *bytes, uint64_t size);

// The type that a module's weight of `cols` columns is held in when `wanted` is asked for and `stored` is what there
// is: only linear layers before the head are quantized, as bitsandbytes does it; rows that are no whole number of
// blocks get the next larger type that fits, as in llama.cpp (q4_k q5_0, q5_k q5_1, q6_k q8_0), or stay what they are.
lora_type lr_storage_type(const lr_module *module, lora_type stored, lora_type wanted, int64_t cols);

// An owned view of [rows, cols] numbers of `type`, with scales where the type has them apart.
lora_status lr_tensor_create(lora_model *model, lr_tensor *tensor, lora_type type, int64_t rows, int64_t cols);

// ---- kinds of files ------------------------------------------------------------------------------------------------

// Each fills a model that was just created; its caller releases it when that fails.
lora_status lr_model_load_huggingface(lora_model *model, const lora_model_options *options);
// The same with the weights of another directory that has the same tensors.
lora_status lr_model_load_directory(lora_model *model, const char *weights, const lora_model_options *options);
lora_status lr_model_load_gguf(lora_model *model, const lora_model_options *options);
lora_status lr_model_load_llama2c(lora_model *model, const lora_model_options *options);

// ---- quantized weights that are kept (load_cached.c) ---------------------------------------------------------------

// lora_model_options.cache_quantized: a whole load, from the folder that an earlier one wrote or writing it.
lora_status lr_model_load_cached(lora_context *context, const char *path, const lora_model_options *options,
                                 lora_model **out);

#endif
