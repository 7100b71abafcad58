#include "cpu/attention_blocks.h"

#include "cpu/bf16_product.h"

_Static_assert(sizeof(lr_head_room) >= 2 * sizeof(uint16_t) * LR_BF16_BLOCK(LR_BLOCK, LR_HEAD_DIM),
               "a room holds packed rows for both sides");
_Static_assert(LR_BLOCK * LR_BLOCK >= LR_BF16_BLOCK(LR_BLOCK, LR_BLOCK), "a square's room holds a packed square");

lr_blocks lr_blocks_for(const lora_device *device, const lora_attention *attention)
{
    return (lr_blocks){device, (attention->coarse & LORA_COARSE_BF16) && lr_bf16_blocks_suit(device)};
}

void lr_blocks_begin(const lr_blocks *blocks)
{
    if (blocks->packed) lr_bf16_begin(blocks->device);
}

void lr_blocks_end(const lr_blocks *blocks)
{
    if (blocks->packed) lr_bf16_end(blocks->device);
}

lr_block_rows lr_block_of_rows(const lr_blocks *blocks, lr_head_room *room, const float *x, int64_t stride,
                               int64_t rows, int64_t cols, int sides)
{
    if (blocks->packed) {
        uint16_t *left = (uint16_t *)(void *)room->numbers, *right = left + LR_BF16_BLOCK(LR_BLOCK, LR_HEAD_DIM);
        if (sides & LR_LEFT) lr_bf16_left(left, x, stride, rows, cols);
        if (sides & LR_RIGHT) lr_bf16_right(right, x, stride, false, rows, cols);
        return (lr_block_rows){{.packed = left}, {.packed = right}};
    }
    const lr_block_operand as_it_lies = {.numbers = x, .row = stride, .column = 1};
    return (lr_block_rows){as_it_lies, as_it_lies};
}

lr_block_operand lr_block_of_columns(const lr_blocks *blocks, lr_head_room *room, const float *x, int64_t stride,
                                     int64_t rows, int64_t cols)
{
    if (blocks->packed) {
        uint16_t *right = (uint16_t *)(void *)room->numbers;
        lr_bf16_right(right, x, stride, true, cols, rows);
        return (lr_block_operand){.packed = right};
    }
    blocks->device->kernels->transpose(room->numbers, LR_BLOCK, x, stride, rows, cols);
    return (lr_block_operand){.numbers = room->numbers, .row = LR_BLOCK, .column = 1};
}

lr_block_operand lr_block_of_square(const lr_blocks *blocks, lr_square_room *room, const float *x, int64_t rows,
                                    int64_t cols, bool transposed)
{
    if (!blocks->packed && transposed) return (lr_block_operand){.numbers = x, .row = 1, .column = LR_KEY_BLOCK};
    if (!blocks->packed) return (lr_block_operand){.numbers = x, .row = LR_KEY_BLOCK, .column = 1};
    if (transposed) {
        float turned[LR_BLOCK * LR_BLOCK];
        blocks->device->kernels->transpose(turned, LR_BLOCK, x, LR_KEY_BLOCK, rows, cols);
        lr_bf16_left(room->numbers, turned, LR_BLOCK, cols, rows);
    } else {
        lr_bf16_left(room->numbers, x, LR_KEY_BLOCK, rows, cols);
    }
    return (lr_block_operand){.packed = room->numbers};
}

void lr_block_product(const lr_blocks *blocks, int64_t rows, int64_t cols, int64_t depth, const lr_block_operand *left,
                      const lr_block_operand *right, bool accumulate, float *c, int64_t c_stride)
{
    if (blocks->packed)
        lr_bf16_blocks(blocks->device, rows, cols, depth, left->packed, right->packed, accumulate, c, c_stride);
    else
        blocks->device->kernels->tile_product(rows, cols, depth, left->numbers, left->row, left->column,
                                              right->numbers, right->row, c, c_stride, accumulate);
}
