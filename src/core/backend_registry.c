#include "src/core/backend_registry.h"

#include "lib/error.h"

#include <dlfcn.h>
#include <string.h>

#define CUDA_PLUGIN "liblora-cuda.so.0"

static lora_status find_entry(void *plugin, const lora_backend **out)
{
    lora_backend_entry_fn entry = NULL;
    void *symbol = dlsym(plugin, LORA_BACKEND_ENTRY);
    memcpy(&entry, &symbol, sizeof entry); // ISO C has no cast between these pointers
    if (!entry) return lr_fail(LORA_ERROR_BACKEND, "%s: it exports no %s", CUDA_PLUGIN, LORA_BACKEND_ENTRY);

    const lora_backend *backend = entry(LORA_BACKEND_ABI);
    if (!backend)
        return lr_fail(LORA_ERROR_BACKEND, "%s: it does not serve backend ABI %d: install the plug-in of this release",
                       CUDA_PLUGIN, LORA_BACKEND_ABI);
    if (backend->abi != LORA_BACKEND_ABI)
        return lr_fail(LORA_ERROR_BACKEND,
                       "%s: its backend ABI is %u, expected %d: install the plug-in of this release", CUDA_PLUGIN,
                       (unsigned)backend->abi, LORA_BACKEND_ABI);
    *out = backend;
    return LORA_OK;
}

lora_status lr_backend_load(const char *name, const lora_backend **out, void **plugin)
{
    *plugin = NULL;
    if (strcmp(name, "cpu") == 0) {
        *out = lr_cpu_backend();
        return LORA_OK;
    }
    if (strcmp(name, "cuda") != 0)
        return lr_fail(LORA_ERROR_ARGUMENT, "backend \"%s\" is unknown: expected auto, cpu or cuda", name);

    void *handle = dlopen(CUDA_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *reason = dlerror();
        return lr_fail(LORA_ERROR_BACKEND, "the CUDA backend could not be loaded (%s): install %s or use backend cpu",
                       reason ? reason : "no reason given", CUDA_PLUGIN);
    }
    lora_status status = find_entry(handle, out);
    if (status != LORA_OK) {
        dlclose(handle);
        return status;
    }
    *plugin = handle;
    return LORA_OK;
}

void lr_backend_unload(void *plugin)
{
    if (plugin) dlclose(plugin);
}
