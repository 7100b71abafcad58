// lora train: data -> adapter (or, with --full, a whole model).
#include "general.h"
#include "progress.h"
#include "report.h"
#include "train_report.h"
#include "train_settings.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const verb_help help = {
    .usage = "lora train MODEL --data DATA --output ADAPTER [options]",
    .english = "Fine-tunes MODEL (a Hugging Face directory or .gguf); saves a PEFT adapter.",
    .chinese = "用 DATA 微调 MODEL（Hugging Face 目录或 .gguf），保存 PEFT 适配器。",
    .example = "lora train examples/base --data my.jsonl --output my-adapter \\\n"
               "      --rank 8 --alpha 32 --dropout 0.1 --epochs 5",
    .common = "data output validation mix rank alpha dropout target-modules epochs batch-size learning-rate quantize "
              "early-stopping resume",
    .arguments = 1,
    .most_arguments = 1,
};

typedef struct job {
    application *app;
    train_settings settings;
    train_plan plan;
    lora_model *model;
    lora_dataset *data, *validation;
    general_data general;
    lora_adapter *adapter;
    lora_trainer *trainer;
    lora_diagnosis diagnosis;
    FILE *log;
    char *kept_log; // of a run without --log, for its report
    size_t kept_size;
    int64_t first_step;
    double ready_seconds;
    lora_type save_type; // of the model that --full saves
} job;

// ---- before anything is loaded --------------------------------------------------------------------------------------

static int check_output(const application *app, const train_settings *s)
{
    if (s->data.count == 0)
        return complain(app, EXIT_USAGE,
                        say(app, "--data is missing: which examples to learn from?", "缺少 --data：用哪些例子训练？"));
    if (!s->output) return complain(app, EXIT_USAGE, say(app, "--output is missing: where should the adapter go?",
                                                         "缺少 --output：适配器保存到哪里？"));
    if (app->force || s->resume || !path_exists(s->output)) return EXIT_DONE;
    if (directory_has_files(s->output))
        return complain(app, EXIT_WORK,
                        say(app,
                            "%s is there already; choose another --output, or --force to overwrite, or --resume to "
                            "go on",
                            "%s 已存在；请换一个 --output，或用 --force 覆盖，或用 --resume 继续"),
                        s->output);
    return EXIT_DONE;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *position)
{
    (void)info, (void)kind, (void)position;
    return remove(path);
}

// --force: checkpoints of an earlier run under the output give way; whatever else is there stays.
static int remove_checkpoints(const application *app, const char *output)
{
    DIR *directory = opendir(output);
    int failures = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[4096];
        const char *digits = entry->d_name + strlen("checkpoint-");
        if (strncmp(entry->d_name, "checkpoint-", strlen("checkpoint-")) != 0 || !*digits ||
            digits[strspn(digits, "0123456789")])
            continue;
        int length = snprintf(path, sizeof path, "%s/%s", output, entry->d_name);
        failures += length >= (int)sizeof path || nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0;
    }
    if (directory) closedir(directory);
    if (failures == 0) return EXIT_DONE;
    return complain(app, EXIT_WORK, say(app, "%s: the checkpoints of an earlier run could not be removed",
                                        "%s：无法删除之前训练的检查点"), output);
}

// ---- loading --------------------------------------------------------------------------------------------------------

// General rows come in after the held-out rows have been taken from the user's own.
static lora_status load_data(job *j)
{
    lora_status status =
        load_training_rows(j->app, &j->settings, &j->plan, lora_model_tokenizer(j->model), &j->data, &j->validation);
    if (status != LORA_OK || j->general.count == 0) return status;
    return general_mix(j->app, &j->general, lora_model_tokenizer(j->model), &j->plan.dataset, j->data);
}

static lora_status measure_general(const job *j, bool with_adapter, double *loss)
{
    lora_adapter_use use = {.adapter = j->adapter, .weight = 1};
    return j->general.count ? general_measure(&j->general, j->model, &use, with_adapter, loss) : LORA_OK;
}

static lora_status load(job *j)
{
    lora_status status = open_model(j->app, j->app->arguments.items[0], &j->plan.model, &j->model);
    if (status == LORA_OK) status = load_data(j);
    if (status != LORA_OK) return status;
    status = j->settings.init_adapter ? lora_adapter_load(j->model, j->settings.init_adapter, 1, &j->adapter)
                                      : lora_adapter_create(j->model, &j->plan.adapter, &j->adapter);
    if (status == LORA_OK) status = measure_general(j, j->settings.init_adapter != NULL, &j->general.before);
    if (status != LORA_OK) return status;
    j->plan.trainer.validation = j->validation;
    status = lora_trainer_create(j->adapter, j->data, &j->plan.trainer, &j->trainer);
    if (status == LORA_OK && j->settings.resume) status = lora_trainer_resume(j->trainer, &j->first_step);
    return status;
}

// ---- what the run will do, shown before its first step --------------------------------------------------------------

static void note_data(const job *j)
{
    const application *app = j->app;
    lora_dataset_info info = {.struct_size = sizeof info};
    char tokens[32], labels[32];
    lora_dataset_get_info(j->data, &info);
    note(app,
         say(app,
             "data: %" PRId64 " rows, %s tokens, %s of them learnt; %" PRId64 " rows cut; %" PRId64
             " end with a learnt end token",
             "数据：%" PRId64 " 行，%s 个词元，其中学习 %s 个；截断 %" PRId64 " 行；%" PRId64
             " 行以学习到的结束符结尾"),
         info.rows, with_commas(info.tokens, tokens), with_commas(info.label_tokens, labels), info.cut_rows,
         info.terminated_rows);
    if (info.response_rows > 0 && info.terminated_rows < info.response_rows)
        note(app, say(app, "note: %" PRId64 " rows do not end with an end token: the model may not learn when to stop",
                      "注意：有 %" PRId64 " 行没有结束符，模型可能学不会停止"), info.response_rows - info.terminated_rows);
    if (info.skipped_rows > 0)
        note(app, say(app, "%" PRId64 " rows are labelled as bad answers and are not learnt",
                      "有 %" PRId64 " 行被标为不好的回答，不参与学习"), info.skipped_rows);
    if (j->general.count)
        note(app,
             say(app,
                 "general data: %" PRId64 " of these rows are mixed in; %" PRId64
                 " more are held out to measure forgetting",
                 "通用数据：其中混入 %" PRId64 " 行；另留出 %" PRId64 " 行衡量遗忘"),
             j->general.mixed_rows, j->general.held_rows);
    if (j->validation && lora_dataset_get_info(j->validation, &info) == LORA_OK)
        note(app, say(app, "held out: %" PRId64 " rows", "留出：%" PRId64 " 行"), info.rows);
}

static void print_run(const lora_tokenizer *tokenizer, const int32_t *ids, size_t count, bool learnt)
{
    size_t length = 0;
    if (lora_tokenizer_decode(tokenizer, ids, count, 0, NULL, 0, &length) != LORA_OK) return;
    char *text = malloc(length + 1);
    if (text && lora_tokenizer_decode(tokenizer, ids, count, 0, text, length, &length) == LORA_OK)
        fprintf(stderr, learnt ? "[[%.*s]]" : "%.*s", (int)length, text);
    free(text);
}

// One row as the model sees it; what is learnt stands in [[ ]].
static void note_sample(const job *j)
{
    const lora_tokenizer *tokenizer = lora_model_tokenizer(j->model);
    const int32_t *ids, *labels;
    size_t count;
    if (j->app->quiet || !tokenizer || lora_dataset_row(j->data, 0, &ids, &labels, &count) != LORA_OK) return;
    note(j->app, "%s", say(j->app, "the first row, [[learnt]]:", "第一行，[[学习的部分]]："));
    if (count > 400) count = 400;
    for (size_t begin = 0, end; begin < count; begin = end) {
        bool learnt = labels[begin] != LORA_LABEL_IGNORED;
        for (end = begin + 1; end < count && (labels[end] != LORA_LABEL_IGNORED) == learnt;) end++;
        print_run(tokenizer, ids + begin, end - begin, learnt);
    }
    fputc('\n', stderr);
}

static void count_parameters(const job *j, int64_t *trainable, int64_t *all)
{
    lora_adapter_info adapter = {.struct_size = sizeof adapter};
    lora_model_info model = {.struct_size = sizeof model};
    lora_adapter_get_info(j->adapter, &adapter);
    lora_model_get_info(j->model, &model);
    *trainable = adapter.parameters;
    *all = model.parameters + (adapter.full ? 0 : adapter.parameters);
}

static void note_start(const job *j)
{
    lora_memory_plan plan = {.struct_size = sizeof plan};
    int64_t trainable, all;
    char a[32], b[32];
    note(j->app, "%s", lora_context_device(j->app->context));
    note_data(j);
    note_sample(j);
    if (lora_trainer_plan(j->trainer, &plan) == LORA_OK) note_memory_plan(j->app, &plan);
    count_parameters(j, &trainable, &all);
    note(j->app, "trainable params: %s || all params: %s || trainable%%: %.4f", with_commas(trainable, a),
         with_commas(all, b), 100.0 * (double)trainable / (double)all);
    if (j->first_step > 0)
        note(j->app, say(j->app, "going on after step %" PRId64, "从第 %" PRId64 " 步之后继续"), j->first_step);
}

// ---- the end --------------------------------------------------------------------------------------------------------

static lora_status save(job *j)
{
    const char *output = j->settings.output;
    lora_trainer_diagnose(j->trainer, &j->diagnosis);
    lora_trainer_free(j->trainer); // gives the output's lock back
    j->trainer = NULL;
    if (!j->settings.full) return lora_adapter_save(j->adapter, output, 1);
    lora_model *merged;
    lora_adapter_use use = {.adapter = j->adapter, .weight = 1};
    lora_status status = lora_model_merge(j->model, &use, 1, j->save_type, NULL, &merged);
    if (status != LORA_OK) return status;
    status = lora_model_save(merged, output, 1);
    lora_model_free(merged);
    return status;
}

static json_t *real_or_null(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *make_summary(const job *j, const progress_bar *p)
{
    int64_t trainable, all;
    count_parameters(j, &trainable, &all);
    json_t *summary = json_pack(
        "{sI so so sI sf sf sf sI sI sI ss}", "steps", (json_int_t)p->last.step, "loss", real_or_null(p->last.loss),
        "eval_loss", real_or_null(p->last_eval), "tokens", (json_int_t)p->tokens, "tokens_per_second", progress_rate(p),
        "seconds", now() - p->begin, "ready_seconds", j->ready_seconds, "peak_memory_bytes", (json_int_t)peak_memory(),
        "trainable_params", (json_int_t)trainable, "all_params", (json_int_t)all, "output", j->settings.output);
    const lora_diagnosis *d = &j->diagnosis;
    json_object_set_new(summary, "diagnosis",
                        json_pack("{ss ss ss}", "fit", lora_fit_name(d->fit), "en", d->english, "zh", d->chinese));
    if (j->general.count)
        json_object_update_new(
            summary, json_pack("{so so sI sI}", "general_loss_before", real_or_null(j->general.before),
                               "general_loss_after", real_or_null(j->general.after), "general_rows",
                               (json_int_t)j->general.held_rows, "mixed_rows", (json_int_t)j->general.mixed_rows));
    return summary;
}

static void print_forgetting(const job *j)
{
    const general_data *g = &j->general;
    double change = 100 * (g->after / g->before - 1);
    printf(say(j->app, "general loss (%" PRId64 " held-out rows): %.4f before, %.4f after (%+.1f %%: %s)\n",
               "通用损失（留出 %" PRId64 " 行）：训练前 %.4f，训练后 %.4f（%+.1f%%：%s）\n"),
           g->held_rows, g->before, g->after, change,
           change < 1    ? say(j->app, "nothing was forgotten", "没有遗忘")
           : change < 10 ? say(j->app, "little was forgotten", "略有遗忘")
                         : say(j->app, "much was forgotten; mix in more general data or train less",
                               "遗忘较多；请多混入通用数据，或减少训练"));
}

static int print_summary(const job *j, const progress_bar *p)
{
    const application *app = j->app;
    if (app->json) return print_json(make_summary(j, p));
    char time[32], memory[32];
    if (p->last.step > j->first_step)
        printf(say(app, "%s: loss %.4f after %" PRId64 " steps, %.0f tokens/s, %s, peak memory %s\n",
                   "%s：损失 %.4f，共 %" PRId64 " 步，%.0f 词元/秒，用时 %s，内存峰值 %s\n"),
               j->settings.output, p->last.loss, p->last.step, progress_rate(p), as_time(now() - p->begin, time),
               as_size((uint64_t)peak_memory(), memory));
    if (!isnan(p->last_eval)) printf(say(app, "held-out loss: %.4f\n", "留出损失：%.4f\n"), p->last_eval);
    if (j->general.count) print_forgetting(j);
    printf("%s\n", say(app, j->diagnosis.english, j->diagnosis.chinese));
    if (!j->settings.full)
        printf(say(app, "try it:  lora chat %s --adapter %s\n",
                   "试一试：lora chat %s --adapter %s\n"), app->arguments.items[0], j->settings.output);
    return EXIT_DONE;
}

// The last line of the log.
static void log_end(const job *j, const progress_bar *p)
{
    json_t *line = json_pack("{sI ss ss ss}", "step", (json_int_t)p->last.step, "diagnosis",
                             lora_fit_name(j->diagnosis.fit), "en", j->diagnosis.english, "zh", j->diagnosis.chinese);
    if (line && j->general.count)
        json_object_update_new(line, json_pack("{sf sf}", "general_loss_before", j->general.before,
                                               "general_loss_after", j->general.after));
    if (line && json_dumpf(line, j->log, JSON_REAL_PRECISION(9)) == 0) fputc('\n', j->log);
    json_decref(line);
}

static char *read_log(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0;
    if (file && fseek(file, 0, SEEK_END) == 0 && ftell(file) > 0 && (text = calloc(1, (size_t)ftell(file) + 1))) {
        size = (size_t)ftell(file);
        rewind(file);
        size = fread(text, 1, size, file);
        text[size] = '\0';
    }
    if (file) fclose(file);
    return text;
}

static int give_report(job *j, const progress_bar *p)
{
    if (j->log) fflush(j->log);
    char *text = j->settings.log ? read_log(j->settings.log) : NULL;
    train_report report = {.app = j->app,
                           .settings = &j->settings,
                           .model = j->model,
                           .adapter = j->adapter,
                           .data = j->data,
                           .samples = j->validation ? j->validation : j->data,
                           .log = text ? text : j->kept_log};
    int status = write_train_report(&report, make_summary(j, p));
    free(text);
    return status;
}

static void note_divergence(const job *j)
{
    note(j->app, "%s",
         say(j->app,
             "The loss left every sensible range, so the run was stopped. Try again with a tenth of --learning-rate "
             "and --warmup-steps 0.1; `lora check` finds damaged rows.",
             "损失超出了合理范围，训练已停止。请把 --learning-rate 降到十分之一，加上 --warmup-steps 0.1 再试；"
             "可用 lora check 查找有问题的行。"));
}

static void cancel_training(void *handle)
{
    lora_trainer_cancel(handle);
}

static int run(job *j)
{
    application *app = j->app;
    lora_status status = load(j);
    if (status != LORA_OK) return failed(app, status);
    if (app->force && !j->settings.resume && remove_checkpoints(app, j->settings.output) != EXIT_DONE) return EXIT_WORK;
    if (j->settings.log && !(j->log = fopen(j->settings.log, "a")))
        return complain(app, EXIT_WORK, say(app, "%s: the log could not be opened: %s", "%s：无法打开日志文件：%s"),
                        j->settings.log, strerror(errno));
    if (!j->log && j->settings.report) j->log = open_memstream(&j->kept_log, &j->kept_size);
    note_start(j);
    progress_bar p;
    progress_init(&p, app, j->log, j->first_step);
    j->ready_seconds = p.begin - app->start;
    on_interrupt(cancel_training, j->trainer);
    status = lora_trainer_run(j->trainer, progress_step, &p);
    on_interrupt(NULL, NULL);
    progress_end_line(&p);
    if (status == LORA_OK && p.last.step == j->first_step)
        note(app, say(app, "the run was over after step %" PRId64 ": nothing is left to do",
                      "训练已在第 %" PRId64 " 步结束：没有剩余步骤"), p.last.step);
    if (status == LORA_ERROR_CANCELLED) {
        progress_free(&p);
        complain(app, EXIT_INTERRUPTED, say(app, "%s; the same command with --resume goes on",
                                            "%s；同样的命令加 --resume 可继续"), lora_error_message());
        return EXIT_INTERRUPTED;
    }
    if (status == LORA_ERROR_DIVERGED || status == LORA_ERROR_NOT_FINITE) note_divergence(j);
    if (status == LORA_OK) status = save(j);
    if (status == LORA_OK) status = measure_general(j, true, &j->general.after);
    if (status == LORA_OK && j->log) log_end(j, &p);
    int result = status == LORA_OK ? print_summary(j, &p) : failed(app, status);
    if (result == EXIT_DONE && j->settings.report) result = give_report(j, &p);
    progress_free(&p);
    return result;
}

int command_train(application *app, int count, char **words)
{
    job j = {.app = app, .diagnosis.struct_size = sizeof j.diagnosis};
    train_settings_init(&j.settings);
    int status = parse_options(app, &help, train_options, &j.settings, count, words);
    if (status != EXIT_DONE) return status;
    status = check_output(app, &j.settings);
    if (status == EXIT_DONE) status = make_train_plan(app, &j.settings, &j.plan);
    if (status == EXIT_DONE && !j.settings.full && strcmp(j.settings.save_dtype, "keep") != 0)
        status = complain(app, EXIT_USAGE, say(app, "--save-dtype goes with --full: an adapter is saved as f32",
                                               "--save-dtype 与 --full 一起使用：适配器总是保存为 f32"));
    if (status == EXIT_DONE) status = read_type(app, "save-dtype", j.settings.save_dtype, &j.save_type);
    if (status == EXIT_DONE) status = general_read(app, &j.settings.mix, &j.general);
    if (status == EXIT_DONE) status = check_report(app, j.settings.report);
    if (status == EXIT_DONE) status = run(&j);
    if (j.log) fclose(j.log);
    free(j.kept_log);
    lora_trainer_free(j.trainer);
    lora_adapter_free(j.adapter);
    general_free(&j.general);
    lora_dataset_free(j.validation);
    lora_dataset_free(j.data);
    lora_model_free(j.model);
    return status;
}
