// Backends by name: the CPU's, linked in, and plug-ins found at run time.
#ifndef LR_BACKEND_REGISTRY_H
#define LR_BACKEND_REGISTRY_H

#include <lora/backend.h>

const lora_backend *lr_cpu_backend(void); // cpu/backend.c

// "cpu" or "cuda". *plugin is what lr_backend_unload takes (NULL: linked in). BACKEND, saying what is missing.
lora_status lr_backend_load(const char *name, const lora_backend **out, void **plugin);
void lr_backend_unload(void *plugin); // NULL is accepted

#endif
