// Seconds from a clock that never goes back.
#ifndef LR_CLOCK_H
#define LR_CLOCK_H

#include <time.h>

static inline double lr_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
