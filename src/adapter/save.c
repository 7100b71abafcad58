// Writing a PEFT directory. Tensors are f32, one after another in the adapter's order.
#include "config.h"
#include "peft_format.h"
#include "samples.h"

#include "lib/file.h"
#include "lib/safetensors.h"
#include "src/core/validate.h"

#include <string.h>

// What goes into the file: every tensor, and once more those that a tied head shares.
typedef struct lr_record {
    const lr_adapter_tensor *tensor;
    char *alias; // a second name, owned; NULL: the tensor's own
} lr_record;

static void free_records(const lora_allocator *allocator, lr_record *records, size_t count)
{
    for (size_t i = 0; records && i < count; i++) lr_free(allocator, records[i].alias);
    lr_free(allocator, records);
}

static lora_status list_records(const lora_adapter *adapter, lr_record *records, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < adapter->tensor_count; i++) {
        lora_status status;
        records[(*count)++].tensor = &adapter->tensors[i];
        char *alias = lr_peft_tied_name(adapter, &adapter->tensors[i], &status);
        LR_TRY(status);
        if (alias) records[(*count)++] = (lr_record){&adapter->tensors[i], alias};
    }
    return LORA_OK;
}

static void describe(const lr_record *record, lr_safetensors_tensor *out)
{
    lora_view value = record->tensor->value;
    *out = (lr_safetensors_tensor){.name = record->alias ? record->alias : record->tensor->name, .type = LORA_TYPE_F32};
    out->dimensions = record->tensor->dimensions;
    out->shape[0] = out->dimensions == 1 ? value.cols : value.rows;
    out->shape[1] = out->dimensions == 1 ? 0 : value.cols;
}

static lora_status write_values(lora_context *context, lr_safetensors_writer *writer, const lr_record *records,
                                size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lora_view value = records[i].tensor->value;
        size_t numbers = (size_t)(value.rows * value.cols);
        float *values = lr_alloc_array(&context->allocator, numbers, sizeof *values);
        if (!values) return LORA_ERROR_MEMORY;
        lora_status status = lr_view_read(context, value, values);
        if (status == LORA_OK) status = lr_safetensors_writer_write(writer, values, numbers * sizeof *values);
        lr_free(&context->allocator, values);
        LR_TRY(status);
    }
    return LORA_OK;
}

static lora_status write_weights(const lora_adapter *adapter, const char *path)
{
    lora_context *context = adapter->model->context;
    const lora_allocator *allocator = &context->allocator;
    size_t room = 2 * adapter->tensor_count, count = 0;
    lr_safetensors_writer *writer = NULL;
    char samples[LR_SAMPLE_TEXT];
    const char *metadata[] = {"format", "pt", LR_PEFT_SAMPLES, samples, NULL};
    lora_status status = LORA_ERROR_MEMORY;
    lr_record *records = lr_alloc_zeroed(allocator, room, sizeof *records);
    lr_safetensors_tensor *tensors = lr_alloc_zeroed(allocator, room, sizeof *tensors);
    if (!records || !tensors) goto done;
    LR_GOTO(done, status, list_records(adapter, records, &count));
    LR_GOTO(done, status, lr_samples_write(adapter, samples));
    for (size_t i = 0; i < count; i++) describe(&records[i], &tensors[i]);
    LR_GOTO(done, status, lr_safetensors_writer_create(allocator, path, true, tensors, count, metadata, &writer));
    LR_GOTO(done, status, write_values(context, writer, records, count));
    status = lr_safetensors_writer_commit(writer);
    writer = NULL;
done:
    lr_safetensors_writer_abandon(writer);
    free_records(allocator, records, count);
    lr_free(allocator, tensors);
    return status;
}

// The model card that PEFT puts beside an adapter; the front matter is what the Hub reads.
static lora_status write_card(const lora_adapter *adapter, const char *path)
{
    const lr_adapter_config *config = adapter->config;
    const lora_allocator *allocator = config->allocator;
    lr_bytes text;
    lr_bytes_init(&text, allocator, 1 << 16);
    lora_status status;
    LR_GOTO(
        done, status,
        lr_bytes_append_format(
            &text,
            "---\nbase_model: %s\nlibrary_name: peft\npipeline_tag: text-generation\ntags:\n- lora\n- liblora\n---\n\n"
            "# A LoRA adapter\n\nTrained with liblora on the base model `%s`.\n\n",
            config->base_name[0] ? config->base_name : "none", config->base_name));
    LR_GOTO(done, status,
            lr_bytes_append_format(&text,
                                   "| setting | value |\n|---|---|\n| r | %d |\n| lora_alpha | %g |\n| lora_dropout | "
                                   "%g |\n| adapted layers | %zu |\n\n"
                                   "Load it with `lora generate BASE --adapter THIS_DIRECTORY`, or in Python with "
                                   "`peft.PeftModel.from_pretrained`.\n",
                                   config->r, (double)config->alpha, (double)config->dropout, adapter->pair_count));
    LR_GOTO(done, status, lr_write_file(allocator, path, true, text.data, text.size));
done:
    lr_bytes_free(&text);
    return status;
}

static lora_status write_config(const lora_adapter *adapter, const char *path)
{
    char *text;
    size_t length;
    LR_TRY(lr_config_write(adapter->config, &text, &length));
    lora_status status = lr_write_file(adapter->config->allocator, path, true, text, length);
    lr_free(adapter->config->allocator, text);
    return status;
}

static lora_status write_part(const lora_adapter *adapter, const char *directory, const char *name,
                              lora_status (*write)(const lora_adapter *adapter, const char *path))
{
    char *path = lr_path_join(adapter->config->allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = write(adapter, path);
    lr_free(adapter->config->allocator, path);
    return status;
}

lora_status lr_adapter_write(const lora_adapter *adapter, const char *directory)
{
    LR_TRY(write_part(adapter, directory, LR_PEFT_WEIGHTS, write_weights));
    LR_TRY(write_part(adapter, directory, LR_PEFT_CONFIG, write_config));
    return adapter->config->full ? LORA_OK : write_part(adapter, directory, "README.md", write_card);
}

lora_status lora_adapter_save(const lora_adapter *adapter, const char *path, int32_t overwrite)
{
    LR_CHECK_HANDLE(adapter);
    LR_CHECK_ARGUMENT(path && path[0], "%s: path is empty", __func__);
    if (adapter->config->full)
        return lr_fail(LORA_ERROR_UNSUPPORTED,
                       "%s: full fine-tuning gives a model, not an adapter; merge it (lora_model_merge) "
                       "and save the model (lora_model_save)",
                       path);
    const lora_allocator *allocator = adapter->config->allocator;
    lr_lock *lock = NULL;
    lr_stage *stage = NULL;
    LR_TRY(lr_lock_acquire(allocator, path, &lock));
    lora_status status;
    LR_GOTO(done, status, lr_stage_create(allocator, path, overwrite != 0, &stage));
    LR_GOTO(done, status, lr_adapter_write(adapter, lr_stage_path(stage)));
    status = lr_stage_commit(stage);
    stage = NULL;
done:
    if (stage) lr_stage_abandon(stage);
    lr_lock_release(lock);
    return status;
}
