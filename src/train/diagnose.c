#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <math.h>

#define SMOOTHED 5 // steps
#define EARLY 50   // steps

const char *lora_fit_name(int32_t fit)
{
    static const char *const names[] = {"unknown", "good", "overfitted", "underfitted", "unstable"};
    return fit >= LORA_FIT_UNKNOWN && fit <= LORA_FIT_UNSTABLE ? names[fit] : "unknown";
}

// A verdict with its words.
typedef struct verdict {
    int32_t fit;
    const char *english, *chinese;
} verdict;

static const verdict too_few = {
    LORA_FIT_UNKNOWN, "The run was too short to judge: train for at least a few steps.", "训练步数太少，无法判断：请多训练几步。"};
static const verdict rising = {
    LORA_FIT_UNSTABLE,
    "The loss rose instead of falling: lower the learning rate (to a tenth), add warm-up, and check the data.",
    "损失不降反升：请把学习率降到十分之一，增加预热，并检查数据。"};
static const verdict past_best = {
    LORA_FIT_OVER,
    "Overfitted: the held-out loss is past its best, so the examples are being learnt by heart. Train fewer epochs, "
    "raise dropout (0.1 to 0.2), lower the rank, or add more and more varied examples.",
    "过拟合：留出损失已过最低点，模型开始死记例子。请减少轮数，提高 dropout（0.1 到 0.2），降低秩，或增加更多样的例子。"};
static const verdict by_heart = {
    LORA_FIT_OVER,
    "Overfitted: on the examples the loss is less than half of that on held-out rows, which no longer gets better. "
    "Train fewer epochs, raise dropout (0.1 to 0.2), lower the rank, or add more and more varied examples.",
    "过拟合：训练损失不到留出损失的一半，而留出损失不再下降。请减少轮数，提高 dropout（0.1 到 0.2），降低秩，或增加更多样的例子。"};
static const verdict hardly = {
    LORA_FIT_UNDER,
    "Underfitted: the loss hardly fell. Raise the learning rate (2 to 5 times) or the rank, adapt more layers "
    "(all-linear), train more epochs, and see whether the examples agree with each other.",
    "欠拟合：损失几乎没有下降。请提高学习率（2 到 5 倍）或秩，适配更多层（all-linear），增加轮数，并检查例子是否自相矛盾。"};
static const verdict improving = {
    LORA_FIT_UNDER,
    "Underfitted: the loss was still falling when the run ended. Train more epochs (half as many again), "
    "with early stopping.",
    "欠拟合：训练结束时损失仍在下降。请增加轮数（再加一半），并开启提前停止。"};
static const verdict unseen = {
    LORA_FIT_UNKNOWN,
    "The loss fell and levelled off. Whether the examples were learnt by heart shows only on held-out rows: set a "
    "tenth aside for validation.",
    "损失下降并趋于平稳。是否死记硬背，只有留出数据才能看出：请留出十分之一做验证。"};
static const verdict good = {
    LORA_FIT_GOOD, "Well fitted: the held-out loss fell and levelled off. Nothing needs to change.",
    "拟合良好：留出损失下降并趋于平稳，无需调整。"};

// ---- the curve ----------------------------------------------------------------------------------------------------

typedef struct curve {
    const lora_curve_point *points;
    size_t count;        // of all points
    size_t losses;       // finite ones
    size_t evaluations;
    double before_last;  // evaluation; NaN: none
    bool broken;         // an evaluation was not finite
} curve;

// The finite losses number begin up to, not with, end.
typedef struct stretch {
    double mean, error; // standard error of the mean
} stretch;

static stretch look_at(const curve *c, size_t begin, size_t end)
{
    double sum = 0, squares = 0, count = (double)(end - begin);
    size_t at = 0;
    for (size_t i = 0; i < c->count; i++) {
        double loss = c->points[i].loss;
        if (!isfinite(loss)) continue;
        if (at >= begin && at < end) sum += loss, squares += loss * loss;
        at++;
    }
    double mean = sum / count, variance = count > 1 ? fmax(0, squares - count * mean * mean) / (count - 1) : 0;
    return (stretch){.mean = mean, .error = sqrt(variance / count)};
}

static bool is_above(stretch a, stretch b) { return a.mean - b.mean > 2 * sqrt(a.error * a.error + b.error * b.error); }

static void take_evaluation(curve *c, const lora_curve_point *point, lora_diagnosis *d)
{
    if (isnan(point->eval_loss)) return;
    if (isinf(point->eval_loss)) {
        c->broken = true;
        return;
    }
    c->before_last = d->last_eval_loss;
    d->last_eval_loss = point->eval_loss;
    if (c->evaluations++ == 0 || point->eval_loss < d->best_eval_loss) {
        d->best_eval_loss = point->eval_loss;
        d->best_epoch = point->epoch;
    }
}

static void measure(curve *c, lora_diagnosis *d)
{
    d->best_eval_loss = d->last_eval_loss = d->best_epoch = c->before_last = NAN;
    for (size_t i = 0; i < c->count; i++) {
        c->losses += isfinite(c->points[i].loss) != 0;
        take_evaluation(c, &c->points[i], d);
    }
    size_t tenth = c->losses > 10 ? c->losses / 10 : 1;
    d->first_loss = c->losses ? look_at(c, 0, tenth).mean : NAN;
    d->last_loss = c->losses ? look_at(c, c->losses - tenth, c->losses).mean : NAN;
}

// The loss leapt up early and did not come back.
static bool has_leapt(const curve *c, const lora_diagnosis *d)
{
    double begin = look_at(c, 0, 1).mean;
    if (c->losses < SMOOTHED || d->last_loss <= 1.1 * begin) return false;
    for (size_t i = 0; i + SMOOTHED <= c->losses && i < EARLY; i++)
        if (look_at(c, i, i + SMOOTHED).mean > 1.4 * begin) return true;
    return false;
}

static bool is_rising(const curve *c, const lora_diagnosis *d)
{
    size_t half = c->losses / 2;
    if (has_leapt(c, d)) return true;
    return d->last_loss > 1.05 * d->first_loss && is_above(look_at(c, half, c->losses), look_at(c, 0, half));
}

static bool is_improving(const curve *c, const lora_diagnosis *d)
{
    if (c->evaluations >= 2) return d->last_eval_loss < 0.98 * c->before_last;
    size_t quarter = c->losses / 4;
    stretch last = look_at(c, c->losses - quarter, c->losses);
    stretch before = look_at(c, c->losses - 2 * quarter, c->losses - quarter);
    return last.mean < 0.9 * before.mean && is_above(before, last);
}

static const verdict *judge(const curve *c, const lora_diagnosis *d)
{
    if (c->losses < 4) return &too_few;
    if (c->broken || is_rising(c, d)) return &rising;
    bool evaluated = c->evaluations > 0, levelled = c->evaluations == 1 || d->last_eval_loss > 0.99 * c->before_last;
    if (evaluated && d->last_eval_loss > 1.03 * d->best_eval_loss) return &past_best;
    if (evaluated && levelled && d->last_loss < 0.5 * d->last_eval_loss) return &by_heart;
    if (d->last_loss > 0.9 * d->first_loss) return &hardly;
    if (is_improving(c, d)) return &improving;
    return evaluated ? &good : &unseen;
}

lora_status lora_diagnose(const lora_curve_point *points, size_t count, lora_diagnosis *diagnosis)
{
    LR_CHECK_ARGUMENT(points || count == 0, "lora_diagnose: points is NULL");
    lora_diagnosis d = {.struct_size = sizeof d};
    curve c = {.points = points, .count = count};
    measure(&c, &d);
    const verdict *found = judge(&c, &d);
    d.fit = found->fit;
    d.english = found->english;
    d.chinese = found->chinese;
    return lr_give_info(diagnosis, &d, sizeof d, __func__);
}

lora_status lora_trainer_diagnose(const lora_trainer *trainer, lora_diagnosis *diagnosis)
{
    LR_CHECK_HANDLE(trainer);
    const lora_allocator *allocator = &trainer->context->allocator;
    const lr_history *history = &trainer->history;
    lora_curve_point *points = lr_alloc_array(allocator, history->count ? history->count : 1, sizeof *points);
    if (!points) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < history->count; i++) {
        const lr_history_entry *entry = &history->entries[i];
        points[i] = (lora_curve_point){
            .step = entry->step, .epoch = entry->epoch, .loss = entry->loss, .eval_loss = entry->eval_loss};
    }
    lora_status status = lora_diagnose(points, history->count, diagnosis);
    lr_free(allocator, points);
    return status;
}
