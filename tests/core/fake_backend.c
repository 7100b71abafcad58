#include "fake_backend.h"

#include "src/core/backend_registry.h"

#include <string.h>

struct lora_device {
    const lora_backend_host *host;
};

struct lora_buffer {
    uint64_t size;
    uint8_t bytes[];
};

fake_record fake;

static lora_status fake_open(const lora_backend_host *host, lora_device **out)
{
    lora_device *device = host->allocator.allocate(sizeof *device, host->allocator.user);
    if (!device) return host->fail(LORA_ERROR_MEMORY, "the fake backend got no memory");
    device->host = host;
    fake.opened++;
    fake.host = *host;
    *out = device;
    return LORA_OK;
}

static void fake_close(lora_device *device)
{
    fake.closed++;
    device->host->allocator.release(device, device->host->allocator.user);
}

static const char *fake_describe(lora_device *device)
{
    return "a fake device";
}

static lora_status fake_synchronize(lora_device *device)
{
    fake.synchronized++;
    return LORA_OK;
}

static lora_status fake_create(lora_device *device, uint64_t size, lora_buffer **out)
{
    lora_buffer *buffer = device->host->allocator.allocate(sizeof *buffer + size, device->host->allocator.user);
    if (!buffer) return device->host->fail(LORA_ERROR_MEMORY, "the fake backend got no memory");
    memset(buffer, 0, sizeof *buffer + size);
    buffer->size = size;
    fake.live_buffers++;
    *out = buffer;
    return LORA_OK;
}

static void fake_free(lora_device *device, lora_buffer *buffer)
{
    fake.live_buffers--;
    device->host->allocator.release(buffer, device->host->allocator.user);
}

static lora_status fake_write(lora_device *device, lora_buffer *buffer, uint64_t offset, const void *bytes,
                              uint64_t size)
{
    if (offset > buffer->size || size > buffer->size - offset) return LORA_ERROR_INTERNAL;
    memcpy(buffer->bytes + offset, bytes, size);
    return LORA_OK;
}

static lora_status fake_read(lora_device *device, lora_buffer *buffer, uint64_t offset, void *bytes, uint64_t size)
{
    if (offset > buffer->size || size > buffer->size - offset) return LORA_ERROR_INTERNAL;
    memcpy(bytes, buffer->bytes + offset, size);
    return LORA_OK;
}

// f32 and bf16 (the upper half of the bits), contiguous.
static lora_status fake_convert(lora_device *device, lora_view target, lora_view source)
{
    for (int64_t i = 0; i < source.rows * source.cols; i++) {
        uint32_t bits = 0;
        uint16_t half;
        if (source.type == LORA_TYPE_F32) {
            memcpy(&bits, source.buffer->bytes + source.offset + 4 * i, 4);
        } else {
            memcpy(&half, source.buffer->bytes + source.offset + 2 * i, 2);
            bits = (uint32_t)half << 16;
        }
        half = (uint16_t)(bits >> 16);
        if (target.type == LORA_TYPE_F32)
            memcpy(target.buffer->bytes + target.offset + 4 * i, &bits, 4);
        else
            memcpy(target.buffer->bytes + target.offset + 2 * i, &half, 2);
    }
    return LORA_OK;
}

lora_backend fake_backend = {
    .abi = LORA_BACKEND_ABI,
    .name = "cpu",
    .open = fake_open,
    .close = fake_close,
    .describe = fake_describe,
    .synchronize = fake_synchronize,
    .buffer_create = fake_create,
    .buffer_free = fake_free,
    .buffer_write = fake_write,
    .buffer_read = fake_read,
    .convert = fake_convert,
};

const lora_backend *lr_cpu_backend(void)
{
    return &fake_backend;
}
