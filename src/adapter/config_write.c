// adapter_config.json as PEFT 0.21.2 writes it: every key, defaults included. What a loaded file said beside that is
// kept.
#include "config.h"

#include "lib/json.h"
#include "method.h"

#include <math.h>
#include <string.h>

#define FORMAT_VERSION "0.21.2"

// What is not a setting here, at PEFT's defaults.
static const char constant_keys[] =
    "{\"alora_invocation_tokens\":null,\"arrow_config\":null,\"auto_mapping\":null,\"corda_config\":null,\"eva_"
    "config\":null,"
    "\"fan_in_fan_out\":false,\"inference_mode\":true,\"kasa_config\":null,\"layer_replication\":null,\"loftq_config\":"
    "{},"
    "\"lora_bias\":false,\"lora_ga_config\":null,\"megatron_config\":null,\"megatron_core\":\"megatron.core\","
    "\"monteclora_config\":null,\"peft_version\":\"" FORMAT_VERSION "\",\"qalora_group_size\":16,\"revision\":null,"
    "\"target_parameters\":null,\"task_type\":\"CAUSAL_LM\",\"trainable_token_indices\":null,\"use_bdlora\":null,"
    "\"use_dora\":false,\"use_qalora\":false,\"velora_config\":null}";

// A float as the decimal it was written as, and a whole number as an integer where `whole` allows.
static json_t *number(double value, bool whole)
{
    if (whole && value == floor(value) && fabs(value) < 1e15) return json_integer((json_int_t)value);
    double decimal = round(value * 1e7) / 1e7;
    return json_real((float)decimal == (float)value ? decimal : value);
}

static json_t *text_list(const lr_texts *texts)
{
    if (!texts->count) return json_null();
    json_t *list = json_array();
    for (size_t i = 0; list && i < texts->count; i++)
        if (json_array_append_new(list, json_string(texts->items[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *text_or_list(const char *text, const lr_texts *texts)
{
    return text ? json_string(text) : text_list(texts);
}

static json_t *pattern_object(const lr_patterns *patterns)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < patterns->count; i++)
        if (json_object_set_new(object, patterns->items[i].pattern, number(patterns->items[i].value, true)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *layer_list(const lr_adapter_config *config)
{
    if (!config->layer_count) return json_null();
    json_t *list = json_array();
    for (size_t i = 0; list && i < config->layer_count; i++)
        if (json_array_append_new(list, json_integer(config->layers[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *init_value(const char *init)
{
    if (strcmp(init, "true") == 0) return json_true();
    return strcmp(init, "false") == 0 ? json_false() : json_string(init);
}

static int set_settings(json_t *object, const lr_adapter_config *config)
{
    static const char *const bias_names[] = {"none", "all", "lora_only"};
    int failed = 0;
    failed |= json_object_set_new(object, "r", json_integer(config->r));
    failed |= json_object_set_new(object, "lora_alpha", number(config->alpha, true));
    failed |= json_object_set_new(object, "lora_dropout", number(config->dropout, false));
    failed |= json_object_set_new(object, "bias", json_string(bias_names[config->bias]));
    failed |= json_object_set_new(object, "use_rslora", json_boolean(config->use_rslora));
    failed |= json_object_set_new(object, "ensure_weight_tying", json_boolean(config->tie_weights));
    failed |= json_object_set_new(object, "init_lora_weights", init_value(config->init));
    failed |=
        json_object_set_new(object, "target_modules", text_or_list(config->target_regex, &config->target_modules));
    failed |=
        json_object_set_new(object, "exclude_modules", text_or_list(config->exclude_regex, &config->exclude_modules));
    failed |= json_object_set_new(object, "layers_to_transform", layer_list(config));
    failed |= json_object_set_new(object, "layers_pattern", text_list(&config->layers_pattern));
    failed |= json_object_set_new(object, "modules_to_save", text_list(&config->modules_to_save));
    failed |= json_object_set_new(object, "rank_pattern", pattern_object(&config->rank_pattern));
    failed |= json_object_set_new(object, "alpha_pattern", pattern_object(&config->alpha_pattern));
    return failed;
}

static json_t *start_object(const lr_adapter_config *config)
{
    json_error_t error;
    json_t *object = config->full ? json_object() : json_loads(constant_keys, 0, &error);
    if (!object || !config->source) return object;
    json_t *source = NULL;
    if (lr_json_parse("adapter_config.json", config->source, config->source_length, &source) != LORA_OK ||
        json_object_update(object, source) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(source);
    return object;
}

lora_status lr_config_write(const lr_adapter_config *config, char **text, size_t *length)
{
    lora_status status = LORA_ERROR_MEMORY;
    json_t *object = start_object(config);
    int failed = object == NULL;
    if (!failed) {
        failed |=
            json_object_set_new(object, "peft_type", json_string(config->full ? "FULL" : config->method->peft_type));
        failed |= json_object_set_new(object, "base_model_name_or_path",
                                      config->base_name[0] ? json_string(config->base_name) : json_null());
        failed |= json_object_set_new(object, "inference_mode", json_true());
        if (!config->full) failed |= set_settings(object, config);
    }
    if (failed) lr_fail_memory(sizeof constant_keys);
    else status = lr_json_dump(config->allocator, object, 2, true, text, length);
    json_decref(object);
    return status;
}
