// Attention of one query per sequence, as in generating, or of few that are to be as alone: memory-bound, so each key
// and value is read once where it lies, for all query heads that share it. Stretches of keys are taken apart and joined
// in order; their number depends on shapes alone. Where many sequences are decoded together, each key head of each is
// one piece, without stretches.
#include "cpu/attention.h"

#include "cpu/product_kernels.h"

#include <math.h>

#define STRETCHES 16      // at most
#define STRETCH_KEYS 256  // at least
#define GROUP 16          // query heads at a time

typedef struct decode_job {
    const lora_device *device;
    const lora_attention *attention;
    const lora_segment *segment;
    lora_view y, log_sum;
    int64_t query;    // of the segment
    const float *q;   // [heads * head_dim]
    lr_visible keys;
    int64_t begin, stretch; // the first block's first key, keys of a stretch
    int64_t stretches;
    float *part; // [stretches, heads, head_dim + 2]: weighted values, greatest score, sum
    int64_t first_head; // of part
} decode_job;

static float *part_of(const decode_job *job, int64_t stretch, int64_t head)
{
    return job->part + (stretch * job->attention->heads + head - job->first_head) * (job->attention->head_dim + 2);
}

// A key head's keys or values from `key` on, up to the end of their block.
static lr_operand rows_at(const decode_job *job, const lora_view *view, int64_t key, int64_t column, bool transposed)
{
    const lora_view page = lr_key_page(job->segment, view, &key);
    return lr_head_operand(&page, key, column, transposed);
}

// Asks for `count` rows before they are wanted: from key to key they lie too far apart for the processor to guess.
static void prefetch(const lr_operand *rows, int64_t count, int64_t dim)
{
    const uint8_t *row = rows->data;
    const int64_t bytes = (int64_t)lr_row_bytes(rows->type, dim);
    const int64_t stride = (int64_t)lr_row_bytes(rows->type, rows->stride);
    for (int64_t j = 0; j < count; j++, row += stride)
        for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b, 0, 2);
}

// Scores of `heads` queries, and their weighted sums of values: of f32 by the kernels of attention, which are faster;
// those of products read 16 bits too.
static void score(const lora_device *device, int64_t heads, int64_t count, int64_t dim, const float *q,
                  const lr_operand *keys, float *scores)
{
    if (keys->type == LORA_TYPE_F32)
        device->kernels->dots(heads, count, dim, q, dim, keys->data, keys->stride, scores, LR_KEY_BLOCK);
    else
        lr_product_kernels_for(device->features)
            ->dots(heads, count, dim, 1, q, dim, keys, 0, false, scores, LR_KEY_BLOCK, 1);
}

static void add_values(const lora_device *device, int64_t heads, int64_t count, int64_t dim, const float *weights,
                       const lr_operand *values, float *part, int64_t part_stride)
{
    if (values->type == LORA_TYPE_F32)
        device->kernels->tile_product(heads, dim, count, weights, LR_KEY_BLOCK, 1, values->data, values->stride, part,
                                      part_stride, true);
    else
        lr_product_kernels_for(device->features)
            ->sweep(heads, dim, count, 1, weights, LR_KEY_BLOCK, 1, values, 0, true, part, part_stride, 1);
}

static void run_heads(const decode_job *job, int64_t stretch, int64_t head, int64_t heads, int64_t column)
{
    const lora_attention *attention = job->attention;
    const lora_segment *segment = job->segment;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = attention->head_dim, part_stride = dim + 2;
    const int64_t end = lr_smaller(job->keys.end, job->begin + (stretch + 1) * job->stretch);
    float *part = part_of(job, stretch, head);
    float scores[GROUP * LR_KEY_BLOCK];
    for (int64_t h = 0; h < heads; h++) {
        kernels->fill(part + h * part_stride, 0, part_stride);
        part[h * part_stride + dim] = -INFINITY;
    }
    for (int64_t begin = job->begin + stretch * job->stretch; begin < end; begin += LR_KEY_BLOCK) {
        const int64_t count = lr_smaller(LR_KEY_BLOCK, end - begin);
        if (!lr_block_visible(attention, segment, job->query, job->query, begin, begin + count)) continue;
        const lr_operand keys = rows_at(job, &segment->keys, begin, column, true);
        const lr_operand values = rows_at(job, &segment->values, begin, column, false);
        prefetch(&values, count, dim);
        score(job->device, heads, count, dim, job->q + head * dim, &keys, scores);
        for (int64_t h = 0; h < heads; h++) {
            float *row = scores + h * LR_KEY_BLOCK, *state = part + h * part_stride;
            const float scale = lr_attention_scores(job->device, attention, job->keys, begin, count, row);
            const float factor = kernels->softmax_step(row, scale, &state[dim], &state[dim + 1], count);
            if (factor != 1) kernels->scale(state, factor, dim);
        }
        const int64_t next = begin + LR_KEY_BLOCK;
        if (next < end) {
            const lr_operand ahead = rows_at(job, &segment->keys, next, column, true);
            prefetch(&ahead, lr_smaller(LR_KEY_BLOCK, end - next), dim);
        }
        add_values(job->device, heads, count, dim, scores, &values, part, part_stride);
    }
}

static void run_piece(const decode_job *job, int64_t index)
{
    const int64_t group = job->attention->heads / job->attention->kv_heads, kv_head = index / job->stretches;
    for (int64_t g = 0; g < group; g += GROUP)
        run_heads(job, index % job->stretches, kv_head * group + g, lr_smaller(GROUP, group - g),
                  kv_head * job->attention->head_dim);
}

static void join_head(const decode_job *job, int64_t head)
{
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = job->attention->head_dim, row = job->segment->query_begin + job->query;
    float *y = lr_row(&job->y, row) + head * dim, greatest = -INFINITY, sum = 0;
    for (int64_t s = 0; s < job->stretches; s++) {
        const float here = part_of(job, s, head)[dim];
        if (here > greatest) greatest = here;
    }
    kernels->fill(y, 0, dim);
    for (int64_t s = 0; s < job->stretches; s++) {
        const float *part = part_of(job, s, head);
        const float weight = expf(part[dim] - greatest);
        sum += weight * part[dim + 1];
        kernels->add(y, part, weight, dim);
    }
    kernels->scale(y, 1 / sum, dim);
    if (lr_present(&job->log_sum)) lr_row(&job->log_sum, row)[head] = greatest + logf(sum);
}

static decode_job describe(const lora_device *device, lora_view y, lora_view log_sum, const lora_view *q,
                           const lora_attention *attention, const lora_segment *segment, int64_t query)
{
    decode_job job = {.device = device, .attention = attention, .segment = segment, .y = y, .log_sum = log_sum};
    job.query = query;
    job.q = lr_row(q, segment->query_begin + query);
    job.keys = lr_visible_keys(attention, segment, query);
    job.begin = job.keys.prefix > 0 ? 0 : job.keys.begin / LR_KEY_BLOCK * LR_KEY_BLOCK;
    return job;
}

// How a query's keys are taken apart depends on nothing but their number.
static void cut_keys(decode_job *job)
{
    const lora_attention *attention = job->attention;
    const int64_t bytes = attention->heads * (attention->head_dim + 2) * (int64_t)sizeof(float);
    const int64_t most = lr_smaller(STRETCHES, LR_DECODE_BYTES / bytes), keys = job->keys.end - job->begin;
    const int64_t wanted = lr_smaller(most, lr_pieces(keys, STRETCH_KEYS));
    job->stretch = lr_pieces(lr_pieces(keys, wanted), LR_KEY_BLOCK) * LR_KEY_BLOCK;
    job->stretches = lr_pieces(keys, job->stretch);
}

#define QUERIES 16 // at a time

typedef struct queries_job {
    decode_job queries[QUERIES];
    int64_t stretches; // most of any query
} queries_job;

static void run_query_piece(int64_t index, void *argument)
{
    const queries_job *job = argument;
    const int64_t pieces = job->stretches * job->queries[0].attention->kv_heads;
    const decode_job *query = &job->queries[index / pieces];
    if (index % pieces < query->stretches * query->attention->kv_heads) run_piece(query, index % pieces);
}

void lr_attention_decode(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                         const lora_attention *attention, const lora_segment *segment)
{
    const int64_t part = attention->heads * (attention->head_dim + 2); // of a stretch
    float *parts = (float *)(void *)(device->workspace + lr_attention_rooms(device->threads));
    for (int64_t first = 0, count; first < segment->query_count; first += count) {
        queries_job job = {.stretches = 1};
        int64_t used = 0; // numbers of `parts`
        for (count = 0; count < QUERIES && first + count < segment->query_count; count++) {
            decode_job *query = &job.queries[count];
            *query = describe(device, y, log_sum, &q, attention, segment, first + count);
            cut_keys(query);
            if (count > 0 && (used + query->stretches * part) * (int64_t)sizeof(float) > LR_DECODE_BYTES) break;
            query->part = parts + used;
            used += query->stretches * part;
            job.stretches = lr_larger(job.stretches, query->stretches);
        }
        lr_cpu_parallel(device, count * job.stretches * attention->kv_heads, run_query_piece, &job);
        for (int64_t i = 0; i < count; i++)
            for (int64_t h = 0; h < attention->heads; h++) join_head(&job.queries[i], h);
    }
}

/* ---- many sequences ---- */

typedef struct many_job {
    const lora_device *device;
    lora_view y, log_sum, q;
    const lora_attention *attention;
} many_job;

static void run_key_head(int64_t index, void *argument)
{
    const many_job *many = argument;
    const lora_attention *attention = many->attention;
    const int64_t group = attention->heads / attention->kv_heads, kv_head = index % attention->kv_heads;
    const lora_segment *segment = &attention->segments[index / attention->kv_heads];
    float part[GROUP * (LR_HEAD_DIM + 2)];
    if (segment->query_count != 1) return;
    decode_job job = describe(many->device, many->y, many->log_sum, &many->q, attention, segment, 0);
    job.stretch = job.keys.end - job.begin;
    job.stretches = 1;
    job.part = part;
    for (int64_t g = 0; g < group; g += GROUP) {
        const int64_t heads = lr_smaller(GROUP, group - g);
        job.first_head = kv_head * group + g;
        run_heads(&job, 0, job.first_head, heads, kv_head * attention->head_dim);
        for (int64_t h = 0; h < heads; h++) join_head(&job, job.first_head + h);
    }
}

void lr_attention_decode_many(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                              const lora_attention *attention)
{
    many_job job = {device, y, log_sum, q, attention};
    lr_cpu_parallel(device, (int64_t)attention->segment_count * attention->kv_heads, run_key_head, &job);
}
