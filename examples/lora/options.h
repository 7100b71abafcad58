// Command-line options described by a table: `--name VALUE` or `--name=VALUE`.
#ifndef OPTIONS_H
#define OPTIONS_H

#include "app.h"

#include <stddef.h>

typedef enum option_kind {
    OPTION_FLAG,   // bool, no value
    OPTION_SWITCH, // bool, `true` or `false`
    OPTION_INTEGER,// int64_t, in the range of int32_t
    OPTION_SEED,   // int64_t
    OPTION_REAL,   // double
    OPTION_SIZE,   // uint64_t bytes: 6GB, 512MB, 1073741824
    OPTION_TEXT,   // const char *
    OPTION_TEMPLATE, // const char *: "alpaca", "chat", or the text of the file that was named
    OPTION_TEXTS,  // text_list: may be repeated; several values may follow once the verb's arguments are complete
    OPTION_NAMES,  // text_list: like TEXTS, a value is also cut at its commas
    OPTION_REFUSED // known, but not done yet: `english` says what to do instead
} option_kind;

typedef struct option option;
struct option {
    const char *name; // without the dashes
    option_kind kind;
    size_t offset;    // into the settings struct of the verb
    const char *value;// what stands in the help for the value
    const char *english, *chinese;
};

// What a verb is, for parsing and for its help.
typedef struct verb_help {
    const char *usage;   // "lora train MODEL --data DATA --output ADAPTER [options]"
    const char *english, *chinese;
    const char *example;
    const char *common;      // names of the options that --help shows; NULL: all
    size_t arguments;    // at least so many plain words
    size_t most_arguments;
} verb_help;

// Fills `settings` (and the settings of every verb in `app`). Returns EXIT_DONE; EXIT_USAGE after complaining; or -1
// when help was asked for and has been printed.
int parse_options(application *app, const verb_help *help, const option *options, void *settings, int count,
                  char **words);

// "6GB", "512MB", "1073741824" in bytes; false for anything else.
bool read_size(const char *text, uint64_t *out);
// "10%" or "0.1", of whatever size; false for anything else.
bool read_share(const char *text, double *out);
// What a value of the option is, for messages: "a whole number, like 8". `text` has room for 128 bytes.
const char *describe_value(const application *app, const option *o, char *text);

// The place of a text among names (ended by NULL). EXIT_DONE, or EXIT_USAGE after complaining.
int choose(const application *app, const char *option_name, const char *text, const char *const *names, int32_t *out);

// ---- the same table for JSON: settings that come over the network ---------------------------------------------------

// Sets the options that the keys of an object name, but for those in `others` (ended by NULL). A value is a number, a
// text, true or false, or for NAMES a list of texts; null leaves the option as it is. Texts that the settings then
// point to are kept in the array `keep`. EXIT_USAGE after complaining.
int set_options(const application *app, const option *options, void *settings, const json_t *object,
                const char *const *others, json_t *keep);
// The table as a list of {"name", "kind", "value", "choices", "min", "max", "en", "zh", "basic"}; `settings` holds the
// values of a start, `basic` (ended by NULL) names what most people look at. Options that name files are left out.
json_t *options_json(const option *options, const void *settings, const char *const *basic);

#endif
