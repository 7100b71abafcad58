#include "train_report.h"
#include "report.h"

#include <stdlib.h>

#define SAMPLES 3

static json_t *settings_json(const train_settings *s)
{
    json_t *targets = json_array();
    for (size_t i = 0; i < s->target_modules.count; i++)
        json_array_append_new(targets, json_string(s->target_modules.items[i]));
    if (s->target_modules.count == 0)
        json_array_append_new(targets, json_string("q_proj")), json_array_append_new(targets, json_string("v_proj"));
    json_t *run = json_pack("{sf sI sI sf ss sf sI sb}", "epochs", s->epochs, "batch_size", (json_int_t)s->batch_size,
                            "gradient_accumulation", (json_int_t)s->accumulation, "learning_rate",
                            learning_rate_of(s),
                            "lr_schedule", s->schedule, "warmup_steps", s->warmup, "max_length",
                            (json_int_t)s->max_length, "full", s->full);
    if (s->max_steps > 0) json_object_set_new(run, "max_steps", json_integer((json_int_t)s->max_steps));
    if (!s->full)
        json_object_update_new(run, json_pack("{sI sf sf sO}", "rank", (json_int_t)s->rank, "alpha", s->alpha,
                                              "dropout", s->dropout, "target_modules", targets));
    json_decref(targets);
    return run;
}

static json_t *data_json(const lora_dataset *data)
{
    lora_dataset_info info = {.struct_size = sizeof info};
    if (lora_dataset_get_info(data, &info) != LORA_OK) return json_null();
    return json_pack("{sI sI sI sI sI}", "rows", (json_int_t)info.rows, "tokens", (json_int_t)info.tokens,
                     "label_tokens", (json_int_t)info.label_tokens, "cut_rows", (json_int_t)info.cut_rows,
                     "longest_row", (json_int_t)info.longest_row);
}

static json_t *model_json(const lora_model *model)
{
    lora_model_info info = {.struct_size = sizeof info};
    if (lora_model_get_info(model, &info) != LORA_OK) return json_null();
    return json_pack("{ss ss sI sI sI}", "path", info.path, "family", info.family, "parameters",
                     (json_int_t)info.parameters, "layers", (json_int_t)info.layers, "context_length",
                     (json_int_t)info.context_length);
}

// The pairs of a blind test that nobody judges: the same prompts without and with the adapter. NULL: rows without
// prompts.
static json_t *samples_json(const train_report *r)
{
    lora_adapter_use use = {.adapter = r->adapter, .weight = 1};
    lora_ab_options options;
    lora_ab *pairs = NULL;
    const char *text;
    json_t *list = NULL, *pair;
    size_t index;
    lora_ab_options_init(&options);
    options.max_rows = SAMPLES;
    if (lora_ab_prepare(r->model, NULL, 0, &use, 1, r->samples, &options, NULL, NULL, &pairs) != LORA_OK) return NULL;
    json_t *document = lora_ab_json(pairs, &text) == LORA_OK ? json_loads(text, 0, NULL) : NULL;
    if (document) list = json_array();
    json_array_foreach(json_object_get(document, "pairs"), index, pair)
        json_array_append_new(list, json_pack("{sO sO sO}", "prompt", json_object_get(pair, "prompt"), "before",
                                              json_object_get(pair, "a"), "after", json_object_get(pair, "b")));
    json_decref(document);
    lora_ab_free(pairs);
    return list;
}

int write_train_report(const train_report *r, json_t *summary)
{
    json_t *samples = samples_json(r);
    json_object_set_new(summary, "settings", settings_json(r->settings));
    json_object_set_new(summary, "data", data_json(r->data));
    json_object_set_new(summary, "model", model_json(r->model));
    char *train = json_dumps(summary, 0), *answers = samples ? json_dumps(samples, 0) : NULL;
    const report_part parts[] = {{"train", train}, {"log", r->log}, {"samples", answers}};
    int status = train ? write_report(r->app, r->settings->report, parts, 3) : EXIT_WORK;
    free(train);
    free(answers);
    json_decref(samples);
    json_decref(summary);
    return status;
}
