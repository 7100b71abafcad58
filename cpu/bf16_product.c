// The inner dimension is taken in stretches. For each, A is converted, panel by panel of rows; then panels of B are
// taken in groups that, packed, fit a core's L2 cache beside what is fetched for the next group (cpu/cut.h). A row
// panel of A meets all panels of the group before the next.
//
// Every number of C is added up in an order that depends on the sizes alone.
#include "cpu/bf16_product.h"

#include "cpu/cut.h"
#include "cpu/integer_product.h"
#include "cpu/ops.h"

#include <string.h>

#define LANE_BYTES (1 << 19) // a packed group
#define STRETCH 64           // steps at once, at most
#define DOTS_BLOCKS 3        // in which dots pass over a row panel
#define MOST_PAIR_RANK 64
#define PAIR_STEPS 12        // of a pair of that rank, at most
#define STEP_BYTES (LR_BF16_NUMBERS * sizeof(uint16_t))
#define ROOM_BYTES (4 << 20) // of A: more rows are taken in blocks

#if defined(__x86_64__)

typedef struct bf16_job {
    const lora_device *device;
    const lr_product_term *terms;
    int32_t count;
    lr_bf16_parts parts;
    bool tiles, accumulate;
    int64_t m, n;
    float *c;
    int64_t c_stride;
    lr_cut cut;
    int64_t first, steps, pair_steps; // of this stretch; pairs come with the last
    uint16_t *a;                      // [row_panels][a_numbers]
    int64_t a_numbers, b_numbers;     // of a panel
} bf16_job;

// 8-bit dots are faster than these dots, and 8-bit tiles than these tiles.
static bool is_faster_in_8_bits(const lora_device *device, int64_t m, const lr_product_term *term)
{
    return lr_integer_product_suits(device, m, term) &&
           lr_integer_has_tiles(device, term) == lr_bf16_has_tiles(device);
}

// Dots in three parts are no faster than f32.
static bool suits_units(const lora_device *device, int64_t m, const lr_product_term *term)
{
    const bool dots = lr_bf16_has_dots(device) && (term->coarse & LORA_COARSE_BF16);
    return (lr_bf16_has_tiles(device) || dots) && !is_faster_in_8_bits(device, m, term);
}

bool lr_bf16_product_suits(const lora_device *device, int64_t m, int32_t count, const lr_product_term *terms)
{
    const lora_type type = terms[0].b.type;
    if (m < LR_BF16_LEAST_ROWS || terms[0].a.transposed || terms[0].k == 0 || type == LORA_TYPE_F32 ||
        type == LORA_TYPE_F16 || (type != LORA_TYPE_BF16 && !(terms[0].coarse & LORA_COARSE_BF16)))
        return false;
    if (!suits_units(device, m, terms)) return false;
    for (int32_t t = 1; t < count; t++)
        if (terms[t].a.transposed || terms[t].b.type != LORA_TYPE_F32 || terms[t].k > MOST_PAIR_RANK) return false;
    return true;
}

static lr_bf16_parts parts_of(const lr_product_term *term)
{
    return term->coarse & LORA_COARSE_BF16 ? (lr_bf16_parts){.a = 1, .pair = 3} : (lr_bf16_parts){.a = 3, .pair = 6};
}

uint64_t lr_bf16_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    if (!lr_bf16_blocks_suit(device)) return 0;
    const int64_t parts = lr_bf16_has_tiles(device) ? 3 : 1,
                  steps = lr_smaller(STRETCH, lr_pieces(max_inner, LR_BF16_STEP));
    const int64_t a_steps = parts * steps + LR_PRODUCT_TERMS * PAIR_STEPS;
    const int64_t room = lr_pieces(max_rows, LR_BF16_PANEL) * a_steps * (int64_t)STEP_BYTES;
    return (uint64_t)(lr_smaller(room, ROOM_BYTES) + (int64_t)device->threads * LANE_BYTES);
}

static void take_panel(int64_t panel, void *argument)
{
    const bf16_job *job = argument;
    const int64_t i = panel * LR_BF16_PANEL, rows = lr_smaller(LR_BF16_PANEL, job->m - i);
    uint16_t *target = job->a + panel * job->a_numbers;
    lr_bf16_take(target, job->terms, &job->parts, false, job->first, job->steps, i, rows);
    target += job->steps * job->parts.a * LR_BF16_NUMBERS;
    for (int32_t t = 1; t < job->count && job->pair_steps; t++) {
        const int64_t steps = lr_bf16_steps(&job->terms[t], &job->parts, true);
        lr_bf16_take(target, &job->terms[t], &job->parts, true, 0, steps, i, rows);
        target += steps * LR_BF16_NUMBERS;
    }
}

static void pack_panels(const bf16_job *job, int64_t panel, int64_t end, uint16_t *target)
{
    const int64_t j = panel * LR_BF16_PANEL, width = lr_smaller(end * LR_BF16_PANEL, job->n) - j;
    lr_bf16_pack(target, job->b_numbers, job->terms, &job->parts, false, job->first, job->steps, j, width);
    target += job->steps * LR_BF16_NUMBERS;
    for (int32_t t = 1; t < job->count && job->pair_steps; t++) {
        const int64_t steps = lr_bf16_steps(&job->terms[t], &job->parts, true);
        lr_bf16_pack(target, job->b_numbers, &job->terms[t], &job->parts, true, 0, steps, j, width);
        target += steps * LR_BF16_NUMBERS;
    }
}

// A panel of C, of which rows and columns may be missing.
static void multiply(bool tiles, int64_t rows, int64_t width, const lr_bf16_run *run, bool accumulate, float *c,
                     int64_t c_stride)
{
    float whole[LR_BF16_PANEL * LR_BF16_PANEL];
    const bool is_part = rows < LR_BF16_PANEL || width < LR_BF16_PANEL;
    (tiles ? lr_amx_multiply : lr_bf16_dots)(run, accumulate && !is_part, is_part ? whole : c,
                                             is_part ? LR_BF16_PANEL : c_stride);
    for (int64_t i = 0; i < rows && is_part; i++, c += c_stride)
        for (int64_t j = 0; j < width; j++) c[j] = whole[i * LR_BF16_PANEL + j] + (accumulate ? c[j] : 0);
}

// Tiles run ahead of their memory: the next row panel of A.
static lr_bf16_ahead next_of_a(const bf16_job *job, int64_t row, int64_t panels)
{
    const int64_t lines = job->a_numbers * (int64_t)sizeof *job->a / 64;
    return (lr_bf16_ahead){.row = (const char *)(job->a + (row + 1) * job->a_numbers), .rows = 1, .lines = lines,
                           .pace = lr_pieces(lines, panels * job->steps)};
}

// Dots leave time for the weights of the group that this thread will pack next, most likely: the chunk's next.
static lr_bf16_ahead next_of_b(const bf16_job *job, int64_t index)
{
    const int64_t next = index + 1;
    if (job->tiles || next % job->cut.groups == 0) return (lr_bf16_ahead){0};
    const lr_piece piece = lr_cut_piece(&job->cut, next);
    const lr_operand *b = &job->terms[0].b;
    const int64_t i = job->first * LR_BF16_STEP, depth = lr_smaller(job->terms[0].k - i, job->steps * LR_BF16_STEP);
    const int64_t j = piece.panel * LR_BF16_PANEL, width = lr_smaller(piece.panel_end * LR_BF16_PANEL, job->n) - j;
    const int64_t row = b->transposed ? j : i, col = b->transposed ? i : j;
    lr_bf16_ahead ahead = {.stride = (int64_t)lr_row_bytes(b->type, b->stride), .rows = b->transposed ? width : depth};
    ahead.row = (const char *)b->data + row * ahead.stride + lr_row_bytes(b->type, col);
    const int64_t into_line = (int64_t)((uintptr_t)ahead.row % 64);
    ahead.row -= into_line;
    ahead.lines = lr_pieces(into_line + (int64_t)lr_row_bytes(b->type, b->transposed ? depth : width), 64);
    const int64_t meets = (piece.row_end - piece.row) * (piece.panel_end - piece.panel);
    ahead.pace = lr_pieces(ahead.rows * ahead.lines, meets * DOTS_BLOCKS * job->steps);
    return ahead;
}

// Row panel `row` times the packed panels [panel, panel_end).
static void multiply_row(const bf16_job *job, int64_t row, int64_t panel, int64_t panel_end, const uint16_t *packed,
                         lr_bf16_ahead *ahead)
{
    const int64_t i = row * LR_BF16_PANEL, rows = lr_smaller(LR_BF16_PANEL, job->m - i);
    lr_bf16_run run = {.steps = job->steps, .parts = job->parts.a, .a = job->a + row * job->a_numbers,
                       .pair_steps = job->pair_steps, .ahead = ahead};
    run.pair_a = run.a + job->steps * job->parts.a * LR_BF16_NUMBERS;
    if (job->tiles) *ahead = next_of_a(job, row, panel_end - panel);
    for (int64_t p = panel; p < panel_end; p++, packed += job->b_numbers) {
        const int64_t j = p * LR_BF16_PANEL;
        run.b = packed;
        run.pair_b = packed + job->steps * LR_BF16_NUMBERS;
        multiply(job->tiles, rows, lr_smaller(LR_BF16_PANEL, job->n - j), &run, job->accumulate,
                 job->c + i * job->c_stride + j, job->c_stride);
    }
}

static void run_piece(int64_t index, void *room, void *argument)
{
    const bf16_job *job = argument;
    const lr_piece piece = lr_cut_piece(&job->cut, index);
    pack_panels(job, piece.panel, piece.panel_end, room);
    lr_bf16_ahead ahead = next_of_b(job, index);
    lr_bf16_begin(job->device);
    for (int64_t row = piece.row; row < piece.row_end; row++)
        multiply_row(job, row, piece.panel, piece.panel_end, room, &ahead);
    lr_bf16_end(job->device);
}

static void run_stretch(lora_device *device, bf16_job *job)
{
    job->a_numbers = (job->steps * job->parts.a + job->pair_steps) * LR_BF16_NUMBERS;
    job->b_numbers = (job->steps + job->pair_steps) * LR_BF16_NUMBERS;
    const int64_t most = lr_larger(1, LANE_BYTES / (job->b_numbers * (int64_t)sizeof *job->a));
    job->cut = lr_cut_product(device->threads, job->m, LR_BF16_PANEL, job->n, LR_BF16_PANEL, most);
    lr_cpu_parallel(device, job->cut.row_panels, take_panel, job);
    lr_cpu_lanes(device, lr_cut_pieces(&job->cut), LANE_BYTES, NULL, run_piece, job);
    job->accumulate = true;
}

static void product_of_block(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                             bool accumulate, float *c, int64_t c_stride)
{
    bf16_job job = {.device = device,
                    .terms = terms,
                    .count = count,
                    .parts = parts_of(terms),
                    .tiles = lr_bf16_has_tiles(device),
                    .accumulate = accumulate,
                    .m = m,
                    .n = n,
                    .c = c,
                    .c_stride = c_stride};
    job.a = (uint16_t *)(void *)(device->workspace + (uint64_t)device->threads * LANE_BYTES);
    const int64_t steps = lr_bf16_steps(terms, &job.parts, false), stretches = lr_pieces(steps, STRETCH);
    for (int64_t s = 0; s < stretches; s++) {
        job.first = s * steps / stretches;
        job.steps = (s + 1) * steps / stretches - job.first;
        for (int32_t t = 1; t < count && s == stretches - 1; t++)
            job.pair_steps += lr_bf16_steps(&terms[t], &job.parts, true);
        run_stretch(device, &job);
    }
}

void lr_bf16_product(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                     bool accumulate, float *c, int64_t c_stride)
{
    const lr_bf16_parts parts = parts_of(terms);
    lr_product_term shifted[LR_PRODUCT_TERMS];
    int64_t steps = lr_smaller(STRETCH, lr_bf16_steps(terms, &parts, false)) * parts.a;
    for (int32_t t = 1; t < count; t++) steps += lr_bf16_steps(&terms[t], &parts, true);
    const int64_t rows = ROOM_BYTES / (steps * (int64_t)STEP_BYTES) * LR_BF16_PANEL;
    for (int64_t i = 0; i < m; i += rows) {
        lr_terms_from_row(shifted, terms, count, i);
        product_of_block(device, lr_smaller(rows, m - i), n, count, shifted, accumulate, c + i * c_stride, c_stride);
    }
}

// ---- blocks ---------------------------------------------------------------------------------------------------------

bool lr_bf16_blocks_suit(const lora_device *device)
{
    return lr_bf16_has_tiles(device) || lr_bf16_has_dots(device);
}

static const lr_bf16_parts block_parts = {.a = 1, .pair = 3};

void lr_bf16_left(uint16_t *left, const lr_operand *x, int64_t rows, int64_t depth)
{
    const lr_product_term term = {.a = *x, .k = depth, .alpha = 1};
    const int64_t steps = lr_bf16_steps(&term, &block_parts, false);
    for (int64_t i = 0; i < rows; i += LR_BF16_PANEL, left += steps * LR_BF16_NUMBERS)
        lr_bf16_take(left, &term, &block_parts, false, 0, steps, i, lr_smaller(LR_BF16_PANEL, rows - i));
}

void lr_bf16_right(uint16_t *right, const lr_operand *x, int64_t depth, int64_t cols)
{
    const lr_product_term term = {.b = *x, .k = depth, .alpha = 1};
    const int64_t steps = lr_bf16_steps(&term, &block_parts, false);
    lr_bf16_pack(right, steps * LR_BF16_NUMBERS, &term, &block_parts, false, 0, steps, 0, cols);
}

void lr_bf16_blocks(const lora_device *device, int64_t rows, int64_t cols, int64_t depth, const uint16_t *left,
                    const uint16_t *right, bool accumulate, float *c, int64_t c_stride)
{
    const int64_t steps = lr_pieces(depth, LR_BF16_STEP);
    lr_bf16_ahead nothing = {0};
    lr_bf16_run run = {.steps = steps, .parts = 1, .a = left, .ahead = &nothing};
    for (int64_t i = 0; i < rows; i += LR_BF16_PANEL, run.a += steps * LR_BF16_NUMBERS) {
        run.b = right;
        for (int64_t j = 0; j < cols; j += LR_BF16_PANEL, run.b += steps * LR_BF16_NUMBERS)
            multiply(lr_bf16_has_tiles(device), lr_smaller(LR_BF16_PANEL, rows - i),
                     lr_smaller(LR_BF16_PANEL, cols - j), &run, accumulate, c + i * c_stride + j, c_stride);
    }
}

void lr_bf16_begin(const lora_device *device)
{
    if (lr_bf16_has_tiles(device)) lr_amx_begin();
}

void lr_bf16_end(const lora_device *device)
{
    if (lr_bf16_has_tiles(device)) lr_amx_end();
}

#else

bool lr_bf16_blocks_suit(const lora_device *device)
{
    return false;
}

void lr_bf16_left(uint16_t *left, const lr_operand *x, int64_t rows, int64_t depth)
{
}

void lr_bf16_right(uint16_t *right, const lr_operand *x, int64_t depth, int64_t cols)
{
}

void lr_bf16_blocks(const lora_device *device, int64_t rows, int64_t cols, int64_t depth, const uint16_t *left,
                    const uint16_t *right, bool accumulate, float *c, int64_t c_stride)
{
}

void lr_bf16_begin(const lora_device *device)
{
}

void lr_bf16_end(const lora_device *device)
{
}

bool lr_bf16_product_suits(const lora_device *device, int64_t m, int32_t count, const lr_product_term *terms)
{
    return false;
}

void lr_bf16_product(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                     bool accumulate, float *c, int64_t c_stride)
{
}

uint64_t lr_bf16_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    return 0;
}

#endif
