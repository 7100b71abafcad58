// Matrix products with AVX2, FMA and F16C: 16 registers, 12 of them sums of a 6 x 16 tile.
#define LR_WIDTH 8
#define TILE_ROWS 6
#define DOT_ROWS 3
#define DOT_COLS 2
#define ROW_COLS 4
#define SWEEP_ROWS 4
#define KERNELS lr_product_avx2
#include "cpu/product_vector.h"
