// Finding NaN and infinity in stored weights: an exponent of all ones, in whichever format.
#include "model.h"

#include "lib/tensor_file.h"

#include <string.h>

// Plain loops without an early way out, so that they vectorise.
static bool is_finite_f32(const uint8_t *bytes, uint64_t count)
{
    const uint32_t *words = (const uint32_t *)(const void *)bytes;
    uint32_t bad = 0;
    for (uint64_t i = 0; i < count; i++) bad |= (words[i] & 0x7F800000u) == 0x7F800000u;
    return bad == 0;
}

static bool is_finite_half(const uint8_t *bytes, uint64_t count, uint16_t exponent)
{
    const uint16_t *words = (const uint16_t *)(const void *)bytes;
    uint16_t bad = 0;
    for (uint64_t i = 0; i < count; i++) bad |= (words[i] & exponent) == exponent;
    return bad == 0;
}

// Where the half-precision numbers of a block lie; its integers cannot be other than finite.
static const struct {
    uint8_t first, count;
} halves[LORA_TYPE_COUNT] = {
    [LORA_TYPE_Q8_0] = {0, 1}, [LORA_TYPE_Q4_0] = {0, 1}, [LORA_TYPE_Q4_1] = {0, 2}, [LORA_TYPE_Q5_0] = {0, 1},
    [LORA_TYPE_Q5_1] = {0, 2}, [LORA_TYPE_Q4_K] = {0, 2}, [LORA_TYPE_Q5_K] = {0, 2}, [LORA_TYPE_Q6_K] = {208, 1},
};

static bool are_finite_blocks(lora_type type, const uint8_t *bytes, uint64_t size)
{
    const uint64_t block = (uint64_t)lr_type_block_bytes(type);
    for (uint64_t i = 0; i + block <= size; i += block) {
        for (int h = 0; h < halves[type].count; h++) {
            uint16_t half;
            memcpy(&half, bytes + i + halves[type].first + 2 * h, sizeof half);
            if ((half & 0x7C00u) == 0x7C00u) return false;
        }
    }
    return true;
}

static bool is_finite(lora_type type, const uint8_t *bytes, uint64_t size)
{
    switch (type) {
    case LORA_TYPE_F32: return is_finite_f32(bytes, size / 4);
    case LORA_TYPE_F16: return is_finite_half(bytes, size / 2, 0x7C00u);
    case LORA_TYPE_BF16: return is_finite_half(bytes, size / 2, 0x7F80u);
    default: return halves[type].count == 0 || are_finite_blocks(type, bytes, size);
    }
}

// A device's memory that the host cannot see is looked at piece by piece.
static lora_status look_at_copy(const lora_context *context, lora_type type, lora_buffer *buffer, uint64_t begin,
                                uint64_t size, bool *finite)
{
    const uint64_t block = (uint64_t)lr_type_block_bytes(type), piece = (4 << 20) / block * block;
    uint8_t *bytes = lr_alloc_aligned(&context->allocator, (size_t)(size < piece ? size : piece));
    if (!bytes) return LORA_ERROR_MEMORY;
    lora_status status = LORA_OK;
    for (uint64_t offset = 0; offset < size && status == LORA_OK && *finite; offset += piece) {
        const uint64_t length = size - offset < piece ? size - offset : piece;
        status = context->backend->buffer_read(context->device, buffer, begin + offset, bytes, length);
        *finite = is_finite(type, bytes, length);
    }
    lr_free_aligned(&context->allocator, bytes);
    return status;
}

static lora_status look_at(const lora_context *context, lora_type type, lora_buffer *buffer, uint64_t begin,
                           uint64_t size, bool *finite)
{
    const uint8_t *bytes = context->backend->buffer_host(buffer);
    if (!bytes) return look_at_copy(context, type, buffer, begin, size, finite);
    *finite = is_finite(type, bytes + begin, size);
    return LORA_OK;
}

lora_status lr_model_check_finite(const lora_model *model, size_t index)
{
    lr_tensor *tensor = &model->tensors[index];
    const lora_context *context = model->context;
    uint64_t size;
    bool finite = true;
    if (atomic_load(&tensor->finite)) return LORA_OK;
    if (!lr_type_bytes(tensor->view.type, tensor->view.rows, tensor->view.cols, &size))
        return lr_fail(LORA_ERROR_INTERNAL, "tensor '%s' has no size", tensor->name);
    LR_TRY(context->backend->synchronize(context->device));
    const lora_view *view = &tensor->view;
    LR_TRY(look_at(context, view->type, view->buffer, view->offset, size, &finite));
    if (view->scale_buffer && finite)
        LR_TRY(look_at(context, LORA_TYPE_F32, view->scale_buffer, view->scale_offset,
                       (uint64_t)lr_type_scales(view->type, view->rows, view->cols) * sizeof(float), &finite));
    if (!finite)
        return lr_fail(LORA_ERROR_NOT_FINITE,
                       "%s: tensor '%s' holds a NaN or infinite number; the file is damaged or its "
                       "training had diverged",
                       model->path, tensor->name);
    atomic_store(&tensor->finite, 1);
    return LORA_OK;
}
