// A tokenizer without merges, so that every id is a byte and every expectation can be written by hand: ids 0 to 255 are
// the bytes, then come the special tokens.
#ifndef TEST_DATA_FIXTURE_H
#define TEST_DATA_FIXTURE_H

#include "tests/lib/support.h"

#include <lora/dataset.h>

enum { BEGIN = 256, END, TURN, TURN_END, SIZE };

typedef struct fixture {
    lora_context *context;
    lora_tokenizer *tokenizer; // of the directory "tokenizer"
    lora_dataset *dataset;     // of the last load
} fixture;

// ChatML with <|turn|> and <|end|>.
extern const char chatml[];

// A tokenizer whose chat template is `chat_template` (NULL: none); `with_begin`: it puts <|begin|> in front of a text.
void open_fixture(fixture *f, void **state, const char *chat_template, bool with_begin);
void close_fixture(fixture *f);
// Writes a file of the test's directory and loads it.
lora_status load(fixture *f, void **state, const char *name, const char *content, const lora_dataset_options *options);

size_t rows_in(const fixture *f);
// What a row's ids say, and what its learnt labels say; special tokens as their texts. The result is the fixture's.
const char *text_of_row(const fixture *f, size_t row);
const char *learnt_in_row(const fixture *f, size_t row);
lora_dataset_info info_of(const fixture *f);
// The labels of a row are -100 or the id at the same place.
void assert_aligned(const fixture *f, size_t row);

// Calls with an own context whose n-th allocation fails once until_failure is set, for every n until none is reached.
// `call` prepares, sets memory->until_failure to n, does its work, sets it back to -1, frees what it made, and answers
// the work's status: MEMORY when an allocation failed. Nothing may stay allocated.
typedef lora_status (*allocating_call)(lora_context *context, failing_allocator *memory, long n, void *user);
void fail_each_allocation(allocating_call call, void *user);

#define assert_ok(call) assert_fails(LORA_OK, call, "")

#endif
