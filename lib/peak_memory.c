#include "lib/peak_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

// "5" in clear_refs: proc(5). Memory that earlier runs have freed is given back first, or it would count again.
bool lr_peak_memory_reset(void)
{
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return false;
    bool written = fputs("5", file) >= 0;
    return fclose(file) == 0 && written;
}

uint64_t lr_peak_memory(void)
{
    static const char key[] = "VmHWM:";
    char line[128];
    uint64_t kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) return 0;
    while (kilobytes == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, sizeof key - 1) == 0) kilobytes = strtoull(line + sizeof key - 1, NULL, 10);
    fclose(file);
    return kilobytes * 1024;
}
