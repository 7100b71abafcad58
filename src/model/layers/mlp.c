// The block's second half: y = x + down(act(gate(n)) * up(n)) with n = norm(x), or y = x + down(act(up(n))) without a
// gate. Kept for the backward: x and its norm's statistics, gate(n) and up(n). What is elementwise is computed again
// there.
#include "src/model/pass_state.h"

typedef struct mlp_modules {
    const lr_module *norm, *gate, *up, *down; // gate NULL: not gated
    lora_view activated;                      // act(gate) * up
} mlp_modules;

static mlp_modules describe(const struct lr_pass *pass, int64_t layer)
{
    const lora_model *model = pass->model;
    return (mlp_modules){
        .norm = lr_model_module(model, layer, LR_SLOT_MLP_NORM),
        .gate = lr_model_module(model, layer, LR_SLOT_GATE),
        .up = lr_model_module(model, layer, LR_SLOT_UP),
        .down = lr_model_module(model, layer, LR_SLOT_DOWN),
        .activated = lr_first_rows(pass->scratch.activated, pass->batch->tokens),
    };
}

// What the activation applies to first, and what it is multiplied by.
typedef struct gate_inputs {
    lora_view first, second;
} gate_inputs;

static gate_inputs inputs_of(const mlp_modules *mlp, const lr_block *block)
{
    return mlp->gate ? (gate_inputs){block->gate, block->up} : (gate_inputs){block->up, lr_absent};
}

// Their gradients take the place of gate and up, where those are f32.
static gate_inputs gradients_of(const struct lr_pass *pass, const mlp_modules *mlp, const lr_block *block)
{
    if (block->up.type == LORA_TYPE_F32) return inputs_of(mlp, block);
    gate_inputs gradients = inputs_of(mlp, &pass->shared);
    gradients.first.rows = gradients.second.rows = pass->batch->tokens;
    return gradients;
}

// `copies`: in bf16 for the backward, or absent.
static lora_status activate(struct lr_pass *pass, lora_view y, const gate_inputs *inputs, const gate_inputs *copies)
{
    return lr_ops(pass)->gate_forward(lr_device(pass), y, inputs->first, inputs->second, copies->first, copies->second,
                                      pass->model->stack.activation);
}

static lora_status project(struct lr_pass *pass, const mlp_modules *mlp, const lr_block *block, lora_view copy,
                           bool keep)
{
    const lora_view normed = lr_first_rows(pass->scratch.normed, block->middle.rows);
    LR_TRY(lr_layer_norm_forward(pass, mlp->norm, 0, normed, keep ? block->middle_statistics : lr_absent, block->middle,
                                 copy));
    if (mlp->gate)
        LR_TRY(lr_layer_linear_forward(pass, mlp->gate, block->gate, normed, block->pairs[LR_SLOT_GATE], false));
    return lr_layer_linear_forward(pass, mlp->up, block->up, normed, block->pairs[LR_SLOT_UP], false);
}

lora_status lr_layer_mlp_forward(struct lr_pass *pass, int64_t layer, const lr_block *block, const lr_block *copies,
                                 lora_view output, bool keep)
{
    const mlp_modules mlp = describe(pass, layer);
    const lora_view activated = keep ? mlp.activated : block->up;
    const gate_inputs inputs = inputs_of(&mlp, block), kept = inputs_of(&mlp, copies);
    LR_TRY(project(pass, &mlp, block, copies->middle, keep));
    LR_TRY(activate(pass, activated, &inputs, &kept));
    if (output.offset != block->middle.offset) LR_TRY(lr_ops(pass)->convert(lr_device(pass), output, block->middle));
    return lr_layer_linear_forward(pass, mlp.down, output, activated, block->pairs[LR_SLOT_DOWN], true);
}

lora_status lr_layer_mlp_recompute(struct lr_pass *pass, int64_t layer, const lr_block *block)
{
    const mlp_modules mlp = describe(pass, layer);
    return project(pass, &mlp, block, lr_absent, true);
}

lora_status lr_layer_mlp_backward(struct lr_pass *pass, int64_t layer, const lr_block *block, lora_view grad)
{
    const mlp_modules mlp = describe(pass, layer);
    const int64_t tokens = pass->batch->tokens;
    const lora_view normed = lr_first_rows(pass->scratch.normed, tokens);
    const lora_view grad_normed = lr_first_rows(pass->scratch.grad_normed, tokens);
    const lora_view grad_activated = lr_first_rows(pass->scratch.grad_activated, tokens);
    const gate_inputs inputs = inputs_of(&mlp, block), gradients = gradients_of(pass, &mlp, block), no_copies = {0};
    const lora_view grad_up = mlp.gate ? gradients.second : gradients.first;

    if (lr_layer_linear_needs_input(pass, mlp.down)) LR_TRY(activate(pass, mlp.activated, &inputs, &no_copies));
    LR_TRY(lr_layer_linear_backward(pass, mlp.down, grad_activated, grad, mlp.activated, block->pairs[LR_SLOT_DOWN],
                                    false));
    LR_TRY(lr_ops(pass)->gate_backward(lr_device(pass), gradients.first, gradients.second, grad_activated,
                                       inputs.first, inputs.second, pass->model->stack.activation));
    if (lr_layer_linear_needs_input(pass, mlp.up) || (mlp.gate && lr_layer_linear_needs_input(pass, mlp.gate)))
        LR_TRY(lr_layer_norm_forward(pass, mlp.norm, 0, normed, lr_absent, block->middle, lr_absent));
    LR_TRY(lr_layer_linear_backward(pass, mlp.up, grad_normed, grad_up, normed, block->pairs[LR_SLOT_UP], false));
    if (mlp.gate)
        LR_TRY(lr_layer_linear_backward(pass, mlp.gate, grad_normed, gradients.first, normed,
                                        block->pairs[LR_SLOT_GATE], true));
    return lr_layer_norm_backward(pass, mlp.norm, 0, grad, grad_normed, block->middle, block->middle_statistics, true);
}
