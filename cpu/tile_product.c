// A is converted once, panel by panel of rows. Then panels of B are taken in groups that, packed for a stretch of the
// inner dimension, fit a core's L2 cache; each group, for one chunk of the rows, is a piece of work for a lane. A part
// of a row panel of A that fits the L1 cache meets all panels of the group before the next.
//
// Every number of C is added up in an order that depends on the sizes alone.
#include "cpu/tile_product.h"

#include "cpu/ops.h"

#include <stdatomic.h>

#define LEAST_ROWS 16
#define LANE_BYTES (1 << 20)  // a packed group
#define STRETCH 64            // steps packed at once, at most
#define PART 24               // steps of A in the L1 cache, at most
#define GROUPS_PER_LANE 2
#define MOST_SPLIT_RANK 64    // of a pair; its numbers take three places each
#define STEP_BYTES (LR_TILE_NUMBERS * sizeof(uint16_t))

#if defined(__x86_64__)

typedef struct tile_job {
    const lr_product_term *terms;
    int32_t count;
    bool accumulate;
    int64_t m, n;
    float *c;
    int64_t c_stride;
    int64_t steps, row_panels, panels; // of all terms; of A; of B
    int64_t groups, chunks, stretch;
    uint16_t *a; // [row_panels][steps][LR_TILE_NUMBERS]
    uint16_t *lanes;
    atomic_int_fast64_t next;
} tile_job;

static bool is_base(const tile_job *job, const lr_product_term *term)
{
    return term == job->terms;
}

static uint64_t a_bytes(int64_t rows, int64_t steps)
{
    return (uint64_t)lr_pieces(rows, LR_TILE_PANEL) * (uint64_t)steps * STEP_BYTES;
}

bool lr_tile_product_suits(const lora_device *device, int64_t m, int32_t count, const lr_product_term *terms)
{
    if (!(device->features & LORA_CPU_AMX_BF16) || m < LEAST_ROWS || terms[0].b.type != LORA_TYPE_BF16) return false;
    for (int32_t t = 0; t < count; t++) {
        const bool pair = t > 0 && terms[t].b.type == LORA_TYPE_F32 && terms[t].k <= MOST_SPLIT_RANK;
        if (terms[t].a.transposed || (t > 0 && !pair)) return false;
    }
    return true;
}

uint64_t lr_tile_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    if (!(device->features & LORA_CPU_AMX_BF16)) return 0;
    const int64_t steps = lr_pieces(max_inner, LR_TILE_STEP) + 8 * LR_PRODUCT_TERMS; // pairs: 6 steps at most
    return a_bytes(max_rows, steps) + (uint64_t)device->threads * LANE_BYTES;
}

static void take_panel(int64_t panel, void *argument)
{
    const tile_job *job = argument;
    const int64_t i = panel * LR_TILE_PANEL, rows = lr_smaller(LR_TILE_PANEL, job->m - i);
    uint16_t *target = job->a + panel * job->steps * LR_TILE_NUMBERS;
    for (const lr_product_term *term = job->terms; term < job->terms + job->count; term++) {
        lr_amx_take(target, term, is_base(job, term), i, rows);
        target += lr_amx_steps(term, is_base(job, term)) * LR_TILE_NUMBERS;
    }
}

// Steps [first, last) of a panel of B.
static void pack_panel(const tile_job *job, int64_t panel, int64_t first, int64_t last, uint16_t *target)
{
    const int64_t j = panel * LR_TILE_PANEL, width = lr_smaller(LR_TILE_PANEL, job->n - j);
    int64_t begin = 0;
    for (const lr_product_term *term = job->terms; term < job->terms + job->count; term++) {
        const int64_t end = begin + lr_amx_steps(term, is_base(job, term));
        const int64_t from = lr_larger(first, begin), to = lr_smaller(last, end);
        if (from < to)
            lr_amx_pack(target + (from - first) * LR_TILE_NUMBERS, term, is_base(job, term), from - begin, to - from, j,
                        width);
        begin = end;
    }
}

// Row panels [row, row_end) times the packed panels [panel, panel_end), steps [first, last).
static void multiply_group(const tile_job *job, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end,
                           int64_t first, int64_t last, const uint16_t *packed)
{
    const int64_t parts = lr_pieces(last - first, PART), count = last - first;
    for (; row < row_end; row++) {
        const int64_t i = row * LR_TILE_PANEL, rows = lr_smaller(LR_TILE_PANEL, job->m - i);
        for (int64_t part = 0; part < parts; part++) {
            const int64_t from = part * count / parts, steps = (part + 1) * count / parts - from;
            const uint16_t *a = job->a + (row * job->steps + first + from) * LR_TILE_NUMBERS;
            for (int64_t p = panel; p < panel_end; p++) {
                const int64_t j = p * LR_TILE_PANEL;
                lr_amx_multiply(rows, lr_smaller(LR_TILE_PANEL, job->n - j), steps, a,
                                packed + ((p - panel) * count + from) * LR_TILE_NUMBERS,
                                job->accumulate || first + from > 0, job->c + i * job->c_stride + j, job->c_stride);
            }
        }
    }
}

static void run_lane(int64_t lane, void *argument)
{
    tile_job *job = argument;
    uint16_t *packed = job->lanes + (uint64_t)lane * (LANE_BYTES / sizeof *packed);
    lr_amx_begin();
    for (;;) {
        const int64_t piece = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (piece >= job->groups * job->chunks) break;
        const int64_t group = piece / job->chunks, chunk = piece % job->chunks;
        const int64_t panel = group * job->panels / job->groups, panel_end = (group + 1) * job->panels / job->groups;
        const int64_t stretches = lr_pieces(job->steps, job->stretch);
        for (int64_t s = 0; s < stretches; s++) {
            const int64_t first = s * job->steps / stretches, last = (s + 1) * job->steps / stretches;
            for (int64_t p = panel; p < panel_end; p++)
                pack_panel(job, p, first, last, packed + (p - panel) * (last - first) * LR_TILE_NUMBERS);
            multiply_group(job, chunk * job->row_panels / job->chunks, (chunk + 1) * job->row_panels / job->chunks, panel,
                           panel_end, first, last, packed);
        }
    }
    lr_amx_end();
}

void lr_tile_product(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                     bool accumulate, float *c, int64_t c_stride)
{
    tile_job job = {.terms = terms, .count = count, .accumulate = accumulate, .m = m, .n = n, .c = c,
                    .c_stride = c_stride};
    for (int32_t t = 0; t < count; t++) job.steps += lr_amx_steps(&terms[t], t == 0);
    job.row_panels = lr_pieces(m, LR_TILE_PANEL);
    job.panels = lr_pieces(n, LR_TILE_PANEL);
    job.stretch = lr_pieces(job.steps, lr_pieces(job.steps, STRETCH));
    const int64_t most = LANE_BYTES / (job.stretch * (int64_t)STEP_BYTES), lanes = device->threads;
    job.groups = lr_larger(lr_pieces(job.panels, most), lr_smaller(job.panels, lanes * GROUPS_PER_LANE));
    job.chunks = lr_smaller(job.row_panels, lr_pieces(lanes * GROUPS_PER_LANE, job.groups));
    job.a = (uint16_t *)(void *)device->workspace;
    job.lanes = job.a + a_bytes(m, job.steps) / sizeof *job.a;
    atomic_init(&job.next, 0);
    lr_cpu_parallel(device, job.row_panels, take_panel, &job);
    lr_cpu_parallel(device, lanes, run_lane, &job);
}

#else

bool lr_tile_product_suits(const lora_device *device, int64_t m, int32_t count, const lr_product_term *terms)
{
    return false;
}

void lr_tile_product(lora_device *device, int64_t m, int64_t n, int32_t count, const lr_product_term *terms,
                     bool accumulate, float *c, int64_t c_stride)
{
}

uint64_t lr_tile_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    return 0;
}

#endif
