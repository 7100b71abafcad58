#include "cpu/cut.h"

// Costs for each inner number: of a number of A read for a group, of one of B packed for a chunk, of one of A that
// comes from another thread's core, which may be far away, and of PER_NUMBER multiplications.
#define PACKING 3
#define CROSSING 8
#define PER_NUMBER 4

#define PIECES_PER_THREAD 4     // at least, of enough columns
#define PIECE_NUMBERS (1 << 18) // of B, at most
#define LEAST_COLUMNS 16

// Of what the busiest thread multiplies, as if all were as busy, and of what moves.
static int64_t cost_of(const lr_cut *cut, int64_t threads, int64_t m, int64_t rows, int64_t n, int64_t cols)
{
    const int64_t largest = lr_pieces(cut->row_panels, cut->chunks) * rows * lr_pieces(cut->panels, cut->groups) * cols;
    const int64_t rounds = lr_pieces(lr_cut_pieces(cut), threads);
    const int64_t crossing = m * threads / cut->chunks - m;
    return threads * rounds * largest / PER_NUMBER + m * cut->groups + PACKING * n * cut->chunks + CROSSING * crossing;
}

lr_cut lr_cut_product(int64_t threads, int64_t m, int64_t rows, int64_t n, int64_t cols, int64_t most)
{
    lr_cut best = {0}, cut = {.row_panels = lr_pieces(m, rows), .panels = lr_pieces(n, cols)};
    const int64_t least = lr_pieces(cut.panels, most), most_groups = lr_smaller(cut.panels, least + 2 * threads);
    int64_t cheapest = INT64_MAX;
    for (cut.chunks = 1; cut.chunks <= lr_smaller(cut.row_panels, threads); cut.chunks++)
        for (cut.groups = least; cut.groups <= most_groups; cut.groups++) {
            const int64_t cost = cost_of(&cut, threads, m, rows, n, cols);
            if (cost >= cheapest) continue;
            cheapest = cost;
            best = cut;
        }
    return best;
}

lr_piece lr_cut_piece(const lr_cut *cut, int64_t index)
{
    const int64_t chunk = index / cut->groups, group = index % cut->groups;
    return (lr_piece){chunk * cut->row_panels / cut->chunks, (chunk + 1) * cut->row_panels / cut->chunks,
                      group * cut->panels / cut->groups, (group + 1) * cut->panels / cut->groups};
}

int64_t lr_cut_columns(int64_t threads, int64_t n, int64_t inner, int64_t cols)
{
    const int64_t share = lr_pieces(n, threads * PIECES_PER_THREAD), most = PIECE_NUMBERS / lr_larger(inner, 1);
    return lr_pieces(lr_larger(LEAST_COLUMNS, lr_smaller(share, most)), cols) * cols;
}
