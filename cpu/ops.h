// The ops of the CPU backend, one file per group, and what they share. An op describes its work as a count of pieces
// that depends on shapes alone, then runs them on the device's threads; pieces write to places of their own, or to sums
// whose order is fixed within the piece, so the bits do not depend on who runs what.
#ifndef LR_OPS_H
#define LR_OPS_H

#include "cpu/kernels.h"

#define LR_CPU_PIECE 16384 // numbers that make a piece worth a thread's while

static inline int64_t lr_smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t lr_larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t lr_pieces(int64_t count, int64_t each) { return (count + each - 1) / each; }
static inline uint64_t lr_align64(uint64_t bytes) { return (bytes + 63) & ~(uint64_t)63; }
static inline bool lr_present(const lora_view *view) { return view->buffer != NULL; }
static inline float *lr_row(const lora_view *view, int64_t row) { return lr_view_at(view, row); }

// Bytes of `cols` numbers; for block types a whole number of blocks.
uint64_t lr_row_bytes(lora_type type, int64_t cols);
// Start of a row of any type.
const void *lr_typed_row(const lora_view *view, int64_t row);
// Its scales: INT8: one, NF4: one for each block; NULL for other types.
float *lr_row_scales(const lora_view *view, int64_t row);
// Numbers [begin, begin + count) of a row as f32; begin is a whole number of blocks.
void lr_load_row(const lora_device *device, float *target, const lora_view *view, int64_t row, int64_t begin,
                 int64_t count);
// Where they lie already, if they are f32, or loaded into `room`.
const float *lr_row_numbers(const lora_device *device, float *room, const lora_view *view, int64_t row, int64_t begin,
                            int64_t count);

// And the way back, to a plain type.
void lr_store_row(const lora_device *device, const lora_view *view, int64_t row, int64_t begin, const float *source,
                  int64_t count);

// Rows of `cols` numbers that make a piece.
static inline int64_t lr_piece_rows(int64_t cols) { return lr_larger(1, LR_CPU_PIECE / lr_larger(1, cols)); }

void lr_cpu_lock(lora_device *device);
void lr_cpu_unlock(lora_device *device);
// Takes the lock around lr_cpu_parallel.
void lr_cpu_run(lora_device *device, int64_t count, void (*task)(int64_t index, void *argument), void *argument);

typedef struct lr_lane {
    int64_t index, count; // of the lanes
    void *room;
} lr_lane;

// Pieces that need room of their own: as many lanes as threads take pieces, first those of an equal share each, and
// each lane has `bytes` (a multiple of 64) of the workspace. `begin`, if not NULL, runs in each lane before its pieces:
// what all pieces need, each lane makes for itself, as bytes that another core has written may be slow to read. The op
// holds the lock and has checked the workspace.
typedef void (*lr_lane_begin)(const lr_lane *lane, void *argument);
typedef void (*lr_lane_task)(int64_t index, void *room, void *argument);
void lr_cpu_lanes(lora_device *device, int64_t count, uint64_t bytes, lr_lane_begin begin, lr_lane_task task,
                  void *argument);

// BACKEND when the workspace is smaller than an op needs. The op holds the lock.
lora_status lr_need_workspace(const lora_device *device, const char *op, uint64_t bytes);

// Bytes of workspace that ops need, by group; each is monotone in its arguments.
uint64_t lr_linear_workspace(const lora_device *device, int64_t rows, int64_t cols, int64_t inner, int64_t rank,
                             bool only_f32);
uint64_t lr_head_loss_workspace(const lora_device *device, int64_t rows, int64_t inner, bool only_f32);
uint64_t lr_norm_workspace(int64_t cols);
uint64_t lr_attention_workspace(int32_t threads);

lora_status lr_fill(lora_device *device, lora_view target, float value);
lora_status lr_convert(lora_device *device, lora_view target, lora_view source);
lora_status lr_add_scaled(lora_device *device, lora_view target, lora_view source, float factor);
lora_status lr_embed_forward(lora_device *device, lora_view target, lora_view table, const int32_t *ids, float scale);
lora_status lr_embed_backward(lora_device *device, lora_view grad_table, lora_view grad, const int32_t *ids,
                              float scale);
lora_status lr_linear_forward(lora_device *device, lora_view y, lora_view x, const lora_linear *linear,
                              int32_t accumulate);
lora_status lr_linear_backward(lora_device *device, lora_view grad_x, lora_view grad_y, lora_view x,
                               const lora_linear *linear, int32_t accumulate);
lora_status lr_norm_forward(lora_device *device, lora_view y, lora_view statistics, lora_view x, const lora_norm *norm);
lora_status lr_norm_backward(lora_device *device, lora_view grad_x, lora_view grad_y, lora_view x, lora_view statistics,
                             const lora_norm *norm, int32_t accumulate);
lora_status lr_rotary(lora_device *device, lora_view x, const lora_rotary *rotary);
lora_status lr_attention_forward(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                                 const lora_attention *attention);
lora_status lr_attention_backward(lora_device *device, lora_view grad_q, lora_view grad_k, lora_view grad_v,
                                  lora_view grad_y, lora_view y, lora_view log_sum, lora_view q,
                                  const lora_attention *attention);
lora_status lr_gate_forward(lora_device *device, lora_view y, lora_view gate, lora_view up, lora_view gate_copy,
                            lora_view up_copy, int32_t activation);
lora_status lr_gate_backward(lora_device *device, lora_view grad_gate, lora_view grad_up, lora_view grad_y,
                             lora_view gate, lora_view up, int32_t activation);
lora_status lr_cross_entropy(lora_device *device, lora_view losses, lora_view logits, const int32_t *labels,
                             float grad_scale, float softcap);
lora_status lr_head_loss(lora_device *device, lora_view losses, lora_view grad_hidden, lora_view hidden,
                         const lora_linear *head, const int32_t *labels, float grad_scale, float softcap);
lora_status lr_summarise_logits(lora_device *device, lora_view best, lora_view log_sum, lora_view logits,
                                float softcap);
lora_status lr_square_sum(lora_device *device, const lora_view *tensors, int64_t count, double *sum);
lora_status lr_adamw(lora_device *device, const lora_parameter *parameters, int64_t count, const lora_adamw *settings);
lora_status lr_merge(lora_device *device, lora_view weight, lora_view a, lora_view b, float scale, int32_t transposed);

#endif
