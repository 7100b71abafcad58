// Matrix products whose B is bf16, on the processor's tile registers (AMX): A is rounded to bf16 on its way, sums are
// f32. Much faster than vectors, and as exact as any product of bf16 numbers.
#ifndef LR_TILE_PRODUCT_H
#define LR_TILE_PRODUCT_H

#include "cpu/product.h"

// Whether this device has them and this is a product for them: many rows, the first term's B bf16, the others f32
// (low-rank pairs: their numbers are taken as sums of two bf16 numbers, which keeps 16 bits of each).
bool lr_tile_product_suits(const lora_device *device, int64_t m, int32_t count, const lr_product_term *terms);

// lr_product_sum for what suits.
void lr_tile_product(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                     bool accumulate, float *c, int64_t c_stride);

// Bytes of workspace that such products of at most these sizes need; 0 on a device without tiles.
uint64_t lr_tile_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner);

// The kernels, compiled for AMX. Numbers are bf16 in steps of LR_TILE_STEP inner numbers.
#define LR_TILE_STEP 32
#define LR_TILE_PANEL 32                                   // rows of A and C, columns of B and C
#define LR_TILE_NUMBERS (LR_TILE_STEP * LR_TILE_PANEL)     // of a panel's step

// Steps that a term takes, and the first term's numbers are followed by others'.
int64_t lr_amx_steps(const lr_product_term *term, bool is_base);
// target[step][row][LR_TILE_STEP]: rows [i, i + rows) of A times alpha, zeros below them.
void lr_amx_take(uint16_t *target, const lr_product_term *term, bool is_base, int64_t i, int64_t rows);
// target[step][half of the columns][pair of inner numbers][column][2]: columns [j, j + width) of B for `steps` steps
// from step `first` on, zeros beside them.
void lr_amx_pack(uint16_t *target, const lr_product_term *term, bool is_base, int64_t first, int64_t steps, int64_t j,
                 int64_t width);
// C[rows, width] (+)= A B over `steps` steps. Between lr_amx_begin and lr_amx_end on this thread.
void lr_amx_multiply(int64_t rows, int64_t width, int64_t steps, const uint16_t *a, const uint16_t *b, bool accumulate,
                     float *c, int64_t c_stride);
void lr_amx_begin(void);
void lr_amx_end(void);

#endif
