// Checks at the public border. Inside the library arguments are trusted.
#ifndef LR_VALIDATE_H
#define LR_VALIDATE_H

#include "lib/error.h"

#include <string.h>

#define LR_CHECK_ARGUMENT(condition, ...)                                                                              \
    do {                                                                                                               \
        if (!(condition)) return lr_fail(LORA_ERROR_ARGUMENT, __VA_ARGS__);                                            \
    } while (0)

#define LR_CHECK_HANDLE(handle) LR_CHECK_ARGUMENT((handle) != NULL, "%s: %s is NULL", __func__, #handle)

// Fills an option struct of any release, `size` bytes to its caller, with the first of `defaults` or zeros after them.
static inline void lr_give_defaults(void *options, size_t size, const void *defaults, size_t known)
{
    if (!options || size < sizeof size || size > 4096) return;
    memset(options, 0, size);
    memcpy(options, defaults, size < known ? size : known);
    memcpy(options, &size, sizeof size);
}

// Takes an option struct of any release: `target` has been filled with defaults; what the caller's struct holds (its
// first struct_size bytes) is laid over it. A struct_size that is 0 or no multiple of 4 was not set by _init.
static inline lora_status lr_take_options(void *target, size_t known, const void *options, const char *function)
{
    if (!options) return LORA_OK;
    size_t size;
    memcpy(&size, options, sizeof size);
    if (size < sizeof size || size > 4096 || size % 4 != 0)
        return lr_fail(LORA_ERROR_ARGUMENT, "%s: struct_size is %zu: call the options' _init first", function, size);
    memcpy(target, options, size < known ? size : known);
    memcpy(target, &known, sizeof known);
    return LORA_OK;
}

// The other way, for structs that the library fills: writes as much of `source` as the caller's struct has room for.
static inline lora_status lr_give_info(void *info, const void *source, size_t known, const char *function)
{
    size_t size;
    if (!info) return lr_fail(LORA_ERROR_ARGUMENT, "%s: the struct to fill is NULL", function);
    memcpy(&size, info, sizeof size);
    if (size < sizeof size || size > 4096 || size % 4 != 0)
        return lr_fail(LORA_ERROR_ARGUMENT, "%s: struct_size is %zu: set it to sizeof the struct first", function,
                       size);
    memcpy(info, source, size < known ? size : known);
    memcpy(info, &size, sizeof size);
    return LORA_OK;
}

#endif
