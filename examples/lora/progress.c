#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define SECONDS_BETWEEN_LINES 5

void progress_init(progress_bar *p, const application *app, FILE *log, int64_t first_step)
{
    *p = (progress_bar){.app = app, .log = log, .terminal = isatty(2) != 0, .begin = now(), .first_step = first_step,
                        .last = {.step = first_step, .loss = NAN, .eval_loss = NAN}, .last_eval = NAN};
}

static void keep_rate(progress_bar *p, const lora_step_info *info)
{
    if (info->step <= p->first_step + 2 || info->seconds <= 0) return;
    if (p->rate_count == p->rate_capacity) {
        size_t capacity = p->rate_capacity ? 2 * p->rate_capacity : 256;
        double *rates = realloc(p->rates, capacity * sizeof *rates);
        if (!rates) return;
        p->rates = rates;
        p->rate_capacity = capacity;
    }
    p->rates[p->rate_count++] = (double)info->tokens / info->seconds;
}

static void write_log(progress_bar *p, const lora_step_info *info)
{
    double rate = info->seconds > 0 ? (double)info->tokens / info->seconds : 0;
    fprintf(p->log,
            "{\"step\": %" PRId64
            ", \"epoch\": %.6g, \"loss\": %.9g, \"learning_rate\": %.9g, \"grad_norm\": %.9g, \"tokens\": %" PRId64
            ", \"tokens_per_second\": %.6g, \"seconds\": %.6g}\n",
            info->step, info->epoch, info->loss, info->learning_rate, info->gradient_norm, info->tokens, rate,
            now() - p->begin);
    if (!isnan(info->eval_loss))
        fprintf(p->log, "{\"step\": %" PRId64 ", \"epoch\": %.6g, \"eval_loss\": %.9g}\n", info->step, info->epoch,
                info->eval_loss);
    fflush(p->log);
}

static void draw(progress_bar *p, const lora_step_info *info, double rate)
{
    const application *app = p->app;
    char left[32], bar[3 * BAR_WIDTH + 1] = "";
    double done = (double)info->step / (double)info->total_steps, spent = now() - p->begin;
    int64_t steps = info->step - p->first_step;
    int full = (int)(done * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++) strcat(bar, i < full ? "█" : "░");
    as_time(steps > 0 ? spent / (double)steps * (double)(info->total_steps - info->step) : 0, left);
    if (p->terminal)
        fprintf(stderr, say(app, "\r%s %" PRId64 "/%" PRId64 "  loss %.4f  %.0f tokens/s  %s left  \033[K",
                            "\r%s %" PRId64 "/%" PRId64 "  损失 %.4f  %.0f 词元/秒  剩余 %s  \033[K"),
                bar, info->step, info->total_steps, info->loss, rate, left);
    else
        fprintf(stderr, say(app, "step %" PRId64 "/%" PRId64 "  loss %.4f  %.0f tokens/s  %s left\n",
                            "第 %" PRId64 "/%" PRId64 " 步  损失 %.4f  %.0f 词元/秒  剩余 %s\n"),
                info->step, info->total_steps, info->loss, rate, left);
}

int32_t progress_step(const lora_step_info *info, void *user)
{
    progress_bar *p = user;
    p->last = *info;
    p->tokens += info->tokens;
    keep_rate(p, info);
    if (p->log) write_log(p, info);
    bool evaluated = !isnan(info->eval_loss);
    if (evaluated) p->last_eval = info->eval_loss;
    if (p->app->quiet) return 0;
    double time = now();
    bool due = p->terminal ? time - p->last_line > 0.1
                           : time - p->last_line > SECONDS_BETWEEN_LINES || info->step == p->first_step + 1;
    if (due || evaluated || info->done) {
        draw(p, info, info->seconds > 0 ? (double)info->tokens / info->seconds : 0);
        p->last_line = time;
    }
    if (evaluated)
        fprintf(stderr, say(p->app, "%sepoch %.2f  held-out loss %.4f%s\n",
                            "%s第 %.2f 轮  留出损失 %.4f%s\n"), p->terminal ? "\n" : "",
                info->epoch, info->eval_loss, info->improved ? say(p->app, "  (best)", "（最好）") : "");
    return 0;
}

void progress_end_line(const progress_bar *p)
{
    if (p->terminal && p->last_line > 0 && isnan(p->last.eval_loss)) fputc('\n', stderr);
}

void progress_free(progress_bar *p)
{
    free(p->rates);
    p->rates = NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double progress_rate(const progress_bar *p)
{
    if (p->rate_count == 0) return p->last.seconds > 0 ? (double)p->last.tokens / p->last.seconds : 0;
    qsort(p->rates, p->rate_count, sizeof *p->rates, by_value);
    return p->rates[p->rate_count / 2];
}
