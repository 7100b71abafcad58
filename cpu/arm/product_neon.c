// Matrix products for arm64: 32 registers of four, 24 of them sums of a 12 x 8 tile.
#define LR_WIDTH 4
#define TILE_ROWS 12
#define DOT_ROWS 4
#define DOT_COLS 3
#define ROW_COLS 8
#define SWEEP_ROWS 8
#define KERNELS lr_product_neon
#include "cpu/product_vector.h"
