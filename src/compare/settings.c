#include "src/compare/comparison.h"

#include <inttypes.h>
#include <stdio.h>

static json_t *hash_text(uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

static json_t *text_list(const char *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, json_string(items[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *patterns(const lora_pattern *items, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) json_object_set_new(object, items[i].pattern, json_real(items[i].value));
    return object;
}

static json_t *layers(const lora_adapter_options *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->layer_count; i++) json_array_append_new(list, json_integer(o->layers_to_transform[i]));
    return list;
}

static json_t *adapter_options(const lora_adapter_options *o)
{
    if (o->full) return json_pack("{s:b}", "full", 1);
    static const char *const standard[] = {"q_proj", "v_proj"};
    bool given = o->target_module_count > 0 || o->target_regex;
    return json_pack("{s:b, s:i, s:f, s:f, s:i, s:b, s:o, s:s*, s:o, s:o, s:o, s:o, s:o, s:s*}", "full", 0, "r", o->r,
                     "lora_alpha", (double)o->lora_alpha, "lora_dropout", (double)o->lora_dropout, "bias", o->bias,
                     "use_rslora", o->use_rslora != 0, "target_modules",
                     given ? text_list(o->target_modules, o->target_module_count) : text_list(standard, 2),
                     "target_regex", o->target_regex, "exclude_modules",
                     text_list(o->exclude_modules, o->exclude_module_count), "modules_to_save",
                     text_list(o->modules_to_save, o->module_to_save_count), "layers_to_transform", layers(o),
                     "rank_pattern", patterns(o->rank_pattern, o->rank_pattern_count), "alpha_pattern",
                     patterns(o->alpha_pattern, o->alpha_pattern_count), "init_lora_weights", o->init_lora_weights);
}

static json_t *trainer_options(const lora_trainer_options *o)
{
    json_t *run = json_pack("{s:f, s:I, s:i, s:i, s:f, s:i, s:f, s:f, s:f, s:I}", "epochs", o->epochs, "max_steps",
                            (json_int_t)o->max_steps, "batch_size", o->batch_size, "gradient_accumulation",
                            o->gradient_accumulation, "learning_rate", o->learning_rate, "schedule", o->schedule,
                            "warmup_steps", o->warmup_steps, "weight_decay", o->weight_decay, "max_grad_norm",
                            o->max_grad_norm, "seed", (json_int_t)o->seed);
    json_t *rest = json_pack("{s:f, s:f, s:f, s:b, s:b, s:i, s:I, s:i}", "beta1", o->beta1, "beta2", o->beta2,
                             "epsilon", o->epsilon, "shuffle", o->shuffle != 0, "packing", o->packing != 0,
                             "pack_length", o->pack_length, "eval_steps", (json_int_t)o->eval_steps, "early_stopping",
                             o->early_stopping);
    if (!run || !rest || json_object_update(run, rest) != 0) {
        json_decref(run);
        run = NULL;
    }
    json_decref(rest);
    return run;
}

static json_t *data_facts(const lora_dataset *data)
{
    if (!data) return json_null();
    lora_dataset_info info = {.struct_size = sizeof info};
    lora_dataset_get_info(data, &info);
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "rows", (json_int_t)info.rows, "tokens", (json_int_t)info.tokens,
                     "label_tokens", (json_int_t)info.label_tokens, "cut_rows", (json_int_t)info.cut_rows,
                     "fingerprint", hash_text(data->fingerprint));
}

json_t *lr_setting_options(const lora_dataset *data, const lora_adapter_options *adapter,
                           const lora_trainer_options *trainer)
{
    return json_pack("{s:o, s:o, s:o}", "adapter", adapter_options(adapter), "trainer", trainer_options(trainer),
                     "data", data_facts(data));
}

json_t *lr_comparison_about(const lora_comparison *c)
{
    lora_model_info model = {.struct_size = sizeof model};
    lora_model_get_info(c->model, &model);
    json_t *facts = json_pack("{s:s*, s:s*, s:I, s:I, s:o}", "path", model.path, "family", model.family, "parameters",
                              (json_int_t)model.parameters, "bytes", (json_int_t)model.bytes, "fingerprint",
                              hash_text(model.fingerprint));
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:i}", "model", facts, "data", data_facts(c->data), "validation",
                     data_facts(c->validation), "general", data_facts(c->general), "answers", c->answers,
                     "max_new_tokens", c->max_new_tokens);
}
