// Merging: adapters added to the weights, as a model of the workspace's exports.
#include "exports.h"
#include "jobs.h"

#include "files.h"

#include <stdlib.h>
#include <string.h>

static char *output_path(const server *s, const json_t *settings)
{
    const char *name = json_string_value(json_object_get(settings, "export")),
               *format = json_string_value(json_object_get(settings, "format"));
    bool gguf = format && strcmp(format, "gguf") == 0;
    size_t length = strlen(name);
    bool ends = length > 5 && strcmp(name + length - 5, ".gguf") == 0;
    return workspace_path(s, "exports/%s%s", name, gguf && !ends ? ".gguf" : "");
}

static bool refuse(request *r, unsigned status, const char *param, const char *english, const char *chinese)
{
    answer_error(r, status, status == 409 ? "name_taken" : "invalid_value", param, "%s: %s", param,
                 say(&r->words, english, chinese));
    return false;
}

static bool check(request *r, const json_t *settings)
{
    const char *name = json_string_value(json_object_get(settings, "export")),
               *type = json_string_value(json_object_get(settings, "dtype"));
    json_t *format = json_object_get(settings, "format");
    const char *format_name = format ? json_string_value(format) : "hf";
    lora_type number;
    char complaint[COMPLAINT_SIZE];
    application app = r->words;
    app.complaint = complaint;
    if (!check_adapters(r, settings, "adapters")) return false;
    if (json_array_size(json_object_get(settings, "adapters")) == 0)
        return refuse(r, 400, "adapters", "at least one is needed", "至少需要一个");
    if (!name || !is_name(name))
        return refuse(r, 400, "export", "a name of letters, digits, '-', '_' or '.' is expected",
                      "应为由文字、数字、“-”、“_”、“.”组成的名称");
    if (!format_name || (strcmp(format_name, "hf") != 0 && strcmp(format_name, "gguf") != 0))
        return refuse(r, 400, "format", "hf or gguf is expected", "应为 hf 或 gguf");
    if (json_object_get(settings, "dtype") && (!type || read_type(&app, "dtype", type, &number) != EXIT_DONE))
        return refuse(r, 400, "dtype", "keep, f32, f16 or bf16 is expected", "应为 keep、f32、f16 或 bf16");
    size_t length = strlen(name);
    if (strcmp(format_name, "hf") == 0 && length > 5 && strcmp(name + length - 5, ".gguf") == 0)
        return refuse(r, 400, "export", "a name that ends in .gguf is that of a GGUF file",
                      "以 .gguf 结尾的名称只用于 GGUF 文件");
    char *path = output_path(r->server, settings);
    bool taken = !path || path_exists(path) || jobs_will_make(r->server->jobs, "merge", name);
    free(path);
    return !taken || refuse(r, 409, "export", "there is a file of this name already", "已有同名文件");
}

static lora_status run_merge(job_work *w)
{
    lora_model *model = NULL, *merged = NULL;
    adapter_set adapters = {.count = 0};
    lora_type type = LORA_TYPE_KEEP;
    lora_merge_report report = {.struct_size = sizeof report};
    const char *type_name = json_string_value(json_object_get(w->settings, "dtype"));
    char *path = output_path(w->server, w->settings);
    if (type_name) read_type(&w->app, "dtype", type_name, &type);
    work_progress(w, 0.05, "reading the model", "正在读取模型");
    lora_status status = path ? lora_model_load(w->context, w->server->model_path, NULL, &model) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = work_adapters(w, model, json_object_get(w->settings, "adapters"), &adapters);
    if (status == LORA_OK && work_stopping(w)) status = LORA_ERROR_CANCELLED;
    if (status == LORA_OK) work_progress(w, 0.2, "merging", "正在合并");
    if (status == LORA_OK) status = lora_model_merge(model, adapters.uses, adapters.count, type, &report, &merged);
    if (status == LORA_OK && work_stopping(w)) status = LORA_ERROR_CANCELLED;
    if (status == LORA_OK) work_progress(w, 0.6, "writing", "正在写入");
    if (status == LORA_OK) status = lora_model_save(merged, path, 0);
    if (status == LORA_OK)
        work_result(w, json_pack("{ss sI sf sf sf sf sf}", "export", strrchr(path, '/') + 1, "merged_tensors",
                                 (json_int_t)report.merged_tensors, "max_change", report.max_change, "max_rounding",
                                 report.max_rounding, "mean_rounding", report.mean_rounding, "probe_max_difference",
                                 report.probe_max_difference, "probe_mean_divergence", report.probe_mean_divergence));
    lora_model_free(merged);
    close_adapters(&adapters);
    lora_model_free(model);
    free(path);
    return status;
}

const job_kind merge_job = {.name = "merge", .check = check, .run = run_merge, .output = "export"};
