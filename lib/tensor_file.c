#include "lib/tensor_file.h"

// Numbers in a block, bytes of a block. INT8 and NF4: without their scales.
static const struct {
    int16_t numbers, bytes;
} blocks[LORA_TYPE_COUNT] = {
    [LORA_TYPE_F32] = {1, 4},      [LORA_TYPE_F16] = {1, 2},      [LORA_TYPE_BF16] = {1, 2},
    [LORA_TYPE_I32] = {1, 4},      [LORA_TYPE_INT8] = {1, 1},     [LORA_TYPE_NF4] = {64, 32},
    [LORA_TYPE_Q8_0] = {32, 34},   [LORA_TYPE_Q4_0] = {32, 18},   [LORA_TYPE_Q4_1] = {32, 20},
    [LORA_TYPE_Q5_0] = {32, 22},   [LORA_TYPE_Q5_1] = {32, 24},   [LORA_TYPE_Q4_K] = {256, 144},
    [LORA_TYPE_Q5_K] = {256, 176}, [LORA_TYPE_Q6_K] = {256, 210},
};

int64_t lr_type_block(lora_type type)
{
    return blocks[type].numbers;
}

int64_t lr_type_block_bytes(lora_type type)
{
    return blocks[type].bytes;
}

int64_t lr_type_scales(lora_type type, int64_t rows, int64_t cols)
{
    return type == LORA_TYPE_INT8 ? rows : type == LORA_TYPE_NF4 ? rows * (cols / blocks[type].numbers) : 0;
}

bool lr_type_bytes(lora_type type, int64_t rows, int64_t cols, uint64_t *bytes)
{
    if (type < 0 || type >= LORA_TYPE_COUNT || rows < 0 || cols < 0 || cols % lr_type_block(type) != 0) return false;
    uint64_t row;
    return lr_multiply((uint64_t)(cols / lr_type_block(type)), (uint64_t)lr_type_block_bytes(type), &row) &&
           lr_multiply(row, (uint64_t)rows, bytes) && *bytes <= INT64_MAX;
}
