#include "peft_format.h"

#include "config.h"

#include <string.h>

char *lr_peft_pair_name(const lora_allocator *allocator, const char *module, bool is_a)
{
    return lr_format(allocator, LR_PEFT_PREFIX "%s.lora_%c.weight", module, is_a ? 'A' : 'B');
}

char *lr_peft_bias_name(const lora_allocator *allocator, const char *module, bool adapted)
{
    return lr_format(allocator, LR_PEFT_PREFIX "%s%s.bias", module, adapted ? ".base_layer" : "");
}

char *lr_peft_whole_name(const lora_allocator *allocator, const char *tensor, bool full)
{
    return lr_format(allocator, "%s%s", full ? "" : LR_PEFT_PREFIX, tensor);
}

char *lr_peft_normalise(const lora_allocator *allocator, const char *name, bool full)
{
    if (full) return lr_duplicate(allocator, name);
    const char *rest =
        strncmp(name, LR_PEFT_PREFIX, strlen(LR_PEFT_PREFIX)) == 0 ? name + strlen(LR_PEFT_PREFIX) : name;
    const char *pair = strstr(rest, ".lora_A.");
    if (!pair) pair = strstr(rest, ".lora_B.");
    const char *tail = pair ? strrchr(pair, '.') : NULL; // ".weight"
    if (!tail) return lr_format(allocator, LR_PEFT_PREFIX "%s", rest);
    return lr_format(allocator, LR_PEFT_PREFIX "%.*s%s", (int)(pair - rest) + 7, rest, tail);
}

char *lr_peft_tied_name(const lora_adapter *adapter, const lr_adapter_tensor *tensor, lora_status *status)
{
    const lora_model *model = adapter->model;
    const lr_module *embedding = lr_model_module(model, -1, LR_SLOT_EMBED),
                    *head = lr_model_module(model, -1, LR_SLOT_HEAD);
    *status = LORA_OK;
    if (adapter->config->full || !model->stack.tied || !embedding || !head || tensor->tensor != embedding->weight)
        return NULL;
    char *name = lr_format(&model->context->allocator, LR_PEFT_PREFIX "%s.weight", head->name);
    if (!name) *status = LORA_ERROR_MEMORY;
    return name;
}
