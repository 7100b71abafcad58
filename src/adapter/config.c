// Making settings: from options, or from the JSON that PEFT wrote. A key that asks for what this library does not do is
// refused by name, so that an adapter is never half applied.
#include "config.h"

#include "lib/json.h"
#include "method.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_RANK 65536

lora_status lr_texts_set(const lora_allocator *allocator, lr_texts *texts, const char *const *items, size_t count)
{
    lr_texts made = {lr_alloc_zeroed(allocator, count, sizeof *made.items), count};
    if (!made.items) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        made.items[i] = lr_duplicate(allocator, items[i]);
        if (!made.items[i]) {
            lr_texts_free(allocator, &made);
            return LORA_ERROR_MEMORY;
        }
    }
    lr_texts_free(allocator, texts);
    *texts = made;
    return LORA_OK;
}

void lr_texts_free(const lora_allocator *allocator, lr_texts *texts)
{
    for (size_t i = 0; texts->items && i < texts->count; i++) lr_free(allocator, texts->items[i]);
    lr_free(allocator, texts->items);
    *texts = (lr_texts){0};
}

static void free_patterns(const lora_allocator *allocator, lr_patterns *patterns)
{
    for (size_t i = 0; patterns->items && i < patterns->count; i++) lr_free(allocator, patterns->items[i].pattern);
    lr_free(allocator, patterns->items);
    *patterns = (lr_patterns){0};
}

static lora_status allocate_patterns(const lora_allocator *allocator, lr_patterns *patterns, size_t count)
{
    patterns->items = lr_alloc_zeroed(allocator, count, sizeof *patterns->items);
    if (!patterns->items) return LORA_ERROR_MEMORY;
    patterns->count = count;
    return LORA_OK;
}

static lora_status set_pattern(const lora_allocator *allocator, lr_pattern *target, const char *pattern, double value)
{
    target->pattern = lr_duplicate(allocator, pattern);
    target->value = value;
    return target->pattern ? LORA_OK : LORA_ERROR_MEMORY;
}

static lora_status set_text(const lora_allocator *allocator, char **target, const char *text)
{
    if (!text) return LORA_OK;
    lr_free(allocator, *target);
    *target = lr_duplicate(allocator, text);
    return *target ? LORA_OK : LORA_ERROR_MEMORY;
}

static lr_adapter_config *new_config(const lora_allocator *allocator)
{
    lr_adapter_config *config = lr_alloc_zeroed(allocator, 1, sizeof *config);
    if (config) *config = (lr_adapter_config){.allocator = allocator, .r = 8, .alpha = 8, .bias = LORA_BIAS_NONE};
    return config;
}

void lr_config_free(lr_adapter_config *config)
{
    if (!config) return;
    const lora_allocator *allocator = config->allocator;
    lr_texts_free(allocator, &config->target_modules);
    lr_texts_free(allocator, &config->exclude_modules);
    lr_texts_free(allocator, &config->layers_pattern);
    lr_texts_free(allocator, &config->modules_to_save);
    free_patterns(allocator, &config->rank_pattern);
    free_patterns(allocator, &config->alpha_pattern);
    lr_free(allocator, config->base_name);
    lr_free(allocator, config->target_regex);
    lr_free(allocator, config->exclude_regex);
    lr_free(allocator, config->layers);
    lr_free(allocator, config->init);
    lr_free(allocator, config->source);
    lr_free(allocator, config);
}

// ---- what any configuration must satisfy -------------------------------------------------------------------------

static lora_status check_ranks(const char *name, const lr_adapter_config *config)
{
    if (config->r < 1 || config->r > MAX_RANK)
        return lr_fail(LORA_ERROR_ARGUMENT, "%s: r is %d; it must be from 1 to %d", name, config->r, MAX_RANK);
    for (size_t i = 0; i < config->rank_pattern.count; i++) {
        const lr_pattern *pattern = &config->rank_pattern.items[i];
        if (!(pattern->value >= 1 && pattern->value <= MAX_RANK) || pattern->value != floor(pattern->value))
            return lr_fail(LORA_ERROR_ARGUMENT, "%s: rank_pattern '%s' is %g; it must be a whole number from 1 to %d",
                           name, pattern->pattern, pattern->value, MAX_RANK);
    }
    return LORA_OK;
}

static lora_status check_numbers(const char *name, const lr_adapter_config *config)
{
    LR_TRY(check_ranks(name, config));
    if (!isfinite(config->alpha))
        return lr_fail(LORA_ERROR_ARGUMENT, "%s: lora_alpha is not a finite number", name);
    for (size_t i = 0; i < config->alpha_pattern.count; i++)
        if (!isfinite(config->alpha_pattern.items[i].value))
            return lr_fail(LORA_ERROR_ARGUMENT, "%s: alpha_pattern '%s' is not a finite number", name,
                           config->alpha_pattern.items[i].pattern);
    if (!(config->dropout >= 0 && config->dropout < 1))
        return lr_fail(LORA_ERROR_ARGUMENT, "%s: lora_dropout is %g; it must be at least 0 and below 1", name,
                       (double)config->dropout);
    if (config->layer_count && config->target_regex)
        return lr_fail(
            LORA_ERROR_ARGUMENT,
            "%s: layers_to_transform goes with a list of target_modules; with a regular expression, name the "
            "layers in it",
            name);
    return LORA_OK;
}

static bool is_all_linear(const char *text)
{
    return strcasecmp(text, "all-linear") == 0;
}

// ---- from options --------------------------------------------------------------------------------------------------

static lora_status check_list(const char *key, const char *const *items, size_t count)
{
    if (count && !items) return lr_fail(LORA_ERROR_ARGUMENT, "%s is NULL but its count is %zu", key, count);
    for (size_t i = 0; i < count; i++)
        if (!items[i] || !items[i][0]) return lr_fail(LORA_ERROR_ARGUMENT, "%s: entry %zu is empty", key, i);
    return LORA_OK;
}

static lora_status copy_patterns(const lora_allocator *allocator, const char *key, const lora_pattern *items,
                                 size_t count, lr_patterns *out)
{
    if (!count) return LORA_OK;
    if (!items) return lr_fail(LORA_ERROR_ARGUMENT, "%s is NULL but its count is %zu", key, count);
    LR_TRY(allocate_patterns(allocator, out, count));
    for (size_t i = 0; i < count; i++) {
        if (!items[i].pattern || !items[i].pattern[0])
            return lr_fail(LORA_ERROR_ARGUMENT, "%s: entry %zu has no pattern", key, i);
        LR_TRY(set_pattern(allocator, &out->items[i], items[i].pattern, items[i].value));
    }
    return LORA_OK;
}

static lora_status copy_targets(lr_adapter_config *config, const lora_adapter_options *options)
{
    static const char *const usual[] = {"q_proj", "v_proj"};
    const lora_allocator *allocator = config->allocator;
    LR_TRY(check_list("target_modules", options->target_modules, options->target_module_count));
    LR_TRY(check_list("exclude_modules", options->exclude_modules, options->exclude_module_count));
    LR_TRY(check_list("modules_to_save", options->modules_to_save, options->module_to_save_count));
    if (options->target_regex && options->target_module_count)
        return lr_fail(LORA_ERROR_ARGUMENT, "target_regex and target_modules were both given; give one");
    if (options->target_regex) {
        LR_TRY(set_text(allocator, &config->target_regex, options->target_regex));
    } else if (options->target_module_count == 1 && is_all_linear(options->target_modules[0])) {
        config->all_linear = true;
    } else if (options->target_module_count) {
        LR_TRY(lr_texts_set(allocator, &config->target_modules, options->target_modules, options->target_module_count));
    } else {
        LR_TRY(lr_texts_set(allocator, &config->target_modules, usual, 2));
    }
    LR_TRY(lr_texts_set(allocator, &config->exclude_modules, options->exclude_modules, options->exclude_module_count));
    return lr_texts_set(allocator, &config->modules_to_save, options->modules_to_save, options->module_to_save_count);
}

static lora_status copy_layers(lr_adapter_config *config, const int32_t *layers, size_t count)
{
    if (!count) return LORA_OK;
    if (!layers) return lr_fail(LORA_ERROR_ARGUMENT, "layers_to_transform is NULL but layer_count is %zu", count);
    config->layers = lr_alloc_array(config->allocator, count, sizeof *config->layers);
    if (!config->layers) return LORA_ERROR_MEMORY;
    memcpy(config->layers, layers, count * sizeof *layers);
    config->layer_count = count;
    return LORA_OK;
}

static lora_status fill_from_options(lr_adapter_config *config, const char *base_name,
                                     const lora_adapter_options *options)
{
    const lora_allocator *allocator = config->allocator;
    LR_TRY(set_text(allocator, &config->base_name, base_name));
    LR_TRY(set_text(allocator, &config->init, options->init_lora_weights ? options->init_lora_weights : "true"));
    config->full = options->full != 0;
    if (config->full) return LORA_OK;
    config->method = &lr_method_lora;
    config->r = options->r;
    config->alpha = options->lora_alpha;
    config->dropout = options->lora_dropout;
    config->bias = options->bias;
    config->use_rslora = options->use_rslora != 0;
    if (options->bias < LORA_BIAS_NONE || options->bias > LORA_BIAS_LORA_ONLY)
        return lr_fail(LORA_ERROR_ARGUMENT, "adapter options: bias is %d; it must be a LORA_BIAS_ value",
                       options->bias);
    LR_TRY(copy_targets(config, options));
    LR_TRY(copy_layers(config, options->layers_to_transform, options->layer_count));
    LR_TRY(copy_patterns(allocator, "rank_pattern", options->rank_pattern, options->rank_pattern_count,
                         &config->rank_pattern));
    LR_TRY(copy_patterns(allocator, "alpha_pattern", options->alpha_pattern, options->alpha_pattern_count,
                         &config->alpha_pattern));
    return check_numbers("adapter options", config);
}

lora_status lr_config_from_options(const lora_allocator *allocator, const char *base_name,
                                   const lora_adapter_options *options, lr_adapter_config **out)
{
    lr_adapter_config *config = new_config(allocator);
    if (!config) return LORA_ERROR_MEMORY;
    lora_status status = fill_from_options(config, base_name, options);
    if (status != LORA_OK) {
        lr_config_free(config);
        return status;
    }
    *out = config;
    return LORA_OK;
}

// ---- from JSON -----------------------------------------------------------------------------------------------------

static bool is_set(const json_t *value)
{
    if (!value || json_is_null(value) || json_is_false(value)) return false;
    if (json_is_array(value)) return json_array_size(value) > 0;
    if (json_is_object(value)) return json_object_size(value) > 0;
    return true;
}

// Settings that change what the adapter computes in a way that is not done here.
static lora_status refuse_unsupported(const char *name, const json_t *object)
{
    static const struct {
        const char *key, *what;
    } refused[] = {
        {"use_dora", "DoRA (magnitude vectors) is"},
        {"lora_bias", "a bias on lora_B is"},
        {"target_parameters", "low-rank pairs on bare parameters (experts) are"},
        {"layer_replication", "replicated layers are"},
        {"trainable_token_indices", "single trained tokens are"},
        {"use_qalora", "QALoRA's grouped inputs are"},
        {"use_bdlora", "block-diagonal LoRA is"},
        {"alora_invocation_tokens", "activated LoRA is"},
        {"arrow_config", "Arrow's routing of adapters is"},
        {"kasa_config", "KaSA is"},
        {"monteclora_config", "MonteCLoRA is"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (is_set(json_object_get(object, refused[i].key)))
            return lr_fail(LORA_ERROR_UNSUPPORTED,
                           "%s: '%s' is set: %s not supported yet; train the adapter without it, or "
                           "merge it with PEFT and load the merged model",
                           name, refused[i].key, refused[i].what);
    return LORA_OK;
}

// Starting values that also changed the base: the file alone says too little.
static lora_status refuse_mutated_base(const char *name, const char *init)
{
    static const char *const mutating[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    for (size_t i = 0; i < sizeof mutating / sizeof *mutating; i++)
        if (strncmp(init, mutating[i], strlen(mutating[i])) == 0)
            return lr_fail(LORA_ERROR_UNSUPPORTED,
                           "%s: init_lora_weights is '%s', which changed the base's weights too; save "
                           "it from PEFT with path_initial_model_for_weight_conversion to get an ordinary adapter",
                           name, init);
    return LORA_OK;
}

static lora_status parse_type(const char *name, const json_t *object, lr_adapter_config *config)
{
    const char *type;
    LR_TRY(lr_json_text(object, name, "peft_type", NULL, &type));
    if (!type)
        return lr_fail(LORA_ERROR_FORMAT, "%s: key 'peft_type' is missing; this is not an adapter's configuration",
                       name);
    config->full = strcmp(type, "FULL") == 0;
    return config->full ? LORA_OK : lr_adapter_method_find(name, type, &config->method);
}

static lora_status wrong_kind(const char *name, const char *key, const char *expected)
{
    return lr_fail(LORA_ERROR_FORMAT, "%s: key '%s' is not %s", name, key, expected);
}

// null, one text, or a list of texts. A text goes to `single` when the caller tells them apart.
static lora_status parse_texts(const lora_allocator *allocator, const char *name, const json_t *object, const char *key,
                               lr_texts *list, char **single)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return LORA_OK;
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        return single ? set_text(allocator, single, text) : lr_texts_set(allocator, list, &text, 1);
    }
    if (!json_is_array(value)) return wrong_kind(name, key, "a list of texts");
    size_t count = json_array_size(value);
    list->items = lr_alloc_zeroed(allocator, count, sizeof *list->items);
    if (!list->items) return LORA_ERROR_MEMORY;
    list->count = count;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (!text) return wrong_kind(name, key, "a list of texts");
        LR_TRY(set_text(allocator, &list->items[i], text));
    }
    return LORA_OK;
}

static lora_status parse_patterns(const lora_allocator *allocator, const char *name, json_t *object, const char *key,
                                  lr_patterns *out)
{
    json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return LORA_OK;
    if (!json_is_object(value)) return wrong_kind(name, key, "an object of numbers");
    if (json_object_size(value) == 0) return LORA_OK;
    LR_TRY(allocate_patterns(allocator, out, json_object_size(value)));
    size_t i = 0;
    const char *pattern;
    json_t *number;
    json_object_foreach(value, pattern, number) {
        if (!json_is_number(number)) return wrong_kind(name, key, "an object of numbers");
        LR_TRY(set_pattern(allocator, &out->items[i++], pattern, json_number_value(number)));
    }
    return LORA_OK;
}

static lora_status parse_layers(const char *name, const json_t *object, lr_adapter_config *config)
{
    const char *key = "layers_to_transform";
    const json_t *value = json_object_get(object, key);
    if (!is_set(value)) return LORA_OK;
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    config->layers = lr_alloc_array(config->allocator, count, sizeof *config->layers);
    if (!config->layers) return LORA_ERROR_MEMORY;
    config->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        json_int_t layer = json_integer_value(item);
        if (!json_is_integer(item) || layer < 0 || layer > INT32_MAX)
            return wrong_kind(name, key, "a list of layer numbers");
        config->layers[i] = (int32_t)layer;
    }
    return LORA_OK;
}

static lora_status parse_bias(const char *name, const json_t *object, lr_adapter_config *config)
{
    const char *bias;
    LR_TRY(lr_json_text(object, name, "bias", "none", &bias));
    if (strcmp(bias, "none") == 0) config->bias = LORA_BIAS_NONE;
    else if (strcmp(bias, "all") == 0) config->bias = LORA_BIAS_ALL;
    else if (strcmp(bias, "lora_only") == 0) config->bias = LORA_BIAS_LORA_ONLY;
    else return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: bias is '%s'; known are none, all and lora_only", name, bias);
    return LORA_OK;
}

static lora_status parse_init(const char *name, const json_t *object, lr_adapter_config *config)
{
    const json_t *value = json_object_get(object, "init_lora_weights");
    const char *init = "true";
    if (json_is_string(value)) init = json_string_value(value);
    else if (json_is_false(value)) init = "false";
    else if (value && !json_is_true(value) && !json_is_null(value))
        return wrong_kind(name, "init_lora_weights", "true, false or a text");
    LR_TRY(refuse_mutated_base(name, init));
    return set_text(config->allocator, &config->init, init);
}

static lora_status parse_scalars(const char *name, const json_t *object, lr_adapter_config *config)
{
    int64_t r;
    double alpha, dropout;
    LR_TRY(lr_json_int(object, name, "r", 8, &r));
    LR_TRY(lr_json_real(object, name, "lora_alpha", 8, &alpha));
    LR_TRY(lr_json_real(object, name, "lora_dropout", 0, &dropout));
    LR_TRY(lr_json_bool(object, name, "use_rslora", false, &config->use_rslora));
    LR_TRY(lr_json_bool(object, name, "ensure_weight_tying", false, &config->tie_weights));
    LR_TRY(lr_json_bool(object, name, "fan_in_fan_out", false, &config->fan_in_fan_out));
    config->r = r < 1 || r > MAX_RANK ? 0 : (int32_t)r;
    config->alpha = (float)alpha;
    config->dropout = (float)dropout;
    return LORA_OK;
}

static lora_status fill_from_json(lr_adapter_config *config, const char *name, json_t *object)
{
    const lora_allocator *allocator = config->allocator;
    const char *base;
    if (!json_is_object(object)) return lr_fail(LORA_ERROR_FORMAT, "%s: an object was expected", name);
    LR_TRY(parse_type(name, object, config));
    LR_TRY(lr_json_text(object, name, "base_model_name_or_path", "", &base));
    LR_TRY(set_text(allocator, &config->base_name, base));
    LR_TRY(parse_init(name, object, config));
    if (config->full) return LORA_OK;
    LR_TRY(refuse_unsupported(name, object));
    LR_TRY(parse_scalars(name, object, config));
    LR_TRY(parse_bias(name, object, config));
    LR_TRY(parse_texts(allocator, name, object, "target_modules", &config->target_modules, &config->target_regex));
    LR_TRY(parse_texts(allocator, name, object, "exclude_modules", &config->exclude_modules, &config->exclude_regex));
    LR_TRY(parse_texts(allocator, name, object, "modules_to_save", &config->modules_to_save, NULL));
    LR_TRY(parse_texts(allocator, name, object, "layers_pattern", &config->layers_pattern, NULL));
    LR_TRY(parse_layers(name, object, config));
    LR_TRY(parse_patterns(allocator, name, object, "rank_pattern", &config->rank_pattern));
    LR_TRY(parse_patterns(allocator, name, object, "alpha_pattern", &config->alpha_pattern));
    config->all_linear = config->target_regex && is_all_linear(config->target_regex);
    if (config->all_linear || (config->target_regex && !config->target_regex[0])) {
        lr_free(allocator, config->target_regex);
        config->target_regex = NULL;
    }
    if (!config->all_linear && !config->target_regex && !config->target_modules.count) {
        static const char *const usual[] = {"q_proj", "v_proj"};
        LR_TRY(lr_texts_set(allocator, &config->target_modules, usual, 2));
    }
    lora_status status = check_numbers(name, config);
    return status == LORA_ERROR_ARGUMENT ? LORA_ERROR_FORMAT : status;
}

lora_status lr_config_parse(const lora_allocator *allocator, const char *name, const char *text, size_t length,
                            lr_adapter_config **out)
{
    json_t *object = NULL;
    LR_TRY(lr_json_parse(name, text, length, &object));
    lora_status status = LORA_ERROR_MEMORY;
    lr_adapter_config *config = new_config(allocator);
    if (!config) goto done;
    LR_GOTO(done, status, fill_from_json(config, name, object));
    config->source = lr_duplicate_range(allocator, text, length);
    config->source_length = length;
    status = config->source ? LORA_OK : LORA_ERROR_MEMORY;
done:
    json_decref(object);
    if (status != LORA_OK) lr_config_free(config);
    else *out = config;
    return status;
}
