// RMS norm (Zhang & Sennrich 2019) or layer norm, over a whole row or over each head of it; which, says the stack.
#include "src/model/pass_state.h"

static lora_norm describe(const struct lr_pass *pass, const lr_module *module, int64_t group)
{
    const lr_binding *binding = pass->binding;
    const lr_stack *stack = &pass->model->stack;
    lora_norm norm = {
        .kind = stack->norm_kind,
        .epsilon = stack->norm_epsilon,
        .weight_offset = stack->norm_weight_offset,
        .group = (int32_t)group,
        .weight = binding->values[module->weight],
    };
    if (pass->training) norm.grad_weight = binding->gradients[module->weight];
    if (module->bias < 0) return norm;
    norm.bias = binding->values[module->bias];
    if (pass->training) norm.grad_bias = binding->gradients[module->bias];
    return norm;
}

bool lr_layer_norm_is_trained(const struct lr_pass *pass, const lr_module *module)
{
    const lora_norm norm = describe(pass, module, 0);
    return lr_view_present(norm.grad_weight) || lr_view_present(norm.grad_bias);
}

lora_status lr_layer_norm_forward(struct lr_pass *pass, const lr_module *module, int64_t group, lora_view y,
                                  lora_view statistics, lora_view x, lora_view copy)
{
    lora_norm norm = describe(pass, module, group);
    norm.copy = copy;
    return lr_ops(pass)->norm_forward(lr_device(pass), y, statistics, x, &norm);
}

lora_status lr_layer_norm_backward(struct lr_pass *pass, const lr_module *module, int64_t group, lora_view grad_x,
                                   lora_view grad_y, lora_view x, lora_view statistics, bool accumulate)
{
    const lora_norm norm = describe(pass, module, group);
    return lr_ops(pass)->norm_backward(lr_device(pass), grad_x, grad_y, x, statistics, &norm, accumulate);
}
