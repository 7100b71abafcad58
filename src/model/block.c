// The stack of blocks, forward and backward, and which views each block runs in.
#include "pass_state.h"

static bool is_kept(const struct lr_pass *pass, int64_t layer)
{
    return pass->training && layer >= pass->first_kept && layer < pass->model->stack.layers;
}

// The residual stream before a block; after the last one: the stream itself.
static lora_view input_of(const struct lr_pass *pass, int64_t layer)
{
    return lr_first_rows(is_kept(pass, layer) ? pass->blocks[layer].input : pass->stream, pass->batch->tokens);
}

static void limit_rows(lora_view *view, int64_t rows)
{
    if (lr_view_present(*view)) view->rows = rows;
}

static lr_block block_of(const struct lr_pass *pass, int64_t layer)
{
    const lr_stack *stack = &pass->model->stack;
    const int64_t tokens = pass->batch->tokens;
    const bool kept = is_kept(pass, layer);
    lr_block block = kept && !pass->options.recompute ? pass->blocks[layer] : pass->shared;
    block.input = input_of(pass, layer);
    if (!kept) block.middle = block.input;
    lora_view *const by_token[] = {&block.middle,
                                   &block.input_statistics,
                                   &block.middle_statistics,
                                   &block.q_raw,
                                   &block.k_raw,
                                   &block.q,
                                   &block.k,
                                   &block.v,
                                   &block.attention,
                                   &block.log_sum,
                                   &block.gate,
                                   &block.up};
    for (size_t i = 0; i < sizeof by_token / sizeof by_token[0]; i++) limit_rows(by_token[i], tokens);
    limit_rows(&block.q_statistics, tokens * stack->heads);
    limit_rows(&block.k_statistics, tokens * stack->kv_heads);
    if (!pass->training)
        for (int slot = 0; slot < LR_SLOT_COUNT; slot++) block.pairs[slot] = lr_absent;
    return block;
}

lora_status lr_blocks_forward(struct lr_pass *pass)
{
    const int64_t layers = pass->model->stack.layers;
    LR_TRY(lr_layer_embedding_forward(pass, input_of(pass, 0)));
    for (int64_t layer = 0; layer < layers; layer++) {
        const lr_block block = block_of(pass, layer);
        const bool keep = is_kept(pass, layer);
        LR_TRY(lr_pass_poll(pass));
        LR_TRY(lr_layer_attention_forward(pass, layer, &block, keep));
        LR_TRY(lr_layer_mlp_forward(pass, layer, &block, input_of(pass, layer + 1), keep));
    }
    pass->held_block = layers - 1;
    return LORA_OK;
}

lora_status lr_blocks_backward(struct lr_pass *pass)
{
    const lora_view grad = lr_first_rows(pass->grad_stream, pass->batch->tokens);
    const lora_view spare = lr_first_rows(pass->stream, pass->batch->tokens);
    const bool embedding_trained = pass->binding->first_trained_layer < 0;
    for (int64_t layer = pass->model->stack.layers - 1; layer >= pass->first_kept; layer--) {
        const lr_block block = block_of(pass, layer);
        LR_TRY(lr_pass_poll(pass));
        if (pass->options.recompute && pass->held_block != layer) {
            LR_TRY(lr_layer_attention_forward(pass, layer, &block, true));
            LR_TRY(lr_layer_mlp_recompute(pass, layer, &block, spare));
            pass->held_block = layer;
        }
        LR_TRY(lr_layer_mlp_backward(pass, layer, &block, grad));
        LR_TRY(lr_layer_attention_backward(pass, layer, &block, grad, layer > pass->first_kept || embedding_trained));
    }
    return embedding_trained ? lr_layer_embedding_backward(pass, grad) : LORA_OK;
}
