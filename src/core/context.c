// Core: what every other room of src/ stands on. context.c makes and frees contexts, view.c is memory of the context's
// device, backend_registry.c finds backends by name, status.c has the names of codes and types, validate.h the checks
// at the border.
#include "src/core/context.h"

#include "lib/file.h"
#include "src/core/backend_registry.h"
#include "src/core/validate.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_THREADS 1024
#define ALL_CPU_FEATURES \
    (LORA_CPU_AVX2 | LORA_CPU_AVX512 | LORA_CPU_AVX512_BF16 | LORA_CPU_AVX512_VNNI | LORA_CPU_NEON |                \
     LORA_CPU_AMX_BF16 | LORA_CPU_NEON_DOTPROD | LORA_CPU_ADD_UNITS | LORA_CPU_FETCH_AHEAD)

void (lora_context_options_init)(lora_context_options *options, size_t struct_size)
{
    const lora_context_options defaults = {.backend = "auto", .cpu_features = -1, .log_level = LORA_LOG_WARNING};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static lora_status check_options(const lora_context_options *options)
{
    LR_CHECK_ARGUMENT(options->threads >= 0 && options->threads <= MAX_THREADS,
                      "lora_context_create: threads is %d, expected 0 to %d", options->threads, MAX_THREADS);
    LR_CHECK_ARGUMENT(options->cpu_features == -1 || (options->cpu_features & ~ALL_CPU_FEATURES) == 0,
                      "lora_context_create: cpu_features is %d, expected -1 or a mask of LORA_CPU_ bits",
                      options->cpu_features);
    LR_CHECK_ARGUMENT(options->log_level >= LORA_LOG_ERROR && options->log_level <= LORA_LOG_DEBUG,
                      "lora_context_create: log_level is %d, expected %d to %d", options->log_level, LORA_LOG_ERROR,
                      LORA_LOG_DEBUG);
    const lora_allocator *allocator = options->allocator;
    LR_CHECK_ARGUMENT(!allocator || (allocator->allocate && allocator->reallocate && allocator->release),
                      "lora_context_create: allocator needs allocate, reallocate and release");
    const lora_file_access *files = options->files;
    LR_CHECK_ARGUMENT(!files || (files->open && files->size && files->read && files->close),
                      "lora_context_create: files needs open, size, read and close");
    return LORA_OK;
}

// The processors that this process may run on.
static int32_t usable_processors(void)
{
    long count = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
    if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : (int32_t)count;
}

// What a backend logs goes through the context's level.
static void log_of_backend(int32_t level, const char *line, void *user)
{
    lr_log(user, level, "%s", line);
}

static lora_status fail_of_backend(lora_status status, const char *text)
{
    return lr_fail(status, "%s", text);
}

static lora_status open_backend(lora_context *context, const char *name)
{
    LR_TRY(lr_backend_load(name, &context->backend, &context->plugin));
    lora_status status = context->backend->open(&context->host, &context->device);
    if (status != LORA_OK) {
        lr_backend_unload(context->plugin);
        context->plugin = NULL;
        context->backend = NULL;
    }
    return status;
}

// "auto": a graphics card when its plug-in is there and opens, else the CPU.
static lora_status open_best_backend(lora_context *context)
{
    if (open_backend(context, "cuda") == LORA_OK) return LORA_OK;
    lr_log(context, LORA_LOG_DEBUG, "%s", lr_error_text());
    return open_backend(context, "cpu");
}

static void fill(lora_context *context, const lora_context_options *options, const lora_allocator *allocator)
{
    *context = (lora_context){.allocator = *allocator,
                              .files = options->files ? *options->files : lr_system_files,
                              .log = options->log,
                              .log_user = options->log_user,
                              .log_level = options->log_level,
                              .threads = options->threads ? options->threads : usable_processors()};
    if (!options->files) context->files.user = &context->allocator;
    atomic_init(&context->references, 1);
    context->host = (lora_backend_host){.struct_size = sizeof context->host,
                                        .allocator = *allocator,
                                        .threads = context->threads,
                                        .cpu_features = options->cpu_features,
                                        .parallel_for = options->parallel_for,
                                        .parallel_for_user = options->parallel_for_user,
                                        .log = log_of_backend,
                                        .log_user = context,
                                        .fail = fail_of_backend};
}

lora_status lora_context_create(lora_context **out, const lora_context_options *given)
{
    LR_CHECK_HANDLE(out);
    *out = NULL;
    lora_context_options options;
    lora_context_options_init(&options);
    LR_TRY(lr_take_options(&options, sizeof options, given, __func__));
    LR_TRY(check_options(&options));

    const lora_allocator *allocator = options.allocator ? options.allocator : &lr_system_allocator;
    lora_context *context = lr_alloc(allocator, sizeof *context);
    if (!context) return LORA_ERROR_MEMORY;
    fill(context, &options, allocator);

    const char *name = options.backend ? options.backend : "auto";
    lora_status status = strcmp(name, "auto") == 0 ? open_best_backend(context) : open_backend(context, name);
    if (status != LORA_OK) {
        lr_free(allocator, context);
        return status;
    }
    *out = context;
    return LORA_OK;
}

void lora_context_free(lora_context *context)
{
    lr_context_release(context);
}

lora_context *lr_context_retain(lora_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void lr_context_release(lora_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1) return;
    context->backend->close(context->device);
    lr_backend_unload(context->plugin);
    lora_allocator allocator = context->allocator;
    lr_free(&allocator, context);
}

const char *lora_context_backend(const lora_context *context)
{
    return context ? context->backend->name : "";
}

const char *lora_context_device(const lora_context *context)
{
    return context ? context->backend->describe(context->device) : "";
}

void lr_log(const lora_context *context, int32_t level, const char *format, ...)
{
    if (!context->log || level > context->log_level) return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    context->log(level, line, context->log_user);
}
