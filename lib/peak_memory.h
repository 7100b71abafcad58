// The high-water mark of the process's resident memory, set back so that it tells of one run alone.
#ifndef LR_PEAK_MEMORY_H
#define LR_PEAK_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

// Sets the mark to what is resident now. false: the system does not let it (only Linux does, through /proc).
bool lr_peak_memory_reset(void);
// Bytes; 0: not known.
uint64_t lr_peak_memory(void);

#endif
