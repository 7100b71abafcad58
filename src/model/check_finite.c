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

// Block types begin (Q8_0) with a half-precision scale; their integers cannot be other than finite.
static bool is_finite_q8_0(const uint8_t *bytes, uint64_t blocks)
{
    for (uint64_t i = 0; i < blocks; i++) {
        uint16_t scale;
        memcpy(&scale, bytes + i * 34, sizeof scale);
        if ((scale & 0x7C00u) == 0x7C00u) return false;
    }
    return true;
}

static bool is_finite(lora_type type, const uint8_t *bytes, uint64_t size)
{
    switch (type) {
    case LORA_TYPE_F32: return is_finite_f32(bytes, size / 4);
    case LORA_TYPE_F16: return is_finite_half(bytes, size / 2, 0x7C00u);
    case LORA_TYPE_BF16: return is_finite_half(bytes, size / 2, 0x7F80u);
    case LORA_TYPE_Q8_0: return is_finite_q8_0(bytes, size / 34);
    default: return true;
    }
}

// A device's memory that the host cannot see is looked at piece by piece.
static lora_status look_at_copy(const lora_context *context, const lr_tensor *tensor, uint64_t size, bool *finite)
{
    const uint64_t piece = (1 << 20) / 34 * 34 * 4; // whole numbers and blocks of every type
    uint8_t *bytes = lr_alloc_aligned(&context->allocator, (size_t)(size < piece ? size : piece));
    if (!bytes) return LORA_ERROR_MEMORY;
    lora_status status = LORA_OK;
    for (uint64_t offset = 0; offset < size && status == LORA_OK && *finite; offset += piece) {
        const uint64_t length = size - offset < piece ? size - offset : piece;
        status = context->backend->buffer_read(context->device, tensor->view.buffer, tensor->view.offset + offset,
                                               bytes, length);
        *finite = is_finite(tensor->view.type, bytes, length);
    }
    lr_free_aligned(&context->allocator, bytes);
    return status;
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
    const uint8_t *bytes = context->backend->buffer_host(tensor->view.buffer);
    if (bytes)
        finite = is_finite(tensor->view.type, bytes + tensor->view.offset, size);
    else
        LR_TRY(look_at_copy(context, tensor, size, &finite));
    if (!finite)
        return lr_fail(LORA_ERROR_NOT_FINITE,
                       "%s: tensor '%s' holds a NaN or infinite number; the file is damaged or its "
                       "training had diverged",
                       model->path, tensor->name);
    atomic_store(&tensor->finite, 1);
    return LORA_OK;
}
