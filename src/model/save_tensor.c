// A tensor on its way to a file: some rows at a time, converted and reordered.
#include "save.h"

#include "lib/tensor_file.h"

#define CHUNK ((int64_t)1 << 20) // numbers at a time

typedef struct lr_outlet {
    lora_context *context;
    lora_view plain;  // f32 [rows at a time, cols]: between two types; absent when they are the same
    lora_view target; // of the file's type; absent likewise
    uint8_t *bytes;
    uint64_t row_bytes;
    float *scales; // of the whole tensor; NULL: it has none
    int64_t row_scales;
} lr_outlet;

lora_type lr_save_plain_type(const lr_tensor *tensor)
{
    lora_type type = tensor->stored;
    return type == LORA_TYPE_F32 || type == LORA_TYPE_F16 || type == LORA_TYPE_BF16 ? type : LORA_TYPE_F16;
}

static lora_status open_outlet(lr_outlet *outlet, const lora_model *model, const lr_tensor *tensor, lora_type type,
                               int64_t rows, float *scales)
{
    lora_context *context = model->context;
    uint64_t size;
    int64_t cols = tensor->view.cols;
    *outlet = (lr_outlet){.context = context, .scales = scales, .row_scales = lr_type_scales(type, 1, cols)};
    if (!lr_type_bytes(type, 1, cols, &outlet->row_bytes) || !lr_type_bytes(type, rows, cols, &size))
        return lr_fail(LORA_ERROR_UNSUPPORTED, "tensor '%s' of %lld columns cannot be written as %s", tensor->name,
                       (long long)cols, lora_type_name(type));
    outlet->bytes = lr_alloc_aligned(&context->allocator, (size_t)size);
    if (!outlet->bytes) return LORA_ERROR_MEMORY;
    if (type == tensor->view.type) return LORA_OK;
    outlet->target = (lora_view){.rows = rows, .cols = cols, .stride = cols, .type = type};
    const uint64_t scale_bytes = (uint64_t)(rows * outlet->row_scales) * sizeof(float);
    LR_TRY(context->backend->buffer_create(context->device, size, &outlet->target.buffer));
    if (scale_bytes)
        LR_TRY(context->backend->buffer_create(context->device, scale_bytes, &outlet->target.scale_buffer));
    return lr_create_view(context, rows, cols, &outlet->plain);
}

static void close_outlet(lr_outlet *outlet)
{
    lr_free_aligned(&outlet->context->allocator, outlet->bytes);
    outlet->context->backend->buffer_free(outlet->context->device, outlet->target.scale_buffer);
    lr_free_view(outlet->context, &outlet->target);
    lr_free_view(outlet->context, &outlet->plain);
}

// Rows [begin, begin + count) as the file has them.
static lora_status fetch(lr_outlet *outlet, lora_view source, int64_t begin, int64_t count)
{
    lora_context *context = outlet->context;
    const lora_backend *backend = context->backend;
    lora_view rows = lr_view_rows(source, begin, count);
    if (lr_view_present(outlet->target)) {
        lora_view plain = lr_view_rows(outlet->plain, 0, count), target = lr_view_rows(outlet->target, 0, count);
        LR_TRY(backend->convert(context->device, plain, rows));
        LR_TRY(backend->convert(context->device, target, plain));
        rows = target;
    }
    LR_TRY(backend->synchronize(context->device));
    if (outlet->scales)
        LR_TRY(backend->buffer_read(context->device, rows.scale_buffer, rows.scale_offset,
                                    outlet->scales + begin * outlet->row_scales,
                                    (uint64_t)(count * outlet->row_scales) * sizeof(float)));
    return backend->buffer_read(context->device, rows.buffer, rows.offset, outlet->bytes,
                                outlet->row_bytes * (uint64_t)count);
}

static lora_status send_rows(const lr_outlet *outlet, int64_t count, int64_t head_rows, lr_sink_fn send, void *sink)
{
    if (head_rows == 0) return send(sink, outlet->bytes, (size_t)(outlet->row_bytes * (uint64_t)count));
    for (int64_t head = 0; head < count; head += head_rows)
        for (int64_t i = 0; i < head_rows; i++) {
            int64_t row = head + i / 2 + i % 2 * (head_rows / 2);
            LR_TRY(send(sink, outlet->bytes + outlet->row_bytes * (uint64_t)row, (size_t)outlet->row_bytes));
        }
    return LORA_OK;
}

static lora_status tell_progress(lr_saving *saving, const lr_tensor *tensor)
{
    lr_model_forget(saving->model, tensor);
    const double fraction = (double)++saving->sent / (double)saving->model->tensor_count;
    if (saving->progress && saving->progress(fraction < 1 ? fraction : 1, saving->progress_user) != 0)
        return lr_fail(LORA_ERROR_CANCELLED, "saving was cancelled");
    return LORA_OK;
}

lora_status lr_save_tensor(lr_saving *saving, const lr_tensor *tensor, lora_type type, int64_t head_rows, float *scales,
                           lr_sink_fn send, void *sink)
{
    lora_view view = tensor->view;
    if (type >= LORA_TYPE_INT8 && type != view.type) // one number that is not finite spoils a block
        LR_TRY(lr_model_check_finite(saving->model, (size_t)(tensor - saving->model->tensors)));
    int64_t step = CHUNK / view.cols > 1 ? CHUNK / view.cols : 1;
    if (head_rows) step = step < head_rows ? head_rows : step / head_rows * head_rows;
    if (step > view.rows) step = view.rows;
    lr_outlet outlet;
    lora_status status = open_outlet(&outlet, saving->model, tensor, type, step, scales);
    for (int64_t row = 0; row < view.rows && status == LORA_OK; row += step) {
        int64_t count = view.rows - row < step ? view.rows - row : step;
        status = fetch(&outlet, view, row, count);
        if (status == LORA_OK) status = send_rows(&outlet, count, head_rows, send, sink);
    }
    close_outlet(&outlet);
    return status == LORA_OK ? tell_progress(saving, tensor) : status;
}
