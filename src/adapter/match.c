// Matching module names. A list entry means a module by its whole name or by its last parts; a single text is a regular
// expression for the whole name. Excluded modules and those trained whole are never adapted.
#include "match.h"

#include "regex.h"
#include "src/core/context.h"

#include <stdio.h>
#include <string.h>

#define SHORTEN_FROM 20 // names; as PEFT does

typedef struct lr_rules {
    const lr_adapter_config *config;
    lr_regex *targets, *excluded;
    lr_regex **layers; // one per layers_pattern, or one for any
    size_t layer_rules;
    lr_regex **ranks, **alphas; // one per pattern
    bool *target_used;          // [target_modules.count]
} lr_rules;

static void free_all(const lora_allocator *allocator, lr_regex **list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) lr_regex_free(list[i]);
    lr_free(allocator, list);
}

static void free_rules(lr_rules *rules)
{
    const lr_adapter_config *config = rules->config;
    lr_regex_free(rules->targets);
    lr_regex_free(rules->excluded);
    free_all(config->allocator, rules->layers, rules->layer_rules);
    free_all(config->allocator, rules->ranks, config->rank_pattern.count);
    free_all(config->allocator, rules->alphas, config->alpha_pattern.count);
    lr_free(config->allocator, rules->target_used);
}

// Compiles prefix + item + suffix.
static lora_status compile_framed(const lora_allocator *allocator, const char *key, const char *prefix,
                                  const char *item, const char *suffix, lr_regex **out)
{
    char *pattern = lr_format(allocator, "%s%s%s", prefix, item, suffix);
    if (!pattern) return LORA_ERROR_MEMORY;
    lora_status status = lr_regex_create(allocator, key, pattern, false, out);
    lr_free(allocator, pattern);
    return status;
}

static lora_status compile_patterns(const lora_allocator *allocator, const char *key, const lr_patterns *patterns,
                                    lr_regex ***out)
{
    *out = lr_alloc_zeroed(allocator, patterns->count, sizeof **out);
    if (!*out) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < patterns->count; i++)
        LR_TRY(compile_framed(allocator, key, "(.*\\.)?(", patterns->items[i].pattern, ")$", &(*out)[i]));
    return LORA_OK;
}

static lora_status compile_layers(lr_rules *rules)
{
    const lr_adapter_config *config = rules->config;
    if (!config->layer_count) return LORA_OK;
    size_t count = config->layers_pattern.count ? config->layers_pattern.count : 1;
    rules->layers = lr_alloc_zeroed(config->allocator, count, sizeof *rules->layers);
    if (!rules->layers) return LORA_ERROR_MEMORY;
    rules->layer_rules = count;
    if (!config->layers_pattern.count)
        return lr_regex_create(config->allocator, "layers_pattern", ".*?\\.[^.]*\\.(?P<idx>\\d+)\\.", false,
                               &rules->layers[0]);
    for (size_t i = 0; i < count; i++)
        LR_TRY(compile_framed(config->allocator, "layers_pattern", "(?:^|.*?\\.)", config->layers_pattern.items[i],
                              "\\.(?P<idx>\\d+)\\.", &rules->layers[i]));
    return LORA_OK;
}

static lora_status compile_rules(lr_rules *rules)
{
    const lr_adapter_config *config = rules->config;
    const lora_allocator *allocator = config->allocator;
    rules->target_used = lr_alloc_zeroed(allocator, config->target_modules.count, sizeof *rules->target_used);
    if (!rules->target_used) return LORA_ERROR_MEMORY;
    if (config->target_regex)
        LR_TRY(lr_regex_create(allocator, "target_modules", config->target_regex, true, &rules->targets));
    if (config->exclude_regex)
        LR_TRY(lr_regex_create(allocator, "exclude_modules", config->exclude_regex, true, &rules->excluded));
    LR_TRY(compile_layers(rules));
    LR_TRY(compile_patterns(allocator, "rank_pattern", &config->rank_pattern, &rules->ranks));
    return compile_patterns(allocator, "alpha_pattern", &config->alpha_pattern, &rules->alphas);
}

// ---- single rules ---------------------------------------------------------------------------------------------------

// `name` is `entry`, or ends with "." and `entry`.
static bool ends_with_parts(const char *name, const char *entry)
{
    size_t length = strlen(name), part = strlen(entry);
    if (part > length || strcmp(name + length - part, entry) != 0) return false;
    return part == length || name[length - part - 1] == '.';
}

static bool listed(const lr_texts *texts, const char *name)
{
    for (size_t i = 0; i < texts->count; i++)
        if (ends_with_parts(name, texts->items[i])) return true;
    return false;
}

// `entry` is a run of whole parts of `name`.
static bool contains_parts(const char *name, const char *entry)
{
    size_t part = strlen(entry);
    for (const char *at = strstr(name, entry); at; at = strstr(at + 1, entry))
        if ((at == name || at[-1] == '.') && (at[part] == '\0' || at[part] == '.')) return true;
    return false;
}

// The module or one that contains it has a name that ends with `entry` (PEFT asks for no dot before it).
bool lr_match_saves(const char *module, const char *entry)
{
    size_t part = strlen(entry);
    for (const char *end = module;; end++) {
        end += strcspn(end, ".");
        if ((size_t)(end - module) >= part && memcmp(end - part, entry, part) == 0) return true;
        if (!*end) return false;
    }
}

static lora_status is_excluded(const lr_rules *rules, const char *name, bool *excluded)
{
    const lr_adapter_config *config = rules->config;
    if (rules->excluded) LR_TRY(lr_regex_match(rules->excluded, name, excluded, NULL));
    else *excluded = listed(&config->exclude_modules, name);
    for (size_t i = 0; !*excluded && i < config->modules_to_save.count; i++)
        *excluded = contains_parts(name, config->modules_to_save.items[i]);
    return LORA_OK;
}

static lora_status in_chosen_layer(const lr_rules *rules, const char *name, bool *chosen)
{
    const lr_adapter_config *config = rules->config;
    int64_t layer = -1;
    bool matched = false;
    for (size_t i = 0; !matched && i < rules->layer_rules; i++)
        LR_TRY(lr_regex_match(rules->layers[i], name, &matched, &layer));
    *chosen = false;
    for (size_t i = 0; matched && i < config->layer_count; i++) *chosen |= config->layers[i] == layer;
    return LORA_OK;
}

static lora_status in_target_list(lr_rules *rules, const char *name, bool *target)
{
    const lr_texts *texts = &rules->config->target_modules;
    *target = false;
    for (size_t i = 0; i < texts->count; i++) {
        if (!ends_with_parts(name, texts->items[i])) continue;
        *target = rules->target_used[i] = true;
        if (strcmp(name, texts->items[i]) == 0) return LORA_OK; // named whole: layers_to_transform is not asked
    }
    return *target && rules->config->layer_count ? in_chosen_layer(rules, name, target) : LORA_OK;
}

static lora_status is_target(lr_rules *rules, const lr_module *module, bool *target)
{
    const lr_adapter_config *config = rules->config;
    if (config->all_linear) {
        *target = lr_slot_is_linear(module->slot) && module->slot != LR_SLOT_HEAD;
        return LORA_OK;
    }
    if (rules->targets) return lr_regex_match(rules->targets, module->name, target, NULL);
    return in_target_list(rules, module->name, target);
}

// The value of the first pattern that matches, else `usual`.
static lora_status pattern_value(lr_regex *const *compiled, const lr_patterns *patterns, const char *name, double usual,
                                 double *value)
{
    *value = usual;
    for (size_t i = 0; i < patterns->count; i++) {
        bool matched;
        LR_TRY(lr_regex_match(compiled[i], name, &matched, NULL));
        if (matched) {
            *value = patterns->items[i].value;
            return LORA_OK;
        }
    }
    return LORA_OK;
}

static lora_status match_module(lr_rules *rules, const lr_module *module, lr_match *match)
{
    const lr_adapter_config *config = rules->config;
    bool excluded, target = false;
    *match = (lr_match){0};
    for (size_t i = 0; !match->saved && i < config->modules_to_save.count; i++)
        match->saved = lr_match_saves(module->name, config->modules_to_save.items[i]);
    LR_TRY(is_excluded(rules, module->name, &excluded));
    LR_TRY(is_target(rules, module, &target));
    if (excluded || !target) return LORA_OK;
    if (!lr_slot_is_linear(module->slot))
        return lr_fail(
            LORA_ERROR_UNSUPPORTED,
            "target_modules matches '%s', which is no linear layer; train it whole by naming it in modules_to_save",
            module->name);
    if (match->saved)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "'%s' is named by target_modules and by the end of a name in modules_to_save; "
                       "exclude it from one",
                       module->name);
    double rank, alpha;
    LR_TRY(pattern_value(rules->ranks, &config->rank_pattern, module->name, config->r, &rank));
    LR_TRY(pattern_value(rules->alphas, &config->alpha_pattern, module->name, config->alpha, &alpha));
    match->adapted = true;
    match->rank = (int32_t)rank;
    match->alpha = (float)alpha;
    return LORA_OK;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

// "q_proj, k_proj, ...": the distinct last parts of linear modules' names, cut to the capacity. For messages.
static void list_suffixes(const lora_model *model, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < model->module_count; i++) {
        const lr_module *module = &model->modules[i];
        const char *suffix = last_part(module->name);
        bool seen = !lr_slot_is_linear(module->slot);
        for (size_t k = 0; !seen && k < i; k++)
            seen = lr_slot_is_linear(model->modules[k].slot) && strcmp(last_part(model->modules[k].name), suffix) == 0;
        if (seen) continue;
        int length = snprintf(text + used, capacity - used, "%s%s", used ? ", " : "", suffix);
        if (length < 0 || (size_t)length >= capacity - used) {
            text[used] = '\0';
            return;
        }
        used += (size_t)length;
    }
}

static lora_status nothing_matches(const lora_model *model, const char *key, const char *entry)
{
    char known[400];
    list_suffixes(model, known, sizeof known);
    return lr_fail(LORA_ERROR_MISMATCH, "%s '%s' matches no linear layer of this model (%s); it has: %s", key, entry,
                   model->stack.family, known);
}

static lora_status no_module(const lora_model *model, const char *key, const char *entry)
{
    return lr_fail(LORA_ERROR_MISMATCH, "%s '%s' matches no module of this model (%s)", key, entry,
                   model->stack.family);
}

static lora_status check_patterns(const lora_model *model, const char *key, lr_regex *const *compiled,
                                  const lr_patterns *patterns, const lr_match *matches)
{
    for (size_t i = 0; i < patterns->count; i++) {
        bool found = false;
        for (size_t m = 0; !found && m < model->module_count; m++)
            if (matches[m].adapted) LR_TRY(lr_regex_match(compiled[i], model->modules[m].name, &found, NULL));
        if (!found)
            return lr_fail(LORA_ERROR_MISMATCH,
                           "%s '%s' matches no module that is adapted: expected the end of a name "
                           "that target_modules takes in, like q_proj",
                           key, patterns->items[i].pattern);
    }
    return LORA_OK;
}

// An entry of target_modules that names nothing; NULL: none.
static const char *unused_target(const lr_rules *rules)
{
    const lr_texts *targets = &rules->config->target_modules;
    for (size_t i = 0; i < targets->count; i++)
        if (!rules->target_used[i]) return targets->items[i];
    return NULL;
}

static lora_status check_all(const lora_model *model, const lr_rules *rules, const lr_match *matches)
{
    const lr_adapter_config *config = rules->config;
    const char *unused = unused_target(rules);
    if (unused) return nothing_matches(model, "target_modules", unused);
    for (size_t i = 0; i < config->exclude_modules.count; i++) {
        bool found = false;
        for (size_t m = 0; !found && m < model->module_count; m++)
            found = ends_with_parts(model->modules[m].name, config->exclude_modules.items[i]);
        if (!found) return no_module(model, "exclude_modules", config->exclude_modules.items[i]);
    }
    for (size_t i = 0; i < config->modules_to_save.count; i++) {
        bool found = false;
        for (size_t m = 0; !found && m < model->module_count; m++)
            found = lr_match_saves(model->modules[m].name, config->modules_to_save.items[i]);
        if (!found) return no_module(model, "modules_to_save", config->modules_to_save.items[i]);
    }
    LR_TRY(check_patterns(model, "rank_pattern", rules->ranks, &config->rank_pattern, matches));
    return check_patterns(model, "alpha_pattern", rules->alphas, &config->alpha_pattern, matches);
}

static lora_status check_any(const lora_model *model, const lr_rules *rules, const lr_match *matches)
{
    const lr_adapter_config *config = rules->config;
    for (size_t m = 0; m < model->module_count; m++)
        if (matches[m].adapted) return LORA_OK;
    const char *unused = config->target_regex ? config->target_regex : unused_target(rules);
    if (unused) return nothing_matches(model, "target_modules", unused);
    return lr_fail(LORA_ERROR_MISMATCH,
                   "no module is left to adapt: every one that target_modules names is taken out by "
                   "exclude_modules, modules_to_save or layers_to_transform");
}

lora_status lr_match_modules(const lora_model *model, const lr_adapter_config *config, bool strict, lr_match *matches)
{
    lr_rules rules = {.config = config};
    lora_status status;
    LR_GOTO(done, status, compile_rules(&rules));
    for (size_t m = 0; m < model->module_count; m++)
        LR_GOTO(done, status, match_module(&rules, &model->modules[m], &matches[m]));
    LR_GOTO(done, status, check_any(model, &rules, matches));
    if (strict) LR_GOTO(done, status, check_all(model, &rules, matches));
done:
    free_rules(&rules);
    return status;
}

// ---- naming what all-linear came to ---------------------------------------------------------------------------------

static bool ends_another_module(const lora_model *model, const lr_match *matches, const char *suffix)
{
    for (size_t m = 0; m < model->module_count; m++)
        if (!matches[m].adapted && ends_with_parts(model->modules[m].name, suffix)) return true;
    return false;
}

// The shortest ending of `name` that no module outside the adapted ones has.
static const char *shortest_ending(const lora_model *model, const lr_match *matches, const char *name)
{
    for (const char *suffix = last_part(name);;) {
        if (suffix == name || !ends_another_module(model, matches, suffix)) return suffix;
        do suffix--;
        while (suffix > name && suffix[-1] != '.');
    }
}

static bool is_listed(const char **names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

lora_status lr_match_name_targets(const lora_model *model, const lr_match *matches, lr_adapter_config *config)
{
    size_t adapted = 0, count = 0;
    const char **names = lr_alloc_array(config->allocator, model->module_count, sizeof *names);
    if (!names) return LORA_ERROR_MEMORY;
    for (size_t m = 0; m < model->module_count; m++) adapted += matches[m].adapted;
    for (size_t m = 0; m < model->module_count; m++) {
        if (!matches[m].adapted) continue;
        const char *name = model->modules[m].name;
        if (adapted >= SHORTEN_FROM) name = shortest_ending(model, matches, name);
        if (!is_listed(names, count, name)) names[count++] = name;
    }
    lora_status status = lr_texts_set(config->allocator, &config->target_modules, names, count);
    lr_free(config->allocator, names);
    return status;
}
