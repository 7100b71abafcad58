#include "cpu/cut.h"

#define PACKING 3 // numbers of A read for each group cost as much as one of B packed for each chunk

lr_cut lr_cut_product(int64_t threads, int64_t m, int64_t rows, int64_t n, int64_t cols, int64_t most)
{
    lr_cut cut = {.row_panels = lr_pieces(m, rows), .panels = lr_pieces(n, cols)};
    const int64_t least = lr_pieces(cut.panels, most);
    int64_t cheapest = INT64_MAX;
    cut.groups = least, cut.chunks = 1;
    // All threads are to have the same number of pieces.
    for (int64_t groups = least; groups <= lr_smaller(cut.panels, least + threads - 1); groups++) {
        const int64_t chunks = lr_smaller(cut.row_panels, lr_pieces(threads, groups));
        const int64_t cost = m * groups + PACKING * n * chunks;
        if (groups * chunks % threads != 0 || cost >= cheapest) continue;
        cheapest = cost;
        cut.groups = groups, cut.chunks = chunks;
    }
    if (cheapest == INT64_MAX) cut.chunks = lr_smaller(cut.row_panels, lr_pieces(threads, least));
    return cut;
}

lr_piece lr_cut_piece(const lr_cut *cut, int64_t index)
{
    const int64_t group = index / cut->chunks, chunk = index % cut->chunks;
    return (lr_piece){chunk * cut->row_panels / cut->chunks, (chunk + 1) * cut->row_panels / cut->chunks,
                      group * cut->panels / cut->groups, (group + 1) * cut->panels / cut->groups};
}
