// The inside of a pass: where every activation lies, and the layers that a run is made of.
//
// All activations are views into one buffer, laid out once (pass_layout.c) for the largest batch; a run uses their
// first `tokens` rows. Blocks run in one shared set of views; those without a backward on the residual stream in place.
// For a backward a block keeps views of its own: f32 ones its forward uses in place of the shared, bf16 ones are copies
// of them, and what it has no view for is computed again. The layers (layers/*.c) hold each forward next to its
// backward.
#ifndef LR_PASS_STATE_H
#define LR_PASS_STATE_H

#include "pass.h"

#include <stddef.h>

#define LR_BLOCK_ATTENTION 2 // the first view of attention's own
#define LR_BLOCK_MLP 13      // and of the MLP's
#define LR_BLOCK_VIEWS (15 + LR_SLOT_COUNT)

// What a block's forward leaves for its backward; `views`: all of it.
typedef union lr_block {
    struct {
        lora_view input;                               // [tokens, hidden] residual stream before the block
        lora_view middle;                              // [tokens, hidden] after attention
        lora_view input_statistics, middle_statistics; // [tokens, 2] of the two norms
        lora_view q_raw, k_raw;                        // as projected, where q and k are normalised per head
        lora_view q_statistics, k_statistics;          // [tokens * heads, 2]
        lora_view q, k, v;                             // as attention takes them
        lora_view attention;                           // [tokens, heads * head_dim] its output
        lora_view log_sum;                             // [tokens, heads]
        lora_view gate, up;                            // [tokens, intermediate]
        lora_view pairs[LR_SLOT_COUNT]; // [tokens, max_rank] dropout(x) A^T of the pairs on each linear layer
    };
    lora_view views[LR_BLOCK_VIEWS];
} lr_block;
_Static_assert(offsetof(lr_block, input_statistics) == LR_BLOCK_ATTENTION * sizeof(lora_view) &&
                   offsetof(lr_block, gate) == LR_BLOCK_MLP * sizeof(lora_view), "the numbers are those of the views");
_Static_assert(sizeof(lr_block) == offsetof(lr_block, pairs) + LR_SLOT_COUNT * sizeof(lora_view),
               "LR_BLOCK_VIEWS is the number of views");

// Views of work that no one reads later.
typedef struct lr_scratch {
    lora_view normed, grad_normed;       // [tokens, hidden]
    lora_view activated, grad_activated; // [tokens, intermediate], sharing memory with the next line
    lora_view grad_attention, grad_q, grad_k, grad_v;
} lr_scratch;

// The head works on slices of rows, so that the logits of a batch never exist as a whole.
typedef struct lr_head {
    int64_t slice_rows;
    lora_view input, statistics, normed, grad_normed, grad_input; // [slice_rows, hidden]
    lora_view logits;                                             // [slice_rows, vocabulary]; absent: head_loss is used
    lora_view pairs;                                              // [slice_rows, max_rank]
    lora_view losses;                                             // [tokens, 1]
    lora_view best, log_sum;                                      // [slice_rows, 1] i32 and f32, of logits
} lr_head;

// Where everything lies, and how many bytes that is.
typedef struct lr_layout {
    lora_buffer *buffer; // NULL: measuring
    uint64_t size;
} lr_layout;

// Rows [begin, begin + count) of a batch, or of the head's slice, and whose pairs apply to them.
typedef struct lr_part {
    const lr_binding *binding;
    int64_t begin, count;
} lr_part;

typedef struct lr_logits_target {
    float *logits;
    lr_logits_summary *summary;
} lr_logits_target;

struct lr_pass {
    lora_model *model;
    lora_context *context;
    lr_pass_options options;
    bool only_f32;         // all weights are
    bool coarse_attention; // where the run is coarse; not beside weights of f32 alone
    int64_t first_kept; // blocks from here on are run backward; == layers: none
    lora_buffer *buffer;
    lr_block *blocks;              // [layers] what each kept block has of its own; the last: nothing
    lr_block shared;
    lora_view stream, grad_stream; // [tokens, hidden] residual stream and its gradient
    lora_view cosine, sine;        // [tokens, rotary dimensions / 2]
    lr_scratch scratch;
    lr_head head;

    // host memory
    int32_t *positions;     // [tokens] 0, 1, 2, ...: row i turns by row i of the tables
    float *angles;          // [2, tokens, rotary dimensions / 2] cosines, then sines
    int32_t *rows, *labels; // [tokens] rows that have a label (or are asked for), and their labels
    float *losses;          // [tokens] in the order of `rows`
    lora_segment *segments; // [max_spans]
    lr_logits_target *targets; // [tokens] where the logits of `rows` go
    lr_part *parts;         // [2, max_spans] of the batch, then of the head's slice
    lora_pair *pairs;       // [max_pairs] those of the linear layer that runs

    // this run
    const atomic_int *cancel;
    const lr_binding *binding;
    const lr_batch *batch;
    const lr_part *part; // [part_count] of the rows that layers work on now
    int64_t part_count;
    uint64_t dropout_seed;
    bool training; // dropout is on and what the backward needs is kept
};

// ---- layout --------------------------------------------------------------------------------------------------------

// Sets every view of the pass (buffer NULL: only measures) and returns the bytes needed.
uint64_t lr_pass_lay_out(struct lr_pass *pass, lora_buffer *buffer);
void lr_pass_requests(const struct lr_pass *pass, lora_workspace_request requests[2]);

static inline lora_view lr_first_rows(lora_view view, int64_t rows)
{
    view.rows = rows;
    return view;
}
static inline lora_view lr_last_rows(lora_view view, int64_t rows)
{
    return lr_view_rows(view, view.rows - rows, rows);
}
static const lora_view lr_absent = {0};

static inline const lora_backend *lr_ops(const struct lr_pass *pass)
{
    return pass->context->backend;
}
static inline lora_device *lr_device(const struct lr_pass *pass)
{
    return pass->context->device;
}
lora_status lr_pass_poll(const struct lr_pass *pass); // CANCELLED when the flag is set

// ---- layers --------------------------------------------------------------------------------------------------------

// y (+)= W x + b + pairs. `pairs` is where their hidden values go for the backward; absent: none will run.
lora_status lr_layer_linear_forward(struct lr_pass *pass, const lr_module *module, lora_view y, lora_view x,
                                    lora_view pairs, bool accumulate);
// grad_x (absent: not wanted) and the gradients of what is trained. x may be absent unless lr_layer_linear_needs_input.
lora_status lr_layer_linear_backward(struct lr_pass *pass, const lr_module *module, lora_view grad_x, lora_view grad_y,
                                     lora_view x, lora_view pairs, bool accumulate);
// LORA_COARSE_ bits of this run.
int32_t lr_pass_coarse(const struct lr_pass *pass);
bool lr_layer_linear_needs_input(const struct lr_pass *pass, const lr_module *module);
// The layer as this run sees it, for `rows` rows; good until the next call.
lora_linear lr_layer_linear_describe(struct lr_pass *pass, const lr_module *module, lora_view pairs, int64_t rows);

// group: 0 or head_dim. copy: bf16, gets x; or absent.
lora_status lr_layer_norm_forward(struct lr_pass *pass, const lr_module *module, int64_t group, lora_view y,
                                  lora_view statistics, lora_view x, lora_view copy);
lora_status lr_layer_norm_backward(struct lr_pass *pass, const lr_module *module, int64_t group, lora_view grad_x,
                                   lora_view grad_y, lora_view x, lora_view statistics, bool accumulate);
bool lr_layer_norm_is_trained(const struct lr_pass *pass, const lr_module *module);

lora_status lr_layer_embedding_forward(struct lr_pass *pass, lora_view y);
lora_status lr_layer_embedding_backward(struct lr_pass *pass, lora_view grad_y);

// middle = input + attention(norm(input)), the residual included, for as many of the last rows as middle and q have;
// keep: for a backward; copy: of input, in bf16, or absent.
lora_status lr_layer_attention_forward(struct lr_pass *pass, int64_t layer, const lr_block *block, lora_view copy,
                                       bool keep);
// grad: gradient of `middle` in, of `input` out, where that is wanted.
lora_status lr_layer_attention_backward(struct lr_pass *pass, int64_t layer, const lr_block *block, lora_view grad,
                                        bool want_input_gradient);
// Its output once more, from what is kept of q, k and v, where that differs from what the forward took.
lora_status lr_layer_attention_recompute(struct lr_pass *pass, int64_t layer, const lr_block *block);
// output = middle + mlp(norm(middle)). copies: of middle, gate and up, in bf16, or absent.
lora_status lr_layer_mlp_forward(struct lr_pass *pass, int64_t layer, const lr_block *block, const lr_block *copies,
                                 lora_view output, bool keep);
// Gate and up once more.
lora_status lr_layer_mlp_recompute(struct lr_pass *pass, int64_t layer, const lr_block *block);
lora_status lr_layer_mlp_backward(struct lr_pass *pass, int64_t layer, const lr_block *block, lora_view grad);

// Losses of the labelled rows of `hidden`; grad_scale != 0: also their gradient into grad_hidden, all of whose rows are
// written.
lora_status lr_layer_loss(struct lr_pass *pass, lora_view hidden, lora_view grad_hidden, float grad_scale,
                          float *losses);
// Logits of the first `count` of pass->rows, which rise, and their summaries to pass->targets.
lora_status lr_layer_logits(struct lr_pass *pass, lora_view hidden, int64_t count);

// ---- blocks --------------------------------------------------------------------------------------------------------

// From the embedding to pass->stream, whose rows before `first` no one reads: the last block may skip them. 0 in
// training.
lora_status lr_blocks_forward(struct lr_pass *pass, int64_t first);
lora_status lr_blocks_backward(struct lr_pass *pass); // from pass->grad_stream to the embedding

#endif
