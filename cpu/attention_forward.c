// Attention, forward: y = softmax(scale q k^T + mask) v. A piece is a block of queries of one head; it walks over
// blocks of keys with a running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022), and y's own rows hold the
// weighted sums meanwhile.
#include "cpu/attention_blocks.h"

#include <math.h>

// One query, and queries that are to be as alone, go another way (attention_decode.c), which rounds nothing.
static int64_t query_blocks(const lora_attention *attention, const lora_segment *segment)
{
    if ((segment->query_count == 1 && !attention->coarse) || attention->as_alone) return 0;
    return lr_pieces(segment->query_count, LR_QUERY_BLOCK);
}

typedef struct forward_room {
    lr_head_room queries, keys, values;
    lr_square_room probabilities;
    float scores[LR_QUERY_BLOCK * LR_KEY_BLOCK];
    float greatest[LR_QUERY_BLOCK], sum[LR_QUERY_BLOCK];
} forward_room;

#define MANY_SEQUENCES 4 // from here on one-query segments are pieces of work of their own

typedef struct forward_job {
    const lora_device *device;
    lora_view y, log_sum, q;
    const lora_attention *attention;
    lr_blocks blocks;
} forward_job;

float lr_attention_scores(const lora_device *device, const lora_attention *attention, lr_visible keys, int64_t begin,
                          int64_t count, float *scores)
{
    const bool capped = attention->softcap != 0;
    if (capped) {
        device->kernels->scale(scores, attention->scale, count);
        device->kernels->softcap(scores, attention->softcap, count);
    }
    const int64_t end = begin + count, unseen = lr_larger(begin, keys.prefix);
    const int64_t before = lr_smaller(end, keys.begin), after = lr_larger(unseen, keys.end);
    if (unseen < before) device->kernels->fill(scores + (unseen - begin), -INFINITY, before - unseen);
    if (after < end) device->kernels->fill(scores + (after - begin), -INFINITY, end - after);
    return capped ? 1 : attention->scale;
}

static void finish_rows(const forward_job *job, const forward_room *room, int64_t row, int64_t rows, int64_t head)
{
    const int64_t dim = job->attention->head_dim;
    for (int64_t i = 0; i < rows; i++) {
        job->device->kernels->scale(lr_row(&job->y, row + i) + head * dim, 1 / room->sum[i], dim);
        if (lr_present(&job->log_sum)) lr_row(&job->log_sum, row + i)[head] = room->greatest[i] + logf(room->sum[i]);
    }
}

static lr_head_rows rows_of(const lora_segment *segment, const lora_view *view, int64_t begin, int64_t column,
                            int64_t keys, int64_t dim)
{
    const lora_view page = lr_key_page(segment, view, &begin);
    return (lr_head_rows){page, begin, column, keys, dim};
}

static void query_block(const forward_job *job, forward_room *room, const lora_segment *segment, int64_t head,
                        int64_t first, int64_t rows)
{
    const lora_attention *attention = job->attention;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = attention->head_dim, column = head / (attention->heads / attention->kv_heads) * dim;
    const int64_t row = segment->query_begin + first;
    float *y = lr_row(&job->y, row) + head * dim;
    const lr_head_rows q = {job->q, row, head * dim, rows, dim};
    const lr_block_rows queries = lr_block_of_rows(&job->blocks, &room->queries, &q, LR_LEFT);
    bool is_first = true;
    for (int64_t i = 0; i < rows; i++) room->greatest[i] = -INFINITY, room->sum[i] = 0;
    for (int64_t begin = 0; begin < segment->key_count; begin += LR_KEY_BLOCK) {
        const int64_t keys = lr_smaller(LR_KEY_BLOCK, segment->key_count - begin);
        if (!lr_block_visible(attention, segment, first, first + rows - 1, begin, begin + keys)) continue;
        const lr_head_rows key = rows_of(segment, &segment->keys, begin, column, keys, dim);
        const lr_head_rows value = rows_of(segment, &segment->values, begin, column, keys, dim);
        const lr_block_operand columns = lr_block_of_columns(&job->blocks, &room->keys, &key);
        lr_block_product(&job->blocks, rows, keys, dim, &queries.left, &columns, false, room->scores, LR_KEY_BLOCK);
        for (int64_t i = 0; i < rows; i++) {
            float *scores = room->scores + i * LR_KEY_BLOCK;
            const lr_visible visible = lr_visible_keys(attention, segment, first + i);
            const float scale = lr_attention_scores(job->device, attention, visible, begin, keys, scores);
            const float factor = kernels->softmax_step(scores, scale, &room->greatest[i], &room->sum[i], keys);
            if (!is_first && factor != 1) kernels->scale(y + i * job->y.stride, factor, dim);
        }
        const lr_block_operand probabilities =
            lr_block_of_square(&job->blocks, &room->probabilities, room->scores, rows, keys, false);
        const lr_block_rows values = lr_block_of_rows(&job->blocks, &room->values, &value, LR_RIGHT);
        lr_block_product(&job->blocks, rows, dim, keys, &probabilities, &values.right, !is_first, y, job->y.stride);
        is_first = false;
    }
    finish_rows(job, room, row, rows, head);
}

static void run_piece(int64_t index, void *room, void *argument)
{
    const forward_job *job = argument;
    const lora_segment *segment = job->attention->segments;
    int64_t blocks = query_blocks(job->attention, segment);
    while (index >= blocks * job->attention->heads) {
        index -= blocks * job->attention->heads;
        blocks = query_blocks(job->attention, ++segment);
    }
    const int64_t first = index % blocks * LR_QUERY_BLOCK;
    lr_blocks_begin(&job->blocks);
    query_block(job, room, segment, index / blocks, first, lr_smaller(LR_QUERY_BLOCK, segment->query_count - first));
    lr_blocks_end(&job->blocks);
}

lora_status lr_attention_check(const lora_device *device, const lora_attention *attention)
{
    if (attention->head_dim > LR_HEAD_DIM)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "attention heads of %d numbers: the CPU backend takes at most %d",
                       (int)attention->head_dim, LR_HEAD_DIM);
    return lr_need_workspace(device, "attention", lr_attention_workspace(device->threads));
}

lora_status lr_attention_forward(lora_device *device, lora_view y, lora_view log_sum, lora_view q,
                                 const lora_attention *attention)
{
    forward_job job = {device, y, log_sum, q, attention, lr_blocks_for(device, attention)};
    int64_t pieces = 0, single = 0;
    for (int32_t s = 0; s < attention->segment_count; s++) {
        pieces += query_blocks(attention, &attention->segments[s]) * attention->heads;
        single += attention->segments[s].query_count == 1;
    }
    const bool many = single >= MANY_SEQUENCES && !attention->as_alone && !attention->coarse;
    lr_cpu_lock(device);
    lora_status status = lr_attention_check(device, attention);
    if (status == LORA_OK) lr_cpu_lanes(device, pieces, lr_align64(sizeof(forward_room)), NULL, run_piece, &job);
    if (status == LORA_OK && many) lr_attention_decode_many(device, y, log_sum, q, attention);
    for (int32_t s = 0; s < attention->segment_count && status == LORA_OK && !many; s++)
        if (query_blocks(attention, &attention->segments[s]) == 0)
            lr_attention_decode(device, y, log_sum, q, attention, &attention->segments[s]);
    lr_cpu_unlock(device);
    return status;
}
