// The functions of the backend table that concern the device and its buffers.
#ifndef LR_DEVICE_H
#define LR_DEVICE_H

#include "cpu/cpu.h"

lora_status lr_device_open(const lora_backend_host *host, lora_device **out);
void lr_device_close(lora_device *device);
const char *lr_device_describe(lora_device *device);
int32_t lr_device_supports(lora_device *device, int32_t op, lora_type type);
void lr_device_memory(lora_device *device, uint64_t *free_bytes, uint64_t *total_bytes);
lora_status lr_device_reserve(lora_device *device, const lora_workspace_request *request);
uint64_t lr_device_workspace_bytes(lora_device *device, const lora_workspace_request *request);
lora_status lr_device_synchronize(lora_device *device);

lora_status lr_buffer_create(lora_device *device, uint64_t size, lora_buffer **out);
lora_status lr_buffer_wrap(lora_device *device, const void *bytes, uint64_t size, lora_buffer **out);
void lr_buffer_free(lora_device *device, lora_buffer *buffer);
void *lr_buffer_host(lora_buffer *buffer);
lora_status lr_buffer_write(lora_device *device, lora_buffer *buffer, uint64_t offset, const void *bytes,
                            uint64_t size);
lora_status lr_buffer_read(lora_device *device, lora_buffer *buffer, uint64_t offset, void *bytes, uint64_t size);

#endif
