#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1024];

static void cut_at_character(char *text, size_t capacity)
{
    size_t end = capacity - 1;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
    text[end] = '\0';
}

lora_status lr_fail(lora_status status, const char *format, ...)
{
    // An argument may be the current message itself.
    char text[sizeof message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) text[0] = '\0';
    memcpy(message, text, sizeof text);
    if ((size_t)length >= sizeof message) {
        message[sizeof message - 1] = '\0';
        cut_at_character(message, strlen(message));
    }
    return status;
}

lora_status lr_fail_memory(size_t bytes)
{
    return lr_fail(LORA_ERROR_MEMORY, "out of memory: %zu bytes were asked for", bytes);
}

const char *lr_error_text(void)
{
    return message;
}
