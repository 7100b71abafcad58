// A tiny llama with random weights, rows of random ids, and an adapter on it: what the tests of the trainer share.
#ifndef TRAIN_FIXTURE_H
#define TRAIN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/train/trainer.h"

#include <lora/lora.h>

#define FIXTURE_VOCABULARY 96

typedef struct fixture {
    char directory[64]; // removed by fixture_close
    lora_context *context;
    lora_model *model;
    lora_dataset *data, *validation;
    lora_adapter_options adapter_options;
    lora_trainer_options options;
} fixture;

// `context` NULL: a new one with two threads.
void fixture_open(fixture *f, const lora_context_options *context);
void fixture_close(fixture *f);
// DIRECTORY/name; lives until the next call.
const char *fixture_path(fixture *f, const char *name);

// `rows` rows of 4 to 23 random ids; the first third of each is no label.
lora_dataset *fixture_rows(lora_context *context, int rows, uint64_t seed);

lora_adapter *fixture_adapter(fixture *f);
lora_trainer *fixture_trainer(fixture *f, lora_adapter *adapter);

// Every number of an adapter, in order.
typedef struct numbers {
    float *values;
    size_t count;
} numbers;
numbers read_numbers(const lora_adapter *adapter);
void free_numbers(numbers n);
void assert_same_bits(numbers a, numbers b); // frees both
double relative_difference(numbers a, numbers b); // |a - b| / |b|; frees both

#define assert_ok(call) assert_status(call, LORA_OK)
#define assert_status(call, expected) check_status(call, expected, #call, __FILE__, __LINE__)
void check_status(lora_status status, lora_status expected, const char *call, const char *file, int line);
// The last message holds `part`.
void assert_message(const char *part);

#endif
