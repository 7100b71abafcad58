// Matrix products with AVX-512: 32 registers, 28 of them sums of a 14 x 32 tile.
#define LR_WIDTH 16
#define TILE_ROWS 14
#define DOT_ROWS 4
#define DOT_COLS 3
#define ROW_COLS 8
#define SWEEP_ROWS 8
#define KERNELS lr_product_avx512
#include "cpu/product_vector.h"
#include "cpu/x86/winograd.h"
