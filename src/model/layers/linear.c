// A linear layer with its low-rank pairs: y = W x + b + sum_i scale_i B_i A_i dropout(x), weights and pairs from the
// binding.
#include "src/model/pass_state.h"

static lora_view value_of(const struct lr_pass *pass, int32_t tensor)
{
    return tensor < 0 ? lr_absent : pass->binding->values[tensor];
}

static lora_view gradient_of(const struct lr_pass *pass, int32_t tensor)
{
    return tensor < 0 || !pass->training ? lr_absent : pass->binding->gradients[tensor];
}

static int32_t module_index(const struct lr_pass *pass, const lr_module *module)
{
    return (int32_t)(module - pass->model->modules);
}

// Rows [begin, begin + rows) under the pairs of one binding from pass->pairs[first] on; their number. Hidden values of
// the pairs lie one after another in `hidden`.
static int32_t place_pairs(struct lr_pass *pass, const lr_binding *binding, int32_t module, int64_t begin, int64_t rows,
                           lora_view hidden, int32_t first)
{
    const lora_pair *source = binding->pairs + binding->pair_begin[module];
    const int32_t count = binding->pair_begin[module + 1] - binding->pair_begin[module];
    uint64_t offset = hidden.offset;
    for (int32_t i = 0; i < count; i++) {
        lora_pair *pair = &pass->pairs[first + i];
        *pair = source[i];
        pair->row_begin = begin;
        pair->row_count = rows;
        pair->dropout.seed = pass->dropout_seed;
        if (!pass->training) {
            pair->dropout.p = 0;
            pair->grad_a = pair->grad_b = lr_absent;
        }
        pair->hidden = lr_absent;
        if (!lr_view_present(hidden)) continue;
        const int64_t rank = pair->a.rows;
        pair->hidden =
            (lora_view){.buffer = hidden.buffer, .offset = offset, .rows = rows, .cols = rank, .stride = rank};
        offset += (uint64_t)(rows * rank) * sizeof(float);
    }
    return count;
}

// Training and prompts are as coarse as with torch in bf16, prompts before quantized weights as in llama.cpp;
// evaluation is exact.
int32_t lr_pass_coarse(const struct lr_pass *pass)
{
    if (pass->training) return LORA_COARSE_BF16 | LORA_COARSE_INT8;
    if (pass->batch->labels) return 0;
    const int32_t fine = LORA_COARSE_INT15 | LORA_COARSE_BF16_TWICE;
    return pass->batch->is_prompt ? LORA_COARSE_BF16 | LORA_COARSE_INT8 | fine : fine;
}

// A run of one part covers whatever rows the layer is given.
lora_linear lr_layer_linear_describe(struct lr_pass *pass, const lr_module *module, lora_view pairs, int64_t rows)
{
    const int32_t index = module_index(pass, module);
    int32_t count = 0;
    for (int64_t i = 0; i < pass->part_count; i++) {
        const lr_part *part = &pass->part[i];
        const bool only = pass->part_count == 1;
        count +=
            place_pairs(pass, part->binding, index, only ? 0 : part->begin, only ? rows : part->count, pairs, count);
    }
    return (lora_linear){
        .weight = value_of(pass, module->weight),
        .bias = value_of(pass, module->bias),
        .grad_weight = gradient_of(pass, module->weight),
        .grad_bias = gradient_of(pass, module->bias),
        .pair_count = count,
        .pairs = pass->pairs,
        .coarse = lr_pass_coarse(pass),
        .as_alone = pass->batch->as_alone,
    };
}

bool lr_layer_linear_needs_input(const struct lr_pass *pass, const lr_module *module)
{
    const lr_binding *binding = pass->binding;
    const int32_t index = module_index(pass, module);
    if (lr_view_present(gradient_of(pass, module->weight))) return true;
    for (int32_t i = binding->pair_begin[index]; i < binding->pair_begin[index + 1]; i++)
        if (lr_view_present(binding->pairs[i].grad_a)) return true;
    return false;
}

static bool is_trained(const lora_linear *linear)
{
    if (lr_view_present(linear->grad_weight) || lr_view_present(linear->grad_bias)) return true;
    for (int32_t i = 0; i < linear->pair_count; i++)
        if (lr_view_present(linear->pairs[i].grad_a) || lr_view_present(linear->pairs[i].grad_b)) return true;
    return false;
}

lora_status lr_layer_linear_forward(struct lr_pass *pass, const lr_module *module, lora_view y, lora_view x,
                                    lora_view pairs, bool accumulate)
{
    const lora_linear linear = lr_layer_linear_describe(pass, module, pairs, x.rows);
    return lr_ops(pass)->linear_forward(lr_device(pass), y, x, &linear, accumulate);
}

lora_status lr_layer_linear_backward(struct lr_pass *pass, const lr_module *module, lora_view grad_x, lora_view grad_y,
                                     lora_view x, lora_view pairs, bool accumulate)
{
    const lora_linear linear = lr_layer_linear_describe(pass, module, pairs, grad_y.rows);
    if (!lr_view_present(grad_x) && !is_trained(&linear)) return LORA_OK;
    return lr_ops(pass)->linear_backward(lr_device(pass), grad_x, grad_y, x, &linear, accumulate);
}
