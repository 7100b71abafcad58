// The inner dimension is taken in stretches. For each, A is rounded panel by panel of rows; then panels of B are taken
// in groups that, packed, fit a core's L2 cache (cpu/cut.h).
//
// Every number of C is added up in an order that depends on the sizes alone.
#include "cpu/integer_product.h"

#include "cpu/cut.h"
#include "cpu/integer_kernels.h"
#include "cpu/ops.h"

#define LEAST_ROWS 16
#define STRETCH 4096           // inner numbers at once, at most
#define SUPER 256              // numbers that are whole blocks of any type
#define LANE_BYTES (640 << 10) // a packed group
#define ROOM_BYTES (4 << 20) // of A: more rows are taken in turns

typedef struct integer_job {
    const lr_integer_kernels *kernels;
    const lr_product_term *term;
    int64_t m, n, c_stride;
    float *c;
    bool accumulate;
    lr_cut cut;
    int64_t p, depth, blocks; // of this stretch
    uint8_t *a; // [row_panels][blocks][a_bytes]
} integer_job;

const lr_integer_kernels *lr_integer_kernels_for(int32_t features)
{
#if defined(__x86_64__)
    if ((features & LORA_CPU_AVX512) && (features & LORA_CPU_AVX512_VNNI)) return &lr_integer_vnni;
    if (features & LORA_CPU_AVX2) return &lr_integer_avx2;
#elif defined(__aarch64__)
    if ((features & LORA_CPU_NEON) && (features & LORA_CPU_NEON_DOTPROD)) return &lr_integer_neon;
#else
    (void)features;
#endif
    return NULL;
}

static const lr_integer_kernels *tiles_of(const lora_device *device)
{
#if defined(__x86_64__)
    if (device->features & LORA_CPU_AMX_BF16) return &lr_integer_amx;
#endif
    return NULL;
}

static const lr_integer_kernels *kernels_of(const lora_device *device, const lr_product_term *term)
{
    if (lr_integer_has_tiles(device, term)) return tiles_of(device);
    const lr_integer_kernels *kernels = lr_integer_kernels_for(device->features);
    const lora_type type = term->b.type;
    const bool half_bytes = type == LORA_TYPE_Q4_0 || type == LORA_TYPE_Q4_1 || type == LORA_TYPE_Q4_K;
    return kernels->half_bytes && half_bytes && term->b.transposed ? kernels->half_bytes : kernels;
}

bool lr_integer_has_tiles(const lora_device *device, const lr_product_term *term)
{
    return tiles_of(device) && term->b.type == LORA_TYPE_INT8;
}

bool lr_integer_product_suits(const lora_device *device, int64_t m, const lr_product_term *term)
{
    return lr_integer_kernels_for(device->features) && (term->coarse & LORA_COARSE_INT8) && m >= LEAST_ROWS &&
           !term->a.transposed && term->k > 0 && term->b.type >= LORA_TYPE_INT8 && term->b.type != LORA_TYPE_NF4;
}

static int64_t room_of(const lr_integer_kernels *kernels, int64_t rows, int64_t inner)
{
    return lr_pieces(rows, kernels->rows) * lr_pieces(lr_smaller(STRETCH, inner), kernels->block) * kernels->a_bytes;
}

uint64_t lr_integer_product_workspace(const lora_device *device, int64_t max_rows, int64_t max_inner)
{
    const lr_integer_kernels *kernels = lr_integer_kernels_for(device->features), *tiles = tiles_of(device);
    if (!kernels) return 0;
    int64_t room = room_of(kernels, max_rows, max_inner);
    if (tiles) room = lr_larger(room, room_of(tiles, max_rows, max_inner));
    return (uint64_t)(lr_smaller(room, ROOM_BYTES) + (int64_t)device->threads * LANE_BYTES);
}

static void take_panel(int64_t panel, void *argument)
{
    const integer_job *job = argument;
    const lr_integer_kernels *kernels = job->kernels;
    const int64_t i = panel * kernels->rows;
    kernels->take(job->a + panel * job->blocks * kernels->a_bytes, job->term, i, lr_smaller(kernels->rows, job->m - i),
                  job->p, job->depth);
}

static void run_piece(int64_t index, void *room, void *argument)
{
    const integer_job *job = argument;
    const lr_integer_kernels *kernels = job->kernels;
    const int64_t a_bytes = job->blocks * kernels->a_bytes, b_bytes = job->blocks * kernels->b_bytes;
    const lr_operand *b = &job->term->b;
    const lr_piece piece = lr_cut_piece(&job->cut, index);
    uint8_t *packed = room;
    const int64_t at_once = kernels->packs_many ? piece.panel_end - piece.panel : 1;
    for (int64_t q = piece.panel; q < piece.panel_end; q += at_once) {
        const int64_t j = q * kernels->cols;
        kernels->pack(packed + (q - piece.panel) * b_bytes, b, job->p, job->depth, j,
                      lr_smaller(at_once * kernels->cols, job->n - j));
    }
    if (kernels->begin) kernels->begin();
    for (int64_t row = piece.row; row < piece.row_end; row++)
        for (int64_t q = piece.panel; q < piece.panel_end; q++) {
            const int64_t i = row * kernels->rows, j = q * kernels->cols;
            kernels->multiply(lr_smaller(kernels->rows, job->m - i), lr_smaller(kernels->cols, job->n - j), job->blocks,
                              job->a + row * a_bytes, packed + (q - piece.panel) * b_bytes, b, j, job->accumulate,
                              job->c + i * job->c_stride + j, job->c_stride);
        }
    if (kernels->end) kernels->end();
}

static void run_stretch(lora_device *device, integer_job *job)
{
    const lr_integer_kernels *kernels = job->kernels;
    job->blocks = lr_pieces(job->depth, kernels->block);
    const int64_t most = lr_larger(1, LANE_BYTES / (job->blocks * kernels->b_bytes));
    job->cut = lr_cut_product(device->threads, job->m, kernels->rows, job->n, kernels->cols, most);
    lr_cpu_parallel(device, job->cut.row_panels, take_panel, job);
    lr_cpu_lanes(device, lr_cut_pieces(&job->cut), LANE_BYTES, NULL, run_piece, job);
    job->accumulate = true;
}

static void product_of_rows(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                            float *c, int64_t c_stride)
{
    integer_job job = {.kernels = kernels_of(device, term), .term = term, .m = m, .n = n, .c = c,
                       .c_stride = c_stride, .accumulate = accumulate};
    job.a = device->workspace + (int64_t)device->threads * LANE_BYTES;
    const int64_t supers = lr_pieces(term->k, SUPER), stretches = lr_pieces(term->k, STRETCH);
    for (int64_t s = 0; s < stretches; s++) {
        job.p = s * supers / stretches * SUPER;
        job.depth = lr_smaller(term->k, (s + 1) * supers / stretches * SUPER) - job.p;
        run_stretch(device, &job);
    }
}

void lr_integer_product(lora_device *device, int64_t m, int64_t n, const lr_product_term *term, bool accumulate,
                        float *c, int64_t c_stride)
{
    const lr_integer_kernels *kernels = kernels_of(device, term);
    const int64_t blocks = lr_pieces(lr_smaller(STRETCH, term->k), kernels->block);
    const int64_t rows = ROOM_BYTES / (blocks * kernels->a_bytes) * kernels->rows;
    for (int64_t i = 0; i < m; i += rows) {
        lr_product_term some;
        lr_terms_from_row(&some, term, 1, i);
        product_of_rows(device, lr_smaller(rows, m - i), n, &some, accumulate, c + i * c_stride, c_stride);
    }
}
