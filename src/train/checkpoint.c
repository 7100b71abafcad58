// OUTPUT/checkpoint-STEP: a PEFT directory plus
//   trainer_state.json      position, best loss, settings, log (state.c)
//   optimizer.safetensors   AdamW's moments, "<tensor>.exp_avg" and "<tensor>.exp_avg_sq"
//   best_model.safetensors  the tensors of the best evaluation, when that is not this step
//   checksums.json          size and CRC-32 of every other file
// The directory is staged under a temporary name and renamed, so at any moment it is whole or not there. A failure to
// write (a full disk) leaves the run and the older checkpoints as they are; the next save point tries again.
#include "lib/safetensors.h"
#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "checkpoint-"

// ---- names ---------------------------------------------------------------------------------------------------------

char *lr_checkpoint_path(const lora_trainer *trainer, int64_t step)
{
    return lr_format(&trainer->context->allocator, "%s/" PREFIX "%" PRId64, trainer->output, step);
}

// The step in "checkpoint-STEP", or -1.
static int64_t step_of(const char *name)
{
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return -1;
    const char *digits = name + strlen(PREFIX);
    size_t length = strlen(digits);
    if (length == 0 || length > 18 || strspn(digits, "0123456789") != length) return -1;
    return strtoll(digits, NULL, 10);
}

static int compare_steps(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

lora_status lr_checkpoint_list(const lora_trainer *trainer, int64_t **steps, size_t *count)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char **names;
    size_t name_count;
    LR_TRY(lr_list_directory(allocator, trainer->output, &names, &name_count));
    *count = 0;
    *steps = lr_alloc_array(allocator, name_count, sizeof **steps);
    if (*steps) {
        for (size_t i = 0; i < name_count; i++)
            if (step_of(names[i]) >= 0) (*steps)[(*count)++] = step_of(names[i]);
        qsort(*steps, *count, sizeof **steps, compare_steps);
    }
    lr_free_names(allocator, names, name_count);
    return *steps ? LORA_OK : LORA_ERROR_MEMORY;
}

// The caller holds the lock on `output`, so nobody is writing there: a temporary name is a leftover.
void lr_checkpoint_sweep(const lora_trainer *trainer)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char **names;
    size_t count;
    if (lr_list_directory(allocator, trainer->output, &names, &count) != LORA_OK) return;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], PREFIX, strlen(PREFIX)) != 0 || !strstr(names[i], ".tmp-")) continue;
        char *path = lr_path_join(allocator, trainer->output, names[i]);
        if (path && lr_remove_tree(path) != LORA_OK)
            lr_log(trainer->context, LORA_LOG_WARNING, "a leftover of a killed run stays: %s", lr_error_text());
        lr_free(allocator, path);
    }
    lr_free_names(allocator, names, count);
}

lora_status lr_checkpoint_claim(lora_trainer *trainer)
{
    if (trainer->claimed) return LORA_OK;
    int64_t *steps;
    size_t count;
    LR_TRY(lr_checkpoint_list(trainer, &steps, &count));
    lr_free(&trainer->context->allocator, steps);
    if (count > 0)
        return lr_fail(LORA_ERROR_EXISTS,
                       "%s holds checkpoints of an earlier run: resume it, or choose another directory",
                       trainer->output);
    trainer->claimed = true;
    return LORA_OK;
}

// ---- tensors -------------------------------------------------------------------------------------------------------

// A named set of tensors to write: every tensor of the adapter, with a suffix on its name.
typedef struct tensor_group {
    const lr_tensor_set *set;
    const char *suffix;
} tensor_group;

// Streams a tensor through a piece of memory of whole rows.
static lora_status write_tensor(lora_context *context, lr_safetensors_writer *writer, lora_view view, float *piece,
                                int64_t piece_rows)
{
    for (int64_t row = 0; row < view.rows; row += piece_rows) {
        int64_t rows = view.rows - row < piece_rows ? view.rows - row : piece_rows;
        LR_TRY(lr_view_read(context, lr_view_rows(view, row, rows), piece));
        LR_TRY(lr_safetensors_writer_write(writer, piece, (size_t)(rows * view.cols) * sizeof *piece));
    }
    return LORA_OK;
}

static lora_status write_tensors(const lora_trainer *trainer, lr_safetensors_writer *writer, const tensor_group *groups,
                                 size_t group_count)
{
    const lora_adapter *adapter = trainer->adapter;
    int64_t piece = 1 << 16; // numbers
    for (size_t i = 0; i < adapter->tensor_count; i++)
        if (adapter->tensors[i].value.cols > piece) piece = adapter->tensors[i].value.cols;
    float *values = lr_alloc_array(&trainer->context->allocator, (size_t)piece, sizeof *values);
    if (!values) return LORA_ERROR_MEMORY;
    lora_status status = LORA_OK;
    for (size_t g = 0; g < group_count && status == LORA_OK; g++)
        for (size_t i = 0; i < adapter->tensor_count && status == LORA_OK; i++) {
            lora_view view = groups[g].set->views[i];
            status = write_tensor(trainer->context, writer, view, values, piece / view.cols);
        }
    lr_free(&trainer->context->allocator, values);
    return status;
}

static lora_status describe_tensors(const lora_trainer *trainer, const tensor_group *groups, size_t group_count,
                                    lr_safetensors_tensor *tensors)
{
    const lora_adapter *adapter = trainer->adapter;
    size_t n = 0;
    for (size_t g = 0; g < group_count; g++)
        for (size_t i = 0; i < adapter->tensor_count; i++) {
            lora_view view = groups[g].set->views[i];
            tensors[n] =
                (lr_safetensors_tensor){.type = LORA_TYPE_F32, .dimensions = 2, .shape = {view.rows, view.cols}};
            tensors[n].name =
                lr_format(&trainer->context->allocator, "%s%s", adapter->tensors[i].name, groups[g].suffix);
            if (!tensors[n++].name) return LORA_ERROR_MEMORY;
        }
    return LORA_OK;
}

static lora_status write_groups(const lora_trainer *trainer, const char *directory, const char *name,
                                const tensor_group *groups, size_t group_count)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    size_t count = group_count * trainer->adapter->tensor_count;
    lr_safetensors_writer *writer = NULL;
    char *path = lr_path_join(allocator, directory, name);
    lr_safetensors_tensor *tensors = lr_alloc_zeroed(allocator, count, sizeof *tensors);
    lora_status status = path && tensors ? LORA_OK : LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = describe_tensors(trainer, groups, group_count, tensors);
    if (status == LORA_OK) status = lr_safetensors_writer_create(allocator, path, false, tensors, count, NULL, &writer);
    if (status == LORA_OK) {
        status = write_tensors(trainer, writer, groups, group_count);
        if (status == LORA_OK) status = lr_safetensors_writer_commit(writer);
        else lr_safetensors_writer_abandon(writer);
    }
    for (size_t i = 0; tensors && i < count; i++) lr_free(allocator, (char *)(uintptr_t)tensors[i].name);
    lr_free(allocator, tensors);
    lr_free(allocator, path);
    return status;
}

// ---- the other files -----------------------------------------------------------------------------------------------

static lora_status write_text(const lora_trainer *trainer, const char *directory, const char *name, const char *text,
                              size_t length)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char *path = lr_path_join(allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_write_file(allocator, path, false, text, length);
    lr_free(allocator, path);
    return status;
}

static lora_status write_state(const lora_trainer *trainer, const char *directory)
{
    char *text;
    size_t length;
    LR_TRY(lr_state_make(trainer, &text, &length));
    lora_status status = write_text(trainer, directory, LR_CHECKPOINT_STATE, text, length);
    lr_free(&trainer->context->allocator, text);
    return status;
}

#define SUM_BYTES ((uint64_t)1 << 20) // of a file at a time

static lora_status sum_file(const lora_trainer *trainer, const char *directory, const char *name, json_t *sums)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char *path = lr_path_join(allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lr_file file;
    lora_status status = lr_file_open(allocator, &lr_system_files, path, UINT64_MAX, &file);
    lr_free(allocator, path);
    if (status != LORA_OK) return status;
    uint32_t sum = 0;
    for (uint64_t at = 0; at < file.size; at += SUM_BYTES) { // a checkpoint takes no memory of its own
        const uint64_t some = file.size - at < SUM_BYTES ? file.size - at : SUM_BYTES;
        sum = lr_crc32(sum, file.bytes + at, (size_t)some);
        lr_file_forget(&file, file.bytes + at, some);
    }
    json_t *entry = json_pack("{s:I, s:I}", "size", (json_int_t)file.size, "crc32", (json_int_t)sum);
    lr_file_close(&file);
    if (!entry || json_object_set_new(sums, name, entry) != 0) return lr_fail_memory(256);
    return LORA_OK;
}

static lora_status write_sums(const lora_trainer *trainer, const char *directory)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char **names, *text = NULL;
    size_t count, length;
    LR_TRY(lr_list_directory(allocator, directory, &names, &count));
    json_t *sums = json_object();
    lora_status status = sums ? LORA_OK : lr_fail_memory(256);
    for (size_t i = 0; i < count && status == LORA_OK; i++) status = sum_file(trainer, directory, names[i], sums);
    lr_free_names(allocator, names, count);
    if (status == LORA_OK) status = lr_json_dump(allocator, sums, 2, true, &text, &length);
    if (status == LORA_OK) status = write_text(trainer, directory, LR_CHECKPOINT_SUMS, text, length);
    lr_free(allocator, text);
    json_decref(sums);
    return status;
}

static lora_status write_files(const lora_trainer *trainer, const char *directory)
{
    const lr_progress *progress = &trainer->progress;
    LR_TRY(lr_adapter_write(trainer->adapter, directory));
    LR_TRY(write_groups(
        trainer, directory, LR_CHECKPOINT_OPTIMIZER,
        (tensor_group[]){{&trainer->first_moment, ".exp_avg"}, {&trainer->second_moment, ".exp_avg_sq"}}, 2));
    if (progress->best_step > 0 && progress->best_step != progress->step)
        LR_TRY(write_groups(trainer, directory, LR_CHECKPOINT_BEST, (tensor_group[]){{&trainer->best, ""}}, 1));
    LR_TRY(write_state(trainer, directory));
    return write_sums(trainer, directory);
}

// ---- the directory -------------------------------------------------------------------------------------------------

// Leaves the newest `keep`, the best, and nothing from beyond this step (damaged ones that a resume passed over).
static lora_status prune(const lora_trainer *trainer)
{
    int64_t *steps;
    size_t count, kept = 0;
    LR_TRY(lr_checkpoint_list(trainer, &steps, &count));
    lora_status status = LORA_OK;
    for (size_t i = count; i-- > 0 && status == LORA_OK;) {
        bool beyond = steps[i] > trainer->progress.step;
        if (!beyond && kept < (size_t)trainer->options.keep) {
            kept++;
            continue;
        }
        if (!beyond && steps[i] == trainer->progress.best_step) continue;
        char *path = lr_checkpoint_path(trainer, steps[i]);
        status = path ? lr_remove_tree(path) : LORA_ERROR_MEMORY;
        lr_free(&trainer->context->allocator, path);
    }
    lr_free(&trainer->context->allocator, steps);
    return status;
}

lora_status lr_checkpoint_write(lora_trainer *trainer)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    LR_TRY(lr_checkpoint_claim(trainer));
    char *path = lr_checkpoint_path(trainer, trainer->progress.step);
    if (!path) return LORA_ERROR_MEMORY;
    lr_stage *stage = NULL;
    lora_status status = lr_stage_create(allocator, path, true, &stage);
    lr_free(allocator, path);
    if (status != LORA_OK) return status;
    status = write_files(trainer, lr_stage_path(stage));
    if (status != LORA_OK) {
        lr_stage_abandon(stage);
        return status;
    }
    LR_TRY(lr_stage_commit(stage));
    trainer->saved_step = trainer->progress.step;
    if (prune(trainer) != LORA_OK)
        lr_log(trainer->context, LORA_LOG_WARNING, "an old checkpoint was not removed: %s", lr_error_text());
    return LORA_OK;
}

lora_status lora_trainer_save(lora_trainer *trainer)
{
    LR_CHECK_HANDLE(trainer);
    if (!trainer->output) return lr_fail(LORA_ERROR_STATE, "the trainer was made without an output directory");
    if (trainer->restored)
        return lr_fail(LORA_ERROR_STATE,
                       "the run is over and the adapter holds its best tensors: save it with lora_adapter_save");
    return lr_checkpoint_write(trainer);
}
