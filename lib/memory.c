#include "memory.h"

#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

static void *system_allocate(size_t size, void *user)
{
    (void)user;
    return malloc(size);
}

static void *system_reallocate(void *block, size_t size, void *user)
{
    (void)user;
    return realloc(block, size);
}

static void system_release(void *block, void *user)
{
    (void)user;
    free(block);
}

const lora_allocator lr_system_allocator = {system_allocate, system_reallocate, system_release, NULL};

void *lr_alloc(const lora_allocator *allocator, size_t size)
{
    void *block = allocator->allocate(size ? size : 1, allocator->user);
    if (!block) lr_fail_memory(size);
    return block;
}

void *lr_alloc_array(const lora_allocator *allocator, size_t count, size_t size)
{
    uint64_t bytes;
    if (!lr_multiply(count, size, &bytes) || bytes > PTRDIFF_MAX) {
        lr_fail_memory(SIZE_MAX);
        return NULL;
    }
    return lr_alloc(allocator, (size_t)bytes);
}

void *lr_alloc_zeroed(const lora_allocator *allocator, size_t count, size_t size)
{
    void *block = lr_alloc_array(allocator, count, size);
    if (block) memset(block, 0, count * size);
    return block;
}

void *lr_realloc_array(const lora_allocator *allocator, void *block, size_t count, size_t size)
{
    uint64_t bytes;
    if (!lr_multiply(count, size, &bytes) || bytes > PTRDIFF_MAX) {
        lr_fail_memory(SIZE_MAX);
        return NULL;
    }
    if (!block) return lr_alloc(allocator, (size_t)bytes);
    void *grown = allocator->reallocate(block, bytes ? (size_t)bytes : 1, allocator->user);
    if (!grown) lr_fail_memory((size_t)bytes);
    return grown;
}

char *lr_duplicate_range(const lora_allocator *allocator, const char *text, size_t length)
{
    char *copy = lr_alloc(allocator, length + 1);
    if (!copy) return NULL;
    if (length) memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *lr_duplicate(const lora_allocator *allocator, const char *text)
{
    return lr_duplicate_range(allocator, text, strlen(text));
}

char *lr_format(const lora_allocator *allocator, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) return NULL;
    char *text = lr_alloc(allocator, (size_t)length + 1);
    if (!text) return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

void lr_free(const lora_allocator *allocator, void *block)
{
    if (block) allocator->release(block, allocator->user);
}

// The address that the allocator gave is kept just below the aligned block.
void *lr_alloc_aligned(const lora_allocator *allocator, size_t size)
{
    if (size > PTRDIFF_MAX - ALIGNMENT - sizeof(void *)) {
        lr_fail_memory(size);
        return NULL;
    }
    char *block = lr_alloc(allocator, size + ALIGNMENT + sizeof(void *));
    if (!block) return NULL;
    uintptr_t aligned = ((uintptr_t)block + sizeof(void *) + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    memcpy((char *)aligned - sizeof(void *), &block, sizeof(void *));
    return (void *)aligned;
}

void lr_free_aligned(const lora_allocator *allocator, void *block)
{
    if (!block) return;
    void *original;
    memcpy(&original, (char *)block - sizeof(void *), sizeof(void *));
    lr_free(allocator, original);
}

void lr_bytes_init(lr_bytes *bytes, const lora_allocator *allocator, size_t limit)
{
    *bytes = (lr_bytes){.allocator = allocator, .limit = limit};
}

lora_status lr_bytes_reserve(lr_bytes *bytes, size_t more)
{
    if (more > bytes->limit - bytes->size)
        return lr_fail(LORA_ERROR_DATA, "a text of more than %zu bytes was refused", bytes->limit);
    size_t needed = bytes->size + more + 1;
    if (needed <= bytes->capacity) return LORA_OK;
    size_t capacity = bytes->capacity < 32 ? 64 : bytes->capacity * 2;
    if (capacity < needed) capacity = needed;
    char *data = lr_realloc_array(bytes->allocator, bytes->data, capacity, 1);
    if (!data) return LORA_ERROR_MEMORY;
    bytes->data = data;
    bytes->capacity = capacity;
    bytes->data[bytes->size] = '\0';
    return LORA_OK;
}

lora_status lr_bytes_append(lr_bytes *bytes, const void *data, size_t size)
{
    LR_TRY(lr_bytes_reserve(bytes, size));
    if (size) memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    bytes->data[bytes->size] = '\0';
    return LORA_OK;
}

lora_status lr_bytes_append_text(lr_bytes *bytes, const char *text)
{
    return lr_bytes_append(bytes, text, strlen(text));
}

lora_status lr_bytes_append_format(lr_bytes *bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) return lr_fail(LORA_ERROR_INTERNAL, "a text could not be formatted");
    LR_TRY(lr_bytes_reserve(bytes, (size_t)length));
    va_start(arguments, format);
    vsnprintf(bytes->data + bytes->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    bytes->size += (size_t)length;
    return LORA_OK;
}

void lr_bytes_free(lr_bytes *bytes)
{
    lr_free(bytes->allocator, bytes->data);
    bytes->data = NULL;
    bytes->size = bytes->capacity = 0;
}

lora_status lr_grow(const lora_allocator *allocator, void **array, size_t *capacity, size_t needed, size_t item)
{
    if (needed <= *capacity) return LORA_OK;
    size_t larger = *capacity < 8 ? 16 : *capacity * 2;
    if (larger < needed) larger = needed;
    void *grown = lr_realloc_array(allocator, *array, larger, item);
    if (!grown) return LORA_ERROR_MEMORY;
    *array = grown;
    *capacity = larger;
    return LORA_OK;
}
