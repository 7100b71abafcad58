// Bindings for tests of the pass: the model's own tensors, low-rank pairs made on the spot, gradients for what is
// trained.
#ifndef TEST_BINDING_H
#define TEST_BINDING_H

#include "src/model/pass.h"

typedef struct test_pair {
    const char *module;
    int64_t rank;
    float scale, dropout;
    const float *a, *b; // [rank, in], [out, rank]
} test_pair;

typedef struct test_binding {
    lr_binding binding;
    lora_context *context;
    size_t tensor_count, pair_count;
} test_binding;

// Pairs in module order. `full`: every tensor of the model (f32) is trained; otherwise the pairs are.
lora_status test_binding_create(const lora_model *model, const test_pair *pairs, size_t count, bool full,
                                test_binding *out);
void test_binding_free(test_binding *binding);

#endif
