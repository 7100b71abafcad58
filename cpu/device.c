// The device: opening and closing, threads, workspace and buffers, and what the ops share.
#include "cpu/bf16_product.h"
#include "cpu/device.h"

#include "cpu/ops.h"
#include "cpu/product_kernels.h"
#include "lib/tensor_file.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPIED_BYTES (1 << 16) // by a thread at once

// A device and its own table of kernels in one block.
typedef struct opened_device {
    lora_device device;
    lr_kernels kernels;
} opened_device;

static void describe(lora_device *device)
{
    const char *set = device->features & LORA_CPU_AMX_BF16      ? "AVX-512 and AMX"
                    : device->features & LORA_CPU_AVX512_BF16 ? "AVX-512 with bf16"
                    : device->features & LORA_CPU_AVX512      ? "AVX-512"
                    : device->features & LORA_CPU_AVX2        ? "AVX2"
                    : device->features & LORA_CPU_NEON        ? "NEON"
                                                              : "plain C";
    snprintf(device->description, sizeof device->description, "CPU, %s, %d %s", set, (int)device->threads,
             device->threads == 1 ? "thread" : "threads");
}

lora_status lr_device_open(const lora_backend_host *host, lora_device **out)
{
    opened_device *opened = lr_alloc_zeroed(&host->allocator, 1, sizeof *opened);
    if (!opened) return LORA_ERROR_MEMORY;
    lora_device *device = &opened->device;
    device->allocator = host->allocator;
    device->host = *host;
    device->threads = host->threads;
    device->features = lr_cpu_detect_features();
    if (host->cpu_features != -1) device->features &= host->cpu_features;
    lr_kernels_init(&opened->kernels, device->features);
    device->kernels = &opened->kernels;
    if (!(lr_cpu_detect_features() & (LORA_CPU_AVX2 | LORA_CPU_AVX512))) lr_openblas_open(&device->openblas);
    if (pthread_mutex_init(&device->lock, NULL) != 0) {
        lr_openblas_close(&device->openblas);
        lr_free(&host->allocator, opened);
        return lr_fail(LORA_ERROR_MEMORY, "a lock for the CPU device could not be made");
    }
    if (!host->parallel_for && host->threads > 1) {
        lora_status status = lr_thread_pool_create(&device->allocator, host->threads, &device->pool);
        if (status != LORA_OK) {
            lr_device_close(device);
            return status;
        }
    }
    describe(device);
    *out = device;
    return LORA_OK;
}

void lr_device_close(lora_device *device)
{
    lr_thread_pool_free(device->pool);
    lr_openblas_close(&device->openblas);
    lr_free_aligned(&device->allocator, device->workspace);
    pthread_mutex_destroy(&device->lock);
    const lora_allocator allocator = device->allocator;
    lr_free(&allocator, device);
}

const char *lr_device_describe(lora_device *device)
{
    return device->description;
}

int32_t lr_device_supports(lora_device *device, int32_t op, lora_type type)
{
    if (op == LORA_OP_ATTENTION) return type == LORA_TYPE_BF16 && lr_bf16_blocks_suit(device);
    if (op != LORA_OP_LINEAR && op != LORA_OP_EMBED && op != LORA_OP_CONVERT) return 0;
    return type >= 0 && type < LORA_TYPE_COUNT && type != LORA_TYPE_I32;
}

void lr_device_memory(lora_device *device, uint64_t *free_bytes, uint64_t *total_bytes)
{
    *free_bytes = *total_bytes = 0;
    const long page = sysconf(_SC_PAGESIZE), free_pages = sysconf(_SC_AVPHYS_PAGES), pages = sysconf(_SC_PHYS_PAGES);
    if (page <= 0 || free_pages < 0 || pages < 0) return;
    *free_bytes = (uint64_t)page * (uint64_t)free_pages;
    *total_bytes = (uint64_t)page * (uint64_t)pages;
}

lora_status lr_device_synchronize(lora_device *device)
{
    (void)device; // an op is done when its call returns
    return LORA_OK;
}

/* ---- workspace ---- */

uint64_t lr_device_workspace_bytes(lora_device *device, const lora_workspace_request *request)
{
    if (request->head_loss)
        return lr_head_loss_workspace(device, request->max_rows, request->max_inner, request->only_f32 != 0);
    uint64_t bytes = lr_attention_workspace(device->threads);
    const uint64_t linear = lr_linear_workspace(device, request->max_rows, request->max_cols,
                                                request->max_inner, request->max_rank, request->only_f32 != 0);
    const uint64_t norm = lr_norm_workspace(request->max_cols);
    if (linear > bytes) bytes = linear;
    if (norm > bytes) bytes = norm;
    return bytes;
}

lora_status lr_device_reserve(lora_device *device, const lora_workspace_request *request)
{
    const uint64_t bytes = lr_device_workspace_bytes(device, request);
    lora_status status = LORA_OK;
    lr_cpu_lock(device);
    if (bytes > device->workspace_size) {
        uint8_t *larger = bytes <= SIZE_MAX ? lr_alloc_aligned(&device->allocator, (size_t)bytes) : NULL;
        if (larger) {
            lr_free_aligned(&device->allocator, device->workspace);
            device->workspace = larger;
            device->workspace_size = bytes;
        } else {
            status = lr_fail(LORA_ERROR_MEMORY,
                             "out of memory: the CPU workspace for batches of %lld tokens needs %llu bytes",
                             (long long)request->max_rows, (unsigned long long)bytes);
        }
    }
    lr_cpu_unlock(device);
    return status;
}

lora_status lr_need_workspace(const lora_device *device, const char *op, uint64_t bytes)
{
    if (bytes <= device->workspace_size) return LORA_OK;
    return lr_fail(LORA_ERROR_BACKEND,
                   "reserve was not called for this %s: it needs %llu bytes of workspace, there are %llu", op,
                   (unsigned long long)bytes, (unsigned long long)device->workspace_size);
}

/* ---- threads ---- */

void lr_cpu_lock(lora_device *device)
{
    pthread_mutex_lock(&device->lock);
}

void lr_cpu_unlock(lora_device *device)
{
    pthread_mutex_unlock(&device->lock);
}

void lr_cpu_parallel(lora_device *device, int64_t count, void (*task)(int64_t index, void *argument), void *argument)
{
    if (count > 1 && device->pool) {
        lr_thread_pool_run(device->pool, count, task, argument);
    } else if (count > 1 && device->host.parallel_for) {
        device->host.parallel_for(count, task, argument, device->host.parallel_for_user);
    } else {
        for (int64_t i = 0; i < count; i++) task(i, argument);
    }
}

void lr_cpu_run(lora_device *device, int64_t count, void (*task)(int64_t index, void *argument), void *argument)
{
    lr_cpu_lock(device);
    lr_cpu_parallel(device, count, task, argument);
    lr_cpu_unlock(device);
}

#define MOST_SHARES 64

typedef struct lane_share {
    _Alignas(64) atomic_int_fast64_t taken; // pieces
} lane_share;

typedef struct lanes_job {
    uint8_t *rooms;
    uint64_t bytes;
    int64_t count, lanes, shares;
    lr_lane_begin begin;
    lr_lane_task task;
    void *argument;
    lane_share *share;
} lanes_job;

// A lane takes the pieces of its share in order, then what others have left.
static void run_lane(int64_t index, void *argument)
{
    lanes_job *job = argument;
    const lr_lane lane = {index, job->lanes, job->rooms + (uint64_t)index * job->bytes};
    if (job->begin) job->begin(&lane, job->argument);
    for (int64_t i = 0; i < job->shares; i++) {
        const int64_t share = (lane.index * job->shares / job->lanes + i) % job->shares;
        const int64_t begin = share * job->count / job->shares, end = (share + 1) * job->count / job->shares;
        for (;;) {
            const int64_t piece =
                begin + atomic_fetch_add_explicit(&job->share[share].taken, 1, memory_order_relaxed);
            if (piece >= end) break;
            job->task(piece, lane.room, job->argument);
        }
    }
}

void lr_cpu_lanes(lora_device *device, int64_t count, uint64_t bytes, lr_lane_begin begin, lr_lane_task task,
                  void *argument)
{
    lane_share shares[MOST_SHARES];
    lanes_job job = {.rooms = device->workspace, .bytes = bytes, .count = count, .begin = begin, .task = task,
                     .argument = argument, .share = shares};
    job.lanes = lr_smaller(device->threads, count);
    job.shares = lr_smaller(job.lanes, MOST_SHARES);
    for (int64_t i = 0; i < job.shares; i++) atomic_init(&shares[i].taken, 0);
    lr_cpu_parallel(device, job.lanes, run_lane, &job);
}

/* ---- buffers ---- */

lora_status lr_buffer_create(lora_device *device, uint64_t size, lora_buffer **out)
{
    lora_buffer *buffer = lr_alloc(&device->allocator, sizeof *buffer);
    if (!buffer) return LORA_ERROR_MEMORY;
    *buffer = (lora_buffer){.size = size, .owned = true};
    if (size <= SIZE_MAX) buffer->bytes = lr_alloc_aligned(&device->allocator, (size_t)size);
    if (!buffer->bytes) {
        lr_free(&device->allocator, buffer);
        return lr_fail(LORA_ERROR_MEMORY, "out of memory: a buffer of %llu bytes was asked for",
                       (unsigned long long)size);
    }
    memset(buffer->bytes, 0, (size_t)size);
    *out = buffer;
    return LORA_OK;
}

lora_status lr_buffer_wrap(lora_device *device, const void *bytes, uint64_t size, lora_buffer **out)
{
    lora_buffer *buffer = lr_alloc(&device->allocator, sizeof *buffer);
    if (!buffer) return LORA_ERROR_MEMORY;
    // Never written through: ops write to created buffers only.
    *buffer = (lora_buffer){.bytes = (uint8_t *)(uintptr_t)bytes, .size = size, .owned = false};
    *out = buffer;
    return LORA_OK;
}

void lr_buffer_free(lora_device *device, lora_buffer *buffer)
{
    if (!buffer) return;
    if (buffer->owned) lr_free_aligned(&device->allocator, buffer->bytes);
    lr_free(&device->allocator, buffer);
}

void *lr_buffer_host(lora_buffer *buffer)
{
    return buffer->bytes;
}

static lora_status check_range(const lora_buffer *buffer, uint64_t offset, uint64_t size)
{
    if (offset <= buffer->size && size <= buffer->size - offset) return LORA_OK;
    return lr_fail(LORA_ERROR_ARGUMENT, "bytes %llu to %llu of a buffer of %llu were asked for",
                   (unsigned long long)offset, (unsigned long long)(offset + size), (unsigned long long)buffer->size);
}

lora_status lr_buffer_write(lora_device *device, lora_buffer *buffer, uint64_t offset, const void *bytes, uint64_t size)
{
    LR_TRY(check_range(buffer, offset, size));
    lr_cpu_lock(device);
    if (size) memcpy(buffer->bytes + offset, bytes, (size_t)size);
    lr_cpu_unlock(device);
    return LORA_OK;
}

typedef struct copy_job {
    uint8_t *target;
    const uint8_t *source;
    uint64_t size;
} copy_job;

static void copy_piece(int64_t index, void *argument)
{
    const copy_job *job = argument;
    const uint64_t begin = (uint64_t)index * COPIED_BYTES, left = job->size - begin;
    memcpy(job->target + begin, job->source + begin, (size_t)(left < COPIED_BYTES ? left : COPIED_BYTES));
}

lora_status lr_buffer_read(lora_device *device, lora_buffer *buffer, uint64_t offset, void *bytes, uint64_t size)
{
    LR_TRY(check_range(buffer, offset, size));
    copy_job job = {bytes, buffer->bytes + offset, size};
    lr_cpu_run(device, lr_pieces((int64_t)size, COPIED_BYTES), copy_piece, &job);
    return LORA_OK;
}

/* ---- rows ---- */

uint64_t lr_row_bytes(lora_type type, int64_t cols)
{
    return (uint64_t)(cols / lr_type_block(type) * lr_type_block_bytes(type));
}

const void *lr_typed_row(const lora_view *view, int64_t row)
{
    return view->buffer->bytes + view->offset + (uint64_t)row * lr_row_bytes(view->type, view->stride);
}

float *lr_row_scales(const lora_view *view, int64_t row)
{
    if (!view->scale_buffer) return NULL;
    float *scales = (float *)(void *)(view->scale_buffer->bytes + view->scale_offset);
    return scales + (view->type == LORA_TYPE_INT8 ? row : row * (view->stride / lr_type_block(view->type)));
}

void lr_load_row(const lora_device *device, float *target, const lora_view *view, int64_t row, int64_t begin,
                 int64_t count)
{
    const lr_operand numbers = lr_operand_of(view, row, false);
    lr_product_kernels_for(device->features)->unpack(target, &numbers, 0, begin, count);
}

void lr_store_row(const lora_device *device, const lora_view *view, int64_t row, int64_t begin, const float *source,
                  int64_t count)
{
    uint8_t *bytes = lr_view_at(view, row);
    device->kernels->from_f32[view->type](bytes + lr_row_bytes(view->type, begin), NULL, source, count);
}

const float *lr_row_numbers(const lora_device *device, float *room, const lora_view *view, int64_t row, int64_t begin,
                            int64_t count)
{
    if (view->type == LORA_TYPE_F32) return lr_row(view, row) + begin;
    lr_load_row(device, room, view, row, begin, count);
    return room;
}
