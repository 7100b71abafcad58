// Matrix products for any processor: vectors of four, which compilers map to SSE2, NEON or scalar code.
#define LR_WIDTH 4
#define TILE_ROWS 6
#define DOT_ROWS 3
#define DOT_COLS 2
#define ROW_COLS 4
#define SWEEP_ROWS 4
#define KERNELS lr_product_plain
#include "cpu/product_vector.h"
