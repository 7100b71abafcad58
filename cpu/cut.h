// How a product of packed operands is cut into pieces for the device's threads: a piece is a group of B's panels, which
// its thread packs, times a chunk of the row panels of A. Pieces follow one another chunk by chunk: with a chunk for
// each thread, rows stay with the threads that take them and that run other ops on them.
#ifndef LR_CUT_H
#define LR_CUT_H

#include "cpu/ops.h"

typedef struct lr_cut {
    int64_t row_panels, panels; // of A and of B
    int64_t chunks, groups;
} lr_cut;

typedef struct lr_piece {
    int64_t row, row_end, panel, panel_end;
} lr_piece;

// For `m` rows of A in panels of `rows`, and `n` columns of B in panels of `cols` of which `most` make a group at most.
lr_cut lr_cut_product(int64_t threads, int64_t m, int64_t rows, int64_t n, int64_t cols, int64_t most);

static inline int64_t lr_cut_pieces(const lr_cut *cut)
{
    return cut->chunks * cut->groups;
}

lr_piece lr_cut_piece(const lr_cut *cut, int64_t index);

// A product with few rows of A is cut by columns alone, whose weights are read once where they lie. How many of them, a
// multiple of `cols`, make a piece: few enough that who is first at the end does not wait for long.
int64_t lr_cut_columns(int64_t threads, int64_t n, int64_t inner, int64_t cols);

#endif
