#include "app.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- talking -------------------------------------------------------------------------------------------------------

const char *say(const application *app, const char *english, const char *chinese)
{
    return app->chinese ? chinese : english;
}

int complain(const application *app, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (app->complaint) {
        vsnprintf(app->complaint, COMPLAINT_SIZE, format, arguments);
    } else {
        fputs(say(app, "lora: ", "lora：错误："), stderr);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
    }
    va_end(arguments);
    return status;
}

int failed(const application *app, lora_status status)
{
    if (status == LORA_ERROR_CANCELLED && interrupted()) return EXIT_INTERRUPTED;
    return complain(app, status == LORA_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_WORK, "%s", lora_error_message());
}

void note(const application *app, const char *format, ...)
{
    if (app->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int print_json(json_t *object)
{
    int status =
        !object || json_dumpf(object, stdout, JSON_REAL_PRECISION(9)) != 0 || putchar('\n') < 0 || fflush(stdout) != 0;
    json_decref(object);
    return status ? EXIT_WORK : EXIT_DONE;
}

const char *with_commas(int64_t value, char *text)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, value);
    char *out = text;
    for (int i = 0; i < length; i++) {
        *out++ = digits[i];
        if (i + 1 < length && (length - 1 - i) % 3 == 0 && digits[i] != '-') *out++ = ',';
    }
    *out = '\0';
    return text;
}

const char *as_size(uint64_t bytes, char *text)
{
    static const char *units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, unit++;
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

const char *as_time(double seconds, char *text)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s >= 3600) snprintf(text, 32, "%" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
    else snprintf(text, 32, "%" PRId64 ":%02" PRId64, s / 60, s % 60);
    return text;
}

// ---- machine -------------------------------------------------------------------------------------------------------

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

// The line "NAME: N kB" of a file of /proc, in bytes; 0 when there is none.
static int64_t read_kilobytes(const char *path, const char *name)
{
    int64_t kilobytes = 0;
    char line[128];
    size_t length = strlen(name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (kilobytes == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, length) == 0 && line[length] == ':') kilobytes = strtoll(line + length + 1, NULL, 10);
    fclose(file);
    return kilobytes * 1024;
}

// Not ru_maxrss where it can be helped: that one begins with the peak of the program that started this one.
int64_t peak_memory(void)
{
    struct rusage usage;
    int64_t bytes = read_kilobytes("/proc/self/status", "VmHWM");
    return bytes || getrusage(RUSAGE_SELF, &usage) != 0 ? bytes : (int64_t)usage.ru_maxrss * 1024;
}

int64_t available_memory(void)
{
    return read_kilobytes("/proc/meminfo", "MemAvailable");
}

bool path_exists(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0;
}

bool path_ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), size = strlen(ending);
    return length > size && strcasecmp(path + length - size, ending) == 0;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

int check_model_output(const application *app, const char *model, const char *output)
{
    if (is_same_file(model, output))
        return complain(app, EXIT_WORK,
                        say(app, "%s is the model itself; choose another --output", "%s 就是原模型；请换一个 --output"),
                        output);
    if (path_exists(output) && !app->force)
        return complain(app, EXIT_WORK,
                        say(app, "%s is there already; --force overwrites it", "%s 已存在；--force 可覆盖"), output);
    return EXIT_DONE;
}

bool directory_has_files(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(directory));) found = entry->d_name[0] != '.';
    closedir(directory);
    return found;
}

// The one thing a signal handler can reach.
static void (*volatile cancel_call)(void *handle);
static void *volatile cancel_handle;
static volatile sig_atomic_t was_interrupted;

static void handle_interrupt(int number)
{
    (void)number;
    if (was_interrupted || !cancel_call) _exit(EXIT_INTERRUPTED);
    was_interrupted = 1;
    cancel_call(cancel_handle);
}

void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = handle_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void on_interrupt(void (*cancel)(void *handle), void *handle)
{
    if (cancel) was_interrupted = 0;
    cancel_call = NULL;
    cancel_handle = handle;
    cancel_call = cancel;
}

bool interrupted(void)
{
    return was_interrupted;
}

// ---- opening -------------------------------------------------------------------------------------------------------

static void print_log(int32_t level, const char *line, void *user)
{
    const application *app = user;
    note(app, "%s%s", say(app, level == LORA_LOG_WARNING ? "note: " : "", level == LORA_LOG_WARNING ? "注意：" : ""),
         line);
}

lora_status open_context(application *app)
{
    lora_context_options options;
    lora_context_options_init(&options);
    options.threads = (int32_t)app->threads;
    options.backend = app->backend;
    options.log = print_log;
    options.log_user = app;
    return lora_context_create(&app->context, &options);
}

lora_status open_model(application *app, const char *path, const lora_model_options *options, lora_model **out)
{
    lora_status status = app->context ? LORA_OK : open_context(app);
    return status == LORA_OK ? lora_model_load(app->context, path, options, out) : status;
}

// Splits "PATH=WEIGHT"; the weight is 1 when there is none. `path` has room for 4096 bytes.
static bool split_weight(const char *name, char *path, float *weight)
{
    const char *equals = strrchr(name, '=');
    char *end = NULL;
    *weight = 1;
    if (equals) {
        float value = strtof(equals + 1, &end);
        if (end != equals + 1 && *end == '\0') *weight = value;
        else equals = NULL;
    }
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    if (length >= 4096) return false;
    memcpy(path, name, length);
    path[length] = '\0';
    return true;
}

lora_status open_adapters(const lora_model *model, const text_list *names, adapter_set *out)
{
    out->count = 0;
    for (size_t i = 0; i < names->count; i++) {
        char path[4096];
        float weight;
        if (!split_weight(names->items[i], path, &weight)) return LORA_ERROR_ARGUMENT;
        lora_status status = lora_adapter_load(model, path, 0, &out->handles[i]);
        if (status != LORA_OK) {
            close_adapters(out);
            return status;
        }
        out->uses[i] = (lora_adapter_use){.adapter = out->handles[i], .weight = weight};
        out->count++;
    }
    return LORA_OK;
}

void close_adapters(adapter_set *set)
{
    for (size_t i = 0; i < set->count; i++) lora_adapter_free(set->handles[i]);
    set->count = 0;
}

static bool type_named(const char *text, lora_type first, lora_type last, lora_type *type)
{
    for (lora_type t = first; t <= last; t++)
        if (strcmp(lora_type_name(t), text) == 0) return *type = t, true;
    return false;
}

int read_quantized_type(const application *app, const char *option_name, const char *text, lora_type *type)
{
    if (type_named(text, LORA_TYPE_INT8, LORA_TYPE_COUNT - 1, type)) return EXIT_DONE;
    return complain(app, EXIT_USAGE,
                    say(app, "--%s %s: choose nf4, int8, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1 or q4_0",
                        "--%s %s：可选 nf4、int8、q8_0、q6_k、q5_k、q5_1、q5_0、q4_k、q4_1、q4_0"),
                    option_name, text);
}

int read_cache_type(const application *app, const char *text, lora_type *type)
{
    if (type_named(text, LORA_TYPE_F32, LORA_TYPE_BF16, type)) return EXIT_DONE;
    return complain(app, EXIT_USAGE, say(app, "--cache-type %s: choose f32, f16 or bf16",
                                         "--cache-type %s：可选 f32、f16、bf16"), text);
}

int read_type(const application *app, const char *option_name, const char *text, lora_type *type)
{
    if (strcmp(text, "keep") == 0) return *type = LORA_TYPE_KEEP, EXIT_DONE;
    if (type_named(text, LORA_TYPE_F32, LORA_TYPE_BF16, type)) return EXIT_DONE;
    return complain(app, EXIT_USAGE, say(app, "--%s %s: choose keep, f32, f16 or bf16",
                                         "--%s %s：可选 keep、f32、f16、bf16"), option_name, text);
}
