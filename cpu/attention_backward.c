// Attention, backward. With p = exp(score - log_sum), delta = gy . y:
//   gv += p^T gy, ds = p (gy v^T - delta) scale, gq = ds k, gk += ds^T q
// Scores are computed again, never kept. A piece is one key head of a segment: it walks over blocks of keys and, for
// each, over the blocks of queries that see it. Where that makes too few pieces for the threads, blocks of keys (gk,
// gv) are pieces and then blocks of queries (gq): two products in five are then done twice. Every sum has one owner,
// and the same order either way.
#include "cpu/attention.h"

typedef struct backward_room {
    float keys[LR_HEAD_DIM * LR_KEY_BLOCK]; // [head_dim, LR_KEY_BLOCK], transposed
    float values[LR_HEAD_DIM * LR_KEY_BLOCK];
    float scores[LR_QUERY_BLOCK * LR_KEY_BLOCK];
    float slopes[LR_QUERY_BLOCK * LR_KEY_BLOCK]; // d loss / d score
} backward_room;

uint64_t lr_attention_rooms(int32_t threads)
{
    return (uint64_t)threads * lr_align64(sizeof(backward_room)); // the forward needs less
}

uint64_t lr_attention_workspace(int32_t threads)
{
    return lr_attention_rooms(threads) + LR_DECODE_BYTES;
}

typedef struct backward_job {
    const lora_device *device;
    lora_view grad_q, grad_k, grad_v, grad_y, y, log_sum, q;
    const lora_attention *attention;
} backward_job;

#define KEYS 1    // gk and gv are wanted
#define QUERIES 2 // gq is wanted

typedef struct block {
    const lora_segment *segment;
    int64_t head, column;      // of the queries; of the key head's first number
    int64_t first, rows;       // queries
    int64_t begin, keys;
} block;

static void scores_and_slopes(const backward_job *job, backward_room *room, const block *b)
{
    const lora_attention *attention = job->attention;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = attention->head_dim, row = b->segment->query_begin + b->first, at = b->head * dim;
    kernels->tile_product(b->rows, b->keys, dim, lr_row(&job->q, row) + at, job->q.stride, 1, room->keys, LR_KEY_BLOCK,
                          room->scores, LR_KEY_BLOCK, false);
    kernels->tile_product(b->rows, b->keys, dim, lr_row(&job->grad_y, row) + at, job->grad_y.stride, 1, room->values,
                          LR_KEY_BLOCK, room->slopes, LR_KEY_BLOCK, false);
    for (int64_t i = 0; i < b->rows; i++) {
        const lr_visible visible = lr_visible_keys(attention, b->segment, b->first + i);
        float *scores = room->scores + i * LR_KEY_BLOCK;
        const float scale = lr_attention_scores(job->device, attention, visible, b->begin, b->keys, scores);
        const float delta = kernels->dot(lr_row(&job->grad_y, row + i) + at, lr_row(&job->y, row + i) + at, dim);
        kernels->attention_gradient(scores, room->slopes + i * LR_KEY_BLOCK, scale,
                                    lr_row(&job->log_sum, row + i)[b->head], delta, attention->scale,
                                    attention->softcap, b->keys);
    }
}

static void block_pair(const backward_job *job, backward_room *room, const block *b, int wanted)
{
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = job->attention->head_dim, row = b->segment->query_begin + b->first, at = b->head * dim;
    const int64_t key_row = b->segment->query_begin + b->begin;
    scores_and_slopes(job, room, b);
    if (wanted & KEYS) {
        kernels->tile_product(b->keys, dim, b->rows, room->scores, 1, LR_KEY_BLOCK, lr_row(&job->grad_y, row) + at,
                              job->grad_y.stride, lr_row(&job->grad_v, key_row) + b->column, job->grad_v.stride, true);
        kernels->tile_product(b->keys, dim, b->rows, room->slopes, 1, LR_KEY_BLOCK, lr_row(&job->q, row) + at,
                              job->q.stride, lr_row(&job->grad_k, key_row) + b->column, job->grad_k.stride, true);
    }
    if (wanted & QUERIES)
        kernels->tile_product(b->rows, dim, b->keys, room->slopes, LR_KEY_BLOCK, 1,
                              lr_row(&b->segment->keys, b->begin) + b->column, b->segment->keys.stride,
                              lr_row(&job->grad_q, row) + at, job->grad_q.stride, true);
}

static void clear_grad_q(const backward_job *job, int64_t row, int64_t rows, int64_t head, int64_t heads)
{
    const int64_t dim = job->attention->head_dim;
    for (int64_t i = row; i < row + rows; i++)
        job->device->kernels->fill(lr_row(&job->grad_q, i) + head * dim, 0, heads * dim);
}

static void take_keys(const backward_job *job, backward_room *room, const lora_segment *segment, int64_t column,
                      int64_t begin, int64_t keys)
{
    const int64_t dim = job->attention->head_dim;
    job->device->kernels->transpose(room->keys, LR_KEY_BLOCK, lr_row(&segment->keys, begin) + column,
                                    segment->keys.stride, keys, dim);
    job->device->kernels->transpose(room->values, LR_KEY_BLOCK, lr_row(&segment->values, begin) + column,
                                    segment->values.stride, keys, dim);
}

static void key_block(const backward_job *job, backward_room *room, const lora_segment *segment, int64_t kv_head,
                      int64_t begin, int wanted)
{
    const lora_attention *attention = job->attention;
    const int64_t group = attention->heads / attention->kv_heads, column = kv_head * attention->head_dim;
    const int64_t keys = lr_smaller(LR_KEY_BLOCK, segment->key_count - begin);
    take_keys(job, room, segment, column, begin, keys);
    for (int64_t first = 0; first < segment->query_count; first += LR_QUERY_BLOCK) {
        const int64_t rows = lr_smaller(LR_QUERY_BLOCK, segment->query_count - first);
        if (!lr_block_visible(attention, segment, first, first + rows - 1, begin, begin + keys)) continue;
        for (int64_t g = 0; g < group; g++) {
            const block b = {segment, kv_head * group + g, column, first, rows, begin, keys};
            block_pair(job, room, &b, wanted);
        }
    }
}

static void run_key_head(int64_t index, void *room, void *argument)
{
    const backward_job *job = argument;
    const lora_attention *attention = job->attention;
    const lora_segment *segment = &attention->segments[index / attention->kv_heads];
    const int64_t kv_head = index % attention->kv_heads, group = attention->heads / attention->kv_heads;
    clear_grad_q(job, segment->query_begin, segment->query_count, kv_head * group, group);
    for (int64_t begin = 0; begin < segment->key_count; begin += LR_KEY_BLOCK)
        key_block(job, room, segment, kv_head, begin, KEYS | QUERIES);
}

// Piece `index` of those that blocks of `size` rows make, times `heads`; the block's first row goes to *first.
static const lora_segment *find_block(const lora_attention *attention, int64_t index, int64_t size, int64_t heads,
                                      int64_t *head, int64_t *first)
{
    const lora_segment *segment = attention->segments;
    int64_t blocks = lr_pieces(segment->query_count, size);
    while (index >= blocks * heads) {
        index -= blocks * heads;
        segment++;
        blocks = lr_pieces(segment->query_count, size);
    }
    *head = index / blocks;
    *first = index % blocks * size;
    return segment;
}

static void run_key_block(int64_t index, void *room, void *argument)
{
    const backward_job *job = argument;
    int64_t kv_head, begin;
    const lora_segment *segment =
        find_block(job->attention, index, LR_KEY_BLOCK, job->attention->kv_heads, &kv_head, &begin);
    key_block(job, room, segment, kv_head, begin, KEYS);
}

static void run_query_block(int64_t index, void *room, void *argument)
{
    const backward_job *job = argument;
    const lora_attention *attention = job->attention;
    int64_t head, first;
    const lora_segment *segment = find_block(attention, index, LR_QUERY_BLOCK, attention->heads, &head, &first);
    const int64_t rows = lr_smaller(LR_QUERY_BLOCK, segment->query_count - first);
    const int64_t column = head / (attention->heads / attention->kv_heads) * attention->head_dim;
    clear_grad_q(job, segment->query_begin + first, rows, head, 1);
    for (int64_t begin = 0; begin < segment->key_count; begin += LR_KEY_BLOCK) {
        const int64_t keys = lr_smaller(LR_KEY_BLOCK, segment->key_count - begin);
        if (!lr_block_visible(attention, segment, first, first + rows - 1, begin, begin + keys)) continue;
        const block b = {segment, head, column, first, rows, begin, keys};
        take_keys(job, room, segment, column, begin, keys);
        block_pair(job, room, &b, QUERIES);
    }
}

lora_status lr_attention_backward(lora_device *device, lora_view grad_q, lora_view grad_k, lora_view grad_v,
                                  lora_view grad_y, lora_view y, lora_view log_sum, lora_view q,
                                  const lora_attention *attention)
{
    backward_job job = {device, grad_q, grad_k, grad_v, grad_y, y, log_sum, q, attention};
    const int64_t key_heads = (int64_t)attention->segment_count * attention->kv_heads;
    const uint64_t bytes = lr_align64(sizeof(backward_room));
    int64_t key_blocks = 0, query_blocks = 0;
    for (int32_t s = 0; s < attention->segment_count; s++) {
        key_blocks += lr_pieces(attention->segments[s].query_count, LR_KEY_BLOCK) * attention->kv_heads;
        query_blocks += lr_pieces(attention->segments[s].query_count, LR_QUERY_BLOCK) * attention->heads;
    }
    lr_cpu_lock(device);
    lora_status status = lr_attention_check(device, attention);
    if (status == LORA_OK && (device->threads == 1 || key_heads >= 2 * device->threads)) {
        lr_cpu_lanes(device, key_heads, bytes, run_key_head, &job);
    } else if (status == LORA_OK) {
        lr_cpu_lanes(device, key_blocks, bytes, run_key_block, &job);
        lr_cpu_lanes(device, query_blocks, bytes, run_query_block, &job);
    }
    lr_cpu_unlock(device);
    return status;
}
