// Views of the device's memory: making, cutting, and moving floats between them and the host.
#include "lib/tensor_file.h"
#include "src/core/context.h"

#include <string.h>

#define CHUNK (1 << 20) // numbers converted at a time on the way to or from f32

lora_status lr_create_view(lora_context *context, int64_t rows, int64_t cols, lora_view *out)
{
    uint64_t bytes;
    *out = (lora_view){0};
    if (!lr_type_bytes(LORA_TYPE_F32, rows, cols, &bytes)) return lr_fail_memory(SIZE_MAX);
    lora_view view = {.rows = rows, .cols = cols, .stride = cols, .type = LORA_TYPE_F32};
    LR_TRY(context->backend->buffer_create(context->device, bytes ? bytes : sizeof(float), &view.buffer));
    *out = view;
    return LORA_OK;
}

void lr_free_view(lora_context *context, lora_view *view)
{
    if (view->buffer) context->backend->buffer_free(context->device, view->buffer);
    *view = (lora_view){0};
}

lora_view lr_view_rows(lora_view view, int64_t begin, int64_t count)
{
    int64_t row_bytes = view.stride / lr_type_block(view.type) * lr_type_block_bytes(view.type);
    view.offset += (uint64_t)(begin * row_bytes);
    view.rows = count;
    // One f32 scale a row for INT8, one for each block of NF4.
    if (view.scale_buffer && view.type == LORA_TYPE_INT8) view.scale_offset += (uint64_t)begin * sizeof(float);
    if (view.scale_buffer && view.type == LORA_TYPE_NF4)
        view.scale_offset += (uint64_t)(begin * (view.stride / lr_type_block(view.type))) * sizeof(float);
    return view;
}

lora_view lr_view_columns(lora_view view, int64_t begin, int64_t count)
{
    view.offset += (uint64_t)(begin * lr_type_block_bytes(view.type));
    view.cols = count;
    return view;
}

static lora_status read_bytes(lora_context *context, lora_view view, float *values)
{
    uint64_t bytes;
    if (!lr_type_bytes(view.type, view.rows, view.cols, &bytes)) return lr_fail_memory(SIZE_MAX);
    LR_TRY(context->backend->synchronize(context->device));
    return context->backend->buffer_read(context->device, view.buffer, view.offset, values, bytes);
}

static lora_status write_bytes(lora_context *context, lora_view view, const float *values)
{
    uint64_t bytes;
    if (!lr_type_bytes(view.type, view.rows, view.cols, &bytes)) return lr_fail_memory(SIZE_MAX);
    LR_TRY(context->backend->synchronize(context->device));
    return context->backend->buffer_write(context->device, view.buffer, view.offset, values, bytes);
}

// A view of another type goes through a small f32 view, some rows at a time.
static int64_t chunk_rows(lora_view view)
{
    int64_t rows = view.cols > 0 ? CHUNK / view.cols : view.rows;
    return rows < 1 ? 1 : rows < view.rows ? rows : view.rows;
}

lora_status lr_view_read(lora_context *context, lora_view view, float *values)
{
    if (view.rows == 0 || view.cols == 0) return LORA_OK;
    if (view.type == LORA_TYPE_F32) return read_bytes(context, view, values);
    lora_view chunk;
    int64_t step = chunk_rows(view);
    LR_TRY(lr_create_view(context, step, view.cols, &chunk));
    lora_status status = LORA_OK;
    for (int64_t row = 0; row < view.rows && status == LORA_OK; row += step) {
        int64_t count = view.rows - row < step ? view.rows - row : step;
        lora_view part = lr_view_rows(chunk, 0, count);
        status = context->backend->convert(context->device, part, lr_view_rows(view, row, count));
        if (status == LORA_OK) status = read_bytes(context, part, values + row * view.cols);
    }
    lr_free_view(context, &chunk);
    return status;
}

lora_status lr_view_write(lora_context *context, lora_view view, const float *values)
{
    if (view.rows == 0 || view.cols == 0) return LORA_OK;
    if (view.type == LORA_TYPE_F32) return write_bytes(context, view, values);
    lora_view chunk;
    int64_t step = chunk_rows(view);
    LR_TRY(lr_create_view(context, step, view.cols, &chunk));
    lora_status status = LORA_OK;
    for (int64_t row = 0; row < view.rows && status == LORA_OK; row += step) {
        int64_t count = view.rows - row < step ? view.rows - row : step;
        lora_view part = lr_view_rows(chunk, 0, count);
        status = write_bytes(context, part, values + row * view.cols);
        if (status == LORA_OK)
            status = context->backend->convert(context->device, lr_view_rows(view, row, count), part);
    }
    if (status == LORA_OK) status = context->backend->synchronize(context->device);
    lr_free_view(context, &chunk);
    return status;
}
