#include "lib/error.h"

#include <lora/types.h>

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

uint32_t lora_abi_version(void)
{
    return LORA_ABI_VERSION;
}

const char *lora_version(void)
{
    return VERSION_TEXT(LORA_VERSION_MAJOR, LORA_VERSION_MINOR, LORA_VERSION_PATCH);
}

const char *lora_error_message(void)
{
    return lr_error_text();
}

const char *lora_status_name(lora_status status)
{
    switch (status) {
    case LORA_OK: return "LORA_OK";
    case LORA_ERROR_ARGUMENT: return "LORA_ERROR_ARGUMENT";
    case LORA_ERROR_STATE: return "LORA_ERROR_STATE";
    case LORA_ERROR_CANCELLED: return "LORA_ERROR_CANCELLED";
    case LORA_ERROR_MEMORY: return "LORA_ERROR_MEMORY";
    case LORA_ERROR_BUDGET: return "LORA_ERROR_BUDGET";
    case LORA_ERROR_NOT_FOUND: return "LORA_ERROR_NOT_FOUND";
    case LORA_ERROR_IO: return "LORA_ERROR_IO";
    case LORA_ERROR_EXISTS: return "LORA_ERROR_EXISTS";
    case LORA_ERROR_BUSY: return "LORA_ERROR_BUSY";
    case LORA_ERROR_FORMAT: return "LORA_ERROR_FORMAT";
    case LORA_ERROR_UNSUPPORTED: return "LORA_ERROR_UNSUPPORTED";
    case LORA_ERROR_MISMATCH: return "LORA_ERROR_MISMATCH";
    case LORA_ERROR_DATA: return "LORA_ERROR_DATA";
    case LORA_ERROR_OVERFLOW: return "LORA_ERROR_OVERFLOW";
    case LORA_ERROR_NOT_FINITE: return "LORA_ERROR_NOT_FINITE";
    case LORA_ERROR_NO_GRADIENT: return "LORA_ERROR_NO_GRADIENT";
    case LORA_ERROR_DIVERGED: return "LORA_ERROR_DIVERGED";
    case LORA_ERROR_BACKEND: return "LORA_ERROR_BACKEND";
    case LORA_ERROR_INTERNAL: return "LORA_ERROR_INTERNAL";
    default: return "unknown status";
    }
}

const char *lora_type_name(lora_type type)
{
    static const char *const names[LORA_TYPE_COUNT] = {
        [LORA_TYPE_F32] = "f32",   [LORA_TYPE_F16] = "f16",   [LORA_TYPE_BF16] = "bf16", [LORA_TYPE_I32] = "i32",
        [LORA_TYPE_INT8] = "int8", [LORA_TYPE_NF4] = "nf4",   [LORA_TYPE_Q8_0] = "q8_0", [LORA_TYPE_Q4_0] = "q4_0",
        [LORA_TYPE_Q4_1] = "q4_1", [LORA_TYPE_Q5_0] = "q5_0", [LORA_TYPE_Q5_1] = "q5_1", [LORA_TYPE_Q4_K] = "q4_k",
        [LORA_TYPE_Q5_K] = "q5_k", [LORA_TYPE_Q6_K] = "q6_k",
    };
    return type >= 0 && type < LORA_TYPE_COUNT ? names[type] : "unknown";
}
