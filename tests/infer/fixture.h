// A llama of a few thousand random numbers whose tokens are the 256 bytes, 256 to 259 aside: <s>, </s>, <|im_start|>,
// <pad>.
#ifndef INFER_FIXTURE_H
#define INFER_FIXTURE_H

#include "tests/lib/support.h"

#include <lora/lora.h>

#define VOCABULARY 260
#define CONTEXT 4096

typedef struct fixture {
    void *directory; // removed by fixture_close
    lora_context *context;
    lora_model *model;
    lora_adapter *adapter; // B is random, not zero
} fixture;

void fixture_open(fixture *f, int32_t threads);
void fixture_close(fixture *f);

lora_session *fixture_session(const fixture *f, int64_t context_length, int32_t prefill_batch);

// An answer taken whole.
typedef struct answer {
    int32_t ids[512];
    size_t count;
    char text[4096];
    size_t length;
    int32_t finish;
} answer;

// 1 to `count`, reproducible.
void make_prompt(int32_t *ids, size_t count);
lora_generate_options greedy(int32_t max_new_tokens);
void ask(lora_session *session, const int32_t *ids, size_t count, const lora_generate_options *options, answer *out);
void assert_same_answer(const answer *a, const answer *b);

#define assert_ok(call) check_status(LORA_OK, call, #call, __FILE__, __LINE__)
void check_status(lora_status expected, lora_status status, const char *call, const char *file, int line);

#endif
