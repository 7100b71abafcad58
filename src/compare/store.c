// OUTPUT: what an earlier call finished is taken over when it was of the same model, data and settings.
#include "src/compare/comparison.h"

#include <string.h>

#define FILE_LIMIT ((size_t)1 << 30)

char *lr_comparison_path(const lora_comparison *c, const char *folder, const lr_setting *setting, size_t seed)
{
    const lora_allocator *allocator = &c->context->allocator;
    if (seed == 0) return lr_format(allocator, "%s/%s/%s", c->output, folder, setting->name);
    return lr_format(allocator, "%s/%s/%s-seed%zu", c->output, folder, setting->name, seed + 1);
}

// ---- reading -------------------------------------------------------------------------------------------------------

static lora_status check_run(const lora_comparison *c, const char *path, const json_t *run)
{
    if (json_is_string(json_object_get(run, "failure"))) return LORA_OK;
    const json_t *nll = json_object_get(run, "nll");
    if (json_array_size(nll) != c->validation->row_count)
        return lr_fail(LORA_ERROR_FORMAT, "%s: 'nll' has %zu numbers for %zu held-out rows: the file is damaged", path,
                       json_array_size(nll), c->validation->row_count);
    for (size_t i = 0; i < json_array_size(nll); i++)
        if (!json_is_number(json_array_get(nll, i)))
            return lr_fail(LORA_ERROR_FORMAT, "%s: 'nll' holds what is no number: the file is damaged", path);
    return LORA_OK;
}

static lora_status check_about(const lora_comparison *c, const char *path, const json_t *stored)
{
    json_t *about = lr_comparison_about(c);
    if (!about) return lr_fail_memory(4096);
    const char *key, *other = NULL;
    json_t *value;
    json_object_foreach(about, key, value)
        if (!json_equal(json_object_get(stored, key), value) && !other) other = key;
    lora_status status = LORA_OK;
    if (other)
        status =
            lr_fail(LORA_ERROR_EXISTS,
                    "%s is of another comparison: '%s' differs; choose another output, or overwrite it", path, other);
    json_decref(about);
    return status;
}

static lr_setting *find(const lora_comparison *c, const char *name)
{
    for (size_t i = 0; i < c->setting_count; i++)
        if (strcmp(c->settings[i].name, name) == 0) return &c->settings[i];
    return NULL;
}

// A setting that an earlier call finished and this one does not name stays in the table.
static lora_status keep_other(lora_comparison *c, const char *name, json_t *options, json_t *runs)
{
    const lora_allocator *allocator = &c->context->allocator;
    if (json_array_size(runs) == 0) return LORA_OK;
    LR_TRY(lr_grow(allocator, (void **)&c->settings, &c->setting_capacity, c->setting_count + 1, sizeof *c->settings));
    lr_setting setting = {
        .name = lr_duplicate(allocator, name), .options = json_incref(options), .runs = json_incref(runs)};
    c->settings[c->setting_count++] = setting;
    return setting.name ? LORA_OK : LORA_ERROR_MEMORY;
}

static const char *first_difference(const json_t *now, const json_t *before)
{
    const char *part, *key;
    json_t *values, *value;
    json_object_foreach((json_t *)(uintptr_t)now, part, values) {
        json_t *stored = json_object_get(before, part);
        if (json_equal(values, stored)) continue;
        json_object_foreach(values, key, value)
            if (!json_equal(value, json_object_get(stored, key))) return key;
        return part;
    }
    return NULL;
}

static lora_status take_setting(lora_comparison *c, const char *path, const json_t *stored)
{
    const char *name = json_string_value(json_object_get(stored, "name"));
    json_t *options = json_object_get(stored, "options"), *runs = json_object_get(stored, "runs");
    if (!name || !json_is_object(options) || !json_is_array(runs))
        return lr_fail(LORA_ERROR_FORMAT, "%s: a setting lacks 'name', 'options' or 'runs': the file is damaged", path);
    for (size_t i = 0; i < json_array_size(runs); i++) LR_TRY(check_run(c, path, json_array_get(runs, i)));
    lr_setting *setting = find(c, name);
    if (!setting) return keep_other(c, name, options, runs);
    const char *key = first_difference(setting->options, options);
    if (key)
        return lr_fail(LORA_ERROR_MISMATCH,
                       "%s: the setting '%s' was begun with another '%s'; choose another output, or "
                       "overwrite it",
                       path, name, key);
    json_decref(setting->runs);
    setting->runs = json_incref(runs);
    return LORA_OK;
}

static lora_status take(lora_comparison *c, const char *path, const json_t *document)
{
    const json_t *settings = json_object_get(document, "settings");
    json_t *base = json_object_get(document, "base");
    if (json_integer_value(json_object_get(document, "version")) != LR_COMPARISON_VERSION || !json_is_array(settings))
        return lr_fail(LORA_ERROR_FORMAT, "%s: expected version %d and 'settings': it is no comparison of this release",
                       path, LR_COMPARISON_VERSION);
    LR_TRY(check_about(c, path, json_object_get(document, "about")));
    if (json_is_object(base)) LR_TRY(check_run(c, path, base));
    for (size_t i = 0; i < json_array_size(settings); i++) LR_TRY(take_setting(c, path, json_array_get(settings, i)));
    if (json_is_object(base)) c->base = json_incref(base);
    return LORA_OK;
}

static lora_status read(lora_comparison *c, const char *path)
{
    json_t *document;
    LR_TRY(lr_json_load(&c->context->allocator, &lr_system_files, path, FILE_LIMIT, &document));
    lora_status status = take(c, path, document);
    json_decref(document);
    return status;
}

// ---- opening -------------------------------------------------------------------------------------------------------

static lora_status remove_part(const lora_comparison *c, const char *name)
{
    char *path = lr_path_join(&c->context->allocator, c->output, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_remove_tree(path);
    lr_free(&c->context->allocator, path);
    return status;
}

static lora_status clear(const lora_comparison *c)
{
    static const char *const parts[] = {LR_COMPARISON_FILE, "adapters", "models", "runs"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) LR_TRY(remove_part(c, parts[i]));
    return LORA_OK;
}

static lora_status expect_empty(const lora_comparison *c)
{
    const lora_allocator *allocator = &c->context->allocator;
    char **names;
    size_t count;
    LR_TRY(lr_list_directory(allocator, c->output, &names, &count));
    lr_free_names(allocator, names, count);
    if (count == 0) return LORA_OK;
    return lr_fail(LORA_ERROR_EXISTS,
                   "%s holds other files and no " LR_COMPARISON_FILE ": choose another output, or overwrite it",
                   c->output);
}

static lora_status open_output(lora_comparison *c)
{
    LR_TRY(lr_make_directories(c->output));
    LR_TRY(lr_lock_acquire(&c->context->allocator, c->output, &c->lock));
    if (c->overwrite) LR_TRY(clear(c));
    char *path = lr_path_join(&c->context->allocator, c->output, LR_COMPARISON_FILE);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_path_exists(path) ? read(c, path) : c->overwrite ? LORA_OK : expect_empty(c);
    lr_free(&c->context->allocator, path);
    return status;
}

lora_status lr_comparison_open(lora_comparison *c)
{
    if (c->opened) return LORA_OK;
    lora_status status = open_output(c);
    if (status == LORA_OK) {
        c->opened = true;
        status = lr_comparison_write(c);
    }
    if (status == LORA_OK) return LORA_OK;
    lr_lock_release(c->lock);
    c->lock = NULL;
    c->opened = false;
    return status;
}

lora_status lr_comparison_write(lora_comparison *c)
{
    const char *text;
    lr_resamples_free(&c->context->allocator, &c->resamples); // of what was finished before
    LR_TRY(lora_comparison_json(c, &text));
    char *path = lr_path_join(&c->context->allocator, c->output, LR_COMPARISON_FILE);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_write_file(&c->context->allocator, path, true, text, strlen(text));
    lr_free(&c->context->allocator, path);
    return status;
}
