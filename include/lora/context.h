/** @file context.h
 *  A context holds what everything else is made from: backend, threads, allocator, file access and log.
 *
 *  Calling convention, here and in every header: outputs come first only when they are handles, and are named `out`;
 *  an option struct may be NULL for its defaults and must otherwise come from its `_init` (a macro passes the size that
 *  the caller's header gives the struct, so that a library of another release writes no more and no less); a `const
 *  char *` result is lent by the handle it was asked of; every `_free` accepts NULL; a callback's `user` pointer comes
 *  last.
 *
 *  Handles keep what they were made from alive, so they can be freed in any order. Unless a function says otherwise, a
 *  handle may be used from one thread at a time; a context, a model, a tokenizer and an adapter that is not being
 *  trained may be used from any number of threads at once.
 */
#ifndef LORA_CONTEXT_H
#define LORA_CONTEXT_H

#include "status.h"

LORA_BEGIN_DECLS

typedef struct lora_context lora_context;

/** Where memory comes from. All three are called from any thread. */
typedef struct lora_allocator {
    /** `size` bytes (> 0) aligned for any C type, or NULL. */
    void *(*allocate)(size_t size, void *user);
    /** Like realloc: on NULL the old block is untouched. */
    void *(*reallocate)(void *block, size_t size, void *user);
    /** `block` is not NULL. */
    void (*release)(void *block, void *user);
    void *user;
} lora_allocator;

#define LORA_LOG_ERROR 0
#define LORA_LOG_WARNING 1
#define LORA_LOG_INFO 2
#define LORA_LOG_DEBUG 3

/** Receives one line without a newline; called from any thread. */
typedef void (*lora_log_fn)(int32_t level, const char *line, void *user);

/** Runs task(i, argument) for every i in [0, count), in any order and on any threads, and returns when all are done. */
typedef void (*lora_parallel_for_fn)(int64_t count, void (*task)(int64_t index, void *argument), void *argument,
                                     void *user);

/** Read access to files, for hosts that keep them in a pack file, encrypted or in memory. Paths are those given to the
 *  library, or a directory given to it plus "/" and a file name. Called from any thread. */
typedef struct lora_file_access {
    /** LORA_OK and a handle, or LORA_ERROR_NOT_FOUND / LORA_ERROR_IO. */
    lora_status (*open)(const char *path, void **handle, void *user);
    lora_status (*size)(void *handle, uint64_t *size, void *user);
    /** Fills `buffer` with `count` bytes from `offset`; fewer is LORA_ERROR_IO. */
    lora_status (*read)(void *handle, uint64_t offset, void *buffer, size_t count, void *user);
    /** Optional (NULL: files are read). The whole file as memory that stays valid until close. */
    lora_status (*map)(void *handle, const void **bytes, void *user);
    void (*close)(void *handle, void *user);
    void *user;
} lora_file_access;

typedef struct lora_context_options {
    size_t struct_size;
    const char *backend;              /**< "auto" (default), "cpu", "cuda" */
    int32_t threads;                  /**< 0 (default): one per processor this process may use */
    int32_t cpu_features;             /**< -1 (default): all that the CPU has; else a mask of LORA_CPU_ bits */
    const lora_allocator *allocator;  /**< NULL: malloc. Copied; its `user` must outlive the context */
    const lora_file_access *files;    /**< NULL: the file system. Copied likewise */
    lora_parallel_for_fn parallel_for;/**< NULL: own threads, started with the context and joined with it */
    void *parallel_for_user;
    lora_log_fn log;                  /**< NULL: silent */
    void *log_user;
    int32_t log_level;                /**< most detailed level wanted; default LORA_LOG_WARNING */
} lora_context_options;

#define LORA_CPU_AVX2 1          /**< AVX2, FMA and F16C */
#define LORA_CPU_AVX512 2        /**< AVX-512 F, BW, DQ, VL */
#define LORA_CPU_AVX512_BF16 4
#define LORA_CPU_AVX512_VNNI 8
#define LORA_CPU_NEON 16
#define LORA_CPU_AMX_BF16 32     /**< tile registers */
#define LORA_CPU_NEON_DOTPROD 64 /**< 8-bit dot products */
#define LORA_CPU_ADD_UNITS 128   /**< additions of AVX-512 run beside its FMAs (AMD Zen 4): f32 products replace a
                                      third of their multiplications by additions (Winograd's inner product), with two
                                      to three times the rounding error */
#define LORA_CPU_FETCH_AHEAD 256 /**< what is read in one stream comes from memory faster if it is asked for long
                                      before (Intel), not slower */

LORA_API void lora_context_options_init(lora_context_options *options, size_t struct_size);
#define lora_context_options_init(options) lora_context_options_init(options, sizeof *(options))

/** Makes a context. Errors: ARGUMENT, MEMORY, BACKEND (the message says what is missing).
 *  Same seed, inputs, thread count and backend give the same bits in everything made from it. */
LORA_API lora_status lora_context_create(lora_context **out, const lora_context_options *options);

/** Gives back the host's hold. Threads end when the last handle made from it is freed. */
LORA_API void lora_context_free(lora_context *context);

/** "cpu", "cuda", ...: the backend in use. */
LORA_API const char *lora_context_backend(const lora_context *context);

/** One line on the device: instruction sets and threads, or the graphics card. */
LORA_API const char *lora_context_device(const lora_context *context);

LORA_END_DECLS
#endif
