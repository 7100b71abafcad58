// Where the activations of a pass lie. The same walk measures (lr_pass_bytes) and places (lr_pass_create), so that a
// plan and the run it describes cannot differ.
#include "pass_state.h"

#include "lib/tensor_file.h"

#include <lora/trainer.h>

#define ALIGNMENT 64u
// Of a slice of logits. For each slice the head's weight is read once, in training twice and packed.
#define LOGIT_BYTES (16 << 20)
#define TRAINING_LOGIT_BYTES (64 << 20)
#define LEAST_SLICE 32
#define LOSS_ROWS 1024 // of a slice whose logits the backend keeps to itself

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static lora_view take_as(lr_layout *layout, lora_type type, int64_t rows, int64_t cols)
{
    const lora_view view = {.buffer = layout->buffer,
                            .offset = layout->size,
                            .rows = rows,
                            .cols = cols,
                            .stride = cols,
                            .type = type};
    const uint64_t bytes = (uint64_t)rows * (uint64_t)cols * (uint64_t)lr_type_block_bytes(type);
    layout->size += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return view;
}

static lora_view take(lr_layout *layout, int64_t rows, int64_t cols)
{
    return take_as(layout, LORA_TYPE_F32, rows, cols);
}

// The output layer and its loss are one op.
static bool has_head_loss(const struct lr_pass *pass)
{
    return pass->options.training && pass->options.plain_head && lr_ops(pass)->head_loss &&
           lr_model_module(pass->model, -1, LR_SLOT_HEAD)->bias < 0;
}

static int64_t slice_rows(const struct lr_pass *pass)
{
    const int64_t tokens = pass->options.max_tokens, vocabulary = pass->model->stack.vocabulary,
                  bytes = pass->options.training ? TRAINING_LOGIT_BYTES : LOGIT_BYTES;
    int64_t most = larger(bytes / (vocabulary * (int64_t)sizeof(float)), LEAST_SLICE);
    if (has_head_loss(pass)) most = LOSS_ROWS;
    const int64_t slices = (tokens + most - 1) / most;
    return (tokens + slices - 1) / slices;
}

// The shared set.
static lr_block take_block(lr_layout *layout, const lr_stack *stack, const lr_pass_options *options)
{
    const int64_t tokens = options->max_tokens, q = stack->heads * stack->head_dim,
                  kv = stack->kv_heads * stack->head_dim;
    lr_block block = {0};
    block.q = take(layout, tokens, q);
    block.k = take(layout, tokens, kv);
    block.v = take(layout, tokens, kv);
    block.attention = take(layout, tokens, q);
    if (stack->gated) block.gate = take(layout, tokens, stack->intermediate);
    block.up = take(layout, tokens, stack->intermediate);
    if (!options->training) return block;

    block.input = take(layout, tokens, stack->hidden);
    block.middle = take(layout, tokens, stack->hidden);
    block.input_statistics = take(layout, tokens, 2);
    block.middle_statistics = take(layout, tokens, 2);
    block.log_sum = take(layout, tokens, stack->heads);
    if (stack->qk_norm) {
        block.q_raw = take(layout, tokens, q);
        block.k_raw = take(layout, tokens, kv);
        block.q_statistics = take(layout, tokens * stack->heads, 2);
        block.k_statistics = take(layout, tokens * stack->kv_heads, 2);
    }
    for (lr_slot slot = 0; slot < LR_SLOT_HEAD; slot++)
        if (options->trains_pairs && lr_slot_is_linear(slot))
            block.pairs[slot] = take(layout, tokens, options->max_rank);
    return block;
}

// A view like one of the shared set.
static lora_view take_like(lr_layout *layout, lora_type type, lora_view shared)
{
    return shared.cols ? take_as(layout, type, shared.rows, shared.cols) : lr_absent;
}

// What a block keeps, `type` being that of the large views. Hidden values of down's pairs are few, and its product
// would have to run for them. Where attention takes q and k as they are kept, its output and sums are kept too.
static lr_block take_kept(lr_layout *layout, const lr_block *shared, const lr_pass_options *options, lora_type type,
                          bool coarse_attention)
{
    const bool normalised = shared->q_raw.cols > 0;
    const bool as_taken = type == LORA_TYPE_F32 || (coarse_attention && !normalised);
    lr_block kept = {.input = take_like(layout, type, shared->input)};
    kept.pairs[LR_SLOT_DOWN] = take_like(layout, LORA_TYPE_F32, shared->pairs[LR_SLOT_DOWN]);
    if (options->recompute == LORA_RECOMPUTE_ALL) return kept;

    kept.input_statistics = take_like(layout, LORA_TYPE_F32, shared->input_statistics);
    kept.q_raw = take_like(layout, type, shared->q_raw);
    kept.k_raw = take_like(layout, type, shared->k_raw);
    kept.v = take_like(layout, type, shared->v);
    if (type == LORA_TYPE_F32 || !normalised) {
        kept.q = take_like(layout, type, shared->q);
        kept.k = take_like(layout, type, shared->k);
    }
    if (as_taken) {
        kept.q_statistics = take_like(layout, type, shared->q_statistics);
        kept.k_statistics = take_like(layout, type, shared->k_statistics);
        kept.attention = take_like(layout, type, shared->attention);
        kept.log_sum = take_like(layout, LORA_TYPE_F32, shared->log_sum);
    }
    for (lr_slot slot = LR_SLOT_Q; slot <= LR_SLOT_O; slot++)
        kept.pairs[slot] = take_like(layout, LORA_TYPE_F32, shared->pairs[slot]);
    kept.middle = take_like(layout, type, shared->middle);
    if (options->recompute == LORA_RECOMPUTE_MLP) return kept;

    kept.middle_statistics = take_like(layout, LORA_TYPE_F32, shared->middle_statistics);
    kept.gate = take_like(layout, type, shared->gate);
    kept.up = take_like(layout, type, shared->up);
    kept.pairs[LR_SLOT_GATE] = take_like(layout, LORA_TYPE_F32, shared->pairs[LR_SLOT_GATE]);
    kept.pairs[LR_SLOT_UP] = take_like(layout, LORA_TYPE_F32, shared->pairs[LR_SLOT_UP]);
    return kept;
}

// The last block runs backward at once, out of the shared set.
static void lay_out_blocks(struct lr_pass *pass, lr_layout *layout)
{
    lora_type type = pass->options.activations;
    if (type == LORA_TYPE_KEEP) type = pass->only_f32 ? LORA_TYPE_F32 : LORA_TYPE_BF16;
    pass->shared = take_block(layout, &pass->model->stack, &pass->options);
    for (int64_t layer = pass->first_kept; layer < pass->model->stack.layers - 1; layer++) {
        const lr_block kept = take_kept(layout, &pass->shared, &pass->options, type, pass->coarse_attention);
        if (pass->blocks) pass->blocks[layer] = kept;
    }
}

static void lay_out_scratch(struct lr_pass *pass, lr_layout *layout)
{
    const lr_stack *stack = &pass->model->stack;
    const int64_t tokens = pass->options.max_tokens, q = stack->heads * stack->head_dim,
                  kv = stack->kv_heads * stack->head_dim;
    lr_scratch *scratch = &pass->scratch;
    scratch->normed = take(layout, tokens, stack->hidden);
    if (!pass->options.training) return;
    scratch->grad_normed = take(layout, tokens, stack->hidden);

    // Attention and MLP never need theirs at the same time.
    lr_layout attention = *layout;
    scratch->activated = take(layout, tokens, stack->intermediate);
    scratch->grad_activated = take(layout, tokens, stack->intermediate);
    scratch->grad_attention = take(&attention, tokens, q);
    scratch->grad_q = take(&attention, tokens, q);
    scratch->grad_k = take(&attention, tokens, kv);
    scratch->grad_v = take(&attention, tokens, kv);
    if (attention.size > layout->size) layout->size = attention.size;
}

static void lay_out_head(struct lr_pass *pass, lr_layout *layout)
{
    const lr_stack *stack = &pass->model->stack;
    const lr_pass_options *options = &pass->options;
    lr_head *head = &pass->head;
    const int64_t rows = head->slice_rows = slice_rows(pass);
    head->input = take(layout, rows, stack->hidden);
    head->statistics = take(layout, rows, 2);
    head->normed = take(layout, rows, stack->hidden);
    if (!has_head_loss(pass)) {
        head->logits = take(layout, rows, stack->vocabulary);
        head->log_sum = take(layout, rows, 1);
        head->best = take(layout, rows, 1);
        head->best.type = LORA_TYPE_I32;
    }
    head->losses = take(layout, options->max_tokens, 1);
    if (!options->training) return;
    head->grad_normed = take(layout, rows, stack->hidden);
    head->grad_input = take(layout, rows, stack->hidden);
    if (options->trains_pairs) head->pairs = take(layout, rows, options->max_rank);
}

uint64_t lr_pass_lay_out(struct lr_pass *pass, lora_buffer *buffer)
{
    const lr_stack *stack = &pass->model->stack;
    const int64_t tokens = pass->options.max_tokens;
    lr_layout layout = {.buffer = buffer};
    pass->stream = take(&layout, tokens, stack->hidden);
    if (pass->options.training) pass->grad_stream = take(&layout, tokens, stack->hidden);
    pass->cosine = take(&layout, tokens, stack->rope.dimensions / 2);
    pass->sine = take(&layout, tokens, stack->rope.dimensions / 2);
    lay_out_blocks(pass, &layout);

    // The head runs between the forward and the backward of the blocks.
    lr_layout head = layout;
    lay_out_scratch(pass, &layout);
    lay_out_head(pass, &head);
    return (uint64_t)larger((int64_t)layout.size, (int64_t)head.size);
}

// The blocks' largest ops, and the head's.
void lr_pass_requests(const struct lr_pass *pass, lora_workspace_request requests[2])
{
    const lr_stack *stack = &pass->model->stack;
    const lr_pass_options *options = &pass->options;
    const int64_t width = larger(larger(stack->hidden, stack->intermediate), stack->heads * stack->head_dim);
    const int64_t tokens = options->max_tokens, widest = larger(stack->vocabulary, stack->hidden);
    requests[0] = (lora_workspace_request){
        .max_rows = tokens, .max_cols = width, .max_inner = larger(width, tokens), .max_rank = options->max_rank};
    requests[1] = (lora_workspace_request){.max_rows = slice_rows(pass),
                                           .max_cols = widest,
                                           .max_inner = larger(stack->hidden, tokens),
                                           .max_rank = options->max_rank,
                                           .head_loss = has_head_loss(pass)};
    requests[0].only_f32 = requests[1].only_f32 = pass->only_f32;
}
