// lora_model_save: which kind of output, and that it appears whole or not at all.
#include "save.h"

#include "src/core/validate.h"

lora_status lora_model_save(const lora_model *model, const char *path, int32_t overwrite)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(path && path[0], "%s: path is empty", __func__);
    const lora_allocator *allocator = &model->context->allocator;
    lr_lock *lock = NULL;
    lr_stage *stage = NULL;
    LR_TRY(lr_lock_acquire(allocator, path, &lock));
    lora_status status;
    if (lr_path_ends_with(path, ".gguf")) {
        status = lr_save_gguf(model, path, overwrite != 0);
    } else {
        status = lr_stage_create(allocator, path, overwrite != 0, &stage);
        if (status == LORA_OK) status = lr_save_huggingface(model, lr_stage_path(stage));
        if (status == LORA_OK && overwrite) status = lr_save_remove_superseded(model, lr_stage_path(stage), path);
        if (status == LORA_OK) status = lr_stage_commit(stage);
        else if (stage) lr_stage_abandon(stage);
    }
    lr_lock_release(lock);
    return status;
}
