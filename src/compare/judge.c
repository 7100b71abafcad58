// Who won, how sure that is, and whether the guide's claim holds here: figures and sentences.
#include "src/compare/comparison.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define CLAIMED_SHARE 0.9
#define CLAIMED_PARAMETERS 0.01

static double loss_difference(const double *sums) { return (sums[2] - sums[1]) / sums[0]; }

// ---- figures -------------------------------------------------------------------------------------------------------

// The finished setting with the lowest loss that is not `but`; -1: none.
static int64_t lowest(const lora_comparison *c, int64_t but)
{
    int64_t best = -1;
    for (size_t i = 0; i < c->setting_count; i++) {
        double loss = lr_setting_loss(c, &c->settings[i]);
        if ((int64_t)i == but || isnan(loss)) continue;
        if (best < 0 || loss < lr_setting_loss(c, &c->settings[best])) best = (int64_t)i;
    }
    return best;
}

// Loss of `other` minus the best's.
static lr_interval margin(const lora_comparison *c, int64_t best, int64_t other, double *scratch)
{
    const int64_t columns[] = {LR_COLUMN_TOKENS, LR_COLUMN_SETTINGS + best, LR_COLUMN_SETTINGS + other, -1};
    return lr_resamples_interval(&c->resamples, columns, loss_difference, scratch);
}

// Settings whose margin's interval reaches down to 0 cannot be told from the best; the smallest of them is recommended.
static void recommend(const lora_comparison *c, double *scratch, lora_comparison_verdict *v)
{
    v->recommended = v->best;
    v->clear = v->runner_up >= 0;
    for (size_t i = 0; i < c->setting_count; i++) {
        const lr_setting *setting = &c->settings[i];
        if ((int64_t)i == v->best || isnan(lr_setting_loss(c, setting))) continue;
        lr_interval interval = margin(c, v->best, (int64_t)i, scratch);
        if (interval.low > 0) continue;
        v->clear = 0;
        if (lr_setting_parameters(setting) < lr_setting_parameters(&c->settings[v->recommended]))
            v->recommended = (int64_t)i;
    }
}

static bool is_full(const lr_setting *setting)
{
    return json_is_true(json_object_get(json_object_get(setting->options, "adapter"), "full"));
}

// The adapter that answers the claim: the smallest that surely reaches the claimed share, else the one with the lowest
// loss.
static lora_status find_claim_setting(lora_comparison *c, int64_t *out)
{
    int64_t best = -1, smallest = -1;
    for (size_t i = 0; i < c->setting_count; i++) {
        const lr_setting *setting = &c->settings[i];
        double loss = lr_setting_loss(c, setting);
        lora_comparison_row row = {0};
        if (is_full(setting) || isnan(loss)) continue;
        if (best < 0 || loss < lr_setting_loss(c, &c->settings[best])) best = (int64_t)i;
        LR_TRY(lr_comparison_fill_row(c, i, &row));
        bool reached = row.gain_share_low >= CLAIMED_SHARE; // false for NaN
        if (reached && (smallest < 0 || row.trainable_parameters < lr_setting_parameters(&c->settings[smallest])))
            smallest = (int64_t)i;
    }
    *out = smallest >= 0 ? smallest : best;
    return LORA_OK;
}

static int32_t judge_claim(const lora_comparison_row *row)
{
    if (isnan(row->gain_share) || isnan(row->gain_share_low)) return -1;
    if (row->gain_share_high < CLAIMED_SHARE) return 0;
    if (row->gain_share_low < CLAIMED_SHARE) return -1;
    return row->parameter_share <= CLAIMED_PARAMETERS;
}

// ---- sentences -----------------------------------------------------------------------------------------------------

static lora_status put(lora_comparison *c, size_t slot, char *text)
{
    lr_free(&c->context->allocator, c->texts[slot]);
    c->texts[slot] = text;
    return text ? LORA_OK : LORA_ERROR_MEMORY;
}

static lora_status say_winner(lora_comparison *c, const lora_comparison_verdict *v)
{
    const lora_allocator *a = &c->context->allocator;
    if (v->best < 0) {
        LR_TRY(put(c, 0, lr_duplicate(a, "No setting is finished.")));
        return put(c, 1, lr_duplicate(a, "还没有完成的设置。"));
    }
    const char *best = c->settings[v->best].name, *recommended = c->settings[v->recommended].name;
    double loss = lr_setting_loss(c, &c->settings[v->best]);
    if (v->runner_up < 0) {
        LR_TRY(put(c, 0, lr_format(a, "%s is the only setting that is finished: held-out loss %.4f.", best, loss)));
        return put(c, 1, lr_format(a, "只有 %s 完成：留出损失 %.4f。", best, loss));
    }
    const char *other = c->settings[v->runner_up].name;
    if (v->clear) {
        LR_TRY(put(c, 0,
                   lr_format(a, "Winner: %s, with a held-out loss of %.4f: %.4f below %s (95%% interval %.4f to %.4f).",
                             best, loss, v->margin, other, v->margin_low, v->margin_high)));
        return put(c, 1, lr_format(a, "胜出：%s，留出损失 %.4f，比 %s 低 %.4f（95%% 区间 %.4f 到 %.4f）。", best, loss, other,
                                   v->margin, v->margin_low, v->margin_high));
    }
    LR_TRY(put(c, 0,
               lr_format(a,
                         "No clear winner: %s has the lowest held-out loss, %.4f, but %s is only %.4f behind (95%% "
                         "interval %.4f to %.4f). Take %s, the smallest of those that cannot be told apart.",
                         best, loss, other, v->margin, v->margin_low, v->margin_high, recommended)));
    return put(c, 1, lr_format(a, "没有明显的胜者：%s 的留出损失最低（%.4f），但 %s 只差 %.4f（95%% 区间 %.4f 到 %.4f）。"
                                  "建议选 %s：它是难分高下的设置里最小的。",
                               best, loss, other, v->margin, v->margin_low, v->margin_high, recommended));
}

// "0.16 %", "1.9 %", "12 %".
static const char *percent(double share, char text[32])
{
    double value = 100 * share;
    snprintf(text, 32, value < 1 ? "%.2f%%" : value < 10 ? "%.1f%%" : "%.0f%%", value);
    return text;
}

static lora_status say_unknown_claim(lora_comparison *c, const char *english, const char *chinese)
{
    LR_TRY(put(c, 2, lr_duplicate(&c->context->allocator, english)));
    return put(c, 3, lr_duplicate(&c->context->allocator, chinese));
}

static lora_status say_claim(lora_comparison *c, const lora_comparison_verdict *v, const lora_comparison_row *row)
{
    const lora_allocator *a = &c->context->allocator;
    if (lr_comparison_full(c) < 0 || v->claim_setting < 0) return say_unknown_claim(c, "", "");
    if (isnan(row->gain_share) || isnan(row->gain_share_low))
        return say_unknown_claim(c,
                                 "Full fine-tuning is not surely better than the base here, so there is no gain to "
                                 "take a share of.",
                                 "全量微调在这里并不明显好于底座，因此无法计算 LoRA 达到了其效果的百分之几。");
    char parameters[32], share[32], low[32], high[32];
    percent(row->parameter_share, parameters);
    percent(row->gain_share, share);
    percent(row->gain_share_low, low);
    percent(row->gain_share_high, high);
    bool small = row->parameter_share <= CLAIMED_PARAMETERS;
    bool reached = row->gain_share_low >= CLAIMED_SHARE, missed = row->gain_share_high < CLAIMED_SHARE;
    const char *english =
        missed     ? "the guide's \"90% of full fine-tuning at 0.1-1% of the parameters\" does not hold on your data."
        : !reached ? "whether the guide's \"90% of full fine-tuning\" holds cannot be told from so few held-out rows."
        : small    ? "the guide's \"90% of full fine-tuning at 0.1-1% of the parameters\" holds on your data."
                   : "the guide's \"90% of full fine-tuning\" holds on your data, but not at 1% of the parameters: the "
                     "model is small.";
    const char *chinese = missed ? "在您的数据上，“用 0.1–1% 的参数达到全量微调 90% 的效果”不成立。"
                        : !reached ? "留出数据太少，还不能判断“达到全量微调 90% 的效果”是否成立。"
                        : small ? "在您的数据上，“用 0.1–1% 的参数达到全量微调 90% 的效果”成立。"
                                : "在您的数据上，“达到全量微调 90% 的效果”成立，但参数占比超过 1%：因为这个模型很小。";
    LR_TRY(put(c, 2,
               lr_format(a,
                         "%s trains %s of the parameters and reaches %s of what full fine-tuning gains in held-out "
                         "loss (95%% interval %s to %s): %s",
                         row->name, parameters, share, low, high, english)));
    return put(c, 3, lr_format(a, "%s 只训练 %s 的参数，达到全量微调所降低的留出损失的 %s（95%% 区间 %s 到 %s）：%s", row->name, parameters,
                               share, low, high, chinese));
}

// ---- all -----------------------------------------------------------------------------------------------------------

lora_status lr_comparison_fill_verdict(lora_comparison *c, lora_comparison_verdict *v)
{
    LR_TRY(lr_comparison_resample(c));
    double *scratch = lr_alloc_array(&c->context->allocator, LR_RESAMPLE_DRAWS, sizeof *scratch);
    if (!scratch) return LORA_ERROR_MEMORY;
    v->best = lowest(c, -1);
    v->runner_up = v->best < 0 ? -1 : lowest(c, v->best);
    v->recommended = v->best;
    v->margin = v->margin_low = v->margin_high = NAN;
    if (v->runner_up >= 0) {
        lr_interval interval = margin(c, v->best, v->runner_up, scratch);
        v->margin = lr_setting_loss(c, &c->settings[v->runner_up]) - lr_setting_loss(c, &c->settings[v->best]);
        v->margin_low = interval.low;
        v->margin_high = interval.high;
        recommend(c, scratch, v);
    }
    lr_free(&c->context->allocator, scratch);
    lora_comparison_row row = {0};
    v->claim = -1;
    v->claim_setting = -1;
    if (lr_comparison_full(c) >= 0) LR_TRY(find_claim_setting(c, &v->claim_setting));
    if (v->claim_setting >= 0) {
        LR_TRY(lr_comparison_fill_row(c, (size_t)v->claim_setting, &row));
        v->claim = judge_claim(&row);
    }
    LR_TRY(say_winner(c, v));
    LR_TRY(say_claim(c, v, &row));
    v->sentence_en = c->texts[0], v->sentence_zh = c->texts[1];
    v->claim_sentence_en = c->texts[2], v->claim_sentence_zh = c->texts[3];
    return LORA_OK;
}
