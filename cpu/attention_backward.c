// Attention, backward. With p = exp(score - log_sum), delta = gy . y:
//   gv += p^T gy, ds = p (gy v^T - delta) scale, gq = ds k, gk += ds^T q
// Scores are computed again, never kept. A piece is one key head of a segment: it walks over blocks of keys and, for
// each, over the blocks of queries that see it. Where that makes too few pieces for the threads, blocks of keys (gk,
// gv) are pieces and then blocks of queries (gq): two products in five are then done twice. Every sum has one owner,
// and the same order either way.
#include "cpu/attention_blocks.h"

typedef struct backward_room {
    lr_head_room queries, grad_y, keys, key_columns, value_columns;
    lr_square_room square;
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
    lr_blocks blocks;
} backward_job;

#define KEYS 1    // gk and gv are wanted
#define QUERIES 2 // gq is wanted

typedef struct block {
    const lora_segment *segment;
    int64_t head, column;      // of the queries; of the key head's first number
    int64_t first, rows;       // queries
    int64_t begin, keys;
    lr_block_operand key_rows, key_columns, value_columns; // all on the right
} block;

static void scores_and_slopes(const backward_job *job, backward_room *room, const block *b,
                              const lr_block_operand *queries, const lr_block_operand *grad_y)
{
    const lora_attention *attention = job->attention;
    const lr_kernels *kernels = job->device->kernels;
    const int64_t dim = attention->head_dim, row = b->segment->query_begin + b->first, at = b->head * dim;
    lr_block_product(&job->blocks, b->rows, b->keys, dim, queries, &b->key_columns, false, room->scores, LR_KEY_BLOCK);
    lr_block_product(&job->blocks, b->rows, b->keys, dim, grad_y, &b->value_columns, false, room->slopes, LR_KEY_BLOCK);
    float kept[LR_HEAD_DIM]; // of y
    for (int64_t i = 0; i < b->rows; i++) {
        const lr_visible visible = lr_visible_keys(attention, b->segment, b->first + i);
        const float *y = lr_row_numbers(job->device, kept, &job->y, row + i, at, dim);
        float *scores = room->scores + i * LR_KEY_BLOCK;
        const float scale = lr_attention_scores(job->device, attention, visible, b->begin, b->keys, scores);
        const float delta = kernels->dot(lr_row(&job->grad_y, row + i) + at, y, dim);
        kernels->attention_gradient(scores, room->slopes + i * LR_KEY_BLOCK, scale,
                                    lr_row(&job->log_sum, row + i)[b->head], delta, attention->scale,
                                    attention->softcap, b->keys);
    }
}

static void block_pair(const backward_job *job, backward_room *room, const block *b, int wanted)
{
    const lr_blocks *blocks = &job->blocks;
    const int64_t dim = job->attention->head_dim, row = b->segment->query_begin + b->first, at = b->head * dim;
    const int64_t key_row = b->segment->query_begin + b->begin;
    const int sides = LR_LEFT | (wanted & KEYS ? LR_RIGHT : 0);
    const lr_head_rows q = {job->q, row, at, b->rows, dim}, gy = {job->grad_y, row, at, b->rows, dim};
    const lr_block_rows queries = lr_block_of_rows(blocks, &room->queries, &q, sides);
    const lr_block_rows grad_y = lr_block_of_rows(blocks, &room->grad_y, &gy, sides);
    scores_and_slopes(job, room, b, &queries.left, &grad_y.left);
    if (wanted & KEYS) {
        lr_block_operand square = lr_block_of_square(blocks, &room->square, room->scores, b->rows, b->keys, true);
        lr_block_product(blocks, b->keys, dim, b->rows, &square, &grad_y.right, true,
                         lr_row(&job->grad_v, key_row) + b->column, job->grad_v.stride);
        square = lr_block_of_square(blocks, &room->square, room->slopes, b->rows, b->keys, true);
        lr_block_product(blocks, b->keys, dim, b->rows, &square, &queries.right, true,
                         lr_row(&job->grad_k, key_row) + b->column, job->grad_k.stride);
    }
    if (wanted & QUERIES) {
        const lr_block_operand square =
            lr_block_of_square(blocks, &room->square, room->slopes, b->rows, b->keys, false);
        lr_block_product(blocks, b->rows, dim, b->keys, &square, &b->key_rows, true, lr_row(&job->grad_q, row) + at,
                         job->grad_q.stride);
    }
}

static void clear_grad_q(const backward_job *job, int64_t row, int64_t rows, int64_t head, int64_t heads)
{
    const int64_t dim = job->attention->head_dim;
    for (int64_t i = row; i < row + rows; i++)
        job->device->kernels->fill(lr_row(&job->grad_q, i) + head * dim, 0, heads * dim);
}

// The block's keys and values, which blocks of queries share.
static void take_keys(const backward_job *job, backward_room *room, block *b, int wanted)
{
    const int64_t dim = job->attention->head_dim;
    const lr_head_rows keys = {b->segment->keys, b->begin, b->column, b->keys, dim};
    const lr_head_rows values = {b->segment->values, b->begin, b->column, b->keys, dim};
    const int sides = wanted & QUERIES ? LR_RIGHT : 0;
    b->key_rows = lr_block_of_rows(&job->blocks, &room->keys, &keys, sides).right;
    b->key_columns = lr_block_of_columns(&job->blocks, &room->key_columns, &keys);
    b->value_columns = lr_block_of_columns(&job->blocks, &room->value_columns, &values);
}

static void key_block(const backward_job *job, backward_room *room, const lora_segment *segment, int64_t kv_head,
                      int64_t begin, int wanted)
{
    const lora_attention *attention = job->attention;
    const int64_t group = attention->heads / attention->kv_heads;
    block b = {.segment = segment, .column = kv_head * attention->head_dim, .begin = begin,
               .keys = lr_smaller(LR_KEY_BLOCK, segment->key_count - begin)};
    take_keys(job, room, &b, wanted);
    for (int64_t first = 0; first < segment->query_count; first += LR_QUERY_BLOCK) {
        b.first = first, b.rows = lr_smaller(LR_QUERY_BLOCK, segment->query_count - first);
        if (!lr_block_visible(attention, segment, first, first + b.rows - 1, begin, begin + b.keys)) continue;
        for (int64_t g = 0; g < group; g++) {
            b.head = kv_head * group + g;
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
    lr_blocks_begin(&job->blocks);
    for (int64_t begin = 0; begin < segment->key_count; begin += LR_KEY_BLOCK)
        key_block(job, room, segment, kv_head, begin, KEYS | QUERIES);
    lr_blocks_end(&job->blocks);
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
    lr_blocks_begin(&job->blocks);
    key_block(job, room, segment, kv_head, begin, KEYS);
    lr_blocks_end(&job->blocks);
}

static void run_query_block(int64_t index, void *room, void *argument)
{
    const backward_job *job = argument;
    const lora_attention *attention = job->attention;
    int64_t head, first;
    const lora_segment *segment = find_block(attention, index, LR_QUERY_BLOCK, attention->heads, &head, &first);
    block b = {.segment = segment, .head = head, .first = first,
               .column = head / (attention->heads / attention->kv_heads) * attention->head_dim,
               .rows = lr_smaller(LR_QUERY_BLOCK, segment->query_count - first)};
    clear_grad_q(job, segment->query_begin + first, b.rows, head, 1);
    lr_blocks_begin(&job->blocks);
    for (b.begin = 0; b.begin < segment->key_count; b.begin += LR_KEY_BLOCK) {
        b.keys = lr_smaller(LR_KEY_BLOCK, segment->key_count - b.begin);
        if (!lr_block_visible(attention, segment, first, first + b.rows - 1, b.begin, b.begin + b.keys)) continue;
        take_keys(job, room, &b, QUERIES);
        block_pair(job, room, &b, QUERIES);
    }
    lr_blocks_end(&job->blocks);
}

lora_status lr_attention_backward(lora_device *device, lora_view grad_q, lora_view grad_k, lora_view grad_v,
                                  lora_view grad_y, lora_view y, lora_view log_sum, lora_view q,
                                  const lora_attention *attention)
{
    backward_job job = {device, grad_q, grad_k, grad_v, grad_y, y, log_sum, q, attention,
                        lr_blocks_for(device, attention)};
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
        lr_cpu_lanes(device, key_heads, bytes, NULL, run_key_head, &job);
    } else if (status == LORA_OK) {
        lr_cpu_lanes(device, key_blocks, bytes, NULL, run_key_block, &job);
        lr_cpu_lanes(device, query_blocks, bytes, NULL, run_query_block, &job);
    }
    lr_cpu_unlock(device);
    return status;
}
