// Errors: a status code and one line of text kept per thread. A lower layer's message is never overwritten: whoever
// finds the fault says it, everybody above returns the status as it is.
#ifndef LR_ERROR_H
#define LR_ERROR_H

#include <lora/status.h>

#if defined(__GNUC__)
#define LR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LR_PRINTF(text, first)
#endif

// Records the message (cut at 1 KiB on a character boundary) and returns `status`. Never allocates.
lora_status lr_fail(lora_status status, const char *format, ...) LR_PRINTF(2, 3);

// The message of LORA_ERROR_MEMORY.
lora_status lr_fail_memory(size_t bytes);

// This thread's last message.
const char *lr_error_text(void);

// Returns from the calling function on failure.
#define LR_TRY(call)                                                                                                   \
    do {                                                                                                               \
        lora_status lr_status_ = (call);                                                                               \
        if (lr_status_ != LORA_OK) return lr_status_;                                                                  \
    } while (0)

// Jumps to a clean-up label on failure; `status` is the function's own variable.
#define LR_GOTO(label, status, call)                                                                                   \
    do {                                                                                                               \
        if (((status) = (call)) != LORA_OK) goto label;                                                                \
    } while (0)

#endif
