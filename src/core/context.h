// The context behind every handle: allocator, files, log, and the opened backend device.
#ifndef LR_CONTEXT_H
#define LR_CONTEXT_H

#include "lib/error.h"
#include "lib/memory.h"

#include <lora/backend.h>
#include <stdatomic.h>

struct lora_context {
    atomic_int references;
    lora_allocator allocator;
    lora_file_access files;
    const lora_backend *backend;
    lora_device *device;
    void *plugin; // handle of a backend that was loaded at run time; NULL for the CPU
    lora_backend_host host; // what the backend was opened with; lives as long as the device
    lora_log_fn log;
    void *log_user;
    int32_t log_level;
    int32_t threads;
};

lora_context *lr_context_retain(lora_context *context);
void lr_context_release(lora_context *context);
void lr_log(const lora_context *context, int32_t level, const char *format, ...) LR_PRINTF(3, 4);

// Buffers with an owner: a created buffer and a view of all of it, f32 [rows, cols].
lora_status lr_create_view(lora_context *context, int64_t rows, int64_t cols, lora_view *out);
void lr_free_view(lora_context *context, lora_view *view); // an absent view is accepted; makes it absent
// Rows [begin, begin + count) of a view, and its first element as host memory (NULL on a device that is not the host).
lora_view lr_view_rows(lora_view view, int64_t begin, int64_t count);
lora_view lr_view_columns(lora_view view, int64_t begin, int64_t count); // plain types only
static inline int lr_view_present(lora_view view) { return view.buffer != NULL; }
// Between a view with stride == cols and host floats; synchronizes.
lora_status lr_view_read(lora_context *context, lora_view view, float *values);
lora_status lr_view_write(lora_context *context, lora_view view, const float *values);

#endif
