// Loading: which kind of path it is.
#include "source.h"
#include "src/core/validate.h"

void (lora_model_options_init)(lora_model_options *options, size_t struct_size)
{
    const lora_model_options defaults = {.type = LORA_TYPE_KEEP, .check_finite = 1};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

typedef struct kind_of_file {
    const char *suffix;
    lora_status (*load)(lora_model *model, const lora_model_options *options);
    bool directory; // may lack weights that are to be initialized, and keep quantized ones
} kind_of_file;

static const kind_of_file *find_kind(const char *path)
{
    static const kind_of_file kinds[] = {
        {".gguf", lr_model_load_gguf, false},
        {".bin", lr_model_load_llama2c, false},
        {"", lr_model_load_huggingface, true},
    };
    const kind_of_file *kind = kinds;
    while (!lr_path_ends_with(path, kind->suffix)) kind++;
    return kind;
}

static lora_status check_options(const lora_model_options *options, const char *function)
{
    const lora_type type = options->type;
    LR_CHECK_ARGUMENT(type >= LORA_TYPE_KEEP && type < LORA_TYPE_COUNT && type != LORA_TYPE_I32,
                      "%s: type is %d; expected LORA_TYPE_KEEP or a storage type of numbers", function, type);
    LR_CHECK_ARGUMENT(options->check_finite >= 0 && options->check_finite <= 2,
                      "%s: check_finite is %d; expected 0 to 2", function, options->check_finite);
    if (!options->cache_quantized) return LORA_OK;
    LR_CHECK_ARGUMENT(type == LORA_TYPE_INT8 || type == LORA_TYPE_NF4,
                      "%s: cache_quantized is for the types int8 and nf4", function);
    LR_CHECK_ARGUMENT(!options->initialize, "%s: cache_quantized and initialize exclude each other", function);
    return LORA_OK;
}

static lora_status check_kind(const kind_of_file *kind, const lora_model_options *options, const char *path)
{
    if (options->initialize && !kind->directory)
        return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: `initialize` is for directories with a config.json", path);
    if (options->cache_quantized && !kind->directory)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: `cache_quantized` is for directories; lora_model_quantize makes a smaller file", path);
    return LORA_OK;
}

lora_status lora_model_load(lora_context *context, const char *path, const lora_model_options *options,
                            lora_model **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_ARGUMENT(path && *path, "%s: the path is %s", __func__, path ? "empty" : "NULL");
    LR_CHECK_ARGUMENT(out, "%s: out is NULL", __func__);
    lora_model_options known;
    lora_model_options_init(&known);
    LR_TRY(lr_take_options(&known, sizeof known, options, __func__));
    LR_TRY(check_options(&known, __func__));
    const kind_of_file *kind = find_kind(path);
    LR_TRY(check_kind(kind, &known, path));
    if (known.cache_quantized) return lr_model_load_cached(context, path, &known, out);
    lora_model *model;
    LR_TRY(lr_model_create(context, path, &model));
    lora_status status = kind->load(model, &known);
    if (status == LORA_OK)
        *out = model;
    else
        lr_model_release(model);
    return status;
}
