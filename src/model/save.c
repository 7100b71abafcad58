// lora_model_save: which kind of output, and that it appears whole or not at all.
#include "save.h"

#include "src/core/validate.h"

lora_status lora_model_save(const lora_model *model, const char *path, int32_t overwrite)
{
    LR_CHECK_HANDLE(model);
    LR_CHECK_ARGUMENT(path && path[0], "%s: path is empty", __func__);
    lr_lock *lock;
    LR_TRY(lr_lock_acquire(&model->context->allocator, path, &lock));
    lora_status status = lr_path_ends_with(path, ".gguf") ? lr_save_gguf(model, path, overwrite != 0)
                                                          : lr_save_huggingface(model, path, overwrite != 0);
    lr_lock_release(lock);
    return status;
}
