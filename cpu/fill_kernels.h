// Puts the kernels compiled in this file into the table.
#ifndef LR_FILL_KERNELS_H
#define LR_FILL_KERNELS_H

#include "cpu/convert_kernels.h"
#include "cpu/dropout_kernel.h"
#include "cpu/row_kernels.h"
#include "cpu/tile_kernels.h"

static inline void fill_kernels(lr_kernels *kernels)
{
    kernels->add = row_add;
    kernels->scale = row_scale;
    kernels->fill = row_fill;
    kernels->dot = row_dot;
    kernels->sum = row_sum;
    kernels->square_sum = row_square_sum;
    kernels->square_sum_exact = row_square_sum_exact;
    kernels->maximum = row_maximum;
    kernels->exp_sum = row_exp_sum;
    kernels->exp_in_place = row_exp_in_place;
    kernels->softmax_gradient = row_softmax_gradient;
    kernels->softcap = row_softcap;
    kernels->norm = row_norm;
    kernels->norm_sums = row_norm_sums;
    kernels->norm_gradient = row_norm_gradient;
    kernels->norm_weight_gradient = row_norm_weight_gradient;
    kernels->rotate_half = row_rotate_half;
    kernels->gate = row_gate;
    kernels->gate_gradient = row_gate_gradient;
    kernels->softmax_step = row_softmax_step;
    kernels->attention_gradient = row_attention_gradient;
    kernels->dots = tile_dots;
    kernels->tile_product = tile_product;
    kernels->transpose = tile_transpose;
    kernels->dropout = dropout_row;
    kernels->adamw = row_adamw;
    kernels->from_f32[LORA_TYPE_F32] = f32_from_f32;
    kernels->from_f32[LORA_TYPE_F16] = f16_from_f32;
    kernels->from_f32[LORA_TYPE_BF16] = bf16_from_f32;
}

#endif
