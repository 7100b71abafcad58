// The CPU backend: plain C for every op, and kernels per instruction set behind one table of pointers (cpu/kernels.h).
//
//   device.c           threads, workspace, buffers          product.c, lowrank.c    matrix products
//   linear.c, norm.c, rotary.c, attention_*.c, gate.c, embedding.c, loss.c, optimizer.c, convert.c, merge.c   the ops
//   kernels.c          plain C kernels, and the choice      x86/                    kernels per instruction set
//   row_kernels.h, tile_kernels.h, convert_kernels.h        the kernels' text, over vector.h
#include "cpu/device.h"
#include "cpu/ops.h"

static const lora_backend backend = {
    .abi = LORA_BACKEND_ABI,
    .name = "cpu",
    .open = lr_device_open,
    .close = lr_device_close,
    .describe = lr_device_describe,
    .supports = lr_device_supports,
    .memory = lr_device_memory,
    .reserve = lr_device_reserve,
    .workspace_bytes = lr_device_workspace_bytes,
    .synchronize = lr_device_synchronize,
    .buffer_create = lr_buffer_create,
    .buffer_wrap = lr_buffer_wrap,
    .buffer_free = lr_buffer_free,
    .buffer_host = lr_buffer_host,
    .buffer_write = lr_buffer_write,
    .buffer_read = lr_buffer_read,
    .fill = lr_fill,
    .convert = lr_convert,
    .add = lr_add_scaled,
    .embed_forward = lr_embed_forward,
    .embed_backward = lr_embed_backward,
    .linear_forward = lr_linear_forward,
    .linear_backward = lr_linear_backward,
    .norm_forward = lr_norm_forward,
    .norm_backward = lr_norm_backward,
    .rotary = lr_rotary,
    .attention_forward = lr_attention_forward,
    .attention_backward = lr_attention_backward,
    .gate_forward = lr_gate_forward,
    .gate_backward = lr_gate_backward,
    .cross_entropy = lr_cross_entropy,
    .head_loss = lr_head_loss,
    .summarise_logits = lr_summarise_logits,
    .square_sum = lr_square_sum,
    .adamw = lr_adamw,
    .merge = lr_merge,
};

const lora_backend *lr_cpu_backend(void)
{
    return &backend;
}
