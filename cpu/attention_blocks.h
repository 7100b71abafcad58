// Products of blocks of attention. In f32 they take their operands where they lie, or transposed; those kept in bf16
// are loaded. Coarse attention rounds them to bf16 and packs them for cpu/bf16_product.h.
#ifndef LR_ATTENTION_BLOCKS_H
#define LR_ATTENTION_BLOCKS_H

#include "cpu/attention.h"

#define LR_BLOCK 64 // rows or columns of a block, at most; the other side may be a whole head
_Static_assert(LR_BLOCK >= LR_QUERY_BLOCK && LR_BLOCK >= LR_KEY_BLOCK, "a block of queries or keys is a block");

typedef struct lr_blocks {
    const lora_device *device;
    bool packed;
} lr_blocks;

// Rooms for operands.
typedef struct lr_head_room {
    _Alignas(64) float numbers[LR_BLOCK * LR_HEAD_DIM];
} lr_head_room;
typedef struct lr_square_room {
    _Alignas(64) uint16_t numbers[LR_BLOCK * LR_BLOCK];
} lr_square_room;

typedef struct lr_block_operand {
    const float *numbers;
    int64_t row, column;    // numbers from row to row, and from column to column
    const uint16_t *packed; // instead
} lr_block_operand;

// Rows of q, keys, values or gradients as an operand on either side.
typedef struct lr_block_rows {
    lr_block_operand left, right;
} lr_block_rows;

#define LR_LEFT 1
#define LR_RIGHT 2

lr_blocks lr_blocks_for(const lora_device *device, const lora_attention *attention);
// Around the products of a piece, on its thread.
void lr_blocks_begin(const lr_blocks *blocks);
void lr_blocks_end(const lr_blocks *blocks);

// Rows of one head: [rows, cols] of a view from `row` and `column` on, f32 or bf16.
typedef struct lr_head_rows {
    lora_view view;
    int64_t row, column, rows, cols;
} lr_head_rows;

// x for the sides that are wanted.
lr_block_rows lr_block_of_rows(const lr_blocks *blocks, lr_head_room *room, const lr_head_rows *x, int sides);
// x transposed, on the right.
lr_block_operand lr_block_of_columns(const lr_blocks *blocks, lr_head_room *room, const lr_head_rows *x);
// x[rows, cols], with rows of LR_KEY_BLOCK numbers, or its transpose, on the left. It may be rounded.
lr_block_operand lr_block_of_square(const lr_blocks *blocks, lr_square_room *room, const float *x, int64_t rows,
                                    int64_t cols, bool transposed);

// C[rows, cols] (+)= left[rows, depth] right[depth, cols]
void lr_block_product(const lr_blocks *blocks, int64_t rows, int64_t cols, int64_t depth, const lr_block_operand *left,
                      const lr_block_operand *right, bool accumulate, float *c, int64_t c_stride);

#endif
