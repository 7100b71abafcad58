#include "family.h"

#include <stdio.h>
#include <string.h>

extern const lr_family lr_family_llama, lr_family_mistral, lr_family_qwen2, lr_family_qwen3;

// The first family of an architecture is the one that reads its GGUF files.
static const lr_family *const families[] = {&lr_family_llama, &lr_family_mistral, &lr_family_qwen2, &lr_family_qwen3};

#define FAMILY_COUNT (sizeof families / sizeof families[0])

const lr_family *lr_family_find(const char *name)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strcmp(families[i]->name, name) == 0) return families[i];
    return NULL;
}

const lr_family *lr_family_of_architecture(const char *architecture, size_t length)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strlen(families[i]->architecture) == length && memcmp(families[i]->architecture, architecture, length) == 0)
            return families[i];
    return NULL;
}

void lr_family_list(char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < FAMILY_COUNT && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", families[i]->name);
}

char *lr_module_name(const lora_allocator *allocator, const lr_names *names, int64_t layer, lr_slot slot)
{
    if (layer < 0) return lr_duplicate(allocator, names->slot[slot]);
    return lr_format(allocator, "%s%lld.%s", names->block, (long long)layer, names->slot[slot]);
}
