// A training run: summary, curves, samples.
#include "src/report/report.h"

#include <math.h>
#include <string.h>

#define MOST_SAMPLES 50

// ---- curves --------------------------------------------------------------------------------------------------------

static bool has_key(const json_t *object, const char *key)
{
    return lr_is_finite(json_object_get(object, key));
}

lora_status lr_curve_of(const lora_allocator *allocator, const json_t *list, const char *x_key, const char *y_key,
                        double **x, double **y, size_t *count)
{
    size_t index;
    json_t *entry;
    *count = 0;
    *x = lr_alloc_array(allocator, json_array_size(list) + 1, sizeof **x);
    *y = lr_alloc_array(allocator, json_array_size(list) + 1, sizeof **y);
    if (!*x || !*y) return LORA_ERROR_MEMORY;
    json_array_foreach(list, index, entry) {
        if (!has_key(entry, x_key) || !has_key(entry, y_key)) continue;
        (*x)[*count] = json_number_value(json_object_get(entry, x_key));
        (*y)[(*count)++] = json_number_value(json_object_get(entry, y_key));
    }
    return LORA_OK;
}

static void draw(lr_page *page, const json_t *list, const char *const keys[], const char *const names[], size_t count,
                 const char *title)
{
    const lora_allocator *allocator = page->out.allocator;
    lr_series series[LR_CHART_SERIES] = {0};
    double *xs[LR_CHART_SERIES] = {0}, *ys[LR_CHART_SERIES] = {0};
    size_t used = 0;
    for (size_t i = 0; i < count && page->status == LORA_OK; i++) {
        size_t points;
        page->status = lr_curve_of(allocator, list, "step", keys[i], &xs[i], &ys[i], &points);
        if (points > 0) series[used++] = (lr_series){names ? names[i] : NULL, xs[i], ys[i], points, points <= 40};
    }
    if (page->status == LORA_OK && used > 0) lr_draw_lines(page, title, lr_say(page, "step", "步"), title, series, used);
    for (size_t i = 0; i < count; i++) {
        lr_free(allocator, xs[i]);
        lr_free(allocator, ys[i]);
    }
}

static bool any_has(const json_t *list, const char *key)
{
    size_t index, found = 0;
    json_t *entry;
    json_array_foreach(list, index, entry) found += has_key(entry, key);
    return found > 1;
}

// A chart of one key of the list; nothing when it has fewer than two points.
static void draw_key(lr_page *page, const json_t *list, const char *key, const char *title_en, const char *title_zh)
{
    const char *const keys[] = {key};
    if (!any_has(list, key)) return;
    lr_heading(page, title_en, title_zh);
    draw(page, list, keys, NULL, 1, lr_say(page, title_en, title_zh));
}

// What the log's last line with a diagnosis says.
static const json_t *last_diagnosis(const json_t *lines)
{
    for (size_t i = json_array_size(lines); i-- > 0;)
        if (json_object_get(json_array_get(lines, i), "diagnosis")) return json_array_get(lines, i);
    return NULL;
}

static void show_answer(lr_page *page, const json_t *words)
{
    if (page->diagnosed || !json_is_object(words) || !json_object_get(words, "en")) return;
    page->diagnosed = true;
    lr_put(page, "<p class=\"answer\">");
    lr_put_words(page, words);
    lr_put(page, "</p>\n");
}

void lr_show_log(lr_page *page, const json_t *lines)
{
    const char *const keys[] = {"loss", "eval_loss"};
    const char *const names[] = {lr_say(page, "training loss", "训练损失"), lr_say(page, "held-out loss", "留出损失")};
    if (json_array_size(lines) == 0) return;
    lr_begin_section(page, "Curves", "曲线");
    if (any_has(lines, "loss") || any_has(lines, "eval_loss")) {
        lr_heading(page, "Loss", "损失");
        draw(page, lines, keys, names, 2, lr_say(page, "Loss", "损失"));
    }
    show_answer(page, last_diagnosis(lines));
    draw_key(page, lines, "learning_rate", "Learning rate", "学习率");
    draw_key(page, lines, "grad_norm", "Gradient norm", "梯度范数");
    draw_key(page, lines, "tokens_per_second", "Tokens per second", "每秒词元数");
    draw_key(page, lines, "memory", "Memory (bytes)", "内存（字节）");
    lr_end_section(page);
}

// ---- summary -------------------------------------------------------------------------------------------------------

static void show_summary(lr_page *page, const json_t *d)
{
    lr_begin_figures(page);
    lr_figure_real(page, "held-out loss", "留出损失", json_object_get(d, "eval_loss"), 4);
    lr_figure_real(page, "training loss, last step", "最后一步的训练损失", json_object_get(d, "loss"), 4);
    lr_figure(page, "steps", "步数", json_object_get(d, "steps"), lr_put_count);
    lr_figure(page, "time", "用时", json_object_get(d, "seconds"), lr_put_time);
    lr_figure(page, "tokens", "词元数", json_object_get(d, "tokens"), lr_put_count);
    lr_figure_real(page, "tokens per second", "每秒词元数", json_object_get(d, "tokens_per_second"), 0);
    lr_figure(page, "peak memory", "内存峰值", json_object_get(d, "peak_memory_bytes"), lr_put_bytes);
    lr_figure(page, "peak memory of the device", "设备内存峰值", json_object_get(d, "peak_device_memory_bytes"),
              lr_put_bytes);
    lr_figure(page, "trained parameters", "训练的参数", json_object_get(d, "trainable_params"), lr_put_count);
    lr_figure(page, "all parameters", "全部参数", json_object_get(d, "all_params"), lr_put_count);
    lr_end_figures(page);
}

static void show_forgetting(lr_page *page, const json_t *d)
{
    const json_t *general = json_object_get(d, "general");
    const json_t *before = json_object_get(general ? general : d, general ? "before" : "general_loss_before");
    const json_t *after = json_object_get(general ? general : d, general ? "after" : "general_loss_after");
    if (!lr_is_finite(before) || !lr_is_finite(after)) return;
    lr_heading(page, "Forgetting: loss on general data", "遗忘：在通用数据上的损失");
    lr_begin_figures(page);
    lr_figure_real(page, "before", "训练前", before, 4);
    lr_figure_real(page, "after", "训练后", after, 4);
    lr_figure(page, "rows mixed in", "混入的行数", json_object_get(d, "mixed_rows"), lr_put_count);
    lr_end_figures(page);
}

void lr_show_train(lr_page *page, const json_t *d)
{
    lr_begin_section(page, "Training", "训练");
    show_answer(page, json_object_get(d, "diagnosis"));
    show_summary(page, d);
    show_forgetting(page, d);
    lr_settings_table(page, "Settings", "设置", json_object_get(d, "settings"));
    lr_settings_table(page, "Data", "数据", json_object_get(d, "data"));
    lr_settings_table(page, "Model", "模型", json_object_get(d, "model"));
    if (json_is_string(json_object_get(d, "output"))) {
        lr_put(page, "<p class=\"soft\">");
        lr_put(page, lr_say(page, "Saved in ", "保存在 "));
        lr_put_words(page, json_object_get(d, "output"));
        lr_put(page, "</p>\n");
    }
    lr_end_section(page);
    if (json_is_array(json_object_get(d, "samples"))) lr_show_samples(page, json_object_get(d, "samples"));
}

// ---- samples -------------------------------------------------------------------------------------------------------

void lr_show_samples(lr_page *page, const json_t *samples)
{
    size_t index;
    json_t *sample;
    if (json_array_size(samples) == 0) return;
    lr_begin_section(page, "Answers before and after", "训练前后的回答");
    json_array_foreach(samples, index, sample) {
        if (index == MOST_SAMPLES) break;
        lr_put(page, "<div class=\"sample\">\n");
        lr_quote(page, "prompt", "Prompt", "提问", json_string_value(json_object_get(sample, "prompt")));
        lr_quote(page, "reference", "Expected", "期望", json_string_value(json_object_get(sample, "reference")));
        lr_quote(page, "before", "Before", "训练前", json_string_value(json_object_get(sample, "before")));
        lr_quote(page, "after", "After", "训练后", json_string_value(json_object_get(sample, "after")));
        lr_put(page, "</div>\n");
    }
    lr_end_section(page);
}
