// Stands for a CUDA plug-in; FAKE_PLUGIN in the environment says how it behaves.
#include <lora/backend.h>

#include <stdlib.h>
#include <string.h>

LORA_API const lora_backend *lora_backend_entry(uint32_t abi);

static lora_status plugin_open(const lora_backend_host *host, lora_device **out)
{
    const char *mode = getenv("FAKE_PLUGIN");
    if (mode && strcmp(mode, "no card") == 0) return host->fail(LORA_ERROR_BACKEND, "there is no graphics card");
    host->log(LORA_LOG_INFO, "the plug-in was opened", host->log_user);
    *out = NULL;
    return LORA_OK;
}

static void plugin_close(lora_device *device)
{
}

static const char *plugin_describe(lora_device *device)
{
    return "a card";
}

const lora_backend *lora_backend_entry(uint32_t abi)
{
    static lora_backend backend = {
        .name = "cuda", .open = plugin_open, .close = plugin_close, .describe = plugin_describe};
    const char *mode = getenv("FAKE_PLUGIN");
    if (mode && strcmp(mode, "refuses") == 0) return NULL;
    backend.abi = mode && strcmp(mode, "older") == 0 ? abi - 1 : abi;
    return &backend;
}
