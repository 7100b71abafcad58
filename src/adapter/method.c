#include "method.h"

#include <string.h>

static const lr_method *const methods[] = {&lr_method_lora};

lora_status lr_adapter_method_find(const char *name, const char *peft_type, const lr_method **out)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i]->peft_type, peft_type) == 0) {
            *out = methods[i];
            return LORA_OK;
        }
    return lr_fail(LORA_ERROR_UNSUPPORTED, "%s: peft_type is '%s'; only LORA is supported so far", name, peft_type);
}
