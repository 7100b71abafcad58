// The `lora` program: one file a verb, on the public API alone. What the verbs share: settings of a call, both
// languages, errors, and opening what the command line names.
#ifndef APP_H
#define APP_H

#include <jansson.h>
#include <lora/lora.h>
#include <stdbool.h>
#include <stdio.h>

// Exit status.
enum { EXIT_DONE = 0, EXIT_WORK = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

typedef struct text_list {
    const char *items[64];
    size_t count;
} text_list;

// Settings that go with every verb.
typedef struct application {
    bool chinese, json, quiet, help, help_all, force;
    int64_t threads;
    int64_t seed;
    const char *backend;
    const char *language;
    char *template_text; // of --template FILE; malloc's
    text_list arguments; // what is no option
    double start;        // seconds, when the process began
    lora_context *context;
    char *complaint; // [COMPLAINT_SIZE]: where complain() writes instead, for a verb that answers others; or NULL
} application;
#define COMPLAINT_SIZE 1024

// ---- talking -------------------------------------------------------------------------------------------------------

// The text in the user's language.
const char *say(const application *app, const char *english, const char *chinese)
    __attribute__((format_arg(2))) __attribute__((format_arg(3)));
// One line on standard error, prefixed with the program's name; returns `status`.
int complain(const application *app, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
// The library's message after a failed call, with the exit status that belongs to it.
int failed(const application *app, lora_status status);
// Progress and notes on standard error, silent with --quiet.
void note(const application *app, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Prints a result object on standard output; takes the reference.
int print_json(json_t *object);
// 1234567 as "1,234,567"; a size as "1.2 GB"; seconds as "1:02:03". `text` has room for 32 bytes.
const char *with_commas(int64_t value, char *text);
const char *as_size(uint64_t bytes, char *text);
const char *as_time(double seconds, char *text);

// ---- machine -------------------------------------------------------------------------------------------------------

double now(void);
int64_t peak_memory(void);      // the process's high-water mark in bytes
int64_t available_memory(void); // bytes; 0: unknown
bool path_exists(const char *path);
bool path_ends_with(const char *path, const char *ending); // in any letter case
bool directory_has_files(const char *path);
// Complains when a model's new place is the model itself, or is taken and --force was not given.
int check_model_output(const application *app, const char *model, const char *output);

// Ctrl-C ends the program with status 130 at once; between on_interrupt(cancel, handle) and on_interrupt(NULL, NULL) it
// calls cancel(handle), from a signal handler. interrupted(): it was pressed since.
void catch_interrupts(void);
void on_interrupt(void (*cancel)(void *handle), void *handle);
bool interrupted(void);

// ---- opening -------------------------------------------------------------------------------------------------------

lora_status open_context(application *app);
lora_status open_model(application *app, const char *path, const lora_model_options *options, lora_model **out);

// Adapters as the command line names them: PATH or PATH=WEIGHT.
typedef struct adapter_set {
    lora_adapter *handles[64];
    lora_adapter_use uses[64];
    size_t count;
} adapter_set;
lora_status open_adapters(const lora_model *model, const text_list *names, adapter_set *out);
void close_adapters(adapter_set *set);

// The name of a quantized type; complains and returns EXIT_USAGE for anything else.
int read_quantized_type(const application *app, const char *option_name, const char *text, lora_type *type);
// The type of a session's cache; complains likewise.
int read_cache_type(const application *app, const char *text, lora_type *type);
// "keep", "f32", "f16", "bf16" as a storage type; complains and returns EXIT_USAGE for anything else.
int read_type(const application *app, const char *option_name, const char *text, lora_type *type);

// ---- the verbs -----------------------------------------------------------------------------------------------------

int command_train(application *app, int count, char **words);
int command_generate(application *app, int count, char **words);
int command_chat(application *app, int count, char **words);
int command_eval(application *app, int count, char **words);
int command_ab(application *app, int count, char **words);
int command_compare(application *app, int count, char **words);
int command_merge(application *app, int count, char **words);
int command_inspect(application *app, int count, char **words);
int command_plan(application *app, int count, char **words);
int command_quantize(application *app, int count, char **words);
int command_check(application *app, int count, char **words);
int command_tokenize(application *app, int count, char **words);
int command_serve(application *app, int count, char **words);

#endif
