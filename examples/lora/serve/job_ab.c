// A blind test: the answers of both sides are prepared as a job; then people judge, question after question.
#include "datasets.h"
#include "files.h"
#include "jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool check(request *r, const json_t *settings)
{
    json_t *count = json_object_get(settings, "count"), *seed = json_object_get(settings, "seed");
    if (!check_dataset(r, settings, "dataset") || !check_adapters(r, settings, "left") ||
        !check_adapters(r, settings, "right"))
        return false;
    if (json_equal(json_object_get(settings, "left"), json_object_get(settings, "right")))
        answer_error(r, 400, "invalid_value", "right", "%s", say(&r->words, "both sides are the same", "双方相同，无法比较"));
    else if (count && !(json_is_integer(count) && json_integer_value(count) > 0 && json_integer_value(count) <= 1000))
        answer_error(r, 400, "invalid_value", "count", "%s",
                     say(&r->words, "count: a number from 1 to 1000 is expected", "count：应为 1 到 1000 之间的整数"));
    else if (seed && !json_is_integer(seed))
        answer_error(r, 400, "invalid_value", "seed", "%s",
                     say(&r->words, "seed: a whole number is expected", "seed：应为整数"));
    return !r->answered;
}

// ---- preparing -----------------------------------------------------------------------------------------------------

static int32_t tell(int64_t done, int64_t total, void *user)
{
    job_work *w = user;
    char english[96], chinese[96];
    snprintf(english, sizeof english, "answer %" PRId64 " of %" PRId64, done, total);
    snprintf(chinese, sizeof chinese, "第 %" PRId64 " 个回答，共 %" PRId64 " 个", done, total);
    work_progress(w, total > 0 ? (double)done / (double)total : 0, english, chinese);
    return work_stopping(w);
}

// "report + style × 0.5", or the model's name.
static void name_side(const server *s, const json_t *list, char *text, size_t capacity)
{
    size_t index, length = 0;
    json_t *entry;
    snprintf(text, capacity, "%s", s->model_name);
    json_array_foreach(list, index, entry) {
        double weight = json_object_get(entry, "weight") ? json_number_value(json_object_get(entry, "weight")) : 1;
        length += (size_t)snprintf(text + length, capacity - length, "%s%s", index ? " + " : "",
                                   json_string_value(json_object_get(entry, "name")));
        if (length < capacity && weight != 1)
            length += (size_t)snprintf(text + length, capacity - length, " × %g", weight);
        if (length >= capacity) return;
    }
}

static lora_status prepare(job_work *w, const lora_model *model, const lora_dataset *data, const adapter_set *left,
                           const adapter_set *right)
{
    char names[2][900];
    lora_ab *ab = NULL;
    lora_ab_options options;
    lora_generate_options generate;
    json_t *count = json_object_get(w->settings, "count"), *seed = json_object_get(w->settings, "seed");
    name_side(w->server, json_object_get(w->settings, "left"), names[0], sizeof names[0]);
    name_side(w->server, json_object_get(w->settings, "right"), names[1], sizeof names[1]);
    lora_generate_options_init(&generate);
    generate.temperature = 0;
    generate.max_new_tokens = 256;
    lora_ab_options_init(&options);
    options.name_a = names[0];
    options.name_b = names[1];
    options.generate = &generate;
    options.max_rows = count ? (int32_t)json_integer_value(count) : 20;
    if (seed) options.seed = (uint64_t)json_integer_value(seed);
    lora_status status = lora_ab_prepare(model, left->uses, left->count, right->uses, right->count, data, &options,
                                         tell, w, &ab);
    char *path = work_path(w, "test.json");
    if (status == LORA_OK) status = path ? lora_ab_save(ab, path, 1) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) work_result(w, json_pack("{sI}", "pairs", (json_int_t)lora_ab_count(ab)));
    lora_ab_free(ab);
    free(path);
    return status;
}

static lora_status run(job_work *w)
{
    lora_model *model = NULL;
    lora_dataset *data = NULL;
    adapter_set left = {.count = 0}, right = {.count = 0};
    lora_dataset_options options;
    lora_dataset_options_init(&options);
    char *path = dataset_path(w->server, json_string_value(json_object_get(w->settings, "dataset")));
    const char *const paths[] = {path};
    work_progress(w, 0, "reading the model and the data", "正在读取模型和数据");
    lora_status status = path ? lora_model_load(w->context, w->server->model_path, NULL, &model) : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = work_adapters(w, model, json_object_get(w->settings, "left"), &left);
    if (status == LORA_OK) status = work_adapters(w, model, json_object_get(w->settings, "right"), &right);
    if (status == LORA_OK)
        status = lora_dataset_load(w->context, lora_model_tokenizer(model), paths, 1, &options, &data);
    if (status == LORA_OK) status = prepare(w, model, data, &left, &right);
    close_adapters(&left);
    close_adapters(&right);
    lora_dataset_free(data);
    lora_model_free(model);
    free(path);
    return status;
}

const job_kind ab_job = {.name = "ab", .check = check, .run = run};
