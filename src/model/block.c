// The stack of blocks, forward and backward, which views each block runs in, and how its backward comes by what it has
// not kept. Copies in bf16 are made by the forward and read where they lie by the backward.
#include "pass_state.h"

#include <lora/trainer.h>

static bool is_kept(const struct lr_pass *pass, int64_t layer)
{
    return pass->training && layer >= pass->first_kept && layer < pass->model->stack.layers;
}

static bool is_in_place(lora_view own)
{
    return lr_view_present(own) && own.type == LORA_TYPE_F32;
}

static bool is_copy(lora_view own)
{
    return lr_view_present(own) && own.type != LORA_TYPE_F32;
}

// The last block's backward follows its forward at once, out of the shared set.
static bool is_last(const struct lr_pass *pass, int64_t layer)
{
    return layer == pass->model->stack.layers - 1;
}

// The residual stream before a block; after the last one: the stream itself.
static lora_view input_of(const struct lr_pass *pass, int64_t layer)
{
    lora_view input = pass->stream;
    if (is_kept(pass, layer) && is_last(pass, layer)) input = pass->shared.input;
    else if (is_kept(pass, layer) && is_in_place(pass->blocks[layer].input)) input = pass->blocks[layer].input;
    return lr_first_rows(input, pass->batch->tokens);
}

static lora_view rows_of_batch(const struct lr_pass *pass, lora_view view)
{
    view.rows = view.rows / pass->options.max_tokens * pass->batch->tokens; // statistics of heads: several rows a token
    return view;
}

// A block whose input is copied runs on the residual stream in place, like one that keeps nothing.
static lr_block forward_block(const struct lr_pass *pass, int64_t layer)
{
    const bool kept = is_kept(pass, layer);
    lr_block block = pass->shared;
    for (int i = 0; i < LR_BLOCK_VIEWS; i++) {
        if (kept && is_in_place(pass->blocks[layer].views[i])) block.views[i] = pass->blocks[layer].views[i];
        block.views[i] = rows_of_batch(pass, block.views[i]);
    }
    block.input = input_of(pass, layer);
    if (!kept || is_copy(pass->blocks[layer].input)) block.middle = block.input;
    if (!pass->training)
        for (int slot = 0; slot < LR_SLOT_COUNT; slot++) block.pairs[slot] = lr_absent;
    return block;
}

// The block for the last rows of the batch, but for keys and values, which later rows need of all.
static lr_block only_last(lr_block block, int64_t rows)
{
    block.middle = lr_last_rows(block.middle, rows);
    block.q.rows = block.attention.rows = block.gate.rows = block.up.rows = rows;
    return block;
}

// What the block has kept, and the shared set for the rest. The last block keeps nothing of its own.
static lr_block backward_block(const struct lr_pass *pass, int64_t layer)
{
    lr_block block = pass->shared;
    for (int i = 0; i < LR_BLOCK_VIEWS; i++) {
        if (lr_view_present(pass->blocks[layer].views[i])) block.views[i] = pass->blocks[layer].views[i];
        block.views[i] = rows_of_batch(pass, block.views[i]);
    }
    return block;
}

// ---- what a block keeps --------------------------------------------------------------------------------------------

// Of the block's views those that are copies.
static lr_block copies_of(const struct lr_pass *pass, int64_t layer)
{
    lr_block copies = {0};
    for (int i = 0; i < LR_BLOCK_VIEWS && is_kept(pass, layer); i++)
        if (is_copy(pass->blocks[layer].views[i])) copies.views[i] = rows_of_batch(pass, pass->blocks[layer].views[i]);
    return copies;
}

// What attention leaves; the others are copied by the ops that read them.
static lora_status copy_attention(struct lr_pass *pass, const lr_block *block, const lr_block *copies)
{
    for (int i = LR_BLOCK_ATTENTION; i < LR_BLOCK_MLP; i++)
        if (lr_view_present(copies->views[i]))
            LR_TRY(lr_ops(pass)->convert(lr_device(pass), copies->views[i], block->views[i]));
    return LORA_OK;
}

// What the forward left and is not kept is computed again. The last block's still lies in the shared set.
static lora_status restore(struct lr_pass *pass, int64_t layer, const lr_block *block)
{
    const int32_t recompute = pass->options.recompute;
    if (is_last(pass, layer)) return LORA_OK;
    if (recompute == LORA_RECOMPUTE_ALL) LR_TRY(lr_layer_attention_forward(pass, layer, block, lr_absent, true));
    else if (!lr_view_present(pass->blocks[layer].attention)) LR_TRY(lr_layer_attention_recompute(pass, layer, block));
    return recompute == LORA_RECOMPUTE_NONE ? LORA_OK : lr_layer_mlp_recompute(pass, layer, block);
}

// ---- the stack -----------------------------------------------------------------------------------------------------

lora_status lr_blocks_forward(struct lr_pass *pass, int64_t first)
{
    const int64_t layers = pass->model->stack.layers, tokens = pass->batch->tokens;
    LR_TRY(lr_layer_embedding_forward(pass, input_of(pass, 0)));
    for (int64_t layer = 0; layer < layers; layer++) {
        // Parts of a batch are of all its rows.
        const int64_t rows = is_last(pass, layer) && pass->part_count == 1 ? tokens - first : tokens;
        const lr_block block = only_last(forward_block(pass, layer), rows);
        const lr_block copies = copies_of(pass, layer);
        const bool keep = is_kept(pass, layer);
        LR_TRY(lr_pass_poll(pass));
        LR_TRY(lr_layer_attention_forward(pass, layer, &block, copies.input, keep));
        LR_TRY(copy_attention(pass, &block, &copies));
        LR_TRY(lr_layer_mlp_forward(pass, layer, &block, &copies, lr_last_rows(input_of(pass, layer + 1), rows), keep));
    }
    return LORA_OK;
}

lora_status lr_blocks_backward(struct lr_pass *pass)
{
    const lora_view grad = lr_first_rows(pass->grad_stream, pass->batch->tokens);
    const bool embedding_trained = pass->binding->first_trained_layer < 0;
    for (int64_t layer = pass->model->stack.layers - 1; layer >= pass->first_kept; layer--) {
        const lr_block block = backward_block(pass, layer);
        LR_TRY(lr_pass_poll(pass));
        LR_TRY(restore(pass, layer, &block));
        LR_TRY(lr_layer_mlp_backward(pass, layer, &block, grad));
        LR_TRY(lr_layer_attention_backward(pass, layer, &block, grad, layer > pass->first_kept || embedding_trained));
    }
    return embedding_trained ? lr_layer_embedding_backward(pass, grad) : LORA_OK;
}
