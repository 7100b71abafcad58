// lora_model_save and lora_model_quantize: which kind of output, the type of each tensor in it, and that it appears
// whole or not at all.
#include "save.h"

#include "src/core/validate.h"
#include "src/model/source.h"

static bool is_gguf(const char *path)
{
    return lr_path_ends_with(path, ".gguf");
}

static bool is_table(const lr_module *module)
{
    return module->slot == LR_SLOT_EMBED || module->slot == LR_SLOT_HEAD;
}

// ---- types ----------------------------------------------------------------------------------------------------------

// What a tensor is in a file of its kind when nothing else is asked for: Hugging Face's have plain types, GGUF's
// vectors are f32.
static lora_type kept_type(const lr_tensor *tensor, bool gguf)
{
    if (gguf && tensor->dimensions == 1) return LORA_TYPE_F32;
    return gguf && tensor->stored >= LORA_TYPE_Q8_0 ? tensor->stored : lr_save_plain_type(tensor);
}

// Embeddings and heads in a quantized GGUF file: six or eight bits, as llama.cpp has them.
static lora_type table_type(lora_type wanted, lora_type kept, int64_t cols)
{
    if (wanted != LORA_TYPE_Q8_0 && cols % lr_type_block(LORA_TYPE_Q6_K) == 0) return LORA_TYPE_Q6_K;
    return cols % lr_type_block(LORA_TYPE_Q8_0) == 0 ? LORA_TYPE_Q8_0 : kept;
}

static void choose_types(lr_saving *saving, bool gguf)
{
    const lora_model *model = saving->model;
    for (size_t i = 0; i < model->tensor_count; i++) saving->types[i] = kept_type(&model->tensors[i], gguf);
    for (size_t m = 0; m < model->module_count && saving->wanted != LORA_TYPE_KEEP; m++) {
        const lr_module *module = &model->modules[m];
        const lora_type kept = saving->types[module->weight];
        const int64_t cols = model->tensors[module->weight].view.cols;
        if (gguf && is_table(module)) saving->types[module->weight] = table_type(saving->wanted, kept, cols);
        else if (model->tensors[module->weight].dimensions == 2)
            saving->types[module->weight] = lr_storage_type(module, kept, saving->wanted, cols);
    }
}

static lora_status check_layers(const lr_saving *saving)
{
    const lora_model *model = saving->model;
    for (size_t m = 0; m < model->module_count; m++) {
        const lr_module *module = &model->modules[m];
        if (!is_table(module) && saving->types[module->weight] >= LORA_TYPE_INT8) return LORA_OK;
    }
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: no layer can be %s: their rows are no whole blocks of %lld numbers",
                   model->path, lora_type_name(saving->wanted), (long long)lr_type_block(saving->wanted));
}

// ---- writing --------------------------------------------------------------------------------------------------------

lora_status lr_save_model(lr_saving *saving, const char *path, bool overwrite)
{
    const lora_allocator *allocator = &saving->model->context->allocator;
    lr_lock *lock = NULL;
    LR_TRY(lr_lock_acquire(allocator, path, &lock));
    saving->types = lr_alloc_array(allocator, saving->model->tensor_count, sizeof *saving->types);
    lora_status status = saving->types ? LORA_OK : LORA_ERROR_MEMORY;
    if (status == LORA_OK) {
        choose_types(saving, is_gguf(path));
        if (saving->wanted != LORA_TYPE_KEEP) status = check_layers(saving);
    }
    if (status == LORA_OK)
        status = is_gguf(path) ? lr_save_gguf(saving, path, overwrite) : lr_save_huggingface(saving, path, overwrite);
    lr_lock_release(lock);
    return status;
}

lora_status lora_model_save(const lora_model *model, const char *path, int32_t overwrite)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(path && path[0], "%s: path is empty", __func__);
    lr_saving saving = {.model = model, .wanted = LORA_TYPE_KEEP};
    lora_status status = lr_save_model(&saving, path, overwrite != 0);
    lr_free(&model->context->allocator, saving.types);
    return status;
}

// ---- quantizing -----------------------------------------------------------------------------------------------------

void (lora_quantize_options_init)(lora_quantize_options *options, size_t struct_size)
{
    const lora_quantize_options defaults = {.type = LORA_TYPE_NF4};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static lora_status check_quantize(const lora_quantize_options *options, const char *path, const char *function)
{
    const lora_type type = options->type;
    LR_CHECK_ARGUMENT(type >= LORA_TYPE_INT8 && type < LORA_TYPE_COUNT, "%s: type is %s; expected a quantized type",
                      function, lora_type_name(type));
    LR_CHECK_ARGUMENT(!options->double_quantization || type == LORA_TYPE_NF4,
                      "%s: double_quantization is for nf4, not for %s", function, lora_type_name(type));
    if (lr_save_has_scales(type) && is_gguf(path))
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: GGUF files have no %s; name a directory, or choose a type of GGUF: q8_0, q6_k, q4_k, q4_0",
                       path, lora_type_name(type));
    if (!lr_save_has_scales(type) && !is_gguf(path))
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: %s is a type of GGUF files; name a file that ends in .gguf, or choose nf4 or int8", path,
                       lora_type_name(type));
    return LORA_OK;
}

static int64_t bytes_of(const lr_saving *saving, size_t tensor)
{
    const lora_view *view = &saving->model->tensors[tensor].view;
    const lora_type type = saving->types[tensor];
    const int64_t scale_bytes = saving->nested ? 1 : sizeof(float);
    uint64_t bytes = 0;
    lr_type_bytes(type, view->rows, view->cols, &bytes);
    return (int64_t)bytes + lr_type_scales(type, view->rows, view->cols) * scale_bytes;
}

static void count_up(const lr_saving *saving, bool gguf, lora_quantize_report *report)
{
    const lora_model *model = saving->model;
    for (size_t i = 0; i < model->tensor_count; i++) {
        const lora_type type = saving->types[i];
        if (type >= LORA_TYPE_INT8) report->quantized_tensors++;
        if (type >= LORA_TYPE_INT8 && type != saving->wanted) report->other_tensors++;
        report->bytes += bytes_of(saving, i);
    }
    for (size_t m = 0; m < model->module_count; m++) {
        const lr_module *module = &model->modules[m];
        const bool shares = module->slot == LR_SLOT_HEAD && model->stack.tied;
        const bool called_for = is_table(module) ? gguf && !shares : lr_slot_is_linear(module->slot);
        if (!called_for || saving->types[module->weight] >= LORA_TYPE_INT8) continue;
        report->unquantized_tensors++;
        report->unquantized_bytes += bytes_of(saving, (size_t)module->weight);
    }
}

lora_status lora_model_quantize(const lora_model *model, const char *path, const lora_quantize_options *options,
                                lora_quantize_report *report)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(path && path[0], "%s: path is empty", __func__);
    lora_quantize_options known;
    lora_quantize_options_init(&known);
    LR_TRY(lr_take_options(&known, sizeof known, options, __func__));
    LR_TRY(check_quantize(&known, path, __func__));
    const lora_quantize_report empty = {.struct_size = sizeof empty};
    if (report) LR_TRY(lr_give_info(report, &empty, sizeof empty, __func__));
    lr_saving saving = {.model = model, .wanted = known.type, .nested = known.double_quantization != 0,
                        .progress = known.progress, .progress_user = known.progress_user};
    lora_status status = lr_save_model(&saving, path, known.overwrite != 0);
    lora_quantize_report filled = {.struct_size = sizeof filled};
    if (status == LORA_OK) count_up(&saving, is_gguf(path), &filled);
    if (status == LORA_OK && report) status = lr_give_info(report, &filled, sizeof filled, __func__);
    lr_free(&model->context->allocator, saving.types);
    return status;
}
