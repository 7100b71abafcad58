// A blind test: pairs of answers, who was shown on the left, and what each judge chose.
//
//   ab.c          the handle, pairs, sides, verdicts   ab_prepare.c  answers of a model
//   ab_file.c     as JSON in a file, and back          ab_result.c   counts, agreement, sentences
//   binomial.c    the exact test and interval
#ifndef LR_AB_H
#define LR_AB_H

#include "lib/file.h"
#include "lib/json.h"
#include "src/core/context.h"

#include <lora/ab.h>

typedef struct lr_pair {
    char *prompt, *a, *b;
    bool a_left;
} lr_pair;

typedef struct lr_ab_verdict {
    int64_t pair;
    int32_t choice; // LORA_AB_, as shown
} lr_ab_verdict;

typedef struct lr_ab_judge {
    char *name;
    lr_ab_verdict *verdicts; // in the order in which they were given
    size_t count, capacity;
} lr_ab_judge;

struct lora_ab {
    lora_context *context;
    char *name_a, *name_b, *about;
    uint64_t seed;
    lr_pair *pairs;
    size_t pair_count, pair_capacity;
    lr_ab_judge *judges;
    size_t judge_count, judge_capacity;
    char *sentences[2], *document; // lent
};

// The options with their defaults, checked.
lora_status lr_ab_take_options(const lora_ab_options *options, const char *function, lora_ab_options *out);
lora_status lr_ab_append(lora_ab *ab, const char *prompt, const char *a, const char *b, bool a_left);
// Half of the pairs that differ, drawn by the seed, show A on the left.
lora_status lr_ab_draw_sides(lora_ab *ab);
bool lr_pair_is_same(const lr_pair *pair);
// A hash of the pairs as shown.
uint64_t lr_ab_fingerprint(const lora_ab *ab);
lr_ab_judge *lr_ab_find_judge(const lora_ab *ab, const char *name);
const lr_ab_verdict *lr_ab_find_verdict(const lr_ab_judge *judge, int64_t pair);

#endif
