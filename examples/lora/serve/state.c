#include "state.h"

#include "../conversation.h"
#include "../compare_grid.h"
#include "assets.h"
#include "datasets.h"
#include "exports.h"
#include "jobs.h"
#include "scheduler.h"
#include "shelf.h"

#include <stdlib.h>
#include <string.h>

void page_index(request *r)
{
    answer_asset(r, "index.html");
}

void page_asset(request *r)
{
    answer_asset(r, r->names[0]);
}

typedef struct sampling_settings_frame {
    sampling_settings sampling;
} sampling_settings_frame;

static json_t *model_state(const server *s)
{
    lora_model_info info = {.struct_size = sizeof info};
    lora_model_get_info(s->model, &info);
    return json_pack("{ss ss ss sI sI sI ss}", "name", s->model_name, "path", s->model_path, "family", info.family,
                     "parameters", (json_int_t)info.parameters, "bytes", (json_int_t)info.bytes, "context_length",
                     (json_int_t)info.context_length, "type", lora_type_name(info.type));
}

void state_get(request *r)
{
    server *s = r->server;
    answer_json(r, 200,
                json_pack("{ss ss so so so so so so}", "version", lora_version(), "lang", s->app->chinese ? "zh" : "en",
                          "model", model_state(s), "adapters", shelf_list(s->shelf), "datasets", datasets_list(s),
                          "jobs", jobs_list(s->jobs), "exports", exports_list(s), "load",
                          scheduler_load(s->scheduler)));
}

// ---- options -------------------------------------------------------------------------------------------------------

void options_get(request *r)
{
    const server *s = r->server;
    static const char *const compare_basic[] = {"rank", "learning-rate", "epochs", NULL};
    static const char *const basic[] = {
        "rank", "alpha", "dropout", "target-modules", "epochs", "learning-rate", "batch-size", "max-length", NULL};
    static const char *const sampling_basic[] = {"max-new-tokens", "temperature", NULL};
    static const option sampling[] = {SAMPLING_OPTIONS(sampling_settings_frame, sampling), {0}};
    train_settings train;
    sampling_settings_frame generate;
    compare_settings compare = {.seeds = 1, .answers = 4, .max_new_tokens = 128};
    train_settings_init(&train);
    train_settings_init(&compare.train);
    sampling_settings_init(&generate.sampling);
    answer_json(r, 200,
                json_pack("{so so so so}", "train", options_json(train_options, &train, basic), "generate",
                          options_json(sampling, &generate, sampling_basic), "evaluate", evaluate_options(), "compare",
                          options_json(s->compare_options, &compare, compare_basic)));
}

// ---- tutorials -----------------------------------------------------------------------------------------------------

void tutorials_list(request *r)
{
    json_t *list = json_array();
    for (const tutorial *t = tutorials; t->id; t++)
        json_array_append_new(list,
                              json_pack("{ss s{ss ss}}", "id", t->id, "title", "en", t->title_en, "zh", t->title_zh));
    answer_json(r, 200, list);
}

void tutorial_get(request *r)
{
    const char *language = query(r, "lang");
    bool chinese = language ? strncmp(language, "zh", 2) == 0 : r->words.chinese;
    const tutorial *t = tutorials;
    while (t->id && strcmp(t->id, r->names[0]) != 0) t++;
    if (t->id) answer_json(r, 200, json_pack("{ss}", "html", chinese ? t->html_zh : t->html_en));
    else answer_error(r, 404, "not_found", NULL, say(&r->words, "there is no tutorial %s", "没有教程 %s"), r->names[0]);
}
