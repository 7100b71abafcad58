// The inner dimension is taken in stretches. For each, A is rounded panel by panel of rows; then panels of B are taken in
// groups that, packed, fit a core's L2 cache. A group, for one chunk of the rows, is a piece of work for a lane.
//
// Every number of C is added up in an order that depends on the sizes alone.
#include "cpu/integer_product.h"

#include "cpu/ops.h"

#include <stdatomic.h>

#define LEAST_ROWS 16
#define STRETCH (4096 / LR_INTEGER_BLOCK) // blocks at once, at most
#define LANE_BYTES (640 << 10)            // a packed group
#define GROUPS_PER_LANE 2
#define ROOM_BYTES (4 << 20) // of A: more rows are taken in turns

#if defined(__x86_64__)

typedef struct integer_job {
    const lr_product_term *term;
    lr_integer_kind kind;
    int64_t m, n, c_stride;
    float *c;
    bool accumulate;
    int64_t row_panels, panels, groups, chunks;
    int64_t p, depth, blocks; // of this stretch
    uint8_t *a, *lanes;
    atomic_int_fast64_t next;
} integer_job;

bool lr_integer_product_suits(const lora_device *device, int64_t m, const lr_product_term *term)
{
    const int32_t needed = LORA_CPU_AVX512 | LORA_CPU_AVX512_VNNI;
    return (device->features & needed) == needed && (term->coarse & LORA_COARSE_INT8) && m >= LEAST_ROWS &&
           !term->a.transposed && term->k > 0 && term->b.type >= LORA_TYPE_INT8 && term->b.type != LORA_TYPE_NF4;
}

uint64_t lr_integer_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    if (!(device->features & LORA_CPU_AVX512_VNNI)) return 0;
    const int64_t blocks = lr_smaller(STRETCH, lr_pieces(max_inner, LR_INTEGER_BLOCK));
    const int64_t room = lr_pieces(max_rows, LR_INTEGER_ROWS) * lr_integer_a_bytes(blocks);
    return (uint64_t)(lr_smaller(room, ROOM_BYTES) + (int64_t)device->threads * LANE_BYTES);
}

static void take_panel(int64_t panel, void *argument)
{
    const integer_job *job = argument;
    const int64_t i = panel * LR_INTEGER_ROWS;
    lr_vnni_take(job->a + panel * lr_integer_a_bytes(job->blocks), &job->kind, job->term, i,
                 lr_smaller(LR_INTEGER_ROWS, job->m - i), job->p, job->depth);
}

static void run_lane(int64_t lane, void *argument)
{
    integer_job *job = argument;
    const int64_t a_bytes = lr_integer_a_bytes(job->blocks), b_bytes = lr_integer_b_bytes(job->blocks);
    uint8_t *packed = job->lanes + lane * LANE_BYTES;
    const lr_operand *b = &job->term->b;
    const float *factors = b->type == LORA_TYPE_INT8 && b->transposed ? b->scales : NULL;
    for (;;) {
        const int64_t piece = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (piece >= job->groups * job->chunks) break;
        const int64_t group = piece / job->chunks, chunk = piece % job->chunks;
        const int64_t panel = group * job->panels / job->groups, panel_end = (group + 1) * job->panels / job->groups;
        for (int64_t q = panel; q < panel_end; q++)
            lr_vnni_pack(packed + (q - panel) * b_bytes, &job->kind, b, job->p, job->depth, q * LR_INTEGER_COLS,
                         lr_smaller(LR_INTEGER_COLS, job->n - q * LR_INTEGER_COLS));
        const int64_t end = (chunk + 1) * job->row_panels / job->chunks;
        for (int64_t row = chunk * job->row_panels / job->chunks; row < end; row++)
            for (int64_t q = panel; q < panel_end; q++) {
                const int64_t i = row * LR_INTEGER_ROWS, j = q * LR_INTEGER_COLS;
                lr_vnni_multiply(lr_smaller(LR_INTEGER_ROWS, job->m - i), lr_smaller(LR_INTEGER_COLS, job->n - j),
                                 job->blocks, &job->kind, job->a + row * a_bytes, packed + (q - panel) * b_bytes,
                                 factors ? factors + j : NULL, job->accumulate, job->c + i * job->c_stride + j,
                                 job->c_stride);
            }
    }
}

static void run_stretch(lora_device *device, integer_job *job)
{
    const int64_t lanes = device->threads;
    job->blocks = lr_pieces(job->depth, LR_INTEGER_BLOCK);
    const int64_t most = lr_larger(1, LANE_BYTES / lr_integer_b_bytes(job->blocks));
    job->groups = lr_larger(lr_pieces(job->panels, most), lr_smaller(job->panels, lanes * GROUPS_PER_LANE));
    job->chunks = lr_smaller(job->row_panels, lr_pieces(lanes * GROUPS_PER_LANE, job->groups));
    atomic_init(&job->next, 0);
    lr_cpu_parallel(device, job->row_panels, take_panel, job);
    lr_cpu_parallel(device, lanes, run_lane, job);
    job->accumulate = true;
}

static void product_of_rows(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                            float *c, int64_t c_stride)
{
    integer_job job = {.term = term, .kind = lr_integer_kind_of(&term->b), .m = m, .n = n, .c = c,
                       .c_stride = c_stride, .accumulate = accumulate};
    job.row_panels = lr_pieces(m, LR_INTEGER_ROWS);
    job.panels = lr_pieces(n, LR_INTEGER_COLS);
    job.lanes = device->workspace;
    job.a = job.lanes + (int64_t)device->threads * LANE_BYTES;
    const int64_t blocks = lr_pieces(term->k, LR_INTEGER_BLOCK), stretches = lr_pieces(blocks, STRETCH);
    for (int64_t s = 0; s < stretches; s++) {
        job.p = s * blocks / stretches * LR_INTEGER_BLOCK;
        job.depth = lr_smaller(term->k, (s + 1) * blocks / stretches * LR_INTEGER_BLOCK) - job.p;
        run_stretch(device, &job);
    }
}

void lr_integer_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                        float *c, int64_t c_stride)
{
    const int64_t blocks = lr_smaller(STRETCH, lr_pieces(term->k, LR_INTEGER_BLOCK));
    const int64_t rows = ROOM_BYTES / lr_integer_a_bytes(blocks) * LR_INTEGER_ROWS;
    for (int64_t i = 0; i < m; i += rows) {
        lr_product_term some = *term;
        some.a.data = (const float *)term->a.data + i * term->a.stride;
        product_of_rows(device, lr_smaller(rows, m - i), n, &some, accumulate, c + i * c_stride, c_stride);
    }
}

#else

bool lr_integer_product_suits(const lora_device *device, int64_t m, const lr_product_term *term)
{
    (void)device, (void)m, (void)term;
    return false;
}

void lr_integer_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                        float *c, int64_t c_stride)
{
    (void)device, (void)m, (void)n, (void)term, (void)accumulate, (void)c, (void)c_stride;
}

uint64_t lr_integer_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    (void)device, (void)max_rows, (void)max_inner;
    return 0;
}

#endif
