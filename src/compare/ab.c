#include "src/compare/ab.h"

#include "lib/random.h"
#include "lib/unicode.h"
#include "src/core/validate.h"

#include <string.h>

#define SIDES_STREAM 0x73696465u // "side"
#define LONGEST_JUDGE 64

void(lora_ab_options_init)(lora_ab_options *options, size_t struct_size)
{
    const lora_ab_options defaults = {.name_a = "A", .name_b = "B", .seed = 42, .about = ""};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static bool is_text(const char *text)
{
    return text && lr_utf8_is_valid(text, strlen(text));
}

lora_status lr_ab_take_options(const lora_ab_options *options, const char *function, lora_ab_options *out)
{
    lora_ab_options_init(out);
    LR_TRY(lr_take_options(out, sizeof *out, options, function));
    LR_CHECK_ARGUMENT(is_text(out->name_a) && is_text(out->name_b) && is_text(out->about),
                      "a name of the test is no UTF-8 text");
    LR_CHECK_ARGUMENT(*out->name_a && *out->name_b && strcmp(out->name_a, out->name_b) != 0,
                      "the two systems need two names; both are '%s'", out->name_a);
    LR_CHECK_ARGUMENT(out->max_rows >= 0, "max_rows is %d; expected 0 or more", out->max_rows);
    return LORA_OK;
}

// ---- the handle ----------------------------------------------------------------------------------------------------

lora_status lora_ab_create(lora_context *context, const lora_ab_options *options, lora_ab **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_HANDLE(out);
    lora_ab_options o;
    LR_TRY(lr_ab_take_options(options, __func__, &o));
    const lora_allocator *allocator = &context->allocator;
    lora_ab *ab = lr_alloc_zeroed(allocator, 1, sizeof *ab);
    if (!ab) return LORA_ERROR_MEMORY;
    ab->context = lr_context_retain(context);
    ab->seed = o.seed;
    ab->name_a = lr_duplicate(allocator, o.name_a);
    ab->name_b = lr_duplicate(allocator, o.name_b);
    ab->about = lr_duplicate(allocator, o.about);
    if (!ab->name_a || !ab->name_b || !ab->about) {
        lora_ab_free(ab);
        return LORA_ERROR_MEMORY;
    }
    *out = ab;
    return LORA_OK;
}

void lora_ab_free(lora_ab *ab)
{
    if (!ab) return;
    lora_context *context = ab->context;
    const lora_allocator *allocator = &context->allocator;
    for (size_t i = 0; i < ab->pair_count; i++) {
        lr_free(allocator, ab->pairs[i].prompt);
        lr_free(allocator, ab->pairs[i].a);
        lr_free(allocator, ab->pairs[i].b);
    }
    for (size_t i = 0; i < ab->judge_count; i++) {
        lr_free(allocator, ab->judges[i].name);
        lr_free(allocator, ab->judges[i].verdicts);
    }
    lr_free(allocator, ab->pairs);
    lr_free(allocator, ab->judges);
    lr_free(allocator, ab->name_a);
    lr_free(allocator, ab->name_b);
    lr_free(allocator, ab->about);
    lr_free(allocator, ab->sentences[0]);
    lr_free(allocator, ab->sentences[1]);
    lr_free(allocator, ab->document);
    lr_free(allocator, ab);
    lr_context_release(context);
}

// ---- pairs ---------------------------------------------------------------------------------------------------------

bool lr_pair_is_same(const lr_pair *pair)
{
    return strcmp(pair->a, pair->b) == 0;
}

lora_status lr_ab_append(lora_ab *ab, const char *prompt, const char *a, const char *b, bool a_left)
{
    const lora_allocator *allocator = &ab->context->allocator;
    LR_TRY(lr_grow(allocator, (void **)&ab->pairs, &ab->pair_capacity, ab->pair_count + 1, sizeof *ab->pairs));
    lr_pair pair = {lr_duplicate(allocator, prompt), lr_duplicate(allocator, a), lr_duplicate(allocator, b), a_left};
    if (!pair.prompt || !pair.a || !pair.b) {
        lr_free(allocator, pair.prompt);
        lr_free(allocator, pair.a);
        lr_free(allocator, pair.b);
        return LORA_ERROR_MEMORY;
    }
    ab->pairs[ab->pair_count++] = pair;
    return LORA_OK;
}

// A shuffle of the pairs that differ (Fisher and Yates 1938); its first half, the odd one by another draw, is A's left.
lora_status lr_ab_draw_sides(lora_ab *ab)
{
    const lora_allocator *allocator = &ab->context->allocator;
    size_t *order = lr_alloc_array(allocator, ab->pair_count + 1, sizeof *order), count = 0;
    if (!order) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < ab->pair_count; i++)
        if (!lr_pair_is_same(&ab->pairs[i])) order[count++] = i;
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)lr_random_below(ab->seed, SIDES_STREAM, i, i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    size_t half = (count + lr_random_below(ab->seed, SIDES_STREAM, 0, 2)) / 2;
    for (size_t i = 0; i < count; i++) ab->pairs[order[i]].a_left = i < half;
    lr_free(allocator, order);
    return LORA_OK;
}

lora_status lora_ab_add(lora_ab *ab, const char *prompt, const char *answer_a, const char *answer_b)
{
    LR_CHECK_HANDLE(ab);
    LR_CHECK_ARGUMENT(is_text(prompt) && is_text(answer_a) && is_text(answer_b),
                      "the prompt and both answers must be UTF-8 texts");
    if (ab->judge_count > 0)
        return lr_fail(LORA_ERROR_STATE, "the test has been judged: pairs are added before the first verdict");
    LR_TRY(lr_ab_append(ab, prompt, answer_a, answer_b, false));
    return lr_ab_draw_sides(ab);
}

uint64_t lr_ab_fingerprint(const lora_ab *ab)
{
    uint64_t hash = lr_hash64(0, &ab->pair_count, sizeof ab->pair_count);
    for (size_t i = 0; i < ab->pair_count; i++) {
        const lr_pair *pair = &ab->pairs[i];
        const char *left = pair->a_left ? pair->a : pair->b, *right = pair->a_left ? pair->b : pair->a;
        hash = lr_hash64(hash, pair->prompt, strlen(pair->prompt) + 1);
        hash = lr_hash64(hash, left, strlen(left) + 1);
        hash = lr_hash64(hash, right, strlen(right) + 1);
    }
    return hash;
}

size_t lora_ab_count(const lora_ab *ab)
{
    return ab ? ab->pair_count : 0;
}

const char *lora_ab_about(const lora_ab *ab)
{
    return ab ? ab->about : "";
}

// ---- judges --------------------------------------------------------------------------------------------------------

static lora_status check_judge(const char *name)
{
    LR_CHECK_ARGUMENT(is_text(name) && *name && strlen(name) <= LONGEST_JUDGE,
                      "a judge's name is 1 to %d bytes of UTF-8", LONGEST_JUDGE);
    return LORA_OK;
}

lr_ab_judge *lr_ab_find_judge(const lora_ab *ab, const char *name)
{
    for (size_t i = 0; i < ab->judge_count; i++)
        if (strcmp(ab->judges[i].name, name) == 0) return &ab->judges[i];
    return NULL;
}

const lr_ab_verdict *lr_ab_find_verdict(const lr_ab_judge *judge, int64_t pair)
{
    for (size_t i = 0; judge && i < judge->count; i++)
        if (judge->verdicts[i].pair == pair) return &judge->verdicts[i];
    return NULL;
}

// A new judge without verdicts, or the one of that name. NULL: no memory.
static lr_ab_judge *make_judge(lora_ab *ab, const char *name)
{
    const lora_allocator *allocator = &ab->context->allocator;
    lr_ab_judge *found = lr_ab_find_judge(ab, name);
    if (found) return found;
    if (lr_grow(allocator, (void **)&ab->judges, &ab->judge_capacity, ab->judge_count + 1, sizeof *ab->judges) !=
        LORA_OK)
        return NULL;
    lr_ab_judge judge = {.name = lr_duplicate(allocator, name)};
    if (!judge.name) return NULL;
    ab->judges[ab->judge_count] = judge;
    return &ab->judges[ab->judge_count++];
}

static lora_status add_verdict(const lora_ab *ab, lr_ab_judge *judge, int64_t pair, int32_t choice)
{
    LR_TRY(lr_grow(&ab->context->allocator, (void **)&judge->verdicts, &judge->capacity, judge->count + 1,
                   sizeof *judge->verdicts));
    judge->verdicts[judge->count++] = (lr_ab_verdict){pair, choice};
    return LORA_OK;
}

static lora_status check_pair(const lora_ab *ab, int64_t index)
{
    LR_CHECK_ARGUMENT(index >= 0 && (size_t)index < ab->pair_count, "pair %lld of %zu", (long long)index,
                      ab->pair_count);
    return LORA_OK;
}

static void count_shown(const lora_ab *ab, const lr_ab_judge *judge, lora_ab_item *item)
{
    item->done = judge ? (int64_t)judge->count : 0;
    for (size_t i = 0; i < ab->pair_count; i++) item->total += !lr_pair_is_same(&ab->pairs[i]);
}

static void show(const lora_ab *ab, size_t index, lora_ab_item *item)
{
    const lr_pair *pair = &ab->pairs[index];
    item->index = (int64_t)index;
    item->prompt = pair->prompt;
    item->left = pair->a_left ? pair->a : pair->b;
    item->right = pair->a_left ? pair->b : pair->a;
}

lora_status lora_ab_item_at(const lora_ab *ab, const char *judge, size_t index, lora_ab_item *item)
{
    LR_CHECK_HANDLE(ab);
    LR_TRY(check_judge(judge));
    LR_TRY(check_pair(ab, (int64_t)index));
    lora_ab_item found = {0};
    count_shown(ab, lr_ab_find_judge(ab, judge), &found);
    show(ab, index, &found);
    return lr_give_info(item, &found, sizeof found, __func__);
}

lora_status lora_ab_next(const lora_ab *ab, const char *judge, lora_ab_item *item)
{
    LR_CHECK_HANDLE(ab);
    LR_TRY(check_judge(judge));
    lora_ab_item found = {.index = -1};
    const lr_ab_judge *known = lr_ab_find_judge(ab, judge);
    count_shown(ab, known, &found);
    for (size_t i = 0; i < ab->pair_count && found.index < 0; i++)
        if (!lr_pair_is_same(&ab->pairs[i]) && !lr_ab_find_verdict(known, (int64_t)i)) show(ab, i, &found);
    return lr_give_info(item, &found, sizeof found, __func__);
}

lora_status lora_ab_verdict(lora_ab *ab, const char *judge, int64_t index, int32_t choice)
{
    LR_CHECK_HANDLE(ab);
    LR_TRY(check_judge(judge));
    LR_TRY(check_pair(ab, index));
    LR_CHECK_ARGUMENT(choice >= LORA_AB_LEFT && choice <= LORA_AB_TIE,
                      "choice is %d; expected LORA_AB_LEFT, _RIGHT or _TIE", choice);
    LR_CHECK_ARGUMENT(!lr_pair_is_same(&ab->pairs[index]), "pair %lld has twice the same text and is not shown",
                      (long long)index);
    lr_ab_judge *known = make_judge(ab, judge);
    if (!known) return LORA_ERROR_MEMORY;
    lr_ab_verdict *given = (lr_ab_verdict *)(uintptr_t)lr_ab_find_verdict(known, index);
    if (!given) return add_verdict(ab, known, index, choice);
    given->choice = choice;
    return LORA_OK;
}

lora_status lora_ab_undo(lora_ab *ab, const char *judge, int64_t *index)
{
    LR_CHECK_HANDLE(ab);
    LR_TRY(check_judge(judge));
    lr_ab_judge *known = lr_ab_find_judge(ab, judge);
    int64_t taken = known && known->count ? known->verdicts[--known->count].pair : -1;
    if (index) *index = taken;
    return LORA_OK;
}

// ---- merging -------------------------------------------------------------------------------------------------------

static bool same_verdicts(const lr_ab_judge *a, const lr_ab_judge *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const lr_ab_verdict *given = lr_ab_find_verdict(a, b->verdicts[i].pair);
        if (given && given->choice != b->verdicts[i].choice) return false;
    }
    return true;
}

static lora_status check_merge(const lora_ab *ab, const lora_ab *other)
{
    if (lr_ab_fingerprint(ab) != lr_ab_fingerprint(other) || strcmp(ab->name_a, other->name_a) != 0 ||
        strcmp(ab->name_b, other->name_b) != 0)
        return lr_fail(LORA_ERROR_MISMATCH,
                       "the two files are of different tests (%s against %s, %zu pairs; %s against %s, %zu pairs)",
                       ab->name_a, ab->name_b, ab->pair_count, other->name_a, other->name_b, other->pair_count);
    for (size_t i = 0; i < other->judge_count; i++) {
        const lr_ab_judge *mine = lr_ab_find_judge(ab, other->judges[i].name);
        if (mine && !same_verdicts(mine, &other->judges[i]))
            return lr_fail(LORA_ERROR_MISMATCH,
                           "both files have a judge '%s', with different verdicts: one of the two needs another name",
                           mine->name);
    }
    return LORA_OK;
}

// Room first, so that nothing changes when there is no memory.
static lora_status reserve(lora_ab *ab, const lora_ab *other)
{
    const lora_allocator *allocator = &ab->context->allocator;
    size_t judges = ab->judge_count;
    for (size_t i = 0; i < other->judge_count; i++) {
        lr_ab_judge *judge = make_judge(ab, other->judges[i].name);
        lora_status status = judge ? lr_grow(allocator, (void **)&judge->verdicts, &judge->capacity,
                                             judge->count + other->judges[i].count, sizeof *judge->verdicts)
                                   : LORA_ERROR_MEMORY;
        if (status == LORA_OK) continue;
        while (ab->judge_count > judges) {
            lr_free(allocator, ab->judges[--ab->judge_count].name);
            lr_free(allocator, ab->judges[ab->judge_count].verdicts);
        }
        return status;
    }
    return LORA_OK;
}

lora_status lora_ab_merge(lora_ab *ab, const lora_ab *other)
{
    LR_CHECK_HANDLE(ab);
    LR_CHECK_HANDLE(other);
    LR_TRY(check_merge(ab, other));
    LR_TRY(reserve(ab, other));
    for (size_t i = 0; i < other->judge_count; i++) {
        const lr_ab_judge *theirs = &other->judges[i];
        lr_ab_judge *mine = lr_ab_find_judge(ab, theirs->name);
        for (size_t v = 0; v < theirs->count; v++)
            if (!lr_ab_find_verdict(mine, theirs->verdicts[v].pair))
                LR_TRY(add_verdict(ab, mine, theirs->verdicts[v].pair, theirs->verdicts[v].choice));
    }
    return LORA_OK;
}
