// Attention, backward. With p = exp(score - log_sum), delta = gy . y:
//   gv += p^T gy, ds = p (gy v^T - delta) scale, gq = ds k, gk += ds^T q
// A piece is one key head of a segment: it walks over blocks of keys and, for each, over the blocks of queries that see it,
// so that every sum has one owner and one order. Scores are computed again, never kept.
#include "cpu/attention.h"

typedef struct backward_room {
    float keys[LR_HEAD_DIM * LR_KEY_BLOCK]; // [head_dim, LR_KEY_BLOCK], transposed
    float values[LR_HEAD_DIM * LR_KEY_BLOCK];
    float scores[LR_QUERY_BLOCK * LR_KEY_BLOCK];
    float slopes[LR_QUERY_BLOCK * LR_KEY_BLOCK]; // d loss / d score
} backward_room;

uint64_t lr_attention_workspace(int32_t threads)
{
    return (uint64_t)threads * lr_align64(sizeof(backward_room)); // the forward needs less
}

typedef struct backward_job {
    const lora_device *device;
    lora_view grad_q, grad_k, grad_v, grad_y, y, log_sum, q;
    const lora_attention *attention;
} backward_job;

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
        lr_attention_scores(job->device, attention, visible, b->begin, b->keys, scores);
        const float delta = kernels->dot(lr_row(&job->grad_y, row + i) + at, lr_row(&job->y, row + i) + at, dim);
        kernels->attention_gradient(scores, room->slopes + i * LR_KEY_BLOCK, lr_row(&job->log_sum, row + i)[b->head], delta,
                                    attention->scale, attention->softcap, b->keys);
    }
}

static void block_pair(const backward_job *job, backward_room *room, const block *b)
{
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = job->attention->head_dim, row = b->segment->query_begin + b->first, at = b->head * dim;
    const int64_t key_row = b->segment->query_begin + b->begin;
    scores_and_slopes(job, room, b);
    kernels->tile_product(b->keys, dim, b->rows, room->scores, 1, LR_KEY_BLOCK, lr_row(&job->grad_y, row) + at,
                          job->grad_y.stride, lr_row(&job->grad_v, key_row) + b->column, job->grad_v.stride, true);
    kernels->tile_product(b->keys, dim, b->rows, room->slopes, 1, LR_KEY_BLOCK, lr_row(&job->q, row) + at, job->q.stride,
                          lr_row(&job->grad_k, key_row) + b->column, job->grad_k.stride, true);
    kernels->tile_product(b->rows, dim, b->keys, room->slopes, LR_KEY_BLOCK, 1,
                          lr_row(&b->segment->keys, b->begin) + b->column, b->segment->keys.stride,
                          lr_row(&job->grad_q, row) + at, job->grad_q.stride, true);
}

static void run_piece(int64_t index, void *workspace, void *argument)
{
    const backward_job *job = argument;
    const lora_attention *attention = job->attention;
    const lr_kernels *kernels = job->device->kernels;
    const lora_segment *segment = &attention->segments[index / attention->kv_heads];
    const int64_t kv_head = index % attention->kv_heads, group = attention->heads / attention->kv_heads;
    const int64_t dim = attention->head_dim, column = kv_head * dim;
    backward_room *room = workspace;
    for (int64_t i = 0; i < segment->query_count; i++)
        kernels->fill(lr_row(&job->grad_q, segment->query_begin + i) + column * group, 0, dim * group);
    for (int64_t begin = 0; begin < segment->key_count; begin += LR_KEY_BLOCK) {
        const int64_t keys = lr_smaller(LR_KEY_BLOCK, segment->key_count - begin);
        kernels->transpose(room->keys, LR_KEY_BLOCK, lr_row(&segment->keys, begin) + column, segment->keys.stride, keys, dim);
        kernels->transpose(room->values, LR_KEY_BLOCK, lr_row(&segment->values, begin) + column, segment->values.stride, keys,
                           dim);
        for (int64_t first = 0; first < segment->query_count; first += LR_QUERY_BLOCK) {
            const int64_t rows = lr_smaller(LR_QUERY_BLOCK, segment->query_count - first);
            if (!lr_block_visible(attention, segment, first, first + rows - 1, begin, begin + keys)) continue;
            for (int64_t g = 0; g < group; g++) {
                const block b = {segment, kv_head * group + g, column, first, rows, begin, keys};
                block_pair(job, room, &b);
            }
        }
    }
}

lora_status lr_attention_backward(lora_device *device, lora_view grad_q, lora_view grad_k, lora_view grad_v,
                                  lora_view grad_y, lora_view y, lora_view log_sum, lora_view q,
                                  const lora_attention *attention)
{
    backward_job job = {device, grad_q, grad_k, grad_v, grad_y, y, log_sum, q, attention};
    lr_cpu_lock(device);
    lora_status status = lr_attention_check(device, attention);
    if (status == LORA_OK)
        lr_cpu_lanes(device, (int64_t)attention->segment_count * attention->kv_heads, lr_align64(sizeof(backward_room)),
                     run_piece, &job);
    lr_cpu_unlock(device);
    return status;
}
