// Going on from a checkpoint: the newest whose every file has the size and CRC-32 that its checksums.json says.
// Everything is read and compared before the first tensor changes.
#include "lib/safetensors.h"
#include "src/core/validate.h"
#include "src/train/trainer.h"

#include <inttypes.h>
#include <string.h>

#define SUMS_LIMIT ((size_t)1 << 20)
#define STATE_LIMIT ((size_t)16 << 20)

// ---- intact? -------------------------------------------------------------------------------------------------------

static lora_status check_file(const lora_trainer *trainer, const char *directory, const char *name, const json_t *sum)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    if (!lr_path_is_safe(name) || strchr(name, '/'))
        return lr_fail(LORA_ERROR_FORMAT, "%s/" LR_CHECKPOINT_SUMS ": '%s' is no file name", directory, name);
    char *path = lr_path_join(allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lr_file file = {0};
    int64_t size = -1, crc = -1;
    lora_status status = lr_json_int(sum, name, "size", -1, &size);
    if (status == LORA_OK) status = lr_json_int(sum, name, "crc32", -1, &crc);
    if (status == LORA_OK) status = lr_file_open(allocator, &lr_system_files, path, UINT64_MAX, &file);
    if (status == LORA_OK && (int64_t)file.size != size)
        status = lr_fail(LORA_ERROR_FORMAT, "%s: %" PRIu64 " bytes, " LR_CHECKPOINT_SUMS " says %" PRId64, path,
                         file.size, size);
    if (status == LORA_OK && lr_crc32(0, file.bytes, (size_t)file.size) != crc)
        status = lr_fail(LORA_ERROR_FORMAT, "%s: the checksum is not what " LR_CHECKPOINT_SUMS " says", path);
    lr_file_close(&file);
    lr_free(allocator, path);
    return status;
}

static lora_status check_intact(const lora_trainer *trainer, const char *directory)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char *path = lr_path_join(allocator, directory, LR_CHECKPOINT_SUMS);
    if (!path) return LORA_ERROR_MEMORY;
    json_t *sums = NULL;
    lora_status status = lr_json_load(allocator, &lr_system_files, path, SUMS_LIMIT, &sums);
    static const char *const needed[] = {LR_CHECKPOINT_STATE, LR_CHECKPOINT_OPTIMIZER};
    for (size_t i = 0; i < 2 && status == LORA_OK; i++)
        if (!json_object_get(sums, needed[i]))
            status = lr_fail(LORA_ERROR_FORMAT, "%s: '%s' is not in it", path, needed[i]);
    const char *name;
    json_t *sum;
    json_object_foreach(sums, name, sum) {
        if (status == LORA_OK) status = check_file(trainer, directory, name, sum);
    }
    json_decref(sums);
    lr_free(allocator, path);
    return status;
}

// ---- tensors -------------------------------------------------------------------------------------------------------

static lora_status open_tensors(const lora_trainer *trainer, const char *directory, const char *name,
                                lr_safetensors *out)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char *path = lr_path_join(allocator, directory, name);
    if (!path) return LORA_ERROR_MEMORY;
    lora_status status = lr_safetensors_open(allocator, &lr_system_files, path, out);
    lr_free(allocator, path);
    return status;
}

static lora_status find_tensor(const lora_trainer *trainer, const lr_safetensors *file, size_t index,
                               const char *suffix, const lr_tensor_entry **out)
{
    const lr_adapter_tensor *tensor = &trainer->adapter->tensors[index];
    char *name = lr_format(&trainer->context->allocator, "%s%s", tensor->name, suffix);
    if (!name) return LORA_ERROR_MEMORY;
    const lr_tensor_entry *entry = lr_safetensors_find(file, name);
    lora_status status = LORA_OK;
    if (!entry || entry->type != LORA_TYPE_F32 || entry->dimensions != 2 || entry->shape[0] != tensor->value.rows ||
        entry->shape[1] != tensor->value.cols)
        status = lr_fail(LORA_ERROR_FORMAT, "the checkpoint has no f32 tensor '%s' [%" PRId64 ", %" PRId64 "]", name,
                         tensor->value.rows, tensor->value.cols);
    lr_free(&trainer->context->allocator, name);
    *out = entry;
    return status;
}

// Fills a set from the file; with `set` NULL only looks whether everything is there.
static lora_status read_set(const lora_trainer *trainer, const lr_safetensors *file, const char *suffix,
                            const lr_tensor_set *set)
{
    lora_context *context = trainer->context;
    for (size_t i = 0; i < trainer->adapter->tensor_count; i++) {
        const lr_tensor_entry *entry;
        LR_TRY(find_tensor(trainer, file, i, suffix, &entry));
        if (!set) continue;
        LR_TRY(context->backend->buffer_write(context->device, set->buffer, set->views[i].offset,
                                              file->file.bytes + entry->offset, entry->size));
    }
    return LORA_OK;
}

// ---- the whole -----------------------------------------------------------------------------------------------------

typedef struct checkpoint {
    const char *directory;
    lr_progress progress;
    lr_history history;
    lr_safetensors optimizer, best; // `best` only when it has a file of its own
    bool best_file;
} checkpoint;

static lora_status read_state(const lora_trainer *trainer, checkpoint *c)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    char *path = lr_path_join(allocator, c->directory, LR_CHECKPOINT_STATE);
    if (!path) return LORA_ERROR_MEMORY;
    json_t *state = NULL;
    lora_status status = lr_json_load(allocator, &lr_system_files, path, STATE_LIMIT, &state);
    if (status == LORA_OK) status = lr_history_create(allocator, &c->history);
    if (status == LORA_OK) status = lr_state_take(trainer, state, path, &c->progress, &c->history);
    json_decref(state);
    lr_free(allocator, path);
    return status;
}

static lora_status open_checkpoint(lora_trainer *trainer, checkpoint *c)
{
    LR_TRY(read_state(trainer, c));
    LR_TRY(lr_feed_begin_epoch(&trainer->feed, c->progress.epoch));
    if (c->progress.batch >= (int64_t)trainer->feed.plan.batch_count)
        return lr_fail(LORA_ERROR_FORMAT, "%s: micro-batch %" PRId64 " is past the %zu of an epoch", c->directory,
                       c->progress.batch, trainer->feed.plan.batch_count);
    LR_TRY(open_tensors(trainer, c->directory, LR_CHECKPOINT_OPTIMIZER, &c->optimizer));
    LR_TRY(read_set(trainer, &c->optimizer, ".exp_avg", NULL));
    LR_TRY(read_set(trainer, &c->optimizer, ".exp_avg_sq", NULL));
    c->best_file = c->progress.best_step > 0 && c->progress.best_step != c->progress.step;
    if (!c->best_file) return LORA_OK;
    LR_TRY(open_tensors(trainer, c->directory, LR_CHECKPOINT_BEST, &c->best));
    return read_set(trainer, &c->best, "", NULL);
}

static lora_status take_checkpoint(lora_trainer *trainer, checkpoint *c)
{
    lora_context *context = trainer->context;
    LR_TRY(lr_adapter_read_values(trainer->adapter, c->directory));
    LR_TRY(read_set(trainer, &c->optimizer, ".exp_avg", &trainer->first_moment));
    LR_TRY(read_set(trainer, &c->optimizer, ".exp_avg_sq", &trainer->second_moment));
    if (c->best_file) {
        LR_TRY(read_set(trainer, &c->best, "", &trainer->best));
    } else if (c->progress.best_step > 0) {
        for (size_t i = 0; i < trainer->adapter->tensor_count; i++)
            LR_TRY(
                context->backend->convert(context->device, trainer->best.views[i], trainer->adapter->tensors[i].value));
    }
    trainer->progress = c->progress;
    trainer->progress.last.done = lr_trainer_done(trainer);
    trainer->history.count = c->history.count;
    trainer->history.stride = c->history.stride;
    memcpy(trainer->history.entries, c->history.entries, c->history.count * sizeof *c->history.entries);
    trainer->saved_step = c->progress.step;
    return LORA_OK;
}

static lora_status restore(lora_trainer *trainer, const char *directory)
{
    checkpoint c = {.directory = directory};
    lora_status status = open_checkpoint(trainer, &c);
    if (status == LORA_OK) status = take_checkpoint(trainer, &c);
    lr_safetensors_close(&c.optimizer);
    lr_safetensors_close(&c.best);
    lr_free(&trainer->context->allocator, c.history.entries);
    return status;
}

static lora_status resume_newest(lora_trainer *trainer, const int64_t *steps, size_t count, int64_t *step)
{
    const lora_allocator *allocator = &trainer->context->allocator;
    for (size_t i = count; i-- > 0;) {
        char *path = lr_checkpoint_path(trainer, steps[i]);
        if (!path) return LORA_ERROR_MEMORY;
        lora_status intact = check_intact(trainer, path);
        lora_status status = intact == LORA_OK ? restore(trainer, path) : LORA_OK;
        if (intact != LORA_OK && intact != LORA_ERROR_MEMORY)
            lr_log(trainer->context, LORA_LOG_WARNING, "%s is damaged and passed over: %s", path, lr_error_text());
        lr_free(allocator, path);
        if (intact == LORA_ERROR_MEMORY) return intact;
        if (intact != LORA_OK) continue;
        if (status == LORA_OK) *step = steps[i];
        return status;
    }
    return LORA_OK;
}

lora_status lora_trainer_resume(lora_trainer *trainer, int64_t *step)
{
    LR_CHECK_HANDLE(trainer);
    LR_CHECK_ARGUMENT(step, "%s: step is NULL", __func__);
    if (!trainer->output)
        return lr_fail(LORA_ERROR_STATE, "the trainer was made without an output directory to resume from");
    if (trainer->progress.step > 0)
        return lr_fail(LORA_ERROR_STATE, "the trainer is at step %" PRId64 " already: resume before the first step",
                       trainer->progress.step);
    int64_t *steps;
    size_t count;
    int64_t found = 0;
    LR_TRY(lr_checkpoint_list(trainer, &steps, &count));
    lora_status status = resume_newest(trainer, steps, count, &found);
    lr_free(&trainer->context->allocator, steps);
    if (status != LORA_OK) return status;
    trainer->claimed = true;
    *step = found;
    return LORA_OK;
}
