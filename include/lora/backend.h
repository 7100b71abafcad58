/** @file backend.h
 *  The second tier: what a compute backend is. Hosts do not need this header; writers of backends do.
 *
 *  A backend is one constant table of functions over buffers that it owns. Ops are few and coarse. They work on
 *  two-dimensional views: activations are [tokens, features], a weight is [out, in]. All tokens of a batch lie one
 *  after another without padding; which of them belong together is said by segments. Activations, gradients and
 *  optimizer state are f32; frozen weights may have any storage type the backend says it supports.
 *
 *  Rules for every op: arguments were checked by the core; views of one op do not overlap unless said; an op may run
 *  later than the call (the core calls `synchronize` before it reads); nothing is allocated inside an op after
 *  `reserve`; the same arguments give the same bits at the same thread count.
 *  `accumulate` means that the result is added to what the output holds.
 */
#ifndef LORA_BACKEND_H
#define LORA_BACKEND_H

#include "context.h"
#include "types.h"

LORA_BEGIN_DECLS

/** Moves with every change of this header; a plug-in with another number is refused at load. */
#define LORA_BACKEND_ABI 7

typedef struct lora_device lora_device; /**< an opened backend: threads, streams, workspaces */
typedef struct lora_buffer lora_buffer; /**< memory of a device */

/** `rows` x `cols` numbers, `stride` numbers from row to row, from `offset` bytes into `buffer`. A view whose buffer is
 *  NULL is absent. */
typedef struct lora_view {
    lora_buffer *buffer;
    uint64_t offset;
    int64_t rows;
    int64_t cols;
    int64_t stride;
    lora_type type;
    int32_t reserved;
    lora_buffer *scale_buffer; /**< INT8, NF4: where the scales are (types.h), row after row of `stride` numbers; else
                                    NULL */
    uint64_t scale_offset;
} lora_view;

/** What the core lends a backend; outlives the device. */
typedef struct lora_backend_host {
    size_t struct_size;
    lora_allocator allocator;
    int32_t threads;      /**< > 0 */
    int32_t cpu_features; /**< -1 or a mask of LORA_CPU_ bits */
    lora_parallel_for_fn parallel_for; /**< NULL: bring your own threads */
    void *parallel_for_user;
    lora_log_fn log; /**< never NULL */
    void *log_user;
    /** Records one line of text as this thread's message and returns `status`. */
    lora_status (*fail)(lora_status status, const char *text);
} lora_backend_host;

/* ---- op arguments ------------------------------------------------------------------------------------------ */

/** Dropout of an input, inverted (kept values are divided by 1 - p). Whether element (row, col) is kept is a pure
 *  function of seed, stream, row and col, so that forward, backward and recomputation agree without a stored mask:
 *  u = lr_random_uniform(seed, stream, row * cols + col) of lib/random.h; kept iff u >= p. */
typedef struct lora_dropout {
    float p; /**< 0: none */
    uint32_t stream; /**< one per adapted module */
    uint64_t seed;   /**< one per step and micro-batch */
} lora_dropout;

/** One low-rank pair on a linear layer: y[rows] += scale * (dropout(x[rows]) * A^T) * B^T. */
typedef struct lora_pair {
    lora_view a;      /**< [r, in] f32 */
    lora_view b;      /**< [out, r] f32 */
    lora_view hidden; /**< [rows of x, r]: forward writes dropout(x) * A^T here for the backward; absent in inference */
    lora_view grad_a; /**< backward adds to it; absent: not trained */
    lora_view grad_b;
    float scale;      /**< alpha / r, or alpha / sqrt(r) for rsLoRA, times the attached weight */
    lora_dropout dropout;
    int64_t row_begin; /**< the rows of x that this pair applies to: [row_begin, row_begin + row_count) */
    int64_t row_count;
} lora_pair;

#define LORA_COARSE_BF16 1 /**< bf16, where they meet a weight of a bf16 or quantized type */
#define LORA_COARSE_INT8 2 /**< 8 bits in groups that share a scale, where they meet a weight of INT8 or of GGUF's
                                blocks */
#define LORA_COARSE_INT15 4 /**< 15 bits, where they meet such a weight: far below the error of the weight's own
                                 rounding */
#define LORA_COARSE_BF16_TWICE 8 /**< the sum of two bf16 numbers (16 bits), where they meet a bf16 weight: likewise */
#define LORA_ALONE_ROWS 16 /**< rows, or queries of one segment, that `as_alone` is asked for at most */

/** A linear layer as it stands in a call: base weight, optional bias, any number of pairs. */
typedef struct lora_linear {
    lora_view weight;    /**< [out, in], any storage type; [in, out] when `transposed` (GPT-2's Conv1D) */
    lora_view bias;      /**< [1, out] f32 or absent */
    lora_view grad_weight; /**< [out, in] f32: present when the weight itself is trained */
    lora_view grad_bias;   /**< [1, out] f32: present when the bias is trained */
    int32_t transposed;
    int32_t pair_count;
    const lora_pair *pairs;
    int32_t coarse; /**< LORA_COARSE_ bits: what x and grad_y may be rounded to; 0: nothing */
    int32_t as_alone; /**< forward of at most LORA_ALONE_ROWS rows; 1: each gets the bits that it would get alone */
} lora_linear;

#define LORA_NORM_RMS 0   /**< x * rsqrt(mean(x^2) + eps) * (w + weight_offset) */
#define LORA_NORM_LAYER 1 /**< (x - mean) * rsqrt(var + eps) * w + bias */

typedef struct lora_norm {
    int32_t kind;
    float epsilon;
    float weight_offset; /**< 1 for Gemma, else 0 */
    int32_t group;       /**< columns normalised together: 0 = the whole row, head_dim for q/k norms; weight:
                              [1, group] */
    lora_view weight;      /**< f32, f16 or bf16 */
    lora_view bias;
    lora_view copy;        /**< forward: bf16, gets x; or absent */
    lora_view grad_weight; /**< f32; absent: not trained */
    lora_view grad_bias;
} lora_norm;

#define LORA_ROTARY_HALF 0        /**< pairs (i, i + dim/2): Hugging Face's Llama */
#define LORA_ROTARY_INTERLEAVED 1 /**< pairs (2i, 2i + 1): GGUF's "llama", GLM */

typedef struct lora_rotary {
    int32_t kind;
    int32_t head_dim;
    int32_t rotary_dim;  /**< the first columns of each head that turn; <= head_dim */
    int32_t inverse;     /**< 1 in the backward: the transposed rotation */
    lora_view cosine;    /**< [positions, rotary_dim / 2] f32, attention scaling included */
    lora_view sine;
    const int32_t *positions; /**< host memory, one per row */
} lora_rotary;

#define LORA_PAGE_KEYS 64 /**< keys in a page of a cache */

/** Consecutive query rows that attend to one run of keys. Query i of the segment stands at key
 *  key_count - query_count + i and sees keys [max(0, that - window + 1), that], and all of the first `prefix` keys.
 *  A cache lies in pages, which sequences that begin alike share: its key j is row j % LORA_PAGE_KEYS of the views in
 *  buffer pages[j / LORA_PAGE_KEYS], whatever buffer the views name. */
typedef struct lora_segment {
    int64_t query_begin; /**< row of the first query in the batch */
    int64_t query_count;
    lora_view keys;   /**< [>= key_count, kv_heads * head_dim]; with pages: [LORA_PAGE_KEYS, kv_heads * head_dim] of
                           each. f32, f16 or bf16, of values the same; f32 or bf16 in the backward */
    lora_view values;
    int64_t key_count;
    int64_t prefix; /**< 0: causal */
    lora_buffer *const *pages; /**< host memory; NULL: all keys follow one another, as in training */
} lora_segment;

typedef struct lora_attention {
    int32_t heads;
    int32_t kv_heads;
    int32_t head_dim;
    int32_t segment_count;
    float scale;   /**< usually 1 / sqrt(head_dim) */
    float softcap; /**< scores become softcap * tanh(score / softcap); 0: none */
    int64_t window; /**< 0: unlimited; else the number of newest keys seen, itself included */
    const lora_segment *segments;
    int32_t as_alone; /**< forward; 1: each query gets the bits that it would get as its segment's only one */
    int32_t coarse; /**< LORA_COARSE_BF16, where LORA_OP_ATTENTION is supported: q, keys and values are rounded to bf16,
                         grad_y, probabilities and their gradients may be; 0: nothing is. Not with as_alone */
} lora_attention;

#define LORA_ACTIVATION_SILU 0
#define LORA_ACTIVATION_GELU 1      /**< exact, erf */
#define LORA_ACTIVATION_GELU_TANH 2

/** One trained tensor in an optimizer update. All f32, the same number of elements. */
typedef struct lora_parameter {
    lora_view value;
    lora_view gradient;
    lora_view first_moment;
    lora_view second_moment;
    float learning_rate;
    float weight_decay;
} lora_parameter;

typedef struct lora_adamw {
    float beta1, beta2, epsilon;
    int64_t step;         /**< 1 for the first update: bias correction */
    float gradient_scale; /**< every gradient is multiplied by this first (clipping) */
    int32_t zero_gradient;/**< 1: leave the gradients zeroed */
} lora_adamw;

/** Bytes of workspace are fixed by these maxima before any op runs. */
typedef struct lora_workspace_request {
    int64_t max_rows;  /**< tokens in a batch */
    int64_t max_cols;  /**< widest activation or logit row */
    int64_t max_inner; /**< widest inner dimension of a product */
    int64_t max_rank;  /**< largest sum of ranks on one linear layer */
    int32_t only_f32;  /**< 1: all weights are f32 */
    int32_t head_loss; /**< 1: for this op alone, whose logits have max_cols columns and whose hidden max_inner */
} lora_workspace_request;

#define LORA_OP_LINEAR 1  /**< for lora_backend.supports: a frozen weight of this type in linear_* */
#define LORA_OP_EMBED 2   /**< embed_forward from a table of this type */
#define LORA_OP_CONVERT 3 /**< convert from this type to f32 */
#define LORA_OP_ATTENTION 4 /**< attention that rounds to this type where it may be coarse */

/* ---- the table --------------------------------------------------------------------------------------------- */

typedef struct lora_backend {
    uint32_t abi; /**< LORA_BACKEND_ABI */
    uint32_t reserved;
    const char *name;

    /* device */
    lora_status (*open)(const lora_backend_host *host, lora_device **out);
    void (*close)(lora_device *device);
    const char *(*describe)(lora_device *device);
    /** 1 when `op` takes a tensor of `type`, else 0. */
    int32_t (*supports)(lora_device *device, int32_t op, lora_type type);
    /** Bytes of device memory free and in all; zeros when unknown. */
    void (*memory)(lora_device *device, uint64_t *free_bytes, uint64_t *total_bytes);
    /** Grows the device's workspaces to serve such calls. May be called again; never shrinks. */
    lora_status (*reserve)(lora_device *device, const lora_workspace_request *request);
    /** What `reserve` would hold for this request, in bytes. */
    uint64_t (*workspace_bytes)(lora_device *device, const lora_workspace_request *request);
    lora_status (*synchronize)(lora_device *device);

    /* buffers */
    lora_status (*buffer_create)(lora_device *device, uint64_t size, lora_buffer **out); /**< zeroed, 64-byte aligned */
    /** Host memory that stays valid and unchanged while the buffer lives (a mapped file): used in place by a host
     *  backend, copied by another. Any alignment. */
    lora_status (*buffer_wrap)(lora_device *device, const void *bytes, uint64_t size, lora_buffer **out);
    void (*buffer_free)(lora_device *device, lora_buffer *buffer);
    /** Where the host can see the buffer's bytes, or NULL. Writing is allowed for created buffers only. */
    void *(*buffer_host)(lora_buffer *buffer);
    lora_status (*buffer_write)(lora_device *device, lora_buffer *buffer, uint64_t offset, const void *bytes,
                                uint64_t size);
    lora_status (*buffer_read)(lora_device *device, lora_buffer *buffer, uint64_t offset, void *bytes, uint64_t size);

    /* moving numbers */
    lora_status (*fill)(lora_device *device, lora_view target, float value);
    /** target = source, from any type that `supports` LORA_OP_CONVERT, to f32, f16, bf16 (round to nearest even) or,
     *  where the backend can, to a quantized type: whole rows, for INT8 and NF4 the scales too. */
    lora_status (*convert)(lora_device *device, lora_view target, lora_view source);
    /** target += factor * source; f32. */
    lora_status (*add)(lora_device *device, lora_view target, lora_view source, float factor);
    /** target[i, :] = scale * table[ids[i], :]; ids are host memory, checked by the core. */
    lora_status (*embed_forward)(lora_device *device, lora_view target, lora_view table, const int32_t *ids,
                                 float scale);
    /** grad_table[ids[i], :] += scale * grad[i, :]. */
    lora_status (*embed_backward)(lora_device *device, lora_view grad_table, lora_view grad, const int32_t *ids,
                                  float scale);

    /* layers; x, y and gradients are [tokens, features] f32 */
    /** y = x W^T + bias + pairs. */
    lora_status (*linear_forward)(lora_device *device, lora_view y, lora_view x, const lora_linear *linear,
                                  int32_t accumulate);
    /** grad_x = grad_y W + pairs' part (grad_x absent: not wanted). Adds to grad_weight, grad_bias and each pair's
     *  grad_a, grad_b where present. x is needed only for grad_weight and grad_a. */
    lora_status (*linear_backward)(lora_device *device, lora_view grad_x, lora_view grad_y, lora_view x,
                                   const lora_linear *linear, int32_t accumulate);
    /** y = norm(x); x is f32 or bf16. `statistics` [rows * groups, 2] f32 gets (mean, 1/deviation) for the backward, or
     *  is absent. y may be x only when no backward follows. */
    lora_status (*norm_forward)(lora_device *device, lora_view y, lora_view statistics, lora_view x,
                                const lora_norm *norm);
    lora_status (*norm_backward)(lora_device *device, lora_view grad_x, lora_view grad_y, lora_view x,
                                 lora_view statistics, const lora_norm *norm, int32_t accumulate);
    /** Turns every head of x in place. */
    lora_status (*rotary)(lora_device *device, lora_view x, const lora_rotary *rotary);
    /** y = softmax(scale * q k^T + mask) v for each head; `log_sum` [tokens, heads] f32 gets log(sum(exp(scores))), or
     *  is absent. Never a score matrix in memory: O(tokens) beside the inputs. In training q, keys and values may be
     *  bf16. */
    lora_status (*attention_forward)(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                                     const lora_attention *attention);
    /** Writes grad_q and adds to grad_k, grad_v, whose rows correspond to `segments[i].keys` rows in the order of the
     *  batch: training segments have query_count == key_count, and row j of a segment's keys is batch row query_begin +
     *  j. y, q, keys and values are f32 or bf16. */
    lora_status (*attention_backward)(lora_device *device, lora_view grad_q, lora_view grad_k, lora_view grad_v,
                                      lora_view grad_y, lora_view y, lora_view log_sum, lora_view q,
                                      const lora_attention *attention);
    /** y = activation(gate) * up; up absent: y = activation(gate). gate and up are f32 or bf16; y may be an f32 one of
     *  them. gate_copy and up_copy: bf16, get gate and up; or absent. */
    lora_status (*gate_forward)(lora_device *device, lora_view y, lora_view gate, lora_view up, lora_view gate_copy,
                                lora_view up_copy, int32_t activation);
    /** grad_gate and grad_up from grad_y; grad_gate may be gate's memory and grad_up up's, where they are f32. */
    lora_status (*gate_backward)(lora_device *device, lora_view grad_gate, lora_view grad_up, lora_view grad_y,
                                 lora_view gate, lora_view up, int32_t activation);

    /* loss */
    /** For each row of logits [rows, vocab]: losses[i] = -log softmax(logits[i])[labels[i]], or 0 for label -100. With
     *  grad_scale != 0 the logits are overwritten with their gradient, grad_scale * (softmax - one_hot), 0 for -100.
     *  `losses` [rows, 1] f32. softcap as in lora_attention, applied to the logits. labels: host memory. */
    lora_status (*cross_entropy)(lora_device *device, lora_view losses, lora_view logits, const int32_t *labels,
                                 float grad_scale, float softcap);
    /** Optional (NULL: the core runs linear_forward, cross_entropy and linear_backward over slices of rows, as it does
     *  for heads that are trained or have a bias or pairs). The output layer and its loss in one: as above for
     *  hidden [tokens, d]; grad_hidden absent: losses only. */
    lora_status (*head_loss)(lora_device *device, lora_view losses, lora_view grad_hidden, lora_view hidden,
                             const lora_linear *head, const int32_t *labels, float grad_scale, float softcap);

    /* answers */
    /** What choosing a token asks of each row of logits [rows, vocab], after softcap was applied to them in place (as
     *  in lora_attention): best [rows, 1] i32, the first column of the greatest; log_sum [rows, 1] f32,
     *  log(sum(exp(logits[i]))), NaN where a logit is. */
    lora_status (*summarise_logits)(lora_device *device, lora_view best, lora_view log_sum, lora_view logits,
                                    float softcap);

    /* optimizer */
    /** *sum = sum of squares over all elements of all tensors, in double. */
    lora_status (*square_sum)(lora_device *device, const lora_view *tensors, int64_t count, double *sum);
    /** Decoupled weight decay (Loshchilov & Hutter 2019): p -= lr*wd*p; p -= lr * m^ / (sqrt(v^) + epsilon). */
    lora_status (*adamw)(lora_device *device, const lora_parameter *parameters, int64_t count,
                         const lora_adamw *settings);

    /* merging */
    /** weight += scale * B A, all f32: weight [out, in], a [r, in], b [out, r] (transposed: weight [in, out]). */
    lora_status (*merge)(lora_device *device, lora_view weight, lora_view a, lora_view b, float scale,
                         int32_t transposed);
} lora_backend;

/** The one symbol that a plug-in exports. NULL when it cannot serve this ABI. */
typedef const lora_backend *(*lora_backend_entry_fn)(uint32_t abi);
#define LORA_BACKEND_ENTRY "lora_backend_entry"

LORA_END_DECLS
#endif
