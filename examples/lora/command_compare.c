// lora compare: one run for each setting, one table.
#include "compare_grid.h"
#include "general.h"
#include "progress.h"
#include "report.h"
#include "table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const verb_help help = {
    .usage = "lora compare MODEL --data DATA --rank 4,8,16 [--full] --output DIR [options]",
    .english = "Trains MODEL once for each setting and shows what each learnt and what it cost.\n"
               "Every combination of the values listed is tried. Stopped at any moment, the same\n"
               "command goes on.",
    .chinese = "用每种设置各训练一次 MODEL，对比学到了多少、花费多少。列出的取值会逐一组合。\n"
               "随时可以中断，用同样的命令继续。",
    .example = "lora compare examples/base --data my.jsonl --rank 4,8,16 --full \\\n"
               "      --epochs 5 --batch-size 2 --learning-rate 8e-3 --output comparison",
    .common = "data output validation rank alpha learning-rate epochs target-modules full batch-size general report",
    .arguments = 1,
    .most_arguments = 1,
};

typedef struct job {
    application *app;
    compare_settings settings;
    grid grid;
    lora_model *model;
    lora_dataset *data, *validation, *general;
    general_data mix;
    lora_dataset *mixed; // the data with general rows mixed in
    lora_comparison *comparison;
    progress_bar bar;
    int64_t shown_run; // whose heading has been shown
    int32_t shown_phase;
} job;

// ---- loading -------------------------------------------------------------------------------------------------------

static lora_status load_data(job *j)
{
    const lora_tokenizer *tokenizer = lora_model_tokenizer(j->model);
    const train_plan *plan = &j->grid.entries[0].plan;
    const text_list *general = &j->settings.general;
    text_list *validation = &j->settings.train.validation;
    if (validation->count == 0) *validation = (text_list){.items = {"0.1"}, .count = 1};
    lora_status status = load_training_rows(j->app, &j->settings.train, plan, tokenizer, &j->data, &j->validation);
    if (status != LORA_OK || general->count == 0) return status;
    return lora_dataset_load(j->app->context, tokenizer, general->items, general->count, &plan->dataset, &j->general);
}

static lora_status append_rows(const lora_dataset *from, lora_dataset *to)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    lora_status status = lora_dataset_get_info(from, &info);
    for (size_t i = 0; i < (size_t)info.rows && status == LORA_OK; i++) {
        const int32_t *ids, *labels;
        size_t count;
        status = lora_dataset_row(from, i, &ids, &labels, &count);
        if (status == LORA_OK) status = lora_dataset_add(to, ids, labels, count);
    }
    return status;
}

// --mix: a second copy of the data, with general rows; those held out measure what is forgotten, unless --general does.
static lora_status mix_general(job *j)
{
    if (j->mix.count == 0) return LORA_OK;
    lora_status status = lora_dataset_create(j->app->context, &j->mixed);
    if (status == LORA_OK) status = append_rows(j->data, j->mixed);
    if (status == LORA_OK)
        status =
            general_mix(j->app, &j->mix, lora_model_tokenizer(j->model), &j->grid.entries[0].plan.dataset, j->mixed);
    if (status != LORA_OK || j->general) return status;
    status = lora_dataset_create(j->app->context, &j->general);
    for (size_t i = 0; i < j->mix.count && status == LORA_OK; i++) status = append_rows(j->mix.held[i], j->general);
    return status;
}

// Each setting, and once more on the mixed data.
static lora_status add_setting(job *j, const grid_entry *entry)
{
    char name[128];
    lora_status status =
        lora_comparison_add(j->comparison, entry->name, NULL, &entry->plan.adapter, &entry->plan.trainer);
    if (status != LORA_OK || !j->mixed) return status;
    snprintf(name, sizeof name, "%s-mix", entry->name);
    return lora_comparison_add(j->comparison, name, j->mixed, &entry->plan.adapter, &entry->plan.trainer);
}

static lora_status load(job *j)
{
    lora_comparison_options options;
    lora_status status = open_model(j->app, j->app->arguments.items[0], &j->grid.entries[0].plan.model, &j->model);
    if (status == LORA_OK) status = load_data(j);
    if (status == LORA_OK) status = mix_general(j);
    if (status != LORA_OK) return status;
    lora_comparison_options_init(&options);
    options.output = j->settings.train.output;
    options.validation = j->validation;
    options.general = j->general;
    options.seeds = (int32_t)j->settings.seeds;
    options.answers = (int32_t)j->settings.answers;
    options.max_new_tokens = (int32_t)j->settings.max_new_tokens;
    options.overwrite = j->app->force;
    status = lora_comparison_create(j->model, j->data, &options, &j->comparison);
    for (size_t i = 0; i < j->grid.count && status == LORA_OK; i++) status = add_setting(j, &j->grid.entries[i]);
    return status;
}

// ---- running -------------------------------------------------------------------------------------------------------

static void end_bar(job *j)
{
    if (j->bar.begin > 0) progress_end_line(&j->bar);
    progress_free(&j->bar);
    j->bar = (progress_bar){0};
}

static int32_t show_progress(const lora_comparison_progress *progress, void *user)
{
    job *j = user;
    const application *app = j->app;
    bool base = !*progress->name;
    if (base && j->shown_run == 0) {
        note(app, "%s", say(app, "measuring the base model", "正在测量底座模型"));
        j->shown_run = -1;
    }
    if (base) return 0;
    if (progress->run != j->shown_run) {
        j->shown_run = progress->run;
        note(app, say(app, "[%" PRId64 "/%" PRId64 "] training %s", "[%" PRId64 "/%" PRId64 "] 训练 %s"), progress->run,
             progress->runs, progress->name);
        if (progress->step) progress_init(&j->bar, app, NULL, progress->step->step - 1);
    }
    if (progress->phase == LORA_COMPARISON_TRAIN) return progress_step(progress->step, &j->bar);
    end_bar(j);
    return 0;
}

static void cancel(void *handle)
{
    lora_comparison_cancel(handle);
}

static lora_status run_all(job *j)
{
    lora_status status;
    on_interrupt(cancel, j->comparison);
    do status = lora_comparison_run(j->comparison, show_progress, j, NULL);
    while (status == LORA_OK);
    on_interrupt(NULL, NULL);
    end_bar(j);
    return status == LORA_ERROR_STATE ? LORA_OK : status; // every setting is finished
}

// ---- the table -----------------------------------------------------------------------------------------------------

static void add_real(table *t, const char *format, double value)
{
    char text[64] = "";
    if (isfinite(value))
        snprintf(text, sizeof text,
                 strcmp(format, "share") == 0   ? "%.0f%%"
                 : strcmp(format, "score") == 0 ? "%.1f"
                                                : "%.4f",
                 value);
    table_add(t, "%s", text);
}

static const char *as_percent(double share, char text[32])
{
    snprintf(text, 32, share < 0.01 ? "%.2f%%" : share < 0.1 ? "%.1f%%" : "%.0f%%", 100 * share);
    return text;
}

static void add_row(const application *app, table *t, const lora_comparison_row *row)
{
    char size[32] = "", memory[32] = "", time[32] = "", share[32] = "", parameters[32] = "";
    bool trained = row->trainable_parameters > 0;
    if (trained) {
        as_size((uint64_t)row->file_bytes, size);
        as_size((uint64_t)row->peak_memory_bytes, memory);
        if (row->peak_source == LORA_PEAK_PLANNED) strcat(memory, "*");
        as_time(row->seconds, time);
        as_percent(row->parameter_share, share);
        with_commas(row->trainable_parameters, parameters);
    }
    table_add(t, "%s", strcmp(row->name, "base") == 0 ? say(app, "base", "底座") : row->name);
    add_real(t, "loss", row->loss);
    add_real(t, "score", row->bleu);
    add_real(t, "score", row->rouge_l);
    add_real(t, "loss", row->general_loss);
    add_real(t, "share", trained && !row->full ? 100 * row->gain_share : NAN);
    table_add(t, "%s", parameters);
    table_add(t, "%s", share);
    table_add(t, "%s", size);
    table_add(t, "%s", memory);
    table_add(t, "%s", row->failure ? say(app, "failed", "失败") : time);
}

static void print_table(const job *j)
{
    const application *app = j->app;
    table t = {.columns = 11, .left = {true}};
    lora_comparison_row row = {.struct_size = sizeof row};
    const char *headings[][2] = {{"setting", "设置"},     {"loss", "损失"},    {"BLEU", "BLEU"},
                                 {"ROUGE-L", "ROUGE-L"},  {"general", "通用"}, {"of full", "占全量"},
                                 {"trained", "训练参数"}, {"share", "占比"},   {"file", "文件"},
                                 {"memory", "内存"},      {"time", "用时"}};
    for (size_t i = 0; i < t.columns; i++) table_add(&t, "%s", say(app, headings[i][0], headings[i][1]));
    if (lora_comparison_base(j->comparison, &row) == LORA_OK) add_row(app, &t, &row);
    for (size_t i = 0; i < lora_comparison_count(j->comparison); i++)
        if (lora_comparison_row_at(j->comparison, i, &row) == LORA_OK) add_row(app, &t, &row);
    table_print(&t);
}

static void note_failures(const job *j)
{
    lora_comparison_row row = {.struct_size = sizeof row};
    bool planned = false;
    for (size_t i = 0; i < lora_comparison_count(j->comparison); i++) {
        if (lora_comparison_row_at(j->comparison, i, &row) != LORA_OK) continue;
        if (row.failure) printf("%s: %s\n", row.name, row.failure);
        planned |= row.peak_source == LORA_PEAK_PLANNED && row.trainable_parameters > 0;
    }
    if (planned)
        printf("%s\n", say(j->app, "* planned: this system does not let the peak be measured",
                           "* 为计划值：本系统无法测量峰值"));
}

static void note_next(const job *j, int64_t recommended)
{
    const application *app = j->app;
    lora_comparison_row row = {.struct_size = sizeof row};
    if (recommended < 0 || lora_comparison_row_at(j->comparison, (size_t)recommended, &row) != LORA_OK) return;
    printf("%s  lora chat %s%s%s\n", say(app, "try it:", "试一试："), row.full ? "" : app->arguments.items[0],
           row.full ? "" : " --adapter ", row.path);
}

static int print_result(job *j)
{
    const application *app = j->app;
    lora_comparison_verdict verdict = {.struct_size = sizeof verdict};
    if (app->json) {
        const char *text;
        lora_status status = lora_comparison_json(j->comparison, &text);
        return status == LORA_OK ? puts(text) < 0 : failed(app, status);
    }
    print_table(j);
    note_failures(j);
    lora_status status = lora_comparison_judge(j->comparison, &verdict);
    if (status != LORA_OK) return failed(app, status);
    printf("\n%s\n", say(app, verdict.sentence_en, verdict.sentence_zh));
    if (*verdict.claim_sentence_en) printf("%s\n", say(app, verdict.claim_sentence_en, verdict.claim_sentence_zh));
    note_next(j, verdict.recommended);
    return EXIT_DONE;
}

static int make_report(job *j)
{
    report_part part = {.kind = "compare"};
    if (!j->settings.report) return EXIT_DONE;
    lora_status status = lora_comparison_json(j->comparison, &part.json);
    return status == LORA_OK ? write_report(j->app, j->settings.report, &part, 1) : failed(j->app, status);
}

static int run(job *j)
{
    const application *app = j->app;
    lora_status status = load(j);
    if (status == LORA_OK) status = run_all(j);
    if (status == LORA_ERROR_CANCELLED && interrupted())
        return complain(app, EXIT_INTERRUPTED, say(app, "stopped; the same command goes on", "已停止；用同样的命令继续"));
    if (status == LORA_ERROR_EXISTS || status == LORA_ERROR_MISMATCH)
        return complain(app, EXIT_WORK, say(app, "%s (--force)", "%s（--force）"), lora_error_message());
    if (status != LORA_OK) return failed(app, status);
    int written = make_report(j);
    return written == EXIT_DONE ? print_result(j) : written;
}

static int check(const application *app, const compare_settings *s)
{
    if (s->train.data.count == 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--data is missing: which examples to learn from?", "缺少 --data：用哪些例子训练？"));
    if (!s->train.output)
        return complain(
            app, EXIT_USAGE,
            say(app, "--output is missing: where should the runs be kept?", "缺少 --output：结果保存到哪里？"));
    if (s->seeds < 1 || s->answers < 0 || s->max_new_tokens < 1)
        return complain(app, EXIT_USAGE, say(app, "--seeds and --max-new-tokens are at least 1, --answers at least 0",
                                             "--seeds 和 --max-new-tokens 至少为 1，--answers 至少为 0"));
    return check_report(app, s->report);
}

int command_compare(application *app, int count, char **words)
{
    job j = {.app = app, .settings = {.seeds = 1, .answers = 16, .max_new_tokens = 128}};
    train_settings_init(&j.settings.train);
    int status = parse_options(app, &help, compare_options(), &j.settings, count, words);
    if (status != EXIT_DONE) return status;
    status = check(app, &j.settings);
    if (status == EXIT_DONE) status = make_grid(app, &j.settings, &j.grid);
    if (status == EXIT_DONE) status = general_read(app, &j.settings.train.mix, &j.mix);
    if (status == EXIT_DONE) status = run(&j);
    lora_comparison_free(j.comparison);
    general_free(&j.mix);
    lora_dataset_free(j.mixed);
    lora_dataset_free(j.general);
    lora_dataset_free(j.validation);
    lora_dataset_free(j.data);
    lora_model_free(j.model);
    grid_free(&j.grid);
    return status;
}
