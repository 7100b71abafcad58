// Counts over pairs, agreement between judges, the result in one sentence.
#include "src/compare/ab.h"

#include "src/core/validate.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define SIGNIFICANT 0.05

// Who wins by a verdict on a pair: 'a', 'b', or 't'.
static char winner_of(const lr_pair *pair, int32_t choice)
{
    if (choice == LORA_AB_TIE) return 't';
    return (choice == LORA_AB_LEFT) == pair->a_left ? 'a' : 'b';
}

// Verdicts on one pair.
typedef struct tally {
    double a, b, t;
} tally;

static tally count_verdicts(const lora_ab *ab, size_t pair)
{
    tally found = {0};
    for (size_t j = 0; j < ab->judge_count; j++) {
        const lr_ab_verdict *verdict = lr_ab_find_verdict(&ab->judges[j], (int64_t)pair);
        if (!verdict) continue;
        char winner = winner_of(&ab->pairs[pair], verdict->choice);
        *(winner == 'a' ? &found.a : winner == 'b' ? &found.b : &found.t) += 1;
    }
    return found;
}

// 'a', 'b', 't', or 0: nobody has judged it.
static char outcome(const lora_ab *ab, size_t pair)
{
    tally found = count_verdicts(ab, pair);
    if (lr_pair_is_same(&ab->pairs[pair])) return 't';
    if (found.a + found.b + found.t == 0) return 0;
    return found.a > found.b ? 'a' : found.b > found.a ? 'b' : 't';
}

// ---- agreement -----------------------------------------------------------------------------------------------------

// Coincidences of Krippendorff (Content Analysis, 2004, chapter 11) over pairs with two judges or more.
typedef struct coincidences {
    double same, all;      // of two judges of a pair
    double disagreement;   // coincidences off the diagonal
    double totals[3], sum; // of the three choices
} coincidences;

static void add_pair(coincidences *c, const tally *t)
{
    const double counts[3] = {t->a, t->b, t->t};
    double judges = t->a + t->b + t->t;
    if (judges < 2) return;
    for (size_t i = 0; i < 3; i++) {
        c->same += counts[i] * (counts[i] - 1) / 2;
        c->totals[i] += counts[i];
        c->disagreement += counts[i] * (judges - counts[i]) / (judges - 1);
    }
    c->all += judges * (judges - 1) / 2;
    c->sum += judges;
}

static void measure_agreement(const lora_ab *ab, lora_ab_result *r)
{
    coincidences c = {0};
    double expected = 0;
    for (size_t i = 0; i < ab->pair_count; i++) {
        tally found = count_verdicts(ab, i);
        add_pair(&c, &found);
    }
    for (size_t i = 0; i < 3; i++) expected += c.totals[i] * (c.sum - c.totals[i]);
    r->agreement = c.all > 0 ? c.same / c.all : NAN;
    r->alpha = expected > 0 ? 1 - (c.sum - 1) * c.disagreement / expected : NAN;
}

// ---- counts --------------------------------------------------------------------------------------------------------

static void count_pairs(const lora_ab *ab, lora_ab_result *r)
{
    for (size_t i = 0; i < ab->pair_count; i++) {
        char winner = outcome(ab, i);
        r->pairs += winner != 0;
        r->wins_a += winner == 'a';
        r->wins_b += winner == 'b';
        r->ties += winner == 't';
        r->identical += lr_pair_is_same(&ab->pairs[i]);
    }
    for (size_t j = 0; j < ab->judge_count; j++) {
        r->judges += ab->judges[j].count > 0;
        r->verdicts += (int64_t)ab->judges[j].count;
    }
}

// ---- the sentence --------------------------------------------------------------------------------------------------

static lora_status keep(lora_ab *ab, char *english, char *chinese)
{
    const lora_allocator *allocator = &ab->context->allocator;
    lr_free(allocator, ab->sentences[0]);
    lr_free(allocator, ab->sentences[1]);
    ab->sentences[0] = english;
    ab->sentences[1] = chinese;
    return english && chinese ? LORA_OK : LORA_ERROR_MEMORY;
}

static lora_status say(lora_ab *ab, const lora_ab_result *r)
{
    const lora_allocator *a = &ab->context->allocator;
    int64_t decided = r->wins_a + r->wins_b;
    if (decided == 0)
        return keep(ab, lr_format(a, "Nothing is decided yet: %" PRId64 " ties, no win.", r->ties),
                    lr_format(a, "还没有结论：%" PRId64 " 组平局，没有胜负。", r->ties));
    bool a_leads = r->wins_a >= r->wins_b;
    const char *leader = a_leads ? ab->name_a : ab->name_b, *other = a_leads ? ab->name_b : ab->name_a;
    int64_t wins = a_leads ? r->wins_a : r->wins_b;
    double share = 100.0 * (double)wins / (double)decided;
    double low = 100 * (a_leads ? r->share_low : 1 - r->share_high),
           high = 100 * (a_leads ? r->share_high : 1 - r->share_low);
    if (r->p_value < SIGNIFICANT)
        return keep(
            ab,
            lr_format(a,
                      "%s is preferred to %s: it won %" PRId64 " of %" PRId64
                      " decided pairs (%.0f%%, 95%% interval %.0f%% to %.0f%%), %" PRId64
                      " ties left out; by chance alone such a lead or a larger one comes with probability %.2g.",
                      leader, other, wins, decided, share, low, high, r->ties, r->p_value),
            lr_format(a,
                      "%s 比 %s 更受欢迎：在分出胜负的 %" PRId64 " 组中赢了 %" PRId64
                      " 组（%.0f%%，95%% 区间 %.0f%% 到 %.0f%%），另有 %" PRId64
                      " 组平局不计；若纯属偶然，出现这样或更大差距的概率为 %.2g。",
                      leader, other, decided, wins, share, low, high, r->ties, r->p_value));
    return keep(ab,
                lr_format(a,
                          "No clear preference: %s won %" PRId64 " of %" PRId64
                          " decided pairs against %s (%.0f%%, 95%% interval %.0f%% to %.0f%%), %" PRId64
                          " ties left out; by chance alone such a lead or a larger one comes with probability %.2g.",
                          leader, wins, decided, other, share, low, high, r->ties, r->p_value),
                lr_format(a,
                          "没有明显的偏好：%s 与 %s 相比，在分出胜负的 %" PRId64 " 组中赢了 %" PRId64
                          " 组（%.0f%%，95%% 区间 %.0f%% 到 %.0f%%），另有 %" PRId64
                          " 组平局不计；若纯属偶然，出现这样或更大差距的概率为 %.2g。",
                          leader, other, decided, wins, share, low, high, r->ties, r->p_value));
}

static lora_status make_result(lora_ab *ab, lora_ab_result *r)
{
    r->name_a = ab->name_a;
    r->name_b = ab->name_b;
    count_pairs(ab, r);
    int64_t decided = r->wins_a + r->wins_b;
    r->share = decided ? (double)r->wins_a / (double)decided : NAN;
    lora_binomial_interval(r->wins_a, decided, 0.95, &r->share_low, &r->share_high);
    r->p_value = lora_binomial_two_sided(r->wins_a, decided);
    measure_agreement(ab, r);
    LR_TRY(say(ab, r));
    r->sentence_en = ab->sentences[0];
    r->sentence_zh = ab->sentences[1];
    return LORA_OK;
}

lora_status lora_ab_get_result(lora_ab *ab, lora_ab_result *result)
{
    LR_CHECK_HANDLE(ab);
    lora_ab_result found = {0};
    LR_TRY(make_result(ab, &found));
    return lr_give_info(result, &found, sizeof found, __func__);
}

// ---- the document --------------------------------------------------------------------------------------------------

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *make_judges(const lora_ab *ab)
{
    json_t *list = json_array();
    for (size_t j = 0; j < ab->judge_count; j++) {
        const lr_ab_judge *judge = &ab->judges[j];
        int counts[3] = {0};
        for (size_t v = 0; v < judge->count; v++) {
            char winner = winner_of(&ab->pairs[judge->verdicts[v].pair], judge->verdicts[v].choice);
            counts[winner == 'a' ? 0 : winner == 'b' ? 1 : 2]++;
        }
        json_array_append_new(list, json_pack("{s:s, s:I, s:i, s:i, s:i}", "name", judge->name, "count",
                                              (json_int_t)judge->count, "wins_a", counts[0], "wins_b", counts[1],
                                              "ties", counts[2]));
    }
    return list;
}

static json_t *make_pairs(const lora_ab *ab)
{
    static const char *const names[] = {"a", "b", "tie"};
    json_t *list = json_array();
    for (size_t i = 0; i < ab->pair_count; i++) {
        const lr_pair *pair = &ab->pairs[i];
        char winner = outcome(ab, i);
        json_t *verdict = winner ? json_string(names[winner == 'a' ? 0 : winner == 'b' ? 1 : 2]) : json_null();
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "prompt", pair->prompt, "a", pair->a, "b",
                                              pair->b, "winner", verdict));
    }
    return list;
}

static json_t *make_document(const lora_ab *ab, const lora_ab_result *r)
{
    json_t *document =
        json_pack("{s:s, s:s, s:{s:s, s:I}, s:{s:s, s:I}, s:I, s:I, s:I, s:I}", "kind", "ab", "about", ab->about, "a",
                  "name", r->name_a, "wins", (json_int_t)r->wins_a, "b", "name", r->name_b, "wins",
                  (json_int_t)r->wins_b, "ties", (json_int_t)r->ties, "identical", (json_int_t)r->identical,
                  "pairs_judged", (json_int_t)r->pairs, "verdicts", (json_int_t)r->verdicts);
    json_t *rest =
        json_pack("{s:o, s:o, s:[f, f], s:o, s:o, s:o, s:o, s:{s:s, s:s}}", "p_value", real_or_null(r->p_value),
                  "share", real_or_null(r->share), "interval", r->share_low, r->share_high, "agreement",
                  real_or_null(r->agreement), "alpha", real_or_null(r->alpha), "judges", make_judges(ab), "pairs",
                  make_pairs(ab), "sentence", "en", r->sentence_en, "zh", r->sentence_zh);
    if (!document || !rest || json_object_update(document, rest) != 0) {
        json_decref(document);
        document = NULL;
    }
    json_decref(rest);
    return document;
}

lora_status lora_ab_json(lora_ab *ab, const char **text)
{
    LR_CHECK_HANDLE(ab);
    LR_CHECK_HANDLE(text);
    lora_ab_result result = {0};
    LR_TRY(make_result(ab, &result));
    return lr_json_lend(&ab->context->allocator, make_document(ab, &result), &ab->document, text);
}
