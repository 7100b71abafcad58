// Memory through a host's allocator, and sizes that are checked before they are used.
#ifndef LR_MEMORY_H
#define LR_MEMORY_H

#include "error.h"

#include <lora/context.h>
#include <stdbool.h>

// malloc, realloc, free.
extern const lora_allocator lr_system_allocator;

// All of these set the thread's message and return NULL when there is no memory. count * size is checked for overflow.
void *lr_alloc(const lora_allocator *allocator, size_t size);
void *lr_alloc_zeroed(const lora_allocator *allocator, size_t count, size_t size);
void *lr_alloc_array(const lora_allocator *allocator, size_t count, size_t size);
void *lr_realloc_array(const lora_allocator *allocator, void *block, size_t count, size_t size);
char *lr_duplicate(const lora_allocator *allocator, const char *text);
char *lr_duplicate_range(const lora_allocator *allocator, const char *text, size_t length); // zero-terminated
char *lr_format(const lora_allocator *allocator, const char *format, ...) LR_PRINTF(2, 3);

// NULL is accepted.
void lr_free(const lora_allocator *allocator, void *block);

// Blocks aligned to 64 bytes; released with lr_free_aligned only.
void *lr_alloc_aligned(const lora_allocator *allocator, size_t size);
void lr_free_aligned(const lora_allocator *allocator, void *block);

// true when the result fits; *out is then set.
static inline bool lr_multiply(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool lr_add(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }

// A growable run of bytes with a limit of its own.
typedef struct lr_bytes {
    const lora_allocator *allocator;
    char *data; // zero-terminated whenever it is not NULL; the zero is not counted
    size_t size;
    size_t capacity;
    size_t limit;
} lr_bytes;

void lr_bytes_init(lr_bytes *bytes, const lora_allocator *allocator, size_t limit);
lora_status lr_bytes_append(lr_bytes *bytes, const void *data, size_t size);
lora_status lr_bytes_append_text(lr_bytes *bytes, const char *text);
lora_status lr_bytes_append_format(lr_bytes *bytes, const char *format, ...) LR_PRINTF(2, 3);
lora_status lr_bytes_reserve(lr_bytes *bytes, size_t more);
void lr_bytes_free(lr_bytes *bytes);

// Grows an array of `item` bytes for one more element: doubles. Sets *capacity.
lora_status lr_grow(const lora_allocator *allocator, void **array, size_t *capacity, size_t needed, size_t item);

#endif
